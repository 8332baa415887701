"""A layer that makes one code for a whole batch, which other layers share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.seeds import StatelessSeed, check_seed
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.tensor_types import Tensor


class CodeLayer(DrawCounter, StochasticLayer, keras.layers.Layer):
    """What layers have in common that give a code of shape (1, units).

    The code is a function of (seed, count). A subclass sets `units` and says, in
    `draw`, what a code is.

    Args:
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        units: int > 0, the size of a code.
        seed: int.
    """

    units: int

    def __init__(self, seed: int | None = None, **kwargs: Any):
        # float32 even under a mixed policy: codes are tiny and generators exact.
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.seed = check_seed(seed)
        # Any tensor will do as input, integer images included.
        self.autocast = False

    def draw(self, seed: StatelessSeed) -> Tensor:
        """Returns the code (1, units) of one draw.

        Args:
            seed: of `keras.random`.
        """
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        self.build_counter()

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.next_code(training)

    def next_code(self, training: bool | None) -> Tensor:
        """Returns the next code of the stream that `training` names."""
        return self.draw(StatelessSeed(self.seed, self.next_count(training)))

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        return ops.convert_to_numpy(self.fresh_noise(seed, 0))

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        return self.draw(StatelessSeed(seed, count))

    def point_layer(self) -> None:
        return None

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (1, self.units)

    def compute_output_spec(self, inputs: Tensor, training: bool | None = None) -> Any:
        return keras.KerasTensor((1, self.units), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "seed": self.seed}
