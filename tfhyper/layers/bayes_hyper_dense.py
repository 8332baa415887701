"""Dense layer of Bayesian hypernetworks."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer
from tfhyper.layers.flow_kernel import FlowKernel
from tfhyper.layers.operations import DenseOperation


@keras.saving.register_keras_serializable("tfhyper")
class BayesHyperDense(FlowKernel, DenseOperation, keras.layers.Dense):
    """Dense layer whose units have random scales: a Bayesian hypernetwork.

    A drop-in for `keras.layers.Dense`, as `tfhyper.layers.BayesHyperConv2D` is
    for `keras.layers.Conv2D`; the posterior and its arguments are those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`.
        num_couplings, hidden_units, prior_mean, prior_scale, kl_weight,
            initial_scale, seed: see `tfhyper.layers.BayesHyperConv2D`.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: as `tfhyper.layers.BayesHyperConv2D`.

    Example:

    >>> layer = tfhyper.layers.BayesHyperDense(10, kl_weight=1 / 60_000)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Krueger et al.: Bayesian hypernetworks, arXiv 1710.04759, 2017.
    """

    point_class = keras.layers.Dense

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
