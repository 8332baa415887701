"""Selective prediction: the risk that is left when the least sure are set aside.

Both arguments of every function have the shape `(batch,)` and are finite:

- `losses`, what each prediction costs: 1 for wrong and 0 for right, or any loss, such
  as a regression's absolute errors;
- `uncertainty`, larger for less sure; only its order counts.

A `ValueError` is raised for other shapes and values, and a `TypeError` for arguments
that are no real numbers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_number
from tfhyper.metrics._checks import check_vector


class RiskCoverageCurve(NamedTuple):
    """Risk against coverage, two float64 arrays of shape `(batch,)`.

    Attributes:
        coverage: the fractions of examples that are predicted, `1 / batch ... 1`.
        risk: the mean loss of the surest examples that make up that fraction.

    Example:
        >>> from tfhyper import metrics
        >>> curve = metrics.risk_coverage_curve([0, 1], [0.1, 0.9])
        >>> curve.coverage.tolist()
        [0.5, 1.0]
    """

    coverage: np.ndarray
    risk: np.ndarray


def risk_coverage_curve(losses: ArrayLike, uncertainty: ArrayLike) -> RiskCoverageCurve:
    """Mean loss of the `k` least uncertain examples, for every `k`.

    `risk[k - 1] = sum of the losses of the k least uncertain examples / k`

    `coverage[k - 1] = k / batch`

    Each of several equally uncertain examples counts with their mean loss: the
    expectation over all orders of the tied. The order of the input does not matter.

    Args:
        losses: finite numbers of shape `(batch,)`.
        uncertainty: finite numbers of shape `(batch,)`.

    Returns:
        A `RiskCoverageCurve` of two arrays of shape `(batch,)`; the last risk is the
        mean loss.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Geifman and El-Yaniv, "Selective classification for deep neural networks",
        NeurIPS 2017, section 2.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.risk_coverage_curve([1, 0, 0, 1], [3, 1, 2, 2]).risk.tolist()
        [0.0, 0.25, 0.3333333333333333, 0.5]
    """
    losses = check_vector("losses", losses)
    uncertainty = check_vector("uncertainty", uncertainty, len(losses))
    _, group, sizes = np.unique(uncertainty, return_inverse=True, return_counts=True)
    # From the surest group on, each example with the mean loss of its group.
    means = np.bincount(group, losses) / sizes
    counts = np.arange(1, len(losses) + 1)
    risk = np.cumsum(np.repeat(means, sizes)) / counts
    return RiskCoverageCurve(coverage=counts / len(losses), risk=risk)


def aurc(losses: ArrayLike, uncertainty: ArrayLike) -> float:
    """Area under the risk-coverage curve: the mean of its risks.

    `aurc = mean_k risk[k - 1]` over `k = 1 ... batch`, with the risks of
    `risk_coverage_curve`, whose treatment of ties it shares. Smaller is better. It is
    the mean loss, on average, for an uncertainty that knows nothing of the losses.

    Args:
        losses: finite numbers of shape `(batch,)`.
        uncertainty: finite numbers of shape `(batch,)`.

    Returns:
        A float in the unit of the losses; in `[0, 1]` for losses of 0 and 1.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Geifman et al., "Bias-reduced uncertainty estimation for deep neural
        classifiers", ICLR 2019, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.aurc([0, 1], [0.1, 0.9])
        0.25
    """
    return float(np.mean(risk_coverage_curve(losses, uncertainty).risk))


def excess_aurc(losses: ArrayLike, uncertainty: ArrayLike) -> float:
    """What the order of the examples adds to the least possible `aurc`.

    `excess_aurc = aurc(losses, uncertainty) - aurc(losses, losses)`

    The best order is that of the losses themselves. For losses of 0 and 1 this is the
    E-AURC of the paper, with the sum in place of its approximation
    `r + (1 - r) log(1 - r)` of the least area at the error `r`.

    Args:
        losses: finite numbers of shape `(batch,)`.
        uncertainty: finite numbers of shape `(batch,)`.

    Returns:
        A float, not below zero, in the unit of the losses: 0 for the best order.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Geifman et al., "Bias-reduced uncertainty estimation for deep neural
        classifiers", ICLR 2019, section 3.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.excess_aurc([0, 1], [0.9, 0.1])
        0.5
    """
    excess = aurc(losses, uncertainty) - aurc(losses, losses)
    # Sums in two orders can differ by rounding.
    return max(excess, 0.0)


def augrc(losses: ArrayLike, uncertainty: ArrayLike) -> float:
    """Area under the generalized risk-coverage curve.

    `augrc = integral over coverage of coverage * risk`

    by the trapezoidal rule from coverage 0 on, with the curve and the treatment of ties
    of `risk_coverage_curve`. The generalized risk is the loss of what is predicted
    divided by all examples: the probability that an example is predicted *and* wrong.
    So no example counts more for being among the surest, as it does in `aurc`. For
    losses of 0 and 1 with the error `e`, and `auroc` that of telling wrong from right,

    `augrc = (1 - auroc) e (1 - e) + e^2 / 2`

    Args:
        losses: finite numbers of shape `(batch,)`.
        uncertainty: finite numbers of shape `(batch,)`.

    Returns:
        A float in the unit of the losses, smaller is better; in `[0, 1/2]` for losses
        of 0 and 1.

    Raises:
        ValueError: if an argument breaks the rules at the top of this module.
        TypeError: if an argument does not hold real numbers.

    Reference:
        Traub et al., "Overcoming common flaws in the evaluation of selective
        classification systems", NeurIPS 2024. A sum without the trapezoidal rule, as
        some packages have it, is larger by the mean loss divided by `2 batch`.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.augrc([0, 1], [0.1, 0.9])
        0.125
    """
    curve = risk_coverage_curve(losses, uncertainty)
    generalized = curve.risk * curve.coverage
    count = len(generalized)
    return float((np.sum(generalized) - 0.5 * generalized[-1]) / count)


def risk_at_coverage(
    losses: ArrayLike, uncertainty: ArrayLike, coverage: float = 0.8
) -> float:
    """Mean loss of the surest examples that make up a fraction of all.

    `risk[k - 1]` of `risk_coverage_curve` for the least `k >= coverage * batch`.

    Args:
        losses: finite numbers of shape `(batch,)`.
        uncertainty: finite numbers of shape `(batch,)`.
        coverage: number in `(0, 1]`, the fraction.

    Returns:
        A float in the unit of the losses.

    Raises:
        ValueError: if an argument breaks its rule.
        TypeError: if `losses` or `uncertainty` do not hold real numbers.

    Reference:
        Geifman and El-Yaniv, "Selective classification for deep neural networks",
        NeurIPS 2017, section 2.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.risk_at_coverage([1, 0, 0, 1], [3, 1, 2, 2], coverage=0.5)
        0.25
    """
    coverage = check_number("coverage", coverage, positive=True)
    if coverage > 1:
        raise ValueError(
            f"`coverage` must be in 0 < coverage <= 1. Received: coverage={coverage}"
        )
    curve = risk_coverage_curve(losses, uncertainty)
    # What rounding adds to a whole number is not to ask for another example.
    place = np.ceil(coverage * len(curve.risk) - 1e-9)
    return float(curve.risk[max(int(place), 1) - 1])


def coverage_at_risk(
    losses: ArrayLike, uncertainty: ArrayLike, risk: float = 0.05
) -> float:
    """Largest fraction of examples, the surest, whose mean loss is at most a risk.

    The largest `coverage[k - 1]` of `risk_coverage_curve` with `risk[k - 1] <= risk`.
    It is a number of these examples; a threshold that keeps its risk on others is for
    `rejection_threshold` to find.

    Args:
        losses: finite numbers of shape `(batch,)`.
        uncertainty: finite numbers of shape `(batch,)`.
        risk: number >= 0, in the unit of the losses.

    Returns:
        A float in `[0, 1]`; 0 if even the surest example has a larger loss.

    Raises:
        ValueError: if an argument breaks its rule.
        TypeError: if `losses` or `uncertainty` do not hold real numbers.

    Reference:
        Geifman and El-Yaniv, "Selective classification for deep neural networks",
        NeurIPS 2017.

    Example:
        >>> from tfhyper import metrics
        >>> metrics.coverage_at_risk([1, 0, 0, 1], [3, 1, 2, 2], risk=0.25)
        0.5
    """
    risk = check_number("risk", risk)
    curve = risk_coverage_curve(losses, uncertainty)
    kept = curve.coverage[curve.risk <= risk * (1 + 1e-12)]
    return float(kept.max(initial=0.0))
