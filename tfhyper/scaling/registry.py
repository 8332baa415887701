"""The methods of scaling, by their names."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_bool, check_choice
from tfhyper.metrics._checks import as_float_array, read_labelled
from tfhyper.scaling.base import Scaling, log_of
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.histogram import Histogram
from tfhyper.scaling.isotonic import Isotonic
from tfhyper.scaling.matrix import Matrix
from tfhyper.scaling.platt import Platt
from tfhyper.scaling.temperature import Temperature
from tfhyper.scaling.vector import Vector

Method: TypeAlias = Literal[
    "temperature", "vector", "matrix", "platt", "isotonic", "histogram"
]
# Name of a method -> its class.
METHODS: dict[str, type[Scaling]] = {
    kind.method: kind
    for kind in (Temperature, Vector, Matrix, Platt, Isotonic, Histogram)
}


def fit(
    labels: ArrayLike,
    probs: ArrayLike,
    method: Method = "temperature",
    *,
    per_draw: bool = False,
    sample_weight: ArrayLike | None = None,
    ignore_class: int | None = None,
    **options: Any,
) -> Scaling:
    """Returns the scaling that held-out labels choose, of probabilities of any origin.

    A predictor's `fit_scaling` does it for the predictor, from inputs.

    Args:
        labels: class indices `(batch,)` or `(batch, 1)`, or one-hot rows `(batch,
            classes)`; with any axes behind the batch. Of data that trained nothing.
        probs: probabilities of shape `(batch, classes)` or `(draws, batch, classes)`,
            with the labels' axes. One column p of two classes becomes 1 - p and p.
        method: `"temperature"`, `"vector"`, `"matrix"`, `"platt"`, `"isotonic"` or
            `"histogram"`: see the classes.
        per_draw: bool, choose what scales each draw, of `(draws, batch, classes)`,
            so that the mean of these is best; else the mean of the draws is scaled.
        sample_weight: weights of the examples, finite and >= 0, `(batch,)` or of the
            labels' shape; or `None`.
        ignore_class: integer outside of the classes, whose labels are left out.
        **options: what the method takes: `regularization` of `"matrix"`, `num_bins`
            of `"histogram"`.

    Raises:
        ValueError: for labels of one class, labels out of range, probabilities that
            are none, arguments that do not go together or are out of range; and where
            a method has numbers for each class, if a class has no label.
        TypeError: for what is no array of real numbers.

    Example:

    >>> members = predictor.predict(x_val).members
    >>> scaling = tfhyper.scaling.fit(y_val, members, "temperature")
    >>> scaled = scaling(predictor.predict(x_test).mean)
    >>> scaled.shape
    (2000, 10)
    """
    check_method(method, per_draw, options)
    array = as_float_array("probs", probs)
    draws = [array]
    if per_draw:
        if array.ndim < 3:
            raise ValueError(
                "`probs` must have the axes (draws, batch, classes) with "
                f"`per_draw=True`. Received: probs.shape={array.shape}"
            )
        draws = list(array)
    read = [read_labelled(labels, x, sample_weight, ignore_class) for x in draws]
    logs = np.stack([log_of(x.probs, np) for x in read])
    data = CalibrationData(logs, read[0].labels, read[0].weights)
    return chosen(data, method, per_draw, options)


def check_method(method: Any, per_draw: Any, options: Mapping[str, Any]) -> None:
    """Raises ValueError unless there is such a method, and it takes all that.

    Args:
        method: the name of one.
        per_draw: whether it is to scale each draw.
        options: by their names.
    """
    check_choice("method", method, METHODS)
    if check_bool("per_draw", per_draw) and not METHODS[method].scales_draws:
        able = [name for name, kind in METHODS.items() if kind.scales_draws]
        raise ValueError(
            f"`per_draw` must be False with this method: it counts how often the "
            f"averaged prediction is right. True is for {able}. "
            f"Received: per_draw=True, method={method!r}"
        )
    known = METHODS[method].options
    if unknown := [name for name in options if name not in known]:
        raise ValueError(
            f"`{unknown[0]}` must be left out with `method={method!r}`, which takes "
            f"{sorted(known) or 'no options'}. "
            f"Received: {unknown[0]}={options[unknown[0]]!r:.80}"
        )


def chosen(
    data: CalibrationData, method: str, per_draw: bool, options: Mapping[str, Any]
) -> Scaling:
    """Returns the scaling that data choose; arguments as of `check_method`."""
    kind = METHODS[method]
    return kind.chosen_by(data, per_draw, {**kind.options, **options})


def check_scaling(value: Any) -> Scaling | None:
    """Returns a scaling from one, `None`, or the mapping that a file holds of it.

    Raises:
        TypeError: for another type, or another mapping.
        ValueError: for numbers out of range.
    """
    if value is None or isinstance(value, Scaling):
        return value
    if isinstance(value, Mapping):
        given = dict(value)
        kind = METHODS.get(str(given.pop("method", None)))
        if kind is not None:
            names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # all are dataclasses
            if set(given) == names:
                return kind(**given)
    raise TypeError(
        "`scaling` must be a tfhyper.scaling.Scaling or None. "
        f"Received: scaling={value!r:.80}"
    )
