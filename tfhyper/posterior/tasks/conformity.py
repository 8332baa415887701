"""Conformal rules of predictions: what they say, how it is scored, and for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from tfhyper.conformal import ConformalIntervals, ConformalRule, ConformalSets
from tfhyper.metrics import PredictiveInterval
from tfhyper.metrics._checks import RunningMean

if TYPE_CHECKING:
    from tfhyper.tensor_types import Tensor


def sets_of(prediction: Any) -> np.ndarray:
    """Returns the conformal sets of a prediction, bool (examples, classes).

    Raises:
        ValueError: if it has no rule.
    """
    return _rule_of(prediction, ConformalSets)(prediction)


def interval_of(prediction: Any) -> PredictiveInterval:
    """Returns the conformal intervals of a prediction.

    Raises:
        ValueError: if it has no rule.
    """
    return _rule_of(prediction, ConformalIntervals)(prediction)


def _rule_of(prediction: Any, kind: type[ConformalRule]) -> Any:
    if not isinstance(prediction.conformal, kind):
        raise ValueError(
            f"The prediction must have a rule: choose it by `fit_conformal`, or call a "
            f"tfhyper.conformal.{kind.__name__} with the prediction. "
            f"Received: conformal={prediction.conformal!r:.80}"
        )
    return prediction.conformal


class ConformalSums:
    """Adds up how often a rule covers, and how large its sets or intervals are.

    Args:
        rule: the rule of the predictions.
    """

    def __init__(self, rule: ConformalRule):
        self._of_sets = isinstance(rule, ConformalSets)
        self._covered, self._sizes = RunningMean(), RunningMean()

    def add(
        self, labels: np.ndarray, prediction: Any, weights: np.ndarray | None
    ) -> None:
        """Adds a part of the data; arguments as of `Scores.update`."""
        if self._of_sets:
            sets, labels = prediction.sets, labels.reshape(-1)
            if prediction.ignore_class is not None:
                kept = labels != prediction.ignore_class
                sets, labels = sets[kept], labels[kept]
                weights = None if weights is None else weights[kept]
            covered = np.take_along_axis(sets, labels[:, None], axis=-1)
            sizes = sets.sum(axis=-1)
        else:
            lower, upper = prediction.conformal_interval
            covered, sizes = (lower <= labels) & (labels <= upper), upper - lower
        if covered.size:
            self._covered.add(covered.reshape(-1), weights)
            self._sizes.add(sizes.reshape(-1), weights)

    def scores(self) -> dict[str, float]:
        """Returns the fraction that is covered, and the mean size or width."""
        names = (
            ("set_coverage", "set_size")
            if self._of_sets
            else ("conformal_coverage", "conformal_width")
        )
        means = self._covered.result(), self._sizes.result()
        return dict(zip(names, means, strict=True))


def set_outputs(probs: Tensor, rule: Any, xp: Any = ops) -> dict[str, Any]:
    """Returns the output "sets" of a file, of probabilities (batch, classes)."""
    return {"sets": rule.of_probabilities(probs, xp)}


def interval_outputs(found: dict, rule: Any, xp: Any = ops) -> dict[str, Any]:
    """Returns the outputs "lower" and "upper" of a file, of its mean and variance."""
    return rule.of_moments(found["mean"], found["variance"], xp)
