"""A warning where BatchNorm's moving averages would judge kernels that differ."""

import warnings
import weakref
from typing import Any

import keras

from tfhyper.keras_private import (
    flatten_layers,
    only_shapes,
    outbound_nodes,
    outermost_model,
)


class MovingAveragesWarning(UserWarning):
    """A network of generated kernels, or of members, is judged by moving averages.

    Those of BatchNorm mix the statistics of all kernels that training went through and
    fit none, so the loss and the metrics of `evaluate`, of `fit(validation_data=...)`
    and of `model(x)` can be far from those of any draw.
    `tfhyper.training.PosteriorValidation` validates by draws with statistics of their
    own, and `tfhyper.PosteriorPredictor` predicts by them. Shown once for each model.

    Example:

    >>> warnings.simplefilter("error", tfhyper.layers.MovingAveragesWarning)
    >>> residual(keras.ops.ones((1, 8, 8, 1)))  # Hyper layers before BatchNorm
    Traceback (most recent call last):
    tfhyper.layers.moving_averages.MovingAveragesWarning: ...
    """


# The models whose users were warned, or their last operation if the model is unknown.
_warned: weakref.WeakSet[keras.Operation] = weakref.WeakSet()


def warn_of_moving_averages(layer: Any) -> None:
    """Warns if a layer that is called outside of training feeds a BatchNorm.

    One whose moving averages training changes: a frozen one is as it was in training.
    Where the graph is not known, because the model is a subclass with its own `call`,
    any such BatchNorm of the model counts. On JAX Keras hides which model is called:
    what is found is what stands behind the layer in its own graph.

    Args:
        layer: a `StochasticKernel`, whose kernel differs from call to call.
    """
    if only_shapes():
        return
    model = outermost_model()
    if model in _warned:
        return
    last = _find_batch_norm(layer, model)
    if last is None or last in _warned:
        return
    _warned.add(last if model is None else model)
    name = "A model" if model is None else f"Model '{model.name}'"
    warnings.warn(
        f"{name}, with a layer {layer.kernel_description}, is evaluated by the moving "
        "averages of its BatchNormalization, which mix the statistics of all kernels "
        "and fit none: the loss and the metrics are not those of its draws. To "
        "validate in `fit`, use tfhyper.training.PosteriorValidation; to predict, "
        "tfhyper.PosteriorPredictor.",
        MovingAveragesWarning,
        stacklevel=2,
    )


def _find_batch_norm(
    layer: keras.Layer, model: keras.Model | None
) -> keras.Operation | None:
    """Returns the last operation of a path through a BatchNorm behind a layer."""
    members = None if model is None else flatten_layers(model)
    allowed = None if members is None else {id(x) for x in members}
    waiting, seen, found, last = [layer], set(), False, layer
    if members is not None:
        # The path goes on behind nested models that hold the layer.
        waiting += [m for m in members if m is not model and _holds(m, layer)]
        unknown = [m for m in (model, *waiting[1:]) if not hasattr(m, "operations")]
        found = any(_has_batch_norm(m) for m in unknown if not _is_sequential(m))
    while waiting:
        operation = waiting.pop()
        for node in outbound_nodes(operation):
            reached = node.operation
            if id(reached) in seen:
                continue
            seen.add(id(reached))
            waiting.append(reached)
            if allowed is not None and isinstance(reached, keras.Layer):
                if id(reached) not in allowed:
                    continue  # of another model with this layer
            last = reached
            fixed = node.arguments.kwargs.get("training") is False
            found = found or not fixed and _has_batch_norm(reached)
    return last if found else None


def _holds(model: Any, layer: keras.Layer) -> bool:
    return isinstance(model, keras.Model) and any(
        x is layer for x in flatten_layers(model, include_self=False)
    )


def _is_sequential(model: Any) -> bool:
    return isinstance(model, keras.Sequential)


def _has_batch_norm(operation: keras.Operation) -> bool:
    """Whether an operation is, or holds, a BatchNorm that training changes."""
    return isinstance(operation, keras.Layer) and any(
        isinstance(x, keras.layers.BatchNormalization) and x.trainable
        for x in flatten_layers(operation)
    )
