"""Expected calibration error and the reliability curve it summarises."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import check_positive_integer
from tfhyper.metrics._checks import (
    check_labels_and_probs,
    check_sample_weight,
    weighted_mean,
)

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


def _inner_bin_edges(num_bins: int) -> np.ndarray:
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
) -> ReliabilityCurve:
    """Mean confidence and accuracy of the predictions in bins of their confidence.

    The confidence of a prediction is its largest probability. It is calibrated when,
    among predictions of confidence `p`, a fraction `p` is right.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`;
            the latter is averaged over the draws first. Rows sum to one.
        num_bins: positive integer, the number of equal-width bins of `(0, 1]`, each
            closed on its right.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`; `None` for equal ones.

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
    num_bins = _check_num_bins(num_bins)
    labels, probs = check_labels_and_probs(labels, probs)
    weights = check_sample_weight(sample_weight, len(labels))
    confidence = np.max(probs, axis=1)
    correct = np.argmax(probs, axis=1) == labels
    bins = np.searchsorted(_inner_bin_edges(num_bins), confidence.astype(np.float32))
    counts = np.bincount(bins, weights, minlength=num_bins)
    # Weights that are too small to be multiplied without loss still give ratios.
    if weights is None:
        weights, divisor = 1.0, np.maximum(counts, 1)
    else:
        largest = np.max(weights)
        weights = weights / largest
        divisor = np.where(counts > 0, counts / largest, 1.0)
    return ReliabilityCurve(
        confidence=np.bincount(bins, weights * confidence, num_bins) / divisor,
        accuracy=np.bincount(bins, weights * correct, num_bins) / divisor,
        counts=counts,
    )


def expected_calibration_error(
    labels: ArrayLike,
    probs: ArrayLike,
    num_bins: int = 15,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean gap between confidence and accuracy, over bins of the confidence.

    `ece = sum_m counts[m] / batch * |accuracy[m] - confidence[m]|` over the bins of
    `reliability_curve`, which also draws the reliability diagram.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, each in `[0, classes)`, or
            one-hot rows `(batch, classes)`.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`;
            the latter is averaged over the draws first. Rows sum to one.
        num_bins: positive integer, the number of equal-width bins of `(0, 1]`, each
            closed on its right. Compare only values of the same `num_bins`.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`; `None` for equal ones.

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
    curve = reliability_curve(labels, probs, num_bins, sample_weight=sample_weight)
    gaps = np.abs(curve.accuracy - curve.confidence)
    return weighted_mean(gaps, curve.counts.astype(np.float64))


def _check_num_bins(num_bins: int) -> int:
    num_bins = check_positive_integer("num_bins", num_bins)
    if num_bins > _MOST_BINS:
        raise ValueError(
            f"`num_bins` must be at most {_MOST_BINS}. Received: num_bins={num_bins}"
        )
    return num_bins


@keras.saving.register_keras_serializable("tfhyper")
class ExpectedCalibrationError(keras.metrics.Metric):
    """`expected_calibration_error` as a Keras metric, for `model.compile`.

    `ece = sum_m |sum_{b in bin m} w_b (correct_b - confidence_b)| / sum_b w_b`

    It keeps one sum per bin, so its value does not depend on how the data are cut into
    batches, and it holds `num_bins + 1` numbers however long the epoch is. It equals
    the function of the same data up to float32 rounding.

    Args:
        num_bins: positive integer, the number of equal-width bins of `(0, 1]`, each
            closed on its right.
        from_logits: whether the model's outputs are logits, which then go through a
            softmax, rather than probabilities.
        name: string, the name of the metric.
        dtype: the dtype of the sums, `keras.config.floatx()` by default.

    Call arguments:
        y_true: integer class indices of shape `(batch,)` or `(batch, 1)`.
        y_pred: outputs of shape `(batch, classes)`, of any float dtype.
        sample_weight: `None`, or weights that broadcast to `(batch,)`.

    Raises:
        ValueError: if `num_bins` is not a positive integer, or, at the call, `y_pred`
            does not have two axes or `y_true` does not hold one label per row.

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
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_bins = _check_num_bins(num_bins)
        self.from_logits = from_logits
        self._edges = _inner_bin_edges(self.num_bins)
        self.bin_gaps = self.add_variable(
            shape=(self.num_bins,), initializer="zeros", name="bin_gaps"
        )
        self.total_weight = self.add_variable(
            shape=(), initializer="zeros", name="total_weight"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch to the sums; the class docstring gives the arguments."""
        # Binning is in float32 whatever the model's dtype, as in `reliability_curve`.
        y_pred = ops.cast(y_pred, "float32")
        y_true = ops.cast(y_true, "int32")
        self._check_shapes(y_true.shape, y_pred.shape)
        probs = ops.softmax(y_pred, axis=-1) if self.from_logits else y_pred
        confidence = ops.max(probs, axis=-1)
        bins = ops.searchsorted(self._edges, confidence, side="left")
        labels = ops.reshape(y_true, (-1,))
        correct = ops.equal(ops.cast(ops.argmax(probs, axis=-1), "int32"), labels)
        gaps = ops.cast(correct, self.dtype) - ops.cast(confidence, self.dtype)
        weights = ops.ones_like(gaps)
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, self.dtype)
            if len(sample_weight.shape) > 1:
                sample_weight = ops.reshape(sample_weight, (-1,))
            weights = weights * sample_weight
        self.bin_gaps.assign_add(
            ops.segment_sum(gaps * weights, bins, num_segments=self.num_bins)
        )
        self.total_weight.assign_add(ops.sum(weights))

    def result(self) -> Any:
        """Returns the error of all examples so far, a scalar; 0 before the first."""
        return ops.divide_no_nan(ops.sum(ops.abs(self.bin_gaps)), self.total_weight)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.update(num_bins=self.num_bins, from_logits=self.from_logits)
        return config

    @staticmethod
    def _check_shapes(label_shape: Any, pred_shape: Any) -> None:
        if len(pred_shape) != 2:
            raise ValueError(
                "`y_pred` must have the axes (batch, classes). "
                f"Received: y_pred.shape={tuple(pred_shape)}"
            )
        one_label_per_row = len(label_shape) == 1 or (
            len(label_shape) == 2 and label_shape[1] == 1
        )
        if not one_label_per_row:
            raise ValueError(
                "`y_true` must hold one integer class index per example, in the shape "
                "(batch,) or (batch, 1), not one-hot rows. "
                f"Received: y_true.shape={tuple(label_shape)}"
            )
