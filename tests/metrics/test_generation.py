"""Scores of generated examples against SciPy, scikit-learn and closed forms."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.neighbors import NearestNeighbors

from tfhyper import metrics

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(600, 4)) @ RNG.normal(size=(4, 4))
MADE = RNG.normal(size=(550, 4)) @ RNG.normal(size=(4, 4)) + 0.5


def test_frechet_distance_is_that_of_square_roots_of_matrices():
    first, second = (np.cov(x, rowvar=False) for x in (REAL, MADE))
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.square(REAL.mean(0) - MADE.mean(0)).sum()
    expected += np.trace(first + second - 2 * root)
    found = metrics.frechet_distance(REAL, MADE)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(metrics.frechet_distance(MADE, REAL), found, rtol=1e-8)
    assert metrics.frechet_distance(REAL, REAL) < 1e-6


def test_frechet_distance_is_the_closed_form_of_gaussians():
    x = RNG.normal(size=(5000, 3))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T)).T)
    scales, shift = np.array([0.5, 2.0, 3.0]), np.array([1.0, -2.0, 0.0])
    expected = np.square(shift).sum() + np.square(scales - 1).sum()
    found = metrics.frechet_distance(x, x * scales + shift)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    # A constant feature, whose covariance has no inverse.
    flat = np.pad(x, [(0, 0), (0, 1)])
    np.testing.assert_allclose(metrics.frechet_distance(flat, flat + 1), 4, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_neighbours(k):
    def covered(examples, by):
        distances, _ = NearestNeighbors(n_neighbors=k + 1).fit(by).kneighbors(by)
        away = np.linalg.norm(examples[:, None] - by[None], axis=-1)
        return np.mean((away <= distances[:, -1]).any(axis=1))

    found = metrics.sample_precision_recall(REAL, MADE, k=k)
    assert found.precision == covered(MADE, REAL)
    assert found.recall == covered(REAL, MADE)
    assert 0 < found.recall < 1


def test_lost_modes_lower_recall_and_copies_have_all():
    two = np.concatenate([REAL[:100], REAL[:100] + 1000])
    assert metrics.sample_precision_recall(two, two) == (1.0, 1.0)
    found = metrics.sample_precision_recall(two, REAL[:100])
    assert found == (1.0, 0.5)
    assert metrics.sample_precision_recall(two, REAL[:100] - 5000) == (0.0, 0.0)


def test_modes_are_counted_by_their_share():
    labels = np.repeat(np.arange(5), [50, 30, 10, 9, 1])
    for share, expected in ((0.01, 5), (0.05, 4), (0.1, 3), (0.5, 1), (0.51, 0)):
        assert metrics.mode_count(labels, 7, share) == expected
    assert metrics.mode_count([6], 7) == 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.frechet_distance(REAL[:1], MADE), "`real` must have.*2 exam"),
        (lambda: metrics.frechet_distance(REAL, MADE[:, :2]), "`generated` must have"),
        (
            lambda: metrics.sample_precision_recall(REAL[:3], MADE),
            "`k` must be below .*fewest examples=3",
        ),
        (lambda: metrics.mode_count([0, 3], 3), "`predicted` must be.*=3"),
        (lambda: metrics.mode_count([0], 3, 1.5), "`least_share` must be at most 1"),
        (lambda: metrics.mode_count([0], 3, 0.0), "`least_share` must be"),
    ],
    ids=["one", "features", "k", "label", "share", "no share"],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
