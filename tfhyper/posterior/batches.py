"""One way to read inputs, whatever they come as."""

import zlib
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_finite


class Batches:
    """Batches of inputs, and of labels where there are any, checked.

    Args:
        name: the argument's name in error messages.
        inputs: an array or tensor (examples, ...), or for a model of several
            inputs a dict, list or tuple of such; or an iterable that can be
            read again and again, such as a `tf.data.Dataset`, of batches of
            inputs or of tuples (inputs, labels, ...).
        batch_size: int > 0, for arrays. Datasets are batched already.
        labels: array (examples,), for arrays.

    Raises:
        ValueError: for no data, data without end, NaN or infinite inputs, or
            lengths that do not fit.
        TypeError: for something that cannot be read more than once.
    """

    def __init__(self, name, inputs, batch_size, labels=None):
        self.name = name
        if isinstance(inputs, list | tuple) and not _is_array(inputs):
            inputs = np.asarray(inputs)
        self.inputs, self.batch_size = inputs, batch_size
        self.labels = None if labels is None else np.asarray(labels)
        # Arrays are the same in every reading: what is checked once stays so.
        self.fixed = _is_array(inputs)
        if self.fixed:
            self._check_lengths()
            self.inputs = keras.tree.map_structure(self._finite, inputs)
            return
        if labels is not None:
            raise ValueError(
                f"`{name}` is a dataset, whose labels come with it: leave `y` out."
            )
        if not hasattr(inputs, "__iter__") or iter(inputs) is inputs:
            raise TypeError(
                f"`{name}` must be an array or a dataset that can be read again for "
                f"each draw. Received: {name} of type {type(inputs).__name__}"
            )
        # tf.data's number of batches is -1 where there is no end.
        if hasattr(inputs, "cardinality") and int(inputs.cardinality()) == -1:
            raise ValueError(f"`{name}` must end. Received: a dataset that repeats")

    def _check_lengths(self):
        arrays = keras.tree.flatten(self.inputs)
        shapes = [tuple(array.shape) for array in arrays]
        if not all(shape and shape[0] for shape in shapes):
            found = shapes[0] if len(shapes) == 1 else shapes
            raise ValueError(
                f"`{self.name}` must hold at least one example. "
                f"Received: {self.name}.shape={found}"
            )
        lengths = [shape[0] for shape in shapes]
        if self.labels is not None:
            lengths.append(len(self.labels))
        if len(set(lengths)) > 1:
            raise ValueError(
                f"`{self.name}` and its labels must have the same length. "
                f"Received: {' and '.join(map(str, lengths))}"
            )

    def __iter__(self) -> Iterator[tuple]:
        """Yields (inputs, labels or None)."""
        empty = True
        for inputs, labels in self._read():
            empty = False
            if not self.fixed:
                inputs = keras.tree.map_structure(self._finite, inputs)
            yield inputs, labels
        if empty:
            raise ValueError(f"`{self.name}` must hold at least one batch.")

    def _finite(self, array):
        return check_finite(self.name, ops.convert_to_numpy(array))

    def _read(self):
        if self.fixed:
            length = count_examples(self.inputs)
            for start in range(0, length, self.batch_size):
                part = slice(start, start + self.batch_size)
                yield (
                    keras.tree.map_structure(lambda x, p=part: x[p], self.inputs),
                    None if self.labels is None else self.labels[part],
                )
            return
        for batch in self.inputs:
            if isinstance(batch, list | tuple):
                labels = batch[1] if len(batch) > 1 else None
                yield batch[0], labels if labels is None else np.asarray(labels)
            else:
                yield batch, None


class MiniBatches:
    """Random mini-batches of one size, as training takes them.

    Args:
        name: the argument's name in error messages.
        inputs: as for `Batches`. Of arrays each mini-batch is drawn without
            replacement; a dataset's own batches are taken in their order, those
            of another size left out, from the start again when they are used up.
        batch_size: int > 1, examples in a mini-batch.
        seed: int, from which those of arrays are drawn.

    Raises:
        ValueError: as `Batches`, and if there are no such batches.
    """

    def __init__(self, name, inputs, batch_size, seed):
        self.batches = Batches(name, inputs, batch_size)
        self.batch_size, self.seed = batch_size, seed
        if self.batches.fixed:
            count = count_examples(self.batches.inputs)
            if batch_size > count:
                raise self._too_large(f"{name} of {count} examples")

    def _too_large(self, received):
        return ValueError(
            f"`batch_size` must not be above what `{self.batches.name}` holds: a "
            "mini-batch of training must come out of it. Received: "
            f"batch_size={self.batch_size}, {received}"
        )

    def take(self, count: int) -> Iterator:
        """Yields the inputs of `count` mini-batches, the same ones each time."""
        if self.batches.fixed:
            inputs = self.batches.inputs
            for i in range(count):
                generator = np.random.default_rng((self.seed, i))
                chosen = generator.choice(
                    count_examples(inputs), self.batch_size, replace=False
                )
                yield keras.tree.map_structure(lambda x, c=chosen: x[c], inputs)
            return
        while count:
            sizes = set()
            for inputs, _ in self.batches:
                sizes.add(count_examples(inputs))
                if count_examples(inputs) == self.batch_size:
                    yield inputs
                    count -= 1
                    if not count:
                        return
            if self.batch_size not in sizes:
                raise self._too_large(f"a dataset with batches of {sorted(sizes)}")


def count_examples(inputs) -> int:
    """Returns the number of examples of a batch."""
    return len(keras.tree.flatten(inputs)[0])


def checksum(inputs) -> int:
    """Returns a number that other examples, or another order, would change."""
    total = 0
    for array in keras.tree.flatten(inputs):
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total


def _is_array(inputs) -> bool:
    # A dataset is a leaf of the structure, and no array.
    return bool(leaves := keras.tree.flatten(inputs)) and all(
        ops.is_tensor(leaf) or hasattr(leaf, "__array__") for leaf in leaves
    )
