"""From what uncertainty on a prediction says that it does not know."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from tfhyper.checks import check_choice, check_number
from tfhyper.metrics._checks import RunningMean
from tfhyper.summary import Summary

# The label of what is rejected.
UNKNOWN = -1
# What predictions of some task can be rejected by.
Uncertainty: TypeAlias = Literal["total", "aleatoric", "epistemic", "confidence"]
SCORES: tuple[Uncertainty, ...] = get_args(Uncertainty)
# The score of a predictor's scorer, see `tfhyper.detection`: what a classifier's
# predictions can be rejected by besides.
Foreign: TypeAlias = Literal["foreign"]
FOREIGN: Foreign = "foreign"
# The parts of the uncertainty that predictions of every task have.
Part: TypeAlias = Literal["total", "aleatoric", "epistemic"]


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A rule: what is more uncertain than a threshold has no answer.

    An input is rejected where `prediction.uncertainty(score) > threshold`, with the
    scores of `Prediction.uncertainty` or `RegressionPrediction.uncertainty`. The
    threshold is best found by a predictor's `fit_rejection` (or
    `tfhyper.metrics.rejection_threshold`), on data that trained nothing.

    Args:
        threshold: float >= 0, in the unit of the score: nats; with "confidence" a
            probability, that of another class; of a regression the square of the
            targets' unit. With "foreign" any finite number, in the unit of the scorer.
        score: `"total"`, `"aleatoric"`, `"epistemic"` or, of a classifier,
            `"confidence"`; or `"foreign"`, the score of the predictor's `scorer`, of
            `tfhyper.detection`.

    Raises:
        ValueError: for another score, or a threshold that is not finite, below 0, or
            with "confidence" above 1.

    Example:

    >>> predictor.rejection = tfhyper.Rejection(0.9)
    >>> prediction = predictor.predict(x_test)
    >>> bool((prediction.rejected == (prediction.total > 0.9)).all())
    True
    """

    threshold: float
    score: Uncertainty | Foreign = "total"

    def __post_init__(self) -> None:
        check_choice("score", self.score, (*SCORES, FOREIGN))
        if self.score == FOREIGN:
            object.__setattr__(self, "threshold", _check_any(self.threshold))
            return
        threshold = check_number("threshold", self.threshold)
        if self.score == "confidence" and threshold > 1:
            raise ValueError(
                '`threshold` must be in 0 <= threshold <= 1 with `score="confidence"`: '
                "it is 1 less the largest probability. "
                f"Received: threshold={self.threshold}"
            )
        object.__setattr__(self, "threshold", threshold)

    def in_words(self) -> str:
        """Returns what the rule says, in a few words."""
        of = "1 - confidence" if self.score == "confidence" else self.score
        return f"unknown where {of} > {self.threshold:.4g}"

    def _repr_html_(self) -> str:
        """Returns what notebooks show."""
        return Summary(f"Rejection: {self.in_words()}").html()

    def rejects(self, uncertainty: np.ndarray) -> np.ndarray:
        """Returns bools: where an uncertainty, of any shape, is too large."""
        return np.asarray(uncertainty) > self.threshold


def _check_any(value: Any) -> float:
    """Returns a finite number, whatever its sign."""
    is_number = isinstance(value, int | float | np.integer | np.floating)
    if not is_number or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(
            '`threshold` must be a finite number with `score="foreign"`. '
            f"Received: threshold={value!r}"
        )
    return float(value)


class SelectiveSums:
    """Adds up what is kept, and how far this is wrong, from parts of the data."""

    def __init__(self) -> None:
        self._coverage, self._losses = RunningMean(), RunningMean()

    def add(
        self, losses: np.ndarray, rejected: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds losses of answers (rows,), whether these are rejected, and weights."""
        kept = ~np.asarray(rejected, bool)
        self._coverage.add(kept, weights)
        if kept.any():
            self._losses.add(losses[kept], None if weights is None else weights[kept])

    def scores(self, name: str) -> dict[str, float]:
        """Returns "coverage", the fraction that is kept, and the mean loss of these.

        Args:
            name: what the mean loss is called. It is left out where none is kept; one
                that ends in "rmse" is the root of the mean.
        """
        found = {"coverage": self._coverage.result()}
        if not math.isnan(loss := self._losses.result()):
            found[name] = math.sqrt(loss) if name.endswith("rmse") else loss
        return found


def is_rejected(prediction: Any) -> np.ndarray:
    """Returns bools (examples, ...): where a prediction's rule leaves no answer."""
    if prediction.rejection is None:
        return np.zeros(np.shape(prediction.uncertainty()), bool)
    score = prediction.rejection.score
    return prediction.rejection.rejects(prediction.uncertainty(score))


def check_rejection(value: Any) -> Rejection | None:
    """Returns a rule from one, `None`, or the mapping that a file holds of it.

    Raises:
        TypeError: for another type, or another mapping.
        ValueError: for a rule out of range.
    """
    if value is None or isinstance(value, Rejection):
        return value
    names = {field.name for field in dataclasses.fields(Rejection)}
    if isinstance(value, Mapping) and set(value) == names:
        return Rejection(**value)
    raise TypeError(
        "`rejection` must be a tfhyper.Rejection or None. "
        f"Received: rejection={value!r}"
    )
