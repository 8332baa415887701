"""Checks of a batch in tensors, whose values a compiled step does not know.

What breaks a rule is counted in a tensor `(rules, 2)`: for each rule the number of
examples, and the sum of what is wrong with them, to be told as its mean. Counts of
batches and of devices add up.
"""

from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from tfhyper.metrics._checks import HALF_TOLERANCES, as_array, as_float_array
from tfhyper.tensor_types import Tensor

# A rule, and what is summed for those that break it.
Rule: TypeAlias = tuple[str, str | None]
_WEIGHT_RULE = (
    "`sample_weight` must be finite and not below zero",
    "the weight {mean:.4g} on average",
)
# Of a classifier's outputs, in the order of the rows.
CLASS_RULES: tuple[Rule, ...] = (
    ("`y_pred` must be finite", None),
    (
        "`y_pred` must hold probabilities in [0, 1]; logits need `from_logits=True`",
        "a value of {mean:.4g} on average",
    ),
    (
        "The rows of `y_pred` must sum to one within 0.03; logits need "
        "`from_logits=True`, and two classes one column of probabilities",
        "a sum of {mean:.6g} on average",
    ),
    (
        "`y_true` must be class indices, whole numbers in [0, classes)",
        "the label {mean:.6g} on average",
    ),
    (
        "`y_true` of the shape (batch, classes) must be one-hot rows, one 1 and zeros: "
        "soft or smoothed labels have no class",
        "a largest entry of {mean:.4g} on average",
    ),
    _WEIGHT_RULE,
)
# Of the outputs of a regression with a mean and a spread.
NORMAL_RULES: tuple[Rule, ...] = (
    ("`y_pred` must be finite", None),
    (
        "`y_pred` must end in spreads above zero, behind the means: end it in a "
        "softplus",
        "a spread of {mean:.4g} on average",
    ),
    ("`y_true` must be finite", None),
    _WEIGHT_RULE,
)
# What half precision needs, for every type: a compiled step may round inside a softmax
# and hand on float32, so that neither type nor bits tell. No logits come as near.
_TOLERANCE = max(HALF_TOLERANCES.values())
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_WIDE_INTEGERS = ("int64", "uint32", "uint64")


class Labels(NamedTuple):
    """Labels as they were read: their class, and what is wrong with them.

    Attributes:
        index: int32 `(batch,)`, the class; any where it is wrong.
        is_wrong: bool `(batch,)`.
        value: float32 `(batch,)`, what to tell of those that are wrong.
        rule: the row of the rule that they break.
    """

    index: Any
    is_wrong: Any
    value: Any
    rule: int


def as_tensor(name: str, value: Any) -> Tensor:
    """Returns a tensor of the backend that holds real numbers.

    Raises:
        TypeError: if it holds anything else.
        ValueError: if it is no array, or its number of axes is not known.
    """
    if not ops.is_tensor(value) and not isinstance(value, keras.Variable):
        value = as_array(name, value)
        # Not every backend takes the extension types of NumPy.
        value = as_float_array(name, value) if value.dtype.kind == "V" else value
        value = ops.convert_to_tensor(value)
    dtype = keras.backend.standardize_dtype(value.dtype)
    if not dtype.startswith(("float", "bfloat", "int", "uint", "bool")):
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {name}.dtype={dtype}"
        )
    return value


def _shape_of(name: str, tensor: Tensor) -> tuple[int | None, ...]:
    try:
        return tuple(tensor.shape)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must have a known number of axes: set the shape of the dataset. "
            f"Received: {name}.shape={tensor.shape}"
        ) from error


def flatten_classes(
    y_true: Tensor, y_pred: Tensor, sample_weight: Any, mask: Any, *, one_hot: bool
) -> tuple[Tensor, Tensor, Any, Any]:
    """Returns labels, outputs, weights and mask with their leading axes as one.

    Args:
        y_true: class indices `(batch, ...)` or `(batch, ..., 1)`, or one-hot rows
            `(batch, ..., classes)`.
        y_pred: outputs `(batch, ..., classes)` or `(batch, ..., 1)`.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or
            `(batch, ...)`.
        mask: `None`, or bools `(batch,)` or `(batch, ...)`.
        one_hot: whether labels may be one-hot rows.

    Raises:
        ValueError: unless the shapes, as far as they are known, fit.
    """
    preds, labels = _shape_of("y_pred", y_pred), _shape_of("y_true", y_true)
    if len(preds) < 2 or preds[-1] == 0:
        raise ValueError(
            "`y_pred` must have the axes (batch, classes), or (batch, 1) for the "
            "probability of class 1 of two, with any axes behind the batch. "
            f"Received: y_pred.shape={preds}"
        )
    lead, classes = preds[:-1], preds[-1]
    rows = len(labels) == len(preds) and labels[-1] is not None
    if not (
        len(labels) == len(lead) or (rows and labels[-1] in (1, classes or labels[-1]))
    ):
        raise ValueError(
            "`y_true` must hold one class index per example, in the shape (batch,) or "
            f"(batch, 1), or one-hot rows (batch, classes) = ({lead[0]}, {classes}), "
            "with the axes of `y_pred` behind the batch. "
            f"Received: y_true.shape={labels}, y_pred.shape={preds}"
        )
    if not one_hot and rows and labels[-1] != 1:
        raise ValueError(
            "`ignore_class` must be None where `y_true` is one-hot rows: it is for "
            f"class indices. Received: y_true.shape={labels}"
        )
    for place, (size, other) in enumerate(zip(lead, labels, strict=False)):
        if None not in (size, other) and size != other:
            what = "examples" if place == 0 else "labels along each axis"
            raise ValueError(
                f"`y_true` must hold as many {what} as `y_pred`, {size}. "
                f"Received: y_true.shape={labels}, y_pred.shape={preds}"
            )
    sample_weight, mask = _spread(sample_weight, mask, y_pred, lead)
    if len(lead) == 1:
        return y_true, y_pred, sample_weight, mask
    shape = (-1, labels[-1]) if rows else (-1,)
    return (
        ops.reshape(y_true, shape),
        ops.reshape(y_pred, (-1, classes)),
        sample_weight,
        mask,
    )


def flatten_targets(
    y_true: Tensor, y_pred: Tensor, sample_weight: Any, mask: Any
) -> tuple[Tensor, Tensor, Tensor, Any, Any]:
    """Returns targets, means and spreads, float32 of one axis, weights and mask.

    Args:
        y_true: `(batch, ..., targets)`, or `(batch, ...)` of one target.
        y_pred: `(batch, ..., 2 * targets)`: means, then spreads.
        sample_weight: `None`, a number, or weights `(batch,)`, `(batch, 1)` or
            `(batch, ...)`.
        mask: `None`, or bools `(batch,)` or `(batch, ...)`.

    Raises:
        ValueError: unless the shapes, as far as they are known, fit.
    """
    preds, labels = _shape_of("y_pred", y_pred), _shape_of("y_true", y_true)
    if len(preds) < 2 or not preds[-1] or preds[-1] % 2:
        raise ValueError(
            "`y_pred` must have the axes (batch, ..., 2 * targets): means, and then as "
            f"many spreads. Received: y_pred.shape={preds}"
        )
    lead, count = preds[:-1], preds[-1] // 2
    expected = (*lead, count)
    found = (*labels, 1) if len(labels) == len(lead) and count == 1 else labels
    pairs = zip(found, expected, strict=False)
    if len(found) != len(expected) or any(
        None not in pair and pair[0] != pair[1] for pair in pairs
    ):
        also = f" or {lead}" if count == 1 else ""
        raise ValueError(
            f"`y_true` must have the shape {expected}{also}, as `y_pred` has {preds}. "
            f"Received: y_true.shape={labels}"
        )
    sample_weight, mask = _spread(sample_weight, mask, y_pred, lead)
    y_pred = ops.cast(y_pred, "float32")
    means, spreads = y_pred[..., :count], y_pred[..., count:]
    ones = ops.ones_like(ops.reshape(means, (-1, count)))

    def of_targets(values: Any) -> Any:
        if values is None or not len(values.shape):
            return values
        column = ops.reshape(ops.cast(values, "float32"), (-1, 1))
        return ops.reshape(column * ones, (-1,))

    return (
        ops.reshape(ops.cast(y_true, "float32"), (-1,)),
        ops.reshape(means, (-1,)),
        ops.reshape(spreads, (-1,)),
        of_targets(sample_weight),
        of_targets(mask),
    )


def _spread(
    sample_weight: Any, mask: Any, y_pred: Tensor, lead: tuple[int | None, ...]
) -> tuple[Any, Any]:
    """Returns weights and mask, each `None`, a number or one for each of `lead`.

    Raises:
        ValueError: unless the shape of the weights fits.
    """
    if sample_weight is not None:
        weights = _shape_of("sample_weight", sample_weight)
        fits = len(weights) <= 1 or (len(weights) == 2 and weights[1] in (1, None))
        if fits and weights and None not in (lead[0], weights[0]):
            fits = weights[0] in (1, lead[0])
        per_label = len(lead) > 1 and len(weights) == len(lead)
        if per_label:
            pairs = zip(weights, lead, strict=True)
            per_label = all(None in pair or pair[0] == pair[1] for pair in pairs)
        if not fits and not per_label:
            more = f", or one per label, {lead}" if len(lead) > 1 else ""
            raise ValueError(
                "`sample_weight` must be a number or have the shape (batch,) or (batch,"
                f" 1), one weight per example{more}, of "
                f"y_pred.shape={tuple(y_pred.shape)}. "
                f"Received: sample_weight.shape={weights}"
            )
        if len(lead) > 1 and weights:
            if not per_label:
                sample_weight = _for_each(sample_weight, y_pred)
            sample_weight = ops.reshape(sample_weight, (-1,))
    if mask is not None and len(lead) > 1:
        if len(mask.shape) == 1:
            mask = _for_each(mask, y_pred)
        mask = ops.reshape(mask, (-1,)) if len(mask.shape) == len(lead) else None
    return sample_weight, mask


def _for_each(of_examples: Any, y_pred: Tensor) -> Tensor:
    """Returns what examples have for each of their labels, `(batch, ...)`."""
    shape = (-1, *(1,) * (len(y_pred.shape) - 2))
    wide = ops.reshape(ops.cast(of_examples, "float32"), shape)
    return wide * ops.ones_like(y_pred[..., 0], dtype="float32")


def read_weights(sample_weight: Any, mask: Any, y_pred: Tensor, dtype: str) -> Any:
    """Returns the weights `(batch,)`, times those of a mask."""
    weights = ops.cast(ops.ones_like(y_pred[:, 0]), dtype)
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, dtype)
        if len(sample_weight.shape) > 1:
            sample_weight = ops.reshape(sample_weight, (-1,))
        weights = weights * sample_weight
    if mask is not None and len(mask.shape) == 1:
        # Not by a product, which lets NaN through.
        weights = ops.where(ops.cast(mask, "bool"), weights, ops.zeros_like(weights))
    return weights


def read_labels(y_true: Tensor, y_pred: Tensor) -> Labels:
    """Returns the labels of `(batch,)`, `(batch, 1)` or one-hot `(batch, classes)`."""
    dtype = keras.backend.standardize_dtype(y_true.dtype)
    if len(y_true.shape) == 2 and y_true.shape[1] != 1:
        rows = ops.cast(y_true, "float32")
        is_one_hot = ops.all((rows == 0) | (rows == 1), axis=1)
        is_one_hot = is_one_hot & (ops.sum(rows, axis=1) == 1)
        index = ops.cast(ops.argmax(rows, axis=1), "int32")
        return Labels(index, ~is_one_hot, largest(rows), 4)

    one_column = y_pred.shape[-1] == 1
    if dtype == "bool" and not one_column:
        raise TypeError(
            "`y_true` must be class indices; bools are for one-hot rows and for one "
            "column of outputs. Received: y_true.dtype=bool"
        )
    classes = 2 if one_column else ops.shape(y_pred)[-1]
    labels = ops.reshape(y_true, (-1,))
    # To a type that holds the labels and the number of classes.
    if dtype in _FLOATS:
        labels = labels if dtype == "float64" else ops.cast(labels, "float32")
    else:
        labels = ops.cast(labels, "int64" if dtype in _WIDE_INTEGERS else "int32")
    is_wrong = (labels < 0) | (labels >= ops.cast(classes, labels.dtype))
    if dtype in _FLOATS:
        is_wrong = is_wrong | (labels != ops.floor(labels)) | ~ops.isfinite(labels)
    index = ops.where(is_wrong, ops.zeros_like(labels), labels)
    return Labels(ops.cast(index, "int32"), is_wrong, ops.cast(labels, "float32"), 3)


def find_problems(
    labels: Labels, y_pred: Tensor, weights: Any, counts: Any, from_logits: bool
) -> Any:
    """Returns the float32 `(rules, 2)` counts and sums of a batch of a classifier.

    Args:
        labels: what `read_labels` gave.
        y_pred: float32 `(batch, classes)`.
        weights: `(batch,)`.
        counts: bool `(batch,)`, whether an example is not left out.
        from_logits: whether `y_pred` may be any finite numbers.
    """
    zeros = ops.zeros_like(y_pred[:, 0])
    is_finite = ops.all(ops.isfinite(y_pred), axis=-1)
    found = {0: (~is_finite, zeros)}
    if not from_logits:
        lowest, highest = smallest(y_pred), largest(y_pred)
        is_outside = is_finite & ((lowest < 0) | (highest > 1 + _TOLERANCE))
        found[1] = is_outside, ops.where(lowest < 0, lowest, highest)
        if y_pred.shape[-1] != 1:
            sums = ops.sum(y_pred, axis=-1)
            is_off = is_finite & ~is_outside & (ops.abs(sums - 1) > _TOLERANCE)
            found[2] = is_off, sums
    found[labels.rule] = labels.is_wrong, labels.value
    found[5] = wrong_weights(weights)
    rows = [found.get(rule, (zeros > 0, zeros)) for rule in range(len(CLASS_RULES))]
    return count_problems(rows, counts)


def wrong_weights(weights: Any) -> tuple[Any, Any]:
    """Returns which weights break the rule, and their values."""
    weights = ops.cast(weights, "float32")
    return (weights < 0) | ~ops.isfinite(weights), weights


def count_problems(found: list[tuple[Any, Any]], counts: Any) -> Any:
    """Returns the float32 `(rules, 2)` counts and sums of a batch.

    Args:
        found: for each rule which examples break it, bool `(batch,)`, and what is
            wrong with each, float32 `(batch,)`.
        counts: bool `(batch,)`, whether an example is not left out.
    """
    rows = []
    for is_wrong, value in found:
        is_wrong = is_wrong & counts
        value = ops.where(is_wrong & ops.isfinite(value), value, ops.zeros_like(value))
        rows.append(ops.stack([ops.sum(ops.cast(is_wrong, "float32")), ops.sum(value)]))
    return ops.stack(rows)


def largest(rows: Any) -> Any:
    """Returns the largest of each row."""
    # `ops.max` refuses a batch without examples, which a replica can have.
    return ops.top_k(rows, 1)[0][:, 0]


def smallest(rows: Any) -> Any:
    """Returns the smallest of each row."""
    return -largest(-rows)


def known(tensor: Tensor) -> np.ndarray | None:
    """Returns the values of a tensor or variable, `None` while they are only traced."""
    try:
        return ops.convert_to_numpy(tensor)
    except Exception:  # each backend has its own error for a symbol
        return None


def raise_problems(found: np.ndarray, rules: tuple[Rule, ...]) -> None:
    """Raises ValueError for the first of the rules that examples broke, if any did.

    Not within a `keras.StatelessScope`: Keras builds metrics in one with made-up
    numbers, and compiled steps run in one.
    """
    broken = np.flatnonzero(found[:, 0] > 0)
    if not broken.size or _is_stateless():
        return
    rule, told = rules[broken[0]]
    count, total = found[broken[0]]
    what = f", with {told.format(mean=total / count)}" if told else ""
    name = rule.split("`")[1]
    raise ValueError(
        f"{rule}. Received: {name} with {count:.0f} examples that break the rule{what}"
    )


def _is_stateless() -> bool:
    """Returns whether this runs in a `StatelessScope`, where no variable is made."""
    try:
        keras.Variable(0.0, trainable=False)
    except ValueError:
        return True
    return False
