"""Masks on the weights of all layers: DropConnect (Wan et al., 2013)."""

import functools
from collections.abc import Iterable

from tfhyper import layers
from tfhyper.kits.kit import (
    LayerKit,
    check_roles,
    conv2d,
    conv2d_transpose,
    dense,
    drawn_by,
    keep,
    through,
)
from tfhyper.layers.chosen_variables import MATRICES
from tfhyper.layers.seeds import check_seed


def drop_connect(
    rate: float = 0.1,
    *,
    variables: Iterable[str] = MATRICES,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit that drops weights, where `mc_dropout` drops their inputs.

    Every layer is a `tfhyper.layers.RandomVariables` of the plain one with a
    `tfhyper.layers.BernoulliPosterior`: convolutions and dense layers of networks, and
    all layers with such variables that `tfhyper.convert` finds. A draw has one mask
    for all inputs, so that its network is a plain one of sparse kernels.

    Args:
        rate: float in 0 <= rate < 1, the probability of dropping a weight.
        variables: roles of the variables that are masked, those of
            `tfhyper.layers.RandomVariables`. Without `"kernel"` the layers of networks
            are plain.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: for a rate or a seed out of range, or an unknown role.

    Example:

    >>> kit = tfhyper.kits.drop_connect(0.2)
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> sum(isinstance(x, tfhyper.layers.RandomVariables) for x in model.layers)
    5

    Reference:
        Wan et al.: Regularization of neural networks using DropConnect, ICML 2013.
        Mobiny et al.: DropConnect is effective in modeling uncertainty of Bayesian
        deep networks, Scientific Reports 11, 2021.
    """
    seed = check_seed(seed)
    roles = check_roles("variables", variables)
    # A bad argument is refused here, at the door, not when a network is built.
    layers.BernoulliPosterior(rate)

    posterior = functools.partial(layers.BernoulliPosterior, rate)
    wrap = drawn_by(posterior, roles, seed)
    replace = wrap if "kernel" in roles else keep
    return LayerKit(
        name="drop_connect",
        conv=through(replace, conv2d),
        stem=through(replace, conv2d),
        conv_transpose=through(replace, conv2d_transpose),
        dense=through(replace, dense),
        wrap=wrap,
        wraps=roles,
    )
