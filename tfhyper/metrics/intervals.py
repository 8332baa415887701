"""Predictive intervals of a regression, and how many targets they hold."""

import reprlib
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import (
    as_float_array,
    check_map,
    check_pit,
    check_sample_weight,
    check_samples,
    check_variance,
    check_vector,
    weighted_mean,
)
from tfhyper.metrics.regression import errors_of


class PredictiveInterval(NamedTuple):
    """Lower and upper ends of an interval for each target, float64 `(batch, ...)`.

    Attributes:
        lower: the lower ends, which belong to the intervals.
        upper: the upper ends, which belong to the intervals.

    Example:
        >>> from tfhyper import metrics
        >>> interval = metrics.gaussian_interval([0.0], [1.0], level=0.95)
        >>> interval.upper.round(2).tolist()
        [1.96]
    """

    lower: np.ndarray
    upper: np.ndarray


def gaussian_interval(
    mean: ArrayLike, variance: ArrayLike, level: float = 0.9
) -> PredictiveInterval:
    """Central intervals of normal predictions.

    `mean -+ Phi^-1((1 + level) / 2) sqrt(variance)`, with as much probability below the
    interval as above it.

    Args:
        mean: the predictive means, finite, of shape `(batch,)` or `(batch, ...)`.
        variance: the predictive variances, not below zero, of that shape or its last
            axes, or one number for all.
        level: the probability that the interval holds, in `(0, 1)`.

    Returns:
        A `PredictiveInterval` of two float64 arrays of shape `(batch,)` or
        `(batch, ...)`.

    Raises:
        ValueError: if a value or shape breaks these rules.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> lower, upper = metrics.gaussian_interval([1.0], [4.0], level=0.6827)
        >>> lower.round(3).tolist(), upper.round(3).tolist()
        ([-1.0], [3.0])
    """
    mean = check_map("mean", mean)
    variance = check_variance("variance", variance, mean.shape, like="mean")
    # The lower tail is taken, whose probability is not 0 for any level below one.
    half = -NormalDist().inv_cdf((1 - check_level(level)) / 2) * np.sqrt(variance)
    return PredictiveInterval(mean - half, mean + half)


def sample_interval(samples: ArrayLike, level: float = 0.9) -> PredictiveInterval:
    """Central intervals between quantiles of draws.

    From the quantile `(1 - level) / 2` to `(1 + level) / 2` of each example's draws,
    interpolated linearly as in `numpy.quantile`. Few draws give narrow intervals:
    no interval reaches beyond the draws.

    Args:
        samples: draws of shape `(draws, batch)` or `(draws, batch, ...)` of the
            target, not of its mean only: with the observation noise.
        level: the probability that the interval holds, in `(0, 1)`.

    Returns:
        A `PredictiveInterval` of two float64 arrays of shape `(batch,)` or
        `(batch, ...)`.

    Raises:
        ValueError: if `samples` is not finite or has other axes, or `level` is outside
            `(0, 1)`.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> samples = [[0.0], [1.0], [2.0], [3.0], [4.0]]
        >>> lower, upper = metrics.sample_interval(samples, level=0.5)
        >>> lower.tolist(), upper.tolist()
        ([1.0], [3.0])
    """
    samples = check_samples(samples, name="samples", any_axes=True)
    level = check_level(level)
    ends = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return PredictiveInterval(*ends)


def interval_coverage(
    targets: ArrayLike,
    interval: tuple[ArrayLike, ArrayLike],
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Fraction of the targets that lie in their intervals, the ends included.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        interval: a `PredictiveInterval`, or any pair of lower and upper ends of shape
            `(batch,)` or `(batch, ...)`.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the targets; `None` for
            equal ones.

    Returns:
        A float in `[0, 1]`: near the intervals' level if they are calibrated.

    Raises:
        ValueError: if a value is not finite, a shape does not fit, or an interval ends
            before it begins, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.interval_coverage([0.0, 5.0], ([-1.0, -1.0], [1.0, 1.0]))
        0.5
    """
    targets = check_map("targets", targets)
    lower, upper = _check_interval(interval, targets.shape)
    weights = check_sample_weight(sample_weight, targets.shape)
    covers = (lower <= targets) & (targets <= upper)
    return weighted_mean(covers.reshape(-1), weights)


def interval_width(
    interval: tuple[ArrayLike, ArrayLike], *, sample_weight: ArrayLike | None = None
) -> float:
    """Mean width of intervals: of two that cover alike, the narrower tells more.

    Args:
        interval: a `PredictiveInterval`, or any pair of lower and upper ends of shape
            `(batch,)` or `(batch, ...)`.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the targets; `None` for
            equal ones.

    Returns:
        A float, not below zero, in the unit of the targets.

    Raises:
        ValueError: if a value is not finite, a shape does not fit, or an interval ends
            before it begins, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.interval_width(([0.0, 0.0], [1.0, 2.0]))
        1.5
    """
    lower, upper = _check_interval(interval)
    weights = check_sample_weight(sample_weight, lower.shape)
    return weighted_mean((upper - lower).reshape(-1), weights)


class CoverageCurve(NamedTuple):
    """Coverage of central intervals at several levels, two float64 arrays.

    Attributes:
        level: the probabilities that the intervals should hold.
        coverage: the fractions of targets that they hold; `level` if calibrated, below
            it if the predictions are too sure.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.coverage_curve([0.0], [0.0], [1.0], levels=[0.5]).coverage.tolist()
        [1.0]
    """

    level: np.ndarray
    coverage: np.ndarray


def coverage_curve(
    targets: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    levels: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> CoverageCurve:
    """The calibration curve of normal predictions: coverage against level.

    Each point is the `interval_coverage` of the `gaussian_interval` of its level.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        mean: the predictive means, of the targets' shape.
        variance: the predictive variances, not below zero, of that shape or its last
            axes, or one number for all.
        levels: probabilities in `(0, 1)`, of shape `(points,)`; by default 0.05, 0.1
            ... 0.95.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of the targets; `None` for
            equal ones.

    Returns:
        A `CoverageCurve` of two arrays of shape `(points,)`, which
        `tfhyper.analysis.coverage_plot` draws.

    Raises:
        ValueError: if a value or shape breaks these rules.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Kuleshov et al., "Accurate uncertainties for deep learning using calibrated
        regression", ICML 2018, whose quantiles are here central intervals.

    Example:
        >>> from tfhyper import metrics
        >>> targets, mean = [0.5, 1.5], [0.0, 0.0]
        >>> curve = metrics.coverage_curve(targets, mean, 1.0, levels=[0.2, 0.6, 0.95])
        >>> curve.coverage.tolist()
        [0.0, 0.5, 1.0]
    """
    levels = _check_levels(levels)
    errors_of(targets, mean, any_axes=True)  # whose names are those of this function
    coverage = [
        interval_coverage(
            targets,
            gaussian_interval(mean, variance, level),
            sample_weight=sample_weight,
        )
        for level in levels
    ]
    return CoverageCurve(levels, np.array(coverage))


def pit_coverage_curve(
    pit: ArrayLike,
    levels: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> CoverageCurve:
    """The calibration curve of any predicted distributions: coverage against level.

    A target lies in the central interval of a level where its transform lies from
    `(1 - level) / 2` to `(1 + level) / 2`, so that intervals need not be computed. For
    normal predictions it is the curve of `coverage_curve`.

    Args:
        pit: probability integral transforms, numbers in `[0, 1]` of any shape
            `(batch, ...)`: of `pit_mixture`, `pit_samples` or
            `prediction.mixture.pit`.
        levels: probabilities in `(0, 1)`, of shape `(points,)`; by default 0.05, 0.1
            ... 0.95.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`, or that of `pit`; `None` for equal
            ones.

    Returns:
        A `CoverageCurve` of two arrays of shape `(points,)`.

    Raises:
        ValueError: if a value or shape breaks these rules.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Gneiting et al., "Probabilistic forecasts, calibration and sharpness", J. R.
        Stat. Soc. B 69, 2007, section 3.1.

    Example:
        >>> from tfhyper import metrics
        >>> curve = metrics.pit_coverage_curve([0.5, 0.7, 0.99], levels=[0.2, 0.5])
        >>> curve.coverage.round(4).tolist()
        [0.3333, 0.6667]
    """
    pit = check_pit(pit)
    levels = _check_levels(levels)
    weights = check_sample_weight(sample_weight, pit.shape)
    tails = np.minimum(pit, 1 - pit).reshape(-1)  # probability beyond the target
    coverage = [weighted_mean(tails >= (1 - level) / 2, weights) for level in levels]
    return CoverageCurve(levels, np.array(coverage))


def _check_levels(levels: ArrayLike | None) -> np.ndarray:
    """Returns probabilities `(points,)`, 0.05 ... 0.95 for `None`."""
    array = check_vector("levels", np.arange(1, 20) / 20 if levels is None else levels)
    if np.min(array) <= 0 or np.max(array) >= 1:
        raise ValueError(
            "`levels` must be probabilities in (0, 1). Received: levels from "
            f"{np.min(array)} to {np.max(array)}"
        )
    return array


def check_level(level: Any) -> float:
    """Returns a probability, or raises ValueError unless it is one in `(0, 1)`."""
    array = as_float_array("level", level, np.float64)
    if array.ndim != 0 or not 0 < array < 1:
        raise ValueError(
            f"`level` must be a probability in (0, 1). Received: level={level!r}"
        )
    return float(array)


def _check_interval(
    interval: tuple[ArrayLike, ArrayLike], shape: tuple[int, ...] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two ends as float64 arrays `(batch, ...)`."""
    if not isinstance(interval, tuple | list | np.ndarray):
        raise TypeError(
            "`interval` must be a pair of lower and upper ends. "
            f"Received: interval={reprlib.repr(interval)}"
        )
    if len(interval) != 2:
        raise ValueError(
            "`interval` must be a pair of lower and upper ends. "
            f"Received: len(interval)={len(interval)}"
        )
    lower = check_map("interval[0]", interval[0], shape, "targets")
    upper = check_map("interval[1]", interval[1], lower.shape, "interval[0]")
    if np.any(lower > upper):
        raise ValueError(
            "`interval` must not end before it begins. "
            f"Received: {np.sum(lower > upper)} of {lower.size} with lower > upper"
        )
    return lower, upper
