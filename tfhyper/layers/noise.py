"""The noise that fixes a draw of a layer: what its numbers are, and what they give.

A draw holds the noise of each layer as a plain array, so that a file of draws is
arrays of numbers and nothing else, whichever version wrote it. What the numbers mean
is the layer's to say, once: `noise_kind`. And one array means the same for every
kind: `MEAN`, which holds no numbers. `is_mean` below is the one place that knows how
`MEAN` looks; nothing else asks for a noise's length or type.
"""

import enum
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfhyper.layers.seeds import StatelessSeed
from tfhyper.tensor_types import Tensor


class NoiseKind(enum.Enum):
    """What the numbers of a layer's noise are.

        NONE    nothing: the layer draws nothing, its noise is always `MEAN`
        CODE    a code, numbers that the layer has a formula of: z, a member's number
        SEED    a seed of NumPy's generator, (1,), for more numbers than a draw holds;
                in a traced function, where NumPy draws nothing, a key takes its place
        KEY     pairs (seed, count) of counter-based generators, (2,) or (number, 2);
                below zero: no noise

    Example:

    >>> tfhyper.layers.HyperDense(10).noise_kind
    <NoiseKind.CODE: 'code'>
    """

    NONE = "none"
    CODE = "code"
    SEED = "seed"
    KEY = "key"


# The noise of the posterior's mean.
MEAN = np.zeros((0,), "int64")
MEAN.setflags(write=False)


def is_mean(noise: Tensor) -> bool:
    """Whether a noise is that of the posterior's mean: `MEAN`, or read from a file.

    Args:
        noise: array of a draw, or what `StochasticLayer.fresh_noise` gives.
    """
    return isinstance(noise, np.ndarray) and not noise.size


def keys_of(noise: Tensor, shape: Sequence[int] = (2,)) -> Tensor:
    """Returns a noise of `NoiseKind.KEY` as an int32 tensor; -1 at the mean.

    Args:
        noise: array or tensor of the shape, or `MEAN`.
        shape: tuple of ints, (2,) or (number, 2).
    """
    return ops.full(shape, -1, "int32") if is_mean(noise) else ops.cast(noise, "int32")


def generator_of(noise: Tensor) -> "_MeanGenerator | _NumpyGenerator | _KeyGenerator":
    """Returns what draws the numbers of a noise of `NoiseKind.SEED`.

    Args:
        noise: a seed, array (1,): the same numbers on every backend. Or a key, tensor
            (2,) of `make_key`, in functions that are traced. Or `MEAN`.

    Returns:
        An object with `normal(shape)` and, but for `MEAN`, `uniform(shape)`: float32
        tensors from N(0, 1), which are all zero for `MEAN`, and from U(0, 1), others
        at each call.
    """
    if is_mean(noise):
        return _MeanGenerator()
    return (_KeyGenerator if ops.is_tensor(noise) else _NumpyGenerator)(noise)


class _MeanGenerator:
    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return ops.zeros(shape, "float32")

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return ops.full(shape, 0.5, "float32")


class _NumpyGenerator:
    def __init__(self, seed: np.ndarray):
        self._generator = np.random.default_rng(seed)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return ops.convert_to_tensor(self._generator.standard_normal(shape, "float32"))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return ops.convert_to_tensor(self._generator.random(shape, "float32"))


class _KeyGenerator:
    # What the seeds of two calls differ by, all of which have the key's count: other
    # than what those of replicas do.
    _STEP = 0x5851F42D

    def __init__(self, key: Tensor):
        self._seed, self._count = ops.unstack(key, 2)
        self._calls = 0

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        return keras.random.normal(shape, dtype="float32", seed=self._next_seed())

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        return keras.random.uniform(shape, dtype="float32", seed=self._next_seed())

    def _next_seed(self) -> StatelessSeed:
        step = self._calls * self._STEP % 2**31
        self._calls += 1
        # Not negative, as all seeds.
        seed = ops.bitwise_and(self._seed + step, 2**31 - 1)
        return StatelessSeed(seed, self._count)
