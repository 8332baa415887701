"""What a model gives, logits or probabilities or targets: by its graph and its loss."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from tfhyper import keras_private
from tfhyper.heads import Categorical, Family, Head

LOGITS, PROBABILITIES, SIGMOIDS = "logits", "probabilities", "sigmoids"
# What a loss is of: one class of several, labels each by itself, or numbers.
CLASSES, LABELS, TARGETS = "classes", "labels", "targets"
# Nested models that a tensor is inside of, with the tensors that they are called with.
Nested: TypeAlias = tuple[tuple[keras.Model, Sequence[keras.KerasTensor]], ...]
# What tells the kinds of an operation's inputs.
Kinds: TypeAlias = Callable[[], Sequence[str | None]]

# Layers that do not change what the numbers are, in prediction.
_TRANSPARENT = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.Reshape,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
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


# Losses, as classes and functions of Keras, and what each is of.
_LOSSES = {
    CLASSES: (
        "categorical_crossentropy",
        "categorical_focal_crossentropy",
        "kl_divergence",
        "sparse_categorical_crossentropy",
    ),
    LABELS: ("binary_crossentropy", "binary_focal_crossentropy"),
    TARGETS: (
        "huber",
        "log_cosh",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_error",
        "mean_squared_logarithmic_error",
    ),
}


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a model's graph, and the loss that it was compiled with, say.

    Attributes:
        shapes: of the model's outputs, in their order.
        kind: `"logits"`, `"probabilities"`, `"sigmoids"` for columns that a sigmoid
            made each by itself, or `None` where neither graph nor loss tells.
        loss: `"classes"`, `"labels"` or `"targets"`: what the loss is of; or `None`.
        ignore_class: the label that the loss leaves out, or `None`.
        family: what distribution of numbers a `tfhyper.heads` layer at the end gives
            the parameters of, or `None`.
    """

    shapes: tuple[tuple[int | None, ...], ...]
    kind: str | None = None
    loss: str | None = None
    ignore_class: int | None = None
    family: Family | None = None

    @property
    def columns(self) -> int | None:
        """The size of the last axis of the only output, `None` if there are more."""
        if len(self.shapes) != 1 or len(self.shapes[0]) < 2:
            return None
        return self.shapes[0][-1]


def evidence_of(model: keras.Model) -> Evidence:
    """Returns what a model says of its outputs.

    The kind is that of the graph, where it tells: what the last operations are, back
    to those that make logits or probabilities. Else it is that of `from_logits` of the
    loss.
    """
    shapes = tuple(tuple(output.shape) for output in model.outputs)
    if len(shapes) != 1:
        return Evidence(shapes)
    loss = _only_loss(model)
    found = _of_tensor(model.outputs[0], ())
    return Evidence(
        shapes,
        found if found is not None else _of_loss(loss),
        _subject(loss),
        _ignored(loss),
        _family(model),
    )


def kind_of(model: keras.Model) -> str | None:
    """Returns the `kind` of the evidence of a model with one output."""
    return evidence_of(model).kind


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
        return PROBABILITIES if _is_last(operation.axis, tensor) else None
    if isinstance(operation, Head):
        return LOGITS if isinstance(operation.family, Categorical) else None
    if type(operation) is keras.layers.TimeDistributed:
        return _of_layer_after(operation.layer, lambda: _same(of_inputs()))
    if (name := keras_private.function_name(operation)) is not None:
        return _of_function(name, operation, tensor, of_inputs)
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


def _is_last(axis: int, tensor: keras.KerasTensor | None) -> bool:
    """Returns whether an axis is the last one; of what is not known, if it may be."""
    return axis == -1 or axis == (1 if tensor is None else len(tensor.shape) - 1)


def _of_function(
    name: str,
    operation: keras.Operation,
    tensor: keras.KerasTensor | None,
    of_inputs: Kinds,
) -> str | None:
    """Returns what a function of `keras.ops` gives, by the name of its class."""
    if name == "Softmax":
        return PROBABILITIES if _is_last(operation.axis, tensor) else None
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


def _family(model: keras.Layer) -> Family | None:
    """Returns the family of numbers of the head that a model ends in, or `None`."""
    if isinstance(model, Head):
        return None if isinstance(model.family, Categorical) else model.family
    if isinstance(model, keras.Sequential):
        return _family(model.layers[-1]) if model.layers else None
    if not isinstance(model, keras.Model) or len(model.outputs or ()) != 1:
        return None
    made_by = keras_private.history(model.outputs[0])
    if made_by is None or made_by[0] is None or made_by[0] is model:
        return None
    return _family(made_by[0])


def _only_loss(model: keras.Model) -> Any:
    """Returns the loss that a model with one output was compiled with, or `None`."""
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
    return loss


def _subject(loss: Any) -> str | None:
    """Returns what a loss of Keras is of, `None` for another."""
    for subject, names in _LOSSES.items():
        functions = [keras.losses.get(name) for name in names]
        if any(loss is function for function in functions):
            return subject
        # The classes of Keras wrap these functions.
        is_keras = isinstance(loss, keras.losses.Loss)
        if is_keras and any(getattr(loss, "fn", None) is f for f in functions):
            return subject
    return None


def _ignored(loss: Any) -> int | None:
    """Returns the `ignore_class` of a loss, if it has one."""
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        return loss.ignore_class
    return None


def _of_loss(loss: Any) -> str | None:
    """Returns whether a loss takes logits or probabilities, `None` if neither."""
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
