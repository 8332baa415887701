"""Argument checks shared by every metric, so that a rule is written once."""

import reprlib
from typing import Any

import numpy as np
from keras import ops

from tfhyper.checks import check_finite

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


def _check_probabilities(name: str, array: np.ndarray) -> None:
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


def check_members(members: Any, name: str = "members") -> np.ndarray:
    """Returns the `(draws, batch, classes)` array of probabilities, checked."""
    array = as_float_array(name, members)
    if array.ndim != 3:
        raise ValueError(
            f"`{name}` must have the axes (draws, batch, classes). "
            f"Received: {name}.shape={array.shape}"
        )
    _check_probabilities(name, array)
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
    _check_probabilities(name, array)
    if array.ndim == 3:
        return np.asarray(np.mean(array, axis=0, dtype=np.float64))
    return array.astype(np.float64)


def check_labels(
    labels: Any, batch: int, classes: int, name: str = "labels"
) -> np.ndarray:
    """Returns the `(batch,)` integer labels, each in `[0, classes)`.

    Args:
        labels: class indices, integers or whole floats, of shape `(batch,)` or
            `(batch, 1)`; or one-hot rows `(batch, classes)` of one 1 and zeros, of
            any dtype.
        batch: the number of examples.
        classes: the number of classes.
        name: the argument's name in error messages.

    Raises:
        ValueError: if the shape is another, or the values are no indices in range, or
            the rows not one-hot: rows of soft or smoothed labels have no class.
        TypeError: if `labels` does not hold real numbers, or bools that are not
            one-hot rows.
    """
    array = as_array(name, labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape == (batch, classes):
        return _check_one_hot(array, name)
    if array.shape != (batch,):
        raise ValueError(
            f"`{name}` must have the shape (batch,) = ({batch},) or (batch, 1), one "
            f"class index per row of probabilities, or be one-hot rows (batch, classes)"
            f" = ({batch}, {classes}). Received: {name}.shape={np.shape(labels)}"
        )
    if array.dtype.kind == "b":
        raise TypeError(
            f"`{name}` must be integers, class indices; bools are for one-hot rows. "
            f"Received: {name}.dtype={array.dtype}"
        )
    if array.dtype.kind not in "iu":
        array = check_finite(name, as_float_array(name, array))
        fractions = array[array != np.floor(array)]
        if fractions.size:
            raise ValueError(
                f"`{name}` must be class indices, integers or whole floats. Received: "
                f"{name} with the value {fractions[0]}"
            )
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"`{name}` must lie in [0, {classes}), the number of classes that the "
            "probabilities have. "
            f"Received: {name} from {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def _check_one_hot(labels: np.ndarray, name: str) -> np.ndarray:
    """Returns the class of each row of `(batch, classes)` labels."""
    rows = check_finite(name, as_float_array(name, labels))
    wrong = np.any((rows != 0) & (rows != 1), axis=1) | (np.sum(rows, axis=1) != 1)
    if np.any(wrong):
        raise ValueError(
            f"`{name}` of the shape (batch, classes) must be one-hot rows, one 1 and "
            f"zeros: soft or smoothed labels have no class. Received: {name} with the "
            f"row {reprlib.repr(labels[np.argmax(wrong)].tolist())}"
        )
    return np.argmax(rows, axis=1).astype(np.int64)


def check_labels_and_probs(labels: Any, probs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns checked `(batch,)` labels and `(batch, classes)` probabilities."""
    mean_probs = ensemble_probabilities(probs)
    return check_labels(labels, *mean_probs.shape), mean_probs


def check_sample_weight(sample_weight: Any, batch: int) -> np.ndarray | None:
    """Returns `(batch,)` float64 weights of the examples, or `None` for no weights.

    Args:
        sample_weight: `None`, or finite numbers >= 0, not all 0, of shape `(batch,)`
            or `(batch, 1)`.
        batch: the number of examples.

    Raises:
        ValueError: if a weight or the shape breaks these rules.
        TypeError: if it does not hold real numbers.
    """
    if sample_weight is None:
        return None
    array = as_float_array("sample_weight", sample_weight, np.float64)
    if array.shape not in ((batch,), (batch, 1)):
        raise ValueError(
            f"`sample_weight` must have the shape (batch,) = ({batch},) or (batch, 1), "
            f"one weight per example. Received: sample_weight.shape={array.shape}"
        )
    array = check_finite("sample_weight", array).reshape(-1)
    if np.min(array) < 0 or np.max(array) == 0:
        raise ValueError(
            "`sample_weight` must not be below zero, and not all zero. Received: "
            f"sample_weight from {np.min(array)} to {np.max(array)}"
        )
    if np.max(array) > LARGEST_NUMBER:
        raise ValueError(
            f"`sample_weight` must be at most {LARGEST_NUMBER:.0e}. Received: "
            f"sample_weight with the value {np.max(array)}"
        )
    return array


def weighted_mean(values: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """Returns `sum(w s) / sum(w)` of `(batch,)` values, with checked weights.

    Without weights it is the plain mean.
    """
    if sample_weight is None:
        return float(np.mean(values))
    # Weights are scaled by a power of two, which changes no digit, so that tiny ones
    # times values are not 0.
    weights = np.ldexp(sample_weight, -np.frexp(np.max(sample_weight))[1])
    return float(np.sum(weights * values) / np.sum(weights))


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


def check_samples(
    samples: Any, batch: int | None = None, name: str = "members"
) -> np.ndarray:
    """Returns the finite float64 numbers of shape `(draws, batch)`."""
    array = as_float_array(name, samples, np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"`{name}` must have the axes (draws, batch), with at least one value. "
            f"Received: {name}.shape={array.shape}"
        )
    if batch is not None and array.shape[1] != batch:
        raise ValueError(
            f"`{name}` must have the axes (draws, batch), with one column per target, "
            f"batch={batch}. Received: {name}.shape={array.shape}"
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
    name: str, value: Any, shape: tuple[int, ...], positive: bool = False
) -> np.ndarray:
    """Returns float64 variances: a number, `(batch,)`, or all of `shape`.

    Args:
        name: the argument's name in error messages.
        value: the variances.
        shape: `(batch,)` or `(draws, batch)`.
        positive: whether zero is refused as well as values below it.
    """
    array = check_no_bools(name, as_array(name, value))
    array = as_float_array(name, array, np.float64)
    known = [shape[start:] for start in range(len(shape) + 1)]
    if array.shape not in known:
        rule = ", ".join(str(allowed) for allowed in known if allowed)
        raise ValueError(
            f"`{name}` must be a number or have one of the shapes {rule}. "
            f"Received: {name}.shape={array.shape}"
        )
    _check_numbers(name, array)
    if np.min(array) < 0 or (positive and np.min(array) == 0):
        rule = "above zero" if positive else "not below zero"
        raise ValueError(
            f"`{name}` must hold variances, {rule}. "
            f"Received: {name} with the value {np.min(array)}"
        )
    return array
