"""Zip files, checked before anything in them is read."""

import contextlib
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import IO

# Bytes of the list of entries, each of at least 46 and of some 700 when it is read.
_MAX_DIRECTORY = 2**23
# Entries are stored as they are, by us and by Keras: what they unpack to may be more
# than the file by this much.
_SLACK = 2**20
_END, _END_64, _LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_END_SIZE, _END_64_SIZE, _LOCATOR_64_SIZE = 22, 56, 20
_ENTRY_SIZE = 30  # of what stands before an entry, besides its name
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def open_zip(file: str | IO[bytes], *, files: bool = True) -> Iterator[zipfile.ZipFile]:
    """Yields a zip file whose entries are what they say, and stay where they belong.

    Their names are relative paths without "..", each once; none is a link or
    encrypted; their bytes do not overlap; and together they unpack to no more than
    the file's size and 1 MiB.

    Args:
        file: a path, or a file that can be sought in.
        files: bool, whether the entries' names are those of files. Names of arrays,
            which are never unpacked, may be anything.

    Raises:
        ValueError: if it is no zip file, or not such a one.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(file, str):
            file = stack.enter_context(open(file, "rb"))
        size = file.seek(0, os.SEEK_END)
        start = _check_directory(file, size)
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, OSError, struct.error, NotImplementedError) as e:
            raise ValueError(f"it is not a whole zip file ({e})") from e
        if files:
            for entry in archive.infolist():
                _check_name(entry)
        _check_entries(archive.infolist(), start, size)
        yield archive


def _check_directory(file: IO[bytes], size: int) -> int:
    """Returns where the list of entries begins; it is read as a whole when opened."""
    file.seek(max(size - _END_SIZE, 0))
    end = file.read(_END_SIZE)
    if len(end) < _END_SIZE or end[:4] != _END or end[-2:] != b"\0\0":
        raise ValueError("it is not a whole zip file")
    length, start = struct.unpack("<LL", end[12:20])
    before = size - _END_SIZE - _LOCATOR_64_SIZE
    if before >= _END_64_SIZE:
        file.seek(before - _END_64_SIZE)
        record, locator = file.read(_END_64_SIZE), file.read(_LOCATOR_64_SIZE)
        if locator[:4] == _LOCATOR_64:
            if record[:4] != _END_64:
                raise ValueError("it is not a whole zip file")
            length, start = struct.unpack("<QQ", record[40:56])
    if length > _MAX_DIRECTORY:
        raise ValueError(f"the list of its entries has {length} bytes")
    return start


def _check_entries(entries: list[zipfile.ZipInfo], start: int, size: int) -> None:
    names = set()
    for entry in entries:
        if entry.filename in names:
            raise ValueError(f"{entry.filename!r} is in it twice")
        names.add(entry.filename)
        if entry.compress_type not in _METHODS or entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"{entry.filename!r} is encrypted or packed otherwise")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise ValueError(f"{entry.filename!r} shares bytes with another entry")
        end = entry.header_offset + _ENTRY_SIZE + entry.compress_size
    if end > start:
        raise ValueError("its entries are larger than it is")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size + _SLACK:
        raise ValueError(f"it would unpack from {size} to {unpacked} bytes")


def _check_name(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    parts = name.rstrip("/").split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or any(character in name for character in "\\:\0")
        or len(name) > 1024
    ):
        raise ValueError(f"the name {name[:80]!r} leads out of it, or is none")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{name!r} is a link or a device")


def read_entry(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Returns the bytes of an entry; raises ValueError if it has more, or is not."""
    try:
        size = archive.getinfo(name).file_size
    except KeyError:
        raise ValueError(f"it has no {name}") from None
    if size > limit:
        raise ValueError(f"{name} has {size} bytes, more than {limit}")
    return archive.read(name)


def as_file(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Returns an entry as a file to read; raises ValueError if there is none."""
    try:
        return archive.open(name)
    except KeyError:
        raise ValueError(f"it has no {name}") from None
