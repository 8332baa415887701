"""Masks that each example has of its own: in calls, and in a draw."""

from typing import Any

import numpy as np
from keras import ops

from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.fixed_noise import NoiseOfExamples
from tfhyper.layers.mixin import LayerMixin
from tfhyper.layers.noise import MEAN, NoiseKind
from tfhyper.layers.replica_streams import replica_seed
from tfhyper.layers.seeds import make_key
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.tensor_types import Tensor


class MasksOfExamples(DrawCounter, StochasticLayer):
    """A layer whose masks are a function of a key and of the example: `layers.masks`.

    Attributes:
        seed: int, of its calls. A draw has another key.
    """

    noise_kind = NoiseKind.KEY
    seed: int

    def next_key(self, training: bool | None) -> Tensor:
        """Returns the key of the next call, and counts it."""
        count = self.next_count(training)
        return make_key(replica_seed(self.seed, by_example=True), count)

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the key of a draw's masks: seed and count."""
        return np.array([seed, 0], "int64")

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns a key as `sample_noise`, in tensors."""
        return make_key(seed, count)

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise that drops nothing."""
        return MEAN


class FixedMasksOfExamples(NoiseOfExamples, LayerMixin):
    """A layer with the masks of one draw: what a `MasksOfExamples` becomes in it.

    Example number i of a batch has the mask of example `first_example` + i.

    Attributes:
        key: variable (2,), what the masks are a function of.
        first_example: scalar variable, place of the batch's first example.
    """

    def build_masks(self) -> None:
        """Makes the two variables."""
        options: dict[str, Any] = {
            "dtype": "int32",
            "initializer": "zeros",
            "trainable": False,
            "aggregation": "none",
        }
        self.key = self.add_weight(shape=(2,), name="key", **options)
        self.first_example = self.add_weight(shape=(), name="first_example", **options)

    def masks(self) -> tuple[Tensor, Tensor]:
        """Returns the values of `key` and of `first_example`."""
        key, first = map(ops.convert_to_tensor, (self.key, self.first_example))
        return key, first
