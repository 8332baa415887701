"""What a regression's uncertainty could score at best, and what a constant one scores.

Both bounds keep the predicted means and change the variances alone, so that the place
of a score between them tells how good the variances are, whatever the error of the
means. `targets` and `mean` are finite numbers of shape `(batch,)`, and `sample_weight`
is `None` or weights by the rules at the top of `regression.py`; other input raises
`ValueError`, or `TypeError` when it is no real number.

Reference: Teye et al., "Bayesian uncertainty estimation for batch normalized deep
networks", ICML 2018, section 4.
"""

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_choice, check_finite
from tfhyper.metrics._checks import (
    as_array,
    as_float_array,
    check_no_bools,
    check_sample_weight,
    weighted_mean,
)
from tfhyper.metrics.regression import errors_of

Score: TypeAlias = Literal["crps", "log_likelihood"]
SCORES: tuple[Score, ...] = get_args(Score)
# 2 Phi(sqrt(log 2)) - 1, since 2 Phi(x) - 1 = erf(x / sqrt(2))
_OPTIMAL_CRPS_OF_UNIT_ERROR = math.erf(math.sqrt(math.log(2) / 2))


def optimal_crps(
    targets: ArrayLike, mean: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Smallest mean CRPS that normal predictions of these means can have.

    `(2 Phi(sqrt(log 2)) - 1) mean_i |targets_i - mean_i|`, 0.594904 times the mean
    absolute error: each example's standard deviation is
    `|targets_i - mean_i| / sqrt(log 2)`.

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictive means, of shape `(batch,)`.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float, not below zero, in the unit of the targets.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Teye et al., ICML 2018, section 4, who minimise it by L-BFGS-B. The closed form
        is the zero of the derivative by sigma, `2 phi(z) - 1 / sqrt(pi)`.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.optimal_crps([0.0, 1.0], [1.0, 4.0]), 4)
        1.1898
    """
    errors = errors_of(targets, mean)
    weights = check_sample_weight(sample_weight, len(errors))
    return _OPTIMAL_CRPS_OF_UNIT_ERROR * weighted_mean(np.abs(errors), weights)


def optimal_log_likelihood(
    targets: ArrayLike, mean: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Largest mean log-density that normal predictions of these means can have.

    `mean_i -(log(2 pi) + 1) / 2 - log |targets_i - mean_i|`, in nats: each example's
    variance is its squared error.

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictive means, of shape `(batch,)`.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float; `inf` where a target equals its mean, since a density that narrows on
        its target has no bound. `normalized_score` refuses it.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Teye et al., ICML 2018, section 4: `tau_i = (targets_i - mean_i)**-2`.

    Example:
        >>> from tfhyper import metrics
        >>> round(metrics.optimal_log_likelihood([0.0], [1.0]), 4)
        -1.4189
    """
    errors, weights = _that_count(np.abs(errors_of(targets, mean)), sample_weight)
    if np.min(errors) == 0:
        return float("inf")
    return -(math.log(2 * math.pi) + 1) / 2 - weighted_mean(np.log(errors), weights)


def best_constant_variance(
    targets: ArrayLike,
    mean: ArrayLike,
    score: Score = "crps",
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The one variance for all examples that scores best.

    By the log-likelihood it is the mean squared error. By the CRPS it is the root of

    `mean_i exp(-(targets_i - mean_i)**2 / (2 variance)) = 1 / sqrt(2)`

    which is the only one: the left side grows with the variance. It is the global
    optimum, since the CRPS is convex in the standard deviation.

    Fit it to held-out examples and give it to `crps_gaussian` or
    `gaussian_log_likelihood` as the variance of the test's: that is the score of
    constant uncertainty.

    Args:
        targets: finite numbers of shape `(batch,)`.
        mean: the predictive means, of shape `(batch,)`.
        score: `"crps"` or `"log_likelihood"`.
        sample_weight: the examples' weights, or `None` for equal ones.

    Returns:
        A float, not below zero. It is 0 when all errors are 0, and by the CRPS when
        more than 70.7 % of them are, so many that a certain prediction scores best.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module, or
            `score` is none of the two.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Teye et al., ICML 2018, section 4: the constant uncertainty twins CUBN and CUDO.

    Example:
        >>> from tfhyper import metrics
        >>> targets, mean = [0.0, 0.0], [1.0, 3.0]
        >>> metrics.best_constant_variance(targets, mean, score="log_likelihood")
        5.0
        >>> round(metrics.best_constant_variance(targets, mean), 4)
        6.3145
    """
    check_choice("score", score, SCORES)
    squares, weights = _that_count(np.square(errors_of(targets, mean)), sample_weight)
    if score == "log_likelihood":
        return weighted_mean(squares, weights)
    share_of_zeros = weighted_mean(squares == 0, weights)
    if share_of_zeros >= np.sqrt(0.5):
        return 0.0
    from scipy.optimize import brentq

    # The root, if all errors that are not 0 were as the smallest, or as the largest.
    rest = (np.sqrt(0.5) - share_of_zeros) / (1.0 - share_of_zeros)
    ends = np.array([np.min(squares[squares > 0]), np.max(squares)])
    low, high = np.log(ends / (-2 * np.log(rest))) + [-0.01, 0.01]

    def excess(log_variance: float) -> float:
        kernels = np.exp(-squares / (2 * np.exp(log_variance)))
        return weighted_mean(kernels, weights) - np.sqrt(0.5)

    return float(np.exp(brentq(excess, low, high)))


def normalized_score(score: float, constant: float, optimal: float) -> float:
    """Places a score between those of constant and of optimal uncertainty.

    `100 (score - constant) / (optimal - constant)`

    It is the same for scores of which the larger is better and the smaller. Give it
    scores of the same examples and the same means, run by run, and average then.

    Args:
        score: the CRPS or log-likelihood of the model; finite.
        constant: that of its constant uncertainty twin (`best_constant_variance`).
        optimal: `optimal_crps` or `optimal_log_likelihood`.

    Returns:
        A float: 0 for no better than constant uncertainty, below zero for worse, 100
        for optimal. A mixture (`predictive_log_likelihood`) can pass 100, since
        `optimal_log_likelihood` bounds one normal for each example.

    Raises:
        ValueError: if a score is not one finite number, or `optimal` equals `constant`.
        TypeError: if a score is no real number.

    Reference:
        Teye et al., ICML 2018, section 4: the normalised CRPS and PLL of its Table 2.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.normalized_score(score=0.75, constant=1.0, optimal=0.5)
        50.0
    """
    score = _check_score("score", score)
    constant = _check_score("constant", constant)
    optimal = _check_score("optimal", optimal)
    if optimal == constant:
        raise ValueError(
            "`optimal` must differ from `constant`: there is nothing between them. "
            f"Received: optimal={optimal}, constant={constant}"
        )
    found = 100.0 * (score - constant) / (optimal - constant)
    if not math.isfinite(found):
        raise ValueError(
            "`score`, `constant` and `optimal` must differ by numbers whose ratio is "
            f"one. Received: score={score}, constant={constant}, optimal={optimal}"
        )
    return found


def _that_count(
    values: np.ndarray, sample_weight: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the values whose weight is not 0, and these weights."""
    weights = check_sample_weight(sample_weight, len(values))
    if weights is None:
        return values, None
    return values[weights > 0], weights[weights > 0]


def _check_score(name: str, value: float) -> float:
    array = check_no_bools(name, as_array(name, value))
    array = as_float_array(name, array, np.float64)
    if array.ndim != 0:
        raise ValueError(
            f"`{name}` must be one number. Received: {name}.shape={array.shape}"
        )
    return float(check_finite(name, array))
