"""Labels and weights with leading axes: one for each pixel, token or column.

`metrics` know rows of examples. What has more axes is laid out in such rows here, and
nowhere else: each position of an example is a row, and those that are masked, by a
weight of 0 or by the label that is ignored, are left out.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_integer
from tfhyper.metrics import _checks


@dataclasses.dataclass(frozen=True)
class Rows:
    """What is scored, laid out in rows.

    Attributes:
        labels: (rows,).
        values: (rows, ...), what is said of each.
        weights: float64 (rows,), or `None`.
    """

    labels: np.ndarray
    values: np.ndarray
    weights: np.ndarray | None


def check_ignored(value: int | None, classes: int) -> int | None:
    """Returns the label that counts in no score, or `None` for none.

    Raises:
        ValueError: if it is no integer, or a class.
    """
    if value is None:
        return None
    value = check_integer("ignore_class", value, -(2**31), 2**31 - 1)
    if 0 <= value < classes:
        raise ValueError(
            f"`ignore_class` must be no class, outside of [0, {classes}): examples of "
            "a class can be left out by a `sample_weight` of 0. "
            f"Received: ignore_class={value}"
        )
    return value


def check_class_labels(
    labels: ArrayLike,
    rank: int,
    classes: int,
    ignore_class: int | None,
    name: str = "y",
) -> np.ndarray:
    """Returns int64 labels (examples, ...), one axis less than what is predicted.

    Args:
        labels: integers, or whole floats, (examples, ...) or (examples, ..., 1), or
            one-hot rows (examples, ..., classes).
        rank: the number of axes of the probabilities (examples, ..., classes).
        classes: the number of classes.
        ignore_class: the label that counts in no score, or `None`.
        name: the argument's name in error messages.

    Raises:
        ValueError: for another shape, labels out of range or not whole, or if all are
            ignored.
        TypeError: for labels that are no numbers.
    """
    labels = _checks.as_array(name, labels)
    lead, rows = labels.shape, labels
    if rank > 2:
        if labels.ndim == rank and labels.shape[-1] in (1, classes):
            lead, rows = labels.shape[:-1], labels.reshape(-1, labels.shape[-1])
        elif labels.ndim == rank - 1:
            rows = labels.reshape(-1)
        else:
            raise ValueError(
                f"`{name}` must have {rank - 1} axes, one label for each position, or "
                f"{rank} with one-hot rows of {classes} classes. "
                f"Received: {name}.shape={labels.shape}"
            )
    elif labels.ndim == 2:
        lead = labels.shape[:1]
    if ignore_class is None or rows.shape[1:] not in ((), (1,)):
        found = _checks.check_labels(rows, len(rows), classes, name=name)
    else:
        ignored = rows.reshape(-1) == ignore_class
        if np.all(ignored):
            raise ValueError(
                f"`{name}` must hold labels that count. Received: "
                f"`ignore_class`={ignore_class} throughout"
            )
        rows = np.where(ignored.reshape(rows.shape), 0, rows)
        found = _checks.check_labels(rows, len(rows), classes, name=name)
        found = np.where(ignored, ignore_class, found)
    return found.reshape(lead)


def check_weights(
    weights: ArrayLike | None, shape: tuple[int, ...]
) -> np.ndarray | None:
    """Returns float64 weights, (examples,) or of the shape given, or `None` for none.

    Args:
        weights: of the shape (examples,), (examples, 1), or that of the labels;
            finite, >= 0, not all 0. Bools are masks.
        shape: that of the labels, (examples, ...).

    Raises:
        ValueError: for another shape, or weights out of range.
        TypeError: for weights that are no real numbers.
    """
    if weights is None:
        return None
    array = _checks.as_array("sample_weight", weights)
    found = array.shape
    if len(shape) > 1 and found not in ((shape[0],), (shape[0], 1), shape):
        raise ValueError(
            f"`sample_weight` must have the shape {shape[:1]}, a weight for each "
            f"example, or {shape}, one for each label. "
            f"Received: sample_weight.shape={found}"
        )
    if len(shape) > 1 and found == shape:
        checked = _checks.check_sample_weight(array.reshape(-1), array.size)
        return None if checked is None else checked.reshape(shape)
    return _checks.check_sample_weight(array, shape[0])


def weights_of_rows(
    weights: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray | None:
    """Returns a weight for each row, from one for each example or for each label."""
    if weights is None:
        return None
    if weights.shape != shape:
        weights = weights.reshape(-1, *(1,) * (len(shape) - 1))
    return np.broadcast_to(weights, shape).reshape(-1)


def rows_that_count(
    labels: np.ndarray,
    values: np.ndarray,
    weights: np.ndarray | None,
    ignore_class: int | None,
    name: str = "y",
) -> Rows:
    """Returns labels, what is said of them and weights, laid out in rows.

    Args:
        labels: (examples, ...), checked.
        values: (examples, ..., more), what is said of each label.
        weights: (examples,) or of the shape of the labels, or `None`.
        ignore_class: the label whose rows are left out, or `None`.
        name: the labels' name in error messages.

    Raises:
        ValueError: if labels are none of these values'.
    """
    check_positions(name, labels, values.shape[: labels.ndim])
    flat = labels.reshape(-1)
    rows = values.reshape(flat.size, *values.shape[labels.ndim :])
    found = weights_of_rows(weights, labels.shape)
    if ignore_class is None or not (ignored := flat == ignore_class).any():
        return Rows(flat, rows, found)
    kept = ~ignored
    return Rows(flat[kept], rows[kept], None if found is None else found[kept])


def check_positions(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless an array has one entry for each position."""
    if array.shape != shape:
        raise ValueError(
            f"`{name}` must have the shape {shape}, an entry for each of the network's "
            f"answers. Received: {name}.shape={array.shape}"
        )
