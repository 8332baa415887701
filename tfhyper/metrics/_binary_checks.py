"""Checks of labels that are 0 or 1 and their probabilities, one column for each."""

from typing import Any, NamedTuple

import numpy as np

from tfhyper.metrics._checks import (
    as_array,
    as_float_array,
    check_finite,
    check_ignore_class,
    check_sample_weight,
)


class BinaryLabelled(NamedTuple):
    """Labels, probabilities and weights of examples and labels.

    Attributes:
        labels: bool `(examples, labels)`.
        probs: float64 `(examples, labels)`, the probability that a label is 1.
        weights: float64 `(examples, labels)`, or `None` for equal ones.
        counts: bool `(examples, labels)`: whether a label is not ignored.
    """

    labels: np.ndarray
    probs: np.ndarray
    weights: np.ndarray | None
    counts: np.ndarray

    def column(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns labels, probabilities and weights of what counts of one label."""
        counts = self.counts[:, label]
        weights = None if self.weights is None else self.weights[counts, label]
        return self.labels[counts, label], self.probs[counts, label], weights


def read_binary(
    labels: Any,
    probs: Any,
    sample_weight: Any,
    ignore_class: Any,
    *,
    columns: bool,
    may_be_empty: bool = False,
) -> BinaryLabelled:
    """Returns labels of 0 and 1 with their leading axes flattened.

    Args:
        labels: numbers 0 and 1, or bools, `(batch, ...)`.
        probs: probabilities of that shape, or with an axis of draws before it, over
            which they are averaged; one last axis of length 1 may be missing in either.
        sample_weight: `None`, or weights `(batch,)`, `(batch, 1)` or of the labels'
            shape, with or without its last axis.
        ignore_class: `None`, or an integer but 0 and 1 that says that a label is left
            out.
        columns: whether the last axis is that of labels, each to be scored by itself;
            or all labels are one.
        may_be_empty: whether weights may be all 0, and labels all ignored.

    Raises:
        ValueError: if a shape does not fit, or a value breaks its rule.
        TypeError: if an argument does not hold real numbers.
    """
    array = as_float_array("probs", probs)
    index = as_array("labels", labels)
    ignore_class = check_ignore_class(ignore_class, 2)
    index, array = _fitted(index, array, columns)
    check_finite("probs", array)
    if np.min(array) < 0 or np.max(array) > 1:
        worst = np.min(array) if np.min(array) < 0 else np.max(array)
        raise ValueError(
            "`probs` must hold probabilities in [0, 1] (logits need a sigmoid first). "
            f"Received: probs with the value {worst}"
        )
    if array.ndim > index.ndim:
        array = np.asarray(np.mean(array, axis=0, dtype=np.float64))
    counts = np.ones(index.shape, bool)
    if ignore_class is not None:
        counts = index != ignore_class
    known = index[counts]
    wrong = known[(known != 0) & (known != 1)]
    if wrong.size:
        besides = "" if ignore_class is None else f", or {ignore_class}, ignored"
        raise ValueError(
            f"`labels` must be 0 or 1{besides}: soft or smoothed labels have no class. "
            f"Received: labels with the value {wrong.flat[0]}"
        )
    weights = _weights(sample_weight, index.shape, columns, may_be_empty)
    counted = counts.reshape(-1)
    counted = counted if weights is None else counted & (weights > 0)
    if not may_be_empty and not counted.any():
        raise ValueError(
            "`ignore_class` must leave labels to score: those that it names, and those "
            f"of weight 0, are all. Received: {index.size} labels"
        )
    shape = (-1, index.shape[-1] if columns else 1)
    return BinaryLabelled(
        labels=(index == 1).reshape(shape),
        probs=array.reshape(shape).astype(np.float64),
        weights=None if weights is None else weights.reshape(shape),
        counts=counts.reshape(shape),
    )


def _fitted(
    labels: np.ndarray, probs: np.ndarray, columns: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both with the same axes, but for those of draws."""
    found = np.shape(labels), np.shape(probs)
    for short_labels, short_probs in ((0, 0), (0, 1), (1, 0)):
        one, other = labels, probs
        if short_labels and one.shape[-1:] == (1,):
            one = one[..., 0]
        if short_probs and other.shape[-1:] == (1,):
            other = other[..., 0]
        fits = one.shape in (other.shape, other.shape[1:])
        if fits and one.size and one.ndim >= (2 if columns else 1):
            return one, other
    axes = "(batch, ..., labels)" if columns else "(batch, ...)"
    raise ValueError(
        f"`labels` and `probs` must have one shape {axes}, or `probs` an axis of draws "
        f"before it. Received: labels.shape={found[0]}, probs.shape={found[1]}"
    )


def _weights(
    sample_weight: Any, shape: tuple[int, ...], columns: bool, may_be_zero: bool
) -> np.ndarray | None:
    """Returns flat weights of all labels."""
    if sample_weight is None:
        return None
    array = as_float_array("sample_weight", sample_weight, np.float64)
    if columns and len(shape) > 2 and array.shape == shape[:-1]:
        array = np.repeat(array[..., np.newaxis], shape[-1], axis=-1)
    return check_sample_weight(array, shape, may_be_zero=may_be_zero)
