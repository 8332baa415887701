"""The calibration error in `compile`: right numbers or an error, on every backend.

The expected numbers are those of the NumPy function, which `test_calibration.py` holds
against TFP, of the outputs that Keras' own `predict` gives.
"""

import importlib.util
import os
import pathlib

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from tests.helpers.processes import run_python
from tfhyper.metrics import ExpectedCalibrationError, expected_calibration_error

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
LOGITS = (RNG.normal(size=(200, 4)) * 2).astype(np.float32)
PROBS = softmax(LOGITS, axis=-1)
LABELS = RNG.integers(0, 4, size=200)
P = expit(RNG.normal(size=200) * 2).astype(np.float32)
YES = RNG.integers(0, 2, size=200)
TWO_COLUMNS = np.stack([1 - P, P], axis=1)
WEIGHTS = RNG.integers(0, 4, size=200)


def value(y_true, y_pred, sample_weight=None, **arguments):
    metric = ExpectedCalibrationError(num_bins=10, **arguments)
    # In three batches.
    for part in np.split(np.arange(len(y_true)), [3, 150]):
        weights = None if sample_weight is None else sample_weight[part]
        metric.update_state(y_true[part], y_pred[part], sample_weight=weights)
    return float(metric.result())


def expected(labels, probs, sample_weight=None):
    return expected_calibration_error(
        labels, probs, num_bins=10, sample_weight=sample_weight
    )


@pytest.mark.parametrize(
    "labels", [YES, YES[:, None], YES.astype(np.float32), YES.astype(bool)]
)
def test_one_sigmoid_column_is_two_columns(labels):
    right = pytest.approx(expected(YES, TWO_COLUMNS), abs=1e-6)
    assert value(labels, P[:, None]) == right
    assert value(YES, TWO_COLUMNS) == right


def test_one_column_of_logits_goes_through_a_sigmoid():
    logits = np.log(P / (1 - P))[:, None]
    right = pytest.approx(expected(YES, TWO_COLUMNS), abs=1e-6)
    assert value(YES, logits, from_logits=True) == right


def test_one_column_of_one_half_predicts_class_zero():
    assert value(np.array([0, 1, 1, 1]), np.full((4, 1), 0.5, np.float32)) == (
        pytest.approx(0.25, abs=1e-7)
    )
    assert expected([0, 1, 1, 1], np.full((4, 2), 0.5)) == pytest.approx(0.25)


ONE_HOT = np.eye(4)[LABELS]
FORMS = {
    "a column": LABELS[:, None],
    "whole floats": LABELS.astype(np.float32),
    "half-precision whole floats": LABELS.astype(np.float16),
    "a column of float64": LABELS[:, None].astype(np.float64),
    "bytes": LABELS.astype(np.uint8),
    "one-hot float32": ONE_HOT.astype(np.float32),
    "one-hot integers": ONE_HOT.astype(np.int64),
    "one-hot bools": ONE_HOT.astype(bool),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_in_every_form(form):
    assert value(FORMS[form], PROBS) == value(LABELS, PROBS)


def test_bytes_as_labels_of_a_thousand_classes():
    probs = softmax(RNG.normal(size=(50, 1000)) * 3, axis=-1).astype(np.float32)
    labels = RNG.integers(0, 256, size=50).astype(np.uint8)
    assert value(labels, probs) == pytest.approx(expected(labels, probs), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("column", [False, True])
def test_weights_are_honoured_exactly(dtype, column):
    outputs = keras.ops.cast(LOGITS, dtype)
    probs = keras.ops.convert_to_numpy(
        keras.ops.softmax(keras.ops.cast(outputs, "float32"))
    )
    weights = WEIGHTS[:, None] if column else WEIGHTS
    metric = ExpectedCalibrationError(num_bins=10, from_logits=True)
    metric.update_state(LABELS, outputs, sample_weight=weights)
    right = expected(np.repeat(LABELS, WEIGHTS), np.repeat(probs, WEIGHTS, axis=0))
    assert float(metric.result()) == pytest.approx(right, abs=1e-6)


def test_fractional_weights_are_those_of_the_function():
    weights = RNG.gamma(1.0, 1.0, size=200)
    right = pytest.approx(expected(LABELS, PROBS, weights), abs=1e-6)
    assert value(LABELS, PROBS, weights) == right


def test_examples_of_weight_zero_are_left_out_whatever_they_hold():
    labels, probs = LABELS.copy(), PROBS.copy()
    labels[:3], probs[3:6], probs[6] = -1, np.nan, 7.0
    weights = (np.arange(200) > 6).astype(np.float32)
    right = pytest.approx(expected(LABELS[7:], PROBS[7:]), abs=1e-6)
    assert value(labels, probs, weights) == right


def test_a_mask_of_the_outputs_leaves_examples_out():
    x = np.where(np.arange(200)[:, None] % 3, LOGITS, 0.0)  # rows of zeros are masked
    inputs = keras.Input((4,))
    outputs = keras.layers.Masking()(inputs)
    model = keras.Model(inputs, keras.layers.Activation("softmax")(outputs))
    metric = ExpectedCalibrationError(num_bins=10)
    metric.update_state(LABELS, model(x), sample_weight=WEIGHTS)
    kept = np.arange(200) % 3 > 0
    right = expected(LABELS[kept], PROBS[kept], WEIGHTS[kept])
    assert float(metric.result()) == pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_half_precision_softmax_is_accepted(dtype, classes):
    logits = RNG.normal(size=(300, classes)).astype(np.float32) * 3
    probs = keras.layers.Softmax(dtype=dtype)(logits)
    labels = RNG.integers(0, classes, size=300)
    wide = keras.ops.convert_to_numpy(keras.ops.cast(probs, "float32"))
    right = pytest.approx(expected(labels, wide), abs=1e-6)
    # As they are, and where a float32 layer follows.
    for outputs in (probs, keras.ops.cast(probs, "float32")):
        metric = ExpectedCalibrationError(num_bins=10)
        metric.update_state(labels, outputs)
        assert float(metric.result()) == right


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_of_half_precision_do_not_stand_still(dtype):
    metric = ExpectedCalibrationError(num_bins=10, dtype=dtype)
    for _ in range(3):
        metric.update_state(np.tile(LABELS, 20), np.tile(PROBS, (20, 1)))
    right = expected(LABELS, PROBS)
    assert float(metric.result()) == pytest.approx(right, abs=1e-6)


def with_value(array, wrong, place=(5,)):
    array = np.array(array)
    array[place] = wrong
    return array


SOFT = (ONE_HOT * 0.9 + 0.025).astype(np.float32)
BAD_VALUES = {
    "logits": (LABELS, LOGITS, None, "`y_pred`.*from_logits=True.*1.. examples"),
    "one column of logits": (YES, LOGITS[:, :1], None, "`y_pred`.*from_logits=True"),
    "logits in [0, 1]": (
        LABELS,
        expit(LOGITS),
        None,
        "rows of `y_pred` must sum.*a sum of",
    ),
    "NaN": (
        LABELS,
        with_value(PROBS, np.nan),
        None,
        "`y_pred` must be finite.*with 1 ",
    ),
    "a label too large": (with_value(LABELS, 4), PROBS, None, "`y_true`.*label 4 on"),
    "a label below zero": (
        with_value(LABELS, -1),
        PROBS,
        None,
        "`y_true`.*label -1 on",
    ),
    "a label 2 of one column": (with_value(YES, 2), P[:, None], None, "`y_true`.*2 on"),
    "a fraction": (
        with_value(LABELS.astype(np.float32), 0.5),
        PROBS,
        None,
        "`y_true` must be class indices, whole.*label 0.5 on",
    ),
    "a NaN label": (
        with_value(LABELS.astype(np.float32), np.nan),
        PROBS,
        None,
        "`y_true` must be class indices, whole.*with 1 examples",
    ),
    "soft labels": (
        SOFT,
        PROBS,
        None,
        "`y_true`.*one-hot rows.*largest entry of 0.925",
    ),
    "two ones": (with_value(ONE_HOT, 1), PROBS, None, "`y_true`.*one-hot.*with 1 "),
    "a weight below zero": (
        LABELS,
        PROBS,
        with_value(WEIGHTS, -2),
        "`sample_weight` must be finite and not below zero.*weight -2 on",
    ),
    "a NaN weight": (
        LABELS,
        PROBS,
        with_value(np.ones(200, np.float32), np.nan),
        "`sample_weight` must be finite.*with 1 examples",
    ),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_wrong_values_raise_at_the_first_update(name):
    y_true, y_pred, weights, message = BAD_VALUES[name]
    metric = ExpectedCalibrationError()
    with pytest.raises(ValueError, match=message):
        metric.update_state(y_true, y_pred, sample_weight=weights)
    # Nothing of that batch was added.
    metric.update_state(LABELS, PROBS)
    assert float(metric.result()) == pytest.approx(
        expected_calibration_error(LABELS, PROBS), abs=1e-6
    )


@pytest.mark.parametrize(
    "y_true, y_pred, weights, problem, message",
    [
        (LABELS, P, None, ValueError, r"`y_pred`.*axes.*y_pred.shape=\(200,\)"),
        (LABELS, PROBS[:, :0], None, ValueError, r"`y_pred`.*\(200, 0\)"),
        (LABELS, PROBS[None], None, ValueError, r"`y_pred`.*\(1, 200, 4\)"),
        (ONE_HOT[:, :3], PROBS, None, ValueError, r"`y_true`.*y_true.shape=\(200, 3\)"),
        (ONE_HOT, P[:, None], None, ValueError, r"`y_true`.*y_true.shape=\(200, 4\)"),
        (LABELS[:7], PROBS, None, ValueError, r"`y_true`.*as many.*\(7,\)"),
        (LABELS, PROBS, np.ones(7), ValueError, r"`sample_weight`.*shape=\(7,\)"),
        (LABELS, PROBS, np.ones((200, 4)), ValueError, r"`sample_weight`.*\(200, 4\)"),
        (LABELS, PROBS, np.ones((1, 200)), ValueError, r"`sample_weight`.*\(1, 200\)"),
        (LABELS > 1, PROBS, None, TypeError, "`y_true`.*dtype=bool"),
        (["a", "b"], PROBS[:2], None, TypeError, "`y_true` must hold real.*'a'"),
        (None, PROBS, None, TypeError, "`y_true` must hold real.*y_true=None"),
        (LABELS, [[0.5], [0.5, 0.5]], None, ValueError, "`y_pred` must be one array"),
        (LABELS, PROBS * 1j, None, TypeError, "`y_pred` must hold real.*complex"),
    ],
)
def test_wrong_shapes_and_types_are_named(y_true, y_pred, weights, problem, message):
    with pytest.raises(problem, match=message):
        ExpectedCalibrationError().update_state(y_true, y_pred, weights)


@pytest.mark.parametrize("from_logits", ["False", 1, None])
def test_from_logits_is_a_bool(from_logits):
    with pytest.raises(
        ValueError, match="`from_logits` must be True or False.*Received"
    ):
        ExpectedCalibrationError(from_logits=from_logits)


def network(units, activation, loss, from_logits=False, **options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(units, activation=activation)]
    )
    model.compile(
        "sgd",
        loss,
        metrics=[ExpectedCalibrationError(10, from_logits=from_logits)],
        weighted_metrics=[
            ExpectedCalibrationError(10, from_logits=from_logits, name="weighted")
        ],
        **options,
    )
    return model


# How the steps run; `jit_compile` is each backend's own compiler.
MODES = {
    "tensorflow": [{"jit_compile": False}, {"jit_compile": True}],
    "jax": [{}],
    "torch": [{}],
}[BACKEND]


@pytest.mark.parametrize("mode", MODES)
def test_fit_and_evaluate_of_one_sigmoid_column(mode):
    model = network(1, "sigmoid", "binary_crossentropy", **mode)
    y = YES.astype(np.float32)
    history = model.fit(LOGITS, y, batch_size=32, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["ece"]))
    found = model.evaluate(
        LOGITS, y, batch_size=32, sample_weight=WEIGHTS, verbose=0, return_dict=True
    )
    p = model.predict(LOGITS, verbose=0)
    probs = np.concatenate([1 - p, p], axis=1)
    assert found["ece"] == pytest.approx(expected(YES, probs), abs=1e-6)
    assert found["weighted"] == pytest.approx(expected(YES, probs, WEIGHTS), abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_fit_and_evaluate_of_one_hot_labels(mode):
    model = network(4, None, keras.losses.CategoricalCrossentropy(True), True, **mode)
    model.fit(LOGITS, ONE_HOT, batch_size=32, verbose=0)
    found = model.evaluate(LOGITS, ONE_HOT, verbose=0, return_dict=True)
    probs = softmax(model.predict(LOGITS, verbose=0), axis=-1)
    assert found["ece"] == pytest.approx(expected(LABELS, probs), abs=1e-6)


def loss_of_logits():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("mode", MODES)
def test_logits_that_were_not_announced_end_fit_and_evaluate(mode):
    model = network(4, None, loss_of_logits(), **mode)
    with pytest.raises(ValueError, match="`y_pred`.*from_logits=True.*examples"):
        model.fit(LOGITS, LABELS, batch_size=32, epochs=3, verbose=0)
    with pytest.raises(ValueError, match="`y_pred`.*from_logits=True.*examples"):
        model.evaluate(LOGITS, LABELS, batch_size=32, verbose=0)


def test_labels_out_of_range_end_evaluate():
    model = network(4, "softmax", "mse")
    labels = with_value(LABELS, 4)[:, None]
    with pytest.raises(ValueError, match="`y_true`.*1 examples.*label 4 on"):
        model.evaluate(LOGITS, labels, batch_size=32, verbose=0)


def test_an_eager_step_raises_at_once():
    model = network(4, None, loss_of_logits(), run_eagerly=True)
    with pytest.raises(ValueError, match="`y_pred`.*from_logits=True.*examples"):
        model.train_on_batch(LOGITS, LABELS)


def test_a_compiled_step_gives_no_number_that_is_wrong():
    model = network(4, None, loss_of_logits())
    try:
        found = model.train_on_batch(LOGITS, LABELS, return_dict=True)["ece"]
    except ValueError as error:  # the steps of torch are not compiled
        assert BACKEND == "torch" and "from_logits=True" in str(error)
    else:
        assert np.isnan(found)


def test_wrong_shapes_raise_before_the_first_step():
    model = network(4, "softmax", lambda y_true, y_pred: keras.ops.mean(y_pred))
    before = [np.array(w) for w in model.get_weights()]
    with pytest.raises(ValueError, match=r"`y_true`.*y_true.shape=\(.*, 3\)"):
        model.fit(LOGITS, ONE_HOT[:, :3], verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = network(4, "softmax", "sparse_categorical_crossentropy")
        found = model.evaluate(
            LOGITS, LABELS, sample_weight=WEIGHTS, verbose=0, return_dict=True
        )
        probs = np.asarray(model.predict(LOGITS, verbose=0)).astype(np.float32)
    finally:
        keras.config.set_dtype_policy("float32")
    # Within its steps a compiler may round less than the outputs of `predict` are.
    right = expected(LABELS, probs, WEIGHTS)
    assert found["weighted"] == pytest.approx(right, abs=1e-3)
    assert abs(right - expected(LABELS, probs)) > 0.002


def test_validation_data_are_scored_and_checked():
    model = network(4, "softmax", "sparse_categorical_crossentropy")
    right = (LOGITS, LABELS, WEIGHTS)
    history = model.fit(LOGITS, LABELS, validation_data=right, verbose=0).history
    probs = model.predict(LOGITS, verbose=0)
    assert history["val_weighted"][0] == pytest.approx(
        expected(LABELS, probs, WEIGHTS), abs=1e-6
    )


PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
# What depends on how a backend runs steps and raises.
OF_EACH_BACKEND = (
    "mode or mask or update or compiled_step or mixed or honoured or range"
)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_this_file_on_each_backend(backend):
    if backend == BACKEND or os.environ.get("KERAS_BACKEND_OF_PARENT"):
        return
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {"KERAS_BACKEND": backend, "KERAS_BACKEND_OF_PARENT": BACKEND}
    others = str(pathlib.Path(__file__).with_name("test_keras_metrics.py"))
    command = [*PYTEST, "-k", OF_EACH_BACKEND, __file__, others]
    run_python(*command, env=environment, fresh=True, check=True)
