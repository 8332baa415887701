"""Scores of data that come batch by batch: sums are kept, and nothing else.

Each class has `update`, which adds a batch, and `result`, which gives the scores of all
batches so far: those that the function of the same scores gives of all data at once, up
to rounding. Its memory does not grow with the data.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_bool
from tfhyper.metrics._binary_checks import read_binary
from tfhyper.metrics._checks import (
    Labelled,
    RunningMean,
    as_float_array,
    check_ignore_class,
    check_map,
    check_sample_weight,
    check_samples,
    check_variance,
    read_labelled,
)
from tfhyper.metrics.binary import RankedBinarySums, check_thresholds
from tfhyper.metrics.calibration import (
    ReliabilityCurve,
    ReliabilitySums,
    calibration_error_of,
    check_num_bins,
)
from tfhyper.metrics.classification import brier_scores, is_right, log_losses
from tfhyper.metrics.intervals import gaussian_interval
from tfhyper.metrics.likelihood import finite_log_densities
from tfhyper.metrics.regression import normal_crps_of, predictive_moments
from tfhyper.metrics.segmentation import class_mean


class ClassificationSums:
    """Adds up the scores of `classification_report`, of checked examples."""

    def __init__(self, num_bins: int):
        self.reliability = ReliabilitySums(num_bins)
        self._right, self._nll, self._brier = (RunningMean() for _ in range(3))

    def add(self, data: Labelled) -> None:
        """Adds examples."""
        labels, probs, weights = data.labels, data.probs, data.weights
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
        ignore_class: integer outside of the classes, whose labels are left out.

    Raises:
        ValueError: if `num_bins` is not a positive integer up to 100,000, or
            `ignore_class` no integer.

    Example:
        >>> from tfhyper import metrics
        >>> scores = metrics.ClassificationScores(ignore_class=255)
        >>> scores.update([0, 255], [[1.0, 0.0], [1.0, 0.0]])
        >>> scores.update([1], [[0.5, 0.5]])
        >>> scores.result()["error"]
        0.5
    """

    def __init__(self, num_bins: int = 15, ignore_class: int | None = None):
        self._ignore_class = check_ignore_class(ignore_class, 0)
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
                labels, probs, sample_weight, self._ignore_class, may_be_empty=True
            )
        )

    @property
    def reliability_curve(self) -> ReliabilityCurve:
        """The `ReliabilityCurve` of all batches so far."""
        return self._sums.reliability.result()

    def result(self) -> dict[str, float]:
        """Returns the dict of `classification_report` of all batches so far."""
        return self._sums.result()


class Regressed(NamedTuple):
    """Targets, what the draws say of them, and weights, checked.

    Attributes:
        targets: float64 `(batch, ...)`.
        members: float64 `(draws, batch, ...)`.
        noise_variance: float64, a number or the last axes of `members`.
        weights: float64 `(batch * ...,)`, or `None` for equal ones.
    """

    targets: np.ndarray
    members: np.ndarray
    noise_variance: np.ndarray
    weights: np.ndarray | None


def read_regression(
    targets: ArrayLike,
    members: ArrayLike,
    noise_variance: ArrayLike,
    sample_weight: ArrayLike | None,
    *,
    may_be_empty: bool = False,
) -> Regressed:
    """Returns checked targets, members, variances and weights.

    Raises:
        ValueError: if a shape does not fit, or a value breaks its rule.
        TypeError: if an argument does not hold real numbers.
    """
    targets = check_map("targets", targets)
    members = check_samples(members, targets.shape, any_axes=True)
    variance = check_variance(
        "noise_variance", noise_variance, members.shape, positive=True, like="members"
    )
    weights = check_sample_weight(
        sample_weight, targets.shape, may_be_zero=may_be_empty
    )
    return Regressed(targets, members, variance, weights)


class RegressionSums:
    """Adds up the scores of `regression_report`, of checked targets."""

    def __init__(self) -> None:
        self._squares, self._crps, self._logs = (RunningMean() for _ in range(3))
        self._coverage, self._width = RunningMean(), RunningMean()

    def add(self, data: Regressed) -> None:
        """Adds targets."""
        targets, members, noise_variance, weights = data
        logs = finite_log_densities(
            "noise_variance", np.square(targets - members), noise_variance
        )
        mean, variance = predictive_moments(members, noise_variance)
        lower, upper = gaussian_interval(mean, variance, level=0.9)
        errors = targets - mean
        for sums, values in (
            (self._squares, np.square(errors)),
            (self._crps, normal_crps_of(errors, variance)),
            (self._logs, logs),
            (self._coverage, (lower <= targets) & (targets <= upper)),
            (self._width, upper - lower),
        ):
            sums.add(values.reshape(-1), weights)

    def result(self) -> dict[str, float]:
        """Returns the scores of all that was added, NaN of nothing."""
        return {
            "rmse": math.sqrt(self._squares.result()),
            "crps": self._crps.result(),
            "nll": -self._logs.result(),
            "coverage_90": self._coverage.result(),
            "width_90": self._width.result(),
        }


class RegressionScores:
    """`regression_report` of batches: error, CRPS, likelihood and coverage.

    Example:
        >>> from tfhyper import metrics
        >>> scores = metrics.RegressionScores()
        >>> scores.update([0.0], [[1.0]], noise_variance=1.0)
        >>> scores.update([4.0], [[1.0]], noise_variance=1.0)
        >>> round(scores.result()["rmse"], 4)
        2.2361
    """

    def __init__(self) -> None:
        self._sums = RegressionSums()

    def update(
        self,
        targets: ArrayLike,
        members: ArrayLike,
        noise_variance: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
            members: each draw's means, `(draws, batch)` or `(draws, batch, ...)`.
            noise_variance: above zero: a number, or the last axes of `members`.
            sample_weight: weights, finite and not below zero, `(batch,)` or of the
                targets' shape; `None` for equal ones.

        Raises:
            ValueError: if a shape does not fit, or a value breaks its rule.
            TypeError: if an argument does not hold real numbers.
        """
        self._sums.add(
            read_regression(
                targets, members, noise_variance, sample_weight, may_be_empty=True
            )
        )

    def result(self) -> dict[str, float]:
        """Returns the dict of `regression_report` of all batches so far."""
        return self._sums.result()


class MultilabelScores:
    """`multilabel_report` and `label_scores` of batches, and `binary_report` of one.

    The scores of the order, AUROC and average precision, are those of probabilities
    rounded to 1 / 400 of a logit, which is what a histogram of 512 KB for each label
    keeps of them; all others are exact.

    Args:
        threshold: number in `[0, 1)`, above which a 1 is predicted, or one for each
            label `(labels,)`.
        num_bins: positive integer, the number of bins of the calibration error.
        ignore_class: integer but 0 and 1, whose labels are left out.
        one_label: whether all axes of the labels are examples of one label, as those
            of `binary_report`; or the last is that of labels.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> from tfhyper import metrics
        >>> scores = metrics.MultilabelScores(ignore_class=-1)
        >>> scores.update([[0, 1], [1, 1]], [[0.2, 0.9], [0.7, 0.4]])
        >>> scores.update([[-1, 0]], [[0.2, 0.1]])
        >>> scores.label_scores["error"].round(4).tolist()
        [0.0, 0.3333]
    """

    def __init__(
        self,
        threshold: ArrayLike = 0.5,
        num_bins: int = 15,
        ignore_class: int | None = None,
        one_label: bool = False,
    ):
        shape = np.shape(as_float_array("threshold", threshold))
        self._threshold = check_thresholds(threshold, math.prod(shape))
        self._num_bins = check_num_bins(num_bins)
        self._ignore_class = check_ignore_class(ignore_class, 2)
        self._one_label = check_bool("one_label", one_label)
        self._sums: list[RankedBinarySums] = []

    def update(
        self,
        labels: ArrayLike,
        probs: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        """Adds a batch.

        Args:
            labels: 0 and 1, of shape `(batch, ..., labels)`, or `(batch, ...)` of one.
            probs: probabilities of that shape, or with an axis of draws before it.
            sample_weight: weights, finite and not below zero, `(batch,)` or of the
                labels' shape; `None` for equal ones.

        Raises:
            ValueError: if a shape does not fit, or a value breaks its rule.
            TypeError: if an argument does not hold real numbers.
        """
        data = read_binary(
            labels,
            probs,
            sample_weight,
            self._ignore_class,
            columns=not self._one_label,
            may_be_empty=True,
        )
        count = data.labels.shape[1]
        if not self._sums:
            limits = self._threshold
            limits = np.repeat(limits, count) if len(limits) == 1 else limits
            if len(limits) != count:
                raise ValueError(
                    "`labels` must have as many labels as `threshold`, "
                    f"{len(limits)}. Received: {count} labels"
                )
            self._sums = [RankedBinarySums(limit, self._num_bins) for limit in limits]
        if len(self._sums) != count:
            raise ValueError(
                "`labels` must have as many labels as in the first batch, "
                f"{len(self._sums)}. Received: {count} labels"
            )
        for label, sums in enumerate(self._sums):
            sums.add(*data.column(label))

    @property
    def label_scores(self) -> dict[str, np.ndarray]:
        """The dict of `label_scores` of all batches so far, arrays `(labels,)`."""
        found = [sums.scores() for sums in self._sums]
        found = found or [RankedBinarySums(0.5, self._num_bins).scores()]
        return {key: np.array([scores[key] for scores in found]) for key in found[0]}

    def result(self) -> dict[str, float]:
        """Returns the dict of `multilabel_report` of all batches so far.

        Of one label it is that of `binary_report`.
        """
        scores = self.label_scores
        return {key: float(class_mean(value)) for key, value in scores.items()}
