"""Detection and selective risk against counts over pairs, thresholds and orders."""

import itertools

import numpy as np
import pytest
from scipy.special import softmax

from tfhyper import metrics

RNG = np.random.default_rng(0)


def rank_statistic(negatives, positives):
    """The chance that a positive has the larger score; a tie counts half."""
    return np.mean([(p > n) + (p == n) / 2 for p in positives for n in negatives])


def average_precision(negatives, positives):
    """Precision at every threshold, weighted by the recall that it adds."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted({*negatives, *positives}, reverse=True):
        found = np.sum(positives >= threshold)
        recall = found / len(positives)
        precision = found / (found + np.sum(negatives >= threshold))
        total += (recall - recall_before) * precision
        recall_before = recall
    return total


def false_positive_rate(negatives, positives):
    """At the highest threshold that finds 95 % of the positives."""
    for threshold in sorted(positives, reverse=True):
        if np.sum(positives >= threshold) * 100 >= 95 * len(positives):
            return np.mean(negatives >= threshold)
    raise AssertionError


def scores(count_in=120, count_out=80, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=count_in), rng.normal(size=count_out) + 1.5
    return values if decimals is None else tuple(v.round(decimals) for v in values)


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("counts", [(120, 80), (100, 20), (7, 300), (1, 1)])
def test_ood_scores_equal_counts_over_pairs_and_thresholds(counts, decimals):
    known, unknown = scores(*counts, decimals=decimals)
    found = metrics.ood_detection(known, unknown)
    assert found == pytest.approx(
        {
            "auroc": rank_statistic(known, unknown),
            "aupr_out": average_precision(known, unknown),
            "aupr_in": average_precision(-unknown, -known),
            "fpr95_out": false_positive_rate(known, unknown),
            "fpr95_in": false_positive_rate(-unknown, -known),
        }
    )
    keys = ["auroc", "aupr_out", "aupr_in", "fpr95_out", "fpr95_in"]
    assert list(found) == keys
    assert all(type(value) is float for value in found.values())


def test_exactly_95_percent_are_enough():
    unknown = np.append(np.full(19, 2.0), 0.0)
    found = metrics.ood_detection(np.ones(20), unknown)
    assert found["fpr95_out"] == 0.0
    found = metrics.ood_detection(np.ones(20), np.append(unknown[1:], 0.0))
    assert found["fpr95_out"] == 1.0


def test_limits_of_ood_scores():
    apart = metrics.ood_detection([0.0, 1.0], [2.0, 3.0])
    assert list(apart.values()) == [1.0, 1.0, 1.0, 0.0, 0.0]
    alike = metrics.ood_detection(np.zeros(30), np.zeros(10))
    assert list(alike.values()) == [0.5, 0.25, 0.75, 1.0, 1.0]


def test_only_the_order_of_the_scores_counts():
    known, unknown = scores()
    expected = metrics.ood_detection(known, unknown)
    assert metrics.ood_detection(np.exp(known), np.exp(unknown)) == expected


@pytest.mark.parametrize(
    "known, unknown, problem, message",
    [
        ([], [1.0], ValueError, r"`scores_in` must have the shape.*\(0,\)"),
        ([1.0], [], ValueError, r"`scores_out` must have the shape.*\(0,\)"),
        ([[1.0]], [1.0], ValueError, r"`scores_in` must have the shape.*\(1, 1\)"),
        ([1.0], [np.nan], ValueError, "`scores_out` must be finite"),
        ([np.inf], [1.0], ValueError, "`scores_in` must be finite"),
        (["a"], [1.0], TypeError, "`scores_in` must hold real numbers"),
    ],
)
def test_bad_scores_are_named(known, unknown, problem, message):
    with pytest.raises(problem, match=message):
        metrics.ood_detection(known, unknown)


def predictions(count=150, seed=0):
    rng = np.random.default_rng(seed)
    probs = softmax(rng.normal(size=(count, 4)) * 2, axis=-1)
    labels = (rng.random((count, 1)) > probs.cumsum(axis=1)).sum(axis=1)
    return labels, probs


@pytest.mark.parametrize("own_uncertainty", [False, True])
def test_misclassification_scores_equal_direct_counts(own_uncertainty):
    labels, probs = predictions()
    uncertainty = -probs.max(axis=1)
    arguments = (labels, probs)
    if own_uncertainty:
        uncertainty = metrics.predictive_entropy(probs[np.newaxis])
        arguments = (labels, probs, uncertainty)
    wrong = probs.argmax(axis=1) != labels
    errors, successes = uncertainty[wrong], uncertainty[~wrong]
    found = metrics.misclassification_detection(*arguments)
    assert found == pytest.approx(
        {
            "auroc": rank_statistic(successes, errors),
            "aupr_error": average_precision(successes, errors),
            "aupr_success": average_precision(-errors, -successes),
            "fpr95_error": false_positive_rate(successes, errors),
            "fpr95_success": false_positive_rate(-errors, -successes),
            "aurc": metrics.aurc(wrong, uncertainty),
            "excess_aurc": metrics.excess_aurc(wrong, uncertainty),
        }
    )
    assert all(type(value) is float for value in found.values())


def test_members_are_averaged_before_detection():
    rng = np.random.default_rng(1)
    members = softmax(rng.normal(size=(5, 64, 4)), axis=-1)
    labels = rng.integers(0, 4, size=64)
    of_members = metrics.misclassification_detection(labels, members)
    of_mean = metrics.misclassification_detection(labels, members.mean(axis=0))
    assert of_members == of_mean


@pytest.mark.parametrize("label, count", [(0, 0), (1, 2)])
def test_predictions_of_one_kind_have_nothing_to_tell_apart(label, count):
    with pytest.raises(ValueError, match=f"right and some wrong.*make {count} of 2"):
        metrics.misclassification_detection([label] * 2, [[0.9, 0.1]] * 2)


@pytest.mark.parametrize(
    "uncertainty, message",
    [
        ([1.0], r"`uncertainty` must have the shape.*\(2,\).*\(1,\)"),
        ([[1.0], [2.0]], r"`uncertainty` must have the shape.*\(2, 1\)"),
        ([1.0, np.nan], "`uncertainty` must be finite"),
    ],
)
def test_bad_uncertainties_are_named(uncertainty, message):
    probs = [[0.9, 0.1]] * 2
    with pytest.raises(ValueError, match=message):
        metrics.misclassification_detection([0, 1], probs, uncertainty)
    with pytest.raises(ValueError, match=message):
        metrics.aurc([0, 1], uncertainty)


def area_of_order(losses):
    return np.mean([np.mean(losses[: k + 1]) for k in range(len(losses))])


def test_curve_and_area_equal_direct_means():
    rng = np.random.default_rng(2)
    losses, uncertainty = rng.random(50), rng.permutation(50)
    ordered = losses[np.argsort(uncertainty)]
    curve = metrics.risk_coverage_curve(losses, uncertainty)
    np.testing.assert_allclose(curve.coverage, np.arange(1, 51) / 50)
    expected = [np.mean(ordered[: k + 1]) for k in range(50)]
    np.testing.assert_allclose(curve.risk, expected)
    assert metrics.aurc(losses, uncertainty) == pytest.approx(area_of_order(ordered))


def test_ties_count_with_the_mean_over_all_orders():
    losses, uncertainty = [1, 0, 2, 5, 0, 1], [1, 1, 2, 2, 2, 3]
    orders = [
        np.array([losses[i] for i in order])
        for order in itertools.permutations(range(6))
        if sorted(uncertainty) == [uncertainty[i] for i in order]
    ]
    assert len(orders) == 2 * 6
    risks = np.mean([np.cumsum(order) / np.arange(1, 7) for order in orders], axis=0)
    curve = metrics.risk_coverage_curve(losses, uncertainty)
    np.testing.assert_allclose(curve.risk, risks)


def test_order_of_the_input_does_not_matter():
    rng = np.random.default_rng(3)
    losses, uncertainty = rng.integers(0, 2, 60), rng.integers(0, 5, 60)
    expected = metrics.aurc(losses, uncertainty)
    for _ in range(5):
        order = rng.permutation(60)
        found = metrics.aurc(losses[order], uncertainty[order])
        assert found == pytest.approx(expected, rel=1e-12)


def test_uncertainty_that_knows_nothing_has_the_mean_loss():
    assert metrics.aurc([1, 0, 0, 1, 0], np.zeros(5)) == pytest.approx(0.4)


def test_best_order_has_no_excess_and_the_worst_the_most():
    losses = np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    areas = [area_of_order(np.array(p)) for p in itertools.permutations(losses)]
    assert metrics.excess_aurc(losses, losses * 3 + 1) == 0.0
    worst = metrics.excess_aurc(losses, -losses)
    assert worst == pytest.approx(max(areas) - min(areas))


def test_excess_is_that_of_the_paper_in_the_limit():
    # The paper replaces a sum over the examples by an integral.
    rng = np.random.default_rng(4)
    wrong, uncertainty = rng.random(50_000) < 0.2, rng.random(50_000)
    error = wrong.mean()
    least = error + (1 - error) * np.log(1 - error)
    expected = metrics.aurc(wrong, uncertainty) - least
    assert metrics.excess_aurc(wrong, uncertainty) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("call", [metrics.aurc, metrics.risk_coverage_curve])
@pytest.mark.parametrize(
    "losses, problem, message",
    [
        ([], ValueError, r"`losses` must have the shape.*\(0,\)"),
        ([np.nan], ValueError, "`losses` must be finite"),
        (["a"], TypeError, "`losses` must hold real numbers"),
    ],
)
def test_bad_losses_are_named(call, losses, problem, message):
    with pytest.raises(problem, match=message):
        call(losses, [1.0])


def test_augrc_is_what_the_auroc_and_the_error_say():
    # As Traub et al. (2024) have it; exact, with ties counting half.
    wrong = RNG.uniform(size=300) < 0.3
    unsure = np.round(RNG.normal(size=300) + wrong, 1)
    auroc = rank_statistic(unsure[~wrong], unsure[wrong])
    error = wrong.mean()
    expected = (1 - auroc) * error * (1 - error) + error**2 / 2
    assert metrics.augrc(wrong, unsure) == pytest.approx(expected, rel=1e-12)
    # Losses of any kind: each counts from where it is on.
    losses, order = RNG.gamma(1.0, size=50), RNG.permutation(50)
    expected = sum(x * (50 - i - 0.5) for x, i in zip(losses, order)) / 50**2
    assert metrics.augrc(losses, order) == pytest.approx(expected)


def test_risk_at_a_coverage_and_coverage_at_a_risk():
    losses, unsure = RNG.uniform(size=80), RNG.normal(size=80)
    ranked = losses[np.argsort(unsure)]
    risks = [ranked[:k].mean() for k in range(1, 81)]
    for k in (1, 8, 33, 80):
        found = metrics.risk_at_coverage(losses, unsure, k / 80)
        assert found == pytest.approx(risks[k - 1])
        found = metrics.risk_at_coverage(losses, unsure, (k - 0.5) / 80)
        assert found == pytest.approx(risks[k - 1])
    for risk in (0.3, 0.45, 0.5, 0.6):
        kept = [k / 80 for k in range(1, 81) if risks[k - 1] <= risk]
        assert metrics.coverage_at_risk(losses, unsure, risk) == max(kept, default=0.0)
    assert metrics.coverage_at_risk(losses, unsure, 1.0) == 1.0
    assert metrics.coverage_at_risk([1.0, 2.0], [0, 1], 0.5) == 0.0
    with pytest.raises(ValueError, match="`coverage` must be in 0 < coverage <= 1"):
        metrics.risk_at_coverage(losses, unsure, 1.5)
    with pytest.raises(ValueError, match="`risk` must be a finite number >= 0"):
        metrics.coverage_at_risk(losses, unsure, -0.1)
