"""ResNet-50, -101, -152 and their kin, for large images."""

import functools
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper.checks import (
    check_choice,
    check_number,
    check_positive_integer,
    warn_of_old_name,
)
from tfhyper.kits import LayerKit
from tfhyper.models import blocks
from tfhyper.models.residual import residual_network
from tfhyper.models.sizes import check_image_shape, doubling_stages, scaled

Version: TypeAlias = Literal["v1", "v1.5"]
VERSIONS: tuple[Version, ...] = get_args(Version)


# Depth -> blocks of each stage.
DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(
    depth: int = 50,
    *,
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    kit: str | LayerKit = "hyper",
    version: Version = "v1",
    stage_blocks: Sequence[int] | None = None,
    width_multiplier: float = 1.0,
) -> keras.Model:
    """Returns a ResNet of He et al. (2016), for images of 224x224.

    A 7x7 stem of 64 channels with strides 2 and 3x3 max pooling with strides 2;
    four stages, of 3, 4, 6 and 3 blocks in ResNet-50: bottlenecks with 64, 128, 256
    and 512 channels inside and four times as many outside. All stages but the first
    start with strides 2. Then come global average pooling and logits. Convolutions
    have no bias. With 1000 classes ResNet-50 has 25,557,032 trainable parameters.

    Args:
        depth: 50, 101 or 152.
        num_classes: int > 0.
        input_shape: (height, width, channels), at least 32x32.
        kit: a `LayerKit` or its name.
        version: `"v1"`, strides in a block's first 1x1 convolution, as published
            and in `keras.applications.ResNet50`; `"v1.5"`, in its 3x3 convolution,
            as in most later code.
        stage_blocks: ints > 0, blocks of each stage, in place of those of `depth`.
        width_multiplier: float > 0, factor of all channels, of 64 rounded.

    Returns:
        A functional `keras.Model` that gives logits (batch, num_classes).

    Raises:
        ValueError: for another depth, images smaller than 32x32, or sizes out of
            range.

    Example:

    >>> model = tfhyper.models.resnet(num_classes=10, kit="deterministic")
    >>> model.count_params()
    23581642

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR
        2016, table 1.
    """
    input_shape = check_image_shape(input_shape, 32)
    check_choice("version", version, VERSIONS)
    check_choice("depth", depth, DEPTHS)
    if stage_blocks is None:
        stage_blocks = DEPTHS[depth]
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


def resnet50(**options: Any) -> keras.Model:
    """Returns `resnet(50, ...)`; the next version has that name alone."""
    warn_of_old_name("tfhyper.models.resnet50", "resnet")
    return resnet(**options)
