"""Scores, calibration, uncertainty and diversity of predicted class probabilities.

Functions take NumPy arrays, or anything that `numpy.asarray` accepts, and compute in
float64. Members of an ensemble have the axes `(draws, batch, classes)`, its prediction
`(batch, classes)`, labels `(batch,)`.
"""

from tfhyper.metrics.calibration import (
    ExpectedCalibrationError,
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from tfhyper.metrics.classification import (
    brier_score,
    error,
    negative_log_likelihood,
    top_k_accuracy,
    top_k_error,
)
from tfhyper.metrics.diversity import disagreement, fault_counts
from tfhyper.metrics.links import normalized_softplus
from tfhyper.metrics.report import classification_report, single_draw_report
from tfhyper.metrics.uncertainty import (
    CovarianceDecomposition,
    VarianceDecomposition,
    covariance_decomposition,
    expected_entropy,
    mutual_information,
    predictive_entropy,
    variance_decomposition,
)

__all__ = [
    "CovarianceDecomposition",
    "ExpectedCalibrationError",
    "ReliabilityCurve",
    "VarianceDecomposition",
    "brier_score",
    "classification_report",
    "covariance_decomposition",
    "disagreement",
    "error",
    "expected_calibration_error",
    "expected_entropy",
    "fault_counts",
    "mutual_information",
    "negative_log_likelihood",
    "normalized_softplus",
    "predictive_entropy",
    "reliability_curve",
    "single_draw_report",
    "top_k_accuracy",
    "top_k_error",
    "variance_decomposition",
]
