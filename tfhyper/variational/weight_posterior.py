"""What posteriors of all weights of a model have in common."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_graph
from tfhyper.divergence import DivergedError
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.tensor_types import Structure, Tensor


class NoiseOfWeights(StochasticLayer):
    """The noise of a `WeightPosterior`: what a draw makes of it are weights."""

    @property
    def variables_drawn(self) -> list[keras.Variable]:
        """The variables that a draw gives other values."""
        raise NotImplementedError

    def weights_of(self, noise: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each of `variables_drawn` with its value in the draw of a noise."""
        raise NotImplementedError

    def point_layer(self) -> None:
        """Returns `None`: the noise is no layer of a draw's network."""
        return None


class WeightPosterior(keras.Model):
    """A model around another one, with a posterior of its weights.

    A draw gives the weights of `model` other values; outside of draws it is called as
    `model` is. Where that is a `WeightPosterior` itself, its noise is about what the
    outer one drew: learned noise about each of several sets of weights.

    Attributes:
        model: the model, functional or Sequential for `PosteriorPredictor`.
        noise: what the draws of the weights are made of, a layer.
        noise_name: what draws call it.
        needs_moments: whether the moving averages of BatchNorm belong to none of the
            draws, so that each needs moments of its own.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> inner = tfhyper.Variational(network, num_examples=8)
    >>> sets = [[x + i for x in inner.get_weights()] for i in (1, 2)]
    >>> outer = tfhyper.KeptWeights(inner, sets)
    >>> [type(one).__name__ for one in outer.chain()]
    ['KeptWeights', 'Variational']
    """

    model: keras.Model
    noise: NoiseOfWeights
    noise_name: str = "weights"
    needs_moments: bool = False

    @property
    def input(self) -> Structure:
        """The model's symbolic input."""
        # A Sequential model that was never called has no `input`.
        sequential = isinstance(self.model, keras.Sequential)
        return self.model.inputs[0] if sequential else self.model.input

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The model's symbolic inputs."""
        return self.model.inputs

    @property
    def output(self) -> Structure:
        """The model's symbolic output."""
        return self.model.output

    @property
    def outputs(self) -> list[keras.KerasTensor]:
        """The model's symbolic outputs."""
        return self.model.outputs

    def chain(self) -> Iterator["WeightPosterior"]:
        """Yields this posterior, and those inside of it, the innermost last."""
        model: Any = self
        while isinstance(model, WeightPosterior):
            yield model
            model = model.model

    def check_finite(self) -> None:
        """Raises `tfhyper.training.DivergedError` for weights that are not finite."""
        raise NotImplementedError

    def widened(self, factor: float) -> "WeightPosterior":
        """Returns the posterior of the same model with its covariance multiplied.

        The model, its means among it, is shared and not copied. What is returned is
        not compiled.

        Args:
            factor: float > 0, below 1 for a narrower one.

        Raises:
            ValueError: for a factor that is not above 0, or a posterior of which it
                has no covariance.

        Example:

        >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> posterior = tfhyper.Variational(network, num_examples=8)
        >>> posterior.widened(0.5).temperature
        0.5
        """
        raise ValueError(
            f"A `{type(self).__name__}` has no width that a factor changes. "
            f"Received: factor={factor}"
        )

    def duplicate(self) -> "WeightPosterior":
        """Returns an uncompiled copy, with the same weights and noise."""
        raise NotImplementedError


def duplicate(model: keras.Model) -> keras.Model:
    """Returns an uncompiled copy of a model, whether it has a posterior or not."""
    if isinstance(model, WeightPosterior):
        return model.duplicate()
    return keras_graph.duplicate(model)


def check_finite(variables: Iterable[keras.Variable]) -> None:
    """Raises `DivergedError` if a variable holds NaN or infinite values."""
    for variable in variables:
        if not np.isfinite(ops.convert_to_numpy(ops.sum(variable))):
            raise DivergedError(f"'{variable.path}' holds NaN or infinite values")
