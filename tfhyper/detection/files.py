"""Files of fitted scorers: arrays, and a config in JSON; nothing in them is run."""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfhyper.checks import check_bool, check_path
from tfhyper.saving.arrays import read_arrays
from tfhyper.saving.json_values import MAX_BYTES, parse_json
from tfhyper.whole_files import whole_file

FORMAT = "tfhyper scorer 1"
# The entry of the file that holds the config, as bytes of JSON.
_ABOUT = "about"


def as_bytes(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns the bytes of a file of `Scorer.state`: one of NumPy's, without pickle."""
    text = json.dumps(about)
    named: dict[str, Any] = {_ABOUT: np.frombuffer(text.encode(), np.uint8), **arrays}
    found = io.BytesIO()
    np.savez(found, **named)
    return found.getvalue()


def from_file(file: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns what `as_bytes` was given, of a file that can be sought in.

    Raises:
        ValueError: if it is no such file.
    """
    arrays = read_arrays(file)
    if _ABOUT not in arrays:
        raise ValueError("it does not say what scorer it is of")
    text = arrays.pop(_ABOUT).astype(np.uint8).tobytes()
    about = parse_json(text, _ABOUT, max_bytes=MAX_BYTES)
    return about, arrays


def check_about(about: Any) -> None:
    """Raises ValueError unless that is what `Scorer.state` says of a scorer."""
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError("it is of another format")
    if not isinstance(about.get("scorer"), str):
        raise ValueError("it names no scorer")
    if not isinstance(about.get("arguments"), dict):
        raise ValueError("it does not hold the scorer's arguments")


def save(
    path: str,
    about: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    overwrite: bool,
) -> None:
    """Writes the file of a scorer, whole or not at all.

    Raises:
        FileExistsError: if there is a file and `overwrite` is not set.
    """
    path = check_path("path", path)
    check_bool("overwrite", overwrite)
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(
            f"`path` must be free, or give overwrite=True. Received: path={path!r}"
        )
    content = as_bytes(about, arrays)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
