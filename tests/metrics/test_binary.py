"""Scores of labels 0 and 1 against scikit-learn, the two columns, and batches."""

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import expit

from tfhyper import metrics

RNG = np.random.default_rng(0)
BATCH, COUNT = 150, 3
LABELS = (RNG.uniform(size=(BATCH, COUNT)) < [0.5, 0.3, 0.1]).astype(int)
LOGITS = RNG.normal(size=(4, BATCH, COUNT)) + 2 * LABELS - 1
MEMBERS = expit(LOGITS * 2)
PROBS = MEMBERS.mean(axis=0)
THRESHOLD = [0.5, 0.4, 0.2]
UNKNOWN = RNG.uniform(size=LABELS.shape) < 0.2
WITH_UNKNOWN = np.where(UNKNOWN, -1, LABELS)
WEIGHTS = RNG.gamma(1.0, size=LABELS.shape)
KEYS = "error nll brier ece auroc average_precision f1 precision recall".split()


def expected(y, p, threshold, weights=None):
    w = {"sample_weight": weights}
    said = p > threshold
    columns = np.stack([1 - p, p], axis=-1)
    return {
        "error": 1 - sklearn.metrics.accuracy_score(y, said, **w),
        "nll": sklearn.metrics.log_loss(y, p, **w),
        "brier": sklearn.metrics.brier_score_loss(y, p, **w),
        "ece": metrics.expected_calibration_error(y, columns, **w),
        "auroc": sklearn.metrics.roc_auc_score(y, p, **w),
        "average_precision": sklearn.metrics.average_precision_score(y, p, **w),
        "f1": sklearn.metrics.f1_score(y, said, **w),
        "precision": sklearn.metrics.precision_score(y, said, **w),
        "recall": sklearn.metrics.recall_score(y, said, **w),
    }


def test_scores_of_each_label_are_those_of_scikit_learn():
    found = metrics.label_scores(LABELS, PROBS, THRESHOLD)
    assert list(found) == KEYS
    columns = [expected(LABELS[:, j], PROBS[:, j], THRESHOLD[j]) for j in range(COUNT)]
    for key in KEYS:
        of_labels = [column[key] for column in columns]
        np.testing.assert_allclose(found[key], of_labels, rtol=1e-12)
    report = metrics.multilabel_report(LABELS.astype(bool), MEMBERS, THRESHOLD)
    means = {key: np.mean(value) for key, value in found.items()}
    assert report == pytest.approx(means, rel=1e-12)
    one = metrics.binary_report(LABELS[:, 0], PROBS[:, 0])
    assert one == pytest.approx(columns[0], rel=1e-12)
    brier = metrics.brier_score(
        LABELS[:, 0], np.stack([1 - PROBS[:, 0], PROBS[:, 0]], axis=1)
    )
    assert one["brier"] == pytest.approx(brier / 2, rel=1e-12)


def test_columns_maps_weights_and_unknown_labels():
    y, p = LABELS[:, 0], PROBS[:, 0]
    right = metrics.binary_report(y, p)
    for labels in (y, y[:, None]):
        for probs in (p, p[:, None], p[None], p[None, :, None]):
            assert metrics.binary_report(labels, probs) == right
    # A map of one label, all of whose pixels are examples; a mask of its own.
    maps = LABELS.reshape(10, 15, 3), PROBS.reshape(10, 15, 3)
    right = expected(LABELS.ravel(), PROBS.ravel(), 0.5)
    assert metrics.binary_report(*maps) == pytest.approx(right, rel=1e-12)

    kept = ~UNKNOWN
    right = expected(LABELS[kept], PROBS[kept], 0.5, WEIGHTS[kept])
    unknown = {"ignore_class": -1, "sample_weight": WEIGHTS}
    found = metrics.binary_report(WITH_UNKNOWN, PROBS, **unknown)
    assert found == pytest.approx(right, rel=1e-12)
    scores = metrics.label_scores(WITH_UNKNOWN, PROBS, THRESHOLD, **unknown)
    for j in range(COUNT):
        k = kept[:, j]
        right = expected(LABELS[k, j], PROBS[k, j], THRESHOLD[j], WEIGHTS[k, j])
        found = {key: value[j] for key, value in scores.items()}
        assert found == pytest.approx(right, rel=1e-12)
    # One weight for each place of three labels.
    weights = WEIGHTS[:, 0].reshape(10, 15)
    found = metrics.label_scores(*maps, sample_weight=weights)
    right = metrics.label_scores(LABELS, PROBS, sample_weight=weights.ravel())
    np.testing.assert_equal(found, right)


def test_scores_that_do_not_exist_are_nan_and_in_no_mean():
    labels = np.array([[0, 1, -1], [0, 1, -1], [0, 0, -1]])
    probs = np.array([[0.2, 0.9, 0.5], [0.1, 0.3, 0.5], [0.3, 0.4, 0.5]])
    found = metrics.label_scores(labels, probs, ignore_class=-1)
    absent = {key: np.isnan(value).tolist() for key, value in found.items()}
    for key in ("auroc", "average_precision", "f1", "precision", "recall"):
        assert absent[key] == [True, False, True]
    assert absent["nll"] == absent["ece"] == [False, False, True]
    report = metrics.multilabel_report(labels, probs, ignore_class=-1)
    assert report["auroc"] == found["auroc"][1] == 0.5
    assert report["nll"] == pytest.approx(found["nll"][:2].mean())


def test_a_curve_of_thresholds_is_that_of_scikit_learn():
    y, p = LABELS[:, 1], PROBS[:, 1]
    limits = [0.0, 0.25, 0.7, 0.999]
    curve = metrics.threshold_curve(y, p, limits)
    for t, limit in enumerate(limits[:3]):
        said = p > limit
        assert curve.f1[t] == pytest.approx(sklearn.metrics.f1_score(y, said))
        right = sklearn.metrics.precision_score(y, said)
        assert curve.precision[t] == pytest.approx(right)
        assert curve.recall[t] == pytest.approx(sklearn.metrics.recall_score(y, said))
    assert np.isnan(curve.precision[3]) and curve.recall[3] == curve.f1[3] == 0


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_batches_add_up_to_the_report_of_all(weights):
    scores = metrics.MultilabelScores(THRESHOLD, ignore_class=-1)
    assert np.isnan(scores.result()["nll"])
    one = metrics.MultilabelScores(0.4, one_label=True, ignore_class=-1)
    for part in np.split(np.arange(BATCH), [7, 80]):
        w = None if weights is None else weights[part]
        scores.update(WITH_UNKNOWN[part], MEMBERS[:, part], w)
        one.update(WITH_UNKNOWN[part], PROBS[part], w)
    scores.update(np.full((2, COUNT), -1), PROBS[:2])
    given = {"sample_weight": weights, "ignore_class": -1}
    right = metrics.label_scores(WITH_UNKNOWN, PROBS, THRESHOLD, **given)
    exact = [key for key in KEYS if key not in ("auroc", "average_precision")]
    for key in exact:
        np.testing.assert_allclose(scores.label_scores[key], right[key], rtol=1e-12)
    report = metrics.multilabel_report(WITH_UNKNOWN, PROBS, THRESHOLD, **given)
    assert scores.result() == pytest.approx(report, abs=2e-3)
    binary = metrics.binary_report(WITH_UNKNOWN, PROBS, 0.4, **given)
    assert one.result() == pytest.approx(binary, abs=2e-3)

    # The order is that of probabilities with ties, exactly.
    logits = np.log(PROBS / (1 - PROBS))
    rounded = expit((np.floor((logits + 40) * 2**15 / 80) + 0.5) * 80 / 2**15 - 40)
    right = metrics.label_scores(WITH_UNKNOWN, rounded, THRESHOLD, **given)
    for key in ("auroc", "average_precision"):
        np.testing.assert_allclose(scores.label_scores[key], right[key], rtol=1e-12)


def test_certain_probabilities_have_their_place_in_the_order():
    scores = metrics.MultilabelScores(one_label=True)
    p = np.array([0.0, 1e-30, 1.0, 1 - 1e-9, 0.5])
    scores.update([0, 0, 1, 1, 0], p)
    assert scores.result()["auroc"] == scores.result()["average_precision"] == 1.0


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: metrics.binary_report(LABELS + 1, PROBS),
            "`labels` must be 0 or 1: soft.*value 2",
        ),
        (
            lambda: metrics.label_scores(WITH_UNKNOWN, PROBS, ignore_class=-2),
            "`labels` must be 0 or 1, or -2, ignored.*value -1",
        ),
        (
            lambda: metrics.multilabel_report(LABELS * 0.9, PROBS),
            "`labels` must be 0 or 1.*0.9",
        ),
        (
            lambda: metrics.multilabel_report(LABELS, PROBS, ignore_class=1),
            r"`ignore_class` must lie outside of \[0, 2\)",
        ),
        (
            lambda: metrics.multilabel_report(LABELS, PROBS[:, :2]),
            r"`labels` and `probs` must have one shape \(batch, ..., labels\)",
        ),
        (
            lambda: metrics.multilabel_report(LABELS[:, 0], PROBS[:, 0]),
            r"`labels` and `probs` must have one shape \(batch, ..., labels\)",
        ),
        (
            lambda: metrics.binary_report(LABELS, LOGITS),
            r"`probs` must hold probabilities in \[0, 1\] \(logits need a sigmoid",
        ),
        (
            lambda: metrics.binary_report(
                -LABELS[:1] * 0 - 1, PROBS[:1], ignore_class=-1
            ),
            "`ignore_class` must leave labels to score",
        ),
        (
            lambda: metrics.label_scores(LABELS, PROBS, [0.5, 0.5]),
            r"`threshold` must be a number or of shape \(labels,\) = \(3,\)",
        ),
        (
            lambda: metrics.binary_report(LABELS, PROBS, 1.5),
            r"`threshold` must lie in \[0, 1\).*1.5",
        ),
        (
            lambda: metrics.binary_report(LABELS, PROBS, sample_weight=WEIGHTS[:, :2]),
            r"`sample_weight`.*labels' shape \(150, 3\)",
        ),
        (
            lambda: metrics.MultilabelScores(THRESHOLD).update(
                LABELS[:, :2], PROBS[:, :2]
            ),
            "`labels` must have as many labels as `threshold`, 3. Received: 2",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_another_number_of_labels_in_a_later_batch_is_named():
    scores = metrics.MultilabelScores()
    scores.update(LABELS, PROBS)
    with pytest.raises(
        ValueError, match="labels as in the first batch, 3. .* 2 labels"
    ):
        scores.update(LABELS[:, :2], PROBS[:, :2])
