"""Residual networks for small images."""

from tfhyper.checks import check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.models import blocks
from tfhyper.models.residual import residual_network


def resnet_cifar(
    depth: int = 32,
    *,
    preactivation: bool = False,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "hyper",
):
    """Returns the ResNet for CIFAR-10 of He et al. (2016), such as ResNet-32.

    A 3x3 stem of 16 channels, three stages of (depth - 2) / 6 blocks of two
    convolutions with 16, 32 and 64 channels, the second and third starting with
    strides 2, global average pooling, logits. ResNet-32 has 0.46 million
    parameters, ResNet-110 1.7 million.

    Args:
        depth: int, 6 n + 2 with n >= 1: 20, 32, 44, 56, 110.
        preactivation: bool. `False`: convolution, norm, ReLU, and shortcuts without
            parameters; `True`: norm, ReLU, convolution ("Identity mappings in deep
            residual networks", 2016), and shortcuts as in `wide_resnet`, whose
            block this is.
        num_classes: int > 0.
        input_shape: (height, width, channels).
        kit: a `LayerKit` or its name.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for a depth that is not 6 n + 2, or sizes out of range.

    Example:

    >>> model = tfhyper.models.resnet_cifar(32, kit="deterministic")
    >>> model.count_params()  # 2,272 of them moving averages
    466426

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR
        2016, section 4.2 and table 6.
    """
    check_positive_integer("depth", depth)
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(
            "`depth` must be 6 n + 2 with n >= 1, such as 20, 32, 110. "
            f"Received: depth={depth}"
        )
    widths = [(strides, [width] * ((depth - 2) // 6)) for strides, width in _STAGES]
    if preactivation:
        form = {"block": blocks.preact_block}
    else:
        form = {
            "block": blocks.post_activation_block,
            "stem": blocks.conv_norm_relu_stem,
            "head": blocks.no_head,
        }
    prefix = "preact_resnet" if preactivation else "resnet"
    return residual_network(
        kit,
        input_shape,
        num_classes,
        stages=widths,
        name=f"{prefix}_cifar_{depth}",
        **form,
    )


_STAGES = ((1, 16), (2, 32), (2, 64))
