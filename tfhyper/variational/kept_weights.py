"""Weights that were kept along one training, as a posterior of all weights."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_choice, check_positive_integer
from tfhyper.layers.noise import MEAN, is_mean
from tfhyper.layers.seeds import StatelessSeed
from tfhyper.tensor_types import Tensor
from tfhyper.variational.kept_variables import (
    KeptPosterior,
    check_places,
    check_sets,
    differing,
)
from tfhyper.variational.weight_posterior import WeightPosterior
from tfhyper.variational.weight_stacks import WeightStacks

Coefficients: TypeAlias = Literal["sets", "gaussian", "dirichlet"]


@keras.saving.register_keras_serializable("tfhyper")
class WeightSets(WeightStacks):
    """Several values of each of some variables, and the value that a draw has.

        w(z) = w_mean + sum_m z_m (w_m - w_mean),    w_mean = 1/M sum_m w_m

    Args:
        shapes: shapes of the variables.
        members: int > 0, M.
        coefficients: what z is, see `KeptWeights`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        stacks: a variable (M, ...) for each of the variables.

    Raises:
        ValueError: for an argument out of range; with `"gaussian"`, for one set.

    Example:

    >>> sets = tfhyper.variational.kept_weights.WeightSets([(2,), (3, 2)], members=4)
    >>> sets.build()
    >>> [tuple(stack.shape) for stack in sets.stacks], sets.sample_noise(0, index=6)
    ([(4, 2), (4, 3, 2)], array([2]))
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        members: int,
        coefficients: Coefficients = "sets",
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.take_shapes(shapes)
        self.count = check_positive_integer("members", members)
        self.coefficients = check_choice(
            "coefficients", coefficients, get_args(Coefficients)
        )
        if coefficients == "gaussian" and members < 2:
            raise ValueError(
                '`coefficients="gaussian"` needs two sets of weights or more, which '
                "have a spread. Received: one"
            )

    def build(self, input_shape: Any = None) -> None:
        """Makes the stacks."""
        self.stacks = self.add_stacks("set", self.count)
        self.built = True

    @property
    def is_random(self) -> bool:
        """Whether there are several sets."""
        return self.count > 1

    @property
    def distinct_draws(self) -> int | None:
        """How many draws differ, of sets that draws take turns in."""
        return self.count if self.coefficients == "sets" else None

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the number of a set, int (1,), or z, float32 (1, M)."""
        if self.count == 1:
            return MEAN
        if self.coefficients == "sets":
            return np.array([index % self.count])
        generator = np.random.default_rng(seed)
        if self.coefficients == "dirichlet":
            found = generator.dirichlet(np.ones(self.count))
        else:
            found = generator.standard_normal(self.count) / np.sqrt(self.count - 1)
        return found[np.newaxis].astype("float32")

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns the same in tensors."""
        if self.count == 1:
            return MEAN
        if self.coefficients == "sets":
            return ops.reshape(ops.cast(index, "int32") % self.count, (1,))
        stateless = StatelessSeed(seed, count)
        if self.coefficients == "dirichlet":
            # Exponential numbers over their sum.
            uniform = keras.random.uniform((1, self.count), seed=stateless)
            parts = -ops.log1p(-uniform)
            return parts / ops.sum(parts)
        normal = keras.random.normal((1, self.count), seed=stateless)
        return normal / np.sqrt(self.count - 1)

    def mean_noise(self) -> np.ndarray:
        """Returns the noise of w_mean."""
        return MEAN

    def weights_of(self, noise: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each variable with its value in the draw of a noise."""
        if self.coefficients == "sets" and not is_mean(noise):
            number = ops.cast(ops.reshape(noise, ()), "int32")
            return self.beside(ops.take(stack, number, axis=0) for stack in self.stacks)
        part = ops.full((self.count,), 1.0 / self.count, "float32")
        if not is_mean(noise):
            code = ops.cast(ops.reshape(noise, (self.count,)), "float32")
            part = code + part * (1.0 - ops.sum(code))
        return self.beside(ops.tensordot(part, stack, 1) for stack in self.stacks)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        return {
            **self.stack_config(),
            "members": self.count,
            "coefficients": self.coefficients,
        }


@keras.saving.register_keras_serializable("tfhyper")
class KeptWeights(KeptPosterior):
    """A model with several sets of its weights, kept along one training: a posterior.

    Draw number i of `PosteriorPredictor` has set i modulo M, so that the mean over M
    draws is that of M networks; what the model draws itself, it draws beside that. The
    callbacks `tfhyper.training.Snapshots`, `FastGeometric`, `CyclicSGMCMC` and
    `WeightAverage` keep such sets. With other `coefficients`, or those that
    `with_coefficients` gives what a callback kept, draws lie between the sets, or about
    them,

        w(z) = w_mean + sum_m z_m (w_m - w_mean),    w_mean = 1/M sum_m w_m

    a linear hypernetwork whose columns are the sets. z is

        "sets"          the number of a set: z = e_m
        "gaussian"      N(0, I / (M - 1)), which has the covariance of the sets
        "dirichlet"     uniform over the weighted means of the sets

    `PosteriorPredictor(..., deterministic=True)` predicts with w_mean: stochastic
    weight averaging (SWA). BatchNorm's moving averages belong to the end of training
    and to no set, so `estimate_batch_norm` is due, also for w_mean.

    A direct call is that of the model with its own weights, as training left it. The
    posterior itself cannot be trained: train the model, and keep other sets. A variable
    that is the same in all sets and the model is held once.

    Args:
        model: a built Keras model, such as a `Variational` whose learned noise then is
            about the weights of each set. It is used and not copied.
        weight_sets: sequence of lists of arrays as `model.get_weights()` gives them.
        coefficients: `"sets"`, `"gaussian"` or `"dirichlet"`.
        varying: places in `model.weights` of the variables that sets differ in, `None`
            to find them.
        **kwargs: `keras.Model` arguments such as `name`.

    Attributes:
        model: the model.
        noise: the `WeightSets`.

    Raises:
        TypeError: if the model is none of Keras.
        ValueError: for a model that is not built; for no sets, sets of another
            architecture, or the same set twice.
        tfhyper.training.DivergedError: for a set that holds NaN or infinite values.

    Example:

    >>> network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    >>> sets = []
    >>> for seed in range(3):
    ...     kernel = keras.random.normal((64, 10), seed=seed)
    ...     sets.append([np.asarray(kernel), np.zeros(10)])
    >>> posterior = tfhyper.KeptWeights(network, sets)
    >>> tfhyper.PosteriorPredictor(posterior, outputs="logits").num_draws
    3

    Reference:
        Huang et al.: Snapshot ensembles: train 1, get M for free, ICLR 2017. Izmailov
        et al.: Averaging weights leads to wider optima and better generalization, UAI
        2018.
    """

    noise: WeightSets

    def __init__(
        self,
        model: keras.Model,
        weight_sets: Sequence[Sequence[np.ndarray]],
        coefficients: Coefficients = "sets",
        *,
        varying: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        sets = check_sets("weight_sets", model, weight_sets)
        if varying is None:
            places = differing(model, sets)
        else:
            places = check_places(model, varying)
        shapes = [tuple(model.weights[i].shape) for i in places]
        noise = WeightSets(shapes, len(sets), coefficients, name="sets")
        super().__init__(model, noise, places, "kept", **kwargs)
        for stack, place in zip(noise.stacks, places, strict=True):
            stack.assign(np.stack([one[place] for one in sets]))

    @property
    def num_sets(self) -> int:
        """How many sets of weights there are, M."""
        return self.noise.count

    def with_coefficients(self, coefficients: Coefficients) -> "KeptWeights":
        """Returns a posterior of the same model and sets whose draws lie elsewhere.

        Args:
            coefficients: `"sets"`, `"gaussian"` or `"dirichlet"`.

        Raises:
            ValueError: for another one, or `"gaussian"` of a single set.

        Example:

        >>> network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
        >>> weights = network.get_weights()
        >>> kept = tfhyper.KeptWeights(network, [weights, [x + 1 for x in weights]])
        >>> between = kept.with_coefficients("dirichlet")
        >>> tfhyper.PosteriorPredictor(between, outputs="logits").num_draws
        16
        """
        arguments = {**self.arguments(), "coefficients": coefficients}
        return self._around(self.model, **arguments)

    def widened(self, factor: float) -> "KeptWeights":
        """Returns the same sets about which the model's own posterior is widened.

        Args:
            factor: float > 0, of the covariance of a `Variational`, say, in `model`.

        Raises:
            ValueError: for a factor that is not above 0, or a model without a
                posterior: sets alone have no width.

        Example:

        >>> network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
        >>> inner = tfhyper.Variational(network, num_examples=8)
        >>> kept = tfhyper.KeptWeights(inner, [inner.get_weights()])
        >>> kept.widened(0.5).model.temperature
        0.5
        """
        if not isinstance(self.model, WeightPosterior):
            raise ValueError(
                "Sets of weights have no width that a factor changes, but where "
                "`model` has a posterior of its own, such as a `Variational`. "
                f"Received: factor={factor}, model={self.model.name!r}"
            )
        return self._around(self.model.widened(factor), **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments beside the model, whatever values the sets have."""
        return {"coefficients": self.noise.coefficients, "num_sets": self.num_sets}

    @classmethod
    def empty(
        cls, model: keras.Model, varying: list[int], **arguments: Any
    ) -> "KeptWeights":
        """Returns one whose sets are to be read from a file."""
        zeros = [np.zeros(x.shape, "float32") for x in model.weights]
        sets = [zeros] * arguments.pop("num_sets")
        return cls(model, sets, varying=varying, **arguments)
