"""The noise that fixes a draw of a layer, and the numbers drawn from it."""

import keras
import numpy as np
from keras import ops

from tfhyper.layers.seeds import StatelessSeed


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
