"""Depthwise 2D convolution whose kernel a generator makes from noise."""

import keras

from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.operations import DepthwiseConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class HyperDepthwiseConv2D(
    GeneratedKernel, DepthwiseConvOperation, keras.layers.DepthwiseConv2D
):
    """Depthwise 2D convolution whose kernel comes from a small hypernetwork.

    A drop-in for `keras.layers.DepthwiseConv2D`, as `tfhyper.layers.HyperConv2D` is
    for `keras.layers.Conv2D`; the generator and its arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.DepthwiseConv2D`.
        hidden_units, code_units, prior, seed, mean_kernel, deviation_scale,
            rank, generator_regularizer: see `tfhyper.layers.HyperConv2D`.

    Call arguments:
        inputs: tensor, (batch, height, width, channels).
        code: optional tensor of shape (1, units).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, new_height, new_width, channels x depth_multiplier).

    Raises:
        ValueError: for arguments out of range, an unknown prior, or a code
            whose shape is not (1, units).

    Example:

    >>> layer = tfhyper.layers.HyperDepthwiseConv2D(3)
    >>> layer(keras.random.normal((2, 8, 8, 4))).shape
    (2, 6, 6, 4)

    Reference:
        Ukai, Matsubara, Uehara, NOLTA 10(1), 2019, sections 3.1 and 4.1.
    """

    point_class = keras.layers.DepthwiseConv2D
