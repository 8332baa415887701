"""What a request must be before TensorFlow sees it."""

import dataclasses
import math
from collections.abc import Callable, Sized

import numpy as np
from mlserver.errors import MLServerError

# Names in the protocol, of what NumPy calls them: of inputs, and of outputs.
DATATYPES = {
    **{f"int{n}": f"INT{n}" for n in (8, 16, 32, 64)},
    **{f"uint{n}": f"UINT{n}" for n in (8, 16, 32)},
    **{f"float{n}": f"FP{n}" for n in (16, 32, 64)},
}
OUTPUT_DATATYPES = {**DATATYPES, "bool": "BOOL"}
DEFAULT, SAMPLE = "serving_default", "sample"
# Inputs, outputs and axes.
MAX_ENTRIES = 64


class Refused(MLServerError):
    """A request that is refused: why, for the metrics, and in words.

    Args:
        reason: one word; never a part of the request.
        message: what the rule is, and what came.
        status: HTTP's; gRPC has those of `guards`.
    """

    def __init__(self, reason: str, message: str, status: int = 400):
        super().__init__(message, status)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel.

    Args:
        function: takes and gives tensors by name.
        inputs: name -> (NumPy dtype, shape without the batch), but for the seed.
        outputs: name -> (NumPy dtype, shape without the batch).
    """

    function: Callable
    inputs: dict
    outputs: dict


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A request that was found good.

    Args:
        signatures: name of a signature -> names of its outputs that are wanted.
        seed: int, of `sample`; or `None`.
        arrays: name -> array.
    """

    signatures: dict
    seed: int | None
    arrays: dict


def check_length(name: str, value) -> None:
    """Refuses what has more than `MAX_ENTRIES` entries; the rest is checked later.

    Args:
        name: of the entry of a request.
        value: what it holds, of any type.
    """
    if isinstance(value, Sized) and len(value) > MAX_ENTRIES:
        raise Refused(
            "too_many",
            f"`{name}` must have at most {MAX_ENTRIES} entries. Received: {len(value)}",
        )


def check_request(request, signatures: dict[str, Signature], max_images: int) -> Wanted:
    """Returns what a request asks for.

    Args:
        request: an `InferenceRequest`, of whatever content.
        signatures: name -> `Signature`.
        max_images: the largest batch.

    Raises:
        Refused: for anything but inputs that the signature takes.
    """
    parameters = request.parameters.model_dump() if request.parameters else {}
    outputs = [output.name for output in request.outputs or []]
    chosen = _check_signature(parameters.get("signature"), outputs, signatures)
    seed = _check_seed(parameters.get("seed"), SAMPLE in chosen)
    arrays = _check_inputs(request.inputs, signatures[next(iter(chosen))], max_images)
    return Wanted(chosen, seed, arrays)


def _check_signature(name, outputs, signatures):
    """Returns name of a signature -> names of outputs."""
    if name is not None:
        if not isinstance(name, str) or name not in signatures:
            raise Refused(
                "signature",
                f"The parameter `signature` must be one of {sorted(signatures)}. "
                f"Received: {_short(name)}",
            )
        searched = {name: signatures[name]}
    else:
        # What is asked for says where it is found; fresh draws are asked for by name.
        searched = {k: v for k, v in signatures.items() if k != SAMPLE}
    if not outputs:
        name = name or DEFAULT
        return {name: list(signatures[name].outputs)}
    chosen = {}
    for output in dict.fromkeys(outputs):
        for name, signature in searched.items():
            if output in signature.outputs:
                chosen.setdefault(name, []).append(output)
                break
        else:
            known = sorted({x for found in searched.values() for x in found.outputs})
            raise Refused(
                "outputs",
                f"`outputs` must be among {known}. Received: {_short(output)}",
            )
    return chosen


def _check_seed(seed, needed):
    if seed is None and not needed:
        return None
    if not needed:
        raise Refused("seed", f"The parameter `seed` is for the signature `{SAMPLE}`.")
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise Refused(
            "seed",
            f"The signature `{SAMPLE}` needs the parameter `seed`, a whole number from "
            f"0 to 2147483647. Received: {_short(seed)}",
        )
    return seed


def _check_inputs(inputs, signature, max_images):
    names = [tensor.name for tensor in inputs or []]
    if sorted(names) != sorted(signature.inputs):
        raise Refused(
            "inputs",
            f"`inputs` must be {sorted(signature.inputs)}, each once. Received: "
            f"{len(names)} inputs, {_short(names)}",
        )
    arrays = {
        tensor.name: _check_tensor(tensor, *signature.inputs[tensor.name], max_images)
        for tensor in inputs
    }
    if len({len(array) for array in arrays.values()}) > 1:
        raise Refused("shape", "All inputs must hold the same number of examples.")
    return arrays


def _check_tensor(tensor, dtype, shape, max_images):
    """Returns the array of one input."""
    datatype = getattr(tensor.datatype, "value", tensor.datatype)
    if datatype != DATATYPES[dtype.name]:
        raise Refused(
            "datatype",
            f"The datatype of `{tensor.name}` must be {DATATYPES[dtype.name]}. "
            f"Received: {_short(datatype)}",
        )
    count = tensor.shape[0] if tensor.shape else 0
    if tuple(tensor.shape[1:]) != shape or count < 1:
        raise Refused(
            "shape",
            f"The shape of `{tensor.name}` must be [batch, "
            f"{', '.join(map(str, shape))}]. Received: {_short(tensor.shape)}",
        )
    if count > max_images:
        raise Refused(
            "too_many",
            f"A request must hold at most {max_images} inputs. Received: {count}",
        )
    data = getattr(tensor.data, "root", tensor.data)
    if isinstance(data, np.ndarray):  # raw contents, of the datatype
        flat = data if data.size == count * math.prod(shape) else None
    else:
        flat = _flatten(data, tuple(tensor.shape))
    if flat is None:
        raise Refused(
            "data",
            f"The data of `{tensor.name}` must be {count * math.prod(shape)} numbers, "
            "in one list or nested as the shape says.",
        )
    if not isinstance(flat, np.ndarray):
        flat = _to_array(flat, tensor.name, dtype)
    elif not np.isfinite(flat).all():
        raise _not_finite(tensor.name, dtype)
    return flat.reshape(tensor.shape)


def _flatten(data, shape):
    """Returns a flat list of the data, or None if there are not as many as that.

    Counted before NumPy sees them: what it makes of lists of lists, of different
    lengths, or of strings, may be many times as large as what came.
    """
    if not isinstance(data, list):
        return None
    nested = bool(data) and isinstance(data[0], list)
    if not nested or len(shape) < 2:
        return data if len(data) == math.prod(shape) and not nested else None
    if len(data) != shape[0]:
        return None
    parts = [_flatten(part, shape[1:]) for part in data]
    return None if None in parts else [x for part in parts for x in part]


def _to_array(flat, name, dtype):
    whole = dtype.kind in "iu"
    kinds = {int} if whole else {int, float}
    if not kinds.issuperset(map(type, flat)):
        raise Refused(
            "data", f"`{name}` must hold {'whole ' if whole else ''}numbers alone."
        )
    try:
        wide = np.array(flat, "int64" if whole else "float64")
    except OverflowError:  # a whole number of any length
        wide = np.array([np.inf])
    if whole:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        if not (least <= wide.min() and wide.max() <= most):
            raise Refused("range", f"`{name}` must hold numbers of {least} to {most}.")
        return wide.astype(dtype)
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    if not np.isfinite(array).all():
        raise _not_finite(name, dtype)
    return array


def _not_finite(name, dtype):
    return Refused("not_finite", f"`{name}` must hold finite {dtype.name} numbers.")


def _short(value):
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
