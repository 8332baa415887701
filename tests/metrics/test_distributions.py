"""Scores of distributions against integrals, scikit-learn and SciPy; any shape."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from scipy import integrate

from tfhyper import metrics

RNG = np.random.default_rng(0)
SHAPE = (4, 3, 2)
TARGETS = RNG.normal(size=SHAPE) * 2
MEANS = RNG.normal(size=(3, *SHAPE))
VARIANCES = RNG.gamma(2.0, 0.5, size=(3, *SHAPE))
SHARES = RNG.dirichlet(np.ones(3), SHAPE).transpose(3, 0, 1, 2)
WEIGHTS = RNG.gamma(1.0, size=SHAPE)


def crps_by_integral(y, means, variances, shares):
    grid = np.linspace(-20, 20, 80_001)
    below = scipy.stats.norm.cdf(grid, means[:, None], np.sqrt(variances)[:, None])
    return integrate.trapezoid(np.square(shares @ below - (grid >= y)), grid)


def test_the_score_of_a_mixture_is_its_integral():
    found = metrics.crps_mixture(
        TARGETS[:2, 0], MEANS[:, :2, 0], VARIANCES[:, :2, 0], SHARES[:, :2, 0]
    )
    expected = [
        crps_by_integral(
            TARGETS[b, 0, c],
            MEANS[:, b, 0, c],
            VARIANCES[:, b, 0, c],
            SHARES[:, b, 0, c],
        )
        for b in range(2)
        for c in range(2)
    ]
    assert found == pytest.approx(np.mean(expected), abs=2e-4)
    # One component is a normal; many without a variance are draws.
    one = metrics.crps_mixture(TARGETS, MEANS[:1], VARIANCES[:1])
    right = metrics.crps_gaussian(TARGETS, MEANS[0], VARIANCES[0])
    assert one == pytest.approx(right, rel=1e-12)
    found = metrics.crps_mixture(TARGETS, MEANS, 0.0)
    assert found == pytest.approx(metrics.crps_samples(TARGETS, MEANS), rel=1e-12)
    equal = metrics.crps_mixture(TARGETS, MEANS, VARIANCES, np.full(3, 1 / 3))
    assert equal == pytest.approx(metrics.crps_mixture(TARGETS, MEANS, VARIANCES))


def test_quantile_losses_are_those_of_scikit_learn():
    levels, quantiles = [0.1, 0.5, 0.8], np.sort(MEANS, axis=0)
    found = metrics.quantile_loss(TARGETS, quantiles, levels, sample_weight=WEIGHTS)
    for k, level in enumerate(levels):
        right = sklearn.metrics.mean_pinball_loss(
            TARGETS.ravel(),
            quantiles[k].ravel(),
            sample_weight=WEIGHTS.ravel(),
            alpha=level,
        )
        assert found[k] == pytest.approx(right, rel=1e-12)
    one = metrics.quantile_loss(TARGETS, quantiles[1], 0.5)
    right = np.mean(np.abs(TARGETS - quantiles[1])) / 2
    assert one.shape == () and one == pytest.approx(right, rel=1e-12)


def test_transforms_are_probabilities_below_the_target():
    found = metrics.pit_mixture(TARGETS, MEANS, VARIANCES, SHARES)
    below = scipy.stats.norm.cdf(TARGETS, MEANS, np.sqrt(VARIANCES))
    np.testing.assert_allclose(found, (SHARES * below).sum(axis=0), rtol=1e-12)
    samples = RNG.integers(0, 4, (20, *SHAPE))  # with ties
    targets = RNG.integers(0, 4, SHAPE)
    found = metrics.pit_samples(targets, samples)
    percent = [
        scipy.stats.percentileofscore(samples[(slice(None), *i)], targets[i], "mean")
        for i in np.ndindex(SHAPE)
    ]
    right = (np.array(percent).reshape(SHAPE) / 100 * 20 + 0.5) / 21
    np.testing.assert_allclose(found, right, rtol=1e-12)


def test_histograms_are_those_of_numpy_and_add_up():
    pit = RNG.uniform(size=(50, 3))
    weights = RNG.gamma(1.0, size=50)
    found = metrics.pit_histogram(pit, 8, sample_weight=weights)
    right, edges = np.histogram(
        pit, 8, (0, 1), weights=np.repeat(weights, 3).reshape(50, 3)
    )
    np.testing.assert_allclose(found.counts, right, rtol=1e-12)
    np.testing.assert_allclose(found.edges, edges)
    density = right / right.sum() * 8
    np.testing.assert_allclose(found.density, density)
    assert found.calibration_error == pytest.approx(np.abs(density - 1).mean())
    parts = [
        metrics.pit_histogram(pit[i], 8, sample_weight=weights[i])
        for i in (slice(0, 20), slice(20, 50))
    ]
    np.testing.assert_allclose((parts[0] + parts[1]).counts, right, rtol=1e-12)
    with pytest.raises(ValueError, match="`counts` must have as many bins"):
        found + metrics.pit_histogram(pit, 4)
    # Draws of the prediction itself are calibrated.
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(9, 20_000))
    even = metrics.pit_histogram(metrics.pit_samples(rng.normal(size=20_000), samples))
    np.testing.assert_allclose(even.density, 1, atol=0.08)  # 3.6 standard deviations


def test_targets_of_any_shape_are_scored_as_one_row():
    rows = TARGETS.ravel(), MEANS.reshape(3, -1), VARIANCES.reshape(3, -1)
    weights = {"sample_weight": WEIGHTS}, {"sample_weight": WEIGHTS.ravel()}
    mean, variance = metrics.predictive_moments(MEANS, VARIANCES)
    flat_moments = metrics.predictive_moments(*rows[1:])
    np.testing.assert_array_equal(mean.ravel(), flat_moments.mean)
    np.testing.assert_array_equal(variance.ravel(), flat_moments.variance)
    moments = rows[0], *flat_moments
    interval = metrics.gaussian_interval(mean, variance, 0.8)
    flat_interval = metrics.gaussian_interval(*flat_moments, 0.8)
    np.testing.assert_array_equal(interval.lower.ravel(), flat_interval.lower)
    draws = metrics.sample_interval(MEANS)
    np.testing.assert_array_equal(
        draws.upper.ravel(), metrics.sample_interval(rows[1]).upper
    )
    pairs = [
        (metrics.regression_report, (TARGETS, MEANS, VARIANCES), rows),
        (metrics.rmse, (TARGETS, mean), moments[:2]),
        (metrics.crps_gaussian, (TARGETS, mean, variance), moments),
        (metrics.gaussian_log_likelihood, (TARGETS, mean, variance), moments),
        (metrics.crps_samples, (TARGETS, MEANS), rows[:2]),
        (metrics.predictive_log_likelihood, (TARGETS, MEANS, VARIANCES), rows),
        (metrics.interval_coverage, (TARGETS, interval), (rows[0], flat_interval)),
        (metrics.interval_width, (interval,), (flat_interval,)),
        (metrics.coverage_curve, (TARGETS, mean, variance, [0.5]), (*moments, [0.5])),
        (metrics.crps_mixture, (TARGETS, MEANS, VARIANCES), rows),
        (metrics.sharpness, (variance,), moments[2:]),
    ]
    for score, any_shape, flat in pairs:
        assert score(*any_shape) == score(*flat)
        np.testing.assert_equal(
            score(*any_shape, **weights[0]), score(*flat, **weights[1])
        )
    # One weight for each example, and one variance for each of two components.
    of_examples = WEIGHTS[:, 0, 0]
    found = metrics.regression_report(
        TARGETS, MEANS, [0.5, 2.0], sample_weight=of_examples
    )
    right = metrics.regression_report(
        rows[0],
        rows[1],
        np.tile([0.5, 2.0], 12),
        sample_weight=np.repeat(of_examples, 6),
    )
    assert found == right


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_batches_add_up_to_the_report_of_all(weights):
    scores = metrics.RegressionScores()
    assert np.isnan(scores.result()["rmse"])
    for i in range(4):
        one = slice(i, i + 1)
        w = None if weights is None else weights[one]
        scores.update(TARGETS[one], MEANS[:, one], VARIANCES[:, one], w)
    scores.update(TARGETS, MEANS, 1.0, np.zeros(4))
    right = metrics.regression_report(TARGETS, MEANS, VARIANCES, sample_weight=weights)
    assert scores.result() == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: metrics.crps_mixture(TARGETS, MEANS[:, 0], 1.0),
            r"`means` must have the axes .*\(4, 3, 2\) of `targets`",
        ),
        (
            lambda: metrics.crps_mixture(TARGETS, MEANS, -VARIANCES),
            "`variances` must hold variances, not below zero",
        ),
        (
            lambda: metrics.crps_mixture(TARGETS, MEANS, 1.0, [0.5, 0.5]),
            r"`shares` must have the shape \(components,\) = \(3,\)",
        ),
        (
            lambda: metrics.crps_mixture(TARGETS, MEANS, 1.0, [0.5, 0.5, 0.5]),
            "`shares` must be probabilities.*to 1.5",
        ),
        (
            lambda: metrics.pit_mixture(TARGETS, MEANS, 0.0),
            "`variances` must hold variances, above zero",
        ),
        (
            lambda: metrics.quantile_loss(TARGETS, MEANS, [0.5, 1.0, 0.2]),
            r"`levels` must be one probability in \(0, 1\)",
        ),
        (
            lambda: metrics.quantile_loss(TARGETS, MEANS, [0.5, 0.2]),
            r"`quantiles` must have the shape \(2, 4, 3, 2\)",
        ),
        (lambda: metrics.pit_histogram([1.5]), r"`pit` must hold numbers in \[0, 1\]"),
        (
            lambda: metrics.rmse(TARGETS, TARGETS[..., :1]),
            r"`mean` must have the shape \(batch, ...\) = \(4, 3, 2\) of `targets`",
        ),
        (
            lambda: metrics.regression_report(TARGETS, MEANS, np.ones(3)),
            r"`noise_variance` must be a number or .*`members` has \(3, 4, 3, 2\)",
        ),
        (
            lambda: metrics.rmse(TARGETS, TARGETS, sample_weight=np.ones((4, 3))),
            r"`sample_weight`.*labels' shape \(4, 3, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
