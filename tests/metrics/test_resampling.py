"""Bootstrap intervals beside SciPy's, and what they cover."""

import numpy as np
import pytest
import scipy.stats

from tfhyper import metrics

RNG = np.random.default_rng(0)
VALUES = RNG.gamma(2.0, size=200)
LABELS = RNG.integers(0, 3, 200)
FIRST = RNG.dirichlet(np.ones(3), 200)
SECOND = 0.7 * FIRST + 0.3 * np.eye(3)[LABELS]


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("score", [np.mean, np.median])
def test_intervals_are_scipys(score, level):
    found = metrics.bootstrap(score, VALUES, num_samples=4000, level=level)
    expected = scipy.stats.bootstrap(
        (VALUES,),
        score,
        n_resamples=4000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    assert found.value == score(VALUES)
    # Both are estimates from 4000 resamples.
    room = 0.1 * expected.standard_error
    assert found.lower == pytest.approx(expected.confidence_interval.low, abs=room)
    assert found.upper == pytest.approx(expected.confidence_interval.high, abs=room)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.05)


def test_arrays_are_resampled_together():
    found = metrics.bootstrap(
        lambda x, y: float(np.abs(x - 2 * y).max()), 2 * VALUES, VALUES, num_samples=20
    )
    assert found == (0.0, 0.0, 0.0, 0.0)
    score = metrics.negative_log_likelihood
    found = metrics.bootstrap(score, LABELS, FIRST, num_samples=300)
    each = -np.log(FIRST[np.arange(200), LABELS])
    assert found.value == pytest.approx(each.mean())
    assert found.standard_error == pytest.approx(each.std() / np.sqrt(200), rel=0.15)
    again = metrics.bootstrap(score, LABELS, FIRST, num_samples=300)
    assert again == found
    other = metrics.bootstrap(score, LABELS, FIRST, num_samples=300, seed=1)
    assert other != found and other.value == found.value


def test_the_difference_of_two_is_paired():
    both = {"first": FIRST, "second": SECOND}
    found = metrics.bootstrap(metrics.brier_score, LABELS, both, num_samples=300)
    assert list(found) == ["first", "second", "first - second"]
    alone = metrics.bootstrap(metrics.brier_score, LABELS, FIRST, num_samples=300)
    assert found["first"] == alone

    def each(probs):
        return np.sum((probs - np.eye(3)[LABELS]) ** 2, -1)

    difference = each(FIRST) - each(SECOND)
    gap = found["first - second"]
    assert gap.value == pytest.approx(difference.mean())
    assert gap.standard_error == pytest.approx(
        difference.std() / np.sqrt(200), rel=0.15
    )
    assert gap.lower > 0


def test_scores_may_be_a_report():
    report = metrics.classification_report
    found = metrics.bootstrap(report, LABELS, FIRST, num_samples=30)
    assert found.keys() == report(LABELS, FIRST).keys()
    assert found["nll"].value == report(LABELS, FIRST)["nll"]
    several = metrics.bootstrap(report, LABELS, {"a": FIRST, "b": SECOND, "c": FIRST},
                                num_samples=10)  # fmt: skip
    assert list(several) == ["a", "b", "c", "a - b", "a - c", "b - c"]
    assert several["a - c"]["error"] == (0.0, 0.0, 0.0, 0.0)
    assert several["a"]["error"].value == found["error"].value


def test_intervals_cover_what_they_say():
    covered = 0
    for seed in range(200):
        x = np.random.default_rng(seed).normal(size=100)
        found = metrics.bootstrap(np.mean, x, num_samples=200, level=0.9, seed=seed)
        covered += found.lower <= 0 <= found.upper
    low, high = scipy.stats.binom.interval(0.999, 200, 0.88)
    assert low <= covered <= high


@pytest.mark.parametrize(
    "error, words, call",
    [
        (TypeError, "`score` must be a function", lambda f: f("mean", VALUES)),
        (TypeError, "`score` must give a number", lambda f: f(lambda x: x, VALUES)),
        (TypeError, "`score` must give a number", lambda f: f(lambda x: "a", VALUES)),
        (ValueError, "`score` must give finite", lambda f: f(lambda x: np.nan, VALUES)),
        (ValueError, "`arrays` must be one or more", lambda f: f(np.mean)),
        (ValueError, "`arrays` must be one or more", lambda f: f(np.mean, {})),
        (
            ValueError,
            "`arrays` must be one or more",
            lambda f: f(np.mean, {"a": VALUES}, {"a": VALUES}),
        ),
        (
            ValueError,
            "`arrays` must have the same number",
            lambda f: f(np.mean, VALUES, VALUES[:-1]),
        ),
        (ValueError, "`arrays` must have the same number", lambda f: f(np.mean, [])),
        (ValueError, "`arrays` must have the same number", lambda f: f(np.mean, 3.0)),
        (TypeError, "`arrays` must hold real", lambda f: f(np.mean, ["a", "b"])),
        (
            ValueError,
            "`num_samples` must be",
            lambda f: f(np.mean, VALUES, num_samples=0),
        ),
        (ValueError, "`level` must be in 0 <", lambda f: f(np.mean, VALUES, level=1)),
        (ValueError, "`seed` must be", lambda f: f(np.mean, VALUES, seed=-1)),
        (
            ValueError,
            "`labels` must make some predictions right",
            lambda f: f(
                metrics.misclassification_detection, [0, 0], [[1.0, 0], [0, 1.0]]
            ),
        ),
    ],
)
def test_bad_arguments_are_named(error, words, call):
    with pytest.raises(error, match=words):
        call(metrics.bootstrap)
