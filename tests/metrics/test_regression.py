"""Scores of a regression against SciPy's densities and integrals, and direct loops."""

import numpy as np
import pytest
from scipy import integrate, stats

from tfhyper import metrics

RNG = np.random.default_rng(0)
TARGETS = RNG.normal(size=12) * 3
MEAN = RNG.normal(size=12)
VARIANCE = RNG.gamma(1.0, 2.0, size=12)
MEMBERS = MEAN + RNG.normal(size=(7, 12))


def integrated_crps(cdf, target, ends=(-60.0, 60.0)):
    """The integral of (F(x) - [x >= target])**2 that defines the score."""
    below, _ = integrate.quad(lambda x: cdf(x) ** 2, ends[0], target, limit=400)
    above, _ = integrate.quad(lambda x: (1 - cdf(x)) ** 2, target, ends[1], limit=400)
    return below + above


def test_rmse():
    expected = np.sqrt(sum((y - m) ** 2 for y, m in zip(TARGETS, MEAN)) / 12)
    assert metrics.rmse(TARGETS, MEAN) == pytest.approx(expected)
    assert metrics.rmse([3], [3]) == 0.0


def test_gaussian_crps_equals_the_integral():
    expected = [
        integrated_crps(stats.norm(m, np.sqrt(v)).cdf, y)
        for y, m, v in zip(TARGETS, MEAN, VARIANCE)
    ]
    found = metrics.crps_gaussian(TARGETS, MEAN, VARIANCE)
    assert found == pytest.approx(np.mean(expected), rel=1e-7)


@pytest.mark.parametrize("variance", [0.0, 1e-300, 1e-30])
def test_gaussian_crps_tends_to_the_absolute_error(variance):
    assert metrics.crps_gaussian([2.0, 1.0], [0.0, 1.0], variance) == pytest.approx(1.0)


def test_gaussian_crps_of_no_error():
    expected = 3 * (np.sqrt(2) - 1) / np.sqrt(np.pi)
    assert metrics.crps_gaussian([5.0], [5.0], 9.0) == pytest.approx(expected)


@pytest.mark.parametrize("draws", [1, 2, 9])
def test_crps_of_samples_equals_the_integral_of_their_steps(draws):
    samples = RNG.normal(size=(draws, 12)) * 2
    expected = []
    for column, target in zip(samples.T, TARGETS):
        knots = np.sort(np.append(column, target))
        steps = [np.mean(column <= x) - (target <= x) for x in knots[:-1]]
        expected.append(np.sum(np.square(steps) * np.diff(knots)))
    found = metrics.crps_samples(TARGETS, samples)
    assert found == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("fair", [False, True])
def test_crps_of_samples_equals_loops_over_pairs(fair):
    draws = len(MEMBERS)
    divisor = draws * (draws - 1) if fair else draws**2
    expected = [
        np.mean(abs(column - target))
        - sum(abs(a - b) for a in column for b in column) / (2 * divisor)
        for column, target in zip(MEMBERS.T, TARGETS)
    ]
    found = metrics.crps_samples(TARGETS, MEMBERS, fair=fair)
    assert found == pytest.approx(np.mean(expected), rel=1e-12)


def test_fair_crps_of_few_draws_is_unbiased():
    # 3 draws for each of 200,000 targets; the standard error is about 0.001.
    rng = np.random.default_rng(1)
    samples = rng.normal(size=(3, 200_000))
    targets = np.full(200_000, 0.7)
    expected = metrics.crps_gaussian([0.7], [0.0], 1.0)
    found = metrics.crps_samples(targets, samples, fair=True)
    assert found == pytest.approx(expected, abs=0.005)
    assert metrics.crps_samples(targets, samples) > expected + 0.1


def test_crps_of_samples_does_not_lose_digits_far_from_zero():
    near = metrics.crps_samples([0.25], [[0.0], [1.0], [0.5]])
    far = metrics.crps_samples(
        [2.0**40 + 0.25], np.array([[0.0], [1.0], [0.5]]) + 2**40
    )
    assert far == near


def test_gaussian_log_likelihood_equals_scipy():
    expected = stats.norm(MEAN, np.sqrt(VARIANCE)).logpdf(TARGETS).mean()
    found = metrics.gaussian_log_likelihood(TARGETS, MEAN, VARIANCE)
    assert found == pytest.approx(expected, rel=1e-12)
    expected = stats.norm(MEAN, 1.5).logpdf(TARGETS).mean()
    found = metrics.gaussian_log_likelihood(TARGETS, MEAN, 2.25)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(), (12,), (7, 12)])
def test_predictive_log_likelihood_equals_the_mixture_of_densities(shape):
    noise = np.random.default_rng(2).gamma(2.0, 1.0, size=shape)
    densities = stats.norm(MEMBERS, np.sqrt(noise)).pdf(TARGETS)
    expected = np.mean(np.log(densities.mean(axis=0)))
    found = metrics.predictive_log_likelihood(TARGETS, MEMBERS, noise)
    assert found == pytest.approx(expected, rel=1e-12)


def test_predictive_log_likelihood_is_that_of_the_papers():
    tau = 0.8
    expected = (
        np.log(np.sum(np.exp(-tau / 2 * (TARGETS - MEMBERS) ** 2), axis=0))
        - np.log(7)
        - np.log(2 * np.pi) / 2
        + np.log(tau) / 2
    ).mean()
    found = metrics.predictive_log_likelihood(TARGETS, MEMBERS, 1 / tau)
    assert found == pytest.approx(expected, rel=1e-12)


def test_densities_too_small_for_a_float_have_a_logarithm():
    found = metrics.predictive_log_likelihood([1000.0], [[0.0], [500.0]], 1.0)
    expected = stats.norm(500, 1).logpdf(1000) - np.log(2)
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(), (12,), (7, 12)])
def test_moments_are_those_of_draws_with_noise(shape):
    # 700,000 draws for each example: relative standard errors below 0.003.
    rng = np.random.default_rng(3)
    noise = rng.gamma(2.0, 1.0, size=shape)
    moments = metrics.predictive_moments(MEMBERS, noise)
    assert moments.mean.shape == moments.variance.shape == (12,)
    drawn = MEMBERS + np.sqrt(noise) * rng.normal(size=(100_000, 7, 12))
    np.testing.assert_allclose(moments.mean, drawn.mean(axis=(0, 1)), atol=0.02)
    np.testing.assert_allclose(moments.variance, drawn.var(axis=(0, 1)), rtol=0.015)


def test_moments_without_noise_are_the_members():
    mean, variance = metrics.predictive_moments(MEMBERS)
    np.testing.assert_allclose(mean, np.mean(MEMBERS, axis=0))
    np.testing.assert_allclose(variance, np.var(MEMBERS, axis=0))


def test_report_holds_the_scores():
    report = metrics.regression_report(TARGETS, MEMBERS, 0.5)
    mean, std = MEMBERS.mean(axis=0), np.sqrt(MEMBERS.var(axis=0) + 0.5)
    densities = stats.norm(MEMBERS, np.sqrt(0.5)).pdf(TARGETS).mean(axis=0)
    lower, upper = stats.norm(mean, std).interval(0.9)
    inside = (TARGETS >= lower) & (TARGETS <= upper)
    assert report == pytest.approx(
        {
            "rmse": np.sqrt(np.mean((TARGETS - mean) ** 2)),
            "crps": metrics.crps_gaussian(TARGETS, mean, std**2),
            "nll": -np.mean(np.log(densities)),
            "coverage_90": np.mean(inside),
            "width_90": np.mean(upper - lower),
        }
    )
    assert list(report) == ["rmse", "crps", "nll", "coverage_90", "width_90"]
    assert all(type(value) is float for value in report.values())


def test_large_integers_are_exact():
    # float32 would round both to the same number.
    assert metrics.rmse([20_000_001], [20_000_000]) == 1.0


def test_half_precision_and_tensors_are_accepted():
    import keras

    half = keras.ops.convert_to_tensor([0.5], "bfloat16")
    assert metrics.rmse(half, np.array([1.0], np.float16)) == 0.5


@pytest.mark.parametrize(
    "score",
    [
        metrics.rmse,
        metrics.optimal_crps,
        metrics.optimal_log_likelihood,
        metrics.best_constant_variance,
        lambda targets, mean: metrics.crps_gaussian(targets, mean, 1.0),
        lambda targets, mean: metrics.gaussian_log_likelihood(targets, mean, 1.0),
        lambda targets, mean: metrics.coverage_curve(targets, mean, 1.0),
    ],
)
@pytest.mark.parametrize(
    "targets, mean, problem, message",
    [
        ([], [], ValueError, r"`\w+` must have the shape \(batch,\).*\(0,\)"),
        (1.0, [1.0], ValueError, r"`targets` must have the shape.*\(\)"),
        ([1.0], [[1.0]], ValueError, r"`mean` must have the shape.*\(1, 1\)"),
        ([1.0, 2.0], [1.0], ValueError, r"have the shape \(batch,\)"),
        ([np.nan], [1.0], ValueError, "`targets` must be finite"),
        ([1.0], [np.inf], ValueError, "`mean` must be finite"),
        (["a"], [1.0], TypeError, "`targets` must hold real numbers"),
        ([1.0], [1j], TypeError, "`mean` must hold real numbers"),
    ],
)
def test_bad_targets_and_means_are_named(score, targets, mean, problem, message):
    with pytest.raises(problem, match=message):
        score(targets, mean)


@pytest.mark.parametrize(
    "score",
    [
        metrics.crps_samples,
        metrics.fit_noise_variance,
        lambda targets, m: metrics.fit_noise_variance(targets, m, "log_likelihood"),
        lambda targets, m: metrics.predictive_log_likelihood(targets, m, 1.0),
        lambda targets, m: metrics.regression_report(targets, m, 1.0),
    ],
)
@pytest.mark.parametrize(
    "targets, members, message",
    [
        ([1.0], [1.0], r"must have the axes \(draws, batch\).*shape=\(1,\)"),
        ([1.0], np.zeros((0, 1)), r"\(draws, batch\), with at least.*\(0, 1\)"),
        ([1.0], [[1.0, 2.0]], r"one column per target, batch=1.*\(1, 2\)"),
        ([1.0], [[[1.0]]], r"\(draws, batch\).*\(1, 1, 1\)"),
        ([1.0], [[np.nan]], "must be finite"),
        ([np.inf], [[1.0]], "`targets` must be finite"),
    ],
)
def test_bad_members_are_named(score, targets, members, message):
    with pytest.raises(ValueError, match=message):
        score(targets, members)


@pytest.mark.parametrize(
    "call",
    [
        lambda v: metrics.crps_gaussian([1.0], [1.0], v),
        lambda v: metrics.gaussian_log_likelihood([1.0], [1.0], v),
        lambda v: metrics.gaussian_interval([1.0], v),
        lambda v: metrics.coverage_curve([1.0], [1.0], v),
        lambda v: metrics.predictive_log_likelihood([1.0], [[1.0]], v),
        lambda v: metrics.predictive_moments([[1.0]], v),
        lambda v: metrics.regression_report([1.0], [[1.0]], v),
    ],
)
@pytest.mark.parametrize(
    "variance, problem, message",
    [
        (-0.5, ValueError, "variance` must hold variances.*-0.5"),
        ([-0.5], ValueError, "variance` must hold variances.*-0.5"),
        (np.nan, ValueError, "variance` must be finite"),
        ([1.0, 2.0], ValueError, r"one of the shapes .*\(1,\)\. .*shape=\(2,\)"),
        ([[[1.0]]], ValueError, r"one of the shapes.*shape=\(1, 1, 1\)"),
        ("1", TypeError, "variance` must hold real numbers"),
    ],
)
def test_bad_variances_are_named(call, variance, problem, message):
    with pytest.raises(problem, match=message):
        call(variance)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.gaussian_log_likelihood([1.0], [1.0], 0.0),
        lambda: metrics.predictive_log_likelihood([1.0], [[1.0]], 0.0),
        lambda: metrics.regression_report([1.0], [[1.0]], [0.0]),
    ],
)
def test_densities_need_a_variance_above_zero(call):
    with pytest.raises(ValueError, match="variance` must hold .*above zero.*0.0"):
        call()


def test_fair_score_needs_two_draws():
    with pytest.raises(ValueError, match=r"two draws for the fair.*\(1, 1\)"):
        metrics.crps_samples([1.0], [[1.0]], fair=True)
