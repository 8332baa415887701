"""Argument checks that every part shares."""

import math
from typing import Any

import numpy as np


def check_integer(
    name: str, value: Any, minimum: int, maximum: int | None = None
) -> int:
    """Returns `value` as an int, or raises ValueError unless it is one in a range."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_integer and minimum <= value and (maximum is None or value <= maximum):
        return int(value)
    if maximum is not None:
        rule = f"an integer from {minimum} to {maximum}"
    else:
        known = {0: "a non-negative integer", 1: "a positive integer"}
        rule = known.get(minimum, f"an integer of at least {minimum}")
    raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def check_positive_integer(name: str, value: Any) -> int:
    """Returns `value` as an int, or raises ValueError unless it is one above zero."""
    return check_integer(name, value, 1)


def check_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Returns `value` as a float, or raises ValueError unless it is finite and >= 0.

    With `positive` it must be above 0.
    """
    is_number = isinstance(value, int | float | np.number)
    is_number = is_number and not isinstance(value, bool)
    if is_number and 0 <= value < math.inf and (value or not positive):
        return float(value)
    raise ValueError(
        f"`{name}` must be a finite number {'>' if positive else '>='} 0. "
        f"Received: {name}={value!r}"
    )


def check_bool(name: str, value: Any) -> bool:
    """Returns `value` as a bool, or raises ValueError unless it is one."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")


def check_choice(name: str, value: Any, choices: Any) -> Any:
    """Returns `value`, or raises ValueError unless it is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {sorted(choices)}. Received: {name}={value!r}"
        )
    return value


def check_finite(name: str, array: Any) -> np.ndarray:
    """Returns `array` as a NumPy array, or raises ValueError if it holds NaN or inf."""
    array = np.asarray(array)
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        count = int(np.size(array) - np.isfinite(array).sum())
        raise ValueError(
            f"`{name}` must be finite. Received: {count} NaN or infinite values of "
            f"{array.size}"
        )
    return array
