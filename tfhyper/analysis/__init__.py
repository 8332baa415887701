"""Analyses of predictions, posteriors and networks, and figures of them.

One function returns the numbers, in NumPy arrays or a small dataclass; another one, its
name ending in `_plot`, draws them:

- `fault_table`, `fault_plot`: how many members err on the same examples.
- `error_curve`, `error_curve_plot`: scores against the number of draws.
- `weight_correlation`, `correlation_plot`: pairs of weights, in and across blocks.
- `weight_pairs`, `weight_pair_plot`: the draws of two weights.
- `complexity`, `complexity_plot`: multiply-adds of a network and of its draws.

`pit_plot`, `coverage_plot` and `sparsification_plot` draw what `pit_histogram`, the
coverage curves and `sparsification_curve` of `tfhyper.metrics` return.

`foreign_score_plot` draws scores of known and foreign inputs, and `detection_plot` a
table of `tfhyper.detection`.

`comparison_plot` draws the table of `tfhyper.evaluate`; it is its `plot`.

`prediction_plot` draws what is predicted of one example; it is `plot` of a prediction.

The other functions draw what they are given or what `tfhyper.metrics` computes. Figures
are `matplotlib.figure.Figure`. matplotlib is imported when one is drawn, and comes with
`pip install tfhyper[plots]`.
"""

from tfhyper.analysis.calibration import coverage_plot, pit_plot
from tfhyper.analysis.comparison import comparison_plot
from tfhyper.analysis.complexity import (
    Complexity,
    LayerComplexity,
    complexity,
    complexity_plot,
)
from tfhyper.analysis.correlation import (
    WeightCorrelation,
    WeightPairs,
    weight_correlation,
    weight_pairs,
)
from tfhyper.analysis.curves import (
    ErrorCurve,
    error_curve,
    error_curve_plot,
    hidden_units_plot,
)
from tfhyper.analysis.errors import uncertainty_error_plot
from tfhyper.analysis.examples import extreme_examples
from tfhyper.analysis.faults import FaultTable, fault_plot, fault_table
from tfhyper.analysis.foreign import detection_plot, foreign_score_plot
from tfhyper.analysis.maps import segmentation_map
from tfhyper.analysis.plots import reliability_diagram, training_curves
from tfhyper.analysis.predictions import prediction_plot
from tfhyper.analysis.sparsification import sparsification_plot
from tfhyper.analysis.uncertainty import uncertainty_map
from tfhyper.analysis.weights import correlation_plot, weight_pair_plot

__all__ = [
    "Complexity",
    "ErrorCurve",
    "FaultTable",
    "LayerComplexity",
    "WeightCorrelation",
    "WeightPairs",
    "comparison_plot",
    "complexity",
    "complexity_plot",
    "correlation_plot",
    "coverage_plot",
    "detection_plot",
    "error_curve",
    "error_curve_plot",
    "extreme_examples",
    "fault_plot",
    "fault_table",
    "foreign_score_plot",
    "hidden_units_plot",
    "pit_plot",
    "prediction_plot",
    "reliability_diagram",
    "segmentation_map",
    "sparsification_plot",
    "training_curves",
    "uncertainty_error_plot",
    "uncertainty_map",
    "weight_correlation",
    "weight_pair_plot",
    "weight_pairs",
]
