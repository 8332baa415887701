"""The HDF5 file of a model's weights, whose shapes are compared with its bytes."""

import math
from typing import IO

import h5py
import numpy as np

# What Keras keeps beside the weights: names, as attributes.
_MAX_ATTRIBUTES, _MAX_ATTRIBUTE = 16, 2**16
_PLAIN_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS)


def stored_bytes(file: IO[bytes]) -> int:
    """Returns the bytes of all the weights of an HDF5 file; reads none of them.

    Raises:
        ValueError: if it is no HDF5 file; if it links to itself or to other files;
            or if a weight is not stored as a whole and as it is, as Keras stores
            them: what it declares is not what is there.
    """
    weights = stored_weights(file).values()
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in weights)


def stored_weights(file: IO[bytes]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Returns path -> (shape, dtype) of all weights of an HDF5 file; reads none.

    Raises:
        ValueError: as `stored_bytes`.
    """
    size = file.seek(0, 2)
    file.seek(0)
    try:
        with h5py.File(file, "r") as weights:
            found = _check(weights)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"its weights are not a whole HDF5 file ({error})") from error
    needed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in found.values())
    if needed > size:
        raise ValueError(f"its weights declare {needed} bytes and have {size}")
    return found


def _check(weights: h5py.File) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    found, seen = {}, {h5py.h5o.get_info(weights.id).addr}
    waiting = [weights]
    while waiting:
        group = waiting.pop()
        _check_attributes(group)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{group.name}/{name} links to something else")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise ValueError(f"{group.name}/{name} is in the file twice")
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                _check_attributes(item)
                _check_stored(item)
                found[item.name] = item.shape, item.dtype
            else:
                raise ValueError(f"{item.name} is neither a group nor a weight")
    return found


def _check_stored(dataset: h5py.Dataset) -> None:
    """Raises ValueError unless the bytes of a dataset are all there, as they are."""
    properties = dataset.id.get_create_plist()
    size = math.prod(dataset.shape or ()) * dataset.dtype.itemsize
    if dataset.dtype.hasobject or dataset.dtype.kind not in "biufcV":
        raise ValueError(f"{dataset.name} holds {dataset.dtype}, not numbers")
    if (
        dataset.shape is None
        or properties.get_external_count()
        or properties.get_layout() not in _PLAIN_LAYOUTS
        or properties.get_nfilters()
        or dataset.id.get_storage_size() != size
    ):
        raise ValueError(
            f"{dataset.name} of shape {dataset.shape} is not stored as it is: "
            f"{dataset.id.get_storage_size()} of {size} bytes are there"
        )


def _check_attributes(item: h5py.Group | h5py.Dataset) -> None:
    if len(item.attrs) > _MAX_ATTRIBUTES:
        raise ValueError(f"{item.name} has {len(item.attrs)} attributes")
    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        if math.prod(attribute.shape) * attribute.dtype.itemsize > _MAX_ATTRIBUTE:
            raise ValueError(f"{item.name} has an attribute of {attribute.shape}")
