"""Answers the Open Inference Protocol with a SavedModel, as a server would."""

import json
import math
import pathlib
import sys
import threading
import urllib.parse

# The server's own, which needs nothing but the standard library.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from bounds import Limits, Room, json_excess  # noqa: E402, F401

MOST_IMAGES = 64  # of a request
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int64": "INT64",
    "float32": "FP32",
}


class Refused(Exception):
    """A request that gets an error: its status and what is wrong, in words."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def _check_operations(path):
    """Raises ValueError if a SavedModel does more than compute."""
    # Not at the top: it needs TensorFlow's protobufs.
    from operations import check_operations

    try:
        check_operations(path)
    except Exception as error:  # protobuf has its own
        raise ValueError(
            "--saved_model must hold a SavedModel that computes and does nothing "
            f"else: {error}. Received: --saved_model={path}"
        ) from error


class LocalModel:
    """Answers with a SavedModel, as a server would.

    Args:
        path: its folder. The model's name is its last part, or the one before if
            that is a version: "fashion" of "models/fashion/1".
    """

    def __init__(self, path: str):
        # Not at the top: a page before another server needs no TensorFlow.
        import numpy as np
        import tensorflow as tf

        if not tf.saved_model.contains_saved_model(path):
            raise ValueError(
                f"--saved_model must hold a SavedModel. Received: --saved_model={path}"
            )
        self._np, self._tf = np, tf
        _check_operations(path)
        folder = pathlib.Path(path).resolve()
        self.name = folder.parent.name if folder.name.isdigit() else folder.name
        # Signatures do not keep their variables: the object that has them must stay.
        self._loaded = tf.saved_model.load(str(folder))
        signatures = self._loaded.signatures
        missing = {"serving_default", "members"} - set(signatures)
        if missing:
            raise ValueError(
                "--saved_model must have the signatures of a classifier that "
                f"tfhyper exports: {sorted(missing)} are missing"
            )
        self._functions = [signatures["serving_default"], signatures["members"]]
        self._inputs = self._functions[0].structured_input_signature[1]
        self._outputs = {
            name: (function, spec)
            for function in self._functions
            for name, spec in function.structured_outputs.items()
        }
        names, self._description = [], "{}"
        if "metadata" in signatures:
            found = signatures["metadata"]()
            names = found["class_names"].numpy().tolist()
            self._description = found["metadata"].numpy().decode()
        self._class_names = [name.decode() for name in names]
        # A request that is parsed is many times as large: one at a time.
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Returns status and JSON; raises Refused for a bad request."""
        if path == "/v2/repository/index":
            found = [{"name": self.name, "state": "READY", "reason": ""}]
        elif path.startswith("/v2/health/"):
            found = {}
        else:
            name, _, action = path.removeprefix("/v2/models/").partition("/")
            if urllib.parse.unquote(name) != self.name:
                raise Refused(404, f"There is no model {short(name)} here.")
            if action == "infer":
                with self._lock:
                    found = self._infer(body)
            else:
                found = self._metadata() if not action else {"ready": True}
        return 200, json.dumps(found).encode()

    def _metadata(self):
        return {
            "name": self.name,
            "platform": "tensorflow_savedmodel",
            "inputs": [_describe(*entry) for entry in self._inputs.items()],
            "outputs": [_describe(n, spec) for n, (_, spec) in self._outputs.items()],
            "parameters": {
                "class_names": self._class_names or None,
                "description": self._description,
            },
        }

    def _infer(self, body):
        request = _read_json(body)
        inputs = request.get("inputs")
        if not isinstance(inputs, list) or not all(isinstance(i, dict) for i in inputs):
            raise Refused(400, "`inputs` must be a list of tensors.")
        given = {str(entry.get("name")): entry for entry in inputs}
        if set(given) != set(self._inputs) or len(given) != len(inputs):
            raise Refused(
                400,
                f"`inputs` must be {sorted(self._inputs)}, each once. Received: "
                f"{len(inputs)} inputs, {short(list(given))}",
            )
        tensors = {
            name: self._tf.constant(self._read(given[name], name, spec))
            for name, spec in self._inputs.items()
        }
        outputs = request.get("outputs")
        if not outputs:
            wanted = list(self._functions[0].structured_outputs)
        else:
            try:
                wanted = [str(entry["name"]) for entry in outputs]
            except (TypeError, KeyError) as error:
                raise Refused(
                    400, "`outputs` must be a list of objects with names."
                ) from error
        unknown = set(wanted) - set(self._outputs)
        if unknown:
            raise Refused(
                400,
                f"`outputs` must be among {sorted(self._outputs)}. Received: "
                f"{short(sorted(unknown))}",
            )
        found = {}
        for function in self._functions:
            if set(wanted) & set(function.structured_outputs):
                found.update(function(**tensors))
        values = [(name, found[name].numpy()) for name in wanted]
        return {
            "model_name": self.name,
            "outputs": [
                {
                    "name": name,
                    "datatype": DATATYPES[value.dtype.name],
                    "shape": list(value.shape),
                    "data": value.ravel().tolist(),
                }
                for name, value in values
            ],
        }

    def _read(self, entry, name, spec):
        datatype = DATATYPES[spec.dtype.name]
        if entry.get("datatype") != datatype:
            raise Refused(
                400,
                f"The datatype of `{name}` must be {datatype}. Received: "
                f"{short(entry.get('datatype'))}",
            )
        shape, expected = entry.get("shape"), spec.shape.as_list()
        fits = (
            isinstance(shape, list)
            and len(shape) == len(expected)
            and all(type(size) is int and size > 0 for size in shape)
            and all(e in (None, size) for e, size in zip(expected, shape))
        )
        if not fits:
            raise Refused(
                400,
                f"The shape of `{name}` must be [batch, "
                f"{', '.join(map(str, expected[1:]))}]. Received: {short(shape)}",
            )
        if shape[0] > MOST_IMAGES:
            raise Refused(
                400,
                f"A request must hold at most {MOST_IMAGES} inputs. "
                f"Received: {shape[0]}",
            )
        try:
            array = self._np.asarray(entry.get("data"), "float64").ravel()
        except (TypeError, ValueError, OverflowError) as error:
            raise Refused(400, f"`{name}` must hold numbers alone.") from error
        if array.size != math.prod(shape):
            raise Refused(
                400,
                f"The data of `{name}` must be {math.prod(shape)} numbers. "
                f"Received: {array.size}",
            )
        if not self._np.isfinite(array).all():
            raise Refused(400, f"`{name}` must hold finite numbers.")
        if datatype == "UINT8" and not (self._np.uint8(array % 256) == array).all():
            raise Refused(400, f"`{name}` must hold whole numbers of 0 to 255.")
        return array.reshape(shape).astype(spec.dtype.as_numpy_dtype)


def _describe(name, spec):
    shape = [-1 if size is None else size for size in spec.shape.as_list()]
    return {"name": name, "datatype": DATATYPES[spec.dtype.name], "shape": shape}


def short(value) -> str:
    """Returns what came, for a message, not the whole of it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _read_json(body):
    excess = json_excess(body, Limits())
    if excess:
        raise Refused(413, excess)
    try:
        # Given bytes, it would guess the encoding.
        request = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body must be JSON. Received: {error}") from error
    if not isinstance(request, dict):
        raise Refused(400, "The body must be a JSON object.")
    return request
