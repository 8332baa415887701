"""One way to read inputs, whatever they come as."""

from collections.abc import Iterator

import numpy as np
from keras import ops

from tfhyper.checks import check_finite


class Batches:
    """Batches of inputs, and of labels where there are any, checked.

    Args:
        name: the argument's name in error messages.
        inputs: an array or tensor (examples, ...); or an iterable that can be
            read again and again, such as a `tf.data.Dataset`, of batches of
            inputs or of tuples (inputs, labels, ...).
        batch_size: int > 0, for arrays. Datasets are batched already.
        labels: array (examples,), for arrays.

    Raises:
        ValueError: for no data, NaN or infinite inputs, or a length of the
            labels that does not fit.
        TypeError: for something that cannot be read more than once.
    """

    def __init__(self, name, inputs, batch_size, labels=None):
        self.name = name
        self.is_array = ops.is_tensor(inputs) or hasattr(inputs, "__array__")
        if isinstance(inputs, list | tuple):
            inputs, self.is_array = np.asarray(inputs), True
        self.inputs, self.batch_size = inputs, batch_size
        self.labels = None if labels is None else np.asarray(labels)
        if self.is_array:
            if inputs.ndim < 1 or len(inputs) == 0:
                raise ValueError(
                    f"`{name}` must hold at least one example. "
                    f"Received: {name}.shape={tuple(inputs.shape)}"
                )
            if labels is not None and len(self.labels) != len(inputs):
                raise ValueError(
                    f"`{name}` and its labels must have the same length. "
                    f"Received: {len(inputs)} and {len(self.labels)}"
                )
        elif labels is not None:
            raise ValueError(
                f"`{name}` is a dataset, whose labels come with it: leave `y` out."
            )
        elif not hasattr(inputs, "__iter__") or iter(inputs) is inputs:
            raise TypeError(
                f"`{name}` must be an array or a dataset that can be read again for "
                f"each draw. Received: {name} of type {type(inputs).__name__}"
            )

    def __len__(self) -> int | None:
        if self.is_array:
            return -(-len(self.inputs) // self.batch_size)
        length = len(self.inputs) if hasattr(self.inputs, "__len__") else 0
        return length

    def __iter__(self) -> Iterator[tuple]:
        """Yields (inputs, labels or None)."""
        empty = True
        for inputs, labels in self._read():
            empty = False
            yield check_finite(self.name, ops.convert_to_numpy(inputs)), labels
        if empty:
            raise ValueError(f"`{self.name}` must hold at least one batch.")

    def _read(self):
        if self.is_array:
            for start in range(0, len(self.inputs), self.batch_size):
                part = slice(start, start + self.batch_size)
                yield (
                    self.inputs[part],
                    None if self.labels is None else self.labels[part],
                )
            return
        for batch in self.inputs:
            if isinstance(batch, list | tuple):
                labels = batch[1] if len(batch) > 1 else None
                yield batch[0], labels if labels is None else np.asarray(labels)
            else:
                yield batch, None
