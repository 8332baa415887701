"""Predictive intervals against SciPy, and their coverage against direct counts."""

import numpy as np
import pytest
from scipy import stats

from tfhyper import metrics

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=500)
VARIANCE = RNG.gamma(1.0, 2.0, size=500)
TARGETS = MEAN + np.sqrt(VARIANCE) * RNG.normal(size=500)


@pytest.mark.parametrize("level", [1e-6, 0.5, 0.9, 1 - 1e-9])
def test_gaussian_interval_equals_scipy(level):
    interval = metrics.gaussian_interval(MEAN, VARIANCE, level)
    expected = stats.norm(MEAN, np.sqrt(VARIANCE)).interval(level)
    np.testing.assert_allclose(interval, expected, rtol=1e-8, atol=1e-7)
    lower, upper = metrics.gaussian_interval(MEAN, 4.0, level)
    np.testing.assert_allclose(lower, stats.norm(MEAN, 2).interval(level)[0])
    assert lower.shape == upper.shape == (500,)


def test_no_variance_gives_the_mean():
    lower, upper = metrics.gaussian_interval([1.0, 2.0], 0)
    assert lower.tolist() == upper.tolist() == [1.0, 2.0]
    assert metrics.interval_coverage([1.0, 2.5], (lower, upper)) == 0.5


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_sample_interval_tends_to_that_of_the_distribution(level):
    # The error of a quantile of 200,000 normal draws is below 0.02 at five sigmas.
    samples = RNG.normal(size=(200_000, 3)) * [1.0, 2.0, 0.0] + [0.0, 5.0, 1.0]
    interval = metrics.sample_interval(samples, level)
    expected = metrics.gaussian_interval([0.0, 5.0, 1.0], [1.0, 4.0, 0.0], level)
    np.testing.assert_allclose(interval, expected, atol=0.04)


def test_sample_interval_cuts_as_many_draws_on_both_sides():
    samples = RNG.permutation(np.arange(101.0))[:, np.newaxis]
    lower, upper = metrics.sample_interval(samples, level=0.8)
    np.testing.assert_allclose([lower, upper], [[10.0], [90.0]])
    lower, upper = metrics.sample_interval([[3.0]])
    assert lower.tolist() == upper.tolist() == [3.0]


def test_coverage_and_width_equal_direct_counts():
    lower, upper = metrics.gaussian_interval(MEAN, VARIANCE, 0.7)
    inside = sum(a <= y <= b for a, y, b in zip(lower, TARGETS, upper))
    assert metrics.interval_coverage(TARGETS, (lower, upper)) == inside / 500
    expected = np.mean([b - a for a, b in zip(lower, upper)])
    assert metrics.interval_width((lower, upper)) == pytest.approx(expected)


def test_ends_belong_to_the_interval():
    assert metrics.interval_coverage([0, 1, 2], ([0, 0, 0], [1, 1, 1])) == 2 / 3


def test_curve_counts_errors_below_each_quantile():
    curve = metrics.coverage_curve(TARGETS, MEAN, VARIANCE)
    np.testing.assert_allclose(curve.level, np.linspace(0.05, 0.95, 19))
    z = np.abs(TARGETS - MEAN) / np.sqrt(VARIANCE)
    expected = [np.mean(2 * stats.norm.cdf(z) - 1 <= level) for level in curve.level]
    np.testing.assert_allclose(curve.coverage, expected)


def test_curve_tells_calibrated_from_too_sure_and_too_unsure():
    # 500 targets: a coverage's standard error is at most 0.023.
    calibrated = metrics.coverage_curve(TARGETS, MEAN, VARIANCE)
    np.testing.assert_allclose(calibrated.coverage, calibrated.level, atol=0.08)
    assert np.all(np.diff(calibrated.coverage) >= 0)
    sure = metrics.coverage_curve(TARGETS, MEAN, VARIANCE / 16, [0.5, 0.9])
    unsure = metrics.coverage_curve(TARGETS, MEAN, VARIANCE * 16, [0.5, 0.9])
    assert np.all(sure.coverage < sure.level - 0.1)
    assert np.all(unsure.coverage > unsure.level + 0.05)


def test_the_curve_of_pit_values_is_that_of_the_intervals():
    pit = stats.norm.cdf(TARGETS, MEAN, np.sqrt(VARIANCE))
    weights = np.arange(1.0, 1 + len(TARGETS))
    found = metrics.pit_coverage_curve(pit, sample_weight=weights)
    expected = metrics.coverage_curve(TARGETS, MEAN, VARIANCE, sample_weight=weights)
    np.testing.assert_array_equal(found.level, expected.level)
    np.testing.assert_allclose(found.coverage, expected.coverage)
    # Of a distribution with tails of its own: the intervals are quantiles.
    pit = stats.laplace.cdf(TARGETS).reshape(-1, 2)
    curve = metrics.pit_coverage_curve(pit, [0.3, 0.9])
    ends = [stats.laplace.interval(level) for level in (0.3, 0.9)]
    inside = [metrics.interval_coverage(TARGETS, _wide(end)) for end in ends]
    np.testing.assert_allclose(curve.coverage, inside)


def _wide(ends):
    return tuple(np.full(TARGETS.shape, end) for end in ends)


def test_bad_arguments_of_the_curve_of_pit_values_are_named():
    with pytest.raises(ValueError, match=r"`pit` must hold numbers in \[0, 1\].*1.5"):
        metrics.pit_coverage_curve([0.5, 1.5])
    with pytest.raises(ValueError, match="`levels` must be probabilities"):
        metrics.pit_coverage_curve([0.5], [1.0])
    with pytest.raises(ValueError, match="`sample_weight` must have the shape"):
        metrics.pit_coverage_curve([0.5], sample_weight=[1.0, 1.0])


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, np.nan, [0.9]])
@pytest.mark.parametrize(
    "call",
    [
        lambda level: metrics.gaussian_interval([0.0], 1.0, level),
        lambda level: metrics.sample_interval([[0.0]], level),
    ],
)
def test_level_is_a_probability(call, level):
    with pytest.raises(ValueError, match=r"`level` must be .*\(0, 1\).*level="):
        call(level)


@pytest.mark.parametrize("levels", [[0.5, 1.0], [0.0]])
def test_levels_of_a_curve_are_probabilities(levels):
    with pytest.raises(
        ValueError, match=r"`levels?` must be (a probability|probabilities) in \(0, 1\)"
    ):
        metrics.coverage_curve([0.0], [0.0], 1.0, levels)


@pytest.mark.parametrize("levels", [0.5, [], [[0.5]], [np.nan]])
def test_levels_of_a_curve_have_one_axis(levels):
    with pytest.raises(ValueError, match="`levels` must"):
        metrics.coverage_curve([0.0], [0.0], 1.0, levels)


@pytest.mark.parametrize(
    "interval, message",
    [
        (([0.0],), r"`interval` must be a pair.*len\(interval\)=1"),
        (([1.0], [0.0]), "`interval` must not end before.*1 of 1"),
        (
            ([0.0], [1.0, 2.0]),
            r"`interval\[1\]` must have the shape \(batch,\) = \(1,\)",
        ),
        (([np.nan], [1.0]), r"`interval\[0\]` must be finite"),
    ],
)
def test_bad_intervals_are_named(interval, message):
    with pytest.raises(ValueError, match=message):
        metrics.interval_coverage([0.0], interval)
    with pytest.raises(ValueError, match=message):
        metrics.interval_width(interval)


def test_intervals_belong_to_the_targets():
    with pytest.raises(ValueError, match=r"`interval\[0\]` must have .*\(2,\).*\(1,\)"):
        metrics.interval_coverage([0.0, 1.0], ([0.0], [1.0]))
    with pytest.raises(ValueError, match=r"`interval\[0\]` must have .*\(1, 1\)"):
        metrics.interval_coverage([0.0], ([[0.0]], [[1.0]]))


def test_samples_have_two_axes():
    with pytest.raises(ValueError, match=r"`samples` must have the axes.*\(2,\)"):
        metrics.sample_interval([0.0, 1.0])
