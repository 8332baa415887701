"""Histogram binning: the frequency of each class among examples of like probability."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfhyper.checks import check_integer
from tfhyper.scaling.arrays import as_tuple, check_numbers
from tfhyper.scaling.base import constant
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.likelihood import CalibrationWarning
from tfhyper.scaling.one_versus_rest import (
    OneVersusRest,
    check_count,
    in_pieces,
    maps_of,
    targets_of,
)
from tfhyper.tensor_types import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# Fewer examples for each bin say little of a frequency.
_FEW = 20
# Each is an operation of an exported file.
_MOST_BINS = 1000


@dataclasses.dataclass(frozen=True)
class Histogram(OneVersusRest):
    """The frequency of a class in bins of its probability (Zadrozny and Elkan, 2001).

        q = (examples of the class) / (examples)   in the bin of p

    in M bins of equal width, (m / M, (m + 1) / M], the first of them with 0. A bin
    without examples gives its middle. Of two classes or a column of one the bins are
    those of class 1; of more each class has its own, and the q are divided by their
    sum. Below 20 examples for each bin it warns. It may say 0, and the NLL of a label
    that comes then has no end; and classes may tie.

    Args:
        values: rows of M floats in [0, 1], q in each bin: one row, or one for each of
            three classes or more.

    Raises:
        ValueError: for other numbers.
        TypeError: for what are no numbers.

    Example:

    >>> scaling = tfhyper.scaling.Histogram([[0.1, 0.7]])  # up to 0.5, and above
    >>> scaling([[0.4, 0.6]]).round(2).tolist()
    [[0.3, 0.7]]

    Reference:
        Zadrozny, Elkan: Obtaining calibrated probability estimates from decision trees
        and naive Bayesian classifiers, ICML 2001.
    """

    method: ClassVar[str] = "histogram"
    options: ClassVar[Mapping[str, Any]] = {"num_bins": 15}

    values: Sequence[Sequence[float]]

    def __post_init__(self) -> None:
        values = check_numbers("values", self.values, 2)
        check_count("values", len(values))
        if values.min() < 0 or values.max() > 1:
            raise ValueError(
                "`values` must be in [0, 1]. Received: values from "
                f"{values.min()} to {values.max()}"
            )
        object.__setattr__(self, "values", as_tuple(values))

    @property
    def count(self) -> int:
        """How many histograms there are."""
        return len(self.values)

    def of_each(self, values: Tensor, xp: Any) -> Tensor:
        """Returns the frequencies of probabilities (..., histograms)."""
        heights = np.array(self.values).T
        edges = np.repeat(_edges(len(heights))[:, None], self.count, axis=1)
        single = values.astype(np.float32) if xp is np else values
        return in_pieces(
            single, heights[0], edges, lambda i: constant(heights[i + 1], xp), xp
        )

    @classmethod
    def chosen_by(
        cls, data: CalibrationData, per_draw: bool, options: Mapping[str, Any]
    ) -> "Self":
        """Returns the frequencies in the data, see the base class."""
        num_bins = check_integer("num_bins", options["num_bins"], 1, _MOST_BINS)
        data.check_every_class(cls.method)
        if len(data.labels) < _FEW * num_bins:
            warnings.warn(
                f"Histogram binning needs some {_FEW} examples for each of its "
                f"{num_bins} bins. Received: {len(data.labels)} examples",
                CalibrationWarning,
                stacklevel=2,
            )
        mean = data.mean.astype(np.float32)
        middles = (np.arange(num_bins) + 0.5) / num_bins
        values = []
        targets = targets_of(data.labels, data.classes)
        for c, target in zip(maps_of(data.classes), targets, strict=True):
            bins = np.searchsorted(_edges(num_bins), mean[:, c])
            weights = np.ones(len(target)) if data.weights is None else data.weights
            total = np.bincount(bins, weights, num_bins)
            hits = np.bincount(bins, weights * target, num_bins)
            there = total > 0
            frequency = hits / np.where(there, total, 1.0)
            values.append(np.clip(np.where(there, frequency, middles), 0.0, 1.0))
        return cls(as_tuple(np.array(values)))

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        return f"histogram of {len(self.values[0])} bins, of {self.classes} classes"


def _edges(num_bins: int) -> np.ndarray:
    """Returns the edges between bins, float32 as the probabilities are."""
    return (np.arange(1, num_bins) / num_bins).astype(np.float32)
