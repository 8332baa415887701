"""One tensor of weights with a Gaussian posterior: its variables and formulas."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.layers import priors
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.stochastic import he_deviation
from tfhyper.tensor_types import Tensor


class GaussianWeights:
    """The variables of one Gaussian weight tensor of a layer, and its formulas.

    Args:
        layer: a `GaussianKernel`, which owns the variables and knows the prior.
        name: start of the variables' names: `"kernel"`, `"bias"`.
        shape: tuple of ints.
        options: arguments of `add_weight` for the mean.
        scale: standard deviation at the start, or `None` for `initial_scale`
            times that of He's kernel of this shape. The `rho_initializer` of the
            layer, if there is one, takes its place.
        pruned: bool, whether there is a mask.

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
        scale: float | None = None,
        pruned: bool = False,
    ):
        self.layer = layer
        self.shape = shape
        if scale is None:
            scale = layer.initial_scale * he_deviation(shape)
        add_weight = functools.partial(
            keras.Layer.add_weight, layer, shape, autocast=False
        )
        self.mean = add_weight(name=f"{name}_mean", **options)
        self.rho = add_weight(
            name=f"{name}_rho",
            initializer=layer.rho_initializer
            or keras.initializers.Constant(inverse_softplus(scale)),
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
        smallest = he_deviation(self.layer.kernel_posterior.shape) / 100
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
