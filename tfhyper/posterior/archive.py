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
        ValueError: if the file is torn, or not one of `save` and of this kind.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no predictor at {path!r}.")
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read(_SETTINGS))
            if settings.pop("format") != _FORMATS[kind]:
                raise ValueError("another format")
            with np.load(io.BytesIO(archive.read(_DRAWS)), allow_pickle=False) as file:
                # Files of before had as many as were averaged over.
                count = settings.pop("draws", settings.get("num_draws"))
                draws = from_arrays(dict(file), count)
            models = [
                _read_model(archive, _model(i))
                for i in range(settings.get("num_models", 1))
            ]
    except Exception as error:  # zipfile, numpy, h5py, Keras: each has its own.
        raise broken(path, kind, error) from error
    return models, draws, settings


def load_model(path: str) -> keras.Model:
    """Returns the model of a `.keras` file, in Keras' safe mode, not compiled."""
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


def _read_model(archive, name):
    with tempfile.TemporaryDirectory() as temporary:
        return load_model(archive.extract(name, temporary))
