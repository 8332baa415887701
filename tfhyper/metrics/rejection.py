"""Rejection: from what uncertainty on an example has no answer, and what that is worth.

`uncertainty` has the shape `(batch,)` and is finite, larger for less sure:
`predictive_entropy`, `mutual_information`, or one minus the largest probability. An
example is rejected, its answer is *unknown*, where its uncertainty is above a
threshold; the others are kept. `coverage` is the fraction that is kept, the selective
error the fraction of wrong predictions among the kept.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_number
from tfhyper.metrics._checks import (
    as_array,
    check_labels_and_probs,
    check_sample_weight,
    check_vector,
    read_labelled,
    weighted_mean,
)

# Above the largest uncertainty of all, as a part of it: what float32 rounds away.
_ROOM = 1e-5
# What sums of weights may be off by, as a part of them.
_ROUNDING = 1e-12
# Coverages that a guarantee is tried for.
_GRID = 50


def rejection_threshold(
    uncertainty: ArrayLike,
    *,
    coverage: float | None = None,
    error: float | None = None,
    labels: ArrayLike | None = None,
    probs: ArrayLike | None = None,
    confidence: float | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The uncertainty above which to reject, chosen on validation examples.

    By one of two rules:

    - `coverage`: as few validation examples are kept as make up that fraction,
      `kept / batch >= coverage`;
    - `error`: as many are kept as leave that error among them,
      `wrong / kept <= error`.

    Equally uncertain examples are kept or rejected together. The threshold lies halfway
    between the largest uncertainty that is kept and the smallest that is rejected, so
    that rounding does not move an example across it; if none is rejected, a hundred
    thousandth above the largest.

    Both rules speak of the validation examples; others of the same distribution keep to
    them on average only, and examples of another distribution not at all. With
    `confidence` the error is a guarantee for new examples of the same distribution: at
    that probability over the validation examples, those kept of the new ones err at
    most at the rate `error`. The rate of `kept` of which `wrong` are wrong is bounded
    by the `b` at which so few would have the probability `delta`,

    `sum_{j <= wrong} C(kept, j) b**j (1 - b)**(kept - j) = delta`

    for the coverages 0.02, 0.04 ... 1, each with `delta = (1 - confidence) / 50`, and
    the largest whose bound is at most `error` is taken. (The paper searches them by
    halves, which misses some: few that are all right have a larger bound than many.) It
    needs some hundreds of examples: if none of `n` is wrong, `b` is about
    `log(1 / delta) / n`.

    Args:
        uncertainty: finite numbers of shape `(batch,)`, of validation examples.
        coverage: a fraction in `(0, 1]`, or `None` for the other rule.
        error: a fraction in `[0, 1)`, or `None`.
        labels: with `error`: integers of shape `(batch,)`, each in `[0, classes)`.
        probs: with `error`: probabilities of shape `(batch, classes)`, or
            `(draws, batch, classes)`, which are averaged. Rows sum to one.
        confidence: with `error`: a probability in `(0, 1)`, or `None` for the
            validation error as it is.
        sample_weight: weights of shape `(batch,)` or `(batch, 1)`, finite, not below
            zero and not all zero, by which examples count in `kept`, `wrong` and
            `batch`. None with `confidence`, whose bound counts examples.

    Returns:
        A float in the unit of `uncertainty`.

    Raises:
        ValueError: if not one of `coverage` and `error` is given, an argument is out of
            its range or belongs to the other rule, a shape does not fit, or no
            threshold reaches the error: the message says which is the least.
        TypeError: if `labels` are not integers, or `uncertainty` no real numbers.

    Reference:
        Geifman and El-Yaniv, "Selective classification for deep neural networks",
        NeurIPS 2017, section 3: selection with guaranteed risk.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.rejection_threshold([0.1, 0.4, 0.2, 1.2], coverage=0.75)
        0.8
        >>> probs = [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]
        >>> metrics.rejection_threshold(
        ...     [0.1, 0.3, 0.2], error=0.0, labels=[0, 1, 1], probs=probs
        ... )
        0.25
    """
    uncertainty = check_vector("uncertainty", uncertainty)
    weights = check_sample_weight(sample_weight, len(uncertainty))
    check_rule(coverage, error, confidence)
    if weights is None:
        weights = np.ones(len(uncertainty))
    elif confidence is not None:
        raise ValueError(
            "`sample_weight` must be None with `confidence`, whose guarantee is of "
            f"examples that count alike. Received: confidence={confidence} and "
            f"sample_weight={sample_weight!r}"
        )
    # What counts nothing must not bear the threshold either.
    counts = weights > 0
    values, places = np.unique(uncertainty[counts], return_inverse=True)
    kept = np.cumsum(np.bincount(places, weights[counts]))
    if coverage is not None:
        for name, value in (("labels", labels), ("probs", probs)):
            if value is not None:
                raise ValueError(
                    f"`{name}` is for `error`. Received: {name} and coverage={coverage}"
                )
        place = int(np.argmax(kept / kept[-1] >= coverage * (1 - _ROUNDING)))
        return _threshold(values, place)
    if error is None or labels is None or probs is None:
        raise ValueError(
            "`error` needs the `labels` and `probs` of the validation examples. "
            f"Received: error={error} without them"
        )
    labels, probs = check_labels_and_probs(labels, probs)
    check_vector("uncertainty", uncertainty, len(labels))
    is_wrong = np.argmax(probs, axis=1) != labels
    # Sums of counts, not of fractions: 29 of 100 are at most 0.29.
    wrong = np.cumsum(np.bincount(places, (weights * is_wrong)[counts]))
    if confidence is None:
        place = _last(wrong / kept, error, "error of those kept")
    else:
        place = _guaranteed(wrong, kept, error, confidence)
    return _threshold(values, place)


def selective_report(
    labels: ArrayLike,
    probs: ArrayLike,
    rejected: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
) -> dict[str, float]:
    """How many predictions are kept, and how many of these are wrong.

    Args:
        labels: integers of shape `(batch,)`, each in `[0, classes)`; with any axes
            behind the batch.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes; the latter is averaged over the draws first. Rows
            sum to one.
        rejected: bools of the labels' shape, true for what has no answer.
        sample_weight: weights of shape `(batch,)` or `(batch, 1)`, or that of the
            labels, finite, not below zero and not all zero, by which examples count in
            the fractions.
        ignore_class: integer outside of the classes, whose labels are left out.

    Returns:
        A dict of floats:

        - `"coverage"`: the fraction that is kept, in `[0, 1]`
        - `"selective_error"`: the fraction of wrong predictions among the kept, in
          `[0, 1]`; left out if none is kept, where there is no such fraction

    Raises:
        ValueError: if a shape does not fit, a label is out of range or `probs` does
            not hold probabilities.
        TypeError: if `labels` are not integers, or `rejected` not bools.

    Reference:
        Geifman and El-Yaniv, "Selective classification for deep neural networks",
        NeurIPS 2017, section 2.

    Example:
        >>> from tfhyper import metrics
        >>> probs = [[0.9, 0.1], [0.6, 0.4]]
        >>> metrics.selective_report([0, 1], probs, [False, True])
        {'coverage': 0.5, 'selective_error': 0.0}
    """
    data = read_labelled(labels, probs, sample_weight, ignore_class)
    kept = data.examples_of(~check_rejected(rejected, data.shape))
    weights = data.weights
    if weights is None:
        weights = np.ones(len(kept))
    report = {"coverage": weighted_mean(kept, weights)}
    if report["coverage"]:
        wrong = np.argmax(data.probs, axis=1) != data.labels
        report["selective_error"] = weighted_mean(wrong[kept], weights[kept])
    return report


def check_rule(
    coverage: float | None, error: float | None, confidence: float | None
) -> None:
    """Raises ValueError unless these choose a threshold: see `rejection_threshold`."""
    if (coverage is None) == (error is None):
        raise ValueError(
            "One of `coverage` and `error` must be given. "
            f"Received: coverage={coverage}, error={error}"
        )
    if coverage is not None and check_number("coverage", coverage, positive=True) > 1:
        raise ValueError(
            "`coverage` must be a fraction, in 0 < coverage <= 1. "
            f"Received: coverage={coverage}"
        )
    if error is not None and check_number("error", error) >= 1:
        raise ValueError(
            f"`error` must be a fraction, in 0 <= error < 1. Received: error={error}"
        )
    if confidence is None:
        return
    if error is None:
        raise ValueError(
            f"`confidence` is for `error`. Received: confidence={confidence} and "
            f"coverage={coverage}"
        )
    if check_number("confidence", confidence, positive=True) >= 1:
        raise ValueError(
            "`confidence` must be a probability, in 0 < confidence < 1. "
            f"Received: confidence={confidence}"
        )


def check_rejected(rejected: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Returns bools of the labels' shape, or raises TypeError or ValueError."""
    array = as_array("rejected", rejected)
    if array.dtype != bool:
        raise TypeError(
            f"`rejected` must hold bools. Received: rejected.dtype={array.dtype}"
        )
    if array.shape != shape:
        axes = "(batch,)" if len(shape) == 1 else "(batch, ...)"
        raise ValueError(
            f"`rejected` must have the shape {axes} = {shape}, one bool per "
            f"example. Received: rejected.shape={array.shape}"
        )
    return array


def _threshold(values: np.ndarray, place: int) -> float:
    """Returns what keeps the distinct, sorted values up to a place, and no other."""
    largest = float(values[place])
    if place + 1 == len(values):
        return largest + _ROOM * abs(largest)
    following = float(values[place + 1])
    middle = largest + (following - largest) / 2
    # Between neighbours among the floats there is nothing.
    return middle if middle < following else largest


def _last(rates: np.ndarray, error: float, what: str) -> int:
    """Returns the last place where a rate is at most `error`."""
    (places,) = np.nonzero(rates <= error * (1 + _ROUNDING))
    if not len(places):
        raise ValueError(
            f"`error` must be at least {np.min(rates):.6g}, the least {what} that a "
            f"threshold reaches here. Received: error={error}"
        )
    return int(places[-1])


def _guaranteed(
    wrong: np.ndarray, kept: np.ndarray, error: float, confidence: float
) -> int:
    """Returns the last place of `_GRID` coverages whose bound is at most `error`."""
    from scipy.stats import beta

    fractions = np.arange(1, _GRID + 1) / _GRID
    # Each where it first is kept, if more are equally uncertain than the fraction.
    places = np.unique(np.searchsorted(kept / kept[-1], fractions))
    wrong, kept = wrong[places], kept[places]
    # Clopper and Pearson's upper bound is the solution of the sum for b.
    right = kept - wrong
    quantile = 1 - (1 - confidence) / _GRID
    bounds = np.where(right, beta.ppf(quantile, wrong + 1, np.maximum(right, 1)), 1.0)
    what = f"bound on the error of those kept at confidence={confidence}"
    return int(places[_last(bounds, error, what)])
