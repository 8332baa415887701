"""Dense layer with a bounded norm."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer
from tfhyper.layers.operations import DenseOperation
from tfhyper.layers.spectral_kernel import SpectralKernel


@keras.saving.register_keras_serializable("tfhyper")
class SpectralDense(SpectralKernel, DenseOperation, keras.layers.Dense):
    """Dense layer whose operator norm is at most `norm_bound`.

    A drop-in for `keras.layers.Dense`. With W the trained kernel and sigma its largest
    singular value, the kernel that is used is

        W min(1, c / sigma)

    so that outputs before the activation are at most c times as far from each other
    as inputs are. In residual networks a bound below 1 keeps inputs that are far from
    each other apart as well: what makes a network aware of distances, with
    `tfhyper.layers.RandomFeatureGaussianProcess` at its end. `keras.layers.
    SpectralNormalization` divides by sigma always. Power iteration finds sigma, one
    step at each call in training, and its vector is saved with the layer.

    It draws nothing: in a draw of `tfhyper.PosteriorPredictor` it is a stock layer.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`.
        norm_bound: float > 0, c.
        power_iterations: int > 0, at each call in training.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool, whether to go on with the power iteration.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> layer = tfhyper.layers.SpectralDense(10, norm_bound=0.9)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Liu et al.: Simple and principled uncertainty estimation with deterministic
        deep learning via distance awareness, NeurIPS 2020, section 3.2. Miyato et al.:
        Spectral normalization for generative adversarial networks, ICLR 2018. Gouk et
        al.: Regularisation of neural networks by enforcing Lipschitz continuity,
        Machine Learning 110, 2021.
    """

    point_class = keras.layers.Dense

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
