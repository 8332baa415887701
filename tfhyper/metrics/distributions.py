"""Scores of predicted distributions: mixtures, quantiles and PIT values.

`targets` are finite numbers of shape `(batch,)` or `(batch, ...)`, and what is told of
each stands in arrays with the same axes; with one axis before them for the components
of a mixture, `(components, batch, ...)`, or for the levels of quantiles. Each number
counts as a target. The rules of `regression.py` hold for `sample_weight` and errors.

The logarithmic score is `-predictive_log_likelihood`; scores of draws of the target are
in `regression.py`, and intervals in `intervals.py`.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import (
    as_float_array,
    check_finite,
    check_map,
    check_pit,
    check_sample_weight,
    check_samples,
    check_variance,
    weighted_mean,
)
from tfhyper.metrics.calibration import check_num_bins
from tfhyper.metrics.regression import mean_distance


def crps_mixture(
    targets: ArrayLike,
    means: ArrayLike,
    variances: ArrayLike,
    shares: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean continuous ranked probability score of mixtures of normal distributions.

    With `A(e, v) = E |e + sqrt(v) Z|` of standard normal `Z`,

    `crps = sum_i s_i A(y - m_i, v_i) - sum_ij s_i s_j A(m_i - m_j, v_i + v_j) / 2`

    the exact score of the mixture of the draws of a regression, where `crps_gaussian`
    of its moments is that of a normal. Time grows with the square of the number of
    components, memory does not.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        means: those of the components, `(components, batch, ...)`: of the draws of a
            network, or of all components of all draws.
        variances: not below zero: a number, or the last axes of `means`.
        shares: the probabilities of the components, which sum to one, `(components,)`
            or of the shape of `means`; `None` for equal ones.
        sample_weight: the targets' weights, or `None` for equal ones.

    Returns:
        A float, not below zero, in the unit of the targets; smaller is better.

    Raises:
        ValueError: if a shape does not fit, a value is not finite, a variance is below
            zero, or shares are no probabilities.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Grimit et al., "The continuous ranked probability score for circular variables
        and its application to mesoscale forecast ensemble verification", Q. J. R.
        Meteorol. Soc. 132, 2006, eq. 5.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.crps_mixture([0.0], [[-1.0], [1.0]], 0.25), 4)
        0.3672
        >>> round(metrics.crps_mixture([0.0], [[0.0]], 1.0), 4)  # a single normal
        0.2337
    """
    targets = check_map("targets", targets)
    means = check_samples(means, targets.shape, "means", any_axes=True)
    variances = check_variance("variances", variances, means.shape, like="means")
    shares = _check_shares(shares, means.shape)
    weights = check_sample_weight(sample_weight, targets.shape)
    variances = np.broadcast_to(variances, means.shape)
    scores = np.zeros(targets.shape)
    for i, (mean, variance, share) in enumerate(
        zip(means, variances, shares, strict=True)
    ):
        scores += share * mean_distance(targets - mean, np.sqrt(variance))
        # Each pair of two once, for both its orders.
        for j in range(i + 1):
            std = np.sqrt(variance + variances[j])
            pair = share * shares[j] * mean_distance(mean - means[j], std)
            scores -= pair / 2 if i == j else pair
    return weighted_mean(scores.reshape(-1), weights)


def _check_shares(value: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    """Returns float64 probabilities of the components, with the axes `shape`."""
    if value is None:
        return np.full((shape[0], *(1,) * (len(shape) - 1)), 1 / shape[0])
    array = check_finite("shares", as_float_array("shares", value, np.float64))
    if array.shape not in (shape[:1], shape):
        raise ValueError(
            f"`shares` must have the shape (components,) = ({shape[0]},), or {shape} "
            f"of `means`. Received: shares.shape={array.shape}"
        )
    sums = np.sum(array, axis=0)
    if np.min(array) < 0 or np.max(np.abs(sums - 1)) > 1e-3:
        raise ValueError(
            "`shares` must be probabilities that sum to one over the components. "
            f"Received: shares from {np.min(array)}, with sums from {np.min(sums)} to "
            f"{np.max(sums)}"
        )
    return array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 else array


def quantile_loss(
    targets: ArrayLike,
    quantiles: ArrayLike,
    levels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> np.ndarray:
    """Mean pinball loss of predicted quantiles, at each level.

    `loss = mean_i max(level (y_i - q_i), (1 - level) (q_i - y_i))`

    which is least, on average, where `q_i` is the quantile of that level. Twice its
    mean over many even levels is near the CRPS.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        quantiles: predicted ones, `(levels, batch, ...)`, or of the targets' shape for
            one level.
        levels: probabilities in `(0, 1)`, of shape `(levels,)`, or one number.
        sample_weight: the targets' weights, or `None` for equal ones.

    Returns:
        float64 of shape `(levels,)`, or `()` for one number, not below zero, in the
        unit of the targets; smaller is better.

    Raises:
        ValueError: if a shape does not fit, a value is not finite, or a level is no
            probability.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    Example:
        >>> from tfhyper import metrics
        >>> loss = metrics.quantile_loss([0.0, 4.0], [[1.0, 1.0]], [0.9])
        >>> loss.round(4).tolist()
        [1.4]
    """
    targets = check_map("targets", targets)
    level = check_finite("levels", as_float_array("levels", levels, np.float64))
    if level.ndim > 1 or level.size == 0 or np.min(level) <= 0 or np.max(level) >= 1:
        raise ValueError(
            "`levels` must be one probability in (0, 1), or some of shape (levels,). "
            f"Received: levels={levels!r}"
        )
    shape = (*level.shape, *targets.shape)
    quantiles = check_map("quantiles", quantiles)
    if quantiles.shape != shape:
        raise ValueError(
            f"`quantiles` must have the shape {shape}, of `levels` and `targets`. "
            f"Received: quantiles.shape={quantiles.shape}"
        )
    weights = check_sample_weight(sample_weight, targets.shape)
    errors = (targets - quantiles).reshape(level.size, -1)
    losses = np.maximum(
        level.reshape(-1, 1) * errors, (level.reshape(-1, 1) - 1) * errors
    )
    found = np.array([weighted_mean(row, weights) for row in losses])
    return found.reshape(level.shape)


def pit_mixture(
    targets: ArrayLike,
    means: ArrayLike,
    variances: ArrayLike,
    shares: ArrayLike | None = None,
) -> np.ndarray:
    """Probability integral transforms of targets under mixtures of normals.

    `pit = sum_i s_i Phi((y - m_i) / sqrt(v_i))`

    the predicted probability of a number below the target. They are uniform in `[0, 1]`
    for predictions that are calibrated; see `pit_histogram`.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        means: those of the components, `(components, batch, ...)`: of the draws of a
            network, or `mean[None]` of one normal distribution.
        variances: above zero: a number, or the last axes of `means`.
        shares: the probabilities of the components, which sum to one, `(components,)`
            or of the shape of `means`; `None` for equal ones.

    Returns:
        float64 of the targets' shape, in `[0, 1]`.

    Raises:
        ValueError: if a shape does not fit, a value is not finite, a variance is not
            above zero, or shares are no probabilities.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Dawid, "Present position and potential developments: some personal views:
        statistical theory: the prequential approach", J. R. Stat. Soc. A 147, 1984.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.pit_mixture([0.0, 2.0], [[0.0, 1.0]], 1.0).round(4).tolist()
        [0.5, 0.8413]
    """
    from scipy.special import ndtr

    targets = check_map("targets", targets)
    means = check_samples(means, targets.shape, "means", any_axes=True)
    variances = check_variance(
        "variances", variances, means.shape, positive=True, like="means"
    )
    shares = _check_shares(shares, means.shape)
    below = ndtr((targets - means) / np.sqrt(variances))
    return np.minimum(np.sum(shares * below, axis=0), 1.0)


def pit_samples(targets: ArrayLike, samples: ArrayLike) -> np.ndarray:
    """Probability integral transforms of targets under draws of the target.

    `pit = (draws below + (draws equal + 1) / 2) / (draws + 1)`

    the middle of the target's rank among the draws: one of `draws + 1` values for
    numbers without ties, each as probable as the others if the target is one more draw.
    A histogram is even if the number of its bins divides `draws + 1`.

    Args:
        targets: finite numbers of shape `(batch,)` or `(batch, ...)`.
        samples: draws of the target, noise included, `(draws, batch, ...)`.

    Returns:
        float64 of the targets' shape, in `(0, 1)`.

    Raises:
        ValueError: if a shape does not fit, or a value is not finite.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Hamill, "Interpretation of rank histograms for verifying ensemble forecasts",
        Monthly Weather Review 129, 2001.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.pit_samples([0.5], [[0.0], [1.0], [2.0]]).tolist()
        [0.375]
    """
    targets = check_map("targets", targets)
    samples = check_samples(samples, targets.shape, "samples", any_axes=True)
    below = np.sum(samples < targets, axis=0)
    equal = np.sum(samples == targets, axis=0)
    return (below + (equal + 1) / 2) / (len(samples) + 1)


@dataclasses.dataclass(frozen=True)
class PitHistogram:
    """Numbers of targets by their probability integral transform.

    Histograms of batches add up, by `+`, if they have as many bins.

    Attributes:
        counts: float64 `(bins,)`, the sums of the weights in even bins of `[0, 1]`.

    Example:
        >>> from tfhyper import metrics
        >>> first = metrics.pit_histogram([0.1, 0.9], num_bins=2)
        >>> (first + metrics.pit_histogram([0.7, 0.8], num_bins=2)).density.tolist()
        [0.5, 1.5]
    """

    counts: np.ndarray

    def __add__(self, other: "PitHistogram") -> "PitHistogram":
        if not isinstance(other, PitHistogram):
            return NotImplemented
        if len(self.counts) != len(other.counts):
            raise ValueError(
                "`counts` must have as many bins to be added. "
                f"Received: counts of {len(self.counts)} and {len(other.counts)} bins"
            )
        return PitHistogram(self.counts + other.counts)

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins, float64 `(bins + 1,)` from 0 to 1."""
        return np.linspace(0, 1, len(self.counts) + 1)

    @property
    def density(self) -> np.ndarray:
        """The density in each bin: 1 everywhere if calibrated.

        Higher at both ends for predictions that are too sure, and in the middle for
        those that are not sure enough.
        """
        return self.counts / self.counts.sum() * len(self.counts)

    @property
    def calibration_error(self) -> float:
        """Mean over the bins of the density's distance from 1."""
        return float(np.mean(np.abs(self.density - 1)))


def pit_histogram(
    pit: ArrayLike, num_bins: int = 10, *, sample_weight: ArrayLike | None = None
) -> PitHistogram:
    """Counts targets by their probability integral transform.

    Args:
        pit: numbers in `[0, 1]` of any shape `(batch, ...)`, of `pit_mixture` or
            `pit_samples`.
        num_bins: positive integer, the number of even bins of `[0, 1]`, each closed on
            its left, and the last on both sides.
        sample_weight: the targets' weights, or `None` for equal ones.

    Returns:
        A `PitHistogram`, which `tfhyper.analysis.pit_plot` draws.

    Raises:
        ValueError: if a number is not in `[0, 1]`, `num_bins` is not from 1 to 100,000,
            or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Gneiting et al., "Probabilistic forecasts, calibration and sharpness", J. R.
        Stat. Soc. B 69, 2007, section 3.1.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.pit_histogram([0.05, 0.5, 0.55, 1.0], num_bins=2).counts.tolist()
        [1.0, 3.0]
    """
    pit = check_pit(pit)
    num_bins = check_num_bins(num_bins)
    weights = check_sample_weight(sample_weight, pit.shape)
    inner = np.arange(1, num_bins) / num_bins
    bins = np.searchsorted(inner, pit.reshape(-1), side="right")
    return PitHistogram(
        np.bincount(bins, weights, minlength=num_bins).astype(np.float64)
    )


def sharpness(variance: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean standard deviation of predictions: of two calibrated, the smaller is better.

    Args:
        variance: predictive variances, not below zero, of any shape `(batch, ...)`.
        sample_weight: the targets' weights, or `None` for equal ones.

    Returns:
        A float, not below zero, in the unit of the targets.

    Raises:
        ValueError: if a variance is below zero or not finite, or a weight breaks its
            rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Gneiting et al., "Probabilistic forecasts, calibration and sharpness", J. R.
        Stat. Soc. B 69, 2007, section 3.4.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.sharpness([1.0, 9.0])
        2.0
    """
    array = check_map("variance", variance)
    check_variance("variance", array, array.shape)
    weights = check_sample_weight(sample_weight, array.shape)
    return weighted_mean(np.sqrt(array).reshape(-1), weights)
