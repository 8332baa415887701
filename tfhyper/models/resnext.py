"""Networks of residual blocks with grouped convolutions."""

import functools

import keras

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.models import blocks
from tfhyper.models.residual import residual_network
from tfhyper.models.sizes import blocks_per_stage, doubling_stages, scaled
from tfhyper.tensor_types import Tensor


def resnext(
    depth: int = 29,
    cardinality: int = 8,
    base_width: int = 64,
    *,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "hyper",
    width_multiplier: float = 1.0,
) -> keras.Model:
    """Returns ResNeXt-depth, cardinality x base_width d (Xie et al., 2017), for CIFAR.

    A 3x3 stem of 64 channels, three stages of (depth - 2) / 9 bottleneck blocks,
    the second and third starting with strides 2, global average pooling, logits.
    In the stages n = 64, 128 and 256: 1x1 and grouped 3x3 convolutions with
    cardinality groups of floor(n * base_width / 64) channels, and 1x1 to 4 n
    channels; convolution, norm, ReLU; where the width changes a 1x1 convolution
    and norm as shortcut. ResNeXt-29, 8x64d has 34.4 million parameters.

    Args:
        depth: int, 9 n + 2 with n >= 1: 11, 20, 29, 38.
        cardinality: int > 0, groups of the 3x3 convolutions.
        base_width: int > 0, channels of one group in the first stage.
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name.
        width_multiplier: float > 0, factor of 64, the channels of the stem and of
            n, rounded. A group must keep one channel or more.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for a depth that is not 9 n + 2, or sizes out of range.

    Example:

    >>> model = tfhyper.models.resnext(29, 8, 64, kit="deterministic")
    >>> model.count_params()  # 57,472 of them moving averages
    34484170

    Reference:
        Xie, Girshick, Dollar, Tu, He: Aggregated residual transformations for
        deep neural networks, CVPR 2017, section 5.3 and table 7. Blocks as in the
        authors' code, where those with ReLU after the addition did better than
        the pre-activation of the paper.
    """
    size = blocks_per_stage(depth, 9, 2, "20, 29, 38")
    check_positive_integer("cardinality", cardinality)
    check_positive_integer("base_width", base_width)
    check_number("width_multiplier", width_multiplier, positive=True)
    width = scaled(64, width_multiplier)
    if width * base_width < 64:
        raise ValueError(
            "`base_width` must give each group a channel: base_width * "
            "round(64 * width_multiplier) >= 64. Received: "
            f"base_width={base_width}, width_multiplier={width_multiplier}"
        )

    def block(
        kit: LayerKit, x: Tensor, width: int, strides: int, *, name: str
    ) -> Tensor:
        return blocks.post_activation_bottleneck(
            kit,
            x,
            width,
            strides,
            name=name,
            group_width=width * base_width // 64,
            groups=cardinality,
        )

    return residual_network(
        kit,
        input_shape,
        num_classes,
        block=block,
        stages=doubling_stages(width, [size] * 3),
        stem=functools.partial(blocks.conv_norm_relu_stem, width=width),
        head=blocks.no_head,
        name=f"resnext_{depth}_{cardinality}x{base_width}d",
    )
