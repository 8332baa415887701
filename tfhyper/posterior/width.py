"""How wide a posterior of all weights is to be, by examples that were held out."""

import math
from collections.abc import Callable

# The covariance is never multiplied by more than this, nor by less than its inverse.
MOST = 2.0**10


def best_factor(score: Callable[[float], float]) -> dict[float, float]:
    """Returns the factors that were tried, each with its score; the least is the best.

    From 1 on by factors of 2, downhill, as far as the score falls: first narrower, and
    where that is worse at once, wider. Of draws that share their noise the score is
    smooth in the factor, and has one valley.

    Args:
        score: called with a factor of the covariance.

    Example:

    >>> found = best_factor(lambda factor: (math.log2(factor) + 2) ** 2)
    >>> min(found, key=found.get), list(found)
    (0.25, [1.0, 0.5, 0.25, 0.125])
    """
    tried = {1.0: score(1.0)}
    for step in (0.5, 2.0):
        factor = step
        while 1 / MOST <= factor <= MOST:
            tried[factor] = score(factor)
            if not tried[factor] < tried[factor / step]:
                break
            factor *= step
        if min(tried, key=lambda x: tried[x]) != 1.0:
            break
    return tried


def summed_nll(scores: dict[str, float]) -> float:
    """Returns the negative log-likelihood of all outputs, of scores of `evaluate`.

    Raises:
        ValueError: if there is none, or it is not finite.
    """
    found = [x for name, x in scores.items() if name == "nll" or name.endswith("_nll")]
    if not found or not math.isfinite(sum(found)):
        raise ValueError(
            "The held-out examples must have a likelihood, by which widths are "
            f"compared. Received: scores {scores}"
        )
    return sum(found)
