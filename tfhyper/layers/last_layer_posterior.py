"""The posterior of variational Bayesian last layers: a Gaussian of each output."""

import math
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_choice, check_number, check_positive_integer
from tfhyper.layers.gaussian_weights import inverse_softplus
from tfhyper.layers.noise import MEAN, generator_of, is_mean
from tfhyper.layers.one_pass import LastLayer
from tfhyper.layers.operations import DenseOperation
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeded_noise import SeededNoise
from tfhyper.layers.seeds import derive_seed
from tfhyper.layers.stochastic import he_deviation
from tfhyper.layers.variational_kernel import VariationalKernel
from tfhyper.tensor_types import Tensor

CovarianceForm: TypeAlias = Literal["diagonal", "low_rank", "dense"]
COVARIANCE_FORMS: tuple[CovarianceForm, ...] = get_args(CovarianceForm)
# Defaults of the layers' arguments, and of their kit's.
COVARIANCE_FORM: CovarianceForm = "dense"
RANK = 3
PRIOR_SCALE = 1.0
INITIAL_SCALE = 0.1
NOISE_DOF = 1.0


class LastLayerPosterior(LastLayer, SeededNoise, VariationalKernel, DenseOperation):
    """Kernel with columns w_k ~ N(mean_k, S_k), trained by bounds without draws.

    S_k = L_k L_k^T, with the standard deviations softplus(rho) on the diagonal of L_k
    (`"dense"`) or alone (`"diagonal"`), or S_k = diag(softplus(rho)^2) + F_k F_k^T
    (`"low_rank"`). Outputs have a noise of their own beside: with x the inputs,

        z_k ~ N(x . mean_k + bias_k, x^T S_k x + noise_scale_k^2)

    A subclass makes outputs of these moments, and adds to the loss, with `add_loss`,
    what a bound of the expected log-likelihood is above the loss of the means: that
    part needs no labels. The KL divergence from N(0, (prior_scale h)^2), h = sqrt(2 /
    fan_in), is the layer's term of the loss, together with the noise's prior: inverse
    Wishart with `noise_dof` degrees of freedom and the scale `noise_prior_scale`,

        -log p = (dof + K + 1) / 2 sum_k log s_k^2
                 + noise_prior_scale / 2 sum_k 1 / s_k^2

    for K outputs, up to a constant, with s the noise's scales. They start at its mode,
    or at 1 where they are those of targets.
    A number as `noise_scale` is known, and has no prior.
    """

    kernel_description = "whose kernel has a Gaussian posterior with covariances"
    # Scale of the noise's prior, unless it is given.
    noise_prior_default = 1.0

    def __init__(
        self,
        *args: Any,
        covariance: CovarianceForm = COVARIANCE_FORM,
        rank: int = RANK,
        prior_scale: float = PRIOR_SCALE,
        noise_scale: float | None = None,
        noise_prior_scale: float | None = None,
        noise_dof: float = NOISE_DOF,
        initial_scale: float = INITIAL_SCALE,
        **kwargs: Any,
    ):
        super().__init__(*args, initial_scale=initial_scale, **kwargs)
        self.covariance = check_choice("covariance", covariance, COVARIANCE_FORMS)
        self.rank_of_covariance = check_positive_integer("rank", rank)
        self.prior_scale = check_number("prior_scale", prior_scale, positive=True)
        if noise_scale is not None:
            check_number("noise_scale", noise_scale, positive=self.noise_is_needed)
        self.noise_scale = noise_scale
        if noise_prior_scale is None:
            noise_prior_scale = self.noise_prior_default
        self.noise_prior_scale = check_number(
            "noise_prior_scale", noise_prior_scale, positive=True
        )
        self.noise_dof = check_number("noise_dof", noise_dof)

    # Whether a noise of 0 makes no sense.
    noise_is_needed = False

    def build_posterior(self, shape: tuple[int, ...], **options: Any) -> Any:
        """Makes means, deviations, what is beside the diagonal, and the noise."""
        size, units = self._kernel_shape = shape
        self.kernel_mean = self.add_weight(shape, name="kernel_mean", **options)
        rho = inverse_softplus(self.initial_scale * he_deviation(shape))
        constant = keras.initializers.Constant
        self.kernel_rho = self.add_weight(
            shape, initializer=constant(float(rho)), name="kernel_rho"
        )
        variables = [self.kernel_mean, self.kernel_rho]
        if self.covariance == "dense":
            self.kernel_lower = self.add_weight(
                (units, size, size), initializer="zeros", name="kernel_lower"
            )
            variables.append(self.kernel_lower)
        elif self.covariance == "low_rank":
            # At zero it would have no gradient.
            deviation = 0.1 * self.initial_scale * he_deviation(shape)
            self.kernel_factor = self.add_weight(
                (units, size, self.rank_of_covariance),
                initializer=keras.initializers.RandomNormal(
                    stddev=deviation, seed=derive_seed(self.seed, 0)
                ),
                name="kernel_factor",
            )
            variables.append(self.kernel_factor)
        if self.noise_scale is None:
            mode = self.noise_prior_scale / (self.noise_dof + units + 1)
            start = 1.0 if self.noise_is_needed else math.sqrt(mode)
            noise_rho = float(inverse_softplus(start))
            self.noise_rho = self.add_weight(
                (units,), initializer=constant(noise_rho), name="noise_rho"
            )
            variables.append(self.noise_rho)
        give_role(POSTERIOR, variables)
        return self.kernel_mean

    def _noise_scales(self) -> Tensor:
        """Returns the scales of the noise, (units,)."""
        if self.noise_scale is not None:
            return ops.full((self.units,), self.noise_scale, self.kernel_mean.dtype)
        return ops.softplus(self.noise_rho)

    def _lower(self) -> Tensor:
        """Returns L, (units, size, size)."""
        size = self._kernel_shape[0]
        below = np.tril(np.ones((size, size), "float32"), -1)
        scale = ops.transpose(ops.softplus(self.kernel_rho))
        eye = ops.eye(size, dtype=scale.dtype)
        return self.kernel_lower * ops.cast(below, scale.dtype) + (
            ops.expand_dims(scale, -1) * eye
        )

    def output_moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and variances over the posterior, without the noise.

        Args:
            inputs: tensor (batch, ..., size), x.

        Returns:
            x . mean_k + bias_k and x^T S_k x, each (batch, ..., units), in the policy's
            variable dtype.
        """
        x = ops.cast(inputs, self.variable_dtype)
        mean = ops.matmul(x, self.kernel_mean)
        if self.bias is not None:
            mean = mean + self.bias
        if self.covariance == "dense":
            images = ops.einsum("...d,kde->...ke", x, self._lower())
            return mean, ops.sum(ops.square(images), axis=-1)
        variance = ops.matmul(ops.square(x), ops.square(ops.softplus(self.kernel_rho)))
        if self.covariance == "low_rank":
            images = ops.einsum("...d,kdr->...kr", x, self.kernel_factor)
            variance = variance + ops.sum(ops.square(images), axis=-1)
        return mean, variance

    def kl_divergence(self) -> Tensor:
        """Returns KL(q || p) of the kernel in nats: a scalar tensor."""
        size, units = self._kernel_shape
        prior = (self.prior_scale * he_deviation(self._kernel_shape)) ** 2
        scale = ops.softplus(self.kernel_rho)
        squares = ops.sum(ops.square(self.kernel_mean)) + ops.sum(ops.square(scale))
        log_det = 2.0 * ops.sum(ops.log(scale))
        if self.covariance == "dense":
            size_of = np.tril(np.ones((size, size), "float32"), -1)
            below = self.kernel_lower * ops.cast(size_of, scale.dtype)
            squares = squares + ops.sum(ops.square(below))
        elif self.covariance == "low_rank":
            factor = ops.convert_to_tensor(self.kernel_factor)
            squares = squares + ops.sum(ops.square(factor))
            # log |diag + F F^T| = log |diag| + log |I + F^T diag^-1 F|
            scaled = factor / ops.expand_dims(ops.transpose(scale), -1)
            inner = ops.matmul(ops.swapaxes(scaled, -1, -2), scaled)
            inner = inner + ops.eye(self.rank_of_covariance, dtype=inner.dtype)
            roots = ops.diagonal(ops.cholesky(inner), axis1=-2, axis2=-1)
            log_det = log_det + 2.0 * ops.sum(ops.log(roots))
        constant = size * units * (math.log(prior) - 1.0)
        return 0.5 * (squares / prior - log_det + constant)

    def noise_penalty(self) -> Tensor:
        """Returns -log p of the noise's scales, up to a constant: a scalar tensor.

        0 where the noise is known.
        """
        if self.noise_scale is not None:
            return ops.zeros((), self.kernel_mean.dtype)
        variance = ops.square(self._noise_scales())
        dof = (self.noise_dof + self.units + 1.0) / 2.0
        return dof * ops.sum(ops.log(variance)) + (
            0.5 * self.noise_prior_scale * ops.sum(1.0 / variance)
        )

    def weighted_kl(self) -> Tensor:
        """Returns the layer's term of the loss: with the noise's prior."""
        weight = self._weight_of_kl() * self.kl_factor
        return weight * (self.kl_divergence() + self.noise_penalty())

    def _sample_kernel(self, noise: Tensor) -> Tensor:
        """Returns a draw of the kernel, (size, units); its mean at the mean."""
        mean = ops.convert_to_tensor(self.kernel_mean)
        if is_mean(noise):
            return mean
        generator = generator_of(noise)
        normal = ops.cast(generator.normal(self._kernel_shape), mean.dtype)
        if self.covariance == "dense":
            return mean + ops.einsum("kde,ek->dk", self._lower(), normal)
        mean = mean + ops.softplus(self.kernel_rho) * normal
        if self.covariance == "low_rank":
            shape = (self.units, self.rank_of_covariance)
            codes = ops.cast(generator.normal(shape), mean.dtype)
            mean = mean + ops.einsum("kdr,kr->dk", self.kernel_factor, codes)
        return mean

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise that gives the kernel's mean."""
        return MEAN

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "covariance": self.covariance,
            "rank": self.rank_of_covariance,
            "prior_scale": self.prior_scale,
            "noise_scale": self.noise_scale,
            "noise_prior_scale": self.noise_prior_scale,
            "noise_dof": self.noise_dof,
        }
