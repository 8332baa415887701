"""The recipe of ResNets on ImageNet, and its loss."""

import keras
import numpy as np
import pytest
from keras import ops

from tfhyper.layers import HyperDense, LatentCode
from tfhyper.training import SmoothedCrossentropy, compile_imagenet_recipe

CLASSES = 7
RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(24, 5)).astype("float32"), np.arange(24) % CLASSES
ONES = {"epochs": 1, "steps_per_epoch": 1}


def to_numpy(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def classifier(classes=CLASSES):
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(classes)])


def log_probabilities(logits):
    logits = np.asarray(logits, "float64")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("batch_size, first", [(256, 0.1), (1024, 0.4), (64, 0.025)])
def test_rate_follows_the_batch_and_the_epochs(batch_size, first):
    steps = 5005
    model = compile_imagenet_recipe(classifier(), 90, steps, batch_size=batch_size)
    rate = model.optimizer._learning_rate
    for epoch, power in (
        (0, 0),
        (29, 0),
        (30, 1),
        (59, 1),
        (60, 2),
        (79, 2),
        (80, 3),
        (89, 3),
    ):
        for step in (epoch * steps, (epoch + 1) * steps - 1):
            found = float(to_numpy(rate(ops.convert_to_tensor(step, "int64"))))
            assert found == pytest.approx(first / 10**power, rel=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_two_steps_are_those_of_the_formula(nesterov):
    model = classifier()
    found = compile_imagenet_recipe(
        model, 90, 10, batch_size=24, nesterov=nesterov, weight_decay=0.05
    )
    assert found is model
    kernel, bias = (np.array(w, "float64") for w in model.get_weights())
    x, y = DATA[0].astype("float64"), DATA[1]
    rate, speeds = 0.1 * 24 / 256, [0.0, 0.0]
    for _ in range(2):
        probs = np.exp(log_probabilities(x @ kernel + bias))
        error = (probs - np.eye(CLASSES)[y]) / len(y)
        weights = []
        for i, (weight, gradient) in enumerate(
            ((kernel, x.T @ error), (bias, error.sum(0)))
        ):
            gradient = gradient + 0.05 * weight
            speeds[i] = 0.9 * speeds[i] - rate * gradient
            step = 0.9 * speeds[i] - rate * gradient if nesterov else speeds[i]
            weights.append(weight + step)
        kernel, bias = weights
    model.fit(*DATA, batch_size=24, epochs=2, shuffle=False, verbose=0)
    for weight, expected in zip(model.get_weights(), (kernel, bias), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)


def test_the_defaults_are_those_of_he_et_al():
    optimizer = compile_imagenet_recipe(classifier(), **ONES).optimizer
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, False)
    assert optimizer.coupled_decay == 1e-4


def test_generators_are_decayed_unless_they_are_to_be_left_out():
    x = keras.Input((5,))
    y = HyperDense(CLASSES, hidden_units=8)(x, LatentCode(4, "uniform", seed=1)(x))
    model = keras.Model(x, y)
    for options in ({}, {"decay_generator": False}):
        compile_imagenet_recipe(model, **ONES, **options)
        roles = model.optimizer.no_decay_roles
        assert ("generator" in roles) is bool(options)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_metrics(smoothing):
    model = compile_imagenet_recipe(classifier(), **ONES, label_smoothing=smoothing)
    found = model.evaluate(*DATA, verbose=0, return_dict=True)
    logs = log_probabilities(to_numpy(model(DATA[0])))
    right = logs[np.arange(24), DATA[1]]
    expected = -(1 - smoothing) * right.mean() - smoothing * logs.mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    ranks = np.sum(logs > right[:, None], axis=1)
    assert found["accuracy"] == pytest.approx(np.mean(ranks == 0))
    assert found["top_5_accuracy"] == pytest.approx(np.mean(ranks < 5))
    assert 0 < np.mean(ranks < 5) < 1


def test_no_top_5_accuracy_of_five_classes_or_fewer():
    model = compile_imagenet_recipe(classifier(5), **ONES)
    found = model.evaluate(DATA[0], DATA[1] % 5, verbose=0, return_dict=True)
    assert set(found) == {"loss", "accuracy"}


def test_a_saved_model_keeps_its_loss(tmp_path):
    model = compile_imagenet_recipe(classifier(), **ONES, label_smoothing=0.2)
    model.fit(*DATA, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(copy.loss, SmoothedCrossentropy)
    assert copy.loss.label_smoothing == 0.2
    assert copy.evaluate(*DATA, verbose=0) == model.evaluate(*DATA, verbose=0)


def test_smoothed_crossentropy_is_that_of_the_formula():
    logits = RNG.normal(size=(6, 4)).astype("float32")
    labels = np.array([0, 1, 2, 3, 0, 1])
    smoothed = 0.7 * np.eye(4)[labels] + 0.3 / 4
    expected = -np.sum(smoothed * log_probabilities(logits), axis=1)
    loss = SmoothedCrossentropy(0.3, reduction=None)
    for shape in ((6,), (6, 1)):
        found = to_numpy(loss(labels.reshape(shape), logits))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` must be a positive integer"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer.*batch_size=0"),
        ({"learning_rate": 0}, "`learning_rate` must be a finite number > 0"),
        ({"learning_rate": np.nan}, "`learning_rate` must be a finite number > 0"),
        ({"weight_decay": -1}, "`weight_decay` must be"),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be.*label_smoothing=1.0"),
        ({"label_smoothing": -0.1}, "`label_smoothing` must be.*=-0.1"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        compile_imagenet_recipe(classifier(), **{**ONES, **options})
