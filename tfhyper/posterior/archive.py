"""One file for a predictor: its model, its draws, its settings."""

import io
import json
import os
import tempfile
import zipfile

import keras
import numpy as np

from tfhyper.posterior.draws import Draw, from_arrays, to_arrays

_FORMAT = "tfhyper predictor 1"
_MODEL, _DRAWS, _SETTINGS = "model.keras", "draws.npz", "settings.json"


def save(
    path: str, model: keras.Model, draws: list[Draw], settings: dict, overwrite: bool
) -> None:
    """Writes a predictor; the file at `path` appears when it is complete.

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
        model_path = os.path.join(temporary, _MODEL)
        model.save(model_path)
        arrays = io.BytesIO()
        np.savez(arrays, **to_arrays(draws))
        whole = os.path.join(temporary, "predictor")
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
            archive.write(model_path, _MODEL)
            archive.writestr(_DRAWS, arrays.getvalue())
            archive.writestr(
                _SETTINGS, json.dumps({"format": _FORMAT, **settings}, indent=2)
            )
        os.replace(whole, path)


def load(path: str) -> tuple[keras.Model, list[Draw], dict]:
    """Reads what `save` wrote; the model in Keras' safe mode, nothing unpickled.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is torn, or not one of `save`.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no predictor at {path!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read(_SETTINGS))
            if settings.pop("format") != _FORMAT:
                raise ValueError("another format")
            with np.load(io.BytesIO(archive.read(_DRAWS)), allow_pickle=False) as file:
                draws = from_arrays(dict(file), settings["num_draws"])
            model_bytes = archive.read(_MODEL)
        with tempfile.TemporaryDirectory() as temporary:
            model_path = os.path.join(temporary, _MODEL)
            with open(model_path, "wb") as file:
                file.write(model_bytes)
            model = keras.saving.load_model(model_path, compile=False, safe_mode=True)
    except Exception as error:  # zipfile, numpy, h5py, Keras: each has its own.
        raise broken(path, error) from error
    return model, draws, settings


def broken(path: str, error: Exception) -> ValueError:
    """Returns the error that says a file is none of `save`, and why."""
    return ValueError(
        "`path` must be a whole file written by PosteriorPredictor.save. "
        f"Received: path={os.fspath(path)!r} ({type(error).__name__}: {error})"
    )
