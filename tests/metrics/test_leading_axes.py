"""Scores of maps and tokens: as of the same labels in one row, void ones left out."""

import numpy as np
import pytest
from scipy.special import softmax

from tfhyper import metrics

RNG = np.random.default_rng(0)
SHAPE, CLASSES = (4, 3, 5), 6
LABELS = RNG.integers(0, CLASSES, SHAPE)
MEMBERS = softmax(RNG.normal(size=(3, *SHAPE, CLASSES)) * 2, axis=-1)
PROBS = MEMBERS.mean(axis=0)
VOID = RNG.uniform(size=SHAPE) < 0.3
WEIGHTS = RNG.gamma(1.0, 1.0, SHAPE)

SCORES = {
    "error": metrics.error,
    "top_k_accuracy": lambda *a, **k: metrics.top_k_accuracy(*a, 2, **k),
    "top_k_error": lambda *a, **k: metrics.top_k_error(*a, 2, **k),
    "nll": metrics.negative_log_likelihood,
    "brier": metrics.brier_score,
    "ece": metrics.expected_calibration_error,
    "adaptive": metrics.calibration_error,
    "smooth": metrics.smooth_calibration_error,
    "curve": metrics.reliability_curve,
    "report": lambda *a, **k: list(metrics.classification_report(*a, **k).values()),
}


def flat(probs):
    return probs.reshape(-1, CLASSES)


@pytest.mark.parametrize("name", SCORES)
def test_each_label_of_a_map_is_an_example(name):
    score = SCORES[name]
    expected = score(LABELS.ravel(), flat(PROBS))
    one_hot = np.eye(CLASSES)[LABELS]
    for labels in (LABELS, LABELS[..., None], one_hot):
        np.testing.assert_array_equal(score(labels, PROBS), expected)
        np.testing.assert_allclose(score(labels, MEMBERS), expected, rtol=1e-12)
    volume = (2, 2, *SHAPE[1:])
    found = score(LABELS.reshape(volume), PROBS.reshape(*volume, CLASSES))
    np.testing.assert_array_equal(found, expected)

    with_void = np.where(VOID, 255, LABELS)
    expected = score(LABELS[~VOID], PROBS[~VOID])
    for labels in (with_void, with_void.astype(np.uint8), with_void.astype("float32")):
        found = score(labels, PROBS, ignore_class=255)
        np.testing.assert_array_equal(found, expected)
    found = score(LABELS, PROBS, sample_weight=~VOID)
    np.testing.assert_allclose(found, expected, rtol=1e-12)

    expected = score(LABELS[~VOID], PROBS[~VOID], sample_weight=WEIGHTS[~VOID])
    found = score(with_void, MEMBERS, sample_weight=WEIGHTS, ignore_class=255)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    of_images = WEIGHTS[:, 0, 0]
    repeated = np.repeat(of_images, 15)
    expected = score(LABELS.ravel(), flat(PROBS), sample_weight=repeated)
    for weights in (of_images, of_images[:, None]):
        found = score(LABELS, PROBS, sample_weight=weights)
        np.testing.assert_array_equal(found, expected)


def test_what_is_rejected_and_found_wrong_in_maps_is_as_in_rows():
    labels = np.where(VOID, 255, LABELS)
    uncertainty = RNG.uniform(size=SHAPE)
    found = metrics.selective_report(
        labels, PROBS, uncertainty > 0.6, sample_weight=WEIGHTS, ignore_class=255
    )
    right = metrics.selective_report(
        LABELS[~VOID],
        PROBS[~VOID],
        uncertainty[~VOID] > 0.6,
        sample_weight=WEIGHTS[~VOID],
    )
    assert found == right
    for of_maps, of_rows in ((None, None), (uncertainty, uncertainty[~VOID])):
        found = metrics.misclassification_detection(
            labels, PROBS, of_maps, ignore_class=255
        )
        right = metrics.misclassification_detection(
            LABELS[~VOID], PROBS[~VOID], of_rows
        )
        assert found == right
    with pytest.raises(ValueError, match=r"`rejected` must .* = \(4, 3, 5\)"):
        metrics.selective_report(LABELS, PROBS, np.ones(4, bool))


def test_uncertainties_of_maps_are_those_of_their_places():
    rows = MEMBERS.reshape(3, -1, CLASSES)
    for measure in (
        metrics.predictive_entropy,
        metrics.expected_entropy,
        metrics.mutual_information,
    ):
        found = measure(MEMBERS)
        assert found.shape == SHAPE
        np.testing.assert_allclose(found.ravel(), measure(rows), rtol=1e-12)
    for split in (metrics.variance_decomposition, metrics.covariance_decomposition):
        for found, right in zip(split(MEMBERS), split(rows), strict=True):
            assert found.shape == (*SHAPE, *right.shape[1:])
            np.testing.assert_allclose(found.reshape(right.shape), right, atol=1e-15)


def test_one_draw_of_maps_and_draws_of_a_cube():
    found = metrics.single_draw_report(LABELS, MEMBERS)
    each = [metrics.classification_report(LABELS.ravel(), flat(p)) for p in MEMBERS]
    assert found == {key: np.median([r[key] for r in each]) for key in found}
    # One-hot labels of five examples, as ever: the first axis is draws.
    cube = softmax(RNG.normal(size=(5, 5, 5)), axis=-1)
    found = metrics.brier_score(np.eye(5), cube)
    assert found == metrics.brier_score(np.arange(5), cube.mean(axis=0))


@pytest.mark.parametrize("ignored", [None, 255])
def test_batches_add_up_to_the_report_of_all(ignored):
    labels = np.where(VOID, 255, LABELS) if ignored else LABELS
    for weights in (None, WEIGHTS, WEIGHTS * 1e-310):
        scores = metrics.ClassificationScores(ignore_class=ignored)
        assert np.isnan(scores.result()["nll"])
        for i in range(len(labels)):
            of_batch = None if weights is None else weights[i : i + 1]
            scores.update(labels[i : i + 1], PROBS[i : i + 1], of_batch)
        if ignored:
            scores.update(np.full(SHAPE, 255), PROBS)
        scores.update(LABELS[:2], PROBS[:2], np.zeros(2))
        expected = metrics.classification_report(
            labels, PROBS, sample_weight=weights, ignore_class=ignored
        )
        rtol = 1e-12 if weights is None or weights.max() > 1 else 1e-10
        np.testing.assert_allclose(
            list(scores.result().values()), list(expected.values()), rtol=rtol
        )
        curve = metrics.reliability_curve(
            labels, PROBS, sample_weight=weights, ignore_class=ignored
        )
        np.testing.assert_allclose(scores.reliability_curve, curve, rtol=rtol)


def test_weights_of_very_different_sizes_add_up():
    scores = metrics.ClassificationScores()
    labels, probs = LABELS.ravel()[:3], flat(PROBS)[:3]
    for i, weight in enumerate([1e-300, None, 1e100]):
        of_one = None if weight is None else [weight]
        scores.update(labels[i : i + 1], probs[i : i + 1], of_one)
    last = metrics.negative_log_likelihood(labels[2:], probs[2:])
    assert scores.result()["nll"] == pytest.approx(last, rel=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"labels": LABELS[:, 0]}, r"`labels` must have the shape \(batch, ...\) or "),
        ({"labels": LABELS + 1}, r"`labels` must lie in \[0, 6\).*from 1 to 6"),
        ({"labels": LABELS + 0.5}, "`labels` must be class indices.*whole"),
        (
            {"labels": LABELS + 1, "ignore_class": 255},
            "`labels` must lie in .*or be 255, ignored. Received: labels from 1 to 6",
        ),
        ({"ignore_class": 5}, r"`ignore_class` must lie outside of \[0, 6\).*=5"),
        ({"ignore_class": 5.5}, "`ignore_class` must be an integer.*=5.5"),
        (
            {"labels": np.eye(CLASSES)[LABELS], "ignore_class": 255},
            "`ignore_class` must be None where `labels` is one-hot rows",
        ),
        (
            {"labels": np.full(SHAPE, -1), "ignore_class": -1},
            "`ignore_class` must leave labels to score.*60 labels",
        ),
        (
            {
                "labels": np.where(VOID, -1, LABELS),
                "ignore_class": -1,
                "sample_weight": VOID,
            },
            "`ignore_class` must leave labels to score",
        ),
        (
            {"sample_weight": WEIGHTS[0]},
            r"`sample_weight`.*labels' shape \(4, 3, 5\).*shape=\(3, 5\)",
        ),
        ({"probs": PROBS[0, 0, 0]}, "`probs` must have the axes"),
        ({"probs": PROBS * 2}, "The last axis of `probs` must sum to one"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    arguments = {"labels": LABELS, "probs": PROBS, **arguments}
    with pytest.raises(ValueError, match=message):
        metrics.classification_report(**arguments)
