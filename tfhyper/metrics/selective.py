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
