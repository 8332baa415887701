"""Argument checks that every part shares."""

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

_MAX_FLOAT = 2.0**1023
# How much is said of work in progress: as Keras has it.
Verbose: TypeAlias = Literal[0, 1, 2, "auto"]


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


def check_number(
    name: str, value: Any, *, positive: bool = False, below: float = math.inf
) -> float:
    """Returns `value` as a float, or raises ValueError unless it is finite and >= 0.

    With `positive` it must be above 0, with `below` less than that.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating)
    is_number = is_number and not isinstance(value, bool)
    # Whole numbers have no largest one.
    if is_number and 0 <= value < min(below, _MAX_FLOAT) and (value or not positive):
        return float(value)
    rule = f"a finite number {'>' if positive else '>='} 0"
    if below != math.inf:
        rule = f"in 0 {'<' if positive else '<='} {name} < {below:g}"
    raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def check_learning_rate(value: Any) -> Any:
    """Returns a schedule, or a rate that is a number of at least 0."""
    return value if callable(value) else check_number("learning_rate", value)


def check_bool(name: str, value: Any) -> bool:
    """Returns `value` as a bool, or raises ValueError unless it is one."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")


def check_choice(name: str, value: Any, choices: Any) -> Any:
    """Returns `value`, or raises ValueError unless it is one of `choices`."""
    # Arrays, which are no choices, compare item by item.
    if not isinstance(value, str | int | None) or value not in choices:
        raise ValueError(
            f"`{name}` must be one of {sorted(choices, key=str)}. "
            f"Received: {name}={value!r}"
        )
    return value


def check_instance(
    name: str, value: Any, kind: type | UnionType | tuple, rule: str
) -> Any:
    """Returns `value`, or raises TypeError unless it is of a class.

    Args:
        name: the argument's name.
        value: what was given.
        kind: the class, or several.
        rule: what it must be, in words.
    """
    if isinstance(value, kind):
        return value
    raise TypeError(f"`{name}` must be {rule}. Received: {name}={value!r}")


def check_text(name: str, value: Any) -> str:
    """Returns `value`, or raises TypeError unless it is text."""
    return check_instance(name, value, str, "text")


def check_function(name: str, value: Any) -> Callable:
    """Returns `value`, or raises TypeError unless it can be called."""
    if callable(value):
        return value
    raise TypeError(f"`{name}` must be a function. Received: {name}={value!r}")


def check_verbose(value: Any) -> Any:
    """Returns `verbose` as Keras takes it, or raises ValueError."""
    return check_choice("verbose", value, get_args(Verbose))


def check_reading(batch_size: Any, verbose: Any, **flags: Any) -> None:
    """Raises an error unless data can be read so: what all predictions check first.

    Args:
        batch_size: the examples of a batch, int > 0.
        verbose: as Keras takes it.
        **flags: arguments that must be bools, by their names.

    Raises:
        ValueError: for a number out of range.
        TypeError: for another type.
    """
    check_positive_integer("batch_size", batch_size)
    for name, value in flags.items():
        check_bool(name, value)
    check_verbose(verbose)


def check_path(name: str, value: Any) -> str:
    """Returns a path as text, or raises TypeError or ValueError unless it is one."""
    check_instance(name, value, str | os.PathLike, "a path, text or `os.PathLike`")
    path = os.fsdecode(value)
    if not path or "\0" in path:
        raise ValueError(
            f"`{name}` must be a path, not empty and without a null character. "
            f"Received: {name}={value!r}"
        )
    return path


def warn_of_old_name(old: str, new: str) -> None:
    """Warns the one who calls the function that calls this of a name of before."""
    warnings.warn(
        f"`{old}` is called `{new}`; the next version has that name alone.",
        DeprecationWarning,
        stacklevel=3,
    )


@contextlib.contextmanager
def naming(name: str, rule: str) -> Iterator[None]:
    """Lets errors of what is called name the argument that the caller was given.

    Args:
        name: the argument's name.
        rule: what it must hold, in words.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        if f"`{name}`" in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"`{name}` must hold {rule}. Received: {error}") from error


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


def check_numbers(name: str, value: Any) -> np.ndarray:
    """Returns finite real numbers as an array of float64.

    Raises:
        TypeError: for text, complex numbers, objects, or rows of different lengths.
        ValueError: for NaN and infinity.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(
            f"`{name}` must hold real numbers, in rows of one length. "
            f"Received: {name}={value!r}"
        ) from error
    # NumPy knows bfloat16 only as an extension type, whose kind is "V".
    if array.dtype.kind not in "fiubV":
        raise TypeError(
            f"`{name}` must hold real numbers. Received: {name}={value!r}, of the "
            f"dtype {array.dtype}"
        )
    return check_finite(name, array.astype(np.float64))
