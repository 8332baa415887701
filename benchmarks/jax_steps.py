"""Training steps of Keras models on JAX, as pure functions that are compiled ahead."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras


class State(NamedTuple):
    """Where a training stands: values of variables, in the order of the model's."""

    trainable: list[jax.Array]
    others: list[jax.Array]
    optimizer: list[jax.Array]


class Scores(NamedTuple):
    """Of a batch: the loss, and how many examples are right."""

    loss: jax.Array
    right: jax.Array


def state_of(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> State:
    """Returns the values of a model's variables, and of its optimizer's."""
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return State(
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
        [v.value for v in optimizer.variables],
    )


def put_state(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, state: State
) -> None:
    """Gives a model and its optimizer the values of a state."""
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        optimizer.variables,
    )
    for into, values in zip(variables, state, strict=True):
        for variable, value in zip(into, values, strict=True):
            variable.assign(value)


def step_of(
    model: keras.Model, optimizer: keras.optimizers.Optimizer
) -> Callable[[State, Any, Any], tuple[State, Scores]]:
    """Returns a step of training: what `model.fit` does with cross-entropy of logits.

    Args:
        model: gives logits (batch, classes).
        optimizer: its own, or another that is built for its variables.

    Returns:
        A pure function of a state, images and labels.
    """
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(state: State, x: Any, y: Any) -> tuple[State, Scores]:
        def loss_of(trainable: list[jax.Array]) -> tuple[jax.Array, Any]:
            logits, others, losses = model.stateless_call(
                trainable, state.others, x, training=True, return_losses=True
            )
            loss = cross_entropy(y, logits) + sum(losses)
            return loss, (others, jnp.sum(jnp.argmax(logits, -1) == y))

        (loss, (others, right)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            state.trainable
        )
        trainable, slots = optimizer.stateless_apply(
            state.optimizer, gradients, state.trainable
        )
        return State(trainable, others, slots), Scores(loss, right)

    return step


def memory_of(compiled: Any) -> int:
    """Returns the bytes that a compiled function takes while it runs: all it holds.

    Arguments and results, those that share memory once, and what is temporary.
    """
    found = compiled.memory_analysis()
    return int(
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )
