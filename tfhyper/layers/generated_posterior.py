"""The implicit posterior over variables of any layer: deviations from a generator."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.layers.chosen_variables import ChosenVariable
from tfhyper.layers.generated_kernel import (
    CODE_UNITS,
    DEVIATION_SCALE,
    HIDDEN_UNITS,
    PRIOR,
    add_generator_weights,
    hidden_features,
)
from tfhyper.layers.latent_code import LatentCode, Prior
from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.variable_posterior import VariablePosterior
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class GeneratedPosterior(VariablePosterior):
    """Each chosen variable = mean + a deviation generated from one random code.

    As `tfhyper.layers.HyperDense(mean_kernel=True)`, of all chosen variables w_i at
    once: with V the hidden and U_i the output weights of the generator,

        h(z) = relu(z V)                     z: (1, code_units), h: (1, hidden_units)
        w_i  = M_i + deviation_scale * reshape(h(z) U_i) / sqrt(hidden_units)

    The means M_i are the layer's own variables. U_i is normal with the deviation
    sqrt(2 / fan_in) of `tfhyper.layers.GaussianPosterior`. It has no density, and adds
    nothing to the loss.

    Args:
        hidden_units: int > 0.
        code_units: int > 0, size of z.
        prior: that of z, see `tfhyper.layers.LatentCode`.
        deviation_scale: float >= 0, about the size of the deviations at the start over
            that of the means.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments.

    Raises:
        ValueError: for an unknown prior or sizes out of range.

    Example:

    >>> posterior = tfhyper.layers.GeneratedPosterior(hidden_units=8)
    >>> layer = tfhyper.layers.RandomVariables(keras.layers.LSTM(4), posterior)
    >>> layer(keras.ops.ones((2, 5, 3))).shape
    (2, 4)

    `layer(x, code=z)`, with z of a `tfhyper.layers.LatentCode(code_units)`, shares the
    code of other layers.

    Reference:
        Ukai, Matsubara, Uehara: Bayesian estimation and model averaging of
        convolutional neural networks by hypernetwork, NOLTA 10(1), 2019.
    """

    noise_kind = NoiseKind.CODE
    takes_code = True

    def __init__(
        self,
        hidden_units: int = HIDDEN_UNITS,
        code_units: int = CODE_UNITS,
        prior: Prior = PRIOR,
        deviation_scale: float = DEVIATION_SCALE,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)
        self.code_units = check_positive_integer("code_units", code_units)
        self.deviation_scale = check_number("deviation_scale", deviation_scale)
        self.latent_code = LatentCode(code_units, prior, self.seed, name="latent_code")

    def build_counter(self) -> None:
        """Makes the counts of the draws, which are the code's."""
        self.latent_code.build(None)

    def build_variables(self, chosen: Sequence[ChosenVariable]) -> None:
        """Makes the weights of the generator."""
        self.generator_hidden, self.generator_outputs = add_generator_weights(
            self,
            (self.code_units, self.hidden_units),
            [
                (
                    math.prod(x.variable.shape),
                    keras.initializers.RandomNormal(stddev=x.deviation),
                    f"{x.name}_generator_output",
                )
                for x in chosen
            ],
        )

    def begin_call(self, inputs: Tensor, training: bool | None) -> Tensor:
        """Returns the code of the next call, and counts it."""
        return self.latent_code.next_code(training)

    def values(self, noise: Tensor) -> list[Tensor]:
        """Returns mean + deviation of each chosen variable, for one code."""
        features = hidden_features(noise, self.generator_hidden, self.deviation_scale)
        return [
            ops.reshape(ops.matmul(features, output), x.variable.shape) + x.variable
            for x, output in zip(self.chosen, self.generator_outputs, strict=True)
        ]

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the code of one draw, (1, code_units)."""
        return self.latent_code.sample_noise(seed)

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns a code as `sample_noise`, in tensors."""
        return self.latent_code.fresh_noise(seed, count)

    def mean_noise(self) -> np.ndarray | None:
        """Returns `None`: the mean over codes has no closed form."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the posterior."""
        return {
            **super().get_config(),
            "hidden_units": self.hidden_units,
            "code_units": self.code_units,
            "prior": self.latent_code.prior,
            "deviation_scale": self.deviation_scale,
        }
