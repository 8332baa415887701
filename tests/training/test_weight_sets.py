"""A batch in parts, each with a draw: gradients against those made by hand."""

import keras
import numpy as np
import pytest

from tests.helpers.trainings import (
    UNITS,
    X,
    Y,
    assert_close,
    batches,
    compiled,
    state,
    train,
)
from tfhyper import layers
from tfhyper.training import Trainer

tf = pytest.importorskip("tensorflow")

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RATE = 0.1


def network():
    """Without BatchNorm, whose statistics would be those of a part."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.HyperConv2D(4, 3, seed=1, activation="relu", **UNITS),
            layers.HyperConv2D(3, 3, seed=2, mean_kernel=True, **UNITS),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def by_hand(sets, steps):
    """Returns the model and losses of plain steps: the mean of the parts' gradients.

    Each call of a model draws the next code, so that part s of step t has draw
    t * sets + s.
    """
    model = compiled(network, fast=False)
    losses = []
    for step in range(steps):
        batch = slice(step % 3 * 8, step % 3 * 8 + 8)
        parts = zip(np.split(X[batch], sets), np.split(Y[batch], sets), strict=True)
        gradients = []
        for x, y in parts:
            with tf.GradientTape() as tape:
                loss = LOSS(y, model(x, training=True))
            gradients.append(tape.gradient(loss, model.trainable_weights))
            losses.append(float(loss))
        for weight, *each in zip(model.trainable_weights, *gradients, strict=True):
            weight.assign_sub(RATE * np.mean([g.numpy() for g in each], axis=0))
    return model, losses


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("sets", [2, 4])
def test_gradient_is_the_mean_of_those_of_the_parts(sets, fast):
    """Packed gradients of several codes are stacked, a row for each."""
    model, history = train(
        None,
        network,
        lambda: keras.optimizers.SGD(RATE),
        weight_sets=sets,
        fast=fast,
    )
    expected, losses = by_hand(sets, 6)
    assert_close(state(model), state(expected))
    means = np.reshape(losses, (2, -1)).mean(1)
    np.testing.assert_allclose(history.history["loss"], means, rtol=1e-6)
    draws = model.layers[0].latent_code.draws
    assert draws[0] == 6 * sets


def test_accuracy_counts_all_parts():
    model = compiled(network, lambda: keras.optimizers.SGD(0.0))
    trainer = Trainer(model, weight_sets=2)
    history = trainer.fit(batches(), epochs=1, steps_per_epoch=3, verbose=0)
    model = compiled(network)
    hits = [
        np.argmax(model(x, training=True), -1) == y
        for x, y in zip(np.split(X, 6), np.split(Y, 6), strict=True)
    ]
    assert history.history["accuracy"] == pytest.approx([np.mean(hits)])


def test_examples_of_different_weight():
    """As two plain steps would weigh them: each part by its own mean."""
    weight = np.linspace(0, 2, 8).astype("float32")
    data = tf.data.Dataset.from_tensors((X[:8], Y[:8], weight)).repeat()
    model, _ = train(
        None, network, lambda: keras.optimizers.SGD(RATE), weight_sets=2, data=data
    )
    expected = compiled(network, fast=False)
    for _ in range(6):
        gradients = []
        for part in (slice(0, 4), slice(4, 8)):
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    Y[part], expected(X[part], training=True)
                )
                loss = tf.reduce_sum(losses * weight[part]) / 4
            gradients.append(tape.gradient(loss, expected.trainable_weights))
        for w, a, b in zip(expected.trainable_weights, *gradients, strict=True):
            w.assign_sub(RATE * (a + b) / 2)
    assert_close(state(model), state(expected))


@pytest.mark.parametrize("optimizer", ["Adam", "Nadam"])
def test_fast_is_ordinary(optimizer):
    found, expected = (
        state(
            *train(
                None,
                network,
                lambda: getattr(keras.optimizers, optimizer)(0.01),
                weight_sets=2,
                fast=fast,
            )
        )
        for fast in (True, False)
    )
    assert_close(found, expected)
