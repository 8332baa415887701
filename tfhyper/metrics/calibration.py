"""Expected calibration error and the reliability curve it summarises."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import check_positive_integer
from tfhyper.metrics._checks import (
    RunningSums,
    read_labelled,
    weighted_mean,
)
from tfhyper.metrics._keras_metrics import ClassMetric
from tfhyper.metrics._streaming import Labels, largest
from tfhyper.tensor_types import Tensor

# More need memory without end, and few of them could hold two examples.
_MOST_BINS = 100_000


class ReliabilityCurve(NamedTuple):
    """Confidence against accuracy, in `num_bins` equal-width bins of confidence.

    Bin `m` holds the examples whose confidence lies in `(m / num_bins,
    (m + 1) / num_bins]`. All three arrays have the shape `(num_bins,)`. A bin with a
    count of 0 has confidence and accuracy 0, which then mean nothing.

    Attributes:
        confidence: float64, the mean confidence of the bin's examples, in `[0, 1]`.
        accuracy: float64, the fraction of them that is predicted right, in `[0, 1]`.
        counts: int64, the number of them; with weights float64, the sum of theirs, by
            which the two means are weighted, too.

    Example:
        >>> from tfhyper import metrics
        >>> curve = metrics.reliability_curve([0], [[0.7, 0.3]], num_bins=2)
        >>> curve.counts.tolist()
        [0, 1]
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray


def inner_bin_edges(num_bins: int) -> np.ndarray:
    """The edges between bins. A confidence's bin is the number of edges below it.

    Edges and confidences are compared in float32, where 0.8 read from a float32
    softmax equals the edge 12/15; in float64 it would fall into the next bin.
    """
    return (np.arange(1, num_bins) / num_bins).astype(np.float32)


def reliability_curve(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> ReliabilityCurve:
    """Mean confidence and accuracy of the predictions in bins of their confidence.

    The confidence of a prediction is its largest probability. It is calibrated when,
    among predictions of confidence `p`, a fraction `p` is right.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first. Rows
            sum to one.
        num_bins: positive integer, the number of equal-width bins of `(0, 1]`, each
            closed on its right.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A `ReliabilityCurve` of three `(num_bins,)` arrays, free of NaN.

    Raises:
        ValueError: if `num_bins` is not a positive integer up to 100,000, `probs` is
            not finite or does not hold probabilities, the shapes do not fit, a label
            is no class, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Guo et al., "On calibration of modern neural networks", ICML 2017, section 2,
        the definitions of acc(B_m) and conf(B_m).

    Example:
        >>> from tfhyper import metrics
        >>> probs = [[0.75, 0.25], [0.75, 0.25], [0.5, 0.5]]
        >>> curve = metrics.reliability_curve([0, 1, 0], probs, num_bins=2)
        >>> curve.accuracy.tolist(), curve.confidence.tolist()
        ([1.0, 0.5], [0.5, 0.75])
    """
    num_bins = check_num_bins(num_bins)
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    sums = ReliabilitySums(num_bins)
    sums.add(data.labels, data.probs, data.weights)
    return sums.result()


class ReliabilitySums(RunningSums):
    """Adds up a `ReliabilityCurve` of examples that come in parts."""

    def __init__(self, num_bins: int):
        super().__init__()
        self.num_bins = num_bins
        # Of confidences, of right predictions, and of weights.
        self.sums: np.ndarray = np.zeros((3, num_bins))
        self._are_counts = True

    def add(
        self, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds checked examples, their probabilities float64 (examples, classes)."""
        self.add_confidences(
            np.max(probs, axis=1), np.argmax(probs, axis=1) == labels, weights
        )

    def add_confidences(
        self, confidence: np.ndarray, is_right: np.ndarray, weights: np.ndarray | None
    ) -> None:
        """Adds the confidences of predictions, and whether these are right."""
        edges = inner_bin_edges(self.num_bins)
        bins = np.searchsorted(edges, confidence.astype(np.float32))
        self._are_counts &= weights is None
        weights = self.scaled(weights, len(bins))
        columns = [confidence, is_right, np.ones(len(bins))]
        for row, column in enumerate(columns):
            column = column if weights is None else weights * column
            self.sums[row] += np.bincount(bins, column, self.num_bins)

    def result(self) -> ReliabilityCurve:
        """Returns the curve of all that was added."""
        confidence, accuracy, counts = self.sums
        divisor = np.where(counts > 0, counts, 1.0)
        counts = np.ldexp(counts, self.exponent)
        return ReliabilityCurve(
            confidence=confidence / divisor,
            accuracy=accuracy / divisor,
            counts=counts.astype(np.int64) if self._are_counts else counts,
        )


def expected_calibration_error(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> float:
    """Mean gap between confidence and accuracy, over bins of the confidence.

    `ece = sum_m counts[m] / batch * |accuracy[m] - confidence[m]|` over the bins of
    `reliability_curve`, which also draws the reliability diagram.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`; with any axes behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first. Rows
            sum to one.
        num_bins: positive integer, the number of equal-width bins of `(0, 1]`, each
            closed on its right. Compare only values of the same `num_bins`.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the labels; `None` for
            equal ones.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A float in `[0, 1]`, 0 for calibrated predictions.

    Raises:
        ValueError: if `num_bins` is not a positive integer up to 100,000, `probs` is
            not finite or does not hold probabilities, the shapes do not fit, a label
            is no class, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Guo et al., "On calibration of modern neural networks", ICML 2017, eq. 3.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.expected_calibration_error([0, 1], [[0.75, 0.25], [0.75, 0.25]])
        0.25
    """
    curve = reliability_curve(
        labels,
        probs,
        num_bins,
        sample_weight=sample_weight,
        ignore_class=ignore_class,
    )
    return calibration_error_of(curve)


def calibration_error_of(curve: ReliabilityCurve) -> float:
    """Returns the expected calibration error that a curve shows."""
    gaps = np.abs(curve.accuracy - curve.confidence)
    return weighted_mean(gaps, curve.counts.astype(np.float64))


def check_num_bins(num_bins: int) -> int:
    """Returns `num_bins`, or raises ValueError unless it is from 1 to 100,000."""
    num_bins = check_positive_integer("num_bins", num_bins)
    if num_bins > _MOST_BINS:
        raise ValueError(
            f"`num_bins` must be at most {_MOST_BINS}. Received: num_bins={num_bins}"
        )
    return num_bins


@keras.saving.register_keras_serializable("tfhyper")
class ExpectedCalibrationError(ClassMetric):
    """`expected_calibration_error` as a Keras metric, for `model.compile`.

    `ece = sum_m |sum_{b in bin m} w_b (correct_b - confidence_b)| / sum_b w_b`

    It keeps one sum per bin, so its value does not depend on how the data are cut into
    batches, and it holds `num_bins + 13` numbers however long the epoch is. It equals
    the function of the same data up to float32 rounding.

    One column of outputs is the probability p of class 1 of two, from a sigmoid: the
    value is that of the two columns `1 - p` and `p`.

    Wrong shapes and types raise when the first batch is met, in a compiled step when it
    is traced. Wrong values raise at the first batch where a step runs eagerly. Within a
    compiled step nothing can raise: the value is NaN from the first wrong batch on, and
    the `ValueError` comes from the first `result()` outside of it, which `fit` calls
    after each epoch and `evaluate` at its end. An example of weight 0 is left out,
    whatever its label and outputs are.

    Args:
        num_bins: positive integer up to 100,000, the number of equal-width bins of
            `(0, 1]`, each closed on its right.
        from_logits: bool, whether the model's outputs are logits, which then go through
            a softmax (one column: a sigmoid), rather than probabilities.
        name: string, the name of the metric.
        dtype: the dtype of the sums, `keras.config.floatx()` by default. They have
            float32 at least: in half precision they would soon stand still.
        ignore_class: integer outside of the classes, such as 255 for void pixels, whose
            labels are left out; `None` for none.

    Call arguments:
        y_true: class indices of shape `(batch,)` or `(batch, 1)`, integers or whole
            floats (bools, too, for one column of outputs); or one-hot rows
            `(batch, classes)` of any dtype. With any axes behind the batch.
        y_pred: outputs of shape `(batch, classes)` or `(batch, 1)`, of any float dtype,
            or `(batch, ..., classes)` of maps and tokens, each of which counts.
        sample_weight: `None`, a number, or weights of shape `(batch,)` or `(batch, 1)`,
            or of the labels' shape `(batch, ...)`, finite and not below zero. A mask
            `(batch,)` or `(batch, ...)` that `y_pred` carries multiplies them.

    Raises:
        ValueError: if `num_bins` is no positive integer, `from_logits` no bool, or
            `ignore_class` no integer or a class; or, as told above, if a shape does not
            fit, a value is not finite, `y_pred` does not hold probabilities (logits
            that were not announced), a label is no class or no one-hot row, or a weight
            is below zero.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Guo et al., "On calibration of modern neural networks", ICML 2017, eq. 3.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> ece = metrics.ExpectedCalibrationError(num_bins=10)
        >>> ece.update_state(np.array([0]), np.array([[0.75, 0.25]]))
        >>> ece.update_state(np.array([1]), np.array([[0.75, 0.25]]))
        >>> float(ece.result())
        0.25
    """

    def __init__(
        self,
        num_bins: int = 15,
        from_logits: bool = False,
        name: str = "ece",
        dtype: Any = None,
        ignore_class: int | None = None,
    ):
        super().__init__(from_logits, ignore_class, name, dtype)
        self.num_bins = check_num_bins(num_bins)
        self._edges = inner_bin_edges(self.num_bins)
        self.bin_gaps = self._add_sums("bin_gaps", (self.num_bins,))
        self.total_weight = self._add_sums("total_weight", ())
        self._add_problems()

    def _add(self, labels: Labels, y_pred: Tensor, weights: Any, counts: Any) -> None:
        confidence, predicted = self._predict(y_pred)
        # What is left out may be NaN, which no weight of 0 removes.
        confidence = ops.where(counts & ops.isfinite(confidence), confidence, 0.0)
        bins = ops.searchsorted(self._edges, confidence, side="left")
        correct = ops.equal(predicted, labels.index)
        gaps = ops.cast(correct, weights.dtype) - ops.cast(confidence, weights.dtype)
        self.bin_gaps.assign_add(
            ops.segment_sum(gaps * weights, bins, num_segments=self.num_bins)
        )
        self.total_weight.assign_add(ops.sum(weights))

    def _predict(self, y_pred: Tensor) -> tuple[Any, Any]:
        """Returns confidence and class of float32 outputs, both `(batch,)`."""
        if y_pred.shape[-1] == 1:
            p = y_pred[:, 0]
            p = ops.sigmoid(p) if self.from_logits else p
            # The first of two equal probabilities is the prediction, as in argmax.
            return ops.maximum(p, 1.0 - p), ops.cast(p > 1.0 - p, "int32")
        probs = ops.softmax(y_pred, axis=-1) if self.from_logits else y_pred
        return largest(probs), ops.cast(ops.argmax(probs, axis=-1), "int32")

    def result(self) -> Any:
        """Returns the error of all examples so far, a scalar; 0 before the first.

        Raises:
            ValueError: if a batch of a compiled step held wrong values; within such a
                step the result is NaN.
        """
        ece = ops.divide_no_nan(ops.sum(ops.abs(self.bin_gaps)), self.total_weight)
        return self._checked(ece)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.update(num_bins=self.num_bins)
        return config
