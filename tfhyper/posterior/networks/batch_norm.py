"""BatchNorm statistics of a draw: the moments of training inputs sent through it."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_graph, keras_private
from tfhyper.layers.live_config import live_config
from tfhyper.tensor_types import Structure, Tensor


def is_normal(operation: keras.Operation) -> bool:
    """Whether an operation is a BatchNorm layer that works as Keras' does.

    A class of a user's that computes otherwise is not one.
    """
    stock = keras.layers.BatchNormalization
    methods = ("call", "build", "_moments")
    return isinstance(operation, stock) and all(
        getattr(type(operation), name) is getattr(stock, name) for name in methods
    )


def copy_of(layer: keras.Layer, name: str) -> keras.Layer:
    """Returns an unbuilt copy of a layer that `is_normal`, by another name."""
    stock = keras.layers.BatchNormalization
    return stock.from_config({**live_config(layer, stock), "name": name})


class NormCalls:
    """Notes the BatchNorm layers of a model, to say which have no moments of a draw."""

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._called: set[int] = set()

    def note(self, operation: keras.Operation, kwargs: dict[str, Any]) -> None:
        """Notes a call of an operation of the graph."""
        if not isinstance(operation, keras.layers.BatchNormalization):
            return
        mode, name = kwargs.get("training"), operation.name
        if mode is False or not operation.trainable:
            return
        if not is_normal(operation):
            self._problems.append(
                f"BatchNorm layer '{name}' is of the class "
                f"{type(operation).__name__}, which computes other moments than "
                "keras.layers.BatchNormalization. Use that one"
            )
        elif getattr(operation, "renorm", False):
            self._problems.append(
                f"BatchNorm layer '{name}' has `renorm=True`, whose moments are not "
                "those of one batch. Train with `renorm=False`"
            )
        elif id(operation) in self._called:
            self._problems.append(
                f"BatchNorm layer '{name}' is called more than once; its moments "
                "would be those of one call. Use one layer a call"
            )
        self._called.add(id(operation))

    def note_inside(self, layer: keras.Layer, outer: keras.Layer) -> None:
        """Notes a layer that is inside of another one."""
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            self._problems.append(
                f"Layer '{outer.name}' has a BatchNorm layer inside, whose moments "
                "cannot be taken. Call it on keras.Input tensors of the model, "
                "freeze it"
            )

    def check(self) -> None:
        """Raises ValueError if a draw cannot have moments of its own for one."""
        if self._problems:
            raise ValueError(
                f'{self._problems[0]}, or use `batch_norm="moving_average"`.'
            )


class BatchMoments(keras.layers.Layer):
    """Normalises by the batch's own moments and hands them out.

    What `keras.layers.BatchNormalization` does in training, without its moving
    averages: mean and (biased) variance over all axes but the channels', in float32
    at least. Where a mask is False nothing counts.

    Args:
        batch_norm: a built `keras.layers.BatchNormalization`, whose axis,
            epsilon and affine parameters are used.
        name: what to call it, the name of `batch_norm` by default.

    Input shape:
        As `batch_norm`.

    Output shape:
        The normalised tensor; the means and variances, each (1, channels); and how
        many values of a channel they are of, (1, 1).
    """

    def __init__(
        self, batch_norm: keras.layers.BatchNormalization, name: str | None = None
    ):
        name = f"{name or batch_norm.name}_moments"
        super().__init__(dtype=batch_norm.dtype_policy, name=name)
        self.batch_norm = batch_norm
        self.supports_masking = True
        self.built = True

    def call(
        self, inputs: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the normalised inputs, means, variances and their count."""
        layer = self.batch_norm
        rank = len(inputs.shape)
        axis = layer.axis % rank
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x = ops.cast(inputs, dtype)
        others = [i for i in range(rank) if i != axis]
        if mask is None:
            sizes = ops.shape(x)
            count = math.prod([ops.cast(sizes[i], "float32") for i in others])
            # Not `ops.moments`, which in Torch is E[x^2] - E[x]^2 and cancels.
            mean, variance = ops.mean(x, axis=others), ops.var(x, axis=others)
        else:
            # As Keras does, the mask is that of all axes but the last.
            there = ops.broadcast_to(ops.expand_dims(mask, -1), ops.shape(x))
            counts = ops.sum(ops.cast(there, dtype), axis=others)
            count = ops.cast(ops.max(counts), "float32")
            counts = ops.maximum(counts, 1)

            def mean_of(values: Tensor) -> Tensor:
                kept = ops.where(there, values, ops.zeros_like(values))
                return ops.sum(kept, axis=others) / counts

            mean = mean_of(x)
            shape = [-1 if i == axis else 1 for i in range(rank)]
            variance = mean_of(ops.square(x - ops.reshape(mean, shape)))
        affine = (
            None if x is None else ops.cast(x, dtype) for x in (layer.beta, layer.gamma)
        )
        outputs = ops.batch_normalization(
            x, mean, variance, axis, *affine, layer.epsilon
        )
        return (
            ops.cast(outputs, self.compute_dtype),
            ops.expand_dims(mean, 0),
            ops.expand_dims(variance, 0),
            ops.reshape(count, (1, 1)),
        )

    def compute_mask(
        self, inputs: Tensor, previous_mask: Tensor | None
    ) -> tuple[Tensor | None, None, None, None]:
        """Returns the mask, that of the first output alone."""
        return previous_mask, None, None, None


def moments_network(
    network: keras.Model, calls: dict[int, str], batch_norms: dict[str, keras.Layer]
) -> keras.Model:
    """Returns a network of the same layers, BatchNorm by the batch, and its moments.

    Outputs, in order, of each of `batch_norms` the mean and the variance, each of shape
    (1, channels), and their count, (1, 1). Dropout and the like are off, as they are
    in prediction.

    Args:
        network: a plain network, such as a `PointNetwork` has.
        calls: id of what stands for a BatchNorm in its graph -> its name. Each is
            called once.
        batch_norms: name -> the layer with its moments.
    """
    found = {}

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        if id(operation) not in calls:
            if not isinstance(operation, keras.Layer):
                operation = keras_graph.use(operation, operation.name)
            return operation(*args, **kwargs)
        name = calls[id(operation)]
        # With the mask of its call, if there is one.
        outputs, *found[name] = BatchMoments(batch_norms[name], name)(
            args[0], mask=kwargs.get("mask")
        )
        return outputs

    inputs, _ = keras_graph.rebuild(network, call)
    moments = [x for name in batch_norms for x in found[name]]
    return keras_private.model_of(inputs, moments)


class PooledMoments:
    """Exact moments of a pass over data, from the moments of its batches.

    With n_b values of a channel in batch b and weights p_b = n_b / sum n_b,

        mean     = sum_b p_b mean_b
        variance = sum_b p_b (variance_b + mean_b^2) - mean^2

    which are the mean and biased variance over all values together, as if
    they had been one array (no moving average). DrawnWeights in float64, and updated
    in the form that does not cancel (Chan, Golub, LeVeque, 1983).
    """

    def __init__(self) -> None:
        self.count = 0.0
        self.mean: np.ndarray | float = 0.0
        self.variance: np.ndarray | float = 0.0

    def add(self, count: float, mean: np.ndarray, variance: np.ndarray) -> None:
        """Adds a batch of `count` values of each channel."""
        if not count:  # all of them masked
            return
        mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
        self.count += count
        fraction = count / self.count
        # What is not finite comes out so; `estimate_batch_norm` then names the layer.
        with np.errstate(invalid="ignore", over="ignore"):
            change = mean - self.mean
            self.mean = self.mean + fraction * change
            self.variance = (
                (1 - fraction) * self.variance
                + fraction * variance
                + fraction * (1 - fraction) * change**2
            )

    def result(self, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean and the variance."""
        return np.asarray(self.mean, dtype), np.asarray(self.variance, dtype)
