"""Conformal prediction: sets and intervals that hold the truth as often as is asked.

Calibration data, which trained nothing, choose a threshold; from then on a set of
classes or an interval holds the true one of a new example of the same distribution with
a probability of 1 - alpha at least, whatever the network is worth. `conformal_sets` and
`conformal_intervals` take a predictor, `fit_sets` and `fit_intervals` predictions that
are there, and a predictor's `fit_conformal` has it predict, save and export them.
"""

from tfhyper.conformal.base import ConformalRule
from tfhyper.conformal.intervals import (
    ConformalIntervals,
    conformal_intervals,
    fit_intervals,
)
from tfhyper.conformal.maps import map_probabilities
from tfhyper.conformal.quantile import least_examples
from tfhyper.conformal.sets import ConformalSets, conformal_sets, fit_sets

__all__ = [
    "ConformalIntervals",
    "ConformalRule",
    "ConformalSets",
    "conformal_intervals",
    "conformal_sets",
    "fit_intervals",
    "fit_sets",
    "least_examples",
    "map_probabilities",
]
