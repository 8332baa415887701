"""Scores, calibration, uncertainty, diversity and detection for predictions.

Functions take NumPy arrays, or anything that `numpy.asarray` accepts, and compute in
float64. For a classifier the members of an ensemble are probabilities with the axes
`(draws, batch, classes)`, its prediction has `(batch, classes)` and labels `(batch,)`.
For a regression members have the axes `(draws, batch)`, its prediction and the targets
`(batch,)`. More axes may stand behind that of the batch where a function says so, as of
tokens `(batch, time)` and of maps `(batch, height, width)`.

What comes batch by batch is added up by `ClassificationScores`, `MultilabelScores` and
`RegressionScores`, by sums of `confusion_matrix`, `PatchCounts` and `PitHistogram`, and
while a model trains by the Keras metrics: `NegativeLogLikelihood`, `BrierScore`,
`ExpectedCalibrationError`, and of normal predictions `NormalNegativeLogLikelihood`,
`NormalCRPS` and `NormalCoverage`.
"""

from tfhyper.metrics.binary import (
    ThresholdCurve,
    binary_report,
    label_scores,
    multilabel_report,
    threshold_curve,
)
from tfhyper.metrics.boundaries import boundary_f1
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
from tfhyper.metrics.calibration_errors import (
    CalibrationTest,
    calibration_error,
    calibration_test,
    smooth_calibration_error,
)
from tfhyper.metrics.class_metrics import BrierScore, NegativeLogLikelihood
from tfhyper.metrics.classification import (
    brier_score,
    error,
    negative_log_likelihood,
    top_k_accuracy,
    top_k_error,
)
from tfhyper.metrics.detection import misclassification_detection, ood_detection
from tfhyper.metrics.distributions import (
    PitHistogram,
    crps_mixture,
    pit_histogram,
    pit_mixture,
    pit_samples,
    quantile_loss,
    sharpness,
)
from tfhyper.metrics.diversity import disagreement, fault_counts
from tfhyper.metrics.generation import (
    PrecisionRecall,
    frechet_distance,
    mode_count,
    sample_precision_recall,
)
from tfhyper.metrics.images import luma, psnr, ssim
from tfhyper.metrics.intervals import (
    CoverageCurve,
    PredictiveInterval,
    coverage_curve,
    gaussian_interval,
    interval_coverage,
    interval_width,
    pit_coverage_curve,
    sample_interval,
)
from tfhyper.metrics.likelihood import (
    gaussian_log_likelihood,
    predictive_log_likelihood,
)
from tfhyper.metrics.links import normalized_softplus
from tfhyper.metrics.noise import fit_noise_variance
from tfhyper.metrics.normal_metrics import (
    NormalCoverage,
    NormalCRPS,
    NormalNegativeLogLikelihood,
)
from tfhyper.metrics.patches import PatchCounts, patch_counts
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
from tfhyper.metrics.resampling import BootstrapInterval, bootstrap
from tfhyper.metrics.running import (
    ClassificationScores,
    MultilabelScores,
    RegressionScores,
)
from tfhyper.metrics.segmentation import (
    class_accuracy,
    class_mean,
    confusion_matrix,
    dice_score,
    intersection_over_union,
    pixel_accuracy,
    segmentation_report,
)
from tfhyper.metrics.selective import (
    RiskCoverageCurve,
    augrc,
    aurc,
    coverage_at_risk,
    excess_aurc,
    risk_at_coverage,
    risk_coverage_curve,
)
from tfhyper.metrics.sparsification import (
    SparsificationCurve,
    ause,
    sparsification_curve,
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
    "BootstrapInterval",
    "BrierScore",
    "CalibrationTest",
    "ClassificationScores",
    "CovarianceDecomposition",
    "CoverageCurve",
    "ExpectedCalibrationError",
    "MultilabelScores",
    "NegativeLogLikelihood",
    "NormalCRPS",
    "NormalCoverage",
    "NormalNegativeLogLikelihood",
    "PatchCounts",
    "PitHistogram",
    "PrecisionRecall",
    "PredictiveInterval",
    "PredictiveMoments",
    "RegressionScores",
    "ReliabilityCurve",
    "RiskCoverageCurve",
    "SparsificationCurve",
    "ThresholdCurve",
    "VarianceDecomposition",
    "augrc",
    "aurc",
    "ause",
    "best_constant_variance",
    "binary_report",
    "bootstrap",
    "boundary_f1",
    "brier_score",
    "calibration_error",
    "calibration_test",
    "class_accuracy",
    "class_mean",
    "classification_report",
    "confusion_matrix",
    "covariance_decomposition",
    "coverage_at_risk",
    "coverage_curve",
    "crps_gaussian",
    "crps_mixture",
    "crps_samples",
    "dice_score",
    "disagreement",
    "error",
    "excess_aurc",
    "expected_calibration_error",
    "expected_entropy",
    "fault_counts",
    "fit_noise_variance",
    "frechet_distance",
    "gaussian_interval",
    "gaussian_log_likelihood",
    "intersection_over_union",
    "interval_coverage",
    "interval_width",
    "label_scores",
    "luma",
    "misclassification_detection",
    "mode_count",
    "multilabel_report",
    "mutual_information",
    "negative_log_likelihood",
    "normalized_score",
    "normalized_softplus",
    "ood_detection",
    "optimal_crps",
    "optimal_log_likelihood",
    "patch_counts",
    "pit_coverage_curve",
    "pit_histogram",
    "pit_mixture",
    "pit_samples",
    "pixel_accuracy",
    "predictive_entropy",
    "predictive_log_likelihood",
    "predictive_moments",
    "psnr",
    "quantile_loss",
    "regression_report",
    "rejection_threshold",
    "reliability_curve",
    "risk_at_coverage",
    "risk_coverage_curve",
    "rmse",
    "sample_interval",
    "sample_precision_recall",
    "segmentation_report",
    "selective_report",
    "sharpness",
    "single_draw_report",
    "smooth_calibration_error",
    "sparsification_curve",
    "ssim",
    "threshold_curve",
    "top_k_accuracy",
    "top_k_error",
    "variance_decomposition",
]
