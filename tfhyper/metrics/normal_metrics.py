"""CRPS, likelihood and coverage of normal predictions as Keras metrics.

A network that gives a mean and a spread for each target has them on its last axis: all
means, then all spreads, `(batch, ..., 2 * targets)`.
"""

import math
from statistics import NormalDist
from typing import Any, Literal, get_args

import keras
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_choice
from tfhyper.metrics._keras_metrics import CheckedMetric, add_mean
from tfhyper.metrics._streaming import (
    NORMAL_RULES,
    as_tensor,
    count_problems,
    flatten_targets,
    read_weights,
    wrong_weights,
)
from tfhyper.metrics.intervals import check_level
from tfhyper.tensor_types import Tensor

Spread = Literal["scale", "variance"]
SPREADS: tuple[Spread, ...] = get_args(Spread)


class NormalMetric(CheckedMetric):
    """The weighted mean over all targets of a score of normal predictions."""

    rules = NORMAL_RULES

    def __init__(self, spread: Spread, name: str, dtype: Any):
        super().__init__(name, dtype)
        self.spread = check_choice("spread", spread, SPREADS)
        self.total = self._add_sums("total", ())
        self.total_weight = self._add_sums("total_weight", ())
        self._add_problems()

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None
    ) -> None:
        """Adds a batch to the sums; the class docstring gives the arguments."""
        mask = keras_private.mask_of(y_pred)
        y_true, y_pred = as_tensor("y_true", y_true), as_tensor("y_pred", y_pred)
        if sample_weight is not None:
            sample_weight = as_tensor("sample_weight", sample_weight)
        targets, means, spreads, sample_weight, mask = flatten_targets(
            y_true, y_pred, sample_weight, mask
        )
        weights = read_weights(sample_weight, mask, means[:, None], self._sums_dtype)
        counts = weights != 0  # true of NaN, which is to be found
        is_finite = ops.isfinite(means) & ops.isfinite(spreads)
        zeros = ops.zeros_like(means)
        problems = count_problems(
            [
                (~is_finite, zeros),
                (is_finite & (spreads <= 0), spreads),
                (~ops.isfinite(targets), zeros),
                wrong_weights(weights),
            ],
            counts,
        )
        self._raise(problems)
        # What is left out may be NaN, which no weight of 0 removes.
        is_good = counts & is_finite & (spreads > 0) & ops.isfinite(targets)
        errors = ops.where(is_good, targets - means, zeros)
        spreads = ops.where(is_good, spreads, ops.ones_like(spreads))
        std = spreads if self.spread == "scale" else ops.sqrt(spreads)
        add_mean(self, self._scores(errors, std), weights)
        self.problems.assign_add(ops.cast(problems, self._sums_dtype))

    def _scores(self, errors: Tensor, std: Tensor) -> Any:
        """Returns float32 `(targets,)` of errors and standard deviations."""
        raise NotImplementedError

    def result(self) -> Any:
        """Returns the mean of all targets so far, a scalar; 0 before the first.

        Raises:
            ValueError: if a batch of a compiled step held wrong values; within such a
                step the result is NaN.
        """
        return self._checked(ops.divide_no_nan(self.total, self.total_weight))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "spread": self.spread}


@keras.saving.register_keras_serializable("tfhyper.metrics")
class NormalCRPS(NormalMetric):
    """`crps_gaussian` as a Keras metric: the mean over targets, in their unit.

    Args:
        spread: what stands behind the means: `"scale"`, standard deviations, as
            the parameters of a normal head, or `"variance"`.
        name: string, the name of the metric.
        dtype: the dtype of the sums, at least float32.

    Call arguments:
        y_true: targets `(batch, ..., targets)`; of one target also `(batch, ...)`.
        y_pred: `(batch, ..., 2 * targets)`: means, then spreads, which are above zero.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or
            `(batch, ...)`, without the axis of the targets; finite and not below zero.
            A mask of that shape that `y_pred` carries multiplies them.

    Raises:
        ValueError: if an argument of the constructor is none of these, a shape does not
            fit, a value is not finite, a spread is not above zero, or a weight is below
            zero. Wrong values raise at the first batch where a step runs eagerly, and
            else at the next `result()` outside of a step.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> crps = metrics.NormalCRPS()
        >>> crps.update_state(np.array([0.0]), np.array([[0.0, 1.0]]))
        >>> round(float(crps.result()), 4)
        0.2337
    """

    def __init__(self, spread: Spread = "scale", name: str = "crps", dtype: Any = None):
        super().__init__(spread, name, dtype)

    def _scores(self, errors: Tensor, std: Tensor) -> Any:
        z = errors / std
        density = ops.exp(-ops.square(z) / 2) / math.sqrt(2 * math.pi)
        inner = errors * ops.erf(z / math.sqrt(2))
        return inner + std * (2 * density - 1 / math.sqrt(math.pi))


@keras.saving.register_keras_serializable("tfhyper.metrics")
class NormalNegativeLogLikelihood(NormalMetric):
    """Minus `gaussian_log_likelihood` as a Keras metric: mean over targets, in nats.

    Args:
        spread: what stands behind the means: `"scale"`, standard deviations, as
            the parameters of a normal head, or `"variance"`.
        name: string, the name of the metric.
        dtype: the dtype of the sums, at least float32.

    Call arguments:
        y_true: targets `(batch, ..., targets)`; of one target also `(batch, ...)`.
        y_pred: `(batch, ..., 2 * targets)`: means, then spreads, which are above zero.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or
            `(batch, ...)`, without the axis of the targets; finite and not below zero.
            A mask of that shape that `y_pred` carries multiplies them.

    Raises:
        ValueError: if an argument of the constructor is none of these, a shape does not
            fit, a value is not finite, a spread is not above zero, or a weight is below
            zero. Wrong values raise at the first batch where a step runs eagerly, and
            else at the next `result()` outside of a step.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> nll = metrics.NormalNegativeLogLikelihood()
        >>> nll.update_state(np.array([1.0]), np.array([[0.0, 1.0]]))
        >>> round(float(nll.result()), 4)
        1.4189
    """

    def __init__(self, spread: Spread = "scale", name: str = "nll", dtype: Any = None):
        super().__init__(spread, name, dtype)

    def _scores(self, errors: Tensor, std: Tensor) -> Any:
        return ops.square(errors / std) / 2 + ops.log(std) + math.log(2 * math.pi) / 2


@keras.saving.register_keras_serializable("tfhyper.metrics")
class NormalCoverage(NormalMetric):
    """`interval_coverage` of central normal intervals as a Keras metric, in `[0, 1]`.

    Near the level for predictions that are calibrated, and below it for those that are
    too sure.

    Args:
        level: the probability that the intervals hold, in `(0, 1)`.
        spread: what stands behind the means: `"scale"`, standard deviations, as
            the parameters of a normal head, or `"variance"`.
        name: string, the name of the metric.
        dtype: the dtype of the sums, at least float32.

    Call arguments:
        y_true: targets `(batch, ..., targets)`; of one target also `(batch, ...)`.
        y_pred: `(batch, ..., 2 * targets)`: means, then spreads, which are above zero.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or
            `(batch, ...)`, without the axis of the targets; finite and not below zero.
            A mask of that shape that `y_pred` carries multiplies them.

    Raises:
        ValueError: if an argument of the constructor is none of these, a shape does not
            fit, a value is not finite, a spread is not above zero, or a weight is below
            zero. Wrong values raise at the first batch where a step runs eagerly, and
            else at the next `result()` outside of a step.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> coverage = metrics.NormalCoverage(level=0.9)
        >>> y_pred = np.array([[0.0, 1.0], [0.0, 1.0]])
        >>> coverage.update_state(np.array([1.6, 1.7]), y_pred)
        >>> float(coverage.result())
        0.5
    """

    def __init__(
        self,
        level: float = 0.9,
        spread: Spread = "scale",
        name: str = "coverage",
        dtype: Any = None,
    ):
        super().__init__(spread, name, dtype)
        self.level = check_level(level)
        # The lower tail is taken, whose probability is not 0 for any level below one.
        self._half = -NormalDist().inv_cdf((1 - self.level) / 2)

    def _scores(self, errors: Tensor, std: Tensor) -> Any:
        return ops.cast(ops.abs(errors) <= self._half * std, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "level": self.level}
