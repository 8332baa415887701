"""BatchNorm statistics of a draw: the moments of training inputs sent through it."""

import keras
import numpy as np
from keras import ops

from tfhyper.posterior import graph


class BatchMoments(keras.layers.Layer):
    """Normalises by the batch's own moments and hands them out.

    What `keras.layers.BatchNormalization` does in training, without its moving
    averages: mean and (biased) variance over all axes but the channels', in
    float32.

    Args:
        batch_norm: a built `keras.layers.BatchNormalization`, whose axis,
            epsilon and affine parameters are used.

    Input shape:
        As `batch_norm`.

    Output shape:
        The normalised tensor, and the means and variances, each (1, channels).
    """

    def __init__(self, batch_norm: keras.layers.BatchNormalization):
        super().__init__(
            dtype=batch_norm.dtype_policy, name=f"{batch_norm.name}_moments"
        )
        self.batch_norm = batch_norm
        self.built = True

    def call(self, inputs):
        """Returns the normalised inputs, the means and the variances."""
        layer = self.batch_norm
        axis = layer.axis % len(inputs.shape)
        x = ops.cast(inputs, "float32")
        others = [i for i in range(len(inputs.shape)) if i != axis]
        # Not `ops.moments`, which in Torch is E[x^2] - E[x]^2 and cancels.
        mean, variance = ops.mean(x, axis=others), ops.var(x, axis=others)
        outputs = ops.batch_normalization(
            x, mean, variance, axis, layer.beta, layer.gamma, layer.epsilon
        )
        return (
            ops.cast(outputs, self.compute_dtype),
            ops.expand_dims(mean, 0),
            ops.expand_dims(variance, 0),
        )


def moments_network(network: keras.Model, batch_norms: dict) -> keras.Model:
    """Returns a network of the same layers, BatchNorm by the batch, and its moments.

    Outputs, in order, the mean and then the variance of each of `batch_norms`, of
    shape (1, channels). Dropout and the like are off, as they are in prediction.

    Args:
        network: a plain network, such as a `PointNetwork` has.
        batch_norms: name -> BatchNorm layer of `network`.

    Raises:
        ValueError: if one of them is called more than once.
    """
    names = {id(layer): name for name, layer in batch_norms.items()}
    found = {}

    def call(operation, *args, **kwargs):
        if id(operation) not in names:
            same = isinstance(operation, keras.Layer)
            operation = operation if same else graph.clone(operation)
            return operation(*args, **kwargs)
        name = names[id(operation)]
        if name in found:
            raise ValueError(
                f"BatchNorm layer '{name}' is called more than once; its "
                "moments would be those of one call. Use one layer a call."
            )
        outputs, *found[name] = BatchMoments(operation)(args[0])
        return outputs

    inputs, _ = graph.rebuild(network, call)
    return keras.Model(inputs, [x for name in batch_norms for x in found[name]])


class PooledMoments:
    """Exact moments of a pass over data, from the moments of its batches.

    With n_b examples in batch b and weights p_b = n_b / sum n_b,

        mean     = sum_b p_b mean_b
        variance = sum_b p_b (variance_b + mean_b^2) - mean^2

    which are the mean and biased variance over all examples together, as if
    they had been one array (no moving average). Kept in float64, and updated
    in the form that does not cancel (Chan, Golub, LeVeque, 1983).
    """

    def __init__(self):
        self.count = 0
        self.mean = 0.0
        self.variance = 0.0

    def add(self, count: int, mean: np.ndarray, variance: np.ndarray) -> None:
        """Adds a batch of `count` examples."""
        mean, variance = np.float64(mean), np.float64(variance)
        self.count += count
        fraction = count / self.count
        # What is not finite comes out so; `calibrate` then says which layer it is.
        with np.errstate(invalid="ignore", over="ignore"):
            change = mean - self.mean
            self.mean = self.mean + fraction * change
            self.variance = (
                (1 - fraction) * self.variance
                + fraction * variance
                + fraction * (1 - fraction) * change**2
            )

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the mean and the variance, float32."""
        return np.float32(self.mean), np.float32(self.variance)
