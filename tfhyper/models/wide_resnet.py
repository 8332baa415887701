"""Wide residual networks."""

import functools

import keras

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.models.blocks import preact_block
from tfhyper.models.residual import residual_network
from tfhyper.models.sizes import blocks_per_stage, doubling_stages


def wide_resnet(
    depth: int = 28,
    width: int = 10,
    *,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "hyper",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns WRN-depth-width (Zagoruyko and Komodakis, 2016).

    A 3x3 stem of 16 channels, three stages of (depth - 4) / 6 pre-activation
    blocks with 16, 32 and 64 times `width` channels, the second and third
    starting with strides 2, BatchNorm, ReLU, global average pooling, logits.
    WRN-28-10 has 36.5 million parameters.

    Args:
        depth: int, 6 n + 4 with n >= 1: 10, 16, 22, 28, 40.
        width: int > 0, the widening factor k.
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name, `"hyper"` or `"deterministic"`.
        dropout: float in 0 <= dropout < 1, between the convolutions of a block.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for a depth that is not 6 n + 4, or sizes out of range.

    Example:

    >>> model = tfhyper.models.wide_resnet(28, 10, kit="deterministic")
    >>> model.count_params()
    36497146

    Reference:
        Zagoruyko, Komodakis: Wide Residual Networks, BMVC 2016, table 1.
    """
    blocks = blocks_per_stage(depth, 6, 4, "10, 16, 28")
    check_positive_integer("width", width)
    check_number("dropout", dropout, below=1)
    return residual_network(
        kit,
        input_shape,
        num_classes,
        block=functools.partial(preact_block, dropout=dropout),
        stages=doubling_stages(16 * width, [blocks] * 3),
        name=f"wide_resnet_{depth}_{width}",
    )
