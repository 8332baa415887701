"""Likelihood and Brier score of a classifier as Keras metrics, for `model.compile`.

Both have the arguments, the labels and the errors of `ExpectedCalibrationError`.
"""

import math
from typing import Any

import keras
from keras import ops

from tfhyper.metrics._keras_metrics import ClassMeanMetric
from tfhyper.metrics.classification import SMALLEST_PROBABILITY
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper.metrics")
class NegativeLogLikelihood(ClassMeanMetric):
    """`negative_log_likelihood` as a Keras metric: the mean over examples, in nats.

    Other than a loss in `metrics`, it does not depend on the batches, leaves out masked
    and ignored labels, and refuses outputs that are no probabilities. A probability
    below `2**-126` counts as that. One column of outputs is the probability of class 1
    of two.

    Wrong values raise as those of `ExpectedCalibrationError` do: at the first batch
    where a step runs eagerly, and else at the next `result()` outside of a step.

    Args:
        from_logits: bool, whether the model's outputs are logits.
        name: string, the name of the metric.
        dtype: the dtype of the sums, at least float32.
        ignore_class: integer outside of the classes, such as 255 for void pixels, whose
            labels are left out; `None` for none.

    Call arguments:
        y_true: class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot rows
            `(batch, ..., classes)`.
        y_pred: outputs `(batch, ..., classes)` or `(batch, ..., 1)`.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or of the
            labels' shape. A mask that `y_pred` carries multiplies them.

    Raises:
        ValueError: if a shape does not fit, `y_pred` does not hold probabilities, a
            label is no class, or a weight is below zero.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> nll = metrics.NegativeLogLikelihood()
        >>> nll.update_state(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]]))
        >>> round(float(nll.result()), 4)
        0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        name: str = "nll",
        dtype: Any = None,
        ignore_class: int | None = None,
    ):
        super().__init__(from_logits, ignore_class, name, dtype)

    def _scores(self, index: Any, y_pred: Tensor) -> Any:
        if y_pred.shape[-1] == 1:
            outputs, is_one = y_pred[:, 0], index == 1
            if self.from_logits:
                logs = ops.log_sigmoid(ops.where(is_one, outputs, -outputs))
            else:
                logs = _safe_log(ops.where(is_one, outputs, 1.0 - outputs))
        else:
            logs = ops.take_along_axis(y_pred, index[:, None], axis=1)[:, 0]
            if self.from_logits:
                logs = logs - ops.logsumexp(y_pred, axis=-1)
            else:
                logs = _safe_log(logs)
        return -ops.maximum(logs, _LEAST_LOG)


@keras.saving.register_keras_serializable("tfhyper.metrics")
class BrierScore(ClassMeanMetric):
    """`brier_score` as a Keras metric: the mean over examples.

    The squared distance to the one-hot label is summed over the classes, in `[0, 2]`.
    Of one column of outputs, the probability p of class 1 of two, it is
    `(p - label)**2` as in `binary_report`: half of that of the columns `1 - p` and `p`.

    Wrong values raise as those of `ExpectedCalibrationError` do: at the first batch
    where a step runs eagerly, and else at the next `result()` outside of a step.

    Args:
        from_logits: bool, whether the model's outputs are logits.
        name: string, the name of the metric.
        dtype: the dtype of the sums, at least float32.
        ignore_class: integer outside of the classes, such as 255 for void pixels, whose
            labels are left out; `None` for none.

    Call arguments:
        y_true: class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot rows
            `(batch, ..., classes)`.
        y_pred: outputs `(batch, ..., classes)` or `(batch, ..., 1)`.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or of the
            labels' shape. A mask that `y_pred` carries multiplies them.

    Raises:
        ValueError: if a shape does not fit, `y_pred` does not hold probabilities, a
            label is no class, or a weight is below zero.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> brier = metrics.BrierScore()
        >>> brier.update_state(np.array([0]), np.array([[0.5, 0.5]]))
        >>> float(brier.result())
        0.5
    """

    def __init__(
        self,
        from_logits: bool = False,
        name: str = "brier",
        dtype: Any = None,
        ignore_class: int | None = None,
    ):
        super().__init__(from_logits, ignore_class, name, dtype)

    def _scores(self, index: Any, y_pred: Tensor) -> Any:
        if y_pred.shape[-1] == 1:
            p = ops.sigmoid(y_pred[:, 0]) if self.from_logits else y_pred[:, 0]
            return ops.square(p - ops.cast(index, "float32"))
        probs = ops.softmax(y_pred, axis=-1) if self.from_logits else y_pred
        is_label = ops.arange(y_pred.shape[-1], dtype="int32") == index[:, None]
        return ops.sum(ops.square(probs - ops.cast(is_label, "float32")), axis=-1)


_LEAST_LOG = math.log(SMALLEST_PROBABILITY)


def _safe_log(probs: Tensor) -> Any:
    return ops.log(ops.maximum(probs, SMALLEST_PROBABILITY))
