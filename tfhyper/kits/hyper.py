"""Kernels of the residual blocks from hypernetworks (Ukai et al., 2019)."""

import functools
from collections.abc import Iterable
from typing import Any

import keras

from tfhyper import layers
from tfhyper.checks import check_choice, warn_of_old_name
from tfhyper.kits.kit import (
    Apply,
    LayerKit,
    Maker,
    Replace,
    check_roles,
    conv2d,
    conv2d_transpose,
    counterpart,
    drawn_by,
    layer_name,
    seed_at,
    through,
    with_code,
)
from tfhyper.kits.sharing import SHARING, Sharing
from tfhyper.layers import generated_kernel as defaults
from tfhyper.layers.chosen_variables import MATRICES
from tfhyper.layers.latent_code import Prior
from tfhyper.layers.live_config import live_config
from tfhyper.layers.seeds import check_seed
from tfhyper.tensor_types import Tensor

LAYERS = (
    layers.HyperConv1D,
    layers.HyperConv2D,
    layers.HyperConv2DTranspose,
    layers.HyperConv3D,
    layers.HyperDense,
    layers.HyperDepthwiseConv2D,
)


def hyper(
    sharing: Sharing = "all_in_one",
    prior: Prior = defaults.PRIOR,
    *,
    code_units: int = defaults.CODE_UNITS,
    hidden_units: int = defaults.HIDDEN_UNITS,
    mean_kernel: bool = defaults.MEAN_KERNEL,
    deviation_scale: float = defaults.DEVIATION_SCALE,
    rank: int | None = None,
    variables: Iterable[str] = MATRICES,
    seed: int | None = None,
    strategy: Sharing | None = None,
) -> LayerKit:
    """Returns the kit whose residual blocks have generated kernels.

    Every convolution of a residual block has a generator of its own; the stem,
    the classifier and BatchNorm's affine parameters are plain variables (Ukai
    et al., 2019, section 3.3). `sharing` says which of them share a code.

    The defaults are those that came out best at budgets of tens of epochs (table
    in the README): a trained mean kernel, whose deviation is generated from
    U(0, 1). The paper's own form, for its budget of hundreds of epochs, is
    `mean_kernel=False`.

    Args:
        sharing: `"all_in_one"` one code for the network, `"block_wise"` one
            for each residual block, `"layer_wise"` one for each convolution.
        prior: prior of the codes, see `tfhyper.layers.LatentCode`.
        code_units: int > 0, size of z.
        hidden_units: int > 0, hidden units of each generator.
        mean_kernel: bool. `False`: the paper's form, kernel = generated; `True`:
            trained mean + generated deviation, see `tfhyper.layers.HyperConv2D`.
        deviation_scale: float >= 0, with `mean_kernel=True`.
        rank: int > 0, with `mean_kernel=True`: the generators make factors of the mean
            kernels, of that rank, in place of whole kernels, with a few hundredths of
            their weights; `None` for whole ones.
        variables: roles of the variables that `tfhyper.convert` makes random in layers
            that are neither convolutions nor dense layers, those of
            `tfhyper.layers.RandomVariables`. None with `mean_kernel=False`.
        seed: int in 0 <= seed < 2**31 from which the seeds of all codes are
            derived, or `None` for a fresh one.
        strategy: the old name of `sharing`, which the next version has no more.

    Raises:
        ValueError: for an unknown sharing, prior or role, sizes out of range, or a
            `rank` without `mean_kernel`.

    Example:

    >>> kit = tfhyper.kits.hyper("block_wise", prior="normal", mean_kernel=True)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    >>> [layer.name for layer in model.layers if "code" in layer.name]
    ['code_stage1_block1', 'code_stage2_block1', 'code_stage3_block1']
    """
    if strategy is not None:
        check_choice("strategy", strategy, SHARING)
        warn_of_old_name("strategy", "sharing")
        sharing = strategy
    group_of = SHARING[check_choice("sharing", sharing, SHARING)]
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "prior": prior,
        "hidden_units": hidden_units,
        "mean_kernel": mean_kernel,
        "deviation_scale": deviation_scale,
        "rank": rank,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.HyperConv2D(1, 1, code_units=code_units, **options)

    roles = check_roles("variables", variables)
    posterior = functools.partial(
        layers.GeneratedPosterior,
        hidden_units,
        code_units,
        prior,
        deviation_scale,
        rank=rank,
    )
    draw = drawn_by(posterior, roles, seed)

    def open_network() -> dict[str, Maker | Replace]:
        codes: dict[str, Tensor] = {}

        def code_of(path: str, x: Tensor) -> Tensor:
            group = group_of(path)
            if group not in codes:
                codes[group] = layers.LatentCode(
                    code_units,
                    prior,
                    seed=seed_at(seed, group),
                    name=f"code_{layer_name(group)}",
                )(x)
            return codes[group]

        def replace(layer: keras.Layer, path: str) -> Apply:
            layer = counterpart(layer, LAYERS).from_config(
                {**live_config(layer), "code_units": code_units, **options}
            )
            return lambda x: layer(x, code_of(path, x))

        def wrap(layer: keras.Layer, path: str) -> Apply:
            drawn = draw(layer, path)
            # A code is given with any tensor: dropout inside needs one of its own.
            if sharing == "layer_wise":
                return drawn
            return with_code(drawn, functools.partial(code_of, path))

        return {
            "conv": through(replace, conv2d),
            "conv_transpose": through(replace, conv2d_transpose),
            "replace": replace,
            "wrap": wrap,
        }

    return LayerKit(
        name="hyper",
        replaces=tuple(cls.point_class for cls in LAYERS),
        open=open_network,
        # Of other layers there is no generated kernel without a mean.
        wraps=roles if mean_kernel else (),
    )
