"""Checks of the numbers that a scaling is made of."""

from typing import Any

import numpy as np

from tfhyper.checks import check_finite
from tfhyper.metrics._checks import as_float_array, check_no_bools


def check_numbers(name: str, value: Any, axes: int) -> np.ndarray:
    """Returns finite float64 numbers with so many axes, none of them empty.

    Raises:
        ValueError: for another shape, or numbers that are not finite.
        TypeError: for what are no real numbers.
    """
    array = as_float_array(name, value, np.float64)
    check_no_bools(name, np.asarray(array))
    if array.ndim != axes or not array.size:
        raise ValueError(
            f"`{name}` must have {axes} {'axis' if axes == 1 else 'axes'}, with at "
            f"least one number. Received: {name}.shape={array.shape}"
        )
    return check_finite(name, array)


def as_tuple(array: np.ndarray) -> Any:
    """Returns numbers as a tuple, or as a tuple of these."""
    return tuple(map(as_tuple, array)) if array.ndim > 1 else tuple(array.tolist())
