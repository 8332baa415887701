"""Bounds and fitted variances against SciPy's optimisers and dense grids."""

import numpy as np
import pytest
from scipy import optimize, special, stats

from tfhyper import metrics

RNG = np.random.default_rng(0)
TARGETS = RNG.standard_t(3, size=40)
MEAN = RNG.normal(size=40) * 0.5
SCORES = ("crps", "log_likelihood")


def loss(score, targets, mean, variance):
    """The score, computed by SciPy and NumPy alone, with smaller for better."""
    normal = stats.norm(mean, np.sqrt(variance))
    if score == "log_likelihood":
        return -np.mean(normal.logpdf(targets))
    # E|X - y| - E|X - X'| / 2: the mean of a folded normal, and sigma / sqrt(pi).
    std, error = np.sqrt(variance), targets - mean
    folded = std * np.sqrt(2 / np.pi) * np.exp(-(error**2) / (2 * variance))
    folded = folded + error * (1 - 2 * stats.norm.cdf(-error / std))
    return np.mean(folded - std / np.sqrt(np.pi))


def mixture_loss(targets, members, variance):
    logs = stats.norm(members, np.sqrt(variance)).logpdf(targets)
    return -np.mean(special.logsumexp(logs, axis=0) - np.log(len(members)))


@pytest.mark.parametrize(
    "score, bound",
    [
        ("crps", metrics.optimal_crps),
        ("log_likelihood", lambda *args: -metrics.optimal_log_likelihood(*args)),
    ],
)
def test_optimum_equals_the_minimum_over_each_variance(score, bound):
    best = [
        optimize.minimize_scalar(
            lambda log: loss(score, y, m, np.exp(log)), bounds=(-20, 10)
        ).fun
        for y, m in zip(TARGETS, MEAN)
    ]
    assert bound(TARGETS, MEAN) == pytest.approx(np.mean(best), rel=1e-6)


def test_optima_are_reached():
    errors = TARGETS - MEAN
    crps = metrics.crps_gaussian(TARGETS, MEAN, errors**2 / np.log(2))
    assert metrics.optimal_crps(TARGETS, MEAN) == pytest.approx(crps, rel=1e-12)
    likelihood = metrics.gaussian_log_likelihood(TARGETS, MEAN, errors**2)
    found = metrics.optimal_log_likelihood(TARGETS, MEAN)
    assert found == pytest.approx(likelihood, rel=1e-12)
    assert metrics.optimal_crps([1.0], [0.0]) == pytest.approx(0.594904, abs=5e-7)


def test_no_error_has_no_optimal_likelihood_but_the_best_crps():
    assert metrics.optimal_log_likelihood([1.0, 2.0], [1.0, 0.0]) == np.inf
    assert metrics.optimal_crps([1.0], [1.0]) == 0.0


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_best_constant_equals_a_numeric_minimum(score, scale):
    targets, mean = TARGETS * scale, MEAN * scale
    found = optimize.minimize_scalar(
        lambda log: loss(score, targets, mean, np.exp(log)),
        bounds=2 * np.log(scale) + np.array([-8, 5]),
        options={"xatol": 1e-10},
    )
    variance = metrics.best_constant_variance(targets, mean, score)
    assert variance == pytest.approx(np.exp(found.x), rel=1e-5)


@pytest.mark.parametrize("zeros, best_is_zero", [(2, False), (7, False), (8, True)])
def test_best_constant_where_some_errors_are_zero(zeros, best_is_zero):
    targets = np.append(np.zeros(zeros), np.linspace(1, 2, 10 - zeros))
    grid = np.append(0.0, np.logspace(-8, 2, 2001))
    scores = [metrics.crps_gaussian(targets, np.zeros(10), v) for v in grid]
    variance = metrics.best_constant_variance(targets, np.zeros(10))
    assert variance == pytest.approx(grid[np.argmin(scores)], rel=0.01)
    assert (variance == 0) == best_is_zero


def test_best_constant_of_equal_errors_is_the_optimum():
    targets = np.array([2.0, -2.0, 2.0])
    variance = metrics.best_constant_variance(targets, np.zeros(3))
    assert variance == pytest.approx(4 / np.log(2))
    crps = metrics.crps_gaussian(targets, np.zeros(3), variance)
    assert crps == pytest.approx(metrics.optimal_crps(targets, np.zeros(3)))


@pytest.mark.parametrize("score", SCORES)
def test_no_error_at_all_needs_no_variance(score):
    assert metrics.best_constant_variance([1.0, 2.0], [1.0, 2.0], score) == 0.0
    assert metrics.fit_noise_variance([1.0, 2.0], [[1.0, 2.0]] * 3, score) == 0.0


def members_of(spread, seed=1):
    return MEAN + spread * np.random.default_rng(seed).normal(size=(9, 40))


@pytest.mark.parametrize("spread", [1e-3, 0.5, 1.0])
def test_noise_by_crps_equals_a_dense_grid(spread):
    members = members_of(spread)
    mean, variance = members.mean(axis=0), members.var(axis=0)
    grid = np.logspace(-6, 2, 401)
    losses = [loss("crps", TARGETS, mean, variance + v) for v in grid]
    found = metrics.fit_noise_variance(TARGETS, members)
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.05)
    reached = metrics.crps_gaussian(TARGETS, mean, variance + found)
    assert reached <= min(losses) + 1e-12


@pytest.mark.parametrize("spread", [1e-3, 0.5, 1.0])
def test_noise_by_likelihood_equals_a_dense_grid(spread):
    members = members_of(spread)
    grid = np.logspace(-3, 2, 251)
    losses = [mixture_loss(TARGETS, members, v) for v in grid]
    found = metrics.fit_noise_variance(TARGETS, members, "log_likelihood")
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.05)
    reached = metrics.predictive_log_likelihood(TARGETS, members, found)
    assert -reached <= min(losses) + 1e-12


def test_noise_of_members_that_scatter_too_much_is_zero():
    assert metrics.fit_noise_variance(TARGETS, members_of(50.0)) == 0.0


@pytest.mark.parametrize("score", SCORES)
def test_noise_around_one_draw_is_the_best_constant(score):
    found = metrics.fit_noise_variance(TARGETS, MEAN[np.newaxis], score)
    expected = metrics.best_constant_variance(TARGETS, MEAN, score)
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("draws, expected", [(200, 1e-4), (5000, 100.0)])
def test_noise_is_the_better_of_two_optima(draws, expected):
    # One draw errs by 0.01, the others by 10. The log-likelihood has an optimum at
    # either squared error, and the first one's is lower by log(draws).
    members = np.full((draws, 3), 10.0)
    members[0] = 0.01
    here, valley, there = (
        mixture_loss(np.zeros(3), members, v) for v in (1e-4, 1.0, 100.0)
    )
    assert valley > max(here, there) and (here < there) == (draws == 200)
    found = metrics.fit_noise_variance(np.zeros(3), members, "log_likelihood")
    assert found == pytest.approx(expected, rel=0.01)


def test_noise_is_recovered():
    # 20,000 targets: the relative standard error of a variance is 0.01.
    rng = np.random.default_rng(4)
    mean = rng.normal(size=20_000)
    targets = mean + rng.normal(size=20_000) * 0.5
    for score in SCORES:
        found = metrics.fit_noise_variance(targets, mean[np.newaxis], score)
        assert found == pytest.approx(0.25, rel=0.05)


def test_normalized_score():
    assert metrics.normalized_score(3.0, constant=3.0, optimal=1.0) == 0.0
    assert metrics.normalized_score(1.0, constant=3.0, optimal=1.0) == 100.0
    assert metrics.normalized_score(4.0, constant=3.0, optimal=1.0) == -50.0
    assert metrics.normalized_score(-2.0, constant=-3.0, optimal=1.0) == 25.0


@pytest.mark.parametrize(
    "scores, problem, message",
    [
        ((1.0, 2.0, 2.0), ValueError, "`optimal` must differ.*optimal=2.0"),
        ((np.nan, 2.0, 1.0), ValueError, "`score` must be finite"),
        ((1.0, np.inf, 1.0), ValueError, "`constant` must be finite"),
        ((1.0, 2.0, np.inf), ValueError, "`optimal` must be finite"),
        (([1.0], 2.0, 1.0), ValueError, r"`score` must be one number.*\(1,\)"),
        (("1", 2.0, 1.0), TypeError, "`score` must hold real numbers"),
    ],
)
def test_bad_scores_are_named(scores, problem, message):
    with pytest.raises(problem, match=message):
        metrics.normalized_score(*scores)


@pytest.mark.parametrize("score", ["CRPS", "rmse", None])
def test_unknown_scores_are_named(score):
    message = r"`score` must be one of \['crps', 'log_likelihood'\]. Received: score="
    with pytest.raises(ValueError, match=message):
        metrics.best_constant_variance([1.0], [0.0], score)
    with pytest.raises(ValueError, match=message):
        metrics.fit_noise_variance([1.0], [[0.0]], score)
