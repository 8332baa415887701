"""Seeds for draws that are a function of (seed, count), not of hidden state."""

import contextlib
import random
import threading
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_integer


class StatelessSeed(keras.random.SeedGenerator):
    """Hands `keras.random` the seed (seed, count).

    `keras.random` takes an int or a `SeedGenerator`. A generator's state is in
    no saved file, and under `tf.distribute` the replicas race for it. Here the
    count is a weight of the layer that draws: saved, restored and mirrored like
    any other.

    Args:
        seed: int, 0 <= seed < 2**31.
        count: int or integer scalar tensor, the number of the draw.
        by_example: bool, whether each example of a batch has its part of the noise,
            so that replicas, which have other examples, need other noise.
    """

    def __init__(self, seed: int, count, by_example: bool = False):
        self._seed = replica_seed(seed, by_example)
        self._count = count

    def next(self, ordered=True):
        if keras.backend.backend() == "torch":
            # Torch's generators take the sum, the same for (1, 2) and (2, 1).
            mixed = derive_seed(int(self._seed), int(self._count))
            return ops.convert_to_tensor([mixed, 0], dtype="int64")
        # JAX takes the pair as a raw key, which is unsigned.
        dtype = "uint32" if keras.backend.backend() == "jax" else "int32"
        count = ops.cast(self._count, dtype)
        return ops.stack([ops.cast(self._seed, dtype), count])


# Of each thread, as the replicas of a distributed training have.
_replicas = threading.local()


@contextlib.contextmanager
def replica_streams(index, everything: bool) -> Iterator[None]:
    """Within it, noise that belongs to examples differs from replica to replica.

    Args:
        index: int or int32 scalar tensor, the number of the replica. The noise of
            replica 0 is that of a training on one device.
        everything: bool, all other noise differs too.
    """
    before = getattr(_replicas, "now", None)
    _replicas.now = index, everything
    try:
        yield
    finally:
        _replicas.now = before


def replica_seed(seed: int, by_example: bool):
    """Returns the seed of a draw on the replica at work: int, or int32 scalar."""
    index, everything = getattr(_replicas, "now", None) or (None, False)
    if index is None or not (everything or by_example):
        return seed
    # Far apart: the layers' own seeds are random. Not negative, as all seeds.
    mixed = ops.cast(seed, "int32") + ops.cast(index, "int32") * 0x1E3779B9
    return ops.bitwise_and(mixed, 2**31 - 1)


def make_key(seed, count):
    """Returns seed and count as one int32 tensor (2,), what noise is a function of."""
    return ops.stack([ops.cast(seed, "int32"), ops.cast(count, "int32")])


def generator_of(noise):
    """Returns what draws the weights of a noise: `normal(shape)`, `uniform(shape)`.

    Args:
        noise: array (1,), a seed of NumPy's generator: the same numbers on every
            backend. Or a tensor (2,) of `make_key`, for functions that are traced.
    """
    return (_KeyGenerator if ops.is_tensor(noise) else _NumpyGenerator)(noise)


class _NumpyGenerator:
    def __init__(self, seed):
        self._generator = np.random.default_rng(seed)

    def normal(self, shape):
        return ops.convert_to_tensor(self._generator.standard_normal(shape, "float32"))

    def uniform(self, shape):
        return ops.convert_to_tensor(self._generator.random(shape, "float32"))


class _KeyGenerator:
    # Calls of one generator: the counts of two do not meet.
    _CALLS = 16

    def __init__(self, key):
        self._seed, self._count = ops.unstack(key, 2)
        self._calls = 0

    def normal(self, shape):
        return keras.random.normal(shape, dtype="float32", seed=self._next_seed())

    def uniform(self, shape):
        return keras.random.uniform(shape, dtype="float32", seed=self._next_seed())

    def _next_seed(self):
        count = self._count * self._CALLS + self._calls
        self._calls += 1
        return StatelessSeed(self._seed, count)


# Calls with training=False count from here, so that the two streams of one
# seed do not meet within the first thousand million draws.
_INFERENCE_OFFSET = 2**30


class DrawCounter:
    """Part of a layer that draws: counts its draws, in training and outside.

    The two counts are one non-trainable weight of the layer. So a saved and
    reloaded network goes on with the draw that the first would have made next,
    and evaluating a network between training steps does not change its training.
    """

    def build_counter(self) -> None:
        """Makes the weight `draws`."""
        self.draws = keras.Layer.add_weight(
            self,
            shape=(2,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="none",
            name="draws",
        )

    def current_count(self, training: bool | None):
        """Returns the number of the next draw, an int32 scalar tensor."""
        # A sum in both cases: in Torch an entry is a view, which counting changes.
        if training:
            return self.draws[0] + 0
        return self.draws[1] + _INFERENCE_OFFSET

    def last_count(self):
        """Returns the number of the last draw in training, 0 before the first one.

        What the loss says of a draw, such as an estimate of its KL divergence, it
        can say with the same noise: a regularizer is called after the layer.
        """
        return ops.maximum(self.draws[0] - 1, 0)

    def next_count(self, training: bool | None):
        """Returns the number of the next draw, and counts it as made."""
        count = self.current_count(training)
        step = [1, 0] if training else [0, 1]
        self.draws.assign(self.draws + ops.convert_to_tensor(step, dtype="int32"))
        return count


def check_seed(seed: int | None) -> int:
    """Returns `seed`, or for `None` a fresh one, so that a config can hold it.

    The fresh one comes from Python's `random`, as Keras' own seeds do, so that
    `keras.utils.set_random_seed` makes it reproducible.

    Raises:
        ValueError: if `seed` is not an int in 0 <= seed < 2**31.
    """
    if seed is None:
        return random.randrange(2**31)
    return check_integer("seed", seed, 0, 2**31 - 1)


def derive_seed(*entropy: int) -> int:
    """Returns a seed that is well mixed from ints, so that neighbours differ."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)
