"""One tensor of weights with a Gaussian posterior: its variables and formulas."""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_bool, check_choice, check_number
from tfhyper.layers import priors
from tfhyper.layers.mixin import LayerMixin
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.stochastic import he_deviation
from tfhyper.layers.stock_arguments import known_to_keras
from tfhyper.tensor_types import Tensor

Initializer: TypeAlias = str | dict[str, Any] | keras.initializers.Initializer | None
PriorMean: TypeAlias = Literal["zero", "weight"]
PRIOR_MEANS: tuple[PriorMean, ...] = get_args(PriorMean)
# Defaults of the layers' arguments, and of their kit's.
PRIOR_SCALE = 1.0
# A third of the kit's: in place of stock layers, in deep networks of a user's, it has
# to learn.
INITIAL_SCALE = 0.03


class GaussianArguments(LayerMixin):
    """What a layer with Gaussian weights is given: its prior and first deviations.

    Attributes:
        prior_rho: the variable of a trained prior scale, or `None`.
    """

    prior_rho: keras.Variable | None = None

    def set_gaussian(
        self,
        prior_scale: float,
        prior: Any,
        trainable_prior_scale: bool,
        prior_mean: PriorMean,
        rho_initializer: Initializer,
    ) -> None:
        """Checks and keeps the arguments, as `tfhyper.layers.BayesConv2D` tells."""
        self.prior_scale = check_number("prior_scale", prior_scale, positive=True)
        self.prior = priors.serialize(prior)
        self.trainable_prior_scale = check_bool(
            "trainable_prior_scale", trainable_prior_scale
        )
        self.prior_mean = check_choice("prior_mean", prior_mean, PRIOR_MEANS)
        self.rho_initializer = known_to_keras("rho_initializer", rho_initializer)
        if self.prior is not None and (trainable_prior_scale or prior_mean != "zero"):
            raise ValueError(
                "`prior` has its own mean and scale: leave out `prior_mean` and "
                f"`trainable_prior_scale`. Received: prior_mean={prior_mean!r}, "
                f"trainable_prior_scale={trainable_prior_scale!r}"
            )

    def build_prior_scale(self) -> None:
        """Makes the variable of the prior's scale, if it is trained."""
        self.prior_rho = None
        if self.trainable_prior_scale:
            self.prior_rho = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(
                    inverse_softplus(self.prior_scale)
                ),
                autocast=False,
                name="prior_rho",
            )
            give_role(POSTERIOR, [self.prior_rho])

    def gaussian_config(self) -> dict[str, Any]:
        """Returns the arguments, for the layer's config."""
        return {
            "prior_scale": self.prior_scale,
            "prior": self.prior,
            "trainable_prior_scale": self.trainable_prior_scale,
            "prior_mean": self.prior_mean,
            "rho_initializer": keras.initializers.serialize(self.rho_initializer),
        }


class GaussianWeights:
    """The variables of one Gaussian weight tensor of a layer, and its formulas.

    Args:
        layer: with `GaussianArguments` and `initial_scale`: owns the variables.
        name: start of the variables' names: `"kernel"`, `"bias"`.
        shape: tuple of ints.
        options: arguments of `add_weight` for the mean; for rho where the mean is
            given.
        deviation: that of He's kernel which the weights go with, by which scales are
            measured; `None` for one of this shape. At the start the standard deviation
            is `initial_scale` times it, unless the layer has a `rho_initializer`.
        pruned: bool, whether there is a mask.
        mean: a variable of another layer that is the mean; `None`: one is made.

    Attributes:
        mean, rho: the variables of the posterior N(mean, softplus(rho)^2).
        mask: variable, 0 where a weight is pruned and 1 elsewhere, or `None`.
        prior_mean: variable, or `None`.
    """

    def __init__(
        self,
        layer: keras.Layer,
        name: str,
        shape: tuple[int, ...],
        options: dict[str, Any],
        deviation: float | None = None,
        pruned: bool = False,
        mean: keras.Variable | None = None,
    ):
        self.layer = layer
        self.shape = shape
        self._deviation = he_deviation(shape) if deviation is None else deviation
        add_weight = functools.partial(
            keras.Layer.add_weight, layer, shape, autocast=False
        )
        if mean is None:
            mean, options = add_weight(name=f"{name}_mean", **options), {}
        self.mean = mean
        scale = inverse_softplus(layer.initial_scale * self._deviation)
        self.rho = add_weight(
            name=f"{name}_rho",
            initializer=layer.rho_initializer or keras.initializers.Constant(scale),
            **options,
        )
        give_role(POSTERIOR, [self.mean, self.rho])
        self.prior_mean: keras.Variable | None = None
        if layer.prior_mean == "weight":
            self.prior_mean = add_weight(
                name=f"{name}_prior_mean", initializer="zeros", trainable=False
            )
        self.mask: keras.Variable | None = None
        if pruned:
            self.mask = add_weight(
                name=f"{name}_mask", initializer="ones", trainable=False
            )
        if layer.prior is not None:
            priors.check_shape(layer.prior, name, shape)

    def set_moped(self, delta: float) -> None:
        """Takes prior mean and scale from the present means (MOPED).

        The prior mean is w, the means, and the scale delta max(|w|, h / 100) with
        h He's deviation for the layer's kernel: a weight of 0 has a scale, too.
        """
        if self.prior_mean is None:
            raise ValueError('MOPED needs a layer with `prior_mean="weight"`.')
        mean = ops.convert_to_numpy(self.mean)
        smallest = self._deviation / 100
        scale = delta * np.maximum(np.abs(mean), smallest)
        self.prior_mean.assign(mean)
        self.rho.assign(inverse_softplus(scale))

    def set_mask(self, mask: np.ndarray) -> None:
        """Says which weights are kept: those where `mask`, of their shape, is not 0.

        Raises:
            ValueError: for weights that were made without `pruned`.
        """
        if self.mask is None:
            raise ValueError("A mask needs a layer with `pruned=True`.")
        self.mask.assign(mask.astype("float32"))

    @property
    def location(self) -> Tensor:
        """The means of the weights, 0 where they are pruned."""
        return self._kept(self.mean)

    @property
    def scale(self) -> Tensor:
        """Standard deviations, softplus(rho), 0 where a weight is pruned."""
        return self._kept(ops.softplus(self.rho))

    def _kept(self, values: Tensor) -> Tensor:
        return values if self.mask is None else values * self.mask

    def deviation(self, normal: Callable[[tuple[int, ...]], Any]) -> Tensor:
        """Returns scale * eps; `normal` gives eps ~ N(0, 1) of a shape."""
        return self.scale * ops.cast(normal(self.shape), self.rho.dtype)

    def sample(self, normal: Callable[[tuple[int, ...]], Any]) -> Tensor:
        """Returns location + scale * eps."""
        return self.location + self.deviation(normal)

    def kl_divergence(self, normal: Callable[[tuple[int, ...]], Any]) -> Tensor:
        """Returns KL(q || p) in nats; `normal` is for the priors without a formula.

        A pruned weight is no random variable and has no term.
        """
        mean, scale = ops.convert_to_tensor(self.mean), ops.softplus(self.rho)
        if self.layer.prior is not None:
            return priors.kl_divergence(
                mean, scale, self.layer.prior, lambda: normal(self.shape), self.mask
            )
        prior_scale = self.layer.prior_scale
        if self.layer.prior_rho is not None:
            prior_scale = ops.softplus(self.layer.prior_rho)
        prior_mean = 0.0
        if self.prior_mean is not None:
            prior_mean = ops.convert_to_tensor(self.prior_mean)
        return priors.normal_kl(mean, scale, prior_mean, prior_scale, self.mask)


def inverse_softplus(scale: Tensor) -> np.ndarray:
    """Returns rho with softplus(rho) = scale > 0; a number or a NumPy array."""
    # log(exp(s) - 1), written so that it neither overflows nor cancels.
    scale = np.asarray(scale, "float64")
    return scale + np.log(-np.expm1(-scale))
