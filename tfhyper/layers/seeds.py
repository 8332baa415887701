"""Seeds for draws that are a function of (seed, count), not of hidden state."""

import random
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_integer
from tfhyper.layers.replica_streams import replica_seed
from tfhyper.tensor_types import Tensor


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

    def __init__(self, seed: Tensor, count: Tensor, by_example: bool = False):
        self._seed = replica_seed(seed, by_example)
        self._count = count

    def next(self, ordered: bool = True) -> Any:
        if keras.backend.backend() == "torch":
            # Torch's generators take the sum, the same for (1, 2) and (2, 1).
            mixed = derive_seed(int(self._seed), int(self._count))
            return ops.convert_to_tensor([mixed, 0], dtype="int64")
        # JAX takes the pair as a raw key, which is unsigned.
        dtype = "uint32" if keras.backend.backend() == "jax" else "int32"
        count = ops.cast(self._count, dtype)
        return ops.stack([ops.cast(self._seed, dtype), count])


def make_key(seed: Tensor, count: Tensor) -> Tensor:
    """Returns seed and count as one int32 tensor (2,), what noise is a function of."""
    return ops.stack([ops.cast(seed, "int32"), ops.cast(count, "int32")])


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
