"""Which convolutions share one code: three functions of a layer's path."""

from collections.abc import Callable
from typing import Literal, TypeAlias

# Ukai et al. (2019), section 3.2. Layers whose paths map to the same group are
# generated from the same z.
Sharing: TypeAlias = Literal["all_in_one", "block_wise", "layer_wise"]
SHARING: dict[Sharing, Callable[[str], str]] = {
    "all_in_one": lambda path: "network",
    "block_wise": lambda path: path.rpartition("/")[0] or path,
    "layer_wise": lambda path: path,
}
