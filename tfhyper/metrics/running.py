"""Scores of data that come batch by batch: sums are kept, and nothing else.

Each class has `update`, which adds a batch, and `result`, which gives the scores of all
batches so far: those that the function of the same scores gives of all data at once, up
to rounding. Its memory does not grow with the data.
"""

from numpy.typing import ArrayLike

from tfhyper.metrics._checks import (
    Labelled,
    RunningMean,
    check_ignore_label,
    read_labelled,
)
from tfhyper.metrics.calibration import (
    ReliabilityCurve,
    ReliabilitySums,
    calibration_error_of,
    check_num_bins,
)
from tfhyper.metrics.classification import brier_scores, is_right, log_losses


class ClassificationSums:
    """Adds up the scores of `classification_report`, of checked examples."""

    def __init__(self, num_bins: int):
        self.reliability = ReliabilitySums(num_bins)
        self._right, self._nll, self._brier = (RunningMean() for _ in range(3))

    def add(self, data: Labelled) -> None:
        """Adds examples."""
        labels, probs, weights = data
        self._right.add(is_right(labels, probs), weights)
        self._nll.add(log_losses(labels, probs), weights)
        self._brier.add(brier_scores(labels, probs), weights)
        self.reliability.add(labels, probs, weights)

    def result(self) -> dict[str, float]:
        """Returns the scores of all that was added, NaN of nothing."""
        return {
            "error": 1.0 - self._right.result(),
            "nll": self._nll.result(),
            "brier": self._brier.result(),
            "ece": calibration_error_of(self.reliability.result()),
        }


class ClassificationScores:
    """`classification_report` of batches: error, likelihood, Brier score, calibration.

    A batch may be ignored as a whole, or have weights of 0 alone; before anything
    counts, all scores are NaN.

    Args:
        num_bins: positive integer, the number of bins of the calibration error.
        ignore_label: integer outside of the classes, whose labels are left out.

    Raises:
        ValueError: if `num_bins` is not a positive integer up to 100,000, or
            `ignore_label` no integer.

    Example:
        >>> from tfhyper import metrics
        >>> scores = metrics.ClassificationScores(ignore_label=255)
        >>> scores.update([0, 255], [[1.0, 0.0], [1.0, 0.0]])
        >>> scores.update([1], [[0.5, 0.5]])
        >>> scores.result()["error"]
        0.5
    """

    def __init__(self, num_bins: int = 15, ignore_label: int | None = None):
        self._ignore_label = check_ignore_label(ignore_label, 0)
        self._sums = ClassificationSums(check_num_bins(num_bins))

    def update(
        self,
        labels: ArrayLike,
        probs: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            labels: class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot rows
                `(batch, ..., classes)`.
            probs: probabilities `(batch, ..., classes)` or
                `(draws, batch, ..., classes)`.
            sample_weight: weights, finite and not below zero, `(batch,)` or of the
                labels' shape; `None` for equal ones.

        Raises:
            ValueError: if a shape does not fit, or a value breaks its rule.
            TypeError: if an argument does not hold real numbers.
        """
        self._sums.add(
            read_labelled(
                labels, probs, sample_weight, self._ignore_label, may_be_empty=True
            )
        )

    @property
    def reliability_curve(self) -> ReliabilityCurve:
        """The `ReliabilityCurve` of all batches so far."""
        return self._sums.reliability.result()

    def result(self) -> dict[str, float]:
        """Returns the dict of `classification_report` of all batches so far."""
        return self._sums.result()
