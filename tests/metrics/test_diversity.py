"""Fault counts and disagreement against direct loops and small cases."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from tfhyper import metrics


def random_members(draws=4, batch=200, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    members = softmax(rng.normal(size=(draws, batch, classes)), axis=-1)
    return rng.integers(0, classes, size=batch), members


def test_fault_counts_equal_a_direct_loop():
    labels, members = random_members()
    expected = [0] * 5
    for example, label in enumerate(labels):
        wrong = sum(member[example].argmax() != label for member in members)
        expected[wrong] += 1
    counts = metrics.fault_counts(labels, members)
    assert counts.tolist() == expected
    assert counts.sum() == 200 and counts.dtype == np.int64


def test_fault_counts_keep_their_length_where_no_draw_errs():
    members = np.array([[[0.9, 0.1]] * 3] * 4)
    assert metrics.fault_counts([0, 0, 0], members).tolist() == [3, 0, 0, 0, 0]
    assert metrics.fault_counts([1, 1, 1], members).tolist() == [0, 0, 0, 0, 3]


def test_fault_counts_give_the_mean_error_of_the_draws():
    labels, members = random_members()
    counts = metrics.fault_counts(labels, members)
    mean_error = np.mean([metrics.error(labels, member) for member in members])
    assert counts @ np.arange(5) / (4 * 200) == pytest.approx(mean_error)


@pytest.mark.parametrize("draws", [2, 5])
def test_disagreement_equals_the_mean_over_pairs(draws):
    _, members = random_members(draws)
    predicted = members.argmax(axis=-1)
    pairs = itertools.combinations(predicted, 2)
    expected = np.mean([np.mean(a != b) for a, b in pairs])
    assert metrics.disagreement(members) == pytest.approx(expected)


def test_disagreement_spans_zero_to_one():
    assert metrics.disagreement([[[0.9, 0.1]]] * 3) == 0.0
    assert metrics.disagreement(np.eye(3)[:, np.newaxis, :]) == 1.0


def test_disagreement_needs_two_draws():
    with pytest.raises(ValueError, match=r"at least two draws.*\(1, 1, 2\)"):
        metrics.disagreement([[[0.9, 0.1]]])


@pytest.mark.parametrize(
    "labels, problem, message",
    [
        ([0, 0], ValueError, r"`labels` must have the shape.*\(1,\).*\(2,\)"),
        ([5], ValueError, r"`labels` must lie in \[0, 2\)"),
        ([0.5], ValueError, "`labels` must be class indices"),
    ],
)
def test_fault_counts_name_bad_labels(labels, problem, message):
    with pytest.raises(problem, match=message):
        metrics.fault_counts(labels, [[[0.9, 0.1]]])


@pytest.mark.parametrize(
    "call", [metrics.disagreement, lambda members: metrics.fault_counts([0], members)]
)
def test_two_axes_are_refused(call):
    with pytest.raises(ValueError, match=r"`members` must have the axes.*\(1, 2\)"):
        call([[0.9, 0.1]])
