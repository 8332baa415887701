"""Random scales of all filters, from flows: Bayesian hypernetworks."""

from typing import Any

from tfhyper import layers
from tfhyper.kits.kit import LayerKit, variational_kit, weight_of_kl
from tfhyper.layers import flow_kernel as defaults
from tfhyper.layers.seeds import check_seed

LAYERS = (layers.BayesHyperConv2D, layers.BayesHyperDense)


def bayesian_hypernet(
    num_examples: int | None = None,
    *,
    num_couplings: int = defaults.NUM_COUPLINGS,
    hidden_units: int = defaults.HIDDEN_UNITS,
    prior_mean: float = defaults.PRIOR_MEAN,
    prior_scale: float = defaults.PRIOR_SCALE,
    initial_scale: float = defaults.INITIAL_SCALE,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit of Bayesian hypernetworks (Krueger et al., 2017).

    Every convolution and dense layer is weight-normalised, with random scales g
    of its filters, z -> g a flow of its own, and adds its share of KL(q || p) /
    num_examples to the loss, by one draw and its exact density;
    `tfhyper.training.KLSchedule` multiplies it. In the paper one flow makes the
    scales of all layers.

    BatchNorm straight after a convolution, as within the blocks of residual
    networks, undoes its scales. Networks without it, such as
    `tfhyper.models.lenet5`, are those of the paper.

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        num_couplings: these and the next are described in
            `tfhyper.layers.BayesHyperConv2D`.
        hidden_units: int > 0, hidden units of each coupling.
        prior_mean: float >= 0, of the prior of each scale g.
        prior_scale: float > 0.
        initial_scale: float > 0, the deviation of g at the start, times sqrt(2).
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, and as
            `tfhyper.layers.BayesHyperConv2D`.

    Example:

    >>> kit = tfhyper.kits.bayesian_hypernet(num_examples=60_000)
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> len(tfhyper.layers.variational_layers(model))
    5

    Reference:
        Krueger et al.: Bayesian hypernetworks, arXiv 1710.04759, 2017.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "num_couplings": num_couplings,
        "hidden_units": hidden_units,
        "prior_mean": prior_mean,
        "prior_scale": prior_scale,
        "kl_weight": weight_of_kl("bayesian_hypernet", num_examples),
        "initial_scale": initial_scale,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.BayesHyperConv2D(1, 1, **options)
    return variational_kit("bayesian_hypernet", LAYERS, options, seed)
