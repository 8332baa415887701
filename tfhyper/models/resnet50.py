"""ResNet-50 and its kin, for large images."""

import functools
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import keras

from tfhyper.checks import check_choice, check_number, check_positive_integer
from tfhyper.kits import LayerKit
from tfhyper.models import blocks
from tfhyper.models.residual import residual_network
from tfhyper.models.sizes import check_image_shape, doubling_stages, scaled

Version: TypeAlias = Literal["v1", "v1.5"]
VERSIONS: tuple[Version, ...] = get_args(Version)


def resnet50(
    *,
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    kit: str | LayerKit = "hyper",
    version: Version = "v1",
    stage_blocks: Sequence[int] = (3, 4, 6, 3),
    width_multiplier: float = 1.0,
) -> keras.Model:
    """Returns the ResNet-50 of He et al. (2016), for images of 224x224.

    A 7x7 stem of 64 channels with strides 2 and 3x3 max pooling with strides 2;
    four stages of 3, 4, 6 and 3 bottleneck blocks with 64, 128, 256 and 512
    channels inside and four times as many outside, all but the first starting
    with strides 2; global average pooling, logits. Convolutions have no bias.
    With 1000 classes it has 25,557,032 trainable parameters.

    Args:
        num_classes: int > 0.
        input_shape: (height, width, channels), at least 32x32.
        kit: a `LayerKit` or its name.
        version: `"v1"`, strides in a block's first 1x1 convolution, as published
            and in `keras.applications.ResNet50`; `"v1.5"`, in its 3x3 convolution,
            as in most later code.
        stage_blocks: ints > 0, blocks of each stage: (3, 4, 23, 3) is ResNet-101,
            (3, 8, 36, 3) ResNet-152.
        width_multiplier: float > 0, factor of all channels, of 64 rounded.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for images smaller than 32x32, or sizes out of range.

    Example:

    >>> model = tfhyper.models.resnet50(num_classes=10, kit="deterministic")
    >>> model.count_params()
    23581642

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR
        2016, table 1.
    """
    input_shape = check_image_shape(input_shape, 32)
    check_choice("version", version, VERSIONS)
    if not isinstance(stage_blocks, Sequence) or not stage_blocks:
        raise ValueError(
            "`stage_blocks` must be a sequence of one number or more. "
            f"Received: stage_blocks={stage_blocks!r}"
        )
    for count in stage_blocks:
        check_positive_integer("stage_blocks", count)
    check_number("width_multiplier", width_multiplier, positive=True)
    width = scaled(64, width_multiplier)
    return residual_network(
        kit,
        input_shape,
        num_classes,
        block=functools.partial(
            blocks.post_activation_bottleneck, strides_first=version == "v1"
        ),
        stages=doubling_stages(width, stage_blocks),
        stem=functools.partial(blocks.large_image_stem, width=width),
        head=blocks.no_head,
        name=f"resnet_{2 + 3 * sum(stage_blocks)}",
    )
