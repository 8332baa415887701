"""Scores, calibration, uncertainty, diversity and detection for predictions.

Functions take NumPy arrays, or anything that `numpy.asarray` accepts, and compute in
float64. For a classifier the members of an ensemble are probabilities with the axes
`(draws, batch, classes)`, its prediction has `(batch, classes)` and labels `(batch,)`.
For a regression members have the axes `(draws, batch)`, its prediction and the targets
`(batch,)`.
"""

from tfhyper.metrics.bounds import (
    best_constant_variance,
    normalized_score,
    optimal_crps,
    optimal_log_likelihood,
)
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
from tfhyper.metrics.detection import misclassification_detection, ood_detection
from tfhyper.metrics.diversity import disagreement, fault_counts
from tfhyper.metrics.intervals import (
    CoverageCurve,
    PredictiveInterval,
    coverage_curve,
    gaussian_interval,
    interval_coverage,
    interval_width,
    sample_interval,
)
from tfhyper.metrics.likelihood import (
    gaussian_log_likelihood,
    predictive_log_likelihood,
)
from tfhyper.metrics.links import normalized_softplus
from tfhyper.metrics.noise import fit_noise_variance
from tfhyper.metrics.regression import (
    PredictiveMoments,
    crps_gaussian,
    crps_samples,
    predictive_moments,
    rmse,
)
from tfhyper.metrics.rejection import rejection_threshold, selective_report
from tfhyper.metrics.report import (
    classification_report,
    regression_report,
    single_draw_report,
)
from tfhyper.metrics.running import ClassificationScores
from tfhyper.metrics.selective import (
    RiskCoverageCurve,
    aurc,
    excess_aurc,
    risk_coverage_curve,
)
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
    "ClassificationScores",
    "CovarianceDecomposition",
    "CoverageCurve",
    "ExpectedCalibrationError",
    "PredictiveInterval",
    "PredictiveMoments",
    "ReliabilityCurve",
    "RiskCoverageCurve",
    "VarianceDecomposition",
    "aurc",
    "best_constant_variance",
    "brier_score",
    "classification_report",
    "covariance_decomposition",
    "coverage_curve",
    "crps_gaussian",
    "crps_samples",
    "disagreement",
    "error",
    "excess_aurc",
    "expected_calibration_error",
    "expected_entropy",
    "fault_counts",
    "fit_noise_variance",
    "gaussian_interval",
    "gaussian_log_likelihood",
    "interval_coverage",
    "interval_width",
    "misclassification_detection",
    "mutual_information",
    "negative_log_likelihood",
    "normalized_score",
    "normalized_softplus",
    "ood_detection",
    "optimal_crps",
    "optimal_log_likelihood",
    "predictive_entropy",
    "predictive_log_likelihood",
    "predictive_moments",
    "regression_report",
    "rejection_threshold",
    "reliability_curve",
    "risk_coverage_curve",
    "rmse",
    "sample_interval",
    "selective_report",
    "single_draw_report",
    "top_k_accuracy",
    "top_k_error",
    "variance_decomposition",
]
