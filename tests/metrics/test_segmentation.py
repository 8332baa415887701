"""Scores of label maps against scikit-learn and plain loops."""

import numpy as np
import pytest
import sklearn.metrics

from tfhyper import metrics

RNG = np.random.default_rng(0)
SHAPE, CLASSES = (3, 8, 9), 5
# Blobs of 2 x 3 pixels; no map has class 4, and only a prediction has class 3.
LABELS = np.kron(RNG.integers(0, 3, (3, 4, 3)), np.ones((1, 2, 3), int))
PREDICTED = np.where(RNG.uniform(size=SHAPE) < 0.8, LABELS, RNG.integers(0, 4, SHAPE))
VOID = RNG.uniform(size=SHAPE) < 0.2
WITH_VOID = np.where(VOID, 255, LABELS)
UNCERTAINTY = RNG.uniform(size=SHAPE)
IGNORED = {"ignore_class": 255}


def test_matrices_are_those_of_scikit_learn_and_add_up():
    found = metrics.confusion_matrix(WITH_VOID, PREDICTED, CLASSES, **IGNORED)
    names = range(CLASSES)
    expected = sklearn.metrics.confusion_matrix(
        LABELS[~VOID], PREDICTED[~VOID], labels=names
    )
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int64
    each = metrics.confusion_matrix(
        WITH_VOID.astype(np.uint8), PREDICTED, CLASSES, per_example=True, **IGNORED
    )
    np.testing.assert_array_equal(each.sum(axis=0), expected)
    for i in range(len(LABELS)):
        one = metrics.confusion_matrix(WITH_VOID[i], PREDICTED[i], CLASSES, **IGNORED)
        np.testing.assert_array_equal(one, each[i])
    for weights in (np.array([1.0, 0.5, 2.0]), RNG.gamma(1.0, size=SHAPE)):
        found = metrics.confusion_matrix(
            WITH_VOID, PREDICTED, CLASSES, sample_weight=weights, **IGNORED
        )
        wide = np.broadcast_to(weights.reshape(3, *weights.shape[1:] or (1, 1)), SHAPE)
        expected = sklearn.metrics.confusion_matrix(
            LABELS[~VOID],
            PREDICTED[~VOID],
            labels=names,
            sample_weight=wide[~VOID],
        )
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    all_void = metrics.confusion_matrix([-1, -1], [0, 1], 2, ignore_class=-1)
    assert all_void.tolist() == [[0, 0], [0, 0]]
    assert all(np.isnan(v) for v in metrics.segmentation_report(all_void).values())


def test_scores_are_those_of_scikit_learn():
    matrix = metrics.confusion_matrix(LABELS, PREDICTED, CLASSES)
    arguments = LABELS.ravel(), PREDICTED.ravel()
    present = {"labels": [0, 1, 2, 3], "average": None}
    expected = {
        "iou": sklearn.metrics.jaccard_score(*arguments, **present),
        "dice": sklearn.metrics.f1_score(*arguments, **present),
        "recall": sklearn.metrics.recall_score(*arguments, **present, zero_division=0),
    }
    iou, dice = metrics.intersection_over_union(matrix), metrics.dice_score(matrix)
    np.testing.assert_allclose(iou, [*expected["iou"], np.nan], rtol=1e-12)
    np.testing.assert_allclose(dice, [*expected["dice"], np.nan], rtol=1e-12)
    assert iou[3] == dice[3] == 0  # predicted, and nowhere right
    recall = metrics.class_accuracy(matrix)
    np.testing.assert_allclose(recall[:3], expected["recall"][:3], rtol=1e-12)
    assert np.isnan(recall[3:]).all()
    accuracy = sklearn.metrics.accuracy_score(*arguments)
    assert metrics.segmentation_report(matrix) == pytest.approx(
        {
            "pixel_accuracy": accuracy,
            "mean_accuracy": expected["recall"][:3].mean(),
            "mean_iou": expected["iou"].mean(),
            "mean_dice": expected["dice"].mean(),
        },
        rel=1e-12,
    )
    # Of each map by itself, one of which counts for nothing.
    labels = WITH_VOID.copy()
    labels[1] = 255
    each = metrics.confusion_matrix(
        labels, PREDICTED, CLASSES, per_example=True, **IGNORED
    )
    expected = [
        np.mean(
            sklearn.metrics.jaccard_score(
                LABELS[i][~VOID[i]], PREDICTED[i][~VOID[i]], average=None
            )
        )
        for i in (0, 2)
    ]
    found = metrics.class_mean(metrics.intersection_over_union(each))
    np.testing.assert_allclose(found, [expected[0], np.nan, expected[1]], rtol=1e-12)
    report = metrics.segmentation_report(each)
    assert report["mean_iou"] == pytest.approx(np.mean(expected), rel=1e-12)
    rights = (LABELS == PREDICTED)[[0, 2]]
    kept = ~VOID[[0, 2]]
    expected = np.mean([r[k].mean() for r, k in zip(rights, kept, strict=True)])
    assert report["pixel_accuracy"] == pytest.approx(expected, rel=1e-12)


def boundary_by_loops(classes, counts, c):
    found = []
    height, width = classes.shape
    for y, x in np.argwhere((classes == c) & counts):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            v, u = y + dy, x + dx
            inside = 0 <= v < height and 0 <= u < width
            if inside and counts[v, u] and classes[v, u] != c:
                found.append((y, x))
                break
    return found


def hits_by_loops(of, others, tolerance):
    met = [any(np.hypot(y - v, x - u) <= tolerance for v, u in others) for y, x in of]
    return np.mean(met)


@pytest.mark.parametrize("tolerance", [0, 1.5])
def test_boundaries_are_those_of_plain_loops(tolerance):
    found = metrics.boundary_f1(WITH_VOID, PREDICTED, CLASSES, tolerance, **IGNORED)
    for i in range(len(LABELS)):
        for c in range(CLASSES):
            true = boundary_by_loops(LABELS[i], ~VOID[i], c)
            said = boundary_by_loops(PREDICTED[i], ~VOID[i], c)
            if not true and not said:
                assert np.isnan(found[i, c])
                continue
            p = hits_by_loops(said, true, tolerance) if said else 0
            r = hits_by_loops(true, said, tolerance) if true else 0
            expected = 2 * p * r / (p + r) if p + r else 0
            assert found[i, c] == pytest.approx(expected, rel=1e-12)
    assert metrics.boundary_f1(LABELS, LABELS, CLASSES, 0)[:, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("size", [1, 4])
def test_patches_are_counted_as_by_plain_loops(size):
    thresholds = [0.3, 0.45, 0.6]
    labels = WITH_VOID.copy()
    labels[0, :4, :4] = 255  # a patch of nothing
    found = metrics.patch_counts(
        labels, PREDICTED, CLASSES, UNCERTAINTY, thresholds, size, **IGNORED
    )
    expected = np.zeros((3, 2, 2), int)
    for t, threshold in enumerate(thresholds):
        for i in range(3):
            for y in range(0, 8, size):
                for x in range(0, 9, size):
                    patch = i, slice(y, y + size), slice(x, x + size)
                    kept = labels[patch] != 255
                    if kept.any():
                        right = (labels[patch] == PREDICTED[patch])[kept].mean()
                        mean = UNCERTAINTY[patch][kept].mean()
                        expected[t, int(right <= 0.5), int(mean > threshold)] += 1
    assert expected.min() > 0 if size == 1 else expected.max() > 5
    np.testing.assert_array_equal(found.accurate_certain, expected[:, 0, 0])
    np.testing.assert_array_equal(found.accurate_uncertain, expected[:, 0, 1])
    np.testing.assert_array_equal(found.inaccurate_certain, expected[:, 1, 0])
    np.testing.assert_array_equal(found.inaccurate_uncertain, expected[:, 1, 1])
    with np.errstate(invalid="ignore"):
        certain = expected[:, :, 0]
        np.testing.assert_allclose(
            found.accurate_if_certain, certain[:, 0] / certain.sum(1)
        )
        wrong = expected[:, 1]
        np.testing.assert_allclose(
            found.uncertain_if_inaccurate, wrong[:, 1] / wrong.sum(1)
        )
    pavpu = (expected[:, 0, 0] + expected[:, 1, 1]) / expected[0].sum()
    np.testing.assert_allclose(found.pavpu, pavpu)

    parts = [
        metrics.patch_counts(
            labels[i : i + 1],
            PREDICTED[i : i + 1],
            CLASSES,
            UNCERTAINTY[i : i + 1],
            thresholds,
            size,
            **IGNORED,
        )
        for i in range(3)
    ]
    total = parts[0] + parts[1] + parts[2]
    np.testing.assert_array_equal(total.pavpu, found.pavpu)
    other = metrics.patch_counts(LABELS, PREDICTED, CLASSES, UNCERTAINTY, 0.5, size)
    with pytest.raises(ValueError, match="`thresholds` must be those of both"):
        found + other


def test_sparsification_is_that_of_plain_loops():
    losses = RNG.gamma(1.0, size=SHAPE)
    curve = metrics.sparsification_curve(losses, UNCERTAINTY, 7, per_example=True)
    masked = metrics.sparsification_curve(losses, UNCERTAINTY, 7, mask=~VOID)

    def by_loops(x, by):
        order = np.argsort(by)[::-1]
        left = [x[order[int(np.floor(k * len(x) / 7)) :]] for k in range(7)]
        return np.array([part.mean() for part in left]) / x.mean()

    for i in range(3):
        x, u = losses[i].ravel(), UNCERTAINTY[i].ravel()
        np.testing.assert_allclose(curve.error[i], by_loops(x, u), rtol=1e-12)
        np.testing.assert_allclose(curve.oracle[i], by_loops(x, x), rtol=1e-12)
    x, u = losses[~VOID], UNCERTAINTY[~VOID]
    np.testing.assert_allclose(masked.error, by_loops(x, u), rtol=1e-12)
    np.testing.assert_allclose(masked.oracle, by_loops(x, x), rtol=1e-12)

    each = metrics.ause(losses, UNCERTAINTY, 7, per_example=True)
    np.testing.assert_allclose(each, (curve.error - curve.oracle).mean(-1), rtol=1e-12)
    assert metrics.ause(losses, UNCERTAINTY, 7, mask=~VOID) == pytest.approx(
        np.mean(by_loops(x, u) - by_loops(x, x)), rel=1e-12
    )
    # An uncertainty that knows nothing stays at 1, and no losses have no error.
    assert metrics.sparsification_curve(x, np.ones_like(x)).error == pytest.approx(1)
    assert metrics.ause(np.zeros(4), np.arange(4)) == 0
    nothing = metrics.ause(
        losses,
        UNCERTAINTY,
        mask=np.arange(3)[:, None, None] < np.ones(SHAPE),
        per_example=True,
    )
    assert np.isnan(nothing).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "call, problem, message",
    [
        (
            lambda: metrics.confusion_matrix(LABELS, PREDICTED[0], 5),
            ValueError,
            "`predicted` must hold one class index for each of `labels`",
        ),
        (
            lambda: metrics.confusion_matrix(LABELS, PREDICTED, 3),
            ValueError,
            r"`predicted` must lie in \[0, 3\), `num_classes` classes.*to 3",
        ),
        (
            lambda: metrics.confusion_matrix(WITH_VOID, PREDICTED, 5),
            ValueError,
            r"`labels` must lie in \[0, 5\).*from 0 to 255",
        ),
        (
            lambda: metrics.confusion_matrix(LABELS, PREDICTED, 5, ignore_class=4),
            ValueError,
            r"`ignore_class` must lie outside of \[0, 5\)",
        ),
        (
            lambda: metrics.confusion_matrix(LABELS / 2, PREDICTED, 5),
            ValueError,
            "`labels` must be class indices, integers or whole",
        ),
        (
            lambda: metrics.boundary_f1(LABELS[0], PREDICTED[0], 5),
            ValueError,
            r"`labels` must have the axes \(batch, height, width\)",
        ),
        (
            lambda: metrics.boundary_f1(LABELS, PREDICTED, 5, -1.0),
            ValueError,
            "`tolerance` must",
        ),
        (
            lambda: metrics.patch_counts(LABELS, PREDICTED, 5, UNCERTAINTY[0], 0.5),
            ValueError,
            r"`uncertainty` must have the shape .* = \(3, 8, 9\) of `labels`",
        ),
        (
            lambda: metrics.ause(-np.ones(3), np.ones(3)),
            ValueError,
            "`losses` must not be below zero.*-1.0",
        ),
        (
            lambda: metrics.ause(np.ones(3), np.ones(3), mask=[True, False]),
            ValueError,
            r"`mask` must have the shape \(3,\)",
        ),
        (
            lambda: metrics.ause(np.ones(3), np.ones(3), mask=[1, 0, 1]),
            TypeError,
            "`mask` must hold bools",
        ),
        (
            lambda: metrics.dice_score(-np.eye(2)),
            ValueError,
            "`matrix` must hold counts.*-1.0",
        ),
        (
            lambda: metrics.class_mean([np.inf, 1.0]),
            ValueError,
            "`scores` must be finite",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, problem, message):
    with pytest.raises(problem, match=message):
        call()
