"""Noise of which a draw holds no more than the seed."""

import numpy as np

from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.seeds import make_key
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.tensor_types import Tensor


class SeededNoise(StochasticLayer):
    """A layer whose noise is more numbers than a draw holds: `NoiseKind.SEED`.

    `tfhyper.layers.noise.generator_of` makes the numbers of it.
    """

    noise_kind = NoiseKind.SEED

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the seed of NumPy's generator, (1,)."""
        return np.array([seed], "int64")

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns a key, which takes the place of a seed in functions of tensors."""
        return make_key(seed, count)
