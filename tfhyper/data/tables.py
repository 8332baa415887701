"""Tables of numbers for regression: read, split and standardised.

NumPy only. The splits are those of the evaluation of Teye et al., "Bayesian
uncertainty estimation for batch normalized deep networks", ICML 2018.
"""

import math
import os
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_integer, check_number, check_numbers, check_path

# How files write that a value is missing, in lower case.
_MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none")


class Table(NamedTuple):
    """Inputs and targets of a regression, both float64.

    Attributes:
        x: the inputs, of shape `(rows, features)`.
        y: the targets, of shape `(rows,)`.

    Example:
        >>> from tfhyper import data
        >>> table = data.Table(*data.check_table([[0.0], [1.0]], [2.0, 3.0], 2))
        >>> table.x.shape
        (2, 1)
    """

    x: np.ndarray
    y: np.ndarray


def load_table(path: str | os.PathLike, min_rows: int = 20) -> Table:
    """Reads a table of numbers from a text file; the last column is the target.

    A row to a line, values between commas or white space; empty lines are left
    out. There is no header.

    Args:
        path: the file, in UTF-8.
        min_rows: int > 1, how many rows there must be.

    Returns:
        A `Table`.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: for a value that is missing, text or not finite, for rows of
            different lengths, fewer than two columns or than `min_rows` rows, and
            for a target or a feature that is the same in all rows. The message
            says where.

    Example:
        >>> import os, tempfile
        >>> import numpy as np
        >>> from tfhyper import data
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "table.txt")
        ...     np.savetxt(path, [[1, 2, 30], [4, 5, 60]])
        ...     data.load_table(path, min_rows=2).y.tolist()
        [30.0, 60.0]
    """
    check_integer("min_rows", min_rows, 2)
    path = check_path("path", path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`path` must be a file. Received: path={path!r}")
    rows: list[list[float]] = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            texts = line.split(",") if "," in line else line.split()
            row = [_number(path, number, i, text) for i, text in enumerate(texts, 1)]
            if rows and len(row) != len(rows[0]):
                raise ValueError(
                    f"Every row of a table must have as many values as the first, "
                    f"{len(rows[0])}. Received: {len(row)} in line {number} of {path}"
                )
            rows.append(row)
    if not rows or len(rows[0]) < 2:
        raise ValueError(
            "A table must have at least two columns, features and then the target. "
            f"Received: {len(rows[0]) if rows else 0} in {path}"
        )
    values = np.array(rows)
    try:
        return check_table(values[:, :-1], values[:, -1], min_rows)
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error


def check_table(x: ArrayLike, y: ArrayLike, min_rows: int = 20) -> Table:
    """Returns arrays as a `Table` if a regression can be learned from them.

    Args:
        x: finite numbers of shape `(rows, features)`.
        y: finite numbers of shape `(rows,)`.
        min_rows: int > 1, how many rows there must be.

    Raises:
        ValueError: if a shape does not fit, a value is not finite, there are too
            few rows, or the target or a feature is the same in all of them.

    Example:
        >>> from tfhyper import data
        >>> data.check_table([[0.0], [1.0]], [2.0, 3.0], min_rows=2).y.tolist()
        [2.0, 3.0]
    """
    check_integer("min_rows", min_rows, 2)
    x, y = check_numbers("x", x), check_numbers("y", y)
    if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[1] == 0:
        raise ValueError(
            "`x` and `y` must have the shapes (rows, features) and (rows,). "
            f"Received: x.shape={x.shape}, y.shape={y.shape}"
        )
    if len(x) < min_rows:
        raise ValueError(
            f"`x`, `y`: a table must have at least {min_rows} rows. Received: {len(x)}"
        )
    constant = (np.flatnonzero(np.ptp(x, axis=0) == 0) + 1).tolist()
    if constant:
        raise ValueError(
            "A feature must vary: leave out those that do not. Received: the same "
            f"value in all rows of column {', '.join(map(str, constant))}"
        )
    if np.ptp(y) == 0:
        raise ValueError(
            f"The target must vary. Received: {y[0]:g} in all {len(y)} rows"
        )
    return Table(x, y)


class Standardization(NamedTuple):
    """A shift and a scale: `(values - mean) / std`, by column where there are some.

    Attributes:
        mean: what is subtracted, a number or `(features,)`.
        std: what it is divided by, above zero, of the same shape.

    Example:
        >>> from tfhyper import data
        >>> scale = data.standardization([1.0, 3.0])
        >>> scale.apply([1.0, 3.0]).tolist(), scale.undo([0.0]).tolist()
        ([-1.0, 1.0], [2.0])
    """

    mean: np.ndarray
    std: np.ndarray

    def apply(self, values: ArrayLike) -> np.ndarray:
        """Returns the values with this shift and scale.

        Args:
            values: finite numbers, whose last axis is that of the columns.

        Raises:
            ValueError: for a value that is not finite, or other columns.
            TypeError: if they are not real numbers.
        """
        return (self._check(values) - self.mean) / self.std

    def undo(self, values: ArrayLike) -> np.ndarray:
        """Returns what `apply` was given, in the first unit; it takes the same."""
        return self._check(values) * self.std + self.mean

    def _check(self, values: ArrayLike) -> np.ndarray:
        values, columns = check_numbers("values", values), np.shape(self.mean)
        if columns not in ((), values.shape[-1:]):
            raise ValueError(
                f"`values` must have the shape (rows, {columns[0]}). "
                f"Received: values.shape={values.shape}"
            )
        return values


def standardization(values: ArrayLike) -> Standardization:
    """Returns what gives each column the mean 0 and the (biased) variance 1.

    A column that is the same in all rows, as a rare feature may be in a part of
    a table, is only shifted.

    Args:
        values: finite numbers, those of the training rows only: targets `(rows,)`
            or inputs `(rows, features)`.

    Raises:
        ValueError: if there are no rows or a value is not finite.

    Example:
        >>> from tfhyper import data
        >>> data.standardization([[1.0, 5.0], [3.0, 5.0]]).std.tolist()
        [1.0, 1.0]
    """
    values = check_numbers("values", values)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(
            "`values` must have the shape (rows,) or (rows, features), with at least "
            f"one value. Received: values.shape={values.shape}"
        )
    varies = np.ptp(values, axis=0) > 0
    return Standardization(
        values.mean(axis=0), np.where(varies, values.std(axis=0), 1.0)
    )


def split_rows(
    num_rows: int, seed: int, test_fraction: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of the training and of the test rows of a random split.

    `numpy.random.RandomState(seed)` shuffles all row numbers; the first
    `round(test_fraction * num_rows)` are those of the test.

    Args:
        num_rows: int > 1.
        seed: int >= 0; the published splits have 1 to 5.
        test_fraction: float in 0 < fraction < 1 that leaves rows for both.

    Returns:
        `(train, test)`, two integer arrays.

    Raises:
        ValueError: if an argument is out of range.

    Reference:
        Teye et al., ICML 2018, and its code.

    Example:
        >>> from tfhyper import data
        >>> train, test = data.split_rows(10, seed=1)
        >>> test.tolist()
        [2, 9]
    """
    check_integer("num_rows", num_rows, 2)
    check_integer("seed", seed, 0, 2**32 - 1)
    check_number("test_fraction", test_fraction, positive=True, below=1)
    num_test = round(test_fraction * num_rows)
    if not 0 < num_test < num_rows:
        raise ValueError(
            "`test_fraction` must be between 0 and 1 and leave rows for both parts. "
            f"Received: test_fraction={test_fraction}, num_rows={num_rows}"
        )
    order = _shuffled(num_rows, seed)
    return order[num_test:], order[:num_test]


def fold_rows(
    num_rows: int, num_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the numbers of training and validation rows of each fold.

    Each validation part has `num_rows // num_folds` rows. What is left over, fewer
    rows than there are folds, is in every training part, so that the folds are of
    one size.

    Args:
        num_rows: int, at least `num_folds`.
        num_folds: int > 1.
        seed: int >= 0, of the shuffling.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> from tfhyper import data
        >>> [len(train) for train, _ in data.fold_rows(11, 5, seed=1)]
        [9, 9, 9, 9, 9]
    """
    check_integer("num_folds", num_folds, 2)
    check_integer("num_rows", num_rows, num_folds)
    check_integer("seed", seed, 0, 2**32 - 1)
    order, size = _shuffled(num_rows, seed), num_rows // num_folds
    parts = [np.arange(i * size, (i + 1) * size) for i in range(num_folds)]
    return [(np.delete(order, part), order[part]) for part in parts]


def _shuffled(num_rows: int, seed: int) -> np.ndarray:
    order = np.arange(num_rows)
    np.random.RandomState(seed).shuffle(order)
    return order


def _number(path: str, line: int, column: int, text: str) -> float:
    text = text.strip()
    where = f"in line {line}, column {column} of {path}"
    if text.lower() in _MISSING:
        raise ValueError(
            f"No value of a table may be missing. Received: {text!r} {where}"
        )
    try:
        value = float(text)
    except ValueError:
        raise ValueError(
            f"A table must hold numbers only, without a header. Received: {text!r} "
            f"{where}"
        ) from None
    if not math.isfinite(value):
        raise ValueError(f"A table must be finite. Received: {text!r} {where}")
    return value
