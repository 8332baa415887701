"""What an exported model says of itself: JSON that any reader understands."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfhyper.posterior.tasks.task import Task
from tfhyper.version import __version__

if TYPE_CHECKING:
    from tfhyper.export.functions import EnsembleFunction
    from tfhyper.export.preprocessing import Preprocessing
    from tfhyper.posterior.base_predictor import BasePredictor

FORMAT = "tfhyper export 1"
# Its name among the file's assets.
ASSET = "tfhyper.json"


def check_class_names(
    names: Sequence[str] | None, task: Task, classes: int
) -> list[str] | None:
    """Returns the names as a list.

    Args:
        names: names of the classes, or `None`.
        task: the predictor's.
        classes: how many there are.

    Raises:
        TypeError: if they are no sequence of strings.
        ValueError: if they are not one for each class, or of a regression.
    """
    if names is None:
        return None
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(name, str) for name in names)
    ):
        raise TypeError(
            "`class_names` must be a sequence of strings. "
            f"Received: class_names={names!r}"
        )
    if not task.decides:
        raise ValueError(
            "`class_names` are for classifiers. "
            f'Received: a predictor with "{task.name}"'
        )
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must hold one name for each of {classes} classes. "
            f"Received: class_names={list(names)!r}"
        )
    return list(names)


def check_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the user's own entries as a dict.

    Raises:
        TypeError: if they are no mapping of strings to JSON values.
        ValueError: for numbers that are not finite, which JSON has not.
    """
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, Mapping) or not all(
        isinstance(key, str) for key in metadata
    ):
        raise TypeError(
            "`metadata` must map strings to JSON values. "
            f"Received: metadata={metadata!r}"
        )
    try:
        return json.loads(json.dumps(dict(metadata), allow_nan=False))
    except TypeError as error:
        raise TypeError(
            f"`metadata` must hold JSON values: {error}. "
            f"Received: metadata={metadata!r}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"`metadata` must hold finite numbers: {error}. Received: {metadata!r}"
        ) from error


def describe(
    predictor: BasePredictor,
    members: EnsembleFunction,
    preprocessing: Preprocessing | None,
    class_names: list[str] | None,
    metadata: dict[str, Any],
) -> str:
    """Returns all that is to be known of an exported predictor, as JSON.

    Args:
        predictor: the predictor.
        members: its `EnsembleFunction`.
        preprocessing: a `Preprocessing`, or `None`.
        class_names: list of str, or `None`.
        metadata: the user's own entries, a dict.
    """
    inputs = {
        name: {
            "shape": spec.shape.as_list(),
            "dtype": "uint8" if preprocessing else spec.dtype.name,
        }
        for name, spec in members.specs.items()
    }
    formula = None
    if preprocessing is not None:
        formula = {
            "formula": "(inputs / 255 - mean) / std",
            **dataclasses.asdict(preprocessing),
        }
    scorer = None
    if predictor.scorer is not None:
        about, _ = predictor.scorer.state()
        scorer = {name: about[name] for name in ("scorer", "arguments")}
    # The numbers of a scaling are in the graph.
    settings = {**predictor.settings, "scaling": _short(predictor.scaling)}
    entries = {
        "format": FORMAT,
        "tfhyper": __version__,
        "predictor": type(predictor).__name__,
        "settings": settings,
        "model": members.networks[0].point.model.name,
        "num_draws": predictor.num_draws,
        "form": members.form,
        "uncertainty": predictor.task.unit,
        "inputs": inputs,
        "preprocessing": formula,
        "class_names": class_names,
        "rejection": settings["rejection"],
        "scaling": settings["scaling"],
        "scorer": scorer,
        "conformal": settings["conformal"],
        "metadata": metadata,
    }
    return json.dumps(entries, indent=2)


def _short(scaling: Any) -> Any:
    """Returns what a scaling is, without its numbers: JSON values."""
    if isinstance(scaling, Mapping):
        return {name: _short(of_output) for name, of_output in scaling.items()}
    if scaling is None:
        return None
    return {"method": scaling.method, "per_draw": scaling.per_draw}
