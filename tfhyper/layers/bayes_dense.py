"""Dense layer with a Gaussian posterior over its kernel."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer
from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.operations import DenseOperation


@keras.saving.register_keras_serializable("tfhyper")
class BayesDense(GaussianKernel, DenseOperation, keras.layers.Dense):
    """Dense layer whose kernel has a Gaussian posterior.

    A drop-in for `keras.layers.Dense`, as `tfhyper.layers.BayesConv2D` is
    for `keras.layers.Conv2D`; the posterior, its estimators and its
    arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`.
        estimator, prior_scale, prior, trainable_prior_scale, prior_mean,
            kl_weight, initial_scale, rho_initializer, bias_posterior, pruned, seed: see
            `tfhyper.layers.BayesConv2D`.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool: whether to use the estimator; draws are counted apart.

    Output shape:
        (batch, ..., units).

    Raises:
        TypeError, ValueError: as `tfhyper.layers.BayesConv2D`.

    Example:

    >>> layer = tfhyper.layers.BayesDense(10)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """

    point_class = keras.layers.Dense

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
