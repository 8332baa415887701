"""The factors of rank-one kernels: points, or with a Gaussian or Cauchy posterior."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from keras import ops

from tfhyper.layers import priors
from tfhyper.layers.gaussian_weights import inverse_softplus
from tfhyper.tensor_types import Tensor

FactorPosterior: TypeAlias = Literal["point", "gaussian", "cauchy"]
# What is drawn is clipped to +- this, as in the authors' code (edward2): Cauchy
# variables have no variance.
BOUND = 10.0
# The mean of the priors.
PRIOR_LOCATION = 1.0
# Uniform numbers this near to 0 or 1 give Cauchy variables of a size of a million.
_EDGE = 1e-6 / math.pi


@dataclasses.dataclass(frozen=True)
class Density:
    """A family of distributions by location and scale.

    Attributes:
        standard: `(shape, seed)`, tensor of location 0 and scale 1.
        standard_numpy: `(generator, size)`, the same as an array (size,).
        kl_divergence: `(location, scale, prior_location, prior_scale)`, the sum of
            KL(q || p) over all entries, in nats.
    """

    standard: Callable[[Any, keras.random.SeedGenerator], Tensor]
    standard_numpy: Callable[[np.random.Generator, int], np.ndarray]
    kl_divergence: Callable[[Tensor, Tensor, float, float], Tensor]


def _standard_normal(shape: Any, seed: keras.random.SeedGenerator) -> Tensor:
    return keras.random.normal(shape, dtype="float32", seed=seed)


def _standard_cauchy(shape: Any, seed: keras.random.SeedGenerator) -> Tensor:
    uniform = keras.random.uniform(
        shape, _EDGE, 1.0 - _EDGE, dtype="float32", seed=seed
    )
    return ops.tan(math.pi * (uniform - 0.5))


def cauchy_kl(
    location: Tensor, scale: Tensor, prior_location: float, prior_scale: float
) -> Tensor:
    """Returns the sum of KL(Cauchy(location, scale) || Cauchy(prior's)), in nats.

        KL = log( ((scale + prior_scale)^2 + (location - prior_location)^2)
                  / (4 scale prior_scale) )

    Reference:
        Chyzak, Nielsen: A closed-form formula for the Kullback-Leibler divergence
        between Cauchy distributions, arXiv 1905.10965, 2019.
    """
    shift = ops.square(location - prior_location)
    ratio = (ops.square(scale + prior_scale) + shift) / (4.0 * scale * prior_scale)
    return ops.sum(ops.log(ratio))


DENSITIES: dict[FactorPosterior, Density] = {
    "gaussian": Density(
        _standard_normal,
        lambda generator, size: generator.standard_normal(size, "float32"),
        priors.normal_kl,
    ),
    "cauchy": Density(
        _standard_cauchy,
        lambda generator, size: generator.standard_cauchy(size).astype("float32"),
        cauchy_kl,
    ),
}


class Factors:
    """The factors of all members at one end of a kernel: variables and formulas.

    Args:
        layer: the layer that owns the variables.
        posterior: `"point"`, or a key of `DENSITIES`.
        name: start of the variables' names.
        shape: (members, channels).
        initializer: of the factors, or of their locations.
        scale: float > 0, of the posterior at the start.
        regularizer: of the factors, or of their locations.

    Attributes:
        location: the variable of the factors, or of their locations.
        rho: that of the scales, softplus(rho), or `None`.
        size: int, channels.
    """

    def __init__(
        self,
        layer: keras.Layer,
        posterior: FactorPosterior,
        name: str,
        shape: tuple[int, int],
        *,
        initializer: Any,
        scale: float,
        regularizer: Any = None,
    ):
        self.density = DENSITIES.get(posterior)
        self.size = shape[-1]
        self.location = layer.add_weight(
            shape,
            name=name if self.density is None else f"{name}_location",
            initializer=initializer,
            regularizer=regularizer,
        )
        self.rho: keras.Variable | None = None
        if self.density is not None:
            self.rho = layer.add_weight(
                shape,
                name=f"{name}_rho",
                initializer=keras.initializers.Constant(inverse_softplus(scale)),
            )

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables, one or two."""
        return [self.location] if self.rho is None else [self.location, self.rho]

    def take(self, members: Tensor, standard: Tensor | None = None) -> Tensor:
        """Returns the factors of some members.

        Args:
            members: int32 tensor (number,).
            standard: tensor (number, channels) of the density's location 0 and scale
                1; `None` for the locations.

        Returns:
            A float tensor (number, channels).
        """
        # Sums: the gradient of a variable that entries are taken of is no plain tensor
        # in TensorFlow, and optimizers may not take it.
        found = ops.take(ops.convert_to_tensor(self.location) + 0.0, members, axis=0)
        if standard is None or self.rho is None:
            return found
        scales = ops.take(ops.softplus(self.rho), members, axis=0)
        return ops.clip(
            found + scales * ops.cast(standard, scales.dtype), -BOUND, BOUND
        )

    def kl_divergence(self, prior_scale: float) -> Tensor:
        """Returns the sum of KL(q || p) over all factors of all members, in nats."""
        if self.density is None or self.rho is None:
            raise ValueError("Points have no KL divergence.")
        location = ops.convert_to_tensor(self.location)
        return self.density.kl_divergence(
            location, ops.softplus(self.rho), PRIOR_LOCATION, prior_scale
        )


def initial_factors(spread: float, random_signs: bool) -> Callable[..., Tensor]:
    """Returns the initializer N(1, spread^2), times random signs if these are wanted.

    Args:
        spread: float >= 0.
        random_signs: bool, whether each is multiplied by -1 with probability 1/2.
    """

    def initialize(shape: Any, dtype: Any = None) -> Tensor:
        normal = keras.initializers.RandomNormal(1.0, spread)(shape, dtype)
        if not random_signs:
            return normal
        uniform = keras.initializers.RandomUniform(-1.0, 1.0)(shape, dtype)
        return ops.where(uniform < 0, -normal, normal)

    return initialize
