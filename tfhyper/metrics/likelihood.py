"""Log-likelihood of a regression, under one normal or a mixture over the draws.

The arguments and their rules are those at the top of `regression.py`; variances are
above zero here. Densities, and so these scores, depend on the unit of the targets: in
units `c` times as large the log-likelihood is `log(c)` larger.
"""

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.metrics._checks import (
    check_map,
    check_sample_weight,
    check_samples,
    check_variance,
    weighted_mean,
)
from tfhyper.metrics.regression import errors_of


def gaussian_log_likelihood(
    targets: ArrayLike,
    mean: ArrayLike,
    variance: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean log-density of the targets under normal predictions, in nats.

    `mean_i -(log(2 pi variance_i) + (targets_i - mean_i)**2 / variance_i) / 2`

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictive means, of shape `(batch,)`.
        variance: the predictive variances, above zero, of shape `(batch,)`, or one
            number for all.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float; larger is better.

    Raises:
        ValueError: if an argument breaks the rules at the top of `regression.py`, or a
            variance is 0, or too small for the density to be a number.
        TypeError: if an argument does not hold real numbers.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.gaussian_log_likelihood([1.0], [0.0], [1.0]), 4)
        -1.4189
    """
    squares = np.square(errors_of(targets, mean, any_axes=True))
    variance = check_variance("variance", variance, squares.shape, positive=True)
    weights = check_sample_weight(sample_weight, squares.shape)
    logs = finite_log_densities("variance", squares[np.newaxis], variance)
    return weighted_mean(logs.reshape(-1), weights)


def predictive_log_likelihood(
    targets: ArrayLike,
    members: ArrayLike,
    noise_variance: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean log-density of the targets under the mixture of the draws, in nats.

    `mean_i log(mean_t N(targets_i; members_ti, noise_variance_ti))`

    which for one noise precision `tau = 1 / noise_variance` is

    `mean_i logsumexp_t(-tau / 2 (targets_i - members_ti)**2) - log T
    - log(2 pi) / 2 + log(tau) / 2`

    Args:
        targets: finite numbers of shape `(batch,)`.
        members: each draw's means, of shape `(draws, batch)`.
        noise_variance: above zero: a number, `(batch,)` or `(draws, batch)`.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float; larger is better.

    Raises:
        ValueError: if an argument breaks the rules at the top of `regression.py`, or a
            variance is 0, or too small for the density to be a number.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016, section 4.
        Teye et al., "Bayesian uncertainty estimation for batch normalized deep
        networks", ICML 2018, section 4.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[-1.0], [1.0]]
        >>> round(metrics.predictive_log_likelihood([0.0], members, 1.0), 4)
        -1.4189
    """
    targets = check_map("targets", targets)
    members = check_samples(members, targets.shape, any_axes=True)
    variance = check_variance(
        "noise_variance", noise_variance, members.shape, positive=True, like="members"
    )
    weights = check_sample_weight(sample_weight, targets.shape)
    squares = np.square(targets - members)
    logs = finite_log_densities("noise_variance", squares, variance)
    return weighted_mean(logs.reshape(-1), weights)


def finite_log_densities(
    name: str, squares: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Returns `mixture_log_densities`.

    Raises:
        ValueError: if one is no number; the argument `name` is the variance.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = mixture_log_densities(squares, variance)
    if not np.isfinite(found).all():
        raise ValueError(
            f"`{name}` must not be so far below the squared errors that a density "
            f"vanishes. Received: {name} from {np.min(variance)}, with squared errors "
            f"up to {np.max(squares)}"
        )
    return found


def mixture_log_densities(
    squares: np.ndarray, variance: np.ndarray | float
) -> np.ndarray:
    """Returns log-densities `(batch, ...)` of squared errors `(draws, batch, ...)`."""
    logs = -(squares / variance + np.log(2 * np.pi * variance)) / 2
    largest = np.max(logs, axis=0)
    return largest + np.log(np.mean(np.exp(logs - largest), axis=0))


def mixture_log_likelihood(
    squares: np.ndarray,
    variance: np.ndarray | float,
    weights: np.ndarray | None = None,
) -> float:
    """Returns the mean log-density for checked `(draws, batch)` squared errors."""
    return weighted_mean(mixture_log_densities(squares, variance), weights)
