"""Batches of arrays, for a training that goes on after it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tfhyper.checks import check_finite, check_integer
from tfhyper.tensor_types import Structure

if TYPE_CHECKING:
    import tensorflow as tf


class ArrayBatches:
    """Arrays in another order in each epoch, by batches.

    What `tfhyper.training.fit_in_workdir` trains on where the data are arrays and no
    pipeline of `tfhyper.data.load`: the order is a function of the seed and the epoch,
    so that a training that was killed goes on as it would have. All batches are whole:
    examples that are left over at the end of an epoch wait for another one.

    Args:
        x: inputs, an array or a structure of arrays, whose first axis is that of the
            examples.
        y: labels or targets, as `x`.
        batch_size: int > 0, at most the number of examples.
        seed: int in 0 <= seed < 2**31, of the order.

    Attributes:
        num_examples: how many examples there are.
        steps_per_epoch: whole batches of them.

    Raises:
        TypeError: for text, objects, and rows of different lengths.
        ValueError: for values that are not finite, arrays of different lengths or
            without examples, and arguments out of range.

    Example:
        >>> batches = ArrayBatches(np.eye(10), np.arange(10), batch_size=4)
        >>> batches.steps_per_epoch
        2
        >>> x, y = next(iter(batches.train_from(0)))
        >>> x.numpy().argmax(-1).tolist() == y.numpy().tolist()
        True
    """

    def __init__(
        self, x: Structure, y: Structure, batch_size: int = 128, *, seed: int = 0
    ):
        self._arrays = tuple(
            _map(lambda a, name=name: _check_array(name, a), part)
            for name, part in (("x", x), ("y", y))
        )
        shapes: list[tuple[int, ...]] = []
        _map(lambda a: shapes.append(a.shape), self._arrays)
        lengths = {shape[0] if shape else 0 for shape in shapes}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                "`x` and `y` must be arrays of the same number of examples, one or "
                f"more. Received: arrays of shapes {shapes}"
            )
        self.num_examples = lengths.pop()
        self._batch_size = check_integer("batch_size", batch_size, 1, self.num_examples)
        self.seed = check_integer("seed", seed, 0, 2**31 - 1)
        self.steps_per_epoch = self.num_examples // self._batch_size

    def train_from(self, epoch: int) -> tf.data.Dataset:
        """Returns the batches from an epoch on, without end, as (x, y).

        Args:
            epoch: int >= 0.
        """
        import tensorflow as tf

        check_integer("epoch", epoch, 0)

        def spec(array: np.ndarray) -> tf.TensorSpec:
            return tf.TensorSpec((self._batch_size, *array.shape[1:]), array.dtype)

        found = tf.data.Dataset.from_generator(
            lambda: self._batches(epoch),
            output_signature=_map(spec, self._arrays),
        )
        return found.prefetch(2)

    def _batches(self, epoch: int) -> Iterator[Any]:
        while True:
            rng = np.random.default_rng((self.seed, epoch))
            order = rng.permutation(self.num_examples)
            for step in range(self.steps_per_epoch):
                rows = order[step * self._batch_size :][: self._batch_size]
                yield _map(lambda x, at=rows: x[at], self._arrays)
            epoch += 1


def _map(function: Callable[..., Any], structure: Structure) -> Any:
    """Returns what a function makes of each array of a structure."""
    import keras  # not at the top: it brings a backend

    return keras.tree.map_structure(function, structure)


def _check_array(name: str, value: Any) -> np.ndarray:
    """Returns an array of finite numbers, in their own dtype."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"`{name}` must have rows of one length. Received: {name}={value!r}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {name} of dtype {array.dtype}"
        )
    return check_finite(name, array)
