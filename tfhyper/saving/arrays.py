"""NumPy's npz files, whose headers are compared with the bytes that are there."""

import io
import math
import zipfile
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy

from tfhyper.saving.zip_files import open_zip

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def plain_array(values: Any) -> np.ndarray:
    """Returns an array of a type that NumPy's files hold: bfloat16 as float32."""
    array = np.asarray(values)
    # NumPy knows bfloat16 only as an extension type.
    return array.astype("float32") if array.dtype.kind == "V" else array


def read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """Returns name -> array of a npz file of finite real numbers.

    Raises:
        ValueError: if it is no such file, or holds anything else.
    """
    arrays = {}
    with open_zip(file, files=False) as archive:
        for name, entry in _entries(archive):
            array = _read(archive, entry, name)
            if not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite")
            arrays[name] = array
    return arrays


def read_shapes(file: IO[bytes]) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of the arrays of a npz file; reads no array.

    Raises:
        ValueError: if it is no such file, or holds anything but real numbers.
    """
    shapes = {}
    with open_zip(file, files=False) as archive:
        for name, entry in _entries(archive):
            with archive.open(entry) as array:
                shapes[name], *_ = _read_header(array, entry, name)
    return shapes


def _entries(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name == entry.filename:
            raise ValueError(f"{name} is not an array")
        yield name, entry


def _read_header(
    file: IO[bytes], entry: zipfile.ZipInfo, name: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns shape, whether it is in Fortran's order, and dtype of an array."""
    reader = _READERS.get(npy.read_magic(file))
    if reader is None:
        raise ValueError(f"{name} is of another version")
    shape, fortran, dtype = reader(file)
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {dtype}, not numbers: allow_pickle is off")
    if math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
        raise ValueError(f"{name} of shape {shape} has not the bytes of it")
    return shape, fortran, dtype


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(entry) as file:
        shape, fortran, dtype = _read_header(file, entry, name)
        array = np.empty(shape, dtype, order="F" if fortran else "C")
        flat = array.reshape(-1, order="A")
        # What zipfile opens is one, which its type does not say.
        source = cast(io.BufferedIOBase, file)
        if array.nbytes and source.readinto(flat.view("uint8").data) != array.nbytes:
            raise ValueError(f"{name} is cut")
    return array
