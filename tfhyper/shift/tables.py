"""Tables of numbers, shifted: columns changed, or rows drawn otherwise."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_choice, check_integer, check_numbers
from tfhyper.shift.corruptions import chosen
from tfhyper.shift.registry import SEVERITIES


class _Columns(NamedTuple):
    """Mean and deviation of the columns that shifts are measured by: (columns,)."""

    mean: np.ndarray
    deviation: np.ndarray


# A shift: of x (rows, columns), `_Columns`, a number and a generator -> x, rows.
_Shift = Callable[
    [np.ndarray, _Columns, float, np.random.Generator], tuple[np.ndarray, np.ndarray]
]


def _noise(
    x: np.ndarray, known: _Columns, scale: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns x + scale s n, s the deviation of a column and n normal."""
    noise = rng.standard_normal(x.shape)
    return x + scale * known.deviation * noise, np.arange(len(x))


def _missing(
    x: np.ndarray, known: _Columns, part: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns x with a part of the columns, one or more, at their mean."""
    columns = x.shape[1]
    gone = rng.permutation(columns)[: max(1, round(part * columns))]
    found = x.copy()
    found[:, gone] = known.mean[gone]
    return found, np.arange(len(x))


def _units(
    x: np.ndarray, known: _Columns, factor: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns x with one column multiplied: another unit, or a gain that drifted."""
    found = x.copy()
    found[:, rng.integers(x.shape[1])] *= factor
    return found, np.arange(len(x))


def _resampled(
    x: np.ndarray, known: _Columns, tilt: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows drawn with replacement, u a random direction, by exp(tilt u.z).

    z are the columns less their mean, in their deviations, of which u.z has its own
    deviation divided out.
    """
    direction = rng.standard_normal(x.shape[1])
    spread = np.where(known.deviation > 0, known.deviation, 1.0)
    score = (x - known.mean) / spread @ direction
    score = (score - score.mean()) / (score.std() or 1.0)
    weights = np.exp(tilt * (score - score.max()))
    rows = rng.choice(len(x), len(x), p=weights / weights.sum())
    return x[rows], rows


# Name of a shift -> its function, and its number at each of the five severities.
TABLE_SHIFTS: dict[str, tuple[_Shift, tuple[float, ...]]] = {
    "noise": (_noise, (0.1, 0.2, 0.5, 1.0, 2.0)),
    "missing": (_missing, (0.1, 0.2, 0.3, 0.5, 0.7)),
    "units": (_units, (1.1, 1.25, 1.5, 2.0, 4.0)),
    "resampled": (_resampled, (0.25, 0.5, 1.0, 1.5, 2.0)),
}


def shift_table(
    x: ArrayLike,
    y: ArrayLike,
    kind: str,
    severity: int = 3,
    seed: int = 0,
    *,
    reference: ArrayLike | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows of a table, shifted in a named way, and their labels.

    The shifts, with their number at severities 1 to 5:

    - "noise": x + c s n, s the deviation of each column and n normal; c = 0.1, 0.2,
      0.5, 1, 2
    - "missing": a part of the columns, drawn and one or more, set to their mean: 0.1,
      0.2, 0.3, 0.5, 0.7
    - "units": one column, drawn, multiplied by 1.1, 1.25, 1.5, 2, 4
    - "resampled": rows drawn with replacement by weights exp(c u), u a random linear
      mixture of the columns, of mean 0 and deviation 1: a shift of the covariates
      under which p(y | x) stays; c = 0.25, 0.5, 1, 1.5, 2

    Args:
        x: finite numbers (rows, columns).
        y: labels or targets (rows, ...).
        kind: a name of `TABLE_SHIFTS`.
        severity: integer from 1 to 5.
        seed: integer in `[0, 2**31)`. Severities of a shift have the same draws.
        reference: finite numbers (rows, columns) whose mean and deviation the shifts
            are measured by, the training inputs say; `None` for `x`.

    Returns:
        x of the same shape, float64, and the y of its rows.

    Raises:
        ValueError: for other axes or numbers of rows, an unknown kind, or a number out
            of range.
        TypeError: for tables that are no real numbers.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> shifted, y = tfhyper.shift.shift_table(x, x.sum(1), "resampled", severity=5)
    >>> shifted.shape, bool(np.allclose(y, shifted.sum(1)))
    ((50, 4), True)

    Reference:
        Shimodaira: Improving predictive inference under covariate shift by weighting
        the log-likelihood function, Journal of Statistical Planning and Inference
        90(2), 2000; Huang et al.: Correcting sample selection bias by unlabeled data,
        NIPS 2006 (rows drawn by their covariates).
    """
    values = _check_rows("x", x)
    check_numbers("y", y)
    labels = np.asarray(y)
    if labels.ndim == 0 or len(labels) != len(values):
        raise ValueError(
            f"`y` must have a label for each of the {len(values)} rows of `x`. "
            f"Received: y.shape={labels.shape}"
        )
    known = values
    if reference is not None:
        known = _check_rows("reference", reference)
        if known.shape[1] != values.shape[1]:
            raise ValueError(
                f"`reference` must have the {values.shape[1]} columns of `x`. "
                f"Received: reference.shape={known.shape}"
            )
    check_choice("kind", kind, TABLE_SHIFTS)
    severity = check_integer("severity", severity, 1, len(SEVERITIES))
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    function, numbers = TABLE_SHIFTS[kind]
    columns = _Columns(known.mean(axis=0), known.std(axis=0))
    rng = np.random.default_rng([seed, list(TABLE_SHIFTS).index(kind)])
    found, rows = function(values, columns, numbers[severity - 1], rng)
    return found, labels[rows]


def table_shifts(
    x: ArrayLike,
    y: ArrayLike,
    kinds: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    *,
    seed: int = 0,
    reference: ArrayLike | None = None,
) -> dict[str, dict[int, Callable[[], tuple[np.ndarray, np.ndarray]]]]:
    """Returns a table under many shifts, as `tfhyper.evaluate` takes them.

    Args:
        x: as of `shift_table`, as are the next and the last two.
        y: labels or targets of its rows.
        kinds: names of `TABLE_SHIFTS`; `None` for all.
        severities: integers from 1 to 5.
        seed: integer in `[0, 2**31)`.
        reference: what the shifts are measured by, or `None`.

    Returns:
        Kind -> severity -> a function without arguments that gives inputs and labels.

    Raises:
        ValueError: as `shift_table`, and for no kind or severity.
        TypeError: for tables that are no real numbers.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> made = tfhyper.shift.table_shifts(x, x.sum(1), ["missing"], [1, 5])
    >>> shifted, y = made["missing"][5]()
    >>> int((shifted != x).any(axis=0).sum())  # of four columns
    3
    """
    named, degrees = chosen(kinds, severities, TABLE_SHIFTS)

    def made(kind: str, severity: int) -> Any:
        return shift_table(x, y, kind, severity, seed, reference=reference)

    made(named[0], degrees[0])  # What is wrong with the table is said at once.
    return {
        kind: {n: functools.partial(made, kind, n) for n in degrees} for kind in named
    }


def _check_rows(name: str, value: ArrayLike) -> np.ndarray:
    array = check_numbers(name, value)
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"`{name}` must have the axes (rows, columns), one or more of each. "
            f"Received: {name}.shape={array.shape}"
        )
    return array
