"""A Gaussian posterior of all weights by the moments of a training's end."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_instance, check_integer, check_number
from tfhyper.layers.noise import MEAN, generator_of
from tfhyper.layers.seeded_noise import SeededNoise
from tfhyper.tensor_types import Tensor
from tfhyper.variational.kept_variables import (
    KeptPosterior,
    check_places,
    check_sets,
    kept_places,
)
from tfhyper.variational.weight_stacks import WeightStacks


@keras.saving.register_keras_serializable("tfhyper")
class SWAGNoise(SeededNoise, WeightStacks):
    """Gaussian noise of several variables: a diagonal and a few columns.

        w = mean + sqrt(scale) (sqrt(variance / 2) e_1 + D e_2 / sqrt(2 (K - 1)))

    with e_1 of the size of the weights and e_2 of the K columns of D from N(0, 1).
    Without columns w = mean + sqrt(scale variance) e_1.

    Args:
        shapes: shapes of the variables.
        rank: int >= 0 and not 1, K.
        scale: float > 0, by which the covariance is multiplied.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        means: a variable for each of the variables.
        variances: likewise, of the diagonal.
        columns: likewise, (K, ...), of the deviations; none if K is 0.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> noise = tfhyper.variational.swag_posterior.SWAGNoise([(2,)], rank=3)
    >>> noise.build()
    >>> [tuple(x.shape) for x in noise.weights]
    [(2,), (2,), (3, 2)]
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        rank: int,
        scale: float = 1.0,
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.take_shapes(shapes)
        self.rank = check_rank(rank)
        self.scale = check_number("scale", scale, positive=True)

    def build(self, input_shape: Any = None) -> None:
        """Makes the moments."""
        self.means = self.add_stacks("mean")
        self.variances = self.add_stacks("variance")
        self.columns = self.add_stacks("columns", self.rank) if self.rank else []
        self.built = True

    def mean_noise(self) -> np.ndarray:
        """Returns the noise of the mean."""
        return MEAN

    def weights_of(self, noise: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each variable with its value in the draw of a noise."""
        generator = generator_of(noise)
        # One vector for all: its parts are independent.
        vector = generator.normal((self.size + self.rank,))
        code, start = vector[self.size :], 0
        diagonal = math.sqrt(self.scale / (2 if self.rank else 1))
        low_rank = math.sqrt(self.scale / (2 * (self.rank - 1))) if self.rank else 0.0
        values = []
        for i, (shape, mean, variance) in enumerate(
            zip(self.shapes, self.means, self.variances, strict=True)
        ):
            end = start + math.prod(shape)
            normal = ops.reshape(vector[start:end], shape)
            value = ops.add(mean, diagonal * ops.sqrt(variance) * normal)
            if self.rank:
                value = value + low_rank * ops.tensordot(code, self.columns[i], 1)
            values.append(value)
            start = end
        return self.beside(values)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        return {**self.stack_config(), "rank": self.rank, "scale": self.scale}


@keras.saving.register_keras_serializable("tfhyper")
class SWAGPosterior(KeptPosterior):
    """A model with SWAG's Gaussian posterior of all its weights (Maddox et al., 2019).

        w = mean + sqrt(scale) (sqrt(variance / 2) e_1 + D e_2 / sqrt(2 (K - 1)))

    with e_1, e_2 from N(0, I); equation 1 of the paper is that with `scale=1`. The
    moments are those of the weights along the end of a training with a high rate, as
    the callback `tfhyper.training.SWAG` takes them. BatchNorm's moving averages belong
    to none of the draws: `estimate_batch_norm` is due.

    A direct call is that of the model with its own weights, as training left it, and
    `PosteriorPredictor(..., deterministic=True)` predicts with the mean (SWA).

    Args:
        model: a built Keras model, which is used and not copied.
        mean: list of arrays as `model.get_weights()` gives them, the mean.
        variance: likewise, the variance of each weight, >= 0.
        deviations: sequence of such lists, weights less the mean at several times: the
            columns of D. None, or two or more.
        scale: float > 0.
        varying: places in `model.weights` of the variables that have a posterior,
            `None` for those whose mean is not the model's weight or that have a
            variance.
        **kwargs: `keras.Model` arguments such as `name`.

    Attributes:
        model: the model.
        noise: the `SWAGNoise`.

    Raises:
        TypeError: if the model is none of Keras.
        ValueError: for a model that is not built, arrays of another architecture, a
            negative variance, one column, or a scale that is not above 0.
        tfhyper.training.DivergedError: for what holds NaN or infinite values.

    Example:

    >>> network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    >>> mean = network.get_weights()
    >>> variance = [np.full(x.shape, 0.01) for x in mean]
    >>> posterior = tfhyper.variational.SWAGPosterior(network, mean, variance)
    >>> tfhyper.PosteriorPredictor(posterior, outputs="logits").num_draws
    16

    Reference:
        Maddox et al.: A simple baseline for Bayesian uncertainty in deep learning,
        NeurIPS 2019.
    """

    noise: SWAGNoise

    def __init__(
        self,
        model: keras.Model,
        mean: Sequence[np.ndarray],
        variance: Sequence[np.ndarray],
        deviations: Sequence[Sequence[np.ndarray]] = (),
        scale: float = 1.0,
        *,
        varying: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        (means,) = check_sets("mean", model, [mean])
        (variances,) = check_sets("variance", model, [variance])
        rule = "a sequence of lists as `model.get_weights()` gives them"
        check_instance("deviations", deviations, Sequence, rule)
        columns = check_sets("deviations", model, deviations) if deviations else []
        for place in kept_places(model):
            if (variances[place] < 0).any():
                raise ValueError(
                    "`variance` must not be negative. Received: a variance of "
                    f"{variances[place].min()} of '{model.weights[place].path}'"
                )
        if varying is None:
            varying = [
                i
                for i in kept_places(model)
                if variances[i].any()
                or any(column[i].any() for column in columns)
                or not np.array_equal(means[i], ops.convert_to_numpy(model.weights[i]))
            ]
        varying = check_places(model, varying)
        shapes = [tuple(model.weights[i].shape) for i in varying]
        noise = SWAGNoise(shapes, len(columns), scale, name="swag")
        super().__init__(model, noise, varying, "swag", **kwargs)
        for i, place in enumerate(varying):
            noise.means[i].assign(means[place])
            noise.variances[i].assign(variances[place])
            if columns:
                noise.columns[i].assign(np.stack([x[place] for x in columns]))

    @property
    def rank(self) -> int:
        """How many columns D has, K."""
        return self.noise.rank

    def widened(self, factor: float) -> "SWAGPosterior":
        """Returns the posterior of the same model with `scale` times a factor.

        Args:
            factor: float > 0.

        Raises:
            ValueError: for a factor that is not above 0.

        Example:

        >>> network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
        >>> mean = network.get_weights()
        >>> variance = [np.full(x.shape, 0.01) for x in mean]
        >>> posterior = tfhyper.variational.SWAGPosterior(network, mean, variance)
        >>> posterior.widened(0.5).noise.scale
        0.5
        """
        check_number("factor", factor, positive=True)
        arguments = self.arguments()
        arguments["scale"] *= factor
        return self._around(self.model, **arguments)

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments beside the model, whatever values the moments have."""
        return {"rank": self.rank, "scale": self.noise.scale}

    @classmethod
    def empty(
        cls, model: keras.Model, varying: list[int], **arguments: Any
    ) -> "SWAGPosterior":
        """Returns one whose moments are to be read from a file."""
        zeros = [np.zeros(x.shape, "float32") for x in model.weights]
        columns = [zeros] * check_rank(arguments.pop("rank"))
        return cls(model, zeros, zeros, columns, varying=varying, **arguments)


def check_rank(rank: int) -> int:
    """Returns a number of columns, or raises ValueError or TypeError."""
    check_integer("rank", rank, 0)
    if rank == 1:
        raise ValueError(
            "`rank` must be 0 or 2 and more: one column has no spread. Received: rank=1"
        )
    return rank
