"""Figures about predictions and training.

They return a `matplotlib.figure.Figure`. matplotlib is imported when one is drawn, and
comes with `pip install tfhyper[plots]`.
"""

from tfhyper.analysis.errors import uncertainty_error_plot
from tfhyper.analysis.examples import extreme_examples
from tfhyper.analysis.plots import reliability_diagram, training_curves
from tfhyper.analysis.uncertainty import uncertainty_map

__all__ = [
    "extreme_examples",
    "reliability_diagram",
    "training_curves",
    "uncertainty_error_plot",
    "uncertainty_map",
]
