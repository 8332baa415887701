"""Dropout whose masks go on after a reload."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.replica_streams import replica_seed
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class Dropout(StochasticLayer, keras.layers.Dropout):
    """`keras.layers.Dropout` whose sequence of masks is saved.

    Keras saves no state of random generators, so that a training that is
    resumed goes on with other masks. Here the state is saved with the weights,
    and a missing seed is chosen at once and kept in the config.

    Args:
        rate: float in 0 <= rate <= 1, the fraction to drop.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: the other arguments of `keras.layers.Dropout`.

    Input shape:
        Any.

    Output shape:
        That of the input.

    Raises:
        ValueError: for a rate or a seed out of range.

    Example:

    >>> layer = tfhyper.layers.Dropout(0.3)
    >>> float(keras.ops.mean(layer(keras.ops.ones((2, 5)))))  # no training
    1.0
    """

    # At prediction it does nothing: a draw has no noise for it.
    noise_kind = NoiseKind.NONE

    def __init__(self, rate: float, *, seed: int | None = None, **kwargs: Any):
        if isinstance(rate, bool) or not isinstance(rate, int | float | np.number):
            raise ValueError(
                f"`rate` must be a number between 0 and 1. Received: rate={rate!r}"
            )
        super().__init__(rate, seed=check_seed(seed), **kwargs)

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        seeds = _SeedsOfExamples(self.seed_generator)
        return keras.random.dropout(inputs, self.rate, self.noise_shape, seed=seeds)

    def save_own_variables(self, store: Any) -> None:
        if self.rate > 0:
            store["seed"] = self.seed_generator.state

    def load_own_variables(self, store: Any) -> None:
        if self.rate > 0:
            self.seed_generator.state.assign(store["seed"])

    def point_layer(self) -> keras.Layer:
        return keras.layers.Dropout.from_config(keras.layers.Dropout.get_config(self))

    def point_weights(self, noise: Tensor) -> list:
        return []


class _SeedsOfExamples(keras.random.SeedGenerator):
    """The next seeds of a generator, for masks: replicas have others."""

    def __init__(self, generator: keras.random.SeedGenerator):
        self._generator = generator
        keras_private.share_initial_seed(self, generator)

    def next(self, ordered: bool = True) -> Any:
        drawn = self._generator.next(ordered)
        first, count = drawn[0], drawn[1]
        seed = replica_seed(first, by_example=True)
        if seed is first:
            return drawn
        return ops.stack([ops.cast(seed, drawn.dtype), count])
