"""Weights of the examples: integers against repeats, zeros against leaving out."""

import inspect

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import softmax

from tfhyper import metrics

RNG = np.random.default_rng(0)
BATCH = 60
LABELS = RNG.integers(0, 4, size=BATCH)
MEMBERS = softmax(RNG.normal(size=(5, BATCH, 4)) * 2, axis=-1)
PROBS = MEMBERS.mean(axis=0)
TARGETS = RNG.normal(size=BATCH) * 3
DRAWS = RNG.normal(size=(5, BATCH))
NOISE = RNG.gamma(2.0, 1.0, size=(5, BATCH))
MEAN, VARIANCE = metrics.predictive_moments(DRAWS, NOISE)
LEVELS = [0.2, 0.5, 0.9]

ONES = RNG.uniform(size=(BATCH, 4)) < 0.5
REJECTED = PROBS.max(-1) < np.median(PROBS.max(-1))

# Each takes the indices of the examples, and weights.
SCORES = {
    "error": lambda i, **w: metrics.error(LABELS[i], PROBS[i], **w),
    "top_k_accuracy": lambda i, **w: metrics.top_k_accuracy(
        LABELS[i], PROBS[i], 2, **w
    ),
    "top_k_error": lambda i, **w: metrics.top_k_error(LABELS[i], PROBS[i], 2, **w),
    "negative_log_likelihood": lambda i, **w: metrics.negative_log_likelihood(
        LABELS[i], PROBS[i], **w
    ),
    "brier_score": lambda i, **w: metrics.brier_score(LABELS[i], PROBS[i], **w),
    "expected_calibration_error": lambda i, **w: metrics.expected_calibration_error(
        LABELS[i], PROBS[i], 10, **w
    ),
    "calibration_error": lambda i, **w: metrics.calibration_error(
        LABELS[i], PROBS[i], 7, **w
    ),
    "smooth_calibration_error": lambda i, **w: metrics.smooth_calibration_error(
        LABELS[i], PROBS[i], **w
    ),
    "reliability_curve": lambda i, **w: np.array(
        metrics.reliability_curve(LABELS[i], PROBS[i], 10, **w)
    ),
    "classification_report": lambda i, **w: list(
        metrics.classification_report(LABELS[i], PROBS[i], 10, **w).values()
    ),
    "single_draw_report": lambda i, **w: list(
        metrics.single_draw_report(LABELS[i], MEMBERS[:, i], 10, **w).values()
    ),
    "binary_report": lambda i, **w: list(
        metrics.binary_report(LABELS[i] > 1, PROBS[i, 0], **w).values()
    ),
    "label_scores": lambda i, **w: np.array(
        list(metrics.label_scores(ONES[i], MEMBERS[:, i], 0.3, **w).values())
    ),
    "multilabel_report": lambda i, **w: list(
        metrics.multilabel_report(ONES[i], PROBS[i], 0.3, **w).values()
    ),
    "threshold_curve": lambda i, **w: np.array(
        metrics.threshold_curve(ONES[i, 0], PROBS[i, 0], [0.1, 0.3], **w)[1:]
    ),
    "confusion_matrix": lambda i, **w: (
        metrics.confusion_matrix(LABELS[i], PROBS[i].argmax(1), 4, **w)
        / np.sum(w.get("sample_weight", len(i)))
    ),
    "selective_report": lambda i, **w: list(
        metrics.selective_report(LABELS[i], PROBS[i], REJECTED[i], **w).values()
    ),
    "rejection_threshold": lambda i, **w: metrics.rejection_threshold(
        1 - PROBS[i].max(-1), coverage=0.75, **w
    ),
    "rmse": lambda i, **w: metrics.rmse(TARGETS[i], MEAN[i], **w),
    "crps_gaussian": lambda i, **w: metrics.crps_gaussian(
        TARGETS[i], MEAN[i], VARIANCE[i], **w
    ),
    "crps_samples": lambda i, **w: metrics.crps_samples(TARGETS[i], DRAWS[:, i], **w),
    "gaussian_log_likelihood": lambda i, **w: metrics.gaussian_log_likelihood(
        TARGETS[i], MEAN[i], VARIANCE[i], **w
    ),
    "predictive_log_likelihood": lambda i, **w: metrics.predictive_log_likelihood(
        TARGETS[i], DRAWS[:, i], NOISE[:, i], **w
    ),
    "crps_mixture": lambda i, **w: metrics.crps_mixture(
        TARGETS[i], DRAWS[:, i], NOISE[:, i], **w
    ),
    "quantile_loss": lambda i, **w: metrics.quantile_loss(
        TARGETS[i], DRAWS[:2, i], [0.2, 0.6], **w
    ),
    "sharpness": lambda i, **w: metrics.sharpness(VARIANCE[i], **w),
    "pit_coverage_curve": lambda i, **w: (
        metrics.pit_coverage_curve(PROBS[i, 0], **w).coverage
    ),
    "pit_histogram": lambda i, **w: metrics.pit_histogram(PROBS[i, 0], 4, **w).density,
    "interval_coverage": lambda i, **w: metrics.interval_coverage(
        TARGETS[i], metrics.gaussian_interval(MEAN[i], VARIANCE[i]), **w
    ),
    "interval_width": lambda i, **w: metrics.interval_width(
        metrics.gaussian_interval(MEAN[i], VARIANCE[i]), **w
    ),
    "coverage_curve": lambda i, **w: (
        metrics.coverage_curve(TARGETS[i], MEAN[i], VARIANCE[i], LEVELS, **w).coverage
    ),
    "regression_report": lambda i, **w: list(
        metrics.regression_report(TARGETS[i], DRAWS[:, i], NOISE[:, i], **w).values()
    ),
    "optimal_crps": lambda i, **w: metrics.optimal_crps(TARGETS[i], MEAN[i], **w),
    "optimal_log_likelihood": lambda i, **w: metrics.optimal_log_likelihood(
        TARGETS[i], MEAN[i], **w
    ),
}
# Found by a search, whose end is known to so many digits.
SEARCHES = {
    "best_constant_variance": lambda i, **w: [
        metrics.best_constant_variance(TARGETS[i], MEAN[i], score, **w)
        for score in ("crps", "log_likelihood")
    ],
    "fit_noise_variance": lambda i, **w: [
        metrics.fit_noise_variance(TARGETS[i], DRAWS[:, i], score, **w)
        for score in ("crps", "log_likelihood")
    ],
}
TOLERANCES = {**dict.fromkeys(SCORES, 1e-12), **dict.fromkeys(SEARCHES, 1e-5)}
ALL = {**SCORES, **SEARCHES}
EVERY = np.arange(BATCH)


def test_every_score_with_weights_is_in_this_file():
    weighted = {
        name
        for name in metrics.__all__
        if inspect.isfunction(getattr(metrics, name))
        and "sample_weight" in inspect.signature(getattr(metrics, name)).parameters
    }
    assert weighted == set(ALL)


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_whole_weights_are_repeats(name, column):
    repeats = np.arange(BATCH) % 4
    expected = ALL[name](np.repeat(EVERY, repeats))
    weights = repeats[:, None] if column else repeats.astype(np.float32)
    found = ALL[name](EVERY, sample_weight=weights)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCES[name])
    assert np.max(np.abs(np.subtract(found, ALL[name](EVERY)))) > 1e-6


@pytest.mark.parametrize("name", ALL)
def test_zero_weights_leave_examples_out(name):
    kept = np.flatnonzero(EVERY % 3)
    found = ALL[name](EVERY, sample_weight=EVERY % 3 > 0)
    np.testing.assert_allclose(found, ALL[name](kept), rtol=TOLERANCES[name])


@pytest.mark.parametrize("weight", [1.0, 0.1, 1e-310, 1e100])
@pytest.mark.parametrize("name", ALL)
def test_equal_weights_are_none(name, weight):
    found = ALL[name](EVERY, sample_weight=np.full(BATCH, weight))
    expected = ALL[name](EVERY)
    if name == "reliability_curve":
        expected[2] *= weight
    np.testing.assert_allclose(found, expected, rtol=TOLERANCES[name])


def test_scores_of_scikit_learn():
    weights = RNG.gamma(1.0, 1.0, size=BATCH)
    w = {"sample_weight": weights}
    accuracy = sklearn.metrics.accuracy_score(LABELS, PROBS.argmax(1), **w)
    assert metrics.error(LABELS, PROBS, **w) == pytest.approx(1 - accuracy)
    expected = sklearn.metrics.top_k_accuracy_score(LABELS, PROBS, k=2, **w)
    assert metrics.top_k_accuracy(LABELS, PROBS, 2, **w) == pytest.approx(expected)
    expected = sklearn.metrics.log_loss(LABELS, PROBS, **w)
    assert metrics.negative_log_likelihood(LABELS, PROBS, **w) == pytest.approx(
        expected, rel=1e-12
    )
    expected = sklearn.metrics.brier_score_loss(LABELS, PROBS, scale_by_half=False, **w)
    assert metrics.brier_score(LABELS, PROBS, **w) == pytest.approx(expected, rel=1e-12)
    expected = sklearn.metrics.root_mean_squared_error(TARGETS, MEAN, **w)
    assert metrics.rmse(TARGETS, MEAN, **w) == pytest.approx(expected, rel=1e-12)


def test_weighted_report_holds_the_weighted_scores():
    w = {"sample_weight": np.arange(BATCH)}
    assert metrics.classification_report(LABELS, PROBS, **w) == {
        "error": metrics.error(LABELS, PROBS, **w),
        "nll": metrics.negative_log_likelihood(LABELS, PROBS, **w),
        "brier": metrics.brier_score(LABELS, PROBS, **w),
        "ece": metrics.expected_calibration_error(LABELS, PROBS, **w),
    }


@pytest.mark.parametrize(
    "weights, problem, message",
    [
        (np.ones(BATCH - 1), ValueError, r"`sample_weight`.*\(60,\).*\(59,\)"),
        (np.ones((1, BATCH)), ValueError, r"`sample_weight` must have.*\(1, 60\)"),
        (np.ones((BATCH, 2)), ValueError, r"`sample_weight` must have.*\(60, 2\)"),
        (1.0, ValueError, r"`sample_weight` must have the shape.*shape=\(\)"),
        (np.zeros(BATCH), ValueError, "`sample_weight` must not be.*from 0.0 to 0.0"),
        (EVERY - 1, ValueError, "`sample_weight` must not be below.*from -1.0"),
        (np.full(BATCH, np.nan), ValueError, "`sample_weight` must be finite.*60 NaN"),
        (
            np.full(BATCH, 1e200),
            ValueError,
            r"`sample_weight` must be at most.*1e\+200",
        ),
        (["a"] * BATCH, TypeError, "`sample_weight` must hold real numbers.*'a'"),
        (np.ones(BATCH) * 1j, TypeError, "`sample_weight` must hold real.*complex"),
        ({"a": 1}, TypeError, r"`sample_weight` must hold real.*\{'a': 1\}"),
    ],
)
@pytest.mark.parametrize("name", ALL)
def test_bad_weights_are_named(name, weights, problem, message):
    with pytest.raises(problem, match=message):
        ALL[name](EVERY, sample_weight=weights)
