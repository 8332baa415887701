"""1D convolution with a bounded norm."""

import keras

from tfhyper.layers.operations import ConvOperation
from tfhyper.layers.spectral_kernel import SpectralKernel


@keras.saving.register_keras_serializable("tfhyper")
class SpectralConv1D(SpectralKernel, ConvOperation, keras.layers.Conv1D):
    """1D convolution whose operator norm is at most `norm_bound`.

    A drop-in for `keras.layers.Conv1D`, as `tfhyper.layers.SpectralConv2D` is for
    `keras.layers.Conv2D`; the bound is that.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv1D`.
        norm_bound: float > 0, c.
        power_iterations: int > 0, at each call in training.

    Call arguments:
        inputs: tensor, (batch, steps, channels), or channels first.
        training: bool, whether to go on with the power iteration.

    Output shape:
        (batch, new_steps, filters), or channels first.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> layer = tfhyper.layers.SpectralConv1D(8, 3, padding="causal")
    >>> layer(keras.random.normal((2, 16, 3))).shape
    (2, 16, 8)

    Reference:
        Liu et al.: Simple and principled uncertainty estimation with deterministic
        deep learning via distance awareness, NeurIPS 2020.
    """

    point_class = keras.layers.Conv1D
