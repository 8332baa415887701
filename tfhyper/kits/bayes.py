"""Gaussian posteriors over all kernels: Bayes by Backprop (Blundell et al., 2015)."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from tfhyper import layers
from tfhyper.kits.kit import (
    LayerKit,
    check_roles,
    drawn_by,
    fresh,
    variational_kit,
    weight_of_kl,
)
from tfhyper.layers import gaussian_kernel as defaults
from tfhyper.layers.chosen_variables import MATRICES
from tfhyper.layers.seeds import check_seed

LAYERS = (
    layers.BayesConv1D,
    layers.BayesConv2D,
    layers.BayesConv2DTranspose,
    layers.BayesConv3D,
    layers.BayesDense,
    layers.BayesDepthwiseConv2D,
)

# Arguments that are of a posterior over any variables, too.
_OF_VARIABLES = (
    "prior_scale",
    "prior",
    "trainable_prior_scale",
    "kl_weight",
    "initial_scale",
    "rho_initializer",
)
# Not the layers' default, which is for single layers in place of stock ones.
INITIAL_SCALE = 0.1


def bayes(
    num_examples: int | None = None,
    *,
    estimator: defaults.Estimator = defaults.ESTIMATOR,
    prior_scale: float = defaults.PRIOR_SCALE,
    prior: Any = None,
    trainable_prior_scale: bool = False,
    initial_scale: float = INITIAL_SCALE,
    kernel_initializer: defaults.Initializer = None,
    rho_initializer: defaults.Initializer = None,
    bias_posterior: defaults.BiasPosterior = defaults.BIAS_POSTERIOR,
    variables: Iterable[str] = MATRICES,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit whose convolutions and dense layers have Gaussian posteriors.

    `tfhyper.convert` gives layers of other classes one by
    `tfhyper.layers.RandomVariables`.

    Each layer adds KL(q || p) / num_examples to the loss. Beside a loss that is
    the mean over the batch, their sum is the negative evidence lower bound of
    one example. This is the one place where the KL divergence is scaled;
    `tfhyper.training.KLSchedule` multiplies it, during training, by a factor
    that ends at 1. BatchNorm's affine parameters are plain variables.

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        estimator: these and the next are described in
            `tfhyper.layers.BayesConv2D`.
        prior_scale: float > 0, of the prior N(0, prior_scale^2).
        prior: a `tfp.distributions` distribution in its place.
        trainable_prior_scale: bool, whether each layer learns its prior's scale.
        initial_scale: float > 0, of the posterior, times sqrt(2 / fan_in).
        kernel_initializer: initializer of the means, with other values in each layer;
            `None`: the network's, He's method.
        rho_initializer: initializer of rho in place of `initial_scale`, likewise.
        bias_posterior: `"point"` or `"gaussian"`.
        variables: roles of the variables that `tfhyper.convert` makes random in layers
            that are neither convolutions nor dense layers, those of
            `tfhyper.layers.RandomVariables`. A Gaussian `bias_posterior` adds "bias".
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, for an unknown role,
            and as `tfhyper.layers.BayesConv2D`.
        TypeError: for a prior that cannot be saved.

    Example:

    >>> kit = tfhyper.kits.bayes(num_examples=50_000, estimator="flipout")
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> len(tfhyper.layers.variational_layers(model))
    5

    Random scales at the start, as in the code of the Bayesian CNN:

    >>> normal = keras.initializers.RandomNormal
    >>> kit = tfhyper.kits.bayes(
    ...     num_examples=50_000,
    ...     kernel_initializer=normal(stddev=0.1),
    ...     rho_initializer=normal(-5, 0.1),
    ... )
    >>> model = tfhyper.models.lenet5(kit=kit)

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "estimator": estimator,
        "prior_scale": prior_scale,
        "prior": prior,
        "trainable_prior_scale": trainable_prior_scale,
        "kl_weight": weight_of_kl("bayes", num_examples),
        "initial_scale": initial_scale,
        "kernel_initializer": kernel_initializer,
        "rho_initializer": rho_initializer,
        "bias_posterior": bias_posterior,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    options["prior"] = layers.BayesConv2D(1, 1, **options).prior
    roles = check_roles("variables", variables)
    if bias_posterior == "gaussian":
        roles = tuple(dict.fromkeys((*roles, "bias")))
    own = {name: options[name] for name in _OF_VARIABLES}

    def posterior(**named: Any) -> layers.GaussianPosterior:
        fitting = {name: fresh(value) for name, value in own.items()}
        return layers.GaussianPosterior(**fitting, **named)

    kit = variational_kit("bayes", LAYERS, options, seed)
    wrap = drawn_by(posterior, roles, seed)
    return dataclasses.replace(kit, wrap=wrap, wraps=roles)
