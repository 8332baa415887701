"""The arithmetic of sizes that networks share: depths, widths, images."""

from collections.abc import Sequence
from typing import Any

from tfhyper.checks import check_instance, check_positive_integer


def blocks_per_stage(depth: int, convs: int, others: int, examples: str) -> int:
    """Returns the blocks in each of three stages of a network of this depth.

    Args:
        depth: int, `convs` n + `others`.
        convs: convolutions that three blocks, one in each stage, add to the depth.
        others: layers that it counts besides.
        examples: depths of published networks, for the message.

    Raises:
        ValueError: for a depth that no n >= 1 gives.
    """
    check_positive_integer("depth", depth)
    blocks, rest = divmod(depth - others, convs)
    if blocks < 1 or rest:
        raise ValueError(
            f"`depth` must be {convs} n + {others} with n >= 1, such as {examples}. "
            f"Received: depth={depth}"
        )
    return blocks


def doubling_stages(width: int, blocks: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Returns stages for `residual_network`, each twice as wide as the one before.

    All but the first begin with strides 2.

    Args:
        width: width of the first.
        blocks: number of blocks in each.
    """
    return [
        (1 if s == 0 else 2, [width * 2**s] * count) for s, count in enumerate(blocks)
    ]


def scaled(size: int, multiplier: float) -> int:
    """Returns size * multiplier, rounded, at least 1."""
    return max(1, round(size * multiplier))


def check_image_shape(shape: Any, smallest: int = 1, any_size: bool = False) -> Any:
    """Returns `shape` as a tuple if it is (height, width, channels), large enough.

    Args:
        shape: three positive ints.
        smallest: the least height and width.
        any_size: whether height and width may be `None`, for any.

    Raises:
        ValueError: for any other shape.
    """
    rule = "(height, width, channels)"
    shape = tuple(check_instance("input_shape", shape, (tuple, list), rule))
    if len(shape) != 3:
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: input_shape={shape}"
        )
    *sizes, channels = (
        None
        if any_size and size is None and axis < 2
        else check_positive_integer("input_shape", size)
        for axis, size in enumerate(shape)
    )
    if min(size for size in (*sizes, smallest) if size is not None) < smallest:
        raise ValueError(
            f"`input_shape` must have height and width of at least {smallest}. "
            f"Received: input_shape={(*sizes, channels)}"
        )
    return (*sizes, channels)
