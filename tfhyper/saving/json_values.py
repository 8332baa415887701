"""JSON of others: no more values, and no deeper, than a reader can hold."""

import json
from typing import Any

# A value takes up to some 110 bytes when it is read.
_MAX_VALUES = 2**20
MAX_BYTES = 2**24
_MAX_DEPTH = 100


def parse_json(
    content: bytes,
    name: str,
    max_values: int = _MAX_VALUES,
    max_bytes: int = MAX_BYTES,
) -> Any:
    """Returns the value that JSON stands for.

    Args:
        content: UTF-8.
        name: what it is, for errors.
        max_values: int, values of all kinds in it, at most.
        max_bytes: int, its length, at most.

    Raises:
        ValueError: if it is not JSON, or more, or nested deeper than 100 levels.
    """
    if len(content) > max_bytes:
        raise ValueError(f"{name} has {len(content)} bytes, more than {max_bytes}")
    # Those in strings are counted too: more than there are, never less.
    count = 1 + sum(map(content.count, (b",", b":", b"[", b"{")))
    if count > max_values:
        raise ValueError(f"{name} holds more than {max_values} values")
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    _check_depth(value, name)
    return value


def _check_depth(value: Any, name: str) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            item
            for held in level
            if isinstance(held, dict | list)
            for item in (held.values() if isinstance(held, dict) else held)
        ]
        if not level:
            return
    raise ValueError(f"{name} is nested deeper than {_MAX_DEPTH} levels")
