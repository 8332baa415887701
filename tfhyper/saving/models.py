"""Keras models from files that anybody may have made."""

import copy
import functools
import math
import os
import re
import threading
import warnings
import zipfile
from collections.abc import Iterable
from typing import Any

import keras

from tfhyper import keras_private
from tfhyper.saving.configs import check_config
from tfhyper.saving.json_values import parse_json
from tfhyper.saving.weights import stored_bytes
from tfhyper.saving.zip_files import as_file, open_zip, read_entry

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_ASSETS = "assets/"
_MAX_CONFIG, _MAX_CONFIG_VALUES = 2**22, 2**18
# Bytes of variables that may be made without bytes in the file: states of seeds, and
# what a layer does not save.
UNSAVED = 2**26
# A line of a vocabulary takes some 250 bytes when it is read.
_MAX_LINES, _BYTES_A_LINE = 2**18, 128


def load_model(path: str | os.PathLike, *, compile: bool = False) -> keras.Model:
    """Returns the model of a `.keras` file, which runs nothing of the file.

    It is `keras.saving.load_model` in safe mode, after a look into the file:
    whatever Keras' version, and also after
    `keras.config.enable_unsafe_deserialization()`.

    The configuration may name Keras' own layers, operations, initializers and the
    like; Keras' functions of tensors; and what is registered by
    `keras.saving.register_keras_serializable` or in a
    `keras.saving.CustomObjectScope`. It may not name `Lambda` layers, Python
    functions of the file, layers that wrap code of a backend, nor other files.

    The shapes of weights are compared with the bytes that are there, and the
    network's with the weights', before anything is allocated: reading the file takes
    no more memory than twice its size and 200 MB.

    Args:
        path: the file, as `model.save` writes it.
        compile: bool, give the model its optimizer, loss and metrics too.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is torn, not such a file, or names what it must not; the
            message says what.

    Example:

    >>> model.save("base.keras")
    >>> tfhyper.saving.load_model("base.keras").output_shape
    (None, 10)
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no model at {path!r}.")
    try:
        return read_model(path, compile)
    except Exception as error:  # zipfile, h5py, Keras: each has its own.
        raise ValueError(
            "`path` must be a .keras file of a model that holds no code. "
            f"Received: path={path!r} ({describe(error)})"
        ) from error


def describe(error: Exception) -> str:
    """Returns an error of a reader in a line: Keras' repeat the file's content."""
    return f"{type(error).__name__}: {str(error):.1000}"


def read_model(path: str, compile: bool = False, unsaved: int = UNSAVED) -> keras.Model:
    """Returns the model of a `.keras` file, as `load_model` does.

    Args:
        path: the file.
        compile: bool, give the model its optimizer, loss and metrics too.
        unsaved: int, bytes of variables that need not be in the file.

    Raises:
        ValueError: saying what is wrong, not where. Others of Keras, for what is no
            model.
    """
    if not path.endswith(".keras"):
        raise ValueError("other formats of Keras have no safe mode")
    with open_zip(path) as archive:
        config = _read_config(archive)
        _check_assets(archive, os.path.getsize(path))
        with as_file(archive, _WEIGHTS) as file:
            stored = stored_bytes(file)
    with keras_private.deep_graphs():
        _check_sizes(config, stored, compile, unsaved)
        return keras.saving.load_model(path, compile=compile, safe_mode=True)


def warn_of_names(path: str) -> None:
    """Warns of a `.keras` file that was written, if `read_model` refuses its names.

    Args:
        path: the file.
    """
    with open_zip(path) as archive:
        try:
            _read_config(archive)
        except ValueError as error:
            warnings.warn(
                "The model that was written cannot be read as it is. Register its "
                "classes and functions, or load it within a "
                f"`keras.saving.CustomObjectScope` that has them: {error}",
                stacklevel=4,
            )


def _read_config(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Returns the configuration, checked."""
    text = read_entry(archive, _CONFIG, _MAX_CONFIG)
    config = parse_json(text, _CONFIG, _MAX_CONFIG_VALUES, _MAX_CONFIG)
    check_config(config)
    return config


def _check_assets(archive: zipfile.ZipFile, size: int) -> None:
    limit = max(_MAX_LINES, size // _BYTES_A_LINE)
    for entry in archive.infolist():
        name = entry.filename
        if name in (_CONFIG, _METADATA, _WEIGHTS) or name.endswith("/"):
            continue
        if not name.startswith(_ASSETS):
            raise ValueError(f"it has {name!r}, which is not a model's")
        with archive.open(entry) as file:
            while block := file.read(2**20):
                limit -= block.count(b"\n")
        if limit < 0:
            raise ValueError(f"{name!r} has more lines than a vocabulary")


def _check_sizes(
    config: dict[str, Any], stored: int, compile: bool, unsaved: int
) -> None:
    """Raises ValueError if the network's variables are more than the weights."""
    compiled = (config.get("compile_config") or {}) if compile else {}
    needed, trained = _variable_bytes(config, compiled)
    if compiled.get("optimizer") is not None:
        needed += math.ceil(trained * _slots(compiled["optimizer"]))
    if needed > stored + unsaved:
        raise ValueError(
            f"its configuration makes variables of {needed} bytes, and its weights "
            f"have {stored}"
        )


def _variable_bytes(
    config: dict[str, Any], compiled: dict[str, Any]
) -> tuple[int, int]:
    """Returns the bytes of all and of the trainable variables; makes none of them."""
    config, custom = _parts(config)
    metrics, custom_metrics = _parts(_metrics(compiled))
    results: list[tuple[int, int] | Exception] = []

    def make(part: Any) -> Any:
        return keras.saving.deserialize_keras_object(
            part, custom_objects={**custom, **custom_metrics}, safe_mode=True
        )

    def build() -> None:
        try:
            # Variables that are made here have shapes and no values.
            with keras.StatelessScope(initialize_variables=False):
                model = make(config)
                measured = [x for metric in make(metrics) for x in metric.variables]
            found = [*model.variables, *measured]
            results.append((_total(found), _total(model.trainable_variables)))
        except Exception as error:
            results.append(error)

    # Keras keeps lists of what to initialize, and of names, for each thread: what is
    # made here is forgotten as it ends.
    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result


def _metrics(compiled: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the configurations of all metrics of a compiled model."""
    found, waiting = [], [compiled.get("metrics"), compiled.get("weighted_metrics")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict) and value.get("class_name") == "function":
            continue
        elif isinstance(value, dict) and "class_name" in value:
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
    return found


def _parts(config: Any) -> tuple[Any, dict[str, Any]]:
    """Returns a copy without optimizers, and what is registered of what it names."""
    custom = {}

    def copied(value: Any) -> Any:
        if isinstance(value, list):
            return [copied(item) for item in value]
        if not isinstance(value, dict):
            return value
        for name in (value.get("registered_name"), value.get("config")):
            if isinstance(name, str):
                found = keras.saving.get_registered_object(name)
                custom.update({} if found is None else {name: found})
        kept = {key: item for key, item in value.items() if key != "compile_config"}
        return {key: copied(item) for key, item in kept.items()}

    return copied(config), custom


def _total(variables: Iterable[keras.Variable]) -> int:
    return sum(
        math.prod(variable.shape) * _item_size(variable.dtype) for variable in variables
    )


def _item_size(dtype: str) -> int:
    bits = re.search(r"\d+", dtype)  # "bool" has none
    return -(-int(bits[0]) // 8) if bits else 1


@functools.singledispatch
def trial_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns a few small variables that an optimizer can be built for.

    What it keeps for them says how much it keeps for others. Optimizers of certain
    variables alone register what they take.
    """
    return [keras.Variable("zeros", shape=(8, 8))]


def _slots(config: dict[str, Any]) -> float:
    """Returns how many numbers an optimizer keeps for each that it trains."""
    optimizer = keras.optimizers.get(copy.deepcopy(config))
    known = {id(variable) for variable in optimizer.variables}
    variables = trial_variables(getattr(optimizer, "inner_optimizer", optimizer))
    optimizer.build(variables)
    added = [x for x in optimizer.variables if id(x) not in known]
    return _total(added) / _total(variables)
