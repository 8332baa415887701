"""Dense layer with the posterior of multiplicative normalizing flows."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer
from tfhyper.layers.multiplicative_kernel import MultiplicativeKernel
from tfhyper.layers.operations import DenseOperation


@keras.saving.register_keras_serializable("tfhyper")
class MNFDense(MultiplicativeKernel, DenseOperation, keras.layers.Dense):
    """Dense layer with a posterior of multiplicative normalizing flows.

    A drop-in for `keras.layers.Dense`, as `tfhyper.layers.MNFConv2D` is for
    `keras.layers.Conv2D`; the arguments and the KL term are those. Here z has an
    entry for each input,

        q(W_i | z) = N(W_i; z_i mean_i, sigma_i^2)        the weights of input i

    and local reparameterization draws the outputs from the mean (x z) mean and
    the variance x^2 sigma^2, with a z for each example.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`.
        estimator, num_flows, flow_width, prior_scale, kl_weight, initial_scale,
            multiplier_scale, seed: see `tfhyper.layers.MNFConv2D`.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool: whether to use the estimator; draws are counted apart.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: as `tfhyper.layers.MNFConv2D`.

    Example:

    >>> layer = tfhyper.layers.MNFDense(10)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Louizos and Welling: Multiplicative normalizing flows for variational
        Bayesian neural networks, ICML 2017.
    """

    point_class = keras.layers.Dense
    multiplier_axis = 0

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
