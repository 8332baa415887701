"""Fits the noise of the observations to draws that are kept, without drawing again."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_choice
from tfhyper.metrics._checks import check_sample_weight, check_samples, check_vector
from tfhyper.metrics.bounds import SCORES, Score
from tfhyper.metrics.likelihood import mixture_log_likelihood
from tfhyper.metrics.regression import normal_crps

# The search spans this many decades below the largest variance that can be the best,
# first on a grid that is fine enough to find the right one of several optima.
_DECADES = 12
_POINTS_PER_DECADE = 3


def fit_noise_variance(
    targets: ArrayLike,
    members: ArrayLike,
    score: Score = "crps",
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """The variance `1 / tau` of the observations' noise that scores best.

    - `score="crps"` minimises `crps_gaussian` of the normal whose mean is the members'
      and whose variance is the members' plus the noise variance;
    - `score="log_likelihood"` maximises `predictive_log_likelihood` of the members.

    The score is computed from the same members at every noise variance: on a grid of 3
    values a decade, then between the neighbours of the best. The search goes up to a
    variance beyond which the score can only get worse, and down to a trillionth of it,
    or to 0 for the CRPS. Use held-out examples, not those that trained the members.

    Args:
        targets: finite numbers of shape `(batch,)`.
        members: each draw's means, of shape `(draws, batch)`.
        score: `"crps"` or `"log_likelihood"`.
        sample_weight: weights of the examples, finite, not below zero and not all 0,
            of shape `(batch,)` or `(batch, 1)`; `None` for equal ones.

    Returns:
        A float, not below zero, in the squared unit of the targets. It is 0 where the
        members scatter enough by themselves, or no member has an error.

    Raises:
        ValueError: if an argument is not finite, its shape does not fit, `score` is
            none of the two, or a weight breaks its rule.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Teye et al., "Bayesian uncertainty estimation for batch normalized deep
        networks", ICML 2018, section 4: tau by the CRPS on validation data.

    Example:
        >>> from tfhyper import metrics
        >>> members = [[1.0, -2.0], [1.0, -2.0]]  # draws that agree, and err by 1 and 2
        >>> variance = metrics.fit_noise_variance([0.0, 0.0], members, "log_likelihood")
        >>> round(variance, 3)
        2.5
    """
    check_choice("score", score, SCORES)
    targets = check_vector("targets", targets)
    members = check_samples(members, len(targets))
    weights = check_sample_weight(sample_weight, len(targets))
    if weights is not None:
        # Where the search begins is for the examples that count.
        counts = weights > 0
        targets, members, weights = targets[counts], members[:, counts], weights[counts]
    if score == "crps":
        errors, spread = targets - members.mean(axis=0), members.var(axis=0)
        # Once sigma is |error| / sqrt(log 2) the CRPS of an example grows with it.
        largest = np.max(np.square(errors)) / np.log(2)
        return _minimize(
            lambda v: normal_crps(errors, spread + v, weights), largest, zero=True
        )
    squares = np.square(targets - members)
    # Once the variance is the squared error the density of a draw falls with it.
    return _minimize(
        lambda v: -mixture_log_likelihood(squares, v, weights),
        np.max(squares),
        zero=False,
    )


def _minimize(loss: Callable[[float], float], largest: float, zero: bool) -> float:
    """Returns the variance of the smallest loss, at most `largest`, or 0 if it may."""
    if largest == 0:
        return 0.0
    from scipy.optimize import minimize_scalar

    logs = np.linspace(-_DECADES, 0, _DECADES * _POINTS_PER_DECADE + 1) * np.log(10)
    logs += np.log(largest)
    losses = [loss(np.exp(log)) for log in logs]
    best = int(np.argmin(losses))
    found = minimize_scalar(
        lambda log: loss(np.exp(log)),
        bounds=(logs[max(best - 1, 0)], logs[min(best + 1, len(logs) - 1)]),
        method="bounded",
    )
    # A tie with no noise at all, up to rounding, goes to no noise.
    if zero and loss(0.0) <= found.fun:
        return 0.0
    return float(np.exp(found.x))
