"""Sparsification: what is left of the error when the least sure places are removed."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_bool, check_integer
from tfhyper.metrics._checks import check_map, check_mask
from tfhyper.metrics.selective import risk_coverage_curve

_MOST_POINTS = 100_000


class SparsificationCurve(NamedTuple):
    """Error that is left against the fraction that is removed.

    Attributes:
        fraction: float64 `(points,)`, the fractions of places that are removed.
        error: float64 `(points,)` or `(batch, points)`, the mean loss of the others,
            over that of all, where those of the largest uncertainty are removed.
        oracle: the same where those of the largest loss are removed, which no
            uncertainty can better.

    Example:
        >>> from tfhyper import metrics
        >>> losses, uncertainty = [0.0, 1.0, 2.0, 1.0], [0.1, 0.3, 0.2, 0.4]
        >>> curve = metrics.sparsification_curve(losses, uncertainty, points=2)
        >>> curve.error.tolist(), curve.oracle.tolist()
        ([1.0, 1.0], [1.0, 0.5])
    """

    fraction: np.ndarray
    error: np.ndarray
    oracle: np.ndarray


def sparsification_curve(
    losses: ArrayLike,
    uncertainty: ArrayLike,
    points: int = 20,
    *,
    mask: ArrayLike | None = None,
    per_example: bool = False,
) -> SparsificationCurve:
    """Mean loss of what is left when the least sure places are removed, bit by bit.

    At the fraction `f` of `n` places, the `floor(f n)` with the largest uncertainty are
    removed; the mean loss of the others is divided by that of all, so that curves begin
    at 1 and an uncertainty that knows nothing stays there. Of places with equal
    uncertainties each counts with their mean loss. It is the risk of
    `risk_coverage_curve`, read from its end, beside that of the best possible order.

    Args:
        losses: finite numbers, not below zero, of any shape `(batch, ...)`: absolute or
            squared errors, 0 and 1 for right and wrong labels, Brier scores.
        uncertainty: finite numbers of the same shape; only their order counts.
        points: integer from 1 to 100,000, the number of fractions, `0, 1 / points ...`
        mask: bools of the same shape, `True` for places that count, or `None`.
        per_example: whether each example (map) is a curve of its own, in which its
            places alone are ordered.

    Returns:
        A `SparsificationCurve`, with arrays `(points,)` for all places together or
        `(batch, points)` with `per_example`. Curves are NaN without any place, and 0
        where no loss is above 0.

    Raises:
        ValueError: if the shapes differ, a number is not finite, or a loss is below
            zero.
        TypeError: if an argument does not hold real numbers, or the mask no bools.

    Reference:
        Ilg et al., "Uncertainty estimates and multi-hypotheses networks for optical
        flow", ECCV 2018, section 6.3.

    Example:
        >>> from tfhyper import metrics
        >>> losses, uncertainty = [0.0, 1.0, 2.0, 1.0], [0.1, 0.3, 0.4, 0.2]
        >>> curve = metrics.sparsification_curve(losses, uncertainty, points=4)
        >>> curve.fraction.tolist(), curve.error.round(2).tolist()
        ([0.0, 0.25, 0.5, 0.75], [1.0, 0.67, 0.5, 0.0])
    """
    losses = check_map("losses", losses)
    if np.min(losses) < 0:
        raise ValueError(
            "`losses` must not be below zero. "
            f"Received: losses with the value {np.min(losses)}"
        )
    uncertainty = check_map("uncertainty", uncertainty, losses.shape, "losses")
    points = check_integer("points", points, 1, _MOST_POINTS)
    kept = check_mask(mask, losses.shape, "losses")
    examples = (
        zip(losses, uncertainty, kept, strict=True)
        if check_bool("per_example", per_example)
        else [(losses, uncertainty, kept)]
    )
    fractions = np.arange(points) / points
    curves = np.array(
        [[_relative_risk(x[k], by[k], points) for by in (u, x)] for x, u, k in examples]
    )
    if not per_example:
        return SparsificationCurve(fractions, curves[0, 0], curves[0, 1])
    return SparsificationCurve(fractions, curves[:, 0], curves[:, 1])


def ause(
    losses: ArrayLike,
    uncertainty: ArrayLike,
    points: int = 20,
    *,
    mask: ArrayLike | None = None,
    per_example: bool = False,
) -> np.ndarray:
    """Area under the sparsification error: what an uncertainty lacks in order.

    `ause = mean_f error(f) - oracle(f)` over the fractions of `sparsification_curve`.
    Smaller is better: 0 for the order of the losses themselves.

    Args:
        losses: finite numbers, not below zero, of any shape `(batch, ...)`.
        uncertainty: finite numbers of the same shape; only their order counts.
        points: integer from 1 to 100,000, the number of fractions.
        mask: bools of the same shape, `True` for places that count, or `None`.
        per_example: whether to give the area of each example (map) by itself; their
            mean is that of the data, and batches of it add up.

    Returns:
        float64 of shape `()`, or `(batch,)` with `per_example`, not below zero up to
        rounding; NaN for what has no place.

    Raises:
        ValueError: if the shapes differ, a number is not finite, or a loss is below
            zero.
        TypeError: if an argument does not hold real numbers, or the mask no bools.

    Reference:
        Ilg et al., "Uncertainty estimates and multi-hypotheses networks for optical
        flow", ECCV 2018, section 6.3.

    Example:
        >>> from tfhyper import metrics
        >>> float(metrics.ause([0.0, 1.0, 3.0], [0.1, 0.2, 0.3]))
        0.0
        >>> float(metrics.ause([0.0, 1.0], [0.2, 0.1], points=2))
        1.0
    """
    curve = sparsification_curve(
        losses, uncertainty, points, mask=mask, per_example=per_example
    )
    return np.mean(curve.error - curve.oracle, axis=-1)


def _relative_risk(losses: np.ndarray, by: np.ndarray, points: int) -> np.ndarray:
    """Returns the `(points,)` mean losses without the largest of `by`, over all's."""
    if not losses.size:
        return np.full(points, np.nan)
    risk = risk_coverage_curve(losses, by).risk
    if not risk[-1] > 0:
        return np.zeros(points)
    removed = np.arange(points) * len(risk) // points
    return risk[len(risk) - 1 - removed] / risk[-1]
