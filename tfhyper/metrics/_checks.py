"""Argument checks shared by every metric, so that a rule is written once."""

from typing import Any

import numpy as np

from tfhyper.checks import check_finite

# How far from one the probabilities of a row may sum: room for float16 rounding,
# far from anything that logits or unnormalised scores would give.
SUM_TOLERANCE = 1e-3


def as_float_array(name: str, value: Any, smallest: Any = np.float32) -> np.ndarray:
    """Returns an array of floats, `smallest` at least, or raises TypeError."""
    array = np.asarray(value)
    # NumPy knows bfloat16 only as an extension type, whose kind is "V".
    if array.dtype.kind not in "fiubV":
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {name}.dtype={array.dtype}"
        )
    if array.dtype.kind != "f" or array.dtype.itemsize < np.dtype(smallest).itemsize:
        array = array.astype(smallest)
    return array


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
    if abs(worst - 1.0) > SUM_TOLERANCE:
        raise ValueError(
            f"The last axis of `{name}` must sum to one within {SUM_TOLERANCE}. "
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
        return np.mean(array, axis=0, dtype=np.float64)
    return array.astype(np.float64)


def check_labels(labels: Any, batch: int, classes: int) -> np.ndarray:
    """Returns the `(batch,)` integer labels, each in `[0, classes)`."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"`labels` must be integers (class indices, not one-hot rows). "
            f"Received: labels.dtype={array.dtype}"
        )
    if array.shape != (batch,):
        raise ValueError(
            f"`labels` must have the shape (batch,) = ({batch},), one class index per "
            f"row of probabilities. Received: labels.shape={array.shape}"
        )
    if array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"`labels` must lie in [0, {classes}), the number of classes. "
            f"Received: labels from {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


def check_labels_and_probs(labels: Any, probs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns checked `(batch,)` labels and `(batch, classes)` probabilities."""
    mean_probs = ensemble_probabilities(probs)
    return check_labels(labels, *mean_probs.shape), mean_probs


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
    return check_finite(name, array)


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
    return check_finite(name, array)


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
    array = as_float_array(name, value, np.float64)
    known = [shape[start:] for start in range(len(shape) + 1)]
    if array.shape not in known:
        rule = ", ".join(str(allowed) for allowed in known if allowed)
        raise ValueError(
            f"`{name}` must be a number or have one of the shapes {rule}. "
            f"Received: {name}.shape={array.shape}"
        )
    check_finite(name, array)
    if np.min(array) < 0 or (positive and np.min(array) == 0):
        rule = "above zero" if positive else "not below zero"
        raise ValueError(
            f"`{name}` must hold variances, {rule}. "
            f"Received: {name} with the value {np.min(array)}"
        )
    return array
