"""Residual networks for small images."""

from typing import Any

import keras

from tfhyper.checks import check_bool
from tfhyper.kits import LayerKit
from tfhyper.models import blocks
from tfhyper.models.residual import residual_network
from tfhyper.models.sizes import blocks_per_stage, doubling_stages
from tfhyper.tensor_types import Tensor


def resnet_cifar(
    depth: int = 32,
    *,
    preactivation: bool = False,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    kit: str | LayerKit = "hyper",
) -> keras.Model:
    """Returns the ResNet for CIFAR-10 of He et al. (2016), such as ResNet-32.

    A 3x3 stem of 16 channels, three stages of (depth - 2) / 6 blocks of two
    convolutions with 16, 32 and 64 channels, the second and third starting with
    strides 2, global average pooling, logits. Shortcuts have no parameters:
    pixels are left out, channels filled up with zeros. ResNet-32 has 0.46 million
    parameters, ResNet-110 1.7 million, in both forms.

    Args:
        depth: int, 6 n + 2 with n >= 1: 20, 32, 44, 56, 110.
        preactivation: bool. `False`: convolution, norm, ReLU; `True`: norm, ReLU,
            convolution. Then the first block's shortcut starts behind its first
            ReLU, and norm and ReLU follow the last block.
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
        2016, section 4.2 and table 6. The same: Identity mappings in deep
        residual networks, ECCV 2016, appendix.
    """
    parts = resnet_cifar_parts(depth, preactivation)
    prefix = "preact_resnet" if preactivation else "resnet"
    return residual_network(
        kit, input_shape, num_classes, name=f"{prefix}_cifar_{depth}", **parts
    )


def resnet_cifar_parts(depth: int, preactivation: bool) -> dict[str, Any]:
    """Returns the parts that `residual_network`, or a trunk, makes this network of.

    Raises:
        ValueError: for a depth that is not 6 n + 2, or no bool.
    """
    size = blocks_per_stage(depth, 6, 2, "20, 32, 110")
    stages = doubling_stages(16, [size] * 3)
    if check_bool("preactivation", preactivation):
        return {"stages": stages, "block": _preact_block}
    return {
        "stages": stages,
        "block": blocks.post_activation_block,
        "stem": blocks.conv_norm_relu_stem,
        "head": blocks.no_head,
    }


def _preact_block(
    kit: LayerKit, x: Tensor, width: int, strides: int, *, name: str
) -> Tensor:
    first = name == "stage1_block1"
    return blocks.preact_block(
        kit, x, width, strides, name=name, project=False, split_after_activation=first
    )
