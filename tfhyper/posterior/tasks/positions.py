"""Labels and weights with leading axes: one for each pixel, token or column.

Decisions and rejections are of rows. What has more axes is laid out in rows here, and
nowhere else: each position of an example is one, and those whose label is ignored are
left out.
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
    axes: int,
    classes: int,
    ignore_class: int | None,
    name: str = "y",
) -> np.ndarray:
    """Returns int64 labels (examples, ...).

    Args:
        labels: integers, or whole floats, (examples, ...) or (examples, ..., 1), or
            one-hot rows (examples, ..., classes).
        axes: how many axes a label for each position has, those of the examples too.
        classes: the number of classes.
        ignore_class: the label that counts in no score, or `None`.
        name: the argument's name in error messages.

    Raises:
        ValueError: for another shape, or labels out of range or not whole.
        TypeError: for labels that are no numbers.
    """
    array = _checks.as_array(name, labels)
    if axes > 1 and array.ndim not in (axes, axes + 1):
        raise ValueError(
            f"`{name}` must have {axes} axes, one label for each position, or one more "
            f"with one-hot rows of {classes} classes. "
            f"Received: {name}.shape={array.shape}"
        )
    lead = array.shape[:axes] if array.ndim >= axes else (len(array),)
    one_hot = array.shape == (*lead, classes)
    ignored = None if one_hot else ignore_class
    return _checks.check_labels(array, lead, classes, name, ignored)


def check_weights(
    weights: ArrayLike | None, shape: tuple[int, ...], may_be_zero: bool = True
) -> np.ndarray | None:
    """Returns float64 weights in rows, one for each label; or `None` for none.

    Args:
        weights: of the shape (examples,), (examples, 1), that of the labels, or that
            of their leading axes, one for all targets of a position; finite, >= 0.
            Bools are masks.
        shape: that of the labels, (examples, ...).
        may_be_zero: whether all may be 0.

    Raises:
        ValueError: for another shape, or weights out of range.
        TypeError: for weights that are no real numbers.
    """
    if weights is not None:
        found = _checks.as_array("sample_weight", weights)
        if 1 < found.ndim < len(shape) and found.shape == shape[: found.ndim]:
            more = (1,) * (len(shape) - found.ndim)
            weights = np.broadcast_to(found.reshape(found.shape + more), shape)
    return _checks.check_sample_weight(weights, shape, may_be_zero=may_be_zero)


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
        weights: (rows,), or `None`.
        ignore_class: the label whose rows are left out, or `None`.
        name: the labels' name in error messages.

    Raises:
        ValueError: if labels are none of these values'.
    """
    check_positions(name, labels, values.shape[: labels.ndim])
    flat = labels.reshape(-1)
    rows = values.reshape(flat.size, *values.shape[labels.ndim :])
    if ignore_class is None or not (ignored := flat == ignore_class).any():
        return Rows(flat, rows, weights)
    kept = ~ignored
    return Rows(flat[kept], rows[kept], None if weights is None else weights[kept])


def check_positions(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless an array has one entry for each position."""
    if array.shape != shape:
        raise ValueError(
            f"`{name}` must have the shape {shape}, an entry for each of the network's "
            f"answers. Received: {name}.shape={array.shape}"
        )
