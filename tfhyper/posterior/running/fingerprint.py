"""Whether the weights of a model changed since they were looked at."""

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfhyper.layers.variational import variational_layers


class Fingerprint:
    """Remembers the weights of a model, to notice any change of any of them.

    Two looks at a variable. The first takes no time, whatever its size: the variable's
    present value is held, and a value that is still in the same place is the same one.
    TensorFlow and JAX write a new value elsewhere while somebody holds the old one, and
    Torch counts what it writes. Only a value that has moved is read as a whole, and
    compared by its checksum with what it was.

    While one is held and the model is trained, the old weights stay in memory beside
    the new ones, until the change is noticed.

    Args:
        model: the model.
        without: variables whose values do not matter, such as the moving averages of
            BatchNorm layers whose moments are taken anew.
    """

    def __init__(self, model: keras.Model, without: Iterable[keras.Variable] = ()):
        left_out = {id(variable) for variable in without}
        # Schedules set it, and it says nothing of a draw.
        left_out.update(id(layer.kl_factor) for layer in variational_layers(model))
        # What counts draws is no weight of theirs, and is an integer.
        self._variables = [
            variable
            for variable in model.weights
            if "int" not in variable.dtype and id(variable) not in left_out
        ]
        self._checksums = list(map(_checksum, self._variables))
        self._places = list(map(_place, self._variables))

    @property
    def checksum(self) -> int:
        """A number that other weights would change."""
        return zlib.crc32(np.array(self._checksums, "int64").tobytes())

    def changed(self) -> list[str]:
        """Returns the paths of the variables whose values are others than before."""
        found = []
        for i, variable in enumerate(self._variables):
            place = _place(variable)
            if place.key is not None and place.key == self._places[i].key:
                continue
            if _checksum(variable) != self._checksums[i]:
                found.append(variable.path)
            else:
                self._places[i] = place
        return found


class _Place(NamedTuple):
    """Where a variable's value is: as long as the value is held, nothing else is."""

    key: Any  # None if it is not known
    value: Any


def _place(variable: keras.Variable) -> _Place:
    backend, value = keras.backend.backend(), variable.value
    if backend == "jax":  # where arrays never change
        return _Place(id(value), value)
    if backend == "torch":
        return _Place((id(value), value._version), value)
    try:
        value = value.value()  # TensorFlow's variable as a tensor, without a copy
        return _Place(np.asarray(memoryview(value)).ctypes.data, value)
    except (AttributeError, TypeError, ValueError, BufferError, RuntimeError):
        return _Place(None, None)  # on a GPU, say


def _checksum(variable: keras.Variable) -> int:
    array = np.ascontiguousarray(ops.convert_to_numpy(variable)).reshape(-1)
    return zlib.crc32(array.view(np.uint8).data if array.size else b"")
