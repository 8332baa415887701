"""Many copies trained at once, against Keras training each by itself."""

import pathlib
import sys

import keras
import numpy as np
import pytest

from tfhyper.layers import BayesDense, MCDropout

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "benchmarks"))
from stacked import Stack, shuffled_batches  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 40, 3)), RNG.normal(size=(2, 40))
L2 = [1e-2, 1e-2, 0.5, 0.5]  # two parts, each with two


def batch_norm_network():
    layers = [
        keras.Input((3,)),
        keras.layers.Dense(8, use_bias=False),
        keras.layers.BatchNormalization(momentum=0.0),
        keras.layers.ReLU(),
        keras.layers.Dense(1),
    ]
    return keras.Sequential(layers)


def drawing_network():
    layers = [
        keras.Input((3,)),
        MCDropout(0.3, seed=1),
        BayesDense(8, activation="relu", kl_weight=1e-2, seed=2),
        keras.layers.Dense(1),
    ]
    return keras.Sequential(layers)


def train_by_keras(stack, build, copy, seed, batches):
    """Returns a network of its own after the same batches."""
    keras.utils.set_random_seed(seed)
    model, part = build(), copy % 2

    def loss(targets, outputs):
        kernels = [v for v in model.trainable_variables if v.name == "kernel"]
        decay = sum(keras.ops.sum(k**2) for k in kernels)
        error = keras.ops.mean((targets - outputs) ** 2) / 2
        return error + L2[copy] / 2 * decay

    model.compile(keras.optimizers.Adam(stack.learning_rate), loss)
    for rows in batches[:, part]:
        x, y = X[part][rows], Y[part][rows]
        model.train_on_batch(x.astype("float32"), y[:, None].astype("float32"))
    return model


@pytest.mark.parametrize("build", [batch_norm_network, drawing_network])
@pytest.mark.parametrize("copies", [1, 4])
def test_a_copy_learns_what_keras_learns(build, copies):
    stack = Stack(build, learning_rate=1e-2)
    seeds = [3, 4, 5, 6][:copies]
    parts = min(copies, 2)
    batches = shuffled_batches(np.random.default_rng(1), 2, parts, 40, 16)
    state = stack.start(seeds)
    for some in np.split(batches, 2):  # a training in two pieces is one training
        state = stack.train(state, X[:parts], Y[:parts], L2[:copies], some)
    for copy in range(copies):
        model = train_by_keras(stack, build, copy, seeds[copy], batches)
        for found, variable in zip(state.weights, model.trainable_variables):
            np.testing.assert_allclose(found[copy], variable.numpy(), atol=2e-5)


def test_predicts_with_the_statistics_of_all_training_rows():
    stack = Stack(batch_norm_network, learning_rate=1e-2)
    state = stack.start([3, 4])
    outputs = stack.predict(state, X, X[:, :7])
    for copy in range(2):
        first, gamma, beta, last, bias = (w[copy].numpy() for w in state.weights)
        hidden = X[copy] @ first
        normed = (hidden[:7] - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-3)
        expected = np.maximum(normed * gamma + beta, 0) @ last + bias
        np.testing.assert_allclose(outputs[copy], expected[:, 0], atol=1e-5)


def test_passes_of_a_drawing_network_are_averaged():
    stack = Stack(drawing_network, learning_rate=1e-2)
    state = stack.start([3, 4])
    outputs = [stack.predict(state, X, X, passes) for passes in (1, 15, 16)]
    assert abs(outputs[1] - outputs[2]).max() < abs(outputs[0] - outputs[2]).max() / 3


def test_an_epoch_has_each_example_once_but_for_the_last_batch():
    batches = shuffled_batches(np.random.default_rng(0), 3, 2, 10, 4)
    assert batches.shape == (6, 2, 4)
    for epoch in np.split(batches, 3):
        for part in (0, 1):
            assert len(set(epoch[:, part].ravel())) == 8
    assert not np.array_equal(batches[:2], batches[2:4])
    assert not np.array_equal(batches[:, 0], batches[:, 1])
