"""What a file holds, read without running, unpickling or loading any of it.

The readers are those of `tfhyper.saving`: they compare what a file declares with what
is there. No Keras is imported, and no class is looked up.
"""

import collections
import os
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from tfhyper.saving.arrays import read_shapes
from tfhyper.saving.json_values import MAX_BYTES, parse_json
from tfhyper.saving.weights import stored_weights
from tfhyper.saving.zip_files import as_file, open_zip, read_entry

# What the readers of files raise for those that are none.
_BROKEN = (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, KeyError)
# Beside its program: what `tfhyper.export` says of a SavedModel, and its most bytes.
_ASSET = os.path.join("assets", "tfhyper.json")
# Where a configuration holds other layers.
_NESTED = ("layers", "layer", "model", "forward_layer", "backward_layer", "cell")


def describe(path: str) -> dict[str, Any]:
    """Returns what a file holds, as JSON values.

    Args:
        path: a .tfhyper file, a .keras file, or the folder of a SavedModel.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: if it is none of these, or torn.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {path!r}.")
    try:
        if os.path.isdir(path):
            found = _saved_model(path)
        else:
            found = _archive(path)
    except _BROKEN as error:
        raise ValueError(
            "FILE must be a whole .tfhyper file, .keras file or folder of a "
            f"SavedModel. Received: {path!r} ({str(error):.1000})"
        ) from error
    return {"file": path, **found}


def _archive(path: str) -> dict[str, Any]:
    with open_zip(path) as archive:
        names = set(archive.namelist())
        size = {"bytes": os.path.getsize(path)}
        if {"settings.json", "draws.npz"} <= names:
            return {**size, **_predictor(archive)}
        if "config.json" in names:
            return {"kind": "Keras model", **size, **_model(archive)}
    raise ValueError("it is a zip file of something else")


def _predictor(archive: zipfile.ZipFile) -> dict[str, Any]:
    settings = _json(archive, "settings.json")
    form = settings.pop("format", None)
    if not isinstance(form, str) or not form.startswith("tfhyper "):
        raise ValueError("settings.json names no format of tfhyper")
    if "scaling.json" in archive.namelist():
        settings["scaling"] = _scaling(_json(archive, "scaling.json"))
    if "scorer.json" in archive.namelist():
        settings["scorer"] = str(_json(archive, "scorer.json").get("scorer"))[:80]
    with as_file(archive, "draws.npz") as file:
        shapes = read_shapes(file)
    models = sorted(name for name in archive.namelist() if name.endswith(".keras"))
    found = []
    for name in models:
        with as_file(archive, name) as file, open_zip(file) as inner:
            found.append(_model(inner))
    return {
        "kind": form,
        "task": settings.pop("outputs", None),
        "draws": _draws(settings.pop("draws", settings.get("num_draws")), shapes),
        "settings": settings,
        "models": found,
    }


def _scaling(found: Any) -> Any:
    """Returns the method of a scaling, of several outputs by their names."""
    if not isinstance(found, dict):
        return None
    if not isinstance(found.get("method"), str):
        return {name: _scaling(of_output) for name, of_output in found.items()}
    where = "per draw" if found.get("per_draw") is True else "pooled"
    return f"{found['method']:.80}, {where}"


def _draws(count: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Returns how many draws there are, and what is in the first of them."""
    first = {
        name.partition("/")[2]: x for name, x in shapes.items() if name[:2] == "0/"
    }
    noise = {
        name.removeprefix("noise/"): list(shape)
        for name, shape in first.items()
        if name.startswith("noise/")
    }
    moments = [name for name in first if name.startswith("mean/")]
    return {"count": count, "noise": noise, "batch_norm_moments": len(moments)}


def _model(archive: zipfile.ZipFile) -> dict[str, Any]:
    config = _json(archive, "config.json")
    about = _json(archive, "metadata.json")
    with as_file(archive, "model.weights.h5") as file:
        weights = stored_weights(file)
    kept = [
        (shape, dtype)
        for name, (shape, dtype) in weights.items()
        # Neither what optimizers keep nor the states of seeds.
        if not name.startswith("/optimizer") and dtype.kind in "fcV"
    ]
    kinds = collections.Counter(_class_of(layer) for layer in _layers(config))
    inner = _config_of(config)
    return {
        "name": inner.get("name"),
        "class": _class_of(config),
        "keras": about.get("keras_version"),
        "saved": about.get("date_saved"),
        "posterior": [kind for kind in kinds if kind.startswith("tfhyper>")],
        "inputs": {
            _config_of(layer).get("name"): _config_of(layer).get("batch_shape")
            for layer in _layers(config)
            if layer["class_name"] == "InputLayer"
        },
        "parameters": sum(_product(shape) for shape, _ in kept),
        "dtypes": sorted({str(dtype) for _, dtype in kept}),
        "layers": dict(sorted(kinds.items())),
        "compiled": config.get("compile_config") is not None,
    }


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    value = parse_json(read_entry(archive, name, MAX_BYTES), name)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """Yields the configurations of the layers inside of one, those inside of it too."""
    inner = _config_of(config)
    for key in _NESTED:
        held = inner.get(key)
        for value in held if isinstance(held, list) else [held]:
            if isinstance(value, dict) and isinstance(value.get("class_name"), str):
                yield value
                yield from _layers(value)


def _config_of(config: dict[str, Any]) -> dict[str, Any]:
    inner = config.get("config")
    return inner if isinstance(inner, dict) else {}


def _class_of(config: dict[str, Any]) -> str:
    name = config.get("registered_name") or config.get("class_name")
    return name if isinstance(name, str) else "?"


def _product(shape: tuple[int, ...]) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


def _saved_model(path: str) -> dict[str, Any]:
    program = os.path.join(path, "saved_model.pb")
    if not os.path.isfile(program):
        raise ValueError("the folder has no saved_model.pb")
    sizes = {
        os.path.relpath(os.path.join(folder, file), path): os.path.getsize(
            os.path.join(folder, file)
        )
        for folder, _, files in os.walk(path)
        for file in sorted(files)
    }
    found: dict[str, Any] = {
        "kind": "SavedModel",
        "bytes": sum(sizes.values()),
        "program_bytes": sizes["saved_model.pb"],
    }
    asset = os.path.join(path, _ASSET)
    if os.path.isfile(asset):
        with open(asset, "rb") as file:
            found |= _exported(file)
    else:
        found["signatures"] = _signatures(program)
    return found


def _exported(file: IO[bytes]) -> dict[str, Any]:
    about = parse_json(file.read(MAX_BYTES + 1), _ASSET)
    if not isinstance(about, dict):
        raise ValueError(f"{_ASSET} is not a JSON object")
    settings = about.pop("settings", None) or {}
    return {
        "posterior": {
            name: about.pop(name, None)
            for name in ("predictor", "model", "num_draws", "form")
        },
        "task": settings.get("outputs"),
        **about,
    }


def _signatures(program: str) -> dict[str, Any]:
    """Returns what a SavedModel of another program takes and gives.

    Its protocol buffer is parsed and nothing of its graph is made: TensorFlow is
    imported, and does not load it.
    """
    try:
        from tensorflow.core.protobuf import saved_model_pb2
    except ImportError:
        return {"unknown": "no tfhyper wrote it, and TensorFlow is not installed"}
    from google.protobuf.message import DecodeError

    parsed = saved_model_pb2.SavedModel()
    try:
        with open(program, "rb") as file:
            parsed.ParseFromString(file.read())
    except DecodeError as error:
        raise ValueError(f"saved_model.pb is torn: {error}") from error
    return {
        name: {
            kind: {
                key: [size.size for size in tensor.tensor_shape.dim]
                for key, tensor in sorted(tensors.items())
            }
            for kind, tensors in (
                ("inputs", signature.inputs),
                ("outputs", signature.outputs),
            )
        }
        for graph in parsed.meta_graphs
        for name, signature in sorted(graph.signature_def.items())
        if not name.startswith("__")
    }
