"""Calibration: the function against TFP, the streaming metric against the function."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tfhyper import metrics
from tfhyper.metrics import ExpectedCalibrationError, expected_calibration_error


def sample(count=1000, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(count, classes)) * 2).astype(np.float32)
    return rng.integers(0, classes, size=count), logits


def test_curve_of_a_case_worked_out_by_hand():
    probs = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5]]
    curve = metrics.reliability_curve([0, 1, 0, 1], probs, num_bins=4)
    assert curve.counts.tolist() == [0, 1, 1, 2]
    np.testing.assert_allclose(curve.confidence, [0, 0.5, 0.6, 0.85])
    np.testing.assert_allclose(curve.accuracy, [0, 0, 1, 0.5])
    ece = expected_calibration_error([0, 1, 0, 1], probs, num_bins=4)
    assert ece == pytest.approx((0.5 + 0.4 + 2 * 0.35) / 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_bins", [5, 10, 15, 20])
def test_bins_are_closed_on_their_right(dtype, num_bins):
    # 0.6 + 0.2 i is an edge of each of these numbers of bins.
    confidence = np.array([0.6, 0.8, 1.0])
    probs = np.stack([confidence, 1 - confidence], axis=1).astype(dtype)
    counts = metrics.reliability_curve([0, 0, 0], probs, num_bins).counts
    expected = np.round(confidence * num_bins).astype(int) - 1
    np.testing.assert_array_equal(np.flatnonzero(counts), expected)


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_function_equals_tfp(num_bins):
    import tensorflow_probability as tfp

    labels, logits = sample()
    expected = tfp.stats.expected_calibration_error(
        num_bins, logits=logits, labels_true=labels.astype(np.int32)
    )
    ece = expected_calibration_error(labels, softmax(logits, axis=-1), num_bins)
    assert ece == pytest.approx(float(expected), abs=1e-6)


def test_calibrated_predictions_have_almost_no_error():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=50_000)
    labels = (rng.random((50_000, 1)) > probs.cumsum(axis=1)).sum(axis=1)
    assert expected_calibration_error(labels, probs) < 0.01
    overconfident = probs**3 / (probs**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(labels, overconfident) > 0.1


def test_curve_is_free_of_nan_where_a_bin_is_empty():
    curve = metrics.reliability_curve([0], [[1.0, 0.0]], num_bins=3)
    assert curve.counts.tolist() == [0, 0, 1]
    assert curve.confidence.tolist() == [0, 0, 1]
    assert curve.accuracy.tolist() == [0, 0, 1]


@pytest.mark.parametrize("num_bins", [0, -3, 2.0, True, "10"])
@pytest.mark.parametrize(
    "call",
    [
        lambda n: metrics.reliability_curve([0], [[1.0, 0.0]], n),
        lambda n: expected_calibration_error([0], [[1.0, 0.0]], n),
        lambda n: ExpectedCalibrationError(num_bins=n),
    ],
)
def test_num_bins_must_be_a_positive_integer(call, num_bins):
    with pytest.raises(ValueError, match="`num_bins` must be a positive integer.*num"):
        call(num_bins)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_metric_over_uneven_batches_equals_the_function(from_logits, num_bins):
    labels, logits = sample()
    probs = softmax(logits, axis=-1)
    metric = ExpectedCalibrationError(num_bins, from_logits=from_logits)
    outputs = logits if from_logits else probs
    for batch in np.split(np.arange(1000), [1, 8, 500, 996]):
        metric.update_state(labels[batch], outputs[batch])
    expected = expected_calibration_error(labels, probs, num_bins)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_metric_agrees_on_bin_edges():
    confidence = np.arange(1, 16, dtype=np.float32)[7:] / np.float32(15)
    probs = np.stack([confidence, 1 - confidence], axis=1)
    labels = np.arange(8) % 2
    metric = ExpectedCalibrationError()
    metric.update_state(labels, probs)
    expected = expected_calibration_error(labels, probs)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_metric_weights_examples_like_repeats():
    labels, logits = sample(60)
    probs = softmax(logits, axis=-1)
    repeats = np.arange(60) % 4
    metric = ExpectedCalibrationError()
    metric.update_state(labels, probs, sample_weight=repeats)
    expected = expected_calibration_error(
        np.repeat(labels, repeats), np.repeat(probs, repeats, axis=0)
    )
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    metric.update_state(labels[:, None], probs, sample_weight=repeats[:, None])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    metric.update_state(labels, probs, sample_weight=0.5)
    expected = expected_calibration_error(labels, probs)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_metric_is_zero_before_the_first_batch_and_after_reset():
    metric = ExpectedCalibrationError()
    assert float(metric.result()) == 0.0
    metric.update_state(np.array([1]), np.array([[1.0, 0.0]]))
    assert float(metric.result()) == 1.0
    metric.reset_state()
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize(
    "labels, outputs, message",
    [
        (np.zeros((4, 3)), np.ones((4, 3)) / 3, "`y_true`.*one-hot rows.*4 examples"),
        (np.zeros((4, 2)), np.ones((4, 3)) / 3, r"`y_true`.*one-hot.*\(4, 2\)"),
        (np.zeros(4), np.zeros(4), r"`y_pred`.*y_pred.shape=\(4,\)"),
        (np.zeros((2, 3)), np.zeros((2, 4, 3)), r"`y_pred`.*\(2, 4, 3\)"),
    ],
)
def test_metric_names_wrong_shapes(labels, outputs, message):
    with pytest.raises(ValueError, match=message):
        ExpectedCalibrationError().update_state(labels, outputs)


def test_metric_config_round_trip():
    metric = ExpectedCalibrationError(7, from_logits=True, name="calibration")
    data = keras.saving.serialize_keras_object(metric)
    assert data["registered_name"] == "tfhyper>ExpectedCalibrationError"
    copy = keras.saving.deserialize_keras_object(data)
    assert copy.get_config() == metric.get_config()
    assert (copy.num_bins, copy.from_logits, copy.name) == (7, True, "calibration")


def compiled_model(jit_compile=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
    model.compile(
        optimizer="sgd",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[ExpectedCalibrationError(from_logits=True)],
        weighted_metrics=[ExpectedCalibrationError(from_logits=True, name="weighted")],
        jit_compile=jit_compile,
    )
    return model


def inputs_and_labels():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(100, 4)).astype(np.float32) * 2
    return inputs, rng.integers(0, 5, size=100)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_metric_inside_fit_and_evaluate(jit_compile):
    model = compiled_model(jit_compile)
    inputs, labels = inputs_and_labels()
    history = model.fit(inputs, labels, batch_size=32, epochs=2, verbose=0).history
    assert len(history["ece"]) == 2 and np.all(np.isfinite(history["ece"]))
    weights = np.arange(100) % 2
    scores = model.evaluate(
        inputs,
        labels,
        batch_size=32,
        sample_weight=weights,
        verbose=0,
        return_dict=True,
    )
    probs = softmax(model.predict(inputs, verbose=0), axis=-1)
    expected = expected_calibration_error(labels, probs)
    assert scores["ece"] == pytest.approx(expected, abs=1e-6)
    expected = expected_calibration_error(labels[1::2], probs[1::2])
    assert scores["weighted"] == pytest.approx(expected, abs=1e-6)


def test_model_compiled_with_the_metric_saves_and_loads(tmp_path):
    model = compiled_model()
    inputs, labels = inputs_and_labels()
    model.fit(inputs, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    scores = [
        m.evaluate(inputs, labels, verbose=0, return_dict=True) for m in (model, loaded)
    ]
    assert scores[1]["ece"] == pytest.approx(scores[0]["ece"], abs=1e-6)


def test_metric_sums_in_float32_for_half_precision_outputs():
    labels, logits = sample()
    half = softmax(logits, axis=-1).astype(np.float16)
    metric = ExpectedCalibrationError()
    metric.update_state(labels, keras.ops.convert_to_tensor(half))
    expected = expected_calibration_error(labels, half)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)
