"""Thresholds of rejection against searches over all of them, and SciPy's binomial."""

import numpy as np
import pytest
from scipy.stats import binom

from tfhyper.metrics import rejection_threshold, selective_report

RNG = np.random.default_rng(0)


def two_classes(wrong):
    """Returns labels and probabilities whose predictions are wrong where said."""
    wrong = np.asarray(wrong, bool)
    probs = np.tile([0.8, 0.2], (len(wrong), 1))
    return wrong.astype(int), probs


def tied(size, levels):
    return RNG.integers(0, levels, size) / levels


def kept_counts(uncertainty):
    """Returns how many each threshold keeps, in all, by the definition."""
    return sorted({int(np.sum(uncertainty <= u)) for u in uncertainty})


@pytest.mark.parametrize("levels", [3, 17, 10**9])
@pytest.mark.parametrize("coverage", [0.01, 0.29, 0.5, 0.95, 0.999, 1.0])
def test_the_coverage_is_the_least_that_is_enough(coverage, levels):
    uncertainty = tied(200, levels)
    threshold = rejection_threshold(uncertainty, coverage=coverage)
    enough = [n for n in kept_counts(uncertainty) if n / 200 >= coverage]
    assert np.sum(uncertainty <= threshold) == min(enough)


@pytest.mark.parametrize("percent", range(1, 101))
def test_coverage_is_not_missed_by_rounding(percent):
    # 0.07 * 100 is more than 7.
    threshold = rejection_threshold(np.arange(100), coverage=percent / 100)
    assert np.sum(np.arange(100) <= threshold) == percent


@pytest.mark.parametrize("levels", [3, 17, 10**9])
@pytest.mark.parametrize("error", [0.0, 0.1, 0.2, 0.3, 0.9])
def test_the_error_is_kept_to_at_the_largest_coverage(error, levels):
    uncertainty = tied(300, levels)
    wrong = RNG.random(300) < uncertainty / 2
    wrong[uncertainty == uncertainty.min()] = False  # an error of 0 can be reached
    labels, probs = two_classes(wrong)
    threshold = rejection_threshold(
        uncertainty, error=error, labels=labels, probs=probs
    )
    allowed = [
        np.sum(uncertainty <= u)
        for u in uncertainty
        if np.mean(wrong[uncertainty <= u]) <= error
    ]
    assert np.sum(uncertainty <= threshold) == max(allowed)


@pytest.mark.parametrize(
    ("rule", "value"),
    [("coverage", 0.5), ("coverage", 0.8), ("error", 0.1), ("error", 0.2)],
)
def test_weights_are_how_often_an_example_is_there(rule, value):
    uncertainty = tied(200, 500)
    labels, probs = two_classes(RNG.random(200) < uncertainty / 2)
    weights = RNG.integers(0, 4, 200)
    repeated = np.repeat(np.arange(200), weights)

    def threshold(chosen, **options):
        if rule == "error":
            options.update(labels=labels[chosen], probs=probs[chosen])
        return rejection_threshold(uncertainty[chosen], **{rule: value}, **options)

    expected = threshold(repeated)
    found = threshold(np.arange(200), sample_weight=weights / 2)
    assert found == pytest.approx(expected, rel=1e-12)
    assert found != threshold(np.arange(200))


def test_a_guarantee_takes_no_weights():
    labels, probs = two_classes(np.zeros(200))
    options = {"labels": labels, "probs": probs, "error": 0.3, "confidence": 0.9}
    with pytest.raises(ValueError, match="`sample_weight` must be None with"):
        rejection_threshold(tied(200, 9), sample_weight=np.ones(200), **options)


def test_an_error_of_29_in_100_is_not_above_29_percent():
    labels, probs = two_classes([False] * 71 + [True] * 29)
    uncertainty = np.arange(100.0)
    for options in ({"error": 0.29}, {"error": 0.9}):
        threshold = rejection_threshold(
            uncertainty, labels=labels, probs=probs, **options
        )
        assert threshold >= 99


def test_the_threshold_is_halfway_to_what_is_rejected():
    assert rejection_threshold([3.0, 1.0, 2.0, 2.0], coverage=0.3) == 2.5
    assert rejection_threshold([3.0, 1.0, 2.0, 2.0], coverage=0.25) == 1.5
    low, high = 1.0, np.nextafter(1.0, 2.0)
    assert low <= rejection_threshold([low, high], coverage=0.5) < high
    # The same in float32, where nothing is rejected.
    largest = np.float32(0.1) * np.float32(1 + 1e-6)
    assert 0.1 < largest < rejection_threshold([0.1, 0.05], coverage=1.0) < 0.1001
    assert rejection_threshold([-0.9, -0.2], coverage=1.0) > -0.2


def test_draws_are_averaged_before_they_are_right_or_wrong():
    members = [[[0.9, 0.1], [0.9, 0.1]], [[0.6, 0.4], [0.0, 1.0]]]
    threshold = rejection_threshold([0.0, 1.0], error=0.0, labels=[0, 1], probs=members)
    assert threshold > 1.0


def test_the_least_error_is_named_where_it_is_not_reached():
    labels, probs = two_classes([True, False, False, True])
    with pytest.raises(ValueError, match="`error` must be at least 0.333333"):
        rejection_threshold([0, 1, 2, 3], error=0.1, labels=labels, probs=probs)


def bound_holds(wrong, kept, error, delta):
    """Whether P(at most so many wrong) at the rate `error` is `delta` or less."""
    return binom.cdf(wrong, kept, error) <= delta


def test_the_bound_is_that_of_the_binomial():
    uncertainty = np.sort(RNG.random(1000))
    wrong = RNG.random(1000) < uncertainty**2 / 2
    labels, probs = two_classes(wrong)
    options = {"labels": labels, "probs": probs}
    delta = 0.05 / 50
    for error in (0.05, 0.07, 0.1, 0.15, 0.3):
        threshold = rejection_threshold(
            uncertainty, error=error, confidence=0.95, **options
        )
        held = [
            kept
            for kept in range(20, 1001, 20)
            if binom.cdf(wrong[:kept].sum(), kept, error) <= delta
        ]
        assert np.sum(uncertainty <= threshold) == max(held)
        # More cautious than the error of the examples themselves.
        assert threshold <= rejection_threshold(uncertainty, error=error, **options)


def test_nothing_need_be_rejected_of_what_is_right():
    labels, probs = two_classes([False] * 1000)
    options = {"labels": labels, "probs": probs, "confidence": 0.9}
    least = 1 - (0.1 / 50) ** (1 / 1000)  # (1 - b)**1000 = 0.1 / 50
    uncertainty = np.arange(1000.0)
    for error in (1.001 * least, 2 * least):
        assert rejection_threshold(uncertainty, error=error, **options) >= 999
    with pytest.raises(ValueError, match=f"at least {least:.6g}, the least bound on"):
        rejection_threshold(uncertainty, error=0.999 * least, **options)
    with pytest.raises(ValueError, match="the least bound on the error"):
        rejection_threshold(uncertainty[:4], error=0.1, **cut(options, 4))
    # All wrong: no bound below 1.
    options["labels"] = 1 - labels
    with pytest.raises(ValueError, match="`error` must be at least 1, the least bound"):
        rejection_threshold(uncertainty, error=0.1, **options)


def cut(options, size):
    rows = ("labels", "probs")
    return {k: v[:size] if k in rows else v for k, v in options.items()}


def test_the_guarantee_holds_for_new_examples():
    # At the uncertainty u a prediction is wrong at the rate u / 2; up to t at t / 4.
    error, misses, plain_misses, trials = 0.2, 0, 0, 200
    rng = np.random.default_rng(1)
    for _ in range(trials):
        uncertainty = rng.random(1000)
        labels, probs = two_classes(rng.random(1000) < uncertainty / 2)
        options = {"error": error, "labels": labels, "probs": probs}
        threshold = rejection_threshold(uncertainty, confidence=0.9, **options)
        misses += threshold / 4 > error
        plain_misses += rejection_threshold(uncertainty, **options) / 4 > error
    # Three standard errors of 200 trials, 0.02 each, above the 0.1 that may miss.
    assert misses / trials < 0.1 + 3 * 0.02
    assert plain_misses / trials > 0.4


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "One of `coverage` and `error`"),
        ({"coverage": 0.5, "error": 0.1}, "One of `coverage` and `error`"),
        ({"coverage": 0}, "`coverage` must be a finite number > 0"),
        ({"coverage": 95}, "`coverage` must be a fraction.*Received: coverage=95"),
        ({"coverage": np.nan}, "`coverage`.*Received: coverage=nan"),
        ({"coverage": True}, "`coverage`.*Received: coverage=True"),
        ({"coverage": "0.9"}, "`coverage`.*Received: coverage='0.9'"),
        ({"coverage": 0.5, "labels": [0, 0]}, "`labels` is for `error`"),
        ({"coverage": 0.5, "confidence": 0.9}, "`confidence` is for `error`"),
        ({"error": 1}, "`error` must be a fraction"),
        ({"error": -0.1}, "`error`.*Received: error=-0.1"),
        ({"error": 0.1}, "`error` needs the `labels` and `probs`"),
        ({"error": 0.1, "labels": [0, 1]}, "`error` needs the `labels` and `probs`"),
    ],
)
def test_bad_arguments_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        rejection_threshold([0.1, 0.2], **options)


@pytest.mark.parametrize("confidence", [0, 1, 1.5, np.nan, True])
def test_bad_confidences_are_refused(confidence):
    labels, probs = two_classes([False, False])
    with pytest.raises(ValueError, match="`confidence`.*Received: confidence="):
        rejection_threshold(
            [0.1, 0.2], error=0.5, labels=labels, probs=probs, confidence=confidence
        )


def test_bad_uncertainties_are_refused():
    for bad in ([], [[0.1]], [np.nan], [np.inf, 0.1]):
        with pytest.raises(ValueError, match="`uncertainty` must"):
            rejection_threshold(bad, coverage=0.5)
    with pytest.raises(TypeError, match="`uncertainty` must hold real numbers"):
        rejection_threshold(["a"], coverage=0.5)
    labels, probs = two_classes([False, False])
    with pytest.raises(ValueError, match="`uncertainty` must have the shape"):
        rejection_threshold([0.1], error=0.5, labels=labels, probs=probs)


def test_the_report_counts_what_is_kept():
    wrong = RNG.random(50) < 0.3
    rejected = RNG.random(50) < 0.4
    labels, probs = two_classes(wrong)
    report = selective_report(labels, probs, rejected)
    assert report == {
        "coverage": pytest.approx(np.sum(~rejected) / 50),
        "selective_error": pytest.approx(np.sum(wrong & ~rejected) / np.sum(~rejected)),
    }
    # There is no error of nothing.
    assert selective_report(labels, probs, np.ones(50, bool)) == {"coverage": 0.0}


def test_bad_rejections_are_refused():
    labels, probs = two_classes([False, True])
    with pytest.raises(TypeError, match="`rejected` must hold bools"):
        selective_report(labels, probs, [0, 1])
    with pytest.raises(ValueError, match="`rejected` must have the shape"):
        selective_report(labels, probs, [True])
