"""Deep pyramidal residual networks."""

import functools
import math

import keras

from tfhyper.checks import check_bool, check_number
from tfhyper.kits import LayerKit
from tfhyper.models import blocks
from tfhyper.models.residual import residual_network
from tfhyper.models.sizes import blocks_per_stage


def pyramidnet(
    depth: int = 110,
    alpha: float = 48,
    *,
    bottleneck: bool = False,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "hyper",
) -> keras.Model:
    """Returns the additive PyramidNet-depth (Han et al., 2017), for CIFAR.

    A 3x3 stem of 16 channels and BatchNorm, three stages of the same number of
    blocks, the second and third starting with strides 2, BatchNorm, ReLU, global
    average pooling, logits. Of N blocks, number k has

        floor(16 + alpha k / N + 1 / 2)

    channels, four times as many come out of it with `bottleneck`. Shortcuts have no
    parameters: 2x2 pixels are averaged, channels filled up with zeros. With depth
    110 and alpha 48 it has 1.8 million parameters.

    Args:
        depth: int, 6 n + 2 with n >= 1, such as 110; with `bottleneck` 9 n + 2,
            such as 164, 200, 236, 272.
        alpha: float > 0, the widening factor: channels from first to last.
        bottleneck: bool, whether blocks are 1x1, 3x3 and 1x1 convolutions in place
            of two 3x3.
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for a depth that the family does not have, or sizes out of
            range.

    Example:

    >>> model = tfhyper.models.pyramidnet(110, 48, kit="deterministic")
    >>> model.count_params()
    1785874

    Reference:
        Han, Kim, Kim: Deep pyramidal residual networks, CVPR 2017. Widths are
        rounded as in the code of the authors; the paper rounds down.
    """
    if check_bool("bottleneck", bottleneck):
        size = blocks_per_stage(depth, 9, 2, "164, 200, 272")
    else:
        size = blocks_per_stage(depth, 6, 2, "20, 56, 110")
    check_number("alpha", alpha, positive=True)
    widths = [
        math.floor(16 + alpha * k / (3 * size) + 0.5) for k in range(1, 3 * size + 1)
    ]
    prefix = "bottleneck_" if bottleneck else ""
    return residual_network(
        kit,
        input_shape,
        num_classes,
        block=functools.partial(blocks.pyramid_block, bottleneck=bottleneck),
        stages=[
            (strides, widths[s * size : (s + 1) * size])
            for s, strides in enumerate((1, 2, 2))
        ],
        stem=blocks.conv_norm_stem,
        name=f"{prefix}pyramidnet_{depth}_{alpha:g}",
    )
