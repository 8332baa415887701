"""Transposed 2D convolution whose kernel a generator makes from noise."""

import keras

from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.operations import ConvTransposeOperation


@keras.saving.register_keras_serializable("tfhyper")
class HyperConv2DTranspose(
    GeneratedKernel, ConvTransposeOperation, keras.layers.Conv2DTranspose
):
    """Transposed 2D convolution whose kernel comes from a small hypernetwork.

    A drop-in for `keras.layers.Conv2DTranspose`, as `tfhyper.layers.HyperConv2D` is
    for `keras.layers.Conv2D`; the generator and its arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2DTranspose`.
        hidden_units, code_units, prior, seed, mean_kernel, deviation_scale,
            rank, generator_regularizer: see `tfhyper.layers.HyperConv2D`.

    Call arguments:
        inputs: tensor, (batch, height, width, channels).
        code: optional tensor of shape (1, units).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, new_height, new_width, filters).

    Raises:
        ValueError: for arguments out of range, an unknown prior, or a code
            whose shape is not (1, units).

    Example:

    >>> layer = tfhyper.layers.HyperConv2DTranspose(8, 3, strides=2)
    >>> layer(keras.random.normal((2, 8, 8, 4))).shape
    (2, 17, 17, 8)

    Reference:
        Ukai, Matsubara, Uehara, NOLTA 10(1), 2019, sections 3.1 and 4.1.
    """

    point_class = keras.layers.Conv2DTranspose
