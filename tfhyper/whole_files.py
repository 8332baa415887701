"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

from tfhyper.saving.json_values import MAX_BYTES, parse_json


@contextlib.contextmanager
def whole_file(path: str, folder: str | None = None) -> Iterator[str]:
    """Yields a name to write to; at the end the file is on disk and is `path`.

    A process or machine that dies leaves the old file or the new one. After an
    exception the old one stays, and what was written so far is removed.

    Args:
        path: where to.
        folder: one on the same disk to write in meanwhile, such as a temporary one
            that nobody else has; `None` for that of `path`, where one process at a
            time may write this file.

    Example:

    >>> with whole_file("scores.json") as temporary:
    ...     with open(temporary, "w") as file:
    ...         json.dump({"error": 0.07}, file)
    >>> read_json("scores.json")
    {'error': 0.07}
    """
    target, name = os.path.split(path)
    # Hidden, with the same ending: Keras chooses the format by it.
    temporary = os.path.join(target if folder is None else folder, f".{name}")
    # What a kill left behind; or a link, through which another file would be written.
    with contextlib.suppress(FileNotFoundError):
        os.remove(temporary)
    try:
        yield temporary
        _to_disk(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _to_disk(target or ".", os.O_RDONLY)


def read_json(path: str) -> dict[str, Any] | None:
    """Returns the JSON object of a file; `None` if there is no such file.

    Raises:
        ValueError: if the file holds anything else, or more than can be held, or is
            no file of its own: see `check_own`.
    """
    try:
        check_own(path)
        with open(path, "rb") as file:
            value = parse_json(file.read(MAX_BYTES + 1), path)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object.")
    return value


def check_own(path: str) -> None:
    """Raises ValueError if a path is a link, a folder or a device, not a file.

    A link would have another file read, and a pipe would be waited for.

    Raises:
        FileNotFoundError: if there is nothing.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError(f"{path} must be a file, not a link, a folder or a device.")


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes a JSON object, whole or not at all."""
    with whole_file(path) as temporary, open(temporary, "w") as file:
        json.dump(value, file, indent=2)


@contextlib.contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """Yields a folder to write to; at the end it is on disk and is `path`.

    A folder that was there goes when the new one is complete, and stays after an
    exception. Folders above it are made.

    Example:

    >>> with whole_folder("models/fashion/1") as temporary:
    ...     tf.saved_model.save(tf.Module(), temporary)
    >>> tf.saved_model.contains_saved_model("models/fashion/1")
    True
    """
    parent, name = os.path.split(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    # Hidden, on the same disk.
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-") as temporary:
        new, old = (os.path.join(temporary, part) for part in ("new", "old"))
        os.mkdir(new)
        yield new
        for folder, _, files in os.walk(new):
            for file in files:
                _to_disk(os.path.join(folder, file), os.O_RDWR)
        if os.path.lexists(path):
            os.rename(path, old)
        try:
            os.rename(new, path)
        except BaseException:
            if os.path.lexists(old):
                os.rename(old, path)
            raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _to_disk(parent, os.O_RDONLY)


def disk_is_full(error: BaseException) -> bool:
    """Returns whether an error says that no space is left, or none of a quota."""
    # HDF5 gives the text without the number.
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(
        errno.ENOSPC
    ) in str(error)


def _to_disk(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
