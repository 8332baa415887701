"""Dropout of learned rates before the weights (Gal, Hron and Kendall, 2017)."""

from typing import Any

import keras

from tfhyper.kits.kit import (
    Apply,
    LayerKit,
    conv2d,
    conv2d_transpose,
    dense,
    dropout,
    seed_at,
    through,
    weight_of_kl,
)
from tfhyper.kits.mc_dropout import is_stem
from tfhyper.layers import ConcreteDropout
from tfhyper.layers import concrete_dropout as defaults
from tfhyper.layers.gaussian_weights import PRIOR_SCALE
from tfhyper.layers.live_config import live_config
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.stock_dropout import DROPOUTS


def concrete_dropout(
    num_examples: int | None = None,
    *,
    initial_rate: float = defaults.INITIAL_RATE,
    prior_scale: float = PRIOR_SCALE,
    temperature: float = defaults.TEMPERATURE,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit whose layers learn how much of their inputs they drop.

    Every convolution and every dense layer is in a `tfhyper.layers.ConcreteDropout`
    with a rate of its own; but for a stem, a convolution whose input is the data, as
    with `tfhyper.kits.mc_dropout`. A network's own dropout gives way to these: an
    `Identity` stands in its place. Regularizers of kernels give way to the prior.

    Each layer adds its KL divergence / num_examples to the loss, which has to be a
    negative log-likelihood, as the cross-entropy is; `tfhyper.training.KLSchedule`
    multiplies it.

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        initial_rate: float in 0 < initial_rate < 1, all rates at the start. This and
            the next are described in `tfhyper.layers.ConcreteDropout`.
        prior_scale: float > 0, of the prior N(0, prior_scale^2) of the weights.
        temperature: float > 0, of the relaxed masks.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, or for a number out of
            its range.

    Example:

    >>> kit = tfhyper.kits.concrete_dropout(num_examples=50_000)
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> [round(float(x.rate), 2) for x in tfhyper.layers.variational_layers(model)]
    [0.1, 0.1, 0.1, 0.1]

    Reference:
        Gal, Hron, Kendall: Concrete dropout, NeurIPS 2017.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "initial_rate": initial_rate,
        "prior_scale": prior_scale,
        "temperature": temperature,
        "kl_weight": weight_of_kl("concrete_dropout", num_examples),
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    ConcreteDropout(keras.layers.Dense(1), **options)

    def replace(layer: keras.Layer, path: str) -> Apply:
        if type(layer) in DROPOUTS:
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy.name)
        argument = defaults.KERNELS[type(layer)].argument
        config = {**live_config(layer), f"{argument}_regularizer": None}
        plain = type(layer).from_config(config)
        layer_seed = seed_at(seed, path)
        dropped = ConcreteDropout(plain, seed=layer_seed, **options)
        return lambda x: (layer if is_stem(layer, x) else dropped)(x)

    return LayerKit(
        name="concrete_dropout",
        conv=through(replace, conv2d),
        conv_transpose=through(replace, conv2d_transpose),
        dense=through(replace, dense),
        dropout=through(replace, dropout),
        replace=replace,
        replaces=(*defaults.KERNELS, *DROPOUTS),
    )
