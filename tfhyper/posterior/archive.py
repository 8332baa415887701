"""One file for a predictor: its models, their draws, its settings."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterable

import keras
import numpy as np

from tfhyper.posterior.draws import Draw, from_arrays, to_arrays

# Name of the class -> what the settings say of its files.
_FORMATS = {
    "PosteriorPredictor": "tfhyper predictor 1",
    "DeepEnsemble": "tfhyper deep ensemble 1",
}
_DRAWS, _SETTINGS = "draws.npz", "settings.json"
# What may be unpacked, in sizes of what is packed: `save` and Keras do not compress.
# Less than the latter number of bytes is never too much.
_UNPACKED, _SMALL = 20, 2**20
_MAX_DRAWS = 2**16


def save(
    path: str,
    kind: str,
    models: Iterable[keras.Model],
    draws: list[Draw],
    settings: dict,
    overwrite: bool,
) -> None:
    """Writes a predictor; the file at `path` appears when it is complete.

    Args:
        path: where to.
        kind: name of the predictor's class, a key of `_FORMATS`.
        models: its models, taken one at a time.
        draws: those of all models.
        settings: names to JSON values; `num_models` among them counts the models,
            1 if it is left out.
        overwrite: bool, replace a file that is there.

    Raises:
        FileExistsError: if there is a file and `overwrite` is not set.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(
            f"`path` must be free, or give overwrite=True. Received: path={path!r}"
        )
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        whole = os.path.join(temporary, "predictor")
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
            for i, model in enumerate(models):
                model_path = os.path.join(temporary, _model(i))
                model.save(model_path)
                archive.write(model_path, _model(i))
                os.remove(model_path)
            arrays = io.BytesIO()
            np.savez(arrays, **to_arrays(draws))
            archive.writestr(_DRAWS, arrays.getvalue())
            head = {"format": _FORMATS[kind], "draws": len(draws)}
            settings = {**head, **settings}
            archive.writestr(_SETTINGS, json.dumps(settings, indent=2))
        os.replace(whole, path)


def load(path: str, kind: str) -> tuple[list[keras.Model], list[Draw], dict]:
    """Reads what `save` wrote; models in Keras' safe mode, nothing unpickled.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is torn, or not one of `save` and of this kind, unpacks
            to many times its size, or its draws are not finite numbers.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no predictor at {path!r}.")
    try:
        _check_unpacked(path)
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read(_SETTINGS))
            if settings.pop("format") != _FORMATS[kind]:
                raise ValueError("another format")
            # Files of before had as many as were averaged over.
            count = settings.pop("draws", settings.get("num_draws"))
            num_models = settings.get("num_models", 1)
            if not 0 < count <= _MAX_DRAWS or num_models < 1:
                raise ValueError(f"{count} draws of {num_models} models")
            draws = from_arrays(_read_arrays(archive.read(_DRAWS)), count)
            models = [_read_model(archive, _model(i)) for i in range(num_models)]
    except Exception as error:  # zipfile, numpy, h5py, Keras: each has its own.
        raise broken(path, kind, error) from error
    return models, draws, settings


def load_model(path: str) -> keras.Model:
    """Returns the model of a `.keras` file, in Keras' safe mode, not compiled.

    Raises:
        ValueError: if it is no such file, holds code, or unpacks to many times its
            size. Others of zipfile, h5py and Keras if it is torn.
    """
    _check_unpacked(path)  # and thus a zip file: not HDF5, whose loader is another
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def broken(path: str, kind: str, error: Exception) -> ValueError:
    """Returns the error that says a file is none of `save`, and why."""
    return ValueError(
        f"`path` must be a whole file written by {kind}.save. "
        f"Received: path={os.fspath(path)!r} ({type(error).__name__}: {error})"
    )


def _model(index):
    """Returns the name of a model in the file: model.keras, model1.keras ..."""
    return f"model{index or ''}.keras"


def _check_unpacked(path):
    """Raises ValueError for a zip file, or its bytes, that would fill the memory."""
    size = len(path) if isinstance(path, bytes) else os.path.getsize(path)
    with zipfile.ZipFile(io.BytesIO(path) if isinstance(path, bytes) else path) as file:
        for info in file.infolist():
            packed = min(info.compress_size, size)  # it may say anything
            if info.file_size > max(_UNPACKED * packed, _SMALL):
                raise ValueError(
                    f"{info.filename} would unpack from {packed} to {info.file_size} "
                    "bytes"
                )


def _read_arrays(content):
    """Returns the arrays of a npz file, of finite numbers."""
    _check_unpacked(content)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    return arrays


def _read_model(archive, name):
    with tempfile.TemporaryDirectory() as temporary:
        return load_model(archive.extract(name, temporary))
