"""Scores of labels that are 0 or 1: one sigmoid column, or several independent ones.

Every function takes

- `labels`: 0 and 1 (integers, whole floats or bools) of shape `(batch,)`, or of maps
  and tokens `(batch, ...)`; of several labels `(batch, ..., labels)`.
- `probs`: the probabilities that a label is 1, of the same shape, or with an axis of
  draws before it, over which they are averaged first. Of one column either may have a
  last axis of length 1 that the other lacks.
- `sample_weight`: `None`, or weights, finite, not below zero and not all 0: `(batch,)`
  or `(batch, 1)`, one for each example, or of the labels' shape. Bools make a mask.
- `ignore_class`: `None`, or an integer but 0 and 1, such as -1, for labels that are not
  known: they are left out of every score.

A label is predicted to be 1 where its probability is above the threshold. The scores of
a label are these:

- `"error"`: fraction of wrong predictions, in `[0, 1]`
- `"nll"`: mean negative log-likelihood `-log p` or `-log(1 - p)`, in nats; a
  probability below `2**-126` counts as that
- `"brier"`: mean of `(p - label)**2`, in `[0, 1]`: half of `brier_score` of the two
  columns `1 - p` and `p`
- `"ece"`: `expected_calibration_error` of these two columns, in `[0, 1]`
- `"auroc"`: the probability that of a positive and a negative the positive has the
  larger probability, a tie counting half; NaN without one of each
- `"average_precision"`: area under the steps of precision over recall; NaN without a
  positive
- `"f1"`: `2 hits / (predicted + positives)`, NaN where both are 0
- `"precision"`: fraction of those predicted to be 1 that are, NaN where none is
- `"recall"`: fraction of the positives that are predicted to be 1, NaN without one

They raise a `ValueError` when a label is neither 0 nor 1 nor ignored, `probs` are not
in `[0, 1]`, shapes do not fit, or nothing is left to score; and a `TypeError` when an
argument does not hold real numbers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._binary_checks import BinaryLabelled, read_binary
from tfhyper.metrics._checks import (
    RunningMean,
    RunningSums,
    as_float_array,
    check_finite,
)
from tfhyper.metrics.calibration import (
    ReliabilitySums,
    calibration_error_of,
    check_num_bins,
)
from tfhyper.metrics.classification import SMALLEST_PROBABILITY
from tfhyper.metrics.ranking import RankSums, area_under_roc, average_precision_of
from tfhyper.metrics.segmentation import class_mean


def binary_report(
    labels: ArrayLike,
    probs: ArrayLike,
    threshold: float = 0.5,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> dict[str, float]:
    """Scores of one label that is 0 or 1, by its probability.

    Of labels of more axes, such as masks `(batch, height, width)`, each is an example.

    Args:
        labels: 0 and 1, of shape `(batch, ...)`.
        probs: the probabilities of a 1, of the same shape or with an axis of draws
            before it.
        threshold: number in `[0, 1)`, above which a 1 is predicted.
        num_bins: positive integer, the number of bins of the calibration error.
        sample_weight: weights `(batch,)` or of the labels' shape; `None` for equal
            ones.
        ignore_class: integer but 0 and 1, whose labels are left out.

    Returns:
        A dict of floats with the keys that the top of this module lists, in its order.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> report = metrics.binary_report([0, 1, 1, -1], [0.2, 0.9, 0.4, 0.5],
        ...                                ignore_class=-1)
        >>> report["auroc"], report["precision"], report["recall"]
        (1.0, 1.0, 0.5)
    """
    data = read_binary(labels, probs, sample_weight, ignore_class, columns=False)
    (limit,) = check_thresholds(threshold, 1)
    return _scores(data, 0, limit, check_num_bins(num_bins))


def label_scores(
    labels: ArrayLike,
    probs: ArrayLike,
    threshold: ArrayLike = 0.5,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> dict[str, np.ndarray]:
    """Scores of each of several independent labels.

    Args:
        labels: 0 and 1, of shape `(batch, labels)` or `(batch, ..., labels)`.
        probs: the probabilities of a 1, of the same shape or with an axis of draws
            before it. They need not sum to one.
        threshold: number in `[0, 1)`, above which a 1 is predicted, or one for each
            label `(labels,)`.
        num_bins: positive integer, the number of bins of the calibration error.
        sample_weight: weights `(batch,)`, `(batch, ...)` or of the labels' shape;
            `None` for equal ones.
        ignore_class: integer but 0 and 1, whose labels are left out.

    Returns:
        A dict of float64 arrays `(labels,)` with the keys that the top of this module
        lists, in its order; all NaN for a label that is ignored everywhere.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> labels, probs = [[0, 1], [1, 1]], [[0.2, 0.9], [0.7, 0.4]]
        >>> scores = metrics.label_scores(labels, probs)
        >>> scores["error"].tolist(), scores["auroc"].tolist()
        ([0.0, 0.5], [1.0, nan])
    """
    data = read_binary(labels, probs, sample_weight, ignore_class, columns=True)
    limits = check_thresholds(threshold, data.labels.shape[1])
    bins = check_num_bins(num_bins)
    found = [_scores(data, j, limit, bins) for j, limit in enumerate(limits)]
    return {key: np.array([scores[key] for scores in found]) for key in found[0]}


def multilabel_report(
    labels: ArrayLike,
    probs: ArrayLike,
    threshold: ArrayLike = 0.5,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> dict[str, float]:
    """Mean over several independent labels of each label's scores: the macro average.

    Args:
        labels: 0 and 1, of shape `(batch, labels)` or `(batch, ..., labels)`.
        probs: the probabilities of a 1, of the same shape or with an axis of draws
            before it. They need not sum to one.
        threshold: number in `[0, 1)`, above which a 1 is predicted, or one for each
            label `(labels,)`.
        num_bins: positive integer, the number of bins of the calibration error.
        sample_weight: weights `(batch,)`, `(batch, ...)` or of the labels' shape;
            `None` for equal ones.
        ignore_class: integer but 0 and 1, whose labels are left out.

    Returns:
        A dict of floats, the mean of each of `label_scores`. A label whose score is
        NaN, as an AUROC without positives, is left out of the mean of this score.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> labels, probs = [[0, 1], [1, 1]], [[0.2, 0.9], [0.7, 0.4]]
        >>> report = metrics.multilabel_report(labels, probs)
        >>> report["error"], report["auroc"]
        (0.25, 1.0)
    """
    scores = label_scores(
        labels,
        probs,
        threshold,
        num_bins,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
    )
    return {key: float(class_mean(value)) for key, value in scores.items()}


class ThresholdCurve(NamedTuple):
    """Precision, recall and F1 at thresholds, float64 arrays of shape `(thresholds,)`.

    Attributes:
        thresholds: above which a 1 is predicted.
        precision: fraction of those predicted to be 1 that are; NaN where none is.
        recall: fraction of the positives that are predicted to be 1; NaN without one.
        f1: `2 hits / (predicted + positives)`; NaN where both are 0.

    Example:
        >>> from tfhyper import metrics
        >>> curve = metrics.threshold_curve([0, 1], [0.3, 0.6], [0.2, 0.5])
        >>> curve.precision.tolist(), curve.recall.tolist()
        ([0.5, 1.0], [1.0, 1.0])
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def threshold_curve(
    labels: ArrayLike,
    probs: ArrayLike,
    thresholds: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> ThresholdCurve:
    """Precision, recall and F1 of one label at several thresholds.

    Args:
        labels: 0 and 1, of shape `(batch, ...)`; of several labels give one column.
        probs: the probabilities of a 1, of the same shape or with an axis of draws
            before it.
        thresholds: numbers in `[0, 1)`, of shape `(thresholds,)`.
        sample_weight: weights `(batch,)` or of the labels' shape; `None` for equal
            ones.
        ignore_class: integer but 0 and 1, whose labels are left out.

    Returns:
        A `ThresholdCurve`.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> curve = metrics.threshold_curve([0, 1, 1], [0.3, 0.6, 0.1], [0.2, 0.5])
        >>> curve.f1.round(4).tolist()
        [0.5, 0.6667]
    """
    data = read_binary(labels, probs, sample_weight, ignore_class, columns=False)
    limits = check_thresholds(thresholds, None, "thresholds")
    is_one, p, weights = data.column(0)
    rows = []
    for limit in limits:
        counts = DecisionSums()
        counts.add(is_one, p > limit, weights)
        rows.append(list(counts.result().values()))
    f1, precision, recall = np.array(rows).T[1:]
    return ThresholdCurve(limits, precision, recall, f1)


class DecisionSums(RunningSums):
    """Adds up right and wrong decisions of labels 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: np.ndarray = np.zeros(4)  # by the label and the decision

    def add(
        self, is_one: np.ndarray, is_said: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds labels and decisions, bools `(examples,)`."""
        weights = self.scaled(weights, len(is_one))
        self.sums = self.sums + np.bincount(2 * is_one + is_said, weights, minlength=4)

    def result(self) -> dict[str, float]:
        """Returns error, F1, precision and recall."""
        rejections, alarms, misses, hits = self.sums
        return {
            "error": _ratio(alarms + misses, self.sums.sum()),
            "f1": _ratio(2 * hits, 2 * hits + alarms + misses),
            "precision": _ratio(hits, hits + alarms),
            "recall": _ratio(hits, hits + misses),
        }


class BinarySums:
    """Adds up the scores of one label, of checked examples, but those of their order.

    Args:
        threshold: above which a 1 is predicted.
        num_bins: the number of bins of the calibration error.
    """

    def __init__(self, threshold: float, num_bins: int):
        self._threshold = threshold
        self._decisions = DecisionSums()
        self._reliability = ReliabilitySums(num_bins)
        self._nll, self._brier = RunningMean(), RunningMean()

    def add(
        self, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds examples, bools and float64 `(examples,)`."""
        of_label = np.where(labels, probs, 1.0 - probs)
        self._nll.add(-np.log(np.maximum(of_label, SMALLEST_PROBABILITY)), weights)
        self._brier.add(np.square(probs - labels), weights)
        self._decisions.add(labels, probs > self._threshold, weights)
        confidence = np.maximum(probs, 1.0 - probs)
        is_right = (probs > 0.5) == labels
        self._reliability.add_confidences(confidence, is_right, weights)

    def result(self, auroc: float, average_precision: float) -> dict[str, float]:
        """Returns all scores, given those of the order."""
        decisions = self._decisions.result()
        return {
            "error": decisions.pop("error"),
            "nll": self._nll.result(),
            "brier": self._brier.result(),
            "ece": calibration_error_of(self._reliability.result()),
            "auroc": auroc,
            "average_precision": average_precision,
            **decisions,
        }


class RankedBinarySums(BinarySums):
    """`BinarySums` with a histogram that gives the scores of the order, too."""

    def __init__(self, threshold: float, num_bins: int):
        super().__init__(threshold, num_bins)
        self._ranks = RankSums()

    def add(
        self, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds examples, bools and float64 `(examples,)`."""
        super().add(labels, probs, weights)
        self._ranks.add(labels, probs, weights)

    def scores(self) -> dict[str, float]:
        """Returns all scores."""
        ranks = self._ranks
        return self.result(ranks.area_under_roc(), ranks.average_precision())


def _scores(
    data: BinaryLabelled, label: int, threshold: float, num_bins: int
) -> dict[str, float]:
    column = data.column(label)
    sums = BinarySums(threshold, num_bins)
    sums.add(*column)
    return sums.result(area_under_roc(*column), average_precision_of(*column))


def check_thresholds(
    value: Any, labels: int | None, name: str = "threshold"
) -> np.ndarray:
    """Returns float64 thresholds `(labels,)` in `[0, 1)`, of one or of any number."""
    array = check_finite(name, as_float_array(name, value, np.float64))
    if labels is None:
        fits = array.ndim == 1 and array.size > 0
        rule = "numbers of shape (thresholds,)"
    else:
        fits = array.ndim == 0 or (labels > 1 and array.shape == (labels,))
        rule = "a number" + (f" or of shape (labels,) = ({labels},)" * (labels > 1))
    if not fits:
        raise ValueError(
            f"`{name}` must be {rule}. Received: {name}.shape={array.shape}"
        )
    if np.min(array) < 0 or np.max(array) >= 1:
        worst = np.min(array) if np.min(array) < 0 else np.max(array)
        raise ValueError(
            f"`{name}` must lie in [0, 1). Received: {name} with the value {worst}"
        )
    return np.broadcast_to(array, labels) if labels is not None else array


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
