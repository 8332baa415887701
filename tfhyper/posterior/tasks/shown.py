"""What a prediction shows of itself: the first examples as a table, one as a picture.

Each kind of prediction says which columns it has (`_columns`), and along which axis of
which array its examples stand (`example_axes`); all else is here.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.posterior.tasks.rejection import UNKNOWN
from tfhyper.summary import Summarized, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# So many examples have a row.
_ROWS = 5
# So many numbers of an example stand in a cell, and so many of its labels.
_NUMBERS, _LABELS = 3, 3


class Shown(Summarized):
    """Base class of predictions: a short table of it, and a picture of an example.

    A subclass is a dataclass made with `repr=False`.
    """

    # Name of an array -> its axis of the examples: of what most predictions have.
    example_axes: ClassVar[Mapping[str, int]] = {
        "mean": 0,
        "variance": 0,
        "aleatoric": 0,
        "epistemic": 0,
        "members": 1,
    }

    @abc.abstractmethod
    def _columns(self) -> dict[str, Sequence[str]]:
        """Returns heading -> a cell for each example, all of which get a row."""

    @abc.abstractmethod
    def _contents(self) -> str:
        """Returns in words what there is of each example, such as "10 classes"."""

    def take(self, examples: slice | Sequence[int] | np.ndarray) -> "Self":
        """Returns the same prediction of some of the examples.

        Args:
            examples: which, as NumPy takes them along an axis: a slice, whose arrays
                are views, or a sequence of indices or of bools.

        Raises:
            IndexError: for an index out of range.
            TypeError: for what is no such sequence, a lone index among them.

        Example:

        >>> prediction = predictor.predict(x_test)
        >>> unsure = prediction.take(prediction.total.argsort()[-3:])
        >>> len(unsure.mean), len(prediction.take(slice(0, 2)).mean)
        (3, 2)
        """
        if not isinstance(examples, slice) and np.ndim(examples) != 1:
            raise TypeError(
                "`examples` must be a slice or a sequence of indices. "
                f"Received: examples={examples!r}"
            )
        chosen = examples if isinstance(examples, slice) else np.asarray(examples)
        changes = {
            name: _take(getattr(self, name), chosen, axis)
            for name, axis in self.example_axes.items()
        }
        # Each subclass is a dataclass, which its base is not.
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]  # above

    def plot(
        self,
        example: int = 0,
        image: Any = None,
        names: Any = None,
        title: str | None = None,
        figure: "Figure | SubFigure | None" = None,
    ) -> "Figure | SubFigure":
        """Draws what is predicted of one example, by all draws and by each of them.

        See `tfhyper.analysis.prediction_plot`, whose arguments these are.

        Args:
            example: int, the index of the example.
            image: the example's image, numbers in `[0, 1]`, or `None`.
            names: a name for each class, label or target, or `None`.
            title: text above the figure, or `None`.
            figure: a figure, or a part of one, to draw in; `None` for a new one.

        Returns:
            The figure, for which matplotlib is needed: `pip install tfhyper[plots]`.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if an argument is out of range.

        Example:

        >>> figure = predictor.predict(x_test).plot(2)
        >>> figure.savefig("third.png")
        >>> len(figure.axes)  # bars of the classes, and both uncertainties
        2
        """
        return plot(self, example, image, names, title, figure)

    def to_summary(self) -> Summary:
        """Returns what is shown: a row for each of the first examples."""
        # What is shown helps to find errors, so it is no place for one: arrays of any
        # shape can be put into a prediction by hand.
        try:
            return self._table()
        except Exception:
            return self._shapes()

    def _table(self) -> Summary:
        count = len(getattr(self, "mean"))
        first = self.take(slice(0, _ROWS))
        places = [str(i) for i in range(min(count, _ROWS))]
        columns: dict[str, Sequence[str]] = {"example": places, **first._columns()}
        title = f"{type(self).__name__} of {_plural(count, 'example')}"
        members = getattr(self, "members", None)
        draws = "" if members is None else f", {_plural(len(members), 'draw')} kept"
        notes = []
        if count > _ROWS:
            notes.append(f"... and {count - _ROWS:,} more")
        if (rejection := getattr(self, "rejection", None)) is not None:
            notes.append(rejection.in_words())
        if (conformal := getattr(self, "conformal", None)) is not None:
            notes.append(f"conformal: {conformal.in_words()}")
        if (scaling := getattr(self, "scaling", None)) is not None:
            notes.append(f"scaled: {scaling.in_words()}")
        return Summary(
            f"{title}: {self._contents()}{draws}",
            list(columns),
            list(zip(*columns.values(), strict=True)),
            notes,
        )

    def _shapes(self) -> Summary:
        """Returns what can be said of arrays that do not fit each other."""
        rows = []
        # Each subclass is a dataclass, see `take`.
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # above
            value = getattr(self, field.name)
            shape = getattr(value, "shape", None)
            said = f"shape {shape}" if shape is not None else type(value).__name__
            rows.append((field.name, said))
        return Summary(type(self).__name__, ("field", "value"), rows)


def _take(value: Any, chosen: Any, axis: int) -> Any:
    """Returns some examples of an array, a tuple of arrays, or of `None`."""
    if value is None:
        return None
    if isinstance(value, tuple):
        return type(value)(*(_take(x, chosen, axis) for x in value))
    return value[(slice(None),) * axis + (chosen,)]


def number(value: float) -> str:
    """Returns a number in four digits."""
    return f"{float(value):.4g}"


def numbers(values: np.ndarray) -> list[str]:
    """Returns a cell for each example: its number, or the first of several."""
    cells = []
    for row in np.asarray(values).reshape(len(values), -1):
        shown = ", ".join(map(number, row[:_NUMBERS]))
        cells.append(shown + (", ..." if len(row) > _NUMBERS else ""))
    return cells


def means(values: np.ndarray) -> list[str]:
    """Returns a cell for each example: the mean of its numbers."""
    return [number(np.mean(row)) for row in np.asarray(values)]


def uncertainties(prediction: Any, unit: str) -> dict[str, list[str]]:
    """Returns columns of the three parts, means over what there is of an example."""
    parts = {x: prediction.uncertainty(x) for x in ("total", "aleatoric", "epistemic")}
    of = "mean " if math.prod(parts["total"].shape[1:]) > 1 else ""
    return {f"{of}{name} ({unit})": means(x) for name, x in parts.items()}


def label_or_unknown(label: int, rejected: bool) -> str:
    """Returns a label; one that is rejected stands in brackets."""
    return f"unknown ({label})" if rejected else str(label)


def shares(labels: np.ndarray) -> str:
    """Returns the most frequent of an example's labels, with their share."""
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = []
    for i in order[:_LABELS]:
        name = "unknown" if values[i] == UNKNOWN else values[i]
        shown.append(f"{name}: {counts[i] / labels.size:.0%}")
    return ", ".join(shown) + (", ..." if len(order) > _LABELS else "")


def places(found: np.ndarray) -> list[str]:
    """Returns a cell for each example: the places of its bools that are True."""
    cells = []
    for row in found:
        (at,) = np.nonzero(row)
        more = ", ..." if len(at) > _NUMBERS else ""
        cells.append((", ".join(map(str, at[:_NUMBERS])) or "none") + more)
    return cells


def moments(prediction: Any) -> dict[str, Sequence[str]]:
    """Returns columns of what predictions of numbers have."""
    found: dict[str, Sequence[str]] = {
        "mean": numbers(prediction.mean),
        "std": numbers(np.sqrt(prediction.variance)),
        **uncertainties(prediction, "unit^2"),
    }
    if prediction.conformal is not None:
        lower, upper = prediction.conformal_interval
        found["interval"] = [
            " to ".join(ends)
            for ends in zip(numbers(lower), numbers(upper), strict=True)
        ]
    if prediction.rejection is not None:
        found["unknown"] = fractions(prediction.rejected)
    return found


def fractions(found: np.ndarray) -> list[str]:
    """Returns a cell for each example: "yes", "no", or how many of its bools are."""
    cells = []
    for row in found.reshape(len(found), -1):
        part = "yes" if row.all() else "no"
        cells.append(part if row.all() or not row.any() else f"{row.mean():.0%}")
    return cells


def targets_in_words(shape: Sequence[int]) -> str:
    """Returns what there is of each example of a regression."""
    count = math.prod(shape)
    axes = f" ({' x '.join(map(str, shape))})" if len(shape) > 1 else ""
    return f"{count:,} targets{axes}" if count != 1 else "1 target"


def plot(prediction: Any, *arguments: Any) -> "Figure | SubFigure":
    """Draws one example: pictures are a part above, not needed to predict."""
    from tfhyper.analysis import prediction_plot

    return prediction_plot(prediction, *arguments)


def positions_in_words(shape: Sequence[int]) -> str:
    """Returns axes between examples and classes as "64 x 64 positions of ", or ""."""
    if not shape:
        return ""
    return f"{' x '.join(map(str, shape))} positions of "


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
