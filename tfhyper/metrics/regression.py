"""Error and CRPS of a regression, whose prediction is a distribution.

Every function takes `targets`, finite numbers of shape `(batch,)`, and a prediction:

- `mean` and `variance`, of shape `(batch,)`, of a normal distribution for each target;
  `variance` may also be one number for all;
- `members`, of shape `(draws, batch)`: each draw's prediction of the mean, around which
  the target scatters with the `noise_variance` (`1 / tau`): a number, one for each
  example `(batch,)`, or one for each draw and example `(draws, batch)`;
- `samples`, of shape `(draws, batch)`: draws of the target itself, noise included.

More axes may stand behind that of the batch, in all of them alike: those of vectors
`(batch, targets)` or of images `(batch, height, width, channels)`. Each number then
counts as a target. A variance may have the last axes alone: `(targets,)` is one for
each component of a vector.

Means over the examples are returned. With `sample_weight`, finite numbers of shape
`(batch,)` or `(batch, 1)` or that of the targets, not below zero and not all 0, the
mean `mean_i s_i` is `sum_i w_i s_i / sum_i w_i`: a weight of 2 counts as two equal
examples, and one of 0 leaves an example out. A `ValueError` is raised when a shape does
not fit (targets `(batch,)` and a network's `(batch, 1)` do not), a value is not finite
or beyond 1e150, whose squares are no numbers, a variance or a weight below zero, and a
`TypeError` when a value is no real number. `likelihood.py` holds the scores by density,
under the same rules.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_bool
from tfhyper.metrics._checks import (
    check_map,
    check_sample_weight,
    check_samples,
    check_variance,
    check_vector,
    weighted_mean,
)

# Beyond it the normal density is 0, and the error function 1, in float64.
_LARGEST_Z = 40.0


def rmse(
    targets: ArrayLike, mean: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Root mean squared error, `sqrt(mean_i (targets_i - mean_i)**2)`.

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictions, of shape `(batch,)`; for members, their mean over the
            draws.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float, not below zero, in the unit of the targets.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.rmse([3.0, 4.0], [0.0, 4.0]).__round__(4)
        2.1213
    """
    errors = errors_of(targets, mean, any_axes=True)
    weights = check_sample_weight(sample_weight, errors.shape)
    squares = np.square(errors.reshape(-1))
    return float(np.sqrt(weighted_mean(squares, weights)))


def crps_gaussian(
    targets: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean continuous ranked probability score of normal predictions.

    With `sigma = sqrt(variance)`, `z = (target - mean) / sigma`, and `Phi` and `phi`
    the standard normal's distribution function and density,

    `crps = mean_i sigma_i (z_i (2 Phi(z_i) - 1) + 2 phi(z_i) - 1 / sqrt(pi))`

    the integral of the squared difference between the predicted distribution function
    and the step at the target. Smaller is better. Where the variance is 0 it is the
    absolute error, its limit.

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictive means, of shape `(batch,)`.
        variance: the predictive variances, not below zero, of shape `(batch,)`, or one
            number for all.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float, not below zero, in the unit of the targets.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Gneiting and Raftery, "Strictly proper scoring rules, prediction, and
        estimation", JASA 102, 2007, section 4.2, with the opposite sign.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.crps_gaussian([0.0], [0.0], [1.0]), 4)
        0.2337
    """
    errors = errors_of(targets, mean, any_axes=True)
    variance = check_variance("variance", variance, errors.shape)
    weights = check_sample_weight(sample_weight, errors.shape)
    variance = np.broadcast_to(variance, errors.shape)
    return normal_crps(errors.reshape(-1), variance.reshape(-1), weights)


def crps_samples(
    targets: ArrayLike,
    samples: ArrayLike,
    fair: bool = False,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean continuous ranked probability score, estimated from draws of the target.

    For each target `y` and its draws `x_1 ... x_T`,

    `crps = mean_t |x_t - y| - sum_s sum_t |x_s - x_t| / (2 D)`

    with `D = T**2`, the score of the draws as they are, or with `fair`
    `D = T (T - 1)`, which estimates without bias the score of the distribution that
    they come from: it does not favour many draws, and can be below zero. The double sum
    is taken over the sorted draws, in `O(T log T)`.

    Args:
        targets: finite numbers of shape `(batch,)`.
        samples: draws of shape `(draws, batch)` of the target, not of its mean only:
            with the observation noise.
        fair: whether to correct the bias of few draws; needs at least 2.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float, in the unit of the targets; smaller is better.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module, or `fair`
            is no bool or asked of one draw.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Gneiting and Raftery, JASA 102, 2007, eq. 21, with the opposite sign. Ferro,
        "Fair scores for ensemble forecasts", Q. J. R. Meteorol. Soc. 140, 2014.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.crps_samples([0.0], [[-1.0], [1.0]])
        0.5
        >>> metrics.crps_samples([0.0], [[-1.0], [1.0]], fair=True)
        0.0
    """
    targets = check_map("targets", targets)
    samples = check_samples(samples, targets.shape, "samples", any_axes=True)
    weights = check_sample_weight(sample_weight, targets.shape)
    fair = check_bool("fair", fair)
    draws = len(samples)
    if fair and draws < 2:
        raise ValueError(
            "`samples` must hold at least two draws for the fair score. "
            f"Received: samples.shape={samples.shape}"
        )
    deviations = np.sort((samples - targets).reshape(draws, -1), axis=0)
    # In sorted order x_k is the larger of k pairs and the smaller of T - 1 - k.
    signs = 2.0 * np.arange(draws) - (draws - 1)
    pairs = draws * (draws - 1) if fair else draws**2
    spread = signs @ deviations / pairs
    return weighted_mean(np.mean(np.abs(deviations), axis=0) - spread, weights)


class PredictiveMoments(NamedTuple):
    """Mean and variance of each target's prediction, each float64 `(batch, ...)`.

    Attributes:
        mean: the mean of the members.
        variance: the variance of the members and of the noise together.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.predictive_moments([[0.0], [2.0]]).mean.tolist()
        [1.0]
    """

    mean: np.ndarray
    variance: np.ndarray


def predictive_moments(
    members: ArrayLike, noise_variance: ArrayLike = 0.0
) -> PredictiveMoments:
    """Mean and variance of the mixture of the draws, by the law of total variance.

    `mean = mean_t members_t`

    `variance = mean_t (members_t - mean)**2 + mean_t noise_variance_t`

    the epistemic part, which comes from not knowing the weights, and the aleatoric.
    The result fills the arguments of `crps_gaussian` and `gaussian_interval`.

    Args:
        members: each draw's means, of shape `(draws, batch)` or `(draws, batch, ...)`.
        noise_variance: not below zero: a number, `(batch,)` or `(draws, batch)`, or
            other last axes of `members`.

    Returns:
        A `PredictiveMoments` of two float64 arrays of shape `(batch,)` or
        `(batch, ...)`.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Teye et al., ICML 2018, section 3: the variance of the draws plus `1 / tau`.

    Example:
        >>> from tfhyper import metrics
        >>> moments = metrics.predictive_moments([[0.0], [2.0]], noise_variance=0.5)
        >>> metrics.crps_gaussian([1.0], *moments).__round__(4)
        0.2862
    """
    members = check_samples(members, any_axes=True)
    noise = check_variance(
        "noise_variance", noise_variance, members.shape, like="members"
    )
    noise = np.broadcast_to(noise, members.shape).mean(axis=0)
    return PredictiveMoments(members.mean(axis=0), members.var(axis=0) + noise)


def errors_of(
    targets: ArrayLike, mean: ArrayLike, *, any_axes: bool = False
) -> np.ndarray:
    """Returns `targets - mean`, both checked, as float64 of shape `(batch,)`.

    Args:
        targets: finite numbers.
        mean: finite numbers of the same shape.
        any_axes: whether more axes may stand behind that of the batch.
    """
    if any_axes:
        targets = check_map("targets", targets)
        return targets - check_map("mean", mean, targets.shape, "targets")
    targets = check_vector("targets", targets)
    return targets - check_vector("mean", mean, len(targets))


def normal_crps(
    errors: np.ndarray, variance: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Returns the mean CRPS of `N(0, variance)` for checked errors and weights."""
    return weighted_mean(normal_crps_of(errors, variance), weights)


def normal_crps_of(errors: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Returns the CRPS of `N(0, variance)` for each checked error."""
    std = np.sqrt(variance)
    inner, density = _normal_parts(errors, std)
    return inner + std * (2 * density - 1 / np.sqrt(np.pi))


def mean_distance(errors: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Returns `E |error + std Z|` of a standard normal `Z` for each checked error."""
    inner, density = _normal_parts(errors, std)
    return inner + std * 2 * density


def _normal_parts(errors: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns `error (2 Phi(z) - 1)` and the density at `z = error / std`."""
    from scipy.special import erf

    infinite = np.full(errors.shape, np.inf)
    z = np.divide(np.abs(errors), std, out=infinite, where=std > 0)
    z = np.minimum(z, _LARGEST_Z)
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    return np.abs(errors) * erf(z / np.sqrt(2)), density
