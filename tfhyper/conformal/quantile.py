"""The one number of conformal prediction: a quantile of scores, and who has enough."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from tfhyper.checks import check_number


def check_alpha(alpha: float) -> float:
    """Returns `alpha` as a float, or raises ValueError unless it is in (0, 1)."""
    return check_number("alpha", alpha, positive=True, below=1)


def least_examples(alpha: float) -> int:
    """Returns how many calibration examples a miscoverage needs, of each threshold.

    The smallest n with ceil((n + 1) (1 - alpha)) <= n, which is ceil(1 / alpha) - 1.
    With fewer, only the set of all classes, or the whole line, covers that often.

    Args:
        alpha: float in (0, 1), the fraction of examples that may be missed.

    Raises:
        ValueError: for another number.

    Example:

    >>> from tfhyper import conformal
    >>> conformal.least_examples(0.1), conformal.least_examples(0.01)
    (9, 99)
    """
    return max(1, math.ceil(1 / _exact(check_alpha(alpha))) - 1)


def rank_of(alpha: float, count: int) -> int:
    """Returns ceil((count + 1) (1 - alpha)), the rank of the score that bounds."""
    return math.ceil((count + 1) * (1 - _exact(alpha)))


def _exact(alpha: float) -> Fraction:
    """Returns the fraction that a decimal, or a ratio of whole numbers, stands for.

    In binary, (n + 1) (1 - alpha) may come out just above the whole number that it is.
    """
    found = Fraction(repr(float(alpha)))
    near = found.limit_denominator(10**9)
    return near if near and abs(near - found) <= found / 10**15 else found


def threshold_of(scores: np.ndarray, alpha: float) -> float:
    """Returns the ceil((n + 1) (1 - alpha))-th smallest of n scores, if n is enough."""
    rank = rank_of(alpha, len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])


def check_enough(cells: Sequence[tuple[str, int]], alpha: float) -> None:
    """Raises ValueError unless there are examples enough for each threshold.

    Args:
        cells: what each threshold is for, "" for all, and how many examples it has.
        alpha: the miscoverage.
    """
    least = least_examples(alpha)
    few = [(name, count) for name, count in cells if count < least]
    if not few:
        return
    said = [f"{count} of {name}" if name else str(count) for name, count in few[:5]]
    more = f" and {len(few) - 5} more" if len(few) > 5 else ""
    each = "" if len(cells) == 1 else " for each threshold"
    raise ValueError(
        f"`y` must hold at least {least} labels that count{each} with alpha={alpha:g}. "
        f"Received: {', '.join(said)}{more}"
    )
