"""Multiplicative normalizing flows over all kernels (Louizos and Welling, 2017)."""

from typing import Any

from tfhyper import layers
from tfhyper.kits.kit import LayerKit, variational_kit, weight_of_kl
from tfhyper.layers import multiplicative_kernel as defaults
from tfhyper.layers.seeds import check_seed

LAYERS = (layers.MNFConv2D, layers.MNFDense)


def mnf(
    num_examples: int | None = None,
    *,
    estimator: defaults.Estimator = defaults.ESTIMATOR,
    num_flows: int = defaults.NUM_FLOWS,
    flow_width: int = defaults.FLOW_WIDTH,
    prior_scale: float = defaults.PRIOR_SCALE,
    initial_scale: float = defaults.INITIAL_SCALE,
    multiplier_scale: float = defaults.MULTIPLIER_SCALE,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit of 2D convolutions and dense layers with normalizing flows.

    Each layer adds its bound of KL(q || p), divided by num_examples, to the loss.
    Beside a loss that is the mean over the batch, their sum is the negative lower
    bound of the evidence of one example; `tfhyper.training.KLSchedule` multiplies
    it. BatchNorm's affine parameters and biases are plain variables.

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        estimator: these and the next are described in `tfhyper.layers.MNFConv2D`.
        num_flows: int >= 0.
        flow_width: int > 0.
        prior_scale: float > 0, of the prior N(0, prior_scale^2).
        initial_scale: float > 0, of the kernel given z, times sqrt(2 / fan_in).
        multiplier_scale: float > 0, of z_0.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, and as
            `tfhyper.layers.MNFConv2D`.

    Example:

    >>> kit = tfhyper.kits.mnf(num_examples=50_000)
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> len(tfhyper.layers.variational_layers(model))
    5

    Reference:
        Louizos and Welling: Multiplicative normalizing flows for variational
        Bayesian neural networks, ICML 2017.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "estimator": estimator,
        "num_flows": num_flows,
        "flow_width": flow_width,
        "prior_scale": prior_scale,
        "kl_weight": weight_of_kl("mnf", num_examples),
        "initial_scale": initial_scale,
        "multiplier_scale": multiplier_scale,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.MNFConv2D(1, 1, **options)
    return variational_kit("mnf", LAYERS, options, seed)
