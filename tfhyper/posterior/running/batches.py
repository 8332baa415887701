"""One way to read inputs, whatever they come as."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfhyper.posterior.running.model_inputs import (
    ModelInputs,
    are_arrays,
    as_array,
    check_examples,
)
from tfhyper.tensor_types import Structure


class Batches:
    """Batches of inputs, and of labels and weights where there are any, checked.

    Args:
        name: the argument's name in error messages.
        inputs: an array or tensor (examples, ...), or for a model of several
            inputs a dict, list or tuple of such; or an iterable that can be
            read again and again, such as a `tf.data.Dataset` or a
            `keras.utils.PyDataset`, of batches of inputs or of tuples (inputs,
            labels, sample weights).
        batch_size: int > 0, for arrays. Datasets are batched already.
        taken: the `ModelInputs` of what takes the batches.
        labels: array (examples, ...), for arrays.
        weights: array (examples,), for arrays.
        arrange_labels: what makes arrays, or a dict of these, of labels that were
            given; `None` where there are none.
        weigh: what makes weights of a batch of inputs and its weights, if there are
            any; `None` to leave them as they are.

    Attributes:
        fixed: whether they are arrays, the same in every reading.
        num_examples: how many examples there are, of arrays.

    Raises:
        ValueError: for no data, data without end, inputs that the model does not
            take, NaN or infinite ones, or lengths that do not fit.
        TypeError: for something that cannot be read more than once.
    """

    def __init__(
        self,
        name: str,
        inputs: Structure,
        batch_size: int,
        taken: ModelInputs,
        labels: Any = None,
        weights: Any = None,
        arrange_labels: Callable[[Any], Any] | None = None,
        weigh: Callable[[Any, np.ndarray | None], np.ndarray | None] | None = None,
    ):
        self.name, self.taken = name, taken
        self.inputs, self.batch_size = inputs, batch_size
        self._arrange_labels = arrange_labels or functools.partial(as_array, "y")
        self._weigh = weigh
        self.labels = None if labels is None else self._arrange_labels(labels)
        self.weights = None if weights is None else as_array("sample_weight", weights)
        arrays = taken.arrays_of(name, inputs)
        # Arrays are the same in every reading: what is checked and cut once stays so.
        self.fixed = arrays is not None
        if self.fixed:
            self.inputs = arrays
            self.num_examples = self._check_lengths()
            return
        if labels is not None or weights is not None:
            given = "y" if labels is not None else "sample_weight"
            raise ValueError(
                f"`{name}` is a dataset, which brings its labels and weights: leave "
                f"`{given}` out. Received: {given} of type "
                f"{type(labels if labels is not None else weights).__name__}"
            )
        _check_readable(name, inputs)

    def _check_lengths(self) -> int:
        """Returns the number of examples, which is that of labels and weights too."""
        # Each name once: a model of several inputs has several arrays.
        arrays = keras.tree.flatten(self.inputs)
        lengths = [(f"`{self.name}`", array.shape[0]) for array in arrays]
        of_labels = keras.tree.flatten(self.labels)
        given = [("y", array) for array in of_labels]
        for name, array in [*given, ("sample_weight", self.weights)]:
            if array is not None and not array.ndim:
                raise ValueError(
                    f"`{name}` must be an array with an entry for each example. "
                    f"Received: {name}={array!r}"
                )
            if array is not None:
                lengths.append((f"`{name}`", len(array)))
        if len({length for _, length in lengths}) > 1:
            names = list(dict.fromkeys(name for name, _ in lengths))
            received = ", ".join(
                f"{name.strip('`')} of length {length}" for name, length in lengths
            )
            raise ValueError(
                f"The arrays of {' and '.join(names)} must have the same length. "
                f"Received: {received}"
            )
        return lengths[0][1]

    def __iter__(self) -> Iterator["Batch"]:
        """Returns the batches one after another, each with its place in the data."""
        return iter(self._parts_of_arrays if self.fixed else self._read())

    @functools.cached_property
    def _parts_of_arrays(self) -> list["Batch"]:
        """The batches of arrays, which are views of these."""
        batches = []
        for start in range(0, self.num_examples, self.batch_size):
            part = slice(start, start + self.batch_size)
            inputs, labels, weights = keras.tree.map_structure(
                lambda x, p=part: None if x is None else x[p],
                (self.inputs, self.labels, self.weights),
            )
            batches.append(self._batch(inputs, labels, weights, start))
        return batches

    def _batch(self, inputs: Structure, labels: Any, weights: Any, start: int) -> Any:
        if self._weigh is not None:
            weights = self._weigh(inputs, weights)
        return Batch(inputs, labels, weights, start, count_examples(inputs))

    def _arrange(self, inputs: Structure) -> Structure:
        inputs = self.taken.arrange(self.name, inputs)
        if not count_examples(inputs):
            raise ValueError(
                f"`{self.name}` must hold at least one example in every batch. "
                "Received: a batch without any"
            )
        return inputs

    def _read(self) -> Iterator["Batch"]:
        """Yields the batches of a dataset, as one reading of it brings them."""
        batches, start = self.inputs, 0
        if isinstance(batches, keras.utils.PyDataset):  # which has no iterator
            batches = map(batches.__getitem__, range(batches.num_batches))
        for batch in batches:
            if not isinstance(batch, list | tuple):
                batch = (batch,)
            if not 1 <= len(batch) <= 3:
                raise ValueError(
                    f"`{self.name}` must give batches of inputs, or of tuples (inputs, "
                    f"labels, sample weights). Received: a tuple of {len(batch)}"
                )
            inputs, labels, weights = (*batch, None, None)[:3]
            found = self._batch(
                self._arrange(inputs),
                None if labels is None else self._arrange_labels(labels),
                None if weights is None else as_array("sample_weight", weights),
                start,
            )
            yield found
            start += found.count
        if not start:
            raise ValueError(
                f"`{self.name}` must hold at least one batch. Received: an empty one"
            )


class Part:
    """Some batches in a row, held in memory, which stand for data of their own.

    Args:
        batches: the batches, as `Batches` gave them.
        batch_size: that of the data.

    Attributes:
        fixed: True: they are the same in every reading.
        num_examples: how many examples they hold.
    """

    fixed = True

    def __init__(self, batches: Sequence["Batch"], batch_size: int):
        self._batches, self.batch_size = batches, batch_size
        self.num_examples = sum(batch.count for batch in batches)

    def __iter__(self) -> Iterator["Batch"]:
        """Yields the batches, each with its place in all of the data."""
        return iter(self._batches)


def in_parts(
    data: Batches, numbers_of: Callable[["Batch"], int], most: int
) -> Iterator[Part]:
    """Yields data part by part, read once.

    Args:
        data: the data.
        numbers_of: how many numbers come out of a batch.
        most: the numbers of a part, at most, but for parts of one batch.
    """
    held: list[Batch] = []
    numbers = 0
    for batch in data:
        found = numbers_of(batch)
        if held and numbers + found > most:
            yield Part(held, data.batch_size)
            held, numbers = [], 0
        held.append(batch)
        numbers += found
    yield Part(held, data.batch_size)


def check_source(name: str, inputs: Structure) -> None:
    """Checks what inputs come from, whatever the model is that will take them.

    Raises:
        ValueError: for arrays without examples, or data without end.
        TypeError: for something that cannot be read more than once.
    """
    if are_arrays(inputs):
        check_examples(name, inputs)
    else:
        _check_readable(name, inputs)


def _check_readable(name: str, inputs: Any) -> None:
    readable = isinstance(inputs, keras.utils.PyDataset) or (
        hasattr(inputs, "__iter__") and not isinstance(inputs, str | bytes | dict)
    )
    if not readable or (hasattr(inputs, "__iter__") and iter(inputs) is inputs):
        raise TypeError(
            f"`{name}` must be an array or a dataset that can be read again for each "
            f"draw. Received: {name} of type {type(inputs).__name__}"
        )
    # tf.data's number of batches is -1 where there is no end.
    if hasattr(inputs, "cardinality") and int(inputs.cardinality()) == -1:
        raise ValueError(f"`{name}` must end. Received: a dataset that repeats")
    if isinstance(inputs, keras.utils.PyDataset) and inputs.num_batches is None:
        raise ValueError(
            f"`{name}` must end. Received: a PyDataset whose `num_batches` is None"
        )


@dataclasses.dataclass(frozen=True)
class Batch:
    """Inputs in the structure of the model's, and what came with them.

    Attributes:
        inputs: arrays or tensors (examples, ...).
        labels: array (examples, ...), or a dict of these; or `None`.
        weights: array (examples,), or `None`.
        start: the place of the first example in the data.
        count: how many examples it has.
    """

    inputs: Any
    labels: Any = None
    weights: np.ndarray | None = None
    start: int = 0
    count: int = 0


class MiniBatches:
    """Random mini-batches of one size, as training takes them.

    Args:
        name: the argument's name in error messages.
        inputs: as for `Batches`. Of arrays each mini-batch is drawn without
            replacement; a dataset's own batches are taken in their order, those
            of another size left out, from the start again when they are used up.
        batch_size: int > 1, examples in a mini-batch.
        taken: the `ModelInputs` of what takes them.
        seed: int, from which those of arrays are drawn.

    Raises:
        ValueError: as `Batches`, and if there are no such batches.
    """

    def __init__(
        self,
        name: str,
        inputs: Structure,
        batch_size: int,
        taken: ModelInputs,
        seed: int,
    ):
        self.batches = Batches(name, inputs, batch_size, taken)
        self.batch_size, self.seed = batch_size, seed
        if self.batches.fixed:
            count = count_examples(self.batches.inputs)
            if batch_size > count:
                raise self._too_large(f"{name} of {count} examples")

    def _too_large(self, received: str) -> ValueError:
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
            for batch in self.batches:
                inputs = batch.inputs
                sizes.add(count_examples(inputs))
                if count_examples(inputs) == self.batch_size:
                    yield inputs
                    count -= 1
                    if not count:
                        return
            if self.batch_size not in sizes:
                raise self._too_large(f"a dataset with batches of {sorted(sizes)}")


def count_examples(inputs: Structure) -> int:
    """Returns the number of examples of a batch."""
    return len(keras.tree.flatten(inputs)[0])


def checksum(inputs: Structure) -> int:
    """Returns a number that other examples, or another order, would change."""
    total = 0
    for array in map(np.asarray, keras.tree.flatten(inputs)):
        if array.dtype.kind == "O":  # strings, whose bytes are elsewhere
            array = array.astype(str)
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return total
