"""A posterior over variables of any layer: what `RandomVariables` asks of it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from tfhyper.layers.chosen_variables import ChosenVariable
from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.noise import MEAN, NoiseKind
from tfhyper.layers.seeds import check_seed, make_key
from tfhyper.tensor_types import Tensor

# Returns the chosen variables of another layer, by a seed: `made_anew`.
MakeAnew: TypeAlias = Callable[[int], list[keras.Variable]]


class VariablePosterior(DrawCounter, keras.layers.Layer):
    """What values the chosen variables of a `RandomVariables` have in a draw.

    The layer's own variables are what training changes, and usually the mean. A
    subclass says

        build_variables     which variables it has besides, by `add_weight`
        values              the values of the chosen variables for one noise

    and, if its noise is not the seed of a generator of numbers, `noise_kind`,
    `sample_noise` and `fresh_noise`, as every `tfhyper.layers.StochasticLayer`; and
    `mean_noise`, `None`, if the mean is unknown. One with a density is a
    `tfhyper.layers.VariationalLayer`, too, as `tfhyper.layers.GaussianPosterior`.

    Args:
        seed: int in 0 <= seed < 2**31 of the draws of calls, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments.

    Raises:
        ValueError: for a seed out of its range.

    Example:

    >>> from tfhyper.layers.noise import generator_of
    >>> class Wide(tfhyper.layers.VariablePosterior):
    ...     def values(self, noise):
    ...         normal = generator_of(noise).normal
    ...         variables = [x.variable for x in self.chosen]
    ...         return [v + 0.1 * normal(v.shape) for v in variables]
    >>> layer = tfhyper.layers.RandomVariables(keras.layers.LSTM(4), Wide())
    >>> layer(keras.ops.ones((2, 5, 3))).shape
    (2, 4)
    """

    noise_kind: NoiseKind = NoiseKind.SEED
    # Whether a call takes a `code` in place of its own noise: `code_units` numbers.
    takes_code: bool = False
    # Whether a layer has this posterior, which no other one can have then.
    is_taken: bool = False

    def __init__(self, seed: int | None = None, **kwargs: Any):
        # Noise and formulas are in full precision whatever the policy of the layer.
        super().__init__(**kwargs)
        self.seed = check_seed(seed)
        self.autocast = False
        self._chosen: Callable[[], Sequence[ChosenVariable]] = tuple
        self._make_anew: MakeAnew | None = None

    @property
    def chosen(self) -> Sequence[ChosenVariable]:
        """The chosen variables; none before the posterior is built."""
        return self._chosen()

    def build_for(
        self, chosen: Sequence[ChosenVariable], make_anew: MakeAnew | None = None
    ) -> None:
        """Makes the variables for those that are chosen, once.

        Args:
            chosen: of the layer.
            make_anew: what `made_anew` returns.
        """
        self.build_counter()
        self._make_anew = make_anew
        # In a function: the variables belong to the layer, not to this one.
        self._chosen = lambda: chosen
        self.build_variables(chosen)
        self._make_anew = None
        self.built = True

    def build_variables(self, chosen: Sequence[ChosenVariable]) -> None:
        """Makes the variables of the posterior besides those chosen: none."""

    def made_anew(self, seed: int) -> list[keras.Variable]:
        """Returns the chosen variables of another such layer, as it starts.

        For `build_variables`.

        Args:
            seed: int, 0 <= seed < 2**31, by which initializers that have a seed draw
                other numbers than those of the layer.

        Raises:
            ValueError: if no other one can be built.
        """
        if self._make_anew is None:
            raise ValueError(
                "`build_for` must be given `make_anew` for a posterior that asks for "
                f"variables made anew. Received: posterior '{self.name}' without"
            )
        return self._make_anew(seed)

    def set_mean(self) -> None:
        """Is called when the layer's variables have trained weights: does nothing.

        For a posterior whose mean is made of more than these variables.
        """

    def values(self, noise: Tensor) -> list[Tensor]:
        """Returns the values of the chosen variables, in their order and shapes.

        Args:
            noise: that of `sample_noise`, `fresh_noise` or `mean_noise`.
        """
        raise NotImplementedError

    def begin_call(self, inputs: Tensor, training: bool | None) -> Tensor:
        """Returns the noise of the next call, and counts it.

        Args:
            inputs: the first tensor that the layer is called with.
            training: which of the two counts to use.
        """
        return self.fresh_noise(self.seed, self.next_count(training))

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the noise of one draw: as `StochasticLayer.sample_noise`."""
        return np.array([seed], "int64")

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns noise in tensors: as `StochasticLayer.fresh_noise`."""
        return make_key(seed, count)

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise of the mean: as `StochasticLayer.mean_noise`."""
        return MEAN

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the posterior."""
        config = super().get_config()
        del config["dtype"]
        return {**config, "seed": self.seed}
