"""Calibration errors beside loops, integrals and theory."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.optimize import brentq
from scipy.special import softmax
from scipy.stats import kstest, norm

from tfhyper import metrics

RNG = np.random.default_rng(0)
COUNT, CLASSES = 600, 4
LOGITS = 2 * RNG.normal(size=(COUNT, CLASSES))
TRUE = softmax(LOGITS, -1)
LABELS = np.array([RNG.choice(CLASSES, p=p) for p in TRUE])
PROBS = softmax(1.7 * LOGITS, -1)  # too sure


def error_by_hand(values, hits, edges, power=1, debiased=False):
    """Returns the sum over bins of events, one by one."""
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (values > low) & (values <= high)
        if not inside.any():
            continue
        n, accuracy = inside.sum(), hits[inside].mean()
        gap = abs(accuracy - values[inside].mean()) ** power
        if debiased:
            gap = 0.0 if n == 1 else gap - accuracy * (1 - accuracy) / (n - 1)
        total += n / len(values) * gap
    return total


def edges_of(values, bins, num_bins):
    if bins == "width":
        return np.arange(num_bins + 1) / num_bins
    parts = np.array_split(np.sort(values), num_bins)
    return np.array([-1.0, *(part[-1] for part in parts)])


EVENTS = {
    "confidence": lambda: [(slice(None), PROBS.max(1), PROBS.argmax(1) == LABELS, 1.0)],
    "classes": lambda: [
        (slice(None), PROBS[:, c], LABELS == c, 1 / CLASSES) for c in range(CLASSES)
    ],
}


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("bins", ["width", "mass"])
@pytest.mark.parametrize("of", EVENTS)
def test_errors_are_the_sums_over_bins(of, bins, power, debiased):
    options = {"of": of, "bins": bins, "norm": f"l{power}", "debiased": debiased}
    if debiased and power == 1:
        with pytest.raises(ValueError, match="`debiased` must be False with"):
            metrics.calibration_error(LABELS, PROBS, 10, **options)
        return
    total = sum(
        share * error_by_hand(p, hits, edges_of(p, bins, 10), power, debiased)
        for _, p, hits, share in EVENTS[of]()
    )
    expected = total if power == 1 else np.sqrt(max(total, 0))
    found = metrics.calibration_error(LABELS, PROBS, 10, **options)
    assert found == pytest.approx(expected, abs=1e-9) and found > 0.01


def test_top_labels_are_classes_by_themselves():
    best, total = PROBS.argmax(1), 0.0
    for c in range(CLASSES):
        rows = best == c
        p = PROBS[rows, c]
        gap = error_by_hand(p, LABELS[rows] == c, edges_of(p, "width", 5))
        total += rows.mean() * gap
    found = metrics.calibration_error(LABELS, PROBS, 5, of="top_label", bins="width")
    assert found == pytest.approx(total)
    # Finer than the confidence alone: triangle inequality.
    assert found >= metrics.calibration_error(LABELS, PROBS, 5, bins="width") - 1e-12


def test_the_usual_error_is_one_of_them():
    for num_bins in (1, 7, 15):
        found = metrics.calibration_error(LABELS, PROBS, num_bins, bins="width")
        usual = metrics.expected_calibration_error(LABELS, PROBS, num_bins)
        assert found == pytest.approx(usual, rel=1e-12)


def test_equal_probabilities_share_a_bin():
    probs = np.array([[0.7, 0.3]] * 7 + [[0.9, 0.1]])
    labels = np.array([0, 1, 1, 0, 0, 1, 1, 0])
    expected = 7 / 8 * abs(3 / 7 - 0.7) + 1 / 8 * 0.1
    for order in (slice(None), slice(None, None, -1)):
        found = metrics.calibration_error(labels[order], probs[order], 4)
        assert found == pytest.approx(expected)


def test_debiased_errors_do_not_grow_with_noise():
    # Kumar et al., figure 3: of calibrated predictions the plain one is far from 0.
    plain, fair = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.5, 1, 300)
        labels = (rng.uniform(size=300) > p).astype(int)
        probs = np.stack([p, 1 - p], -1)
        for found, debiased in ((plain, False), (fair, True)):
            error = metrics.calibration_error(
                labels, probs, 15, norm="l2", debiased=debiased
            )
            found.append(error**2)
    assert np.mean(plain) > 0.006
    assert np.mean(fair) < 0.003
    with pytest.raises(ValueError, match="`debiased` must be False with weights"):
        metrics.calibration_error(
            LABELS, PROBS, norm="l2", debiased=True, sample_weight=np.ones(COUNT)
        )


def smooth_by_hand(confidence, gaps, deviation):
    """Returns smECE_s by quadrature, with the images of the kernel one by one."""

    t = np.linspace(0, 1, 4001)
    kernel = sum(
        norm.pdf(t[:, None], sign * confidence + 2 * k, deviation)
        for k in (-1, 0, 1)
        for sign in (1, -1)
    )
    return trapezoid(np.abs(np.mean(kernel * gaps, axis=1)), t)


@pytest.mark.parametrize("count, sharpen", [(5, 2.0), (30, 1.7), (30, 0.4)])
def test_the_smooth_error_is_the_fixed_point_of_the_paper(count, sharpen):
    probs, labels = softmax(sharpen * LOGITS[:count], -1), LABELS[:count]
    confidence = probs.max(1)
    gaps = (probs.argmax(1) == labels) - confidence
    expected = brentq(
        lambda s: smooth_by_hand(confidence, gaps, s) - s, 0.005, 1.0, xtol=1e-7
    )
    found = metrics.smooth_calibration_error(labels, probs)
    assert found == pytest.approx(expected, abs=2e-5)


def test_the_smooth_error_of_calibrated_predictions_is_small():
    sure = np.eye(2)[[0, 1, 1]]
    assert metrics.smooth_calibration_error([0, 1, 1], sure) == 0.0
    assert metrics.smooth_calibration_error([1, 0, 0], sure) == pytest.approx(
        1, abs=1e-3
    )
    assert metrics.smooth_calibration_error(LABELS, TRUE) < 0.05
    # It moves as little as the predictions do; the binned one jumps.
    close = np.array([[0.5 + 1e-4, 0.5 - 1e-4], [0.5 - 1e-4, 0.5 + 1e-4]] * 4)
    labels = [0, 0] * 4
    moved = metrics.smooth_calibration_error(labels, close)
    assert moved == pytest.approx(
        metrics.smooth_calibration_error(labels, np.full((8, 2), 0.5)), abs=0.51
    )


@pytest.mark.parametrize("of", ["confidence", "classes", "top_label"])
def test_the_test_knows_calibrated_predictions(of):
    options = {"of": of, "num_samples": 300, "seed": 3}
    calibrated = metrics.calibration_test(LABELS, TRUE, **options)
    assert calibrated.p_value > 0.01
    assert calibrated.error == metrics.calibration_error(LABELS, TRUE, of=of)
    assert calibrated.expected == pytest.approx(calibrated.error, rel=0.5)
    sure = metrics.calibration_test(LABELS, PROBS, **options)
    assert sure.p_value == 1 / 301 and sure.error > 1.3 * sure.expected
    assert metrics.calibration_test(LABELS, PROBS, **options) == sure


@pytest.mark.parametrize("of", ["confidence", "classes", "top_label"])
def test_p_values_of_calibrated_predictions_are_uniform(of):
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        probs = softmax(rng.normal(size=(80, 3)), -1)
        labels = np.array([rng.choice(3, p=p) for p in probs])
        found = metrics.calibration_test(
            labels, probs, 5, of=of, num_samples=99, seed=seed
        )
        values.append(found.p_value)
    assert kstest(values, "uniform").pvalue > 0.01


def test_bad_choices_are_named():
    for name, value in (("of", "class"), ("bins", "equal"), ("norm", "max")):
        with pytest.raises(ValueError, match=f"`{name}` must be one of"):
            metrics.calibration_error(LABELS, PROBS, **{name: value})
    with pytest.raises(ValueError, match="`num_samples` must be"):
        metrics.calibration_test(LABELS, PROBS, num_samples=0)
