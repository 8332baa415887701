"""1D convolution whose kernel a generator makes from noise."""

import keras

from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class HyperConv1D(GeneratedKernel, ConvOperation, keras.layers.Conv1D):
    """1D convolution whose kernel comes from a small hypernetwork.

    A drop-in for `keras.layers.Conv1D`, as `tfhyper.layers.HyperConv2D` is
    for `keras.layers.Conv2D`; the generator and its arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv1D`.
        hidden_units, code_units, prior, seed, mean_kernel, deviation_scale,
            rank, generator_regularizer: see `tfhyper.layers.HyperConv2D`.

    Call arguments:
        inputs: tensor, (batch, steps, channels).
        code: optional tensor of shape (1, units).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, new_steps, filters).

    Raises:
        ValueError: for arguments out of range, an unknown prior, or a code
            whose shape is not (1, units).

    Example:

    >>> layer = tfhyper.layers.HyperConv1D(16, 3, padding="causal")
    >>> layer(keras.random.normal((2, 50, 4))).shape
    (2, 50, 16)

    Reference:
        Ukai, Matsubara, Uehara, NOLTA 10(1), 2019, sections 3.1 and 4.1.
    """

    point_class = keras.layers.Conv1D
