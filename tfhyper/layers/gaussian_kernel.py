"""The factorised Gaussian posterior: Bayes by Backprop."""

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_bool, check_choice
from tfhyper.layers import priors
from tfhyper.layers.gaussian_weights import (
    INITIAL_SCALE,
    PRIOR_SCALE,
    GaussianArguments,
    GaussianWeights,
    Initializer,
    PriorMean,
)
from tfhyper.layers.noise import MEAN, generator_of
from tfhyper.layers.seeded_noise import SeededNoise
from tfhyper.layers.stochastic import StochasticKernel, he_deviation
from tfhyper.layers.variational_kernel import VariationalKernel
from tfhyper.tensor_types import Tensor

Estimator: TypeAlias = Literal[
    "reparameterization", "local_reparameterization", "flipout"
]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
BiasPosterior: TypeAlias = Literal["point", "gaussian"]
BIAS_POSTERIORS: tuple[BiasPosterior, ...] = get_args(BiasPosterior)
# Defaults of the layers' arguments, and of their kit's.
ESTIMATOR: Estimator = "reparameterization"
BIAS_POSTERIOR: BiasPosterior = "point"

# The least variance that is taken the root of: there its slope is still finite.
_TINY_VARIANCE = 1e-12


class GaussianKernel(GaussianArguments, SeededNoise, VariationalKernel):
    """Kernel ~ N(mean, softplus(rho)^2), each weight for itself: the layers Bayes*.

    The loss gains kl_weight * KL(q || p), summed over the weights, where q is
    this posterior and p the prior (Blundell et al., 2015). Of one training step,
    with x the inputs, eps noise from N(0, 1), sigma = softplus(rho) and * the
    layer's operation,

        reparameterization          y = x * (mean + sigma eps)
        local_reparameterization    y = x * mean + sqrt(x^2 * sigma^2) eps
        flipout                     y = x * mean + s ((r x) * (sigma eps))

    with one eps for the batch in the first and the third, one for each output
    of each example in the second, and signs r of the input and s of the output
    channels, one vector of each for each example. Outside of training a call
    draws one kernel for the batch, whatever the estimator. With `pruned`, mean
    and sigma are multiplied by a mask, and the KL sums over the weights it keeps.
    """

    kernel_description = "whose kernel has a Gaussian posterior"
    streams = (
        "kernel",
        "bias",
        "output",
        "input_signs",
        "output_signs",
        "kl",
        "bias_kl",
    )

    def __init__(
        self,
        *args: Any,
        estimator: Estimator = ESTIMATOR,
        prior_scale: float = PRIOR_SCALE,
        prior: Any = None,
        trainable_prior_scale: bool = False,
        prior_mean: PriorMean = "zero",
        initial_scale: float = INITIAL_SCALE,
        rho_initializer: Initializer = None,
        bias_posterior: BiasPosterior = BIAS_POSTERIOR,
        pruned: bool = False,
        **kwargs: Any,
    ):
        super().__init__(*args, initial_scale=initial_scale, **kwargs)
        self.estimator = check_choice("estimator", estimator, ESTIMATORS)
        self.set_gaussian(
            prior_scale, prior, trainable_prior_scale, prior_mean, rho_initializer
        )
        self.bias_posterior = check_choice(
            "bias_posterior", bias_posterior, BIAS_POSTERIORS
        )
        self.pruned = check_bool("pruned", pruned)
        self._bias_posterior: GaussianWeights | None = None
        if self.pruned:
            priors.check_single("pruned", pruned, self.prior)

    def build_posterior(self, shape: tuple[int, ...], **options: Any) -> Any:
        self.build_prior_scale()
        self.kernel_posterior = GaussianWeights(
            self, "kernel", shape, options, pruned=self.pruned
        )
        return self.kernel_posterior.mean

    def add_weight(
        self, *args: Any, name: str | None = None, **kwargs: Any
    ) -> keras.Variable:
        if name == "bias" and self.bias_posterior == "gaussian":
            return self.build_bias(*args, **kwargs)
        return super().add_weight(*args, name=name, **kwargs)

    def build_bias(self, shape: Any, **options: Any) -> keras.Variable:
        deviation = he_deviation(self.kernel_posterior.shape)
        posterior = GaussianWeights(self, "bias", tuple(shape), options, deviation)
        self._bias_posterior = posterior
        return posterior.mean

    @property
    def draw_multiply_adds(self) -> int:
        """One for each weight of the kernel."""
        return math.prod(self.kernel_posterior.shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        self.count_examples(inputs, training)
        count = self.next_count(training)
        inputs = self.to_compute_dtype(inputs)
        estimator = self.estimator if training else ESTIMATORS[0]
        operate = {
            "reparameterization": self._reparameterized,
            "local_reparameterization": self._locally_reparameterized,
            "flipout": self._flipped,
        }[estimator]
        bias = self.bias
        if self._bias_posterior is not None:
            bias = self._bias_posterior.sample(self._normal("bias", count))
        return self.activate(operate(inputs, count), bias)

    def _reparameterized(self, inputs: Tensor, count: Tensor) -> Tensor:
        kernel = self.kernel_posterior.sample(self._normal("kernel", count))
        return self.operate(inputs, kernel)

    def _locally_reparameterized(self, inputs: Tensor, count: Tensor) -> Tensor:
        kernel = self.kernel_posterior
        outputs = self.operate(inputs, kernel.location)
        deviation = output_deviation(self, inputs, kernel.scale)
        noise = self._normal("output", count, self.compute_dtype)(ops.shape(outputs))
        return outputs + deviation * noise

    def _flipped(self, inputs: Tensor, count: Tensor) -> Tensor:
        kernel = self.kernel_posterior
        # Zero mean: what the signs flip must hold nothing of the mean kernel.
        deviation = kernel.deviation(self._normal("kernel", count))
        outputs = self.operate(inputs, kernel.location)
        flipped = self.operate(self._flip(inputs, "input_signs", count), deviation)
        return outputs + self._flip(flipped, "output_signs", count)

    def _flip(self, tensor: Tensor, stream: str, count: Tensor) -> Tensor:
        """Multiplies each channel of each example by a random sign."""
        shape = [1] * len(tensor.shape)
        shape[0] = ops.shape(tensor)[0]
        shape[self.channel_axis] = tensor.shape[self.channel_axis]
        seed = self.stream_seed(stream, count, by_example=True)
        heads = keras.random.uniform(shape, seed=seed) < 0.5
        signs = 1.0 - 2.0 * ops.cast(heads, "float32")
        return tensor * ops.cast(signs, tensor.dtype)

    def _normal(self, stream: str, count: Tensor, dtype: str = "float32") -> Callable:
        """Returns the function of a shape that draws N(0, 1)."""
        seed = self.stream_seed(stream, count, by_example=stream == "output")
        return lambda shape: keras.random.normal(shape, dtype=dtype, seed=seed)

    def kl_divergence(self) -> Tensor:
        count = self.current_count(training=True)
        total = self.kernel_posterior.kl_divergence(self._normal("kl", count))
        if self._bias_posterior is not None:
            noise = self._normal("bias_kl", count)
            total = total + self._bias_posterior.kl_divergence(noise)
        return total

    def set_moped(self, delta: float) -> None:
        """Takes prior means and posterior scales from the present means (MOPED).

        For a layer with `prior_mean="weight"`; see `tfhyper.convert`.
        """
        self.kernel_posterior.set_moped(delta)
        if self._bias_posterior is not None:
            self._bias_posterior.set_moped(delta)

    def mean_noise(self) -> np.ndarray | None:
        return MEAN

    def point_weights(self, noise: Tensor) -> list:
        normal = generator_of(noise).normal
        kernel = self.kernel_posterior.sample(normal)
        if self._bias_posterior is None:
            return self.with_bias(kernel)
        return self.with_bias(kernel, self._bias_posterior.sample(normal))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.gaussian_config(),
            "estimator": self.estimator,
            "bias_posterior": self.bias_posterior,
            "pruned": self.pruned,
        }


def output_deviation(layer: StochasticKernel, inputs: Tensor, scale: Tensor) -> Tensor:
    """Returns sqrt(x^2 * scale^2), of the outputs of a kernel of independent weights.

    Args:
        layer: the `StochasticKernel` whose operation is written * above.
        inputs: tensor x in the layer's compute dtype, which the result has, too.
        scale: tensor of the kernel's shape, the weights' standard deviations.
    """
    # Squares of usual scales vanish in float16, those of inputs over 255 overflow.
    half = layer.compute_dtype == "float16"
    squares = ops.square(ops.cast(inputs, "float32" if half else inputs.dtype))
    variance = layer.operate(squares, ops.square(scale))
    return layer.to_compute_dtype(ops.sqrt(ops.maximum(variance, _TINY_VARIANCE)))
