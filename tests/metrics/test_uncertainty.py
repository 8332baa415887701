"""Uncertainty and its parts against SciPy, exact laws and limits."""

import numpy as np
import pytest
import scipy.stats
from scipy.special import softmax

from tfhyper import metrics

ENTROPIES = (
    metrics.predictive_entropy,
    metrics.expected_entropy,
    metrics.mutual_information,
)


@pytest.fixture
def members():
    rng = np.random.default_rng(0)
    return softmax(rng.normal(size=(6, 40, 5)) * 2, axis=-1)


def test_predictive_entropy_equals_scipy(members):
    expected = scipy.stats.entropy(members.mean(axis=0), axis=-1)
    np.testing.assert_allclose(metrics.predictive_entropy(members), expected)


def test_expected_entropy_equals_scipy(members):
    expected = scipy.stats.entropy(members, axis=-1).mean(axis=0)
    np.testing.assert_allclose(metrics.expected_entropy(members), expected)


def test_mutual_information_is_the_mean_divergence_from_the_mean(members):
    mean = np.broadcast_to(members.mean(axis=0), members.shape)
    expected = scipy.stats.entropy(members, mean, axis=-1).mean(axis=0)
    np.testing.assert_allclose(metrics.mutual_information(members), expected)


def test_entropy_splits_into_its_two_parts(members):
    parts = metrics.expected_entropy(members) + metrics.mutual_information(members)
    np.testing.assert_allclose(metrics.predictive_entropy(members), parts)


def test_agreeing_draws_have_no_epistemic_part():
    rng = np.random.default_rng(1)
    same = np.repeat(softmax(rng.normal(size=(1, 200, 10)), axis=-1), 7, axis=0)
    information = metrics.mutual_information(same)
    assert np.all(information >= 0)
    np.testing.assert_allclose(information, 0, atol=1e-12)
    np.testing.assert_allclose(
        metrics.variance_decomposition(same).epistemic, 0, atol=1e-12
    )


def test_certain_draws_that_disagree_are_all_epistemic():
    members = np.eye(4)[:, np.newaxis, :]
    np.testing.assert_allclose(metrics.predictive_entropy(members), [np.log(4)])
    assert metrics.expected_entropy(members).tolist() == [0.0]
    np.testing.assert_allclose(metrics.mutual_information(members), [np.log(4)])


@pytest.mark.parametrize("uncertainty", ENTROPIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zero_times_log_zero_is_zero(uncertainty, dtype):
    members = np.array([[[1.0, 0.0, 0.0]]] * 3, dtype)
    value = uncertainty(members)
    assert value.tolist() == [0.0] and value.dtype == np.float64
    assert not np.signbit(value).any()


def test_variance_decomposition_is_the_variance_of_sampled_labels():
    rng = np.random.default_rng(2)
    members = rng.dirichlet(np.ones(3), size=(4, 1))
    draws = rng.integers(0, 4, size=400_000)
    labels = (rng.random((400_000, 1)) > members[draws, 0].cumsum(-1)).sum(-1)
    parts = metrics.variance_decomposition(members)
    sampled = np.eye(3)[labels].var(axis=0)
    np.testing.assert_allclose(parts.total[0], sampled, atol=2e-3)
    np.testing.assert_allclose(parts.epistemic[0], members[:, 0].var(axis=0))


def test_law_of_total_variance(members):
    total, aleatoric, epistemic = metrics.variance_decomposition(members)
    assert total.shape == aleatoric.shape == epistemic.shape == (40, 5)
    np.testing.assert_allclose(total, aleatoric + epistemic, atol=1e-15)
    for part in (total, aleatoric, epistemic):
        assert part.min() >= 0 and part.max() <= 0.25


def test_covariances_equal_loops_over_examples(members):
    parts = metrics.covariance_decomposition(members)
    for i in range(members.shape[1]):
        probs = members[:, i]
        mean = probs.mean(axis=0)
        aleatoric = np.mean([np.diag(p) - np.outer(p, p) for p in probs], axis=0)
        total = np.diag(mean) - np.outer(mean, mean)
        np.testing.assert_allclose(parts.aleatoric[i], aleatoric, atol=1e-15)
        np.testing.assert_allclose(
            parts.epistemic[i], np.cov(probs.T, bias=True), atol=1e-15
        )
        np.testing.assert_allclose(parts.total[i], total, atol=1e-15)


@pytest.mark.parametrize("dtype, atol", [(np.float32, 2e-7), (np.float64, 1e-15)])
def test_laws_of_covariances(members, dtype, atol):
    parts = metrics.covariance_decomposition(members.astype(dtype))
    np.testing.assert_allclose(
        parts.total, parts.aleatoric + parts.epistemic, atol=1e-15
    )
    for part in parts:
        assert part.shape == (40, 5, 5) and part.dtype == np.float64
        np.testing.assert_array_equal(part, part.swapaxes(1, 2))
        np.testing.assert_allclose(part.sum(axis=-1), 0, atol=atol)
        assert np.linalg.eigvalsh(part).min() > -atol


def test_variances_are_the_diagonals_of_the_covariances(members):
    matrices = metrics.covariance_decomposition(members)
    variances = metrics.variance_decomposition(members)
    for name in ("total", "aleatoric", "epistemic"):
        diagonals = np.diagonal(getattr(matrices, name), axis1=1, axis2=2)
        np.testing.assert_array_equal(getattr(variances, name), diagonals)


@pytest.mark.parametrize(
    "uncertainty",
    (*ENTROPIES, metrics.variance_decomposition, metrics.covariance_decomposition),
)
@pytest.mark.parametrize(
    "members, message",
    [
        ([[0.5, 0.5]], r"`members`.*\(draws, batch, classes\).*\(1, 2\)"),
        (np.zeros((0, 2, 2)), r"`members` must hold at least one row.*\(0, 2, 2\)"),
        ([[[np.nan, 1.0]]], "`members` must be finite"),
        ([[[3.0, -2.0]]], "none below zero.*-2"),
        ([[[0.5, 0.4]]], r"`members` must sum to one.*0\.9"),
    ],
)
def test_bad_members_are_named(uncertainty, members, message):
    with pytest.raises(ValueError, match=message):
        uncertainty(members)
