"""Names for the types of what is computed with, whatever the backend."""

from typing import Any, TypeAlias

# A tensor of the backend, a `keras.Variable` or a symbolic `keras.KerasTensor`: what
# `keras.ops` takes. The backends' types have no parent of their own in common.
Tensor: TypeAlias = Any
# Tensors, or arrays, as they are nested in tuples, lists and dicts, or one alone: what
# a model takes or gives.
Structure: TypeAlias = Any
# The sizes of the axes; `None` for one of any size.
Shape: TypeAlias = tuple[int | None, ...]
