"""Scaling of probabilities, so that they are as often right as they say.

Held-out data choose a map of a classifier's probabilities: a temperature, a vector or
a matrix for its logits, a curve or a histogram for each class. `fit` takes labels and
probabilities of any origin, and a predictor's `fit_scaling` takes inputs: from then on
what it predicts, saves and exports is scaled.
"""

from tfhyper.scaling.base import Scaling
from tfhyper.scaling.histogram import Histogram
from tfhyper.scaling.isotonic import Isotonic
from tfhyper.scaling.likelihood import CalibrationWarning
from tfhyper.scaling.matrix import Matrix
from tfhyper.scaling.platt import Platt
from tfhyper.scaling.registry import METHODS, fit
from tfhyper.scaling.temperature import Temperature
from tfhyper.scaling.vector import Vector

__all__ = [
    "METHODS",
    "CalibrationWarning",
    "Histogram",
    "Isotonic",
    "Matrix",
    "Platt",
    "Scaling",
    "Temperature",
    "Vector",
    "fit",
]
