"""One file for a predictor: its models, their draws, its settings."""

import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tfhyper import keras_graph
from tfhyper.checks import (
    check_bool,
    check_integer,
    check_number,
    check_path,
    check_positive_integer,
)
from tfhyper.posterior.networks.draws import Draw, from_arrays, to_arrays
from tfhyper.posterior.tasks.foreign_scores import ScorerState
from tfhyper.posterior.tasks.rejection import check_rejection
from tfhyper.saving.arrays import read_arrays
from tfhyper.saving.json_values import MAX_BYTES, parse_json
from tfhyper.saving.models import UNSAVED, describe, read_model, warn_of_names
from tfhyper.saving.zip_files import as_file, open_zip, read_entry
from tfhyper.whole_files import whole_file

# Name of a predictor's class, its `kind` -> what the settings say of its files.
FORMATS = {
    "PosteriorPredictor": "tfhyper predictor 1",
    "DeepEnsemble": "tfhyper deep ensemble 1",
    "LaplacePredictor": "tfhyper laplace 1",
}
_DRAWS, _SETTINGS = "draws.npz", "settings.json"
# Settings that may be larger than settings are: each has a file of its own, which is
# only there if there is something to hold.
_ASIDE = {"scaling": "scaling.json", "conformal": "conformal.json"}
# Only there if there is a scorer of foreign inputs.
_SCORER, _SCORER_ARRAYS = "scorer.json", "scorer.npz"
_MAX_SETTINGS = 2**16
_MAX_DRAWS, _MAX_MODELS = 2**16, 2**8
# The most draws of a form whose one network holds them all: it has their weights as
# soon as it is made.
_MAX_INSIDE = 2**8


def save(
    path: str,
    kind: str,
    models: Iterable[keras.Model],
    num_models: int,
    draws: list[Draw],
    settings: dict,
    overwrite: bool,
    scorer: ScorerState | None = None,
) -> None:
    """Writes a predictor; the file at `path` appears when it is complete.

    Args:
        path: where to.
        kind: name of the predictor's class, a key of `FORMATS`.
        models: its models, taken one at a time.
        num_models: how many there are.
        draws: those of all models.
        settings: names to JSON values.
        overwrite: bool, replace a file that is there.
        scorer: the state of its scorer of foreign inputs, or `None`.

    Raises:
        FileExistsError: if there is a file and `overwrite` is not set.
        ValueError: for more draws or models than a file may hold, or a model that
            would come back as another one.
    """
    path = check_path("path", path)
    check_bool("overwrite", overwrite)
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(
            f"`path` must be free, or give overwrite=True. Received: path={path!r}"
        )
    counts = {"draws": len(draws), "num_models": num_models}
    aside = {name: x for name in _ASIDE if holds(x := settings[name])}
    settings = {name: x for name, x in settings.items() if name not in aside}
    if settings.get("conformal") is None:  # versions of before do not know it
        settings.pop("conformal", None)
    settings = {"format": FORMATS[kind], **counts, **settings}
    text = json.dumps(settings, indent=2)
    _check_settings(json.loads(text), kind)  # what is written can be read
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        with (
            whole_file(os.fspath(path), temporary) as whole,
            zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive,
        ):
            for i, model in enumerate(models):
                model_path = os.path.join(temporary, _model(i))
                keras_graph.check_saves(model)
                model.save(model_path)
                warn_of_names(model_path)
                archive.write(model_path, _model(i))
                os.remove(model_path)
            _write_arrays(archive, _DRAWS, to_arrays(draws))
            archive.writestr(_SETTINGS, text)
            for name, value in aside.items():
                archive.writestr(_ASIDE[name], json.dumps(value))
            if scorer is not None:
                about, fitted = scorer
                archive.writestr(_SCORER, json.dumps(about))
                _write_arrays(archive, _SCORER_ARRAYS, fitted)


def load(
    path: str, kind: str
) -> tuple[list[keras.Model], list[Draw], dict, ScorerState | None]:
    """Reads what `save` wrote; nothing in the file is run or unpickled.

    Returns:
        Models, draws, settings, and the state of a scorer, or `None`.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is torn, or not one of `save` and of this kind; if it
            holds code, names that lead out of it, or less than it declares; or if its
            draws are not finite numbers or its settings of another type.
    """
    path = check_path("path", path)
    if not os.path.exists(path):
        raise FileNotFoundError(
            "`path` must be a file that `PosteriorPredictor.save` or "
            f"`DeepEnsemble.save` wrote. Received: path={path!r}, where there is none"
        )
    try:
        with open_zip(path) as archive:
            text = read_entry(archive, _SETTINGS, _MAX_SETTINGS)
            settings = parse_json(text, _SETTINGS)
            count, num_models = _check_settings(settings, kind)
            _check_names(archive, num_models)
            for name, file_name in _ASIDE.items():
                if file_name in archive.namelist():
                    text = read_entry(archive, file_name, MAX_BYTES)
                    settings[name] = parse_json(text, file_name)
            with as_file(archive, _DRAWS) as file:
                draws = from_arrays(read_arrays(file), count)
            scorer = None
            if _SCORER in archive.namelist():
                text = read_entry(archive, _SCORER, MAX_BYTES)
                with as_file(archive, _SCORER_ARRAYS) as file:
                    scorer = parse_json(text, _SCORER), read_arrays(file)
            models = [
                _read_model(archive, _model(i), UNSAVED // num_models)
                for i in range(num_models)
            ]
    except Exception as error:  # zipfile, numpy, h5py, Keras: each has its own.
        raise broken(path, kind, error) from error
    return models, draws, settings, scorer


def broken(path: str, kind: str, error: Exception) -> ValueError:
    """Returns the error that says a file is none of `save`, and why."""
    return ValueError(
        f"`path` must be a whole file written by {kind}.save. "
        f"Received: path={os.fspath(path)!r} ({describe(error)})"
    )


def _write_arrays(
    archive: zipfile.ZipFile, name: str, arrays: Mapping[str, np.ndarray]
) -> None:
    packed = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(packed, **named)
    archive.writestr(name, packed.getvalue())


def _model(index: int) -> str:
    """Returns the name of a model in the file: model.keras, model1.keras ..."""
    return f"model{index or ''}.keras"


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` must be a string. Received: {name}={value!r:.80}")


def holds(value: Any) -> bool:
    """Whether a setting is something to hold, or there is for one of the outputs."""
    return bool(value) and any(x is not None for x in value.values())


def _aside(name: str, value: Any) -> None:
    if value is not None and (not isinstance(value, dict) or holds(value)):
        raise ValueError(f"`{name}` has a file of its own. Received: {value!r:.80}")


def _config(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"`{name}` must be a config. Received: {name}={value!r:.80}")


def _numbers(name: str, value: Any) -> None:
    for number in value if isinstance(value, list) else [value]:
        check_number(name, number)


def _each(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """Returns a check of one value, or of the values of several outputs."""

    def of_each(name: str, value: Any) -> None:
        for one in value.values() if isinstance(value, dict) else [value]:
            check(name, one)

    return of_each


def _optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else check(name, value)


# Name of a setting -> what raises ValueError unless a value is of its type. Whether
# it is one that the classes take, they say.
_CHECKS = {
    "augment": _optional(_config),
    "averaging": _text,
    "batch_norm": _text,
    "batch_size": _optional(check_positive_integer),
    "conformal": _aside,
    "covariance": _text,
    "deterministic": check_bool,
    "draws": lambda name, value: check_integer(name, value, 1, _MAX_DRAWS),
    "draws_per_member": lambda name, value: check_integer(name, value, 1, _MAX_DRAWS),
    "dropout": _optional(_text),
    "format": _text,
    "ignore_class": _each(
        _optional(lambda name, value: check_integer(name, value, -(2**31), 2**31 - 1))
    ),
    "link": _each(_text),
    "noise_variance": _each(_numbers),
    "num_draws": lambda name, value: check_integer(name, value, 1, _MAX_DRAWS),
    "num_models": lambda name, value: check_integer(name, value, 1, _MAX_MODELS),
    "outputs": _each(_optional(_text)),
    "predictive": _text,
    "rejection": lambda _, value: check_rejection(value),
    "scaling": _aside,
    "seed": lambda name, value: check_integer(name, value, 0, 2**31 - 1),
}


def _check_settings(settings: Any, kind: str) -> tuple[int, int]:
    """Returns how many draws and models there are; leaves the class's arguments."""
    if not isinstance(settings, dict):
        raise ValueError(f"{_SETTINGS} is not a JSON object")
    for name, value in settings.items():
        if name not in _CHECKS:
            raise ValueError(f"{_SETTINGS} has the unknown setting {name!r:.80}")
        _CHECKS[name](name, value)
    if settings.pop("format", None) != FORMATS[kind]:
        raise ValueError("it is of another format")
    # Files of before had as many as were averaged over.
    count = settings.pop("draws", settings.get("num_draws"))
    if count is None:
        raise ValueError(f"{_SETTINGS} does not count its draws")
    if settings.get("averaging", "branching") != "branching":
        check_integer("num_draws", settings.get("num_draws", 1), 1, _MAX_INSIDE)
    # Files of before leave out that there is one.
    return count, settings.pop("num_models", 1)


def _check_names(archive: zipfile.ZipFile, num_models: int) -> None:
    known = {_DRAWS, _SETTINGS, *_ASIDE.values(), _SCORER, _SCORER_ARRAYS}
    known.update(map(_model, range(num_models)))
    unknown = [name for name in archive.namelist() if name not in known]
    if unknown:
        raise ValueError(f"it has {unknown[0]!r}, which is none of its files")


def _read_model(archive: zipfile.ZipFile, name: str, unsaved: int) -> keras.Model:
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, _model(0))
        with as_file(archive, name) as packed, open(path, "wb") as file:
            shutil.copyfileobj(packed, file, 2**20)
        return read_model(path, unsaved=unsaved)
