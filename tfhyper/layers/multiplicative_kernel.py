"""The posterior of multiplicative normalizing flows."""

import math
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import (
    check_choice,
    check_integer,
    check_number,
    check_positive_integer,
)
from tfhyper.layers import priors
from tfhyper.layers.gaussian_kernel import output_deviation
from tfhyper.layers.gaussian_weights import inverse_softplus
from tfhyper.layers.masked_flow import MaskedFlow
from tfhyper.layers.noise import generator_of
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeded_noise import SeededNoise
from tfhyper.layers.stochastic import he_deviation
from tfhyper.layers.variational_kernel import VariationalKernel
from tfhyper.tensor_types import Tensor

Estimator: TypeAlias = Literal["local_reparameterization", "reparameterization"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
# Defaults of the layers' arguments, and of their kit's.
ESTIMATOR: Estimator = "local_reparameterization"
NUM_FLOWS = 2
FLOW_WIDTH = 50
PRIOR_SCALE = 1.0
INITIAL_SCALE = 1e-3
MULTIPLIER_SCALE = math.sqrt(0.1)


class MultiplicativeKernel(SeededNoise, VariationalKernel):
    """Kernel ~ N(z mean, softplus(rho)^2), z from a normalizing flow: layers MNF*.

    z has an entry for each slice of the kernel along `multiplier_axis`. It is the
    output of a `MaskedFlow` of z_0 ~ N(multiplier_mean, softplus(multiplier_rho)^2).
    With q the posterior, p the prior and r(z | W) an auxiliary posterior, the loss
    gains kl_weight times one draw's value of

        KL(q(W | z) || p(W)) + log q(z) - log r(z | W)

    whose mean is above KL(q(W) || p(W)) (Louizos and Welling, 2017).
    The entropy of z_0 stands for its part of log q(z). Of r, with a second flow
    that takes z to z_b,

        a      = tanh(c . W)               over the axis of z, drawn by its moments
        z_b    ~ N(b_1 mean(a), exp(b_2 mean(a)))
        log r(z | W) = log r(z_b | W) + log |dz_b/dz|

    z starts around 1, so that a network starts as one of stock layers would.
    """

    streams = (
        "multiplier",
        "masks",
        "kernel",
        "output",
        "kl_multiplier",
        "kl_masks",
        "kl_auxiliary_masks",
        "kl_projection",
    )
    kernel_description = "whose Gaussian kernel is multiplied by random numbers"
    # The kernel's axis that z goes along: 0, its inputs, or -1, its outputs.
    multiplier_axis = -1

    def __init__(
        self,
        *args: Any,
        estimator: Estimator = ESTIMATOR,
        num_flows: int = NUM_FLOWS,
        flow_width: int = FLOW_WIDTH,
        prior_scale: float = PRIOR_SCALE,
        initial_scale: float = INITIAL_SCALE,
        multiplier_scale: float = MULTIPLIER_SCALE,
        **kwargs: Any,
    ):
        super().__init__(*args, initial_scale=initial_scale, **kwargs)
        self.estimator = check_choice("estimator", estimator, ESTIMATORS)
        self.num_flows = check_integer("num_flows", num_flows, 0)
        self.flow_width = check_positive_integer("flow_width", flow_width)
        self.prior_scale = check_number("prior_scale", prior_scale, positive=True)
        self.multiplier_scale = check_number(
            "multiplier_scale", multiplier_scale, positive=True
        )

    def build_posterior(self, shape: tuple[int, ...], **options: Any) -> Any:
        self._kernel_shape = shape
        size = shape[self.multiplier_axis]
        self.kernel_mean = self.add_weight(shape, name="kernel_mean", **options)

        def add_weight(
            name: str, shape: tuple[int, ...], value: Any = None, deviation: float = 0.0
        ) -> keras.Variable:
            initializer = keras.initializers.RandomNormal(stddev=deviation)
            if value is not None:
                initializer = keras.initializers.Constant(value)
            return self.add_weight(shape, initializer=initializer, name=name)

        scale = self.initial_scale * he_deviation(shape)
        self.kernel_rho = add_weight("kernel_rho", shape, inverse_softplus(scale))
        self.multiplier_mean = add_weight("multiplier_mean", (size,), 1.0)
        self.multiplier_rho = add_weight(
            "multiplier_rho", (size,), inverse_softplus(self.multiplier_scale)
        )
        self.flow = MaskedFlow(
            self, "multiplier_flow", size, self.num_flows, self.flow_width, 1.0
        )
        # Twice as wide as in the posterior, as in the authors' code.
        self.auxiliary_flow = MaskedFlow(
            self, "multiplier_auxiliary", size, self.num_flows, 2 * self.flow_width
        )
        self.projection, self.auxiliary_mean, self.auxiliary_log_variance = (
            add_weight(f"multiplier_auxiliary_{name}", (size,), deviation=2 / size**0.5)
            for name in ("projection", "mean", "log_variance")
        )
        give_role(
            POSTERIOR,
            [
                self.kernel_mean,
                self.kernel_rho,
                self.multiplier_mean,
                self.multiplier_rho,
                *self.flow.variables,
                *self.auxiliary_flow.variables,
                self.projection,
                self.auxiliary_mean,
                self.auxiliary_log_variance,
            ],
        )
        return self.kernel_mean

    def set_mean(self, kernel: Tensor, bias: Tensor | None = None) -> None:
        super().set_mean(kernel, bias)
        # Now the mean of z is 1 exactly, and the kernel's mean is `kernel`.
        self.multiplier_mean.assign(np.ones(self.flow.units))
        self.flow.set_center(1.0)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        self.count_examples(inputs, training)
        by_example = bool(training) and self.estimator == "local_reparameterization"
        draw = _CallNoise(self, self.next_count(training), by_example)
        inputs = self.to_compute_dtype(inputs)
        if by_example:
            outputs = self._locally_reparameterized(inputs, draw)
        else:
            outputs = self.operate(inputs, self._sample_kernel(draw))
        return self.activate(outputs, self.bias)

    def _locally_reparameterized(self, inputs: Tensor, draw: "_CallNoise") -> Tensor:
        """Algorithms 1 and 2 of the paper: a z for each example of the batch."""
        codes, _ = self._sample_multiplier(draw, ops.shape(inputs)[0])
        codes = self.to_compute_dtype(codes)
        deviation = output_deviation(self, inputs, ops.softplus(self.kernel_rho))
        if self.multiplier_axis == 0:
            outputs = self.operate(self._scaled(inputs, codes), self.kernel_mean)
        else:
            outputs = self._scaled(self.operate(inputs, self.kernel_mean), codes)
        noise = draw.normal("output", ops.shape(outputs), self.compute_dtype)
        return outputs + deviation * noise

    def _scaled(self, tensor: Tensor, codes: Tensor) -> Tensor:
        """Returns a tensor whose channels are multiplied by each example's z."""
        shape = [1] * len(tensor.shape)
        shape[0], shape[self.channel_axis] = -1, codes.shape[-1]
        return tensor * ops.reshape(codes, shape)

    def _sample_multiplier(
        self,
        draw: Any,
        size: Any,
        streams: tuple[str, str] = ("multiplier", "masks"),
    ) -> tuple[Any, Any]:
        """Returns z (size, entries), and log |dz/dz_0| (size,)."""
        dtype = self.variable_dtype
        entries = self.flow.units
        normal = ops.cast(draw.normal(streams[0], (size, entries)), dtype)
        codes = self.multiplier_mean + ops.softplus(self.multiplier_rho) * normal
        masks = draw.masks(streams[1], (self.num_flows, size, entries))
        return self.flow.forward(codes, ops.cast(masks, dtype))

    def _sample_kernel(self, draw: Any) -> Tensor:
        codes, _ = self._sample_multiplier(draw, 1)
        normal = ops.cast(
            draw.normal("kernel", self._kernel_shape), self.kernel_rho.dtype
        )
        return self._location(codes) + ops.softplus(self.kernel_rho) * normal

    def _location(self, codes: Tensor) -> Tensor:
        """Returns z mean, the mean of the kernel for one z of shape (1, entries)."""
        shape = [1] * len(self._kernel_shape)
        shape[self.multiplier_axis] = -1
        return self.kernel_mean * ops.reshape(codes, shape)

    def kl_divergence(self) -> Tensor:
        """Returns a draw's value of the bound of KL(q || p) in nats: a scalar.

        Its mean over draws is the bound; one for each step of the training.
        """
        return self.kl_of(_CallNoise(self, self.current_count(training=True)))

    def kl_of(self, draw: Any) -> Tensor:
        """Returns the value of the bound for a source of noise.

        Args:
            draw: an object with `normal(stream, shape)`, which gives N(0, 1), and
                `masks(stream, shape)`, which gives zeros and ones; `stream` is one
                of `streams`.
        """
        codes, log_det = self._sample_multiplier(draw, 1, ("kl_multiplier", "kl_masks"))
        location = self._location(codes)
        kernel_scale = ops.softplus(self.kernel_rho)
        kl = priors.normal_kl(location, kernel_scale, 0.0, self.prior_scale)
        # The entropy of z_0 in closed form, as in the authors' code.
        scale = ops.softplus(self.multiplier_rho)
        entropy = ops.sum(ops.log(scale) + 0.5 * (1.0 + math.log(2.0 * math.pi)))
        log_posterior = -entropy - log_det[0]
        return (
            kl
            + log_posterior
            - self._log_auxiliary(draw, codes, location, kernel_scale)
        )

    def _log_auxiliary(
        self, draw: Any, codes: Tensor, location: Tensor, scale: Tensor
    ) -> Tensor:
        """Returns log r(z | W) for W ~ N(location, scale^2)."""
        # c . W is Gaussian, with these moments: no need to draw W.
        mean = ops.tensordot(self.projection, location, [[0], [self.multiplier_axis]])
        squares = [ops.square(self.projection), ops.square(scale)]
        variance = ops.tensordot(*squares, [[0], [self.multiplier_axis]])
        normal = ops.cast(draw.normal("kl_projection", mean.shape), mean.dtype)
        feature = ops.mean(ops.tanh(mean + ops.sqrt(variance) * normal))
        masks = draw.masks("kl_auxiliary_masks", (self.num_flows, *codes.shape))
        masks = ops.cast(masks, codes.dtype)
        codes, log_det = self.auxiliary_flow.forward(codes, masks)
        log_variance = self.auxiliary_log_variance * feature
        shift = ops.square(codes[0] - self.auxiliary_mean * feature)
        log_density = log_variance + shift * ops.exp(-log_variance)
        log_density = -0.5 * ops.sum(log_density + math.log(2.0 * math.pi))
        return log_density + log_det[0]

    def point_weights(self, noise: Tensor) -> list:
        return self.with_bias(self._sample_kernel(_DrawNoise(noise)))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "estimator": self.estimator,
            "num_flows": self.num_flows,
            "flow_width": self.flow_width,
            "prior_scale": self.prior_scale,
            "multiplier_scale": self.multiplier_scale,
        }


class _CallNoise:
    """The noise of one call: a function of (seed, count) for each stream."""

    def __init__(
        self, layer: VariationalKernel, count: Tensor, by_example: bool = False
    ):
        self._layer, self._count, self._by_example = layer, count, by_example

    def normal(self, stream: str, shape: Any, dtype: str = "float32") -> Tensor:
        return keras.random.normal(shape, dtype=dtype, seed=self._seed(stream))

    def masks(self, stream: str, shape: Any) -> Tensor:
        return (
            keras.random.uniform(shape, dtype="float32", seed=self._seed(stream)) < 0.5
        )

    def _seed(self, stream: str) -> keras.random.SeedGenerator:
        return self._layer.stream_seed(stream, self._count, self._by_example)


class _DrawNoise:
    """The noise of one draw, whose streams are one generator's numbers in turn."""

    def __init__(self, noise: Tensor):
        self._generator = generator_of(noise)

    def normal(self, _: str, shape: Any) -> Tensor:
        return self._generator.normal(shape)

    def masks(self, _: str, shape: Any) -> Tensor:
        return self._generator.uniform(shape) < 0.5
