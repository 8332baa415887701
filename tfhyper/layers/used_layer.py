"""A layer of another model, in a network of ours: used as it is, not copied."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from tfhyper import keras_private
from tfhyper.tensor_types import Structure, Tensor


def signature_of(
    layer: keras.Layer, more: Sequence[str] = ("training",)
) -> inspect.Signature:
    """Returns the arguments of a layer's call, for one that hands them on.

    Args:
        layer: the layer.
        more: arguments that are among them in any case: Keras gives `training` where
            it is known.
    """
    signature = inspect.signature(layer.call)
    parameters = list(signature.parameters.values())
    kinds = inspect.Parameter
    end = len(parameters)
    if parameters and parameters[-1].kind is kinds.VAR_KEYWORD:
        end -= 1
    parameters[end:end] = [
        kinds(name, kinds.KEYWORD_ONLY, default=None)
        for name in more
        if name not in signature.parameters
    ]
    return signature.replace(parameters=parameters)


class UsedOperation(keras.Operation):
    """As `UsedLayer`, of an operation that is no layer, such as those of `keras.ops`.

    Args:
        operation: the operation.
        name: a name of its own.
    """

    def __init__(self, operation: keras.Operation, name: str):
        super().__init__(name=name)
        self.operation = operation

    def call(self, *args: Any, **kwargs: Any) -> Structure:
        """Returns what the operation returns."""
        return self.operation(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Structure:
        """Returns the specifications of the operation's outputs."""
        return self.operation.compute_output_spec(*args, **kwargs)


@keras.saving.register_keras_serializable("tfhyper")
class UsedLayer(keras.layers.Layer):
    """Calls a layer that belongs to another model, and has no weights of its own.

    A config may not say all of a layer: a function, an attribute that the user set, a
    name that another layer has. So what a network of a draw has in common with the
    trained model is that model's own layer. Its graph keeps no trace of it: the calls
    are recorded with this layer, and their names are free.

    Args:
        layer: the layer.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        As `layer`.

    Output shape:
        As `layer`.
    """

    def __init__(self, layer: keras.Layer, **kwargs: Any):
        # What casts its inputs casts nothing that the layer would not.
        policy = {"dtype": layer.dtype_policy, "autocast": layer.autocast}
        super().__init__(**{**policy, "trainable": layer.trainable, **kwargs})
        self.layer = layer
        self.supports_masking = True
        keras_private.take_call_arguments(self, signature_of(layer))
        self.built = True

    def call(self, *args: Any, **kwargs: Any) -> Tensor:
        """Returns what the layer returns."""
        # The mode in a graph's call is not that of the graph's own call, which counts.
        kwargs.pop("training", None)
        return self.layer(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the specifications of the layer's outputs."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor) -> Any:
        """Returns `None`: what the layer gives has its mask from the layer itself."""
        return None

    def get_config(self) -> dict[str, Any]:
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "UsedLayer":
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)
