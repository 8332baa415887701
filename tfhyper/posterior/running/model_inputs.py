"""What a model takes: the check of inputs, by names and not by their order."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_finite
from tfhyper.tensor_types import Shape, Structure


class ModelInputs:
    """The inputs of a model, to check data against.

    Args:
        model: a functional or built Sequential model.
    """

    def __init__(self, model: keras.Model):
        # A Sequential model that was never called has no `input`.
        sequential = isinstance(model, keras.Sequential)
        # Without their history, which would hold the model.
        self._structure = keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype, name=x.name),
            model.inputs[0] if sequential else model.input,
        )
        if len(leaves := keras.tree.flatten(self._structure)) == 1:
            # Whatever it stands in.
            self._only = leaves[0]
        else:
            self._only = None

    def arrays_of(self, name: str, x: Structure) -> Structure | None:
        """Returns arrays of all examples as `arrange` does, or `None` for a dataset.

        Args:
            name: the argument's name in error messages.
            x: arrays or tensors, nested lists of numbers, or a dataset.

        Raises:
            ValueError: as `arrange`, and for arrays without examples.
        """
        if isinstance(x, list | tuple) and not are_arrays(x):
            x = as_array(name, x)
        if not are_arrays(x):
            return None
        check_examples(name, x)
        return self.arrange(name, x, whole=False)

    def arrange(self, name: str, x: Structure, whole: bool = True) -> Structure:
        """Returns data in the structure that the model was made with, checked.

        Args:
            name: the argument's name in error messages.
            x: an array; or for several inputs a dict of arrays by the inputs' names,
                or what has the model's own structure.
            whole: bool, whether `x` is a batch: of a size that the model may demand.

        Raises:
            ValueError: if it is not what the model takes: another structure, name,
                shape or type, NaN or infinite values.
        """
        if self._only is None:
            return self._arrange(name, x, self._structure, whole)
        if isinstance(x, dict):
            x = _by_name(name, x, self._only.name)
        elif isinstance(x, list | tuple) and len(x) == 1 and is_array(x[0]):
            (x,) = x
        found = self._check(name, x, self._only, whole)
        return keras.tree.pack_sequence_as(self._structure, [found])

    def _arrange(
        self, name: str, x: Structure, structure: Structure, whole: bool
    ) -> Structure:
        if isinstance(structure, keras.KerasTensor):
            return self._check(name, x, structure, whole)
        if isinstance(structure, dict):
            if not isinstance(x, dict):
                raise ValueError(
                    f"`{name}` must be a dict of the model's inputs "
                    f"{list(structure)}: their order is not known. "
                    f"Received: {name} of type {type(x).__name__}"
                )
            return {
                key: self._arrange(
                    f"{name}[{key!r}]", _by_name(name, x, key), part, whole
                )
                for key, part in structure.items()
            }
        if isinstance(x, dict):
            names = [getattr(part, "name", None) for part in structure]
            if None in names:
                raise ValueError(
                    f"`{name}` must have the structure of the model's inputs, which "
                    f"are nested. Received: {name} as a dict of {sorted(x)}"
                )
            x = [_by_name(name, x, key) for key in names if key is not None]
        if not isinstance(x, list | tuple) or len(x) != len(structure):
            size = f" of {len(x)}" if isinstance(x, list | tuple) else ""
            raise ValueError(
                f"`{name}` must hold {len(structure)} inputs, in a list in the order "
                "of the model's or in a dict by their names. "
                f"Received: {name} of type {type(x).__name__}{size}"
            )
        parts = [
            self._arrange(f"{name}[{i}]", part, wanted, whole)
            for i, (part, wanted) in enumerate(zip(x, structure, strict=True))
        ]
        return type(structure)(parts)

    def _check(
        self, name: str, x: Structure, tensor: keras.KerasTensor, whole: bool
    ) -> np.ndarray:
        """Returns one array as it was, or with the axes that Keras would give it."""
        if isinstance(x, dict) or not is_array(x):
            raise ValueError(
                f"`{name}` must hold arrays of numbers. "
                f"Received: {name}={_short(x)} of type {type(x).__name__}"
            )
        is_tensor = ops.is_tensor(x)
        array = ops.convert_to_numpy(x) if is_tensor else np.asarray(x)
        if tensor.dtype == "string":
            if array.dtype.kind not in "OSU":
                raise ValueError(
                    f"`{name}` must hold strings. Received: {name}.dtype={array.dtype}"
                )
        else:
            check_finite(name, _check_numbers(name, array, tensor.dtype))
        array = _fit_axes(array, tensor.shape)
        _check_shape(name, array.shape, tensor.shape, whole)
        return array


def _check_numbers(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    # NumPy knows bfloat16 only as an extension type, whose kind is "V".
    if array.dtype.kind not in "fiubV" or array.dtype.names:
        raise ValueError(
            f"`{name}` must hold real numbers. Received: {name}.dtype={array.dtype}"
        )
    if "float" not in dtype and array.dtype.kind in "fV":
        off = np.asarray(array, "float64") % 1 != 0
        if off.any():
            raise ValueError(
                f"`{name}` must hold whole numbers, as the model's input is of "
                f"{dtype}. Received: {name} with the value {array[off].flat[0]}"
            )
    return array


def _fit_axes(array: np.ndarray, shape: Shape) -> np.ndarray:
    """Returns an array with a last axis of size 1 added or left out, as Keras does."""
    if array.ndim == len(shape) - 1 and shape[-1] == 1:
        return array[..., np.newaxis]
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1:
        return array[..., 0]
    return array


def _check_shape(name: str, found: tuple[int, ...], wanted: Shape, whole: bool) -> None:
    start = 0 if whole else 1
    fits = len(found) == len(wanted) and all(
        size in (None, other)
        for size, other in list(zip(wanted, found, strict=True))[start:]
    )
    if not fits:
        listed = ", ".join("any" if size is None else str(size) for size in wanted[1:])
        batch = "examples" if wanted[0] is None else wanted[0]
        raise ValueError(
            f"`{name}` must have the shape that the model takes, ({batch}, {listed}). "
            f"Received: {name}.shape={tuple(found)}"
        )


def _by_name(name: str, x: dict, key: str) -> Any:
    if key not in x:
        raise ValueError(
            f"`{name}` must hold the model's input {key!r}. Received: {name} with the "
            f"keys {sorted(map(str, x))}"
        )
    return x[key]


def check_examples(name: str, arrays: Structure) -> None:
    """Raises ValueError for arrays without examples."""
    shapes = [tuple(array.shape) for array in keras.tree.flatten(arrays)]
    if not all(shape and shape[0] for shape in shapes):
        found = shapes[0] if len(shapes) == 1 else shapes
        raise ValueError(
            f"`{name}` must hold at least one example. Received: {name}.shape={found}"
        )


def as_array(name: str, values: Any) -> np.ndarray:
    """Returns tensors and nested lists as an array, or raises ValueError."""
    try:
        if ops.is_tensor(values):
            return ops.convert_to_numpy(values)
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`{name}` must be an array, of the same size along each axis. "
            f"Received: {name} of type {type(values).__name__} ({error})"
        ) from error


def are_arrays(x: Structure) -> bool:
    """Whether something is an array or tensor, or a structure of such."""
    # A dataset is a leaf of the structure, and no array.
    return bool(leaves := keras.tree.flatten(x)) and all(map(is_array, leaves))


def is_array(x: Structure) -> bool:
    """Whether something is a tensor or an array of NumPy's kind."""
    return ops.is_tensor(x) or hasattr(x, "__array__")


def _short(x: Structure) -> str:
    text = repr(x)
    return text if len(text) <= 60 else f"{text[:60]}..."
