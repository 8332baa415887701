"""3D convolution whose kernel a generator makes from noise."""

import keras

from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class HyperConv3D(GeneratedKernel, ConvOperation, keras.layers.Conv3D):
    """3D convolution whose kernel comes from a small hypernetwork.

    A drop-in for `keras.layers.Conv3D`, as `tfhyper.layers.HyperConv2D` is
    for `keras.layers.Conv2D`; the generator and its arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv3D`.
        hidden_units, code_units, prior, seed, mean_kernel, deviation_scale,
            rank, generator_regularizer: see `tfhyper.layers.HyperConv2D`.

    Call arguments:
        inputs: tensor, (batch, depth, height, width, channels).
        code: optional tensor of shape (1, units).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, new_depth, new_height, new_width, filters).

    Raises:
        ValueError: for arguments out of range, an unknown prior, or a code
            whose shape is not (1, units).

    Example:

    >>> layer = tfhyper.layers.HyperConv3D(8, 3)
    >>> layer(keras.random.normal((2, 9, 9, 9, 4))).shape
    (2, 7, 7, 7, 8)

    Reference:
        Ukai, Matsubara, Uehara, NOLTA 10(1), 2019, sections 3.1 and 4.1.
    """

    point_class = keras.layers.Conv3D
