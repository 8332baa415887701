"""The residual skeleton, once."""

from collections.abc import Callable, Sequence

import keras

from tfhyper import kits
from tfhyper.checks import (
    check_function,
    check_instance,
    check_positive_integer,
    check_text,
)
from tfhyper.models import blocks
from tfhyper.models.sizes import check_image_shape
from tfhyper.tensor_types import Tensor


def residual_network(
    kit: str | kits.LayerKit,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    block: blocks.Block,
    stages: Sequence[tuple[int, Sequence[int]]],
    stem: Callable[[kits.LayerKit, Tensor], Tensor] = blocks.conv_stem,
    head: Callable[[kits.LayerKit, Tensor, str], Tensor] = blocks.norm_relu,
    name: str,
) -> keras.Model:
    """Returns stem, stages of residual blocks, head, pooling and logits.

    Args:
        kit: a `LayerKit` or its name.
        input_shape: (height, width, channels), channels last.
        num_classes: int > 0.
        block: `(kit, x, width, strides, *, name)`, returns a tensor.
        stages: (strides of the first block, widths of the blocks) for each.
        stem: `(kit, x)`, returns a tensor.
        head: `(kit, x, name)`, returns a tensor, before global pooling.
        name: name of the model.

    Returns:
        A functional `keras.Model`, images (batch, *input_shape) in, logits
        (batch, num_classes) out.

    Raises:
        ValueError: for an input shape that is not three positive ints, or a
            number of classes that is not positive.

    Example:

    >>> model = tfhyper.models.residual_network(
    ...     "hyper",
    ...     (32, 32, 3),
    ...     10,
    ...     block=tfhyper.models.blocks.preact_block,
    ...     stages=[(1, [16]), (2, [32]), (2, [64])],
    ...     name="small",
    ... )
    >>> model.output_shape
    (None, 10)
    """
    input_shape = check_image_shape(input_shape)
    check_positive_integer("num_classes", num_classes)
    for part, function in (("block", block), ("stem", stem), ("head", head)):
        check_function(part, function)
    check_text("name", name)
    _check_stages(stages)
    kit = kits.get(kit)
    inputs = keras.Input(input_shape, name="images")
    x = residual_trunk(kit, inputs, block=block, stages=stages, stem=stem, head=head)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, kit.logits(num_classes, name="logits")(x), name=name)


def residual_trunk(
    kit: kits.LayerKit,
    x: Tensor,
    *,
    block: blocks.Block,
    stages: Sequence[tuple[int, Sequence[int]]],
    stem: Callable[[kits.LayerKit, Tensor], Tensor] = blocks.conv_stem,
    head: Callable[[kits.LayerKit, Tensor, str], Tensor] = blocks.norm_relu,
) -> Tensor:
    """Returns the features of images: stem, stages of residual blocks and head.

    Arguments are those of `residual_network`, which pools and classifies them.
    """
    x = stem(kit, x)
    for s, (strides, widths) in enumerate(stages, 1):
        for b, width in enumerate(widths, 1):
            first = b == 1
            x = block(kit, x, width, strides if first else 1, name=f"stage{s}_block{b}")
    return head(kit, x, "head")


def _check_stages(stages: Sequence[tuple[int, Sequence[int]]]) -> None:
    rule = "pairs of strides and widths of the blocks, one or more"
    if not check_instance("stages", stages, (list, tuple), rule):
        raise ValueError(f"`stages` must be {rule}. Received: stages={stages!r}")
    for stage in stages:
        pair = check_instance("stages", stage, (list, tuple), rule)
        if len(pair) != 2 or not isinstance(pair[1], list | tuple):
            raise ValueError(f"`stages` must be {rule}. Received: stages={stages!r}")
        for size in (pair[0], *pair[1]):
            check_positive_integer("stages", size)
