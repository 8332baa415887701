"""A file of another runtime beside the predictor that it was made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_numbers, naming
from tfhyper.conformal import ConformalIntervals, ConformalRule
from tfhyper.posterior import Rejection
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.rejection import FOREIGN
from tfhyper.posterior.tasks.task import Task

if TYPE_CHECKING:
    from tfhyper.export.module import Exported

_BATCH = 128  # as `predict` takes them: masks of dropout go by the place in it
_RANDOM_EXAMPLES = 8
# What runs a file: a function of named arrays that gives named arrays.
Run: TypeAlias = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What a file of another runtime is, beside the predictor it was made of.

    Attributes:
        path: the file or folder.
        size: its bytes.
        examples: how many the two were compared on.
        differences: output -> the largest difference, as a part of the predictor's
            largest value where that is above 1. "class" is the fraction of examples
            whose class is not that of the file's largest probability, "rejected" of
            those that the file rejects against its own uncertainty, "sets" of the
            classes that are in a set, or left out, against its own probabilities.
        tolerance: what none of them exceeds.
        scores: `None` without `check_data`, else "predictor" and "file" -> the
            scores of each, as `predictor.evaluate` names them.

    Example:

    >>> report = tfhyper.export.onnx(
    ...     predictor, "model.onnx", check_data=(x_val, y_val), verbose=0
    ... )
    >>> report.scores["file"]["error"] - report.scores["predictor"]["error"]
    0.0
    """

    path: str
    size: int
    examples: int
    differences: dict[str, float]
    tolerance: float
    scores: dict[str, dict[str, float]] | None = None

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        return float(np.max(list(self.differences.values())))  # NaN if there is one

    def __str__(self) -> str:
        name = list(self.differences)[np.argmax(list(self.differences.values()))]
        lines = [
            f"{self.path}: {self.size / 2**20:.2f} MiB, largest difference to the "
            f"predictor {self.largest:.1e} ({name}, {self.examples} examples)"
        ]
        for who, scores in (self.scores or {}).items():
            found = ", ".join(f"{key} {value:.4f}" for key, value in scores.items())
            lines.append(f"  {who}: {found}")
        return "\n".join(lines)


def inputs_of(name: str, inputs: ArrayLike, spec: Any) -> np.ndarray:
    """Returns inputs as an array; numbers are checked where numbers are taken.

    Args:
        name: of the argument that holds them.
        inputs: what was given.
        spec: the `tf.TensorSpec` of what is taken.
    """
    if spec.dtype.name != "string":
        check_numbers(name, inputs)
    return np.asarray(inputs)


def examples(specs: dict, check_data: Any) -> tuple[dict[str, np.ndarray], Any]:
    """Returns inputs by name, as the file takes them, and labels or `None`."""
    if check_data is None:
        rng = np.random.default_rng(0)
        named = {}
        for name, spec in specs.items():
            shape = (_RANDOM_EXAMPLES, *[size or 16 for size in spec.shape[1:]])
            dtype = spec.dtype.as_numpy_dtype
            if spec.dtype.is_floating:
                named[name] = rng.normal(size=shape).astype(dtype)
            else:  # of other integers it is not known which there are
                top = 256 if dtype == np.uint8 else 2
                named[name] = rng.integers(0, top, shape).astype(dtype)
        return named, None
    if not isinstance(check_data, tuple) or len(check_data) != 2:
        raise TypeError(
            "`check_data` must be a tuple (inputs, labels). "
            f"Received: check_data of type {type(check_data).__name__}"
        )
    inputs, labels = check_data
    if not isinstance(inputs, Mapping):
        inputs = dict.fromkeys(specs, inputs)
        if len(inputs) > 1:
            raise TypeError(
                "`check_data` must hold a dict of inputs, by their names "
                f"{sorted(inputs)}. Received: an array"
            )
    if set(inputs) != set(specs):
        raise ValueError(
            f"`check_data` must hold the inputs {sorted(specs)}. "
            f"Received: {sorted(inputs)}"
        )
    named = {}
    for name, spec in specs.items():
        array = inputs_of("check_data", inputs[name], spec)
        if not spec.shape.is_compatible_with(array.shape) or len(array) == 0:
            raise ValueError(
                f"`check_data` must hold inputs of shape {tuple(spec.shape)}. "
                f"Received: {name} of shape {array.shape}"
            )
        if spec.dtype == np.uint8 and array.dtype != np.uint8:
            raise ValueError(
                "`check_data` must hold what the file takes, images of dtype uint8. "
                f"Received: dtype {array.dtype}"
            )
        named[name] = array.astype(spec.dtype.as_numpy_dtype)
    if not isinstance(labels, Mapping):  # by the names of several outputs
        labels = np.asarray(labels)
    if any(np.shape(x)[:1] != array.shape[:1] for x in keras.tree.flatten(labels)):
        raise ValueError(
            "`check_data` must hold as many labels as inputs. "
            f"Received: {len(array)} inputs, labels of shape "
            f"{keras.tree.map_structure(np.shape, labels)}"
        )
    return named, labels


def _in_batches(predict: Run, named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    count = len(next(iter(named.values())))
    parts = [
        predict({name: x[i : i + _BATCH] for name, x in named.items()})
        for i in range(0, count, _BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _differences(
    found: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    task: Task,
    rejection: Rejection | None,
    conformal: ConformalRule | None,
) -> dict[str, float]:
    differences = {name: _difference(found[name], expected[name]) for name in expected}
    decisions = task.expected_decisions(found)
    if rejection is not None:
        uncertainty = np.asarray(task.output_uncertainty(found, rejection.score))
        decisions["rejected"] = rejection.rejects(uncertainty)
    if conformal is not None and not isinstance(conformal, ConformalIntervals):
        decisions.update(task.conformal_outputs(found, conformal, np))
    for name, decision in decisions.items():
        differences[name] = float(np.mean(found[name] != decision))
    return differences


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        raise ValueError(
            f"The file gives the shape {found.shape} where the predictor gives "
            f"{expected.shape}. Nothing was written"
        )
    largest = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(np.subtract(found, expected, dtype=np.float64)).max()) / largest


def compare(
    predictor: BasePredictor,
    exported: Exported,
    predict: Run,
    check: tuple[dict[str, np.ndarray], np.ndarray | None],
    path: str,
    size: int,
    tolerance: float,
) -> FileReport:
    """Returns the report of a file.

    Args:
        predictor: the predictor.
        exported: its `Exported`.
        predict: function of named arrays that runs the file.
        check: what `examples` gave.
        path: where the file will be.
        size: its bytes.
        tolerance: what is allowed.
    """
    named, labels = check
    task = exported.task
    prediction = predictor.predict(exported.pack(named), batch_size=_BATCH)
    expected = task.expected_outputs(prediction)
    if predictor.scorer is not None:
        expected["foreign"] = prediction.uncertainty(FOREIGN)
    if isinstance(exported.conformal, ConformalIntervals):
        ends = prediction.conformal_interval
        expected.update(lower=ends.lower, upper=ends.upper)
    found = _in_batches(predict, named)
    differences = _differences(
        found, expected, task, exported.rejection, exported.conformal
    )
    # The first alone: files take batches of any size.
    one = predict({name: x[:1] for name, x in named.items()})
    first = {name: x[:1] for name, x in found.items()}
    differences["batch of one"] = max(
        _difference(one[name], first[name]) for name in expected
    )
    scores = None
    if labels is not None:
        with naming("check_data", "labels that fit the network"):
            scores = {
                "predictor": task.output_scores(labels, expected),
                "file": task.output_scores(labels, found),
            }
    count = len(next(iter(named.values())))
    return FileReport(path, size, count, differences, tolerance, scores)
