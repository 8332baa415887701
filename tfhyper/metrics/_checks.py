"""Argument checks shared by every metric, so that a rule is written once."""

import math
import reprlib
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfhyper.checks import check_finite, check_integer

# How far from one the probabilities of a row may sum, in float32 and float64: far
# from anything that logits or unnormalised scores would give.
SUM_TOLERANCE = 1e-3
# The same where every probability has no more significant bits than a half-precision
# type, whatever type carries them: four times its spacing at one. A softmax in that
# type rounds each exponential, their sum and each quotient; what the three backends
# give misses one by up to 2 spacings with 2 to 10,000 classes.
HALF_TOLERANCES = {8: 4 * 2.0**-7, 11: 4 * 2.0**-10}  # bfloat16 and float16
# The largest number whose square, summed over many examples, is a float64.
LARGEST_NUMBER = 1e150
# The matrix of more is too large for a memory.
_MOST_CLASSES = 10_000


def as_array(name: str, value: Any) -> np.ndarray:
    """Returns the array of real numbers or bools that `value` is.

    Args:
        name: the argument's name in error messages.
        value: an array, a tensor of the backend, or lists of numbers.

    Raises:
        TypeError: if it holds anything else: text, `None`, objects, complex numbers.
        ValueError: if rows differ in length, or entries are masked.
    """
    if np.ma.is_masked(value):
        raise ValueError(
            f"`{name}` must not have masked entries: leave these examples out. "
            f"Received: {_received(name, value)}"
        )
    try:
        array = ops.convert_to_numpy(value) if ops.is_tensor(value) else value
        array = np.asarray(array)
    except Exception as error:
        problem = ValueError if isinstance(error, ValueError) else TypeError
        raise problem(
            f"`{name}` must be one array of real numbers, whose rows have one length. "
            f"Received: {_received(name, value)}"
        ) from error
    # NumPy knows bfloat16 only as an extension type, whose kind is "V".
    is_extension = array.dtype.kind == "V" and array.dtype.name in _EXTENSIONS
    if array.dtype.kind not in "fiub" and not is_extension:
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {_received(name, value)} "
            f"of the dtype {array.dtype}"
        )
    return array


_EXTENSIONS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4")


def _received(name: str, value: Any) -> str:
    """Returns `name=value`, cut to a line."""
    return f"{name}={' '.join(reprlib.repr(value).split())}"


def as_float_array(name: str, value: Any, smallest: Any = np.float32) -> np.ndarray:
    """Returns an array of floats, from `smallest` to float64.

    Raises:
        TypeError: if `value` does not hold real numbers.
        ValueError: if rows differ in length, or a number does not fit in float64.
    """
    array = as_array(name, value)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            array = check_finite(name, array.astype(np.float64))
    if array.dtype.kind != "f" or array.dtype.itemsize < np.dtype(smallest).itemsize:
        array = array.astype(smallest)
    return array


def check_no_bools(name: str, array: np.ndarray) -> np.ndarray:
    """Returns the array, or raises TypeError: a bool is no amount."""
    if array.dtype.kind == "b":
        raise TypeError(
            f"`{name}` must hold real numbers, not bools. Received: "
            f"{_received(name, array.tolist())}"
        )
    return array


def sum_tolerance(array: np.ndarray) -> float:
    """Returns how far from one the rows of these probabilities may sum."""
    mantissas, _ = np.frexp(array)
    for bits, tolerance in HALF_TOLERANCES.items():
        scaled = np.ldexp(mantissas, bits)
        if np.array_equal(scaled, np.floor(scaled)):
            return tolerance
    return SUM_TOLERANCE


def check_rows_of_probabilities(name: str, array: np.ndarray) -> None:
    if array.size == 0:
        raise ValueError(
            f"`{name}` must hold at least one row of probabilities. "
            f"Received: {name}.shape={array.shape}"
        )
    check_finite(name, array)
    if np.min(array) < 0:
        raise ValueError(
            f"`{name}` must hold probabilities, none below zero (logits need a "
            f"softmax first). Received: {name} with the value {np.min(array)}"
        )
    sums = np.sum(array, axis=-1, dtype=np.float64)
    worst = sums.flat[np.argmax(np.abs(sums - 1.0))]
    if abs(worst - 1.0) <= SUM_TOLERANCE:
        return
    tolerance = sum_tolerance(array)
    if abs(worst - 1.0) > tolerance:
        hint = ""
        if array.shape[-1] == 1:
            hint = "; one column p of two classes becomes the columns 1 - p and p"
        raise ValueError(
            f"The last axis of `{name}` must sum to one within {tolerance:.2g}{hint}. "
            f"Received: {name} with a row that sums to {worst}"
        )


def check_members(
    members: Any, name: str = "members", *, any_axes: bool = False
) -> np.ndarray:
    """Returns the `(draws, batch, classes)` array of probabilities, checked.

    Args:
        members: the probabilities.
        name: the argument's name in error messages.
        any_axes: whether more axes may stand between batch and classes.
    """
    array = as_float_array(name, members)
    if array.ndim < 3 or (array.ndim > 3 and not any_axes):
        raise ValueError(
            f"`{name}` must have the axes (draws, batch, classes). "
            f"Received: {name}.shape={array.shape}"
        )
    check_rows_of_probabilities(name, array)
    return array


def ensemble_probabilities(probs: Any, name: str = "probs") -> np.ndarray:
    """Returns `(batch, classes)` float64 probabilities, averaged over any draws.

    Args:
        probs: probabilities of shape `(batch, classes)`, or `(draws, batch, classes)`,
            whose mean over the draws is the ensemble's prediction.
        name: the argument's name in error messages.
    """
    array = as_float_array(name, probs)
    if array.ndim not in (2, 3):
        raise ValueError(
            f"`{name}` must have the axes (batch, classes) or (draws, batch, classes). "
            f"Received: {name}.shape={array.shape}"
        )
    check_rows_of_probabilities(name, array)
    if array.ndim == 3:
        return np.asarray(np.mean(array, axis=0, dtype=np.float64))
    return array.astype(np.float64)


def check_ignore_class(value: Any, classes: int) -> int | None:
    """Returns the label that stands for no class, or `None` for no such label.

    Raises:
        ValueError: if it is no whole number, or is the index of a class. A class is
            left out by `sample_weight`, which then says so.
    """
    if value is None:
        return None
    value = check_integer("ignore_class", value, -(2**31), 2**31 - 1)
    if 0 <= value < classes:
        raise ValueError(
            f"`ignore_class` must lie outside of [0, {classes}), the classes: examples "
            "of a class are left out by `sample_weight=labels != label`. "
            f"Received: ignore_class={value}"
        )
    return value


def check_labels(
    labels: Any,
    batch: int | tuple[int, ...],
    classes: int,
    name: str = "labels",
    ignore_class: int | None = None,
) -> np.ndarray:
    """Returns the `(batch, ...)` integer labels, each in `[0, classes)`.

    Args:
        labels: class indices, integers or whole floats, of shape `(batch, ...)` or
            `(batch, ..., 1)`; or one-hot rows `(batch, ..., classes)` of one 1 and
            zeros, of any dtype.
        batch: the number of examples, or all axes before the classes.
        classes: the number of classes.
        name: the argument's name in error messages.
        ignore_class: an index outside of the classes that labels may have, too.

    Raises:
        ValueError: if the shape is another, or the values are no indices in range, or
            the rows not one-hot: rows of soft or smoothed labels have no class.
        TypeError: if `labels` does not hold real numbers, or bools that are not
            one-hot rows.
    """
    shape = batch if isinstance(batch, tuple) else (batch,)
    array = as_array(name, labels)
    if array.shape == (*shape, 1):
        array = array[..., 0]
    if array.shape == (*shape, classes):
        if ignore_class is not None:
            raise ValueError(
                f"`ignore_class` must be None where `{name}` is one-hot rows: it is "
                f"for class indices. Received: ignore_class={ignore_class}, "
                f"{name}.shape={array.shape}"
            )
        return _check_one_hot(array, name)
    if array.shape != shape:
        raise ValueError(_shape_rule(name, shape, classes, np.shape(labels)))
    return check_indices(array, classes, name, ignore_class)


def _shape_rule(
    name: str, shape: tuple[int, ...], classes: int, found: tuple[int, ...]
) -> str:
    if len(shape) == 1:
        axes, column, rows = "(batch,)", "(batch, 1)", "(batch, classes)"
    else:
        axes, column = "(batch, ...)", "(batch, ..., 1)"
        rows = "(batch, ..., classes)"
    return (
        f"`{name}` must have the shape {axes} = {shape} or {column}, one class index "
        f"per row of probabilities, or be one-hot rows {rows} = {(*shape, classes)}. "
        f"Received: {name}.shape={found}"
    )


def check_indices(
    array: np.ndarray,
    classes: int,
    name: str,
    ignore_class: int | None = None,
    of_classes: str = "the number of classes that the probabilities have",
) -> np.ndarray:
    """Returns class indices of any shape as int64.

    Raises:
        ValueError: if there are none, or one is not whole, or neither in
            `[0, classes)` nor `ignore_class`.
        TypeError: for bools.
    """
    if array.dtype.kind == "b":
        raise TypeError(
            f"`{name}` must be integers, class indices; bools are for one-hot rows. "
            f"Received: {name}.dtype={array.dtype}"
        )
    if array.size == 0:
        raise ValueError(
            f"`{name}` must hold at least one class index. "
            f"Received: {name}.shape={array.shape}"
        )
    if array.dtype.kind not in "iu":
        array = check_finite(name, as_float_array(name, array))
        fractions = array[array != np.floor(array)]
        if fractions.size:
            raise ValueError(
                f"`{name}` must be class indices, integers or whole floats. Received: "
                f"{name} with the value {fractions[0]}"
            )
    known = array
    if ignore_class is not None:
        known = array[array != ignore_class]
    if known.size and (known.min() < 0 or known.max() >= classes):
        besides = "" if ignore_class is None else f" or be {ignore_class}, ignored"
        raise ValueError(
            f"`{name}` must lie in [0, {classes}), {of_classes}{besides}. "
            f"Received: {name} from {known.min()} to {known.max()}"
        )
    return array.astype(np.int64)


def _check_one_hot(labels: np.ndarray, name: str) -> np.ndarray:
    """Returns the class of each row of `(batch, ..., classes)` labels."""
    rows = check_finite(name, as_float_array(name, labels))
    wrong = np.any((rows != 0) & (rows != 1), axis=-1) | (np.sum(rows, axis=-1) != 1)
    if np.any(wrong):
        raise ValueError(
            f"`{name}` of the shape (batch, classes) must be one-hot rows, one 1 and "
            f"zeros: soft or smoothed labels have no class. Received: {name} with the "
            f"row {reprlib.repr(labels[wrong][0].tolist())}"
        )
    return np.argmax(rows, axis=-1).astype(np.int64)


class ClassMaps(NamedTuple):
    """Labels and predicted classes of the same places.

    Attributes:
        labels: int64 `(batch, ...)`, each in `[0, classes)`; 0 where not counted.
        predicted: int64 of the same shape, each in `[0, classes)`.
        counts: bool of the same shape: whether the label is not ignored.
    """

    labels: np.ndarray
    predicted: np.ndarray
    counts: np.ndarray


def read_class_maps(
    labels: Any, predicted: Any, num_classes: Any, ignore_class: Any, min_axes: int = 1
) -> ClassMaps:
    """Returns labels and predicted classes `(batch, ...)`, checked.

    Raises:
        ValueError: if the shapes differ or have less than `min_axes` axes, a value is
            not whole or no class, or `ignore_class` is one.
        TypeError: if an argument does not hold real numbers.
    """
    num_classes = check_integer("num_classes", num_classes, 1, _MOST_CLASSES)
    ignore_class = check_ignore_class(ignore_class, num_classes)
    found, classes = as_array("labels", labels), as_array("predicted", predicted)
    if found.ndim < min_axes:
        known = {1: "(batch, ...)", 2: "(batch, time) or (batch, height, width)"}
        axes = known.get(min_axes, "(batch, height, width)")
        raise ValueError(
            f"`labels` must have the axes {axes}. Received: labels.shape={found.shape}"
        )
    if found.shape != classes.shape:
        raise ValueError(
            "`predicted` must hold one class index for each of `labels`, in their "
            f"shape. Received: predicted.shape={classes.shape}, "
            f"labels.shape={found.shape}"
        )
    rule = "`num_classes` classes"
    found = check_indices(found, num_classes, "labels", ignore_class, rule)
    classes = check_indices(classes, num_classes, "predicted", None, rule)
    if ignore_class is None:
        return ClassMaps(found, classes, np.ones(found.shape, bool))
    counts = found != ignore_class
    return ClassMaps(np.where(counts, found, 0), classes, counts)


class Labelled(NamedTuple):
    """Labels, probabilities and weights of examples, whatever axes they came with.

    Attributes:
        labels: int64 `(examples,)`, each in `[0, classes)`.
        probs: float64 `(examples, classes)`.
        weights: float64 `(examples,)`, or `None` for equal ones.
        shape: the axes of the labels, as they came.
        counts: bool `(labels,)`, which of all labels these examples are.
    """

    labels: np.ndarray
    probs: np.ndarray
    weights: np.ndarray | None
    shape: tuple[int, ...]
    counts: np.ndarray

    def examples_of(self, values: np.ndarray) -> np.ndarray:
        """Returns `(examples,)` of values of the labels' shape."""
        return values.reshape(-1)[self.counts]


def read_labelled(
    labels: Any,
    probs: Any,
    sample_weight: Any = None,
    ignore_class: Any = None,
    *,
    may_be_empty: bool = False,
) -> Labelled:
    """Returns examples with their leading axes flattened, the ignored ones left out.

    Args:
        labels: class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot rows
            `(batch, ..., classes)`.
        probs: probabilities `(batch, ..., classes)`, or with an axis of draws before
            these, over which they are averaged. The shape of the labels says which;
            where both fit (as many examples as classes), there are draws.
        sample_weight: `None`, or weights of the shape `(batch,)`, `(batch, 1)` or
            `(batch, ...)`.
        ignore_class: `None`, or a label outside of `[0, classes)` that says that an
            example is left out.
        may_be_empty: whether weights may be all 0, and labels all ignored.

    Raises:
        ValueError: if a shape does not fit, or a value breaks its rule.
        TypeError: if an argument does not hold real numbers.
    """
    array = as_float_array("probs", probs)
    if array.ndim < 2:
        raise ValueError(
            "`probs` must have the axes (batch, classes) or (draws, batch, classes), "
            "with the labels' further axes behind the batch. "
            f"Received: probs.shape={array.shape}"
        )
    check_rows_of_probabilities("probs", array)
    index = as_array("labels", labels)
    if _has_draws(index.shape, array.shape):
        array = np.asarray(np.mean(array, axis=0, dtype=np.float64))
    shape, classes = array.shape[:-1], array.shape[-1]
    ignore_class = check_ignore_class(ignore_class, classes)
    index = check_labels(index, shape, classes, ignore_class=ignore_class).reshape(-1)
    array = array.reshape(-1, classes)
    weights = check_sample_weight(sample_weight, shape, may_be_zero=may_be_empty)
    if ignore_class is None:
        every = np.ones(index.shape, bool)
        return Labelled(index, array.astype(np.float64), weights, shape, every)
    kept = keep(index != ignore_class, weights, may_be_empty)
    weights = None if weights is None else weights[kept]
    array = array[kept].astype(np.float64)
    return Labelled(index[kept], array, weights, shape, kept)


def keep(
    kept: np.ndarray, weights: np.ndarray | None, may_be_empty: bool
) -> np.ndarray:
    """Returns which examples are not ignored.

    Raises:
        ValueError: if nothing is left, unless it may be.
    """
    counts = kept if weights is None else kept & (weights > 0)
    if not may_be_empty and not counts.any():
        raise ValueError(
            "`ignore_class` must leave labels to score: those that it names, and those "
            f"of weight 0, are all. Received: {kept.size} labels"
        )
    return kept


def _has_draws(labels: tuple[int, ...], probs: tuple[int, ...]) -> bool:
    """Returns whether the first axis of probabilities is that of draws."""
    if len(probs) < 3:
        return False

    def fits(lead: tuple[int, ...]) -> bool:
        return labels in (lead, (*lead, 1), (*lead, probs[-1]))

    if fits(probs[1:-1]):
        return True
    if fits(probs[:-1]):
        return False
    if len(probs) > 3:
        raise ValueError(
            "`labels` must have the shape (batch, ...) or (batch, ..., 1), or be "
            "one-hot rows (batch, ..., classes), of `probs` with the axes (batch, ..., "
            "classes) or (draws, batch, ..., classes). Received: "
            f"labels.shape={labels}, probs.shape={probs}"
        )
    # Labels that fit neither are told of the shape that most people have.
    return True


def check_labels_and_probs(labels: Any, probs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns checked `(batch,)` labels and `(batch, classes)` probabilities."""
    mean_probs = ensemble_probabilities(probs)
    return check_labels(labels, *mean_probs.shape), mean_probs


def check_sample_weight(
    sample_weight: Any, batch: int | tuple[int, ...], *, may_be_zero: bool = False
) -> np.ndarray | None:
    """Returns flat float64 weights of the examples, or `None` for no weights.

    Args:
        sample_weight: `None`, or finite numbers >= 0, not all 0, of shape `(batch,)`,
            `(batch, 1)` or `(batch, ...)`.
        batch: the number of examples, or the axes of the labels; with the latter
            weights `(batch,)` count for all labels of an example.
        may_be_zero: whether all weights may be 0.

    Raises:
        ValueError: for another shape, or numbers that break the rule.
        TypeError: if it does not hold real numbers.
    """
    if sample_weight is None:
        return None
    shape = batch if isinstance(batch, tuple) else (batch,)
    array = as_float_array("sample_weight", sample_weight, np.float64)
    if array.shape not in (shape[:1], (shape[0], 1), shape):
        per_label = "" if len(shape) == 1 else f", or the labels' shape {shape}"
        raise ValueError(
            f"`sample_weight` must have the shape (batch,) = ({shape[0]},) or "
            f"(batch, 1), one weight per example{per_label}. "
            f"Received: sample_weight.shape={array.shape}"
        )
    array = check_finite("sample_weight", array)
    if np.min(array) < 0 or (np.max(array) == 0 and not may_be_zero):
        raise ValueError(
            "`sample_weight` must not be below zero, and not all zero. Received: "
            f"sample_weight from {np.min(array)} to {np.max(array)}"
        )
    if np.max(array) > LARGEST_NUMBER:
        raise ValueError(
            f"`sample_weight` must be at most {LARGEST_NUMBER:.0e}. Received: "
            f"sample_weight with the value {np.max(array)}"
        )
    if array.shape != shape:
        array = np.repeat(array.reshape(-1), math.prod(shape[1:]))
    return array.reshape(-1)


class RunningSums:
    """Weighted sums that come in parts, of weights as small or large as numbers are.

    Weights are scaled by a power of two, which changes no digit, so that tiny ones
    times values are not 0.

    Attributes:
        sums: array or float, what was added, scaled by `2**-exponent`.
        exponent: int, the largest of the weights' so far.
    """

    def __init__(self) -> None:
        self.sums: Any = 0.0
        self._exponent: int | None = None

    @property
    def exponent(self) -> int:
        """The power of two by which the sums are too small."""
        return self._exponent or 0

    def scaled(self, weights: np.ndarray | None, count: int) -> np.ndarray | None:
        """Returns the weights of `count` values to be added, scaled as the sums are.

        `None` stands for weights of one.
        """
        if weights is None:
            self._grow(0)
            return None if not self.exponent else np.full(count, 2.0**-self.exponent)
        largest = np.max(weights, initial=0.0)
        if largest:
            self._grow(int(np.frexp(largest)[1]))
        return np.ldexp(weights, -self.exponent)

    def _grow(self, exponent: int) -> None:
        if self._exponent is not None and exponent > self._exponent:
            self.sums = np.ldexp(self.sums, self._exponent - exponent)
        if self._exponent is None or exponent > self._exponent:
            self._exponent = exponent


class RunningMean(RunningSums):
    """The weighted mean `sum(w s) / sum(w)` of values that come in parts.

    The mean of one part has the digits that NumPy's mean gives.
    """

    def add(self, values: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Adds values `(examples,)`, with checked weights `(examples,)`."""
        weights = self.scaled(weights, len(values))
        if weights is None:
            part = np.sum(values, dtype=np.float64), float(len(values))
        else:
            part = np.sum(weights * values), np.sum(weights)
        self.sums = self.sums + np.array(part)

    def result(self) -> float:
        """Returns the mean of what was added; NaN of nothing."""
        total, weight = np.broadcast_to(self.sums, 2)
        return float(total / weight) if weight else float("nan")


def weighted_mean(values: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """Returns `sum(w s) / sum(w)` of `(batch,)` values, with checked weights.

    Without weights it is the plain mean.
    """
    mean = RunningMean()
    mean.add(values, sample_weight)
    return mean.result()


def check_vector(name: str, value: Any, batch: int | None = None) -> np.ndarray:
    """Returns finite float64 values of shape `(batch,)`, of any length by default."""
    array = as_float_array(name, value, np.float64)
    # Broadcasting (batch, 1) against (batch,) would score every pair of examples.
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"`{name}` must have the shape (batch,), with at least one value. "
            f"Received: {name}.shape={array.shape}"
        )
    if batch is not None and len(array) != batch:
        raise ValueError(
            f"`{name}` must have the shape (batch,) = ({batch},), one value per "
            f"example. Received: {name}.shape={array.shape}"
        )
    return _check_numbers(name, array)


def check_map(
    name: str, value: Any, shape: tuple[int, ...] | None = None, like: str = ""
) -> np.ndarray:
    """Returns finite float64 values `(batch, ...)`, of any such shape by default.

    Args:
        name: the argument's name in error messages.
        value: the numbers.
        shape: their shape, or `None`.
        like: the argument that has this shape.
    """
    array = as_float_array(name, value, np.float64)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"`{name}` must have the shape (batch,) or (batch, ...), with at least one "
            f"value. Received: {name}.shape={array.shape}"
        )
    # Broadcasting (batch, 1) against (batch,) would score every pair of examples.
    if shape is not None and array.shape != shape:
        axes = "(batch,)" if len(shape) == 1 else "(batch, ...)"
        raise ValueError(
            f"`{name}` must have the shape {axes} = {shape} of `{like}`, one value for "
            f"each. Received: {name}.shape={array.shape}"
        )
    return _check_numbers(name, array)


def check_pit(value: Any) -> np.ndarray:
    """Returns float64 probability integral transforms `(batch, ...)`.

    Raises:
        ValueError: if one is outside of `[0, 1]`.
        TypeError: if `pit` does not hold real numbers.
    """
    pit = check_map("pit", value)
    if np.min(pit) < 0 or np.max(pit) > 1:
        worst = np.min(pit) if np.min(pit) < 0 else np.max(pit)
        raise ValueError(
            f"`pit` must hold numbers in [0, 1]. Received: pit with the value {worst}"
        )
    return pit


def check_mask(
    value: Any, shape: tuple[int, ...], like: str, name: str = "mask"
) -> np.ndarray:
    """Returns bools of a shape, all `True` for `None`.

    Raises:
        ValueError: for another shape.
        TypeError: for anything but bools.
    """
    if value is None:
        return np.ones(shape, bool)
    array = as_array(name, value)
    if array.dtype.kind != "b":
        raise TypeError(
            f"`{name}` must hold bools, True for what counts. "
            f"Received: {_received(name, value)} of the dtype {array.dtype}"
        )
    if array.shape != shape:
        raise ValueError(
            f"`{name}` must have the shape {shape} of `{like}`. "
            f"Received: {name}.shape={array.shape}"
        )
    return array


def check_samples(
    samples: Any,
    batch: int | tuple[int, ...] | None = None,
    name: str = "members",
    *,
    any_axes: bool = False,
) -> np.ndarray:
    """Returns the finite float64 numbers of shape `(draws, batch)`.

    Args:
        samples: the numbers.
        batch: the number of targets, or their shape; `None` for any.
        name: the argument's name in error messages.
        any_axes: whether more axes may stand behind that of the batch.
    """
    array = as_float_array(name, samples, np.float64)
    if array.ndim < 2 or (array.ndim > 2 and not any_axes) or array.size == 0:
        more = ", and any axes behind these" if any_axes else ""
        raise ValueError(
            f"`{name}` must have the axes (draws, batch), with at least one value"
            f"{more}. Received: {name}.shape={array.shape}"
        )
    shape = batch if isinstance(batch, tuple) else (batch,)
    if batch is not None and array.shape[1:] != shape:
        if len(shape) == 1:
            rule = f"(draws, batch), with one column per target, batch={shape[0]}"
        else:
            rule = f"(draws, batch, ...), with the shape {shape} of `targets` in a draw"
        raise ValueError(
            f"`{name}` must have the axes {rule}. Received: {name}.shape={array.shape}"
            + ("" if array.ndim == 2 and len(shape) == 1 else f", `targets` {shape}")
        )
    return _check_numbers(name, array)


def _check_numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Returns numbers that are finite, and whose squares are."""
    check_finite(name, array)
    largest = array.flat[np.argmax(np.abs(array))]
    if abs(largest) > LARGEST_NUMBER:
        raise ValueError(
            f"`{name}` must lie within -+{LARGEST_NUMBER:.0e}, whose squares are "
            f"numbers, too. Received: {name} with the value {largest}"
        )
    return array


def check_variance(
    name: str,
    value: Any,
    shape: tuple[int, ...],
    positive: bool = False,
    like: str = "targets",
) -> np.ndarray:
    """Returns float64 variances: a number, or the last axes of `shape`.

    Args:
        name: the argument's name in error messages.
        value: the variances.
        shape: `(batch, ...)` or `(draws, batch, ...)`.
        positive: whether zero is refused as well as values below it.
        like: the argument that has this shape.
    """
    array = check_no_bools(name, as_array(name, value))
    array = as_float_array(name, array, np.float64)
    known = [shape[start:] for start in range(len(shape) + 1)]
    if array.shape not in known:
        rule = ", ".join(str(allowed) for allowed in known if allowed)
        raise ValueError(
            f"`{name}` must be a number or have one of the shapes {rule}. "
            f"Received: {name}.shape={array.shape} where `{like}` has {shape}"
        )
    _check_numbers(name, array)
    if np.min(array) < 0 or (positive and np.min(array) == 0):
        rule = "above zero" if positive else "not below zero"
        raise ValueError(
            f"`{name}` must hold variances, {rule}. "
            f"Received: {name} with the value {np.min(array)}"
        )
    return array
