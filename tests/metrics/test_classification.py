"""Point scores against scikit-learn, TFP and small cases worked out by hand."""

import numpy as np
import pytest
import sklearn.metrics
from scipy.special import softmax

from tfhyper import metrics

SCORES = (
    metrics.error,
    metrics.negative_log_likelihood,
    metrics.brier_score,
    metrics.expected_calibration_error,
    metrics.reliability_curve,
    metrics.classification_report,
    lambda labels, probs: metrics.top_k_error(labels, probs, 2),
    lambda labels, probs: metrics.top_k_accuracy(labels, probs, 2),
)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(size=(501, 7)) * 2, axis=-1)
    return rng.integers(0, 7, size=501), probs


def test_error_equals_scikit_learn(predictions):
    labels, probs = predictions
    accuracy = sklearn.metrics.accuracy_score(labels, probs.argmax(axis=1))
    assert metrics.error(labels, probs) == pytest.approx(1 - accuracy, abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_top_k_equals_scikit_learn(predictions, k):
    labels, probs = predictions
    expected = sklearn.metrics.top_k_accuracy_score(labels, probs, k=k)
    assert metrics.top_k_accuracy(labels, probs, k) == pytest.approx(expected)
    assert metrics.top_k_error(labels, probs, k) == pytest.approx(1 - expected)


def test_top_k_of_all_classes_is_certain(predictions):
    assert metrics.top_k_accuracy(*predictions, k=7) == 1.0


def test_ties_go_to_the_lowest_class_as_in_argmax():
    uniform = np.full((4, 4), 0.25)
    labels = np.arange(4)
    assert metrics.error(labels, uniform) == 0.75
    assert metrics.top_k_accuracy(labels, uniform, k=3) == 0.75


def test_negative_log_likelihood_equals_scikit_learn(predictions):
    labels, probs = predictions
    assert metrics.negative_log_likelihood(labels, probs) == pytest.approx(
        sklearn.metrics.log_loss(labels, probs), rel=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probability_zero_costs_a_finite_number_of_nats(dtype):
    probs = np.array([[1.0, 0.0]], dtype)
    nll = metrics.negative_log_likelihood([1], probs)
    assert nll == pytest.approx(126 * np.log(2), rel=1e-12)


def test_brier_score_equals_scikit_learn(predictions):
    labels, probs = predictions
    expected = sklearn.metrics.brier_score_loss(labels, probs, scale_by_half=False)
    assert metrics.brier_score(labels, probs) == pytest.approx(expected, rel=1e-12)


def test_brier_score_is_tfp_plus_one(predictions):
    import tensorflow_probability as tfp

    labels, probs = predictions
    # TFP leaves out the 1 of the one-hot label's own square.
    shifted = tfp.stats.brier_score(labels, np.log(probs)).numpy()
    expected = np.mean(shifted) + 1
    assert metrics.brier_score(labels, probs) == pytest.approx(expected, rel=1e-6)


def test_brier_score_spans_zero_to_two():
    assert metrics.brier_score([0], [[1.0, 0.0]]) == 0.0
    assert metrics.brier_score([1], [[1.0, 0.0]]) == 2.0


@pytest.mark.parametrize("score", SCORES)
def test_members_are_averaged_before_scoring(score):
    rng = np.random.default_rng(1)
    members = softmax(rng.normal(size=(5, 64, 4)) * 3, axis=-1).astype(np.float32)
    labels = rng.integers(0, 4, size=64)
    of_members = score(labels, members)
    of_mean = score(labels, members.mean(axis=0, dtype=np.float64))
    np.testing.assert_equal(of_members, of_mean)


def test_report_holds_the_four_scores(predictions):
    labels, probs = predictions
    report = metrics.classification_report(labels, probs, num_bins=10)
    assert report == {
        "error": metrics.error(labels, probs),
        "nll": metrics.negative_log_likelihood(labels, probs),
        "brier": metrics.brier_score(labels, probs),
        "ece": metrics.expected_calibration_error(labels, probs, num_bins=10),
    }
    assert list(report) == ["error", "nll", "brier", "ece"]
    assert all(type(value) is float for value in report.values())


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_precision_of_the_input_does_not_matter(dtype):
    probs = np.array([[1, 0], [0, 1]], dtype)
    assert metrics.classification_report([0, 0], probs) == pytest.approx(
        {"error": 0.5, "nll": 63 * np.log(2), "brier": 1.0, "ece": 0.5}
    )


def test_tensors_are_accepted():
    import keras

    probs = keras.ops.convert_to_tensor([[0.5, 0.5]], "bfloat16")
    labels = keras.ops.convert_to_tensor([1])
    assert metrics.brier_score(labels, probs) == 0.5


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "labels, probs, problem, message",
    [
        ([0], [0.5, 0.5], ValueError, r"axes \(batch, classes\).*probs.shape=\(2,\)"),
        ([0], [[[[1.0]]]], ValueError, r"probs.shape=\(1, 1, 1, 1\)"),
        ([], np.zeros((0, 2)), ValueError, r"at least one row.*\(0, 2\)"),
        ([0], np.zeros((0, 1, 2)), ValueError, r"at least one row.*\(0, 1, 2\)"),
        ([0], [[np.nan, 1.0]], ValueError, "`probs` must be finite.*1 NaN"),
        ([0], [[np.inf, 1.0]], ValueError, "`probs` must be finite"),
        ([0], [[-0.5, 1.5]], ValueError, "below zero.*-0.5"),
        ([0], [[0.5, 0.502]], ValueError, r"`probs` must sum to one.*1\.002"),
        ([0, 1], [[0.5, 0.5], [2.0, 1.0]], ValueError, r"sum to one.*3\.0"),
        ([0], [["a", "b"]], TypeError, "`probs` must hold real numbers"),
        ([0], [[0.5j, 0.5]], TypeError, "real numbers.*complex"),
        ([0.5], [[0.5, 0.5]], ValueError, "`labels` must be class indices.*value 0.5"),
        ([np.nan], [[0.5, 0.5]], ValueError, "`labels` must be finite.*1 NaN"),
        ([None], [[0.5, 0.5]], TypeError, r"`labels` must hold real.*\[None\]"),
        (None, [[0.5, 0.5]], TypeError, "`labels` must hold real.*labels=None"),
        (["a"], [[0.5, 0.5]], TypeError, r"`labels` must hold real.*\['a'\]"),
        ([[0], [1, 0]], [[0.5, 0.5]] * 2, ValueError, "`labels` must be one array"),
        ([0], [[0.5], [0.5, 0.5]], ValueError, "`probs` must be one array"),
        ([[0.1, 0.9]], [[0.5, 0.5]], ValueError, r"`labels`.*one-hot.*\[0.1, 0.9\]"),
        ([[1, 1]], [[0.5, 0.5]], ValueError, r"`labels`.*one-hot.*\[1, 1\]"),
        ([[0, 0]], [[0.5, 0.5]], ValueError, r"`labels`.*one-hot.*\[0, 0\]"),
        ([[2, -1]], [[0.5, 0.5]], ValueError, r"`labels`.*one-hot.*\[2, -1\]"),
        ([[0.5]], [[0.5, 0.5]], ValueError, "`labels` must be class indices"),
        ([[2]], [[0.5, 0.5]], ValueError, r"`labels` must lie in \[0, 2\)"),
        ([True], [[0.5, 0.5]], TypeError, "`labels` must be integers.*bool"),
        ([0, 1], [[0.5, 0.5]], ValueError, r"\(batch,\) = \(1,\).*\(2,\)"),
        ([[[0]]], [[0.5, 0.5]], ValueError, r"labels.shape=\(1, 1, 1\)"),
        ([[0, 0, 1]], [[0.5, 0.5]], ValueError, r"labels.shape=\(1, 3\)"),
        ([0], [[0.5]], ValueError, "columns 1 - p and p.*0.5"),
        ([2], [[0.5, 0.5]], ValueError, r"`labels` must lie in \[0, 2\).*2 to 2"),
        ([-1], [[0.5, 0.5]], ValueError, r"`labels` must lie in \[0, 2\).*-1"),
    ],
)
def test_bad_arguments_are_named(score, labels, probs, problem, message):
    with pytest.raises(problem, match=message):
        score(labels, probs)


def test_rows_may_miss_one_by_the_tolerance():
    assert metrics.error([0], [[0.5, 0.4991]]) == 0.0


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "1", None])
def test_k_must_be_a_positive_integer(k):
    with pytest.raises(ValueError, match="`k` must be a positive integer.*k="):
        metrics.top_k_error([0], [[0.5, 0.5]], k)


def test_k_is_at_most_the_number_of_classes():
    with pytest.raises(ValueError, match="number of classes, 2. Received: k=3"):
        metrics.top_k_accuracy([0], [[0.5, 0.5]], 3)
