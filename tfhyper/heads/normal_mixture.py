"""Mixtures of normal distributions: mixture density networks."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_choice, check_number, check_positive_integer
from tfhyper.heads.family import Components, RealFamily
from tfhyper.heads.parameters import (
    POSITIVE_LINKS,
    LogProbabilities,
    Parameter,
    Positive,
    PositiveLink,
    Real,
)
from tfhyper.heads.special import LOG_SQRT_2PI, mean_distance
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class NormalMixture(RealFamily):
    """A mixture of normal distributions (Bishop, 1994), joint over the targets.

        p(y) = sum_c w_c prod_k N(y_k; loc_ck, scale_ck^2)

    Layout of the last axis: `log_weights` (components), then `loc` and `scale`, each
    (components x targets), the first component's targets first.

    Args:
        components: int > 0, how many normal distributions are mixed.
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"` or `"exp"`; see `tfhyper.heads.LocationScale`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.NormalMixture(2)
    >>> half = np.log(0.5)
    >>> parameters = np.array([[half, half, -1.0, 1.0, 1.0, 1.0]], "float32")
    >>> float(family.mean(parameters)[0, 0]), float(family.variance(parameters)[0, 0])
    (0.0, 2.0)

    Reference:
        Bishop: Mixture density networks, 1994. CRPS: Grimit et al., 2006.
    """

    def __init__(
        self,
        components: int,
        targets: int = 1,
        min_scale: float = 1e-3,
        scale_link: PositiveLink = "softplus",
    ):
        super().__init__(targets)
        self.num_components = check_positive_integer("components", components)
        self.min_scale = check_number("min_scale", min_scale, positive=True)
        self.scale_link = check_choice("scale_link", scale_link, POSITIVE_LINKS)

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The logarithms of the weights, the locations, the scales."""
        size = self.num_components * self.targets
        scale = Positive(self.min_scale, self.scale_link)
        return (
            Parameter("log_weights", self.num_components, LogProbabilities()),
            Parameter("loc", size, Real()),
            Parameter("scale", size, scale),
        )

    def log_prob(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the joint log-density, (...)."""
        log_weights, loc, scale = self._parts(parameters)
        z = (ops.expand_dims(targets, -2) - loc) / scale
        logs = -ops.square(z) / 2 - LOG_SQRT_2PI - ops.log(scale)
        return ops.logsumexp(log_weights + ops.sum(logs, axis=-1), axis=-1)

    def crps(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the sum of the scores of the targets in closed form, (...)."""
        log_weights, loc, scale = self._parts(parameters)
        weights = ops.expand_dims(ops.exp(log_weights), -1)
        error = mean_distance(ops.expand_dims(targets, -2) - loc, scale)
        found = ops.sum(weights * error, axis=(-2, -1))
        # One component after the other: all pairs at once would take much memory.
        for i in range(self.num_components):
            one = slice(i, i + 1)
            both = ops.sqrt(ops.square(scale) + ops.square(scale[..., one, :]))
            pairs = mean_distance(loc - loc[..., one, :], both)
            pairs = ops.sum(weights * weights[..., one, :] * pairs, axis=(-2, -1))
            found = found - pairs / 2
        return found

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the means of the mixture, (..., targets)."""
        log_weights, loc, _ = self._parts(parameters)
        return ops.sum(ops.expand_dims(ops.exp(log_weights), -1) * loc, axis=-2)

    def variance(self, parameters: Tensor) -> Tensor:
        """Returns the variances of the mixture, (..., targets)."""
        log_weights, loc, scale = self._parts(parameters)
        apart = loc - ops.expand_dims(self.mean(parameters), -2)
        squares = ops.square(scale) + ops.square(apart)
        return ops.sum(ops.expand_dims(ops.exp(log_weights), -1) * squares, axis=-2)

    def sample(self, parameters: Tensor, num_samples: int, seed: Any = None) -> Tensor:
        """Returns samples (samples, ..., targets); see `RealFamily.sample`.

        The gradient is that of the component that was drawn: weights have none.
        """
        log_weights, loc, scale = self._parts(parameters)
        count = self.num_components
        size = (num_samples, *ops.shape(log_weights)[:-1], count + self.targets)
        # One call, so that a seed without state gives independent numbers.
        noise = keras.random.normal(size, dtype=loc.dtype, seed=seed)
        u = (1 + ops.erf(noise[..., :count] / math.sqrt(2))) / 2
        # What is largest with noise of Gumbel's is a component by its weight.
        gumbel = -ops.log(-ops.log(ops.clip(u, 1e-30, 1 - 1e-7)))
        chosen = ops.argmax(log_weights + gumbel, axis=-1)
        chosen = ops.one_hot(chosen, count, dtype=loc.dtype)
        chosen = ops.expand_dims(chosen, -1)
        loc, scale = (ops.sum(chosen * x, axis=-2) for x in (loc, scale))
        return loc + scale * noise[..., count:]

    def _parts(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns log-weights, and both others (..., components, targets)."""
        parts = self.split(ops.convert_to_tensor(parameters))
        count = parts["log_weights"].shape[-1]
        # Without the sizes of the other axes, which a symbolic tensor may not have.
        loc, scale = (
            ops.stack(ops.split(parts[name], count, axis=-1), axis=-2)
            for name in ("loc", "scale")
        )
        return parts["log_weights"], loc, scale

    def components(self, parameters: np.ndarray) -> Components:
        """Returns `scipy.stats.norm`, one for each component."""
        from scipy import stats

        parts = self.split(parameters)
        weights = np.exp(parts.pop("log_weights"))
        weights /= weights.sum(axis=-1, keepdims=True)
        arguments = {
            name: np.moveaxis(values.reshape(*weights.shape, self.targets), -2, 0)
            for name, values in parts.items()
        }
        return Components(
            np.moveaxis(weights, -1, 0)[..., np.newaxis], stats.norm, arguments
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that the family can be made from."""
        return {
            "components": self.num_components,
            **super().get_config(),
            "min_scale": self.min_scale,
            "scale_link": self.scale_link,
        }
