"""What is wrong with a checkpoint, before it is loaded."""

import hashlib
import os

from tfhyper.saving.zip_files import open_zip
from tfhyper.whole_files import check_own

# What every `.keras` file holds.
_KERAS = {"config.json", "metadata.json"}


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file, in hexadecimal as `sha256sum` prints it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_fault(path: str, checksum: str | None) -> str | None:
    """Returns what is wrong with a checkpoint: `None` if it is whole.

    Args:
        path: the file.
        checksum: the SHA-256 it was written with; `None` if it is not known, so that
            only the checksums inside the zip file are compared.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    try:
        check_own(path)
    except ValueError as error:
        return f"it is foreign ({error})"
    try:
        if checksum is not None and sha256(path) == checksum:
            return None
        with open_zip(path) as archive:
            broken = archive.testzip()
            names = set(archive.namelist())
    except FileNotFoundError:  # not a fault: dropped by a run at work
        raise
    # zipfile raises errors of many classes for bytes that are not what they were.
    except Exception as error:
        return f"it is torn ({error})"
    if broken is not None:
        return f"it is torn (the bytes of {broken} are not those that were written)"
    if not names >= _KERAS:
        return "it is foreign (a zip file, but not a Keras model)"
    if checksum is not None:
        return "it is foreign or was changed (its SHA-256 is not in checksums.json)"
    return None


def set_aside(path: str) -> str:
    """Renames a file to `path.torn`, `path.torn2`, ...; returns where it is then.

    Where the folder cannot be written it stays where it is.
    """
    aside, number = f"{path}.torn", 1
    while os.path.lexists(aside):
        number += 1
        aside = f"{path}.torn{number}"
    try:
        os.replace(path, aside)
    except OSError:
        return path
    return aside
