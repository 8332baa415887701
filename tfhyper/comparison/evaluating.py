"""Predictors evaluated on the same inputs: known, foreign and shifted ones."""

import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfhyper import metrics, scaling
from tfhyper.checks import (
    Verbose,
    check_instance,
    check_integer,
    check_number,
    check_reading,
    naming,
)
from tfhyper.comparison.table import ComparisonTable
from tfhyper.detection.networks import predictor_of
from tfhyper.metrics import BootstrapInterval
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.tensor_types import Structure


def evaluate(
    predictors: Mapping[str, BasePredictor | keras.Model],
    test: Structure,
    *,
    foreign: Mapping[str, Structure] | None = None,
    shifted: Mapping[str, Mapping[int, Any]] | None = None,
    calibration: Structure | None = None,
    costs: Mapping[str, float] | None = None,
    num_samples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    timed_batches: int = 5,
    batch_size: int = 128,
    verbose: Verbose = "auto",
) -> ComparisonTable:
    """Returns predictors side by side, on the same inputs, in one table.

    Scores are those of a predictor's `evaluate`, and the area under the risk-coverage
    curve (AURC) of its uncertainty "total" with the error, or the squared error, as the
    loss. Their intervals are `tfhyper.metrics.bootstrap` over the test examples, the
    same resamples for all predictors; that of the ECE, which is a sum of absolute
    values, lies above its value rather than around it. A `rejection` or a `conformal`
    rule of a predictor changes none of them.

    Args:
        predictors: name -> a predictor, or a Keras model whose layers do not draw; all
            of one task and with one output.
        test: (inputs, labels) that trained nothing, or a dataset of these.
        foreign: kinds of foreign inputs, name -> inputs, which are told from the test
            inputs by each predictor's uncertainty "total", by "epistemic" where it has
            several networks, and by "foreign" where it has a `scorer`.
        shifted: kind of shift -> severity, an integer -> inputs of the test labels,
            (inputs, labels), a labelled dataset, or a function without arguments that
            gives one of these, as `tfhyper.shift.corruptions` returns.
        calibration: (inputs, labels), or a dataset, that trained nothing and tests
            nothing: of classifiers, a temperature for the averaged probabilities is
            chosen by them, with which the NLL is "nll_scaled". No predictor is changed.
        costs: name -> seconds that the training took, of those that are known.
        num_samples: int > 0, of resamples.
        level: number in (0, 1), of the intervals.
        seed: int in 0 <= seed < 2**31, of the resamples.
        timed_batches: int > 0: the time of a prediction is the median over so many
            predictions of one batch of the first test inputs, after one that is not
            timed, divided by its examples.
        batch_size: int > 0, for arrays, and of what is timed.
        verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
            longer than some seconds and a terminal or a notebook shows it.

    Returns:
        A `ComparisonTable`.

    Raises:
        ValueError: if there is no predictor, for predictors of different tasks or of
            several outputs, for `costs` of what is no predictor, numbers out of range,
            and as a predictor's `evaluate`.
        TypeError: for what is no predictor or no such mapping.

    Example:

    >>> table = tfhyper.evaluate(
    ...     {"draws": predictor, "plain": digits},
    ...     (x_test[:200], y_test[:200]),
    ...     foreign={"loud": 9 * x_test[:200]},
    ...     calibration=(x_val, y_val),
    ...     costs={"plain": 2.5},
    ...     num_samples=20,
    ...     timed_batches=1,
    ... )
    >>> print(table.markdown()[:13])
    | predictor |
    >>> sorted(table.foreign["draws"]["loud"])
    ['epistemic', 'total']
    """
    rule = "a dict from names to predictors or Keras models"
    check_instance("predictors", predictors, Mapping, rule)
    if not predictors:
        raise ValueError("`predictors` must hold one or more. Received: predictors={}")
    check_integer("num_samples", num_samples, 1, 1_000_000)
    check_number("level", level, positive=True, below=1.0)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_integer("timed_batches", timed_batches, 1)
    check_reading(batch_size, verbose)
    known = _seconds(costs, predictors)
    made = {
        str(name): _checked(predictor_of(value, "predictors"))
        for name, value in predictors.items()
    }
    reading: dict[str, Any] = {"batch_size": batch_size, "verbose": verbose}
    resampling: dict[str, Any] = {
        "num_samples": num_samples,
        "level": level,
        "seed": seed,
    }
    foreign_inputs = _kinds("foreign", foreign)
    shifts = _kinds("shifted", shifted)
    for kind, by_severity in shifts.items():
        rule = "a dict from severities to inputs, for each kind"
        check_instance("shifted", by_severity, Mapping, rule)
        if not by_severity or not all(isinstance(n, int) for n in by_severity):
            raise ValueError(
                "`shifted` must hold one severity or more, integers, for each kind. "
                f"Received: {kind!r} with {list(by_severity)}"
            )
    scores: dict[str, dict[str, BootstrapInterval]] = {}
    apart: dict[str, dict[str, dict[str, BootstrapInterval]]] = {}
    about: dict[str, dict[str, float | None]] = {}
    counts: dict[str, int] = {}
    for name, predictor in made.items():
        with naming("test", "(inputs, labels) that the networks take, or a dataset"):
            judged = _Judged(predictor, test, reading)
        if calibration is not None and isinstance(predictor.task, Classification):
            with naming("calibration", "(inputs, labels) that the networks take"):
                judged.fit_temperature(_Judged(predictor, calibration, reading))
        rows = np.arange(len(judged.labels))
        scores[name] = metrics.bootstrap(judged.scores, rows, **resampling)
        apart[name] = {}
        counts["test"] = len(rows)
        for kind, x in foreign_inputs.items():
            with naming("foreign", f"inputs that the networks take, of {kind!r} too"):
                found = predictor.predict(x, keep_members=False, **reading)
            counts[kind] = len(found.mean)
            apart[name][kind] = _told_apart(judged.prediction, found, resampling)
        about[name] = {
            "train_seconds": known.get(name),
            "predict_seconds": _seconds_of(predictor, test, timed_batches, batch_size),
            "file_bytes": _bytes_of(predictor),
            "parameters": _parameters_of(predictor),
            "draws": predictor.num_draws,
        }
    kinds_of_scores = {tuple(sorted(found)) for found in scores.values()}
    if len(kinds_of_scores) > 1:
        raise ValueError(
            "`predictors` must all be of one task. Received: predictors with the "
            f"scores {sorted(kinds_of_scores)}"
        )
    return ComparisonTable(
        scores,
        apart,
        _shifted(made, shifts, test, reading),
        about,
        counts,
        level,
    )


class _Judged:
    """What a predictor says of labelled data, and its scores for some of them."""

    def __init__(self, predictor: BasePredictor, data: Structure, reading: dict):
        self.task = predictor.task
        self.task.check_scores()
        x, y = _pair(data)
        keep = self.task.keeps_members
        parts = list(predictor.predict_labelled(x, y, **reading, keep_members=keep))
        self.labels = np.concatenate([labels for labels, *_ in parts])
        self.prediction = _joined([_without_rules(found) for _, found, _ in parts])
        self.weights: np.ndarray | None = None
        if any(weights is not None for *_, weights in parts):
            joined = np.concatenate([np.asarray(weights) for *_, weights in parts])
            self.weights = joined.reshape(len(self.labels), -1)
        self.scaled: np.ndarray | None = None

    def fit_temperature(self, held_out: "_Judged") -> None:
        """Scales the averaged probabilities, by those of held-out data."""
        ignored = self.task.ignore_class
        fitted = scaling.fit(
            held_out.labels, held_out.prediction.mean, ignore_class=ignored
        )
        self.scaled = np.asarray(fitted(self.prediction.mean))

    def scores(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the scores of some of the examples."""
        labels, prediction = self.labels[rows], self.prediction.take(rows)
        weights = None if self.weights is None else self.weights[rows].reshape(-1)
        scores = self.task.new_scores()
        scores.update(labels, prediction, weights)
        found = scores.result()
        losses, *_ = scores.losses(labels, prediction, weights)
        data = self.task.rejection_data(prediction, "total", labels, weights, False)
        unsure = np.asarray(data["uncertainty"])
        found["aurc"] = metrics.aurc(np.asarray(losses, np.float64), unsure)
        if self.scaled is not None:
            report = metrics.classification_report(
                labels,
                self.scaled[rows],
                sample_weight=weights,
                ignore_class=self.task.ignore_class,
            )
            found["nll_scaled"] = report["nll"]
        return found


def _told_apart(
    known: Any, foreign: Any, resampling: dict[str, Any]
) -> dict[str, BootstrapInterval]:
    """Returns how well each uncertainty tells foreign inputs from known ones."""
    found = {}
    sizes = len(known.mean), len(foreign.mean)
    is_foreign = np.repeat([False, True], sizes)
    for score in ("total", "epistemic", "foreign"):
        if score == "foreign" and getattr(known, "foreign", None) is None:
            continue
        # Of an example with several answers, their mean.
        values = [
            x.uncertainty(score).reshape(len(x.mean), -1).mean(axis=1)
            for x in (known, foreign)
        ]
        if score == "epistemic" and not any(np.any(x) for x in values):
            continue  # One network, which knows no other.
        found[score] = metrics.bootstrap(
            _auroc, is_foreign, np.concatenate(values), **resampling
        )
    return found


def _auroc(is_foreign: np.ndarray, scores: np.ndarray) -> float:
    return metrics.ood_detection(scores[~is_foreign], scores[is_foreign])["auroc"]


def _shifted(
    predictors: Mapping[str, BasePredictor],
    shifts: Mapping[str, Mapping[int, Any]],
    test: Structure,
    reading: dict[str, Any],
) -> dict[str, dict[str, dict[int, dict[str, float]]]]:
    """Returns the scores of all predictors under all shifts, each made once."""
    found: dict[str, dict[str, dict[int, dict[str, float]]]]
    found = {name: {kind: {} for kind in shifts} for name in predictors}
    _, labels = _pair(test)
    for kind, by_severity in shifts.items():
        for severity, given in sorted(by_severity.items()):
            x, y = _pair(given() if callable(given) else given)
            if y is None and isinstance(x, np.ndarray):
                y = labels
            for name, predictor in predictors.items():
                rule = f"inputs that the networks take, and labels: {kind!r} too"
                with naming("shifted", rule):
                    scores = predictor.evaluate(x, y, **reading)
                found[name][kind][severity] = scores
    return found


def _seconds_of(
    predictor: BasePredictor, test: Structure, batches: int, batch_size: int
) -> float:
    """Returns the seconds of predicting one example, in a batch."""
    x, y = _pair(test)
    if y is None:
        x = keras.tree.map_structure(np.asarray, next(iter(x))[0])
    batch = keras.tree.map_structure(lambda array: array[:batch_size], x)
    size = len(keras.tree.flatten(batch)[0])
    taken = []
    for _ in range(batches + 1):
        start = time.perf_counter()
        predictor.predict(batch, batch_size, keep_members=False, verbose=0)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[1:])) / size


def _bytes_of(predictor: BasePredictor) -> int | None:
    """Returns the size of the predictor's file; `None` where it cannot be saved."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "predictor.tfhyper")
        try:
            predictor.save(path)
        except (ValueError, TypeError, NotImplementedError):
            return None  # A layer that is not registered: it predicts nevertheless.
        return os.path.getsize(path)


def _parameters_of(predictor: BasePredictor) -> int:
    """Returns how many numbers the models hold, counters of draws aside."""
    return sum(
        math.prod(weight.shape)
        for model in predictor.source.models()
        for weight in model.weights
        if keras.backend.is_float_dtype(weight.dtype)
    )


def _checked(predictor: BasePredictor) -> BasePredictor:
    if not predictor.task.uncertainties:
        raise ValueError(
            "`predictors` must have one output each. "
            f"Received: outputs={predictor.outputs!r}"
        )
    return predictor


def _pair(data: Any) -> tuple[Any, Any]:
    """Returns inputs and labels, or a dataset and `None`."""
    is_pair = isinstance(data, tuple) and len(data) == 2
    return data if is_pair else (data, None)


def _kinds(name: str, given: Any) -> dict[str, Any]:
    check_instance(name, given, Mapping | None, "a dict from names, or None")
    kinds = {str(kind): x for kind, x in (given or {}).items()}
    if name == "foreign" and "test" in kinds:
        raise ValueError(
            '`foreign` must have other names than "test", which is that of the test '
            f"inputs. Received: foreign with {list(kinds)}"
        )
    return kinds


def _seconds(
    costs: Mapping[str, float] | None, predictors: Mapping[str, Any]
) -> dict[str, float]:
    check_instance("costs", costs, Mapping | None, "a dict from names to seconds")
    found = {str(name): check_number("costs", x) for name, x in (costs or {}).items()}
    if unknown := found.keys() - {str(name) for name in predictors}:
        raise ValueError(
            "`costs` must have names of `predictors`. "
            f"Received: costs with {sorted(unknown)}"
        )
    return found


def _without_rules(prediction: Any) -> Any:
    """Returns a prediction without what leaves some out, or counts sets."""
    fields = {field.name for field in dataclasses.fields(prediction)}
    return dataclasses.replace(
        prediction, **{x: None for x in ("rejection", "conformal") if x in fields}
    )


def _joined(parts: list[Any]) -> Any:
    """Returns predictions of parts of the data as one, what `take` takes apart."""
    changes = {
        name: _concatenated([getattr(part, name) for part in parts], axis)
        for name, axis in parts[0].example_axes.items()
    }
    return dataclasses.replace(parts[0], **changes)


def _concatenated(values: list[Any], axis: int) -> Any:
    first = values[0]
    if first is None:
        return None
    if isinstance(first, tuple):
        parts = (_concatenated(list(x), axis) for x in zip(*values, strict=True))
        return type(first)(*parts)
    return np.concatenate(values, axis=axis)
