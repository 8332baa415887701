"""Dropout before the weights, in prediction too (Gal and Ghahramani, 2016)."""

from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper import keras_private
from tfhyper.checks import check_choice
from tfhyper.kits.kit import (
    Apply,
    LayerKit,
    conv2d,
    conv2d_transpose,
    dense,
    layer_name,
    seed_at,
    through,
)
from tfhyper.layers import MCDropout
from tfhyper.layers.concrete_dropout import KERNELS
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.stock_dropout import DROPOUTS, mask_of_channels, mask_shape
from tfhyper.tensor_types import Shape, Tensor

WEIGHTED = (*KERNELS, keras.layers.EinsumDense)


Unit: TypeAlias = Literal["element", "filter"]
UNITS: tuple[Unit, ...] = get_args(Unit)


def mc_dropout(
    rate: float = 0.1, *, unit: Unit = "element", seed: int | None = None
) -> LayerKit:
    """Returns the kit that puts `MCDropout` before the layers with weights.

    Before every convolution and every dense layer, whose weights are plain
    variables; not before a stem: a convolution whose input is the data. A
    network's own dropout layers become `MCDropout` at their own rate. A layer
    that one of those feeds has no second one before it.

    Args:
        rate: float in 0 <= rate < 1, the probability of dropping an input. With
            0 nothing is put before the layers, so that `tfhyper.convert` only
            turns on the dropout that a network has.
        unit: what is dropped together. `"element"`: each number by itself.
            `"filter"`: each channel of an example as a whole, what one filter of the
            layer before made of it, at all positions; of vectors each number. A
            network's own dropout does so too, but for layers with a `noise_shape`.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: for a rate or a seed out of range, or an unknown unit.

    Example:

    >>> kit = tfhyper.kits.mc_dropout(0.1)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    >>> sum(isinstance(x, tfhyper.layers.MCDropout) for x in model.layers)
    9

    Reference:
        Gal, Ghahramani: Dropout as a Bayesian approximation, ICML 2016. Tompson et
        al.: Efficient object localization using convolutional networks, CVPR 2015
        (channels as a whole).
    """
    seed = check_seed(seed)
    check_choice("unit", unit, UNITS)
    # A bad argument is refused here, at the door, not when a network is built.
    MCDropout(rate)

    def dropout(
        rate: float,
        path: str,
        noise_shape: Shape | None = None,
        data_format: str | None = None,
    ) -> Apply:
        layer_seed = seed_at(seed, path)
        options: dict[str, Any] = {"seed": layer_seed, "name": layer_name(path)}
        if unit == "element" or noise_shape is not None:
            return MCDropout(rate, noise_shape, **options)
        first = (data_format or keras.config.image_data_format()) == "channels_first"
        made: dict[int, MCDropout] = {}  # a shared layer has one mask

        def apply(x: Tensor) -> Tensor:
            # The inputs say how many axes of positions there are.
            rank = len(x.shape)
            if rank not in made:
                made[rank] = MCDropout(rate, mask_of_channels(rank, first), **options)
            return made[rank](x)

        return apply

    def replace(layer: keras.Layer, path: str) -> Apply:
        if type(layer) in DROPOUTS:
            return dropout(layer.rate, path, mask_shape(layer))
        if rate == 0:
            return layer
        data_format = getattr(layer, "data_format", "channels_last")
        before = dropout(rate, f"{path}/mc_dropout", data_format=data_format)

        def apply(x: Tensor) -> Tensor:
            return layer(x if _is_dropped(x) or is_stem(layer, x) else before(x))

        return apply

    return LayerKit(
        name="mc_dropout",
        conv=through(replace, conv2d),
        conv_transpose=through(replace, conv2d_transpose),
        dense=through(replace, dense),
        dropout=lambda rate, *, name: dropout(rate, name),
        replace=replace,
        replaces=(*WEIGHTED, *DROPOUTS),
    )


def _is_dropped(x: Tensor) -> bool:
    """Says whether a tensor of a graph comes straight from `MCDropout`."""
    made_by = keras_private.history(x)
    return made_by is not None and isinstance(made_by.operation, MCDropout)


def is_stem(layer: keras.Layer, x: Tensor) -> bool:
    """Says whether a layer is a convolution whose input, `x` of a graph, is the data.

    Where nothing is known of the layers before it, it is none.
    """
    dense = isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense)
    return not (dense or _comes_from_weights(x))


def _comes_from_weights(x: Tensor) -> bool:
    """Says whether layers with weights stand before a tensor; True if unknown."""
    tensors, seen = [x], set[tuple[int, int]]()
    while tensors:
        tensor = tensors.pop()
        made_by = keras_private.history(tensor)
        if made_by is None:
            return True
        operation, node, _ = made_by
        is_data = isinstance(operation, keras.layers.Normalization)
        if getattr(operation, "weights", None) and not is_data:
            return True
        if (id(operation), node) not in seen:
            seen.add((id(operation), node))
            tensors += keras_private.inbound_nodes(operation)[node].input_tensors
    return False
