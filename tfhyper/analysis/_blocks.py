"""What belongs together in a network, by the names of its layers."""

import re

_BLOCK = re.compile(r"(.*?block_?\d+[a-z]?)(?:_|$)")


def block_of(name: str) -> str:
    """Returns the block of a layer: its name up to `block` and a number.

    `stage1_block2` of `stage1_block2_conv1`, as this package names layers, and
    `conv2_block1` of `conv2_block1_1_conv`, as `keras.applications` does. A layer
    whose name has no such part is a block of its own.
    """
    found = _BLOCK.match(name)
    return found[1] if found else name


def stage_of(name: str) -> str:
    """Returns the stage of a layer: its block's name without the block.

    `stage1` of `stage1_block2_conv1`; a layer outside of the blocks is its own.
    """
    return block_of(name).partition("_block")[0]
