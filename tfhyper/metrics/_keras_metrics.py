"""What the Keras metrics of this package share: checks, weights, masks and sums."""

from typing import Any, ClassVar

import keras
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_bool, check_text
from tfhyper.metrics._checks import check_ignore_class
from tfhyper.metrics._streaming import (
    CLASS_RULES,
    Labels,
    Rule,
    as_tensor,
    find_problems,
    flatten_classes,
    known,
    raise_problems,
    read_labels,
    read_weights,
)
from tfhyper.tensor_types import Tensor


class CheckedMetric(keras.metrics.Metric):
    """A metric that counts what is wrong, and has no number once anything is.

    Attributes:
        rules: what values may break, in the order of `problems`.
        problems: variable `(rules, 2)`, see `_streaming`.
    """

    rules: ClassVar[tuple[Rule, ...]]
    problems: keras.Variable

    def __init__(self, name: str, dtype: Any):
        super().__init__(name=check_text("name", name), dtype=check_dtype(dtype))
        self._sums_dtype = "float64" if self.dtype == "float64" else "float32"

    def _add_sums(self, name: str, shape: tuple[int, ...]) -> keras.Variable:
        return self.add_variable(
            shape=shape, initializer="zeros", dtype=self._sums_dtype, name=name
        )

    def _add_problems(self) -> None:
        self.problems = self._add_sums("problems", (len(self.rules), 2))

    def _raise(self, problems: Any) -> None:
        """Raises ValueError for problems, if their numbers are known already."""
        found = known(problems)
        if found is not None:
            raise_problems(found, self.rules)

    def _checked(self, value: Any) -> Any:
        """Returns a result, or NaN where values were wrong that nobody could tell."""
        self._raise(self.problems)
        # Also in a value that nobody can raise at: no number rather than a wrong one.
        return ops.where(ops.any(self.problems[:, 0] > 0), float("nan"), value)


class ClassMetric(CheckedMetric):
    """A metric of labels and of a classifier's outputs, with any leading axes."""

    rules = CLASS_RULES

    def __init__(
        self, from_logits: bool, ignore_class: int | None, name: str, dtype: Any
    ):
        super().__init__(name, dtype)
        self.from_logits = check_bool("from_logits", from_logits)
        # Whether it is a class is seen when the number of classes is.
        self.ignore_class = check_ignore_class(ignore_class, 0)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None
    ) -> None:
        """Adds a batch to the sums; the class docstring gives the arguments."""
        mask = keras_private.mask_of(y_pred)
        y_true, y_pred = as_tensor("y_true", y_true), as_tensor("y_pred", y_pred)
        if sample_weight is not None:
            sample_weight = as_tensor("sample_weight", sample_weight)
        ignored = self.ignore_class
        y_true, y_pred, sample_weight, mask = flatten_classes(
            y_true, y_pred, sample_weight, mask, one_hot=ignored is None
        )
        # Binning is in float32 whatever the model's dtype, as in `reliability_curve`.
        y_pred = ops.cast(y_pred, "float32")
        weights = read_weights(sample_weight, mask, y_pred, self._sums_dtype)
        if ignored is not None:
            check_ignore_class(ignored, max(y_pred.shape[-1] or 0, 2))
            is_ignored = ops.reshape(ops.cast(y_true, "float32"), (-1,)) == ignored
            weights = ops.where(is_ignored, ops.zeros_like(weights), weights)
        counts = weights != 0  # true of NaN, which is to be found
        labels = read_labels(y_true, y_pred)
        problems = find_problems(labels, y_pred, weights, counts, self.from_logits)
        self._raise(problems)
        self._add(labels, y_pred, weights, counts)
        self.problems.assign_add(ops.cast(problems, self._sums_dtype))

    def _add(self, labels: Labels, y_pred: Tensor, weights: Any, counts: Any) -> None:
        """Adds float32 outputs `(examples, classes)` that count to the sums."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.update(from_logits=self.from_logits, ignore_class=self.ignore_class)
        return config


class ClassMeanMetric(ClassMetric):
    """The weighted mean of a score of each example, of a classifier's outputs."""

    def __init__(
        self, from_logits: bool, ignore_class: int | None, name: str, dtype: Any
    ):
        super().__init__(from_logits, ignore_class, name, dtype)
        self.total = self._add_sums("total", ())
        self.total_weight = self._add_sums("total_weight", ())
        self._add_problems()

    def _scores(self, index: Any, y_pred: Tensor) -> Any:
        """Returns float32 `(examples,)` of classes int32 and of float32 outputs."""
        raise NotImplementedError

    def _add(self, labels: Labels, y_pred: Tensor, weights: Any, counts: Any) -> None:
        # What is left out may be NaN, which no weight of 0 removes.
        y_pred = ops.where(counts[:, None] & ops.isfinite(y_pred), y_pred, 0.5)
        add_mean(self, self._scores(labels.index, y_pred), weights)

    def result(self) -> Any:
        """Returns the mean of all examples so far, a scalar; 0 before the first.

        Raises:
            ValueError: if a batch of a compiled step held wrong values; within such a
                step the result is NaN.
        """
        return self._checked(ops.divide_no_nan(self.total, self.total_weight))


def add_mean(metric: Any, scores: Any, weights: Any) -> None:
    """Adds weighted scores to a metric's `total` and `total_weight`."""
    metric.total.assign_add(ops.sum(ops.cast(scores, weights.dtype) * weights))
    metric.total_weight.assign_add(ops.sum(weights))


def check_dtype(value: Any) -> Any:
    """Returns `dtype`, or raises ValueError unless it is one of Keras', or `None`."""
    try:
        keras.dtype_policies.get(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"`dtype` must be a type or a dtype policy of Keras. Received: "
            f"dtype={value!r}"
        ) from error
    return value
