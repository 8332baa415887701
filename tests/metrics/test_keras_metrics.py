"""Keras metrics against the functions of arrays, which have oracles of their own.

`test_calibration_metric.py` runs what has "mode" in its name on every backend.
"""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from tfhyper import metrics

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
SHAPE, CLASSES = (12, 5), 3
LOGITS = (RNG.normal(size=(*SHAPE, CLASSES)) * 2).astype(np.float32)
PROBS = softmax(LOGITS, axis=-1)
LABELS = RNG.integers(0, CLASSES, SHAPE)
WEIGHTS = RNG.gamma(1.0, 1.0, SHAPE).astype(np.float32)
VOID = RNG.uniform(size=SHAPE) < 0.3
TARGETS = RNG.normal(size=(*SHAPE, 2)).astype(np.float32)
MEANS = RNG.normal(size=TARGETS.shape).astype(np.float32)
SCALES = RNG.uniform(0.5, 2.0, size=TARGETS.shape).astype(np.float32)
NORMAL = np.concatenate([MEANS, SCALES], axis=-1)

OF_CLASSES = {
    metrics.NegativeLogLikelihood: metrics.negative_log_likelihood,
    metrics.BrierScore: metrics.brier_score,
    metrics.ExpectedCalibrationError: metrics.expected_calibration_error,
}


def coverage(targets, means, variances, **weights):
    interval = metrics.gaussian_interval(means, variances, 0.7)
    return metrics.interval_coverage(targets, interval, **weights)


OF_NORMALS = {
    metrics.NormalCRPS: metrics.crps_gaussian,
    metrics.NormalNegativeLogLikelihood: lambda *a, **w: (
        -metrics.gaussian_log_likelihood(*a, **w)
    ),
    metrics.NormalCoverage: coverage,
}


def normal(kind, **options):
    level = {"level": 0.7} if kind is metrics.NormalCoverage else {}
    return kind(**level, **options)


def value(metric, y_true, y_pred, weights=None):
    """Returns the value after two batches of unequal sizes."""
    for part in (slice(0, 7), slice(7, None)):
        w = weights if weights is None or np.ndim(weights) == 0 else weights[part]
        metric.update_state(y_true[part], y_pred[part], sample_weight=w)
    return float(metric.result())


def near(number):
    return pytest.approx(number, abs=2e-6)


@pytest.mark.parametrize("kind", OF_CLASSES)
def test_maps_are_scored_as_by_the_function(kind):
    score = OF_CLASSES[kind]
    right = near(score(LABELS, PROBS))
    for labels in (LABELS, LABELS[..., None], np.eye(CLASSES)[LABELS]):
        assert value(kind(), labels, PROBS) == right
    assert value(kind(from_logits=True), LABELS.astype("float32"), LOGITS) == right
    assert value(kind(), LABELS, PROBS, 3.0) == right
    flat = LABELS.ravel(), PROBS.reshape(-1, CLASSES)
    assert value(kind(), *flat) == right

    with_void = np.where(VOID, 255, LABELS)
    options = {"sample_weight": WEIGHTS, "ignore_class": 255}
    right = near(score(with_void, PROBS, **options))
    for labels in (with_void, with_void.astype(np.uint8)):
        found = value(kind(ignore_class=255), labels, PROBS, WEIGHTS)
        assert found == right
    for weights in (WEIGHTS[:, 0], WEIGHTS[:, :1]):
        found = value(kind(), LABELS, PROBS, weights)
        assert found == near(score(LABELS, PROBS, sample_weight=weights))
    # What is left out may be anything.
    labels, probs = with_void.copy(), PROBS.copy()
    labels[0], probs[1] = 77, np.nan
    weights = np.ones(SHAPE, np.float32)
    weights[:2] = 0
    right = near(score(with_void[2:], PROBS[2:], ignore_class=255))
    assert value(kind(ignore_class=255), labels, probs, weights) == right


@pytest.mark.parametrize("kind", OF_CLASSES)
def test_one_column_is_scored_as_binary_labels(kind):
    name = kind().name
    labels, logits = LABELS > 0, LOGITS[..., :1]
    right = near(metrics.binary_report(labels, expit(logits))[name])
    assert value(kind(), labels, expit(logits)) == right
    assert value(kind(from_logits=True), labels.astype("int32"), logits) == right
    flat = labels.ravel(), logits.reshape(-1, 1)
    assert value(kind(from_logits=True), *flat) == right


@pytest.mark.parametrize("kind", OF_NORMALS)
def test_normal_predictions_are_scored_as_by_the_function(kind):
    score = OF_NORMALS[kind]
    arguments = TARGETS, MEANS, np.square(SCALES)
    right = near(score(*arguments))
    assert value(normal(kind), TARGETS, NORMAL) == right
    variances = np.concatenate([MEANS, np.square(SCALES)], axis=-1)
    assert value(normal(kind, spread="variance"), TARGETS, variances) == right
    wide = np.repeat(WEIGHTS[..., None], 2, axis=-1)
    right = near(score(*arguments, sample_weight=wide))
    assert value(normal(kind), TARGETS, NORMAL, WEIGHTS) == right
    of_examples = WEIGHTS[:, 0]
    right = near(score(*arguments, sample_weight=of_examples))
    assert value(normal(kind), TARGETS, NORMAL, of_examples) == right
    # One target with and without its axis.
    one = [array[:, 0, 0] for array in arguments]
    pair = np.stack([MEANS[:, 0, 0], SCALES[:, 0, 0]], axis=-1)
    for targets in (one[0], one[0][:, None]):
        assert value(normal(kind), targets, pair) == near(score(*one))
    # What is left out may be anything.
    targets, outputs = TARGETS.copy(), NORMAL.copy()
    targets[0], outputs[1], outputs[2] = np.nan, np.nan, -1
    weights = (np.arange(12) > 2).astype(np.float32)
    right = near(score(*(array[3:] for array in arguments)))
    assert value(normal(kind), targets, outputs, weights) == right


def steps():
    """Returns inputs of sequences, some of whose steps are masked."""
    x = RNG.normal(size=(*SHAPE, 4)).astype(np.float32)
    return np.where(VOID[..., None], 0.0, x).astype(np.float32)


def masked_network(units, activation, loss, kinds, **options):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((5, 4)), keras.layers.Masking()]
    model = keras.Sequential([*layers, keras.layers.Dense(units, activation)])
    model.compile(keras.optimizers.SGD(0.01), loss, weighted_metrics=kinds, **options)
    return model


# How the steps run: without XLA, and of one evaluation with it.
PLAIN = {"jit_compile": False} if BACKEND == "tensorflow" else {}
# The losses of Keras multiply the weights of a masked batch in place, by its labels
# over those that count, before metrics see them: on torch, whose tensors can change.
BATCH_SIZE = 12 if BACKEND == "torch" else 6
MODES = [PLAIN, {"jit_compile": True}] if BACKEND == "tensorflow" else [PLAIN]


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_fit_leave_out_masked_and_ignored_steps(mode):
    x, unknown = steps(), RNG.uniform(size=SHAPE) < 0.2
    labels = np.where(unknown, -1, LABELS)
    kinds = [kind(ignore_class=-1) for kind in OF_CLASSES]
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    model = masked_network(CLASSES, "softmax", loss, kinds, **mode)
    if mode == PLAIN:
        history = model.fit(x, labels, 6, epochs=1, verbose=0).history
        assert np.isfinite([history[kind().name] for kind in OF_CLASSES]).all()
    found = model.evaluate(
        x, labels, BATCH_SIZE, sample_weight=WEIGHTS, verbose=0, return_dict=True
    )
    kept = ~VOID & ~unknown
    probs = model.predict(x, verbose=0)[kept]
    for kind, score in OF_CLASSES.items():
        right = score(LABELS[kept], probs, sample_weight=WEIGHTS[kept])
        assert found[kind().name] == near(right)


def test_modes_of_fit_score_normal_predictions():
    x, kinds = steps(), [normal(kind) for kind in OF_NORMALS]
    model = masked_network(4, "softplus", lambda y, p: p[..., 0], kinds, **PLAIN)
    model.fit(x, TARGETS, 6, epochs=1, verbose=0)
    found = model.evaluate(
        x, TARGETS, BATCH_SIZE, sample_weight=WEIGHTS, verbose=0, return_dict=True
    )
    outputs = model.predict(x, verbose=0)[~VOID]
    wide = np.repeat(WEIGHTS[~VOID][:, None], 2, axis=-1)
    arguments = TARGETS[~VOID], outputs[:, :2], np.square(outputs[:, 2:])
    for kind, score in OF_NORMALS.items():
        right = score(*arguments, sample_weight=wide)
        assert found[kind().name] == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("kind", [*OF_CLASSES, *OF_NORMALS])
def test_metrics_are_made_again_from_their_config(kind):
    if kind in OF_CLASSES:
        metric = kind(from_logits=True, ignore_class=-1, name="mine")
        data = np.where(VOID, -1, LABELS), LOGITS
    else:
        metric = normal(kind, spread="variance", name="mine")
        data = TARGETS, NORMAL
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(metric)
    )
    assert type(again) is kind and again.get_config() == metric.get_config()
    assert value(again, *data) == value(metric, *data)
    again.reset_state()
    assert float(again.result()) == 0.0


@pytest.mark.parametrize(
    "metric, data, message",
    [
        (metrics.BrierScore(), (LABELS, LOGITS), "`y_pred`.*from_logits=True"),
        (metrics.BrierScore(), (LABELS + 1, PROBS), "`y_true` must be class indices"),
        (
            metrics.NegativeLogLikelihood(),
            (LABELS[:, :3], PROBS),
            "`y_true` must hold as many labels along each axis as `y_pred`, 5",
        ),
        (
            metrics.NegativeLogLikelihood(),
            (LABELS, PROBS, WEIGHTS[:, :3]),
            r"`sample_weight`.*one per label, \(12, 5\)",
        ),
        (
            metrics.BrierScore(ignore_class=2),
            (LABELS, PROBS),
            r"`ignore_class` must lie outside of \[0, 3\)",
        ),
        (
            metrics.BrierScore(ignore_class=9),
            (np.eye(3)[LABELS], PROBS),
            "`ignore_class` must be None where `y_true` is one-hot",
        ),
        (
            metrics.NormalCRPS(),
            (TARGETS, np.concatenate([MEANS, -SCALES], -1)),
            "`y_pred` must end in spreads above zero.*120 examples.*a spread of -1",
        ),
        (
            metrics.NormalCRPS(),
            (TARGETS * np.nan, NORMAL),
            "`y_true` must be finite. Received: y_true with 120",
        ),
        (
            metrics.NormalCoverage(),
            (TARGETS, NORMAL * np.inf),
            "`y_pred` must be finite",
        ),
        (
            metrics.NormalCRPS(),
            (TARGETS, NORMAL, -WEIGHTS),
            "`sample_weight` must be finite and not below zero",
        ),
        (
            metrics.NormalCRPS(),
            (TARGETS[..., 0], NORMAL),
            r"`y_true` must have the shape \(12, 5, 2\)",
        ),
        (
            metrics.NormalCRPS(),
            (TARGETS, NORMAL[..., :3]),
            r"`y_pred` must have the axes \(batch, ..., 2 \* targets\)",
        ),
    ],
)
def test_wrong_batches_raise_at_once(metric, data, message):
    with pytest.raises(ValueError, match=message):
        metric.update_state(*data)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="`spread` must be"):
        metrics.NormalCRPS(spread="std")
    with pytest.raises(ValueError, match="`level` must be a probability"):
        metrics.NormalCoverage(level=1.5)
    with pytest.raises(ValueError, match="`ignore_class` must be an integer"):
        metrics.BrierScore(ignore_class=0.5)
