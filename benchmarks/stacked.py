"""Training of many copies of one small network side by side, as one computation."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7  # of keras.optimizers.Adam


class State(NamedTuple):
    """Where a training stands; every weight has the axes (copies, ...)."""

    weights: list
    means: list  # of the gradients, and of their squares: Adam's
    squares: list
    steps: tf.Tensor
    others: list  # what the network holds besides, shared by the copies


def half_squares(targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Returns 0.5 (f(x) - y)^2 of each example."""
    return tf.square(outputs[:, 0] - targets) / 2


class Stack:
    """Copies of a network, each with weights and data of its own, under Adam.

    The loss of a copy is the mean over its examples, 0.5 (f(x) - y)^2 or another one,
    and l2 / 2 sum w^2 over its kernels, and what the network's layers add. A step of
    all copies costs little more than one of a single network, where the networks are
    tiny. Layers that draw, such as dropout, draw the same for all copies; what is drawn
    counts on from step to step.

    Args:
        build: returns the network, of one output (batch, 1), with new weights; of
            (batch, units) with a loss that takes so many, and no `predict`.
        learning_rate: Adam's.
        loss: that of each example (batch,), called with targets (batch,) and outputs.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        learning_rate: float,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = half_squares,
    ):
        self.build, self.learning_rate, self.loss = build, learning_rate, loss
        self.model = build()
        self._is_kernel = [v.name == "kernel" for v in self.model.trainable_variables]
        # Not compiled by XLA, which would compile it anew for other data.
        self._train = tf.function(self._steps)
        self._predict = tf.function(self._forward)
        self._evaluate = tf.function(self._weighted_losses)

    def start(self, seeds: list[int]) -> State:
        """Returns the state of new copies, one for each seed."""
        copies = []
        for seed in seeds:
            keras.utils.set_random_seed(seed)
            copies.append([v.numpy() for v in self.build().trainable_variables])
        weights = [tf.stack(values) for values in zip(*copies, strict=True)]
        return State(
            weights=weights,
            means=[tf.zeros_like(w) for w in weights],
            squares=[tf.zeros_like(w) for w in weights],
            steps=tf.zeros(()),
            others=[tf.constant(v.numpy()) for v in self.model.non_trainable_variables],
        )

    def train(self, state: State, x, y, l2, batches) -> State:
        """Returns the state after some steps.

        Args:
            state: of so many copies.
            x: inputs (parts, examples, features); copy i learns from part
                i % parts.
            y: targets (parts, examples).
            l2: a number for each copy.
            batches: int32 (steps, parts, batch), numbers of examples.
        """
        parts = np.arange(batches.shape[1])[:, np.newaxis]
        arrays = (np.asarray(x)[parts, batches], np.asarray(y)[parts, batches], l2)
        return self._train(state, *[tf.constant(a, tf.float32) for a in arrays])

    def predict(self, state: State, x_train, x, passes: int = 1) -> np.ndarray:
        """Returns the predictions (copies, examples): the mean of some passes.

        BatchNorm takes its statistics from all of `x_train`.

        Args:
            state: of so many copies.
            x_train: (parts, examples, features), copy i's part i % parts.
            x: likewise, what to predict.
            passes: how many, of a network that draws.
        """
        arrays = [tf.constant(a, tf.float32) for a in (x_train, x)]
        return self._predict(state, *arrays, passes=passes).numpy()

    def evaluate(self, state: State, x, y, weights, loss) -> np.ndarray:
        """Returns the mean of a loss for each copy.

        Args:
            state: of so many copies.
            x: inputs (parts, examples, features), copy i's part i % parts.
            y: targets (parts, examples).
            weights: of the examples, likewise.
            loss: as the stack's own.
        """
        arrays = [tf.constant(a, tf.float32) for a in (x, y, weights)]
        return self._evaluate(state, *arrays, loss=loss).numpy()

    def _steps(self, state, x, y, l2):
        for i in tf.range(x.shape[0]):
            batch = _for_each_copy(x[i], l2), _for_each_copy(y[i], l2)
            state = self._step(state, *batch, l2)
        return state

    def _step(self, state, x, y, l2):
        def loss_of(copy):
            weights, x, y, l2 = copy
            (outputs, others, losses) = self.model.stateless_call(
                list(weights), state.others, x, training=True, return_losses=True
            )
            loss = tf.reduce_mean(self.loss(y, outputs))
            kernels = [w for w, k in zip(weights, self._is_kernel, strict=True) if k]
            for kernel in kernels:
                loss += l2 / 2 * tf.reduce_sum(tf.square(kernel))
            return tf.add_n([loss, *losses]), [v for v in others if _counts(v)]

        with tf.GradientTape() as tape:
            tape.watch(state.weights)
            copies = (tuple(state.weights), x, y, l2)
            losses, counts = tf.vectorized_map(loss_of, copies)
            total = tf.reduce_sum(losses)
        gradients = tape.gradient(total, state.weights)
        # Of a single copy they are gradients of a lookup, without a shape.
        pairs = zip(gradients, state.weights, strict=True)
        gradients = [tf.reshape(gradient, w.shape) for gradient, w in pairs]
        counts = iter(counts)
        others = [next(counts)[0] if _counts(v) else v for v in state.others]
        return self._adam(state._replace(others=others), gradients)

    def _adam(self, state, gradients):
        steps = state.steps + 1
        both = zip(state.means, state.squares, gradients, strict=True)
        moments = [
            (m + (1 - _BETA_1) * (g - m), v + (1 - _BETA_2) * (g * g - v))
            for m, v, g in both
        ]
        means, squares = map(list, zip(*moments, strict=True))
        rate = self.learning_rate * tf.sqrt(1 - _BETA_2**steps) / (1 - _BETA_1**steps)
        weights = [
            w - rate * m / (tf.sqrt(v) + _EPSILON)
            for w, m, v in zip(state.weights, means, squares, strict=True)
        ]
        return State(weights, means, squares, steps, state.others)

    def _forward(self, state, x_train, x, passes):
        def outputs_of(copy):
            weights, x_train, x = copy
            # With momentum 0 the moving averages are those of this one batch.
            _, others = self.model.stateless_call(
                list(weights), state.others, x_train, training=True
            )
            total = 0.0
            for _ in range(passes):
                outputs, others = self.model.stateless_call(
                    list(weights), others, x, training=False
                )
                total += outputs[:, 0]
            return total / passes

        count = state.weights[0]
        copies = (_for_each_copy(x_train, count), _for_each_copy(x, count))
        return tf.vectorized_map(outputs_of, (tuple(state.weights), *copies))

    def _weighted_losses(self, state, x, y, weights, loss):
        def loss_of(copy):
            values, x, y, weights = copy
            outputs, _ = self.model.stateless_call(
                list(values), state.others, x, training=False
            )
            losses = weights * loss(y, outputs)
            return tf.reduce_sum(losses) / tf.reduce_sum(weights)

        parts = [_for_each_copy(a, state.weights[0]) for a in (x, y, weights)]
        return tf.vectorized_map(loss_of, (tuple(state.weights), *parts))


def _for_each_copy(parts, copies):
    """Returns the parts, again and again, until there is one for each copy."""
    times = copies.shape[0] // parts.shape[0]
    return tf.tile(parts, [times] + [1] * (len(parts.shape) - 1))


def _counts(variable) -> bool:
    return variable.dtype.is_integer


def shuffled_batches(
    generator: np.random.Generator, epochs: int, parts: int, examples: int, size: int
) -> np.ndarray:
    """Returns int32 (steps, parts, size): each epoch in a new order, whole batches."""
    orders = np.broadcast_to(np.arange(examples), (epochs, parts, examples))
    steps = examples // size
    rows = generator.permuted(orders, axis=-1)[..., : steps * size]
    rows = rows.reshape(epochs, parts, steps, size).swapaxes(1, 2)
    return np.ascontiguousarray(rows.reshape(-1, parts, size), np.int32)
