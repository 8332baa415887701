"""Isotonic scaling: the best rising curve of the probability of each class."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.scaling.arrays import as_tuple, check_numbers
from tfhyper.scaling.base import ROUNDING, constant
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.likelihood import CalibrationWarning
from tfhyper.scaling.one_versus_rest import (
    OneVersusRest,
    check_count,
    in_pieces,
    maps_of,
    targets_of,
)
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# Below it isotonic curves fit what held-out data happen to be (Niculescu-Mizil and
# Caruana, 2005).
_FEW = 1000
# Probabilities are rounded to multiples of it, so that no step is so steep that what
# float32 rounds decides.
_GRID = 2.0**-16
# A piece behind all probabilities.
_NEVER = (2.0, 1.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Isotonic(OneVersusRest):
    """A rising curve of the probability of a class (Zadrozny and Elkan, 2002).

        q = f(p),   f rising, of the least sum_i (f(p_i) - [y_i = class])^2

    found by scikit-learn's `IsotonicRegression`, straight between its points and level
    beyond them. Probabilities are rounded to multiples of 2^-16 before. Of two classes
    or a column of one f is for class 1; of more each class has one, and the q are
    divided by their sum. It needs no formula to hold and many examples: below 1000 it
    warns. It may say 0, and the NLL of a label that comes then has no end; and classes
    may tie.

    Args:
        thresholds: rows of rising floats in [0, 1], the points p of each curve: one
            row, or one for each of three classes or more.
        values: rows of as many floats in [0, 1] that do not fall, f at these points.

    Raises:
        ValueError: for other numbers.
        TypeError: for what are no numbers.

    Example:

    >>> scaling = tfhyper.scaling.Isotonic([[0.25, 0.75]], [[0.0, 1.0]])
    >>> scaling([[0.5, 0.5], [0.1, 0.9]]).tolist()
    [[0.5, 0.5], [0.0, 1.0]]

    Reference:
        Zadrozny, Elkan: Transforming classifier scores into accurate multiclass
        probability estimates, KDD 2002. Niculescu-Mizil, Caruana: Predicting good
        probabilities with supervised learning, ICML 2005.
    """

    method: ClassVar[str] = "isotonic"

    thresholds: Sequence[Sequence[float]]
    values: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        thresholds = _rows("thresholds", self.thresholds)
        values = _rows("values", self.values)
        check_count("thresholds", len(thresholds))
        if list(map(len, thresholds)) != list(map(len, values)):
            raise ValueError(
                "`values` must have rows as long as those of `thresholds`. Received: "
                f"{list(map(len, values))} and {list(map(len, thresholds))} numbers"
            )
        for name, rows, least in (
            ("thresholds", thresholds, 1e-9),
            ("values", values, 0),
        ):
            for row in rows:
                if row[0] < 0 or row[-1] > 1 or np.any(np.diff(row) < least):
                    rule = "rise" if least else "not fall"
                    raise ValueError(
                        f"`{name}` must be in [0, 1] and {rule}. Received: {name} with "
                        f"the row {row.tolist()[:10]}"
                    )
        object.__setattr__(self, "thresholds", tuple(map(as_tuple, thresholds)))
        object.__setattr__(self, "values", tuple(map(as_tuple, values)))

    @property
    def count(self) -> int:
        """How many curves there are."""
        return len(self.thresholds)

    @property
    def rounding(self) -> float:
        """See the base class."""
        return ROUNDING * self._steepest()

    def of_each(self, values: Tensor, xp: Any) -> Tensor:
        """Returns the curves of probabilities (..., curves)."""
        parts = [_pieces(x, y) for x, y in zip(self.thresholds, self.values)]
        most = max(map(len, parts))
        # Curves of fewer pieces have some that no probability reaches.
        rows = [[*part, *[_NEVER] * (most - len(part))] for part in parts]
        shape = self.count, most, len(_NEVER)
        starts, widths, lows, heights = np.reshape(rows, shape).transpose(2, 1, 0)

        def piece(i: int) -> Tensor:
            behind = xp.subtract(values, constant(starts[i], xp))
            part = xp.clip(xp.divide(behind, constant(widths[i], xp)), 0.0, 1.0)
            rise = xp.multiply(part, constant(heights[i], xp))
            return xp.add(rise, constant(lows[i], xp))

        first = np.array([row[0] for row in self.values])
        return in_pieces(values, first, starts, piece, xp)

    def _steepest(self) -> float:
        """Returns the largest slope of any curve."""
        pieces = [_pieces(x, y) for x, y in zip(self.thresholds, self.values)]
        slopes = [high / width for part in pieces for _, width, _, high in part]
        return max(slopes, default=0.0)

    @classmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the curves of the least squares, see the base class."""
        from sklearn.isotonic import IsotonicRegression

        data.check_every_class(cls.method)
        if len(data.labels) < _FEW:
            warnings.warn(
                f"Isotonic scaling needs some {_FEW} examples or more, or it fits "
                f"what they happen to be. Received: {len(data.labels)}; take "
                '"temperature" or "platt"',
                CalibrationWarning,
                stacklevel=2,
            )
        mean = np.round(data.mean / _GRID) * _GRID
        thresholds, values = [], []
        targets = targets_of(data.labels, data.classes)
        for c, target in zip(maps_of(data.classes), targets, strict=True):
            curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            curve.fit(mean[:, c], target, sample_weight=data.weights)
            thresholds.append(np.clip(curve.X_thresholds_, 0.0, 1.0))
            values.append(np.clip(curve.y_thresholds_, 0.0, 1.0))
        return cls(thresholds, values)

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        return f"isotonic, of {self.classes} classes"


def _rows(name: str, value: Any) -> list[np.ndarray]:
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError(
            f"`{name}` must be rows of numbers. Received: {name}={value!r:.80}"
        )
    if not len(value):
        raise ValueError(f"`{name}` must have a row. Received: {name}={value!r:.80}")
    return [check_numbers(name, row, 1) for row in value]


def _pieces(
    thresholds: Sequence[float], values: Sequence[float]
) -> list[tuple[float, float, float, float]]:
    """Returns of each rising piece its start, width, first value and height."""
    points = list(zip(thresholds, values))
    return [
        (x, end - x, y, top - y)
        for (x, y), (end, top) in zip(points, points[1:])
        if top > y
    ]
