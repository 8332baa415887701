"""Intervals of any score, by resampling the examples."""

import itertools
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_function, check_integer, check_number
from tfhyper.metrics._checks import as_array


class BootstrapInterval(NamedTuple):
    """A score, and where it may be: floats.

    Attributes:
        value: the score of the examples as they are.
        lower: the lower end of the interval.
        upper: the upper end.
        standard_error: the standard deviation of the score over the resamples.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> found = metrics.bootstrap(np.mean, [0.0, 1.0, 1.0, 0.0])
        >>> found.value
        0.5
    """

    value: float
    lower: float
    upper: float
    standard_error: float


def numbers_of(interval: BootstrapInterval) -> dict[str, float]:
    """Returns an interval for JSON."""
    return {
        "value": interval.value,
        "lower": interval.lower,
        "upper": interval.upper,
        "standard_error": interval.standard_error,
    }


def bootstrap(
    score: Callable[..., Any],
    *arrays: ArrayLike | Mapping[str, ArrayLike],
    num_samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Any:
    """Interval of a score by the percentile bootstrap, over examples.

    Examples are drawn with replacement, as many as there are, the same of all arrays
    (paired); the interval is from the quantile `(1 - level) / 2` to `(1 + level) / 2`
    of the scores of these resamples. It says how much the score depends on which
    examples were tested, and nothing of how training would come out again.

    An array given as a dict holds what several predictors say of the same examples.
    Each has its interval, and the difference of any two has one, too, from the same
    resamples: it is much narrower than both where they err alike.

    Args:
        score: function of the arrays that gives a number, or a dict of numbers:
            anything of `tfhyper.metrics`, say.
        *arrays: one or more, with the examples along the first axis (members are
            `(draws, batch, classes)`: average them, or move that axis in `score`). At
            most one may be a dict of name -> array.
        num_samples: integer from 1 to 1,000,000, of resamples.
        level: number in `(0, 1)`, the interval's.
        seed: integer in `[0, 2**31)`, of the draws.

    Returns:
        A `BootstrapInterval`. Of a score that gives a dict, a dict of these by the
        score's names. Of several predictors a dict by their names, in which "a - b" is
        the difference of a and b.

    Raises:
        ValueError: if arrays have other numbers of examples or none, or a number is
            out of range; if the score of the examples or of a resample is not finite;
            and as `score`, of a resample without one of the classes, say.
        TypeError: if `score` is no function or gives no numbers, or arrays are none.

    Reference:
        Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.

    Example:
        >>> import numpy as np
        >>> from tfhyper import metrics
        >>> labels = np.arange(200) % 2
        >>> sure, unsure = np.eye(2)[labels] * 0.8 + 0.1, np.full((200, 2), 0.5)
        >>> found = metrics.bootstrap(
        ...     metrics.brier_score, labels, {"a": sure, "b": unsure}, num_samples=100
        ... )
        >>> sorted(found)
        ['a', 'a - b', 'b']
        >>> round(found["a - b"].upper, 2)
        -0.48
    """
    check_function("score", score)
    num_samples = check_integer("num_samples", num_samples, 1, 1_000_000)
    level = check_number("level", level, positive=True, below=1.0)
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    given, names = _read(arrays)
    count = len(next(iter(given[0].values())))

    def scores_of(rows: Any) -> dict[tuple[str, str], float]:
        found = {}
        for name in names:
            parts = [held[name if name in held else ""][rows] for held in given]
            for key, value in _numbers(score(*parts)).items():
                found[name, key] = value
        return found

    first = scores_of(slice(None))
    rng = np.random.default_rng(seed)
    drawn = np.empty((num_samples, len(first)))
    for i in range(num_samples):
        found = scores_of(rng.integers(0, count, count))
        if found.keys() != first.keys():
            raise ValueError(
                "`score` must give the same names for each resample. "
                f"Received: {sorted(found)} and {sorted(first)}"
            )
        drawn[i] = list(found.values())
    columns = dict(zip(first, drawn.T, strict=True))
    keys = list(dict.fromkeys(key for _, key in first))

    def interval(name: str, other: str | None, key: str) -> BootstrapInterval:
        value, column = first[name, key], columns[name, key]
        if other is not None:
            value, column = value - first[other, key], column - columns[other, key]
        low, high = np.quantile(column, [(1 - level) / 2, (1 + level) / 2])
        return BootstrapInterval(value, float(low), float(high), float(column.std()))

    def of_keys(name: str, other: str | None = None) -> Any:
        if keys == [""]:
            return interval(name, other, "")
        return {key: interval(name, other, key) for key in keys}

    if names == [""]:
        return of_keys("")
    pairs = itertools.combinations(names, 2)
    differences = {f"{a} - {b}": of_keys(a, b) for a, b in pairs}
    return {**{name: of_keys(name) for name in names}, **differences}


def _read(arrays: tuple) -> tuple[list[dict[str, np.ndarray]], list[str]]:
    """Returns arrays by the names of predictors, and these names."""
    several = [x for x in arrays if isinstance(x, Mapping)]
    if not arrays or len(several) > 1 or not all(several):
        raise ValueError(
            "`arrays` must be one or more, of which one may be a dict that holds some. "
            f"Received: {len(arrays)} arrays, {len(several)} dicts"
        )
    names = [str(name) for name in several[0]] if several else [""]
    given = []
    for array in arrays:
        named = array if isinstance(array, Mapping) else {"": array}
        given.append({str(k): as_array("arrays", x) for k, x in named.items()})
    sizes = {x.shape[:1] for held in given for x in held.values()}
    if len(sizes) > 1 or not all(size and size[0] for size in sizes):
        raise ValueError(
            "`arrays` must have the same number of examples along the first axis, one "
            f"or more. Received: axes of {sorted(sizes)}"
        )
    return given, names


def _numbers(found: Any) -> dict[str, float]:
    """Returns what a score gave as numbers by name; a single one has no name."""
    named = found if isinstance(found, Mapping) else {"": found}
    numbers = {}
    for name, value in named.items():
        if np.ndim(value) or not isinstance(np.asarray(value).item(), Real):
            raise TypeError(
                "`score` must give a number or a dict of numbers. "
                f"Received: {value!r:.80}"
            )
        numbers[str(name)] = float(np.asarray(value).item())
        if not math.isfinite(numbers[str(name)]):
            raise ValueError(
                "`score` must give finite numbers, of resamples too. "
                f"Received: {value!r:.80}"
            )
    return numbers
