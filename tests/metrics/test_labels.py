"""Labels in each form that Keras' data sets and losses have them."""

import keras
import ml_dtypes
import numpy as np
import pytest
from scipy.special import softmax

from tfhyper import analysis, metrics

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 6, size=40)
MEMBERS = softmax(RNG.normal(size=(3, 40, 6)) * 2, axis=-1)
PROBS = MEMBERS.mean(axis=0)
ONE_HOT = keras.utils.to_categorical(LABELS, 6)

FORMS = {
    "integers": LABELS,
    "a list": LABELS.tolist(),
    "small integers": LABELS.astype(np.uint8),
    "a column": LABELS[:, None],
    "whole floats": LABELS.astype(np.float32),
    "whole floats in half precision": LABELS.astype(ml_dtypes.bfloat16),
    "a column of whole floats": LABELS[:, None].astype(np.float64),
    "one-hot rows": ONE_HOT,
    "one-hot integers": ONE_HOT.astype(int),
    "one-hot bools": ONE_HOT.astype(bool),
    "one-hot rows in half precision": ONE_HOT.astype(np.float16),
    "a tensor": keras.ops.convert_to_tensor(ONE_HOT),
}

SCORES = {
    "error": lambda labels: metrics.error(labels, PROBS),
    "top_k_error": lambda labels: metrics.top_k_error(labels, PROBS, 2),
    "top_k_accuracy": lambda labels: metrics.top_k_accuracy(labels, PROBS, 2),
    "nll": lambda labels: metrics.negative_log_likelihood(labels, PROBS),
    "brier": lambda labels: metrics.brier_score(labels, PROBS),
    "ece": lambda labels: metrics.expected_calibration_error(labels, PROBS),
    "classwise": lambda labels: metrics.calibration_error(labels, PROBS, of="classes"),
    "smooth": lambda labels: metrics.smooth_calibration_error(labels, PROBS),
    "test": lambda labels: metrics.calibration_test(labels, PROBS, num_samples=5),
    "curve": lambda labels: metrics.reliability_curve(labels, PROBS),
    "report": lambda labels: metrics.classification_report(labels, PROBS),
    "one draw": lambda labels: metrics.single_draw_report(labels, MEMBERS),
    "wrong": lambda labels: metrics.misclassification_detection(labels, PROBS),
    "faults": lambda labels: metrics.fault_counts(labels, MEMBERS),
    "sizes": lambda labels: analysis.error_curve(labels, MEMBERS, sizes=[1, 3]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", SCORES)
def test_scores_do_not_depend_on_the_form_of_the_labels(score, form):
    np.testing.assert_equal(SCORES[score](FORMS[form]), SCORES[score](LABELS))


@pytest.mark.parametrize("score", SCORES)
def test_smoothed_labels_are_refused(score):
    with pytest.raises(ValueError, match="`labels`.*one-hot rows.*labels with the row"):
        SCORES[score](ONE_HOT * 0.9 + 0.1 / 6)


def test_as_many_examples_as_classes():
    # A column is indices, a square is one-hot rows, a vector is indices.
    probs = np.eye(3)
    assert metrics.error([[0], [1], [2]], probs) == 0.0
    assert metrics.error(np.eye(3)[::-1], probs) == pytest.approx(2 / 3)
    assert metrics.error([0, 1, 0], probs) == pytest.approx(1 / 3)


def test_one_class_has_a_column_of_indices():
    assert metrics.error([[0], [0]], [[1.0], [1.0]]) == 0.0
    with pytest.raises(ValueError, match=r"`labels` must lie in \[0, 1\)"):
        metrics.error([[1], [1]], [[1.0], [1.0]])


def test_large_labels_are_not_rounded():
    probs = np.full((1, 5000), 1 / 5000)
    probs[0, 4097] *= 2
    probs /= probs.sum()
    assert metrics.error(np.array([4097], np.float32), probs) == 0.0
    with pytest.raises(ValueError, match="labels from 4294967296 to 4294967296"):
        metrics.error([2**32], probs)
    with pytest.raises(ValueError, match=f"labels from {2**63}"):
        metrics.error(np.array([2**63], np.uint64), probs)


def test_a_mask_is_not_dropped():
    masked = np.ma.masked_array([0, 1], mask=[False, True])
    with pytest.raises(ValueError, match="`labels` must not have masked entries"):
        metrics.error(masked, [[0.5, 0.5]] * 2)
    unmasked = np.ma.masked_array([0, 1], mask=[False, False])
    assert metrics.error(unmasked, [[0.5, 0.5]] * 2) == 0.5
