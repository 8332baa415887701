"""Dense layer whose kernel a generator makes from noise."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.layers.operations import DenseOperation


@keras.saving.register_keras_serializable("tfhyper")
class HyperDense(GeneratedKernel, DenseOperation, keras.layers.Dense):
    """Dense layer whose kernel comes from a small hypernetwork.

    A drop-in for `keras.layers.Dense`, as `tfhyper.layers.HyperConv2D` is
    for `keras.layers.Conv2D`; the generator and its arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`.
        hidden_units, code_units, prior, seed, mean_kernel, deviation_scale,
            rank, generator_regularizer: see `tfhyper.layers.HyperConv2D`.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        code: optional tensor of shape (1, units).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: for arguments out of range, an unknown prior, or a code
            whose shape is not (1, units).

    Example:

    >>> layer = tfhyper.layers.HyperDense(10, code_units=8, hidden_units=16)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Ukai, Matsubara, Uehara, NOLTA 10(1), 2019, sections 3.1 and 4.1.
    """

    point_class = keras.layers.Dense

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
