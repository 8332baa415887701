"""The implicit posterior over variables of any layer: deviations from a generator."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.layers.chosen_variables import ChosenVariable, role_of_variable
from tfhyper.layers.generated_kernel import (
    CODE_UNITS,
    DEVIATION_SCALE,
    HIDDEN_UNITS,
    PRIOR,
    add_generator_weights,
    check_rank,
    hidden_features,
    product_of_factors,
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

    With a rank R the generator makes factors of the variables that are matrices,

        a, b = the parts of h(z) U_i / sqrt(hidden_units)    (R, rows), (R, columns)
        w_i  = M_i (1 + deviation_scale * sum_j a_j b_j^T / sqrt(R)),

    by the entry, U_i normal with the deviation 1: R (rows + columns) outputs in place
    of rows columns. Of a variable of more than two axes, the first are the rows and the
    others the columns, divided so that there are the fewest outputs: the kernel (768,
    12, 64) of a query is a matrix of 768 rows and 768 columns. A bias, gamma or beta
    has no factors.

    Args:
        hidden_units: int > 0.
        code_units: int > 0, size of z.
        prior: that of z, see `tfhyper.layers.LatentCode`.
        deviation_scale: float >= 0, about the size of the deviations at the start over
            that of the means.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        rank: int > 0, of the factors; `None` for whole deviations.
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
        rank: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.rank = check_rank(rank)
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
            [(*self._output(x), f"{x.name}_generator_output") for x in chosen],
        )

    def _output(self, x: ChosenVariable) -> tuple[int, keras.initializers.Initializer]:
        """Returns how many outputs a variable's generator has, and how they start."""
        ends = self._ends(x)
        if ends is None:
            deviation = keras.initializers.RandomNormal(stddev=x.deviation)
            return math.prod(x.variable.shape), deviation
        return ends.outputs, keras.initializers.RandomNormal(stddev=1.0)

    def _ends(self, x: ChosenVariable) -> "_Ends | None":
        """Returns the sizes of a variable's factors, if it has any."""
        shape = tuple(x.variable.shape)
        # They start at 0, or are the same for all inputs: there is nothing to factor.
        of_columns = role_of_variable(x.variable) in ("bias", "gamma", "beta")
        if self.rank is None or of_columns or len(shape) < 2:
            return None
        divided = [
            _Ends(self.rank, math.prod(shape[:i]), math.prod(shape[i:]))
            for i in range(1, len(shape))
        ]
        return min(divided, key=lambda ends: ends.outputs)

    def begin_call(self, inputs: Tensor, training: bool | None) -> Tensor:
        """Returns the code of the next call, and counts it."""
        return self.latent_code.next_code(training)

    def values(self, noise: Tensor) -> list[Tensor]:
        """Returns mean + deviation of each chosen variable, for one code."""
        features = hidden_features(noise, self.generator_hidden, 1.0)
        return [
            self._value(x, ops.matmul(features, output))
            for x, output in zip(self.chosen, self.generator_outputs, strict=True)
        ]

    def _value(self, x: ChosenVariable, generated: Tensor) -> Tensor:
        """Returns a variable's value from what the generator gives for one code."""
        shape = x.variable.shape
        ends = self._ends(x)
        if ends is None:
            return x.variable + self.deviation_scale * ops.reshape(generated, shape)
        product = product_of_factors(generated, ends.rank, ends.rows, ends.columns)
        scale = self.deviation_scale / math.sqrt(ends.rank)
        return x.variable * (1.0 + scale * ops.reshape(product, shape))

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
            "rank": self.rank,
        }


class _Ends(NamedTuple):
    """The factors of a variable: a_j of so many rows, b_j of so many columns."""

    rank: int
    rows: int
    columns: int

    @property
    def outputs(self) -> int:
        """How many numbers they are together."""
        return self.rank * (self.rows + self.columns)
