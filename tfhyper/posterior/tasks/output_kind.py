"""Whether a classifier gives logits or probabilities: what its graph and loss say."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from tfhyper import keras_private

LOGITS, PROBABILITIES, SIGMOIDS = "logits", "probabilities", "sigmoids"
# Nested models that a tensor is inside of, with the tensors that they are called with.
Nested: TypeAlias = tuple[tuple[keras.Model, Sequence[keras.KerasTensor]], ...]
# What tells the kinds of an operation's inputs.
Kinds: TypeAlias = Callable[[], Sequence[str | None]]

# Layers that do not change what the numbers are, in prediction.
_TRANSPARENT = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.Reshape,
)
# Sums and differences: logits again, of logits alone.
_ARITHMETIC = (keras.layers.Add, keras.layers.Subtract)
_SOFTMAX = (keras.activations.softmax, ops.softmax, ops.nn.softmax)
_SIGMOID = (keras.activations.sigmoid, ops.sigmoid, ops.nn.sigmoid)
# Softmax gives of log-probabilities what they are the logarithms of.
_LINEAR = (
    None,
    keras.activations.linear,
    keras.activations.log_softmax,
    ops.log_softmax,
    ops.nn.log_softmax,
)


def kind_of(model: keras.Model) -> str | None:
    """Returns what a model with one output gives.

    By the graph, where it tells: what the last operations are, back to those that
    make logits or probabilities. Else by `from_logits` of the loss that the model was
    compiled with.

    Returns:
        `"logits"`, `"probabilities"`, `"sigmoids"` for columns that a sigmoid made each
        by itself, or `None` where neither tells.
    """
    (output,) = model.outputs
    found = _of_tensor(output, ())
    return found if found is not None else _of_loss(model)


def _of_tensor(tensor: keras.KerasTensor, models: Nested) -> str | None:
    """Returns what a tensor of a graph holds.

    Args:
        tensor: the tensor.
        models: the nested models that it is inside of, with the tensors that they are
            called with, the innermost last.
    """
    made_by = keras_private.history(tensor)
    if made_by is None:
        return None
    operation, node_index, tensor_index = made_by
    if isinstance(operation, keras.layers.InputLayer) or operation is None:
        if not models:
            return None
        *outer, (model, given) = models
        places = [x is tensor for x in model.inputs]
        if True not in places or len(given) != len(places):
            return None
        return _of_tensor(given[places.index(True)], tuple(outer))
    inputs = keras_private.inbound_nodes(operation)[node_index].input_tensors
    if isinstance(operation, keras.Model):
        return _of_model(operation, inputs, tensor_index, models)
    return _of_operation(
        operation, tensor, lambda: [_of_tensor(x, models) for x in inputs]
    )


def _of_model(
    model: keras.Model,
    inputs: Sequence[keras.KerasTensor],
    tensor_index: int,
    models: Nested,
) -> str | None:
    if isinstance(model, keras.Sequential) and model.built:
        # Its layers, one after the other.
        before = functools.partial(_of_tensor, inputs[0], models)
        for layer in model.layers:
            before = functools.partial(_of_layer_after, layer, before)
        return before()
    if keras_private.is_functional(model):
        return _of_tensor(model.outputs[tensor_index], (*models, (model, inputs)))
    return None


def _of_layer_after(layer: keras.Layer, before: Callable[[], str | None]) -> str | None:
    if isinstance(layer, keras.Model):
        if isinstance(layer, keras.Sequential):
            for inner in layer.layers:
                before = functools.partial(_of_layer_after, inner, before)
            return before()
        if not keras_private.is_functional(layer) or len(layer.outputs) != 1:
            return None
        return _of_tensor(layer.outputs[0], ())
    return _of_operation(layer, None, lambda: [before()])


def _of_operation(
    operation: keras.Operation, tensor: keras.KerasTensor | None, of_inputs: Kinds
) -> str | None:
    """Returns what an operation gives, from what its inputs are."""
    if isinstance(operation, keras.layers.Softmax):
        return PROBABILITIES if operation.axis in (-1, 1) else None
    if (name := keras_private.function_name(operation)) is not None:
        return _of_function(name, operation, of_inputs)
    if type(operation) is keras.layers.Activation:
        found = _of_activation(operation.activation)
        return _same(of_inputs()) if found == LOGITS else found
    if isinstance(operation, _TRANSPARENT):
        return _same(of_inputs())
    if type(operation) is keras.layers.Average:
        return _same(of_inputs())
    if type(operation) in _ARITHMETIC:
        return LOGITS if _same(of_inputs()) == LOGITS else None
    has_kernel = hasattr(operation, "activation") and operation.weights
    module = type(operation).__module__.split(".")[0]
    if has_kernel and module in ("keras", "tfhyper"):
        return _of_activation(operation.activation)
    return None


def _of_function(name: str, operation: keras.Operation, of_inputs: Kinds) -> str | None:
    """Returns what a function of `keras.ops` gives, by the name of its class."""
    if name == "Softmax":
        return PROBABILITIES if operation.axis in (-1, 1) else None
    if name == "Sigmoid":
        return SIGMOIDS
    if name == "LogSoftmax":
        return LOGITS
    if name in ("Cast", "Identity", "Reshape", "Squeeze", "Ravel"):
        return _same(of_inputs())
    return None


def _of_activation(activation: Any) -> str | None:
    if isinstance(activation, keras.Layer):
        return _of_operation(activation, None, lambda: [LOGITS])
    if any(activation is x for x in _LINEAR):
        return LOGITS
    if any(activation is x for x in _SOFTMAX):
        return PROBABILITIES
    if any(activation is x for x in _SIGMOID):
        return SIGMOIDS
    return None


def _same(kinds: Sequence[str | None]) -> str | None:
    return kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else None


def _of_loss(model: keras.Model) -> str | None:
    """Returns what the loss that a model was compiled with takes."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict | list | tuple):
        losses = list(loss.values()) if isinstance(loss, dict) else list(loss)
        loss = losses[0] if len(losses) == 1 else None
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return None
    if isinstance(loss, type) and issubclass(loss, keras.losses.Loss):
        loss = loss()
    # The one loss of Keras that takes probabilities alone.
    is_object = isinstance(loss, keras.losses.KLDivergence)
    if is_object or loss is keras.losses.kl_divergence:
        return PROBABILITIES
    from_logits = None
    if isinstance(loss, keras.losses.Loss):
        try:
            from_logits = loss.get_config().get("from_logits")
        except Exception:  # a user's loss may have no config
            return None
    elif callable(loss) and "crossentropy" in getattr(loss, "__name__", ""):
        # Keras' functions, which take probabilities unless they are told.
        module = getattr(loss, "__module__", "") or ""
        from_logits = False if module.split(".")[0] == "keras" else None
    if from_logits is None:
        return None
    return LOGITS if from_logits else PROBABILITIES
