"""Values of a network that holds several copies of a tensor side by side."""

import dataclasses
from typing import Any

import keras
from keras import ops

from tfhyper.tensor_types import Shape, Tensor


@dataclasses.dataclass
class StackedTensor:
    """N copies of a tensor, one after the other along the axis of the channels.

    Attributes:
        tensor: all of them in one.
        copies: N.
        axis: 1 or -1.
    """

    tensor: Tensor
    copies: int
    axis: int

    def split(self) -> list[Tensor]:
        """Returns the copies one by one."""
        # Slices, and not `ops.split`: TensorFlow with oneDNN takes the first part for
        # the others where max(x, a x) follows, a leaky ReLU, without a word.
        if not hasattr(self, "_parts"):
            axis = self.axis % len(self.tensor.shape)
            size, rest = self.tensor.shape[axis], self.tensor.shape[axis + 1 :]
            if axis == 0:  # one number of an example has no axis but the examples'
                parts = ops.reshape(self.tensor, (self.copies, -1, *rest))
                self._parts = [parts[i] for i in range(self.copies)]
            else:
                size //= self.copies
                self._parts = [
                    self.tensor[(slice(None),) * axis + (slice(i, i + size),)]
                    for i in range(0, self.copies * size, size)
                ]
        return self._parts

    def is_along(self, axis: int) -> bool:
        """Whether an axis, from 0 or from the end, is that of the copies."""
        rank = len(self.tensor.shape)
        return self.axis % rank == axis % rank

    def mean(self, name: str) -> Tensor:
        """Returns the mean of the copies."""
        average = keras.layers.Average(name=name, dtype=_dtype(self.tensor))
        return average(self.split())

    @property
    def shape(self) -> Shape:
        """The shape of one copy."""
        shape = list(self.tensor.shape)
        if shape[self.axis] is not None:
            shape[self.axis] //= self.copies
        return tuple(shape)


def join(parts: list[Tensor], axis: int, name: str) -> StackedTensor:
    """Returns tensors, one for each copy, side by side."""
    layer = keras.layers.Concatenate(axis=axis, name=name, dtype=_dtype(parts[0]))
    return StackedTensor(layer(parts), len(parts), axis)


def widen(
    x: Tensor | StackedTensor, copies: int, axis: int, name: str
) -> StackedTensor:
    """Returns a tensor, or what is wide already, so many times side by side."""
    return x if isinstance(x, StackedTensor) else join([x] * copies, axis, name)


def wide_copy(
    layer_class: type[keras.Layer], config: dict[str, Any], name: str
) -> keras.Layer:
    """Returns a layer for N times the channels, whose weights are set later.

    Args:
        layer_class: a class of Keras.
        config: its config.
        name: the layer's name.
    """
    # Initial values may be arrays of the size that the layer had.
    zeros = {key: "zeros" for key in config if key.endswith("_initializer")}
    return layer_class.from_config({**config, **zeros, "name": name})


def _dtype(tensor: Tensor) -> str | None:
    # The layers' own, not the global policy's, which would round what is joined.
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return dtype if keras.backend.is_float_dtype(dtype) else None
