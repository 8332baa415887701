"""Scalings of the probability of each class against all others."""

import abc
from typing import Any

import numpy as np

from tfhyper.scaling.base import Scaling, constant
from tfhyper.tensor_types import Tensor


class OneVersusRest(Scaling):
    """Scales the probability of each class by itself, and divides by the sum.

    Of two classes that of class 1 alone, from which that of class 0 follows. Where all
    probabilities come out 0, the classes are alike. So does
    `sklearn.calibration.CalibratedClassifierCV`.
    """

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """How many maps it holds: of two classes one."""

    @property
    def classes(self) -> int:
        """How many classes it is for."""
        return 2 if self.count == 1 else self.count

    @abc.abstractmethod
    def of_each(self, values: Tensor, xp: Any) -> Tensor:
        """Returns what becomes of probabilities (..., maps), in [0, 1]."""

    def of_probabilities(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns the scaled probabilities, see the base class."""
        values = probs[..., 1:] if self.count == 1 else probs
        return self.joined(self.of_each(values, xp), xp)

    def joined(self, values: Tensor, xp: Any) -> Tensor:
        """Returns probabilities (..., classes) of those of each class by itself."""
        if self.count == 1:
            return xp.concatenate([xp.subtract(1.0, values), values], axis=-1)
        total = xp.sum(values, axis=-1, keepdims=True)
        divided = xp.divide(values, xp.maximum(total, 1e-30))
        return xp.where(xp.greater(total, 0.0), divided, 1.0 / self.count)


def check_count(name: str, count: int) -> None:
    """Raises ValueError unless there are maps for a number of classes."""
    if count == 2:
        raise ValueError(
            f"`{name}` must have one row for two classes, that of class 1, or one for "
            "each of three classes or more. Received: 2 rows"
        )


def targets_of(labels: np.ndarray, count: int) -> list[np.ndarray]:
    """Returns 0 and 1 (rows,) for each of the maps."""
    return [(labels == c).astype(np.float64) for c in maps_of(count)]


def maps_of(classes: int) -> range:
    """Returns the classes that have a map: of two classes class 1."""
    return range(1, 2) if classes == 2 else range(classes)


def in_pieces(
    values: Tensor, first: np.ndarray, starts: np.ndarray, piece: Any, xp: Any
) -> Tensor:
    """Returns curves that are made of pieces, of values (..., maps).

    Piece by piece, so that no array has an axis of them.

    Args:
        values: numbers.
        first: what a curve is before its first piece, (maps,).
        starts: behind which numbers its pieces begin, (pieces, maps), rising.
        piece: function of the index of a piece that gives what it is, (..., maps).
        xp: `numpy` or `keras.ops`.
    """
    # Curves without pieces are level, in the shape of the values.
    found = xp.add(xp.multiply(values, 0.0), constant(first, xp))
    for i, start in enumerate(starts):
        found = xp.where(xp.greater(values, constant(start, xp)), piece(i), found)
    return found
