"""The posterior of Bayesian hypernetworks: a flow over the scales of filters."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_integer, check_number, check_positive_integer
from tfhyper.layers.priors import need_library
from tfhyper.layers.real_nvp_flow import RealNVPFlow
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeds import StatelessSeed
from tfhyper.layers.variational_kernel import VariationalKernel
from tfhyper.tensor_types import Tensor

# Defaults of the layers' arguments, and of their kit's.
NUM_COUPLINGS = 4
HIDDEN_UNITS = 32
PRIOR_MEAN = 0.0
PRIOR_SCALE = 1.0
INITIAL_SCALE = 0.1
# The least square of a filter's norm that is divided by the root of: never 0.
_TINY_SQUARE = 1e-12
# The norm of a filter of He's kernel: fan_in weights of variance 2 / fan_in.
_HE_NORM = math.sqrt(2.0)


class FlowKernel(VariationalKernel):
    """Kernel = g v / |v|, one random g for each filter: the layers BayesHyper*.

    With f the layer's `RealNVPFlow` and z ~ N(0, I), as long as there are filters,

        g = location + exp(log_scale) f(z)
        log q(g) = log N(z; 0, I) - sum log_scale - log |det df/dz|

    The filters' directions v, location, log_scale, the flow's weights and the bias
    are plain variables. The loss gains kl_weight (log q(g) - log p(g)) with the
    prior p(g) = N(prior_mean, prior_scale^2) and the g of the last call in
    training: an estimate of KL(q || p) from one draw, that of the kernel itself.
    """

    kernel_description = "whose filters have random scales"

    def __init__(
        self,
        *args: Any,
        num_couplings: int = NUM_COUPLINGS,
        hidden_units: int = HIDDEN_UNITS,
        prior_mean: float = PRIOR_MEAN,
        prior_scale: float = PRIOR_SCALE,
        initial_scale: float = INITIAL_SCALE,
        **kwargs: Any,
    ):
        super().__init__(*args, initial_scale=initial_scale, **kwargs)
        self.num_couplings = check_integer("num_couplings", num_couplings, 0)
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)
        # Not below 0: g and v with both signs changed are the same kernel.
        self.prior_mean = check_number("prior_mean", prior_mean)
        self.prior_scale = check_number("prior_scale", prior_scale, positive=True)

    def build_posterior(self, shape: tuple[int, ...], **options: Any) -> Any:
        self.direction = self.add_weight(shape, name="direction", **options)
        self.units = shape[-1]
        # The norms that the initializer gave: the layer starts from its kernel.
        self.location = self.add_weight(
            shape=(self.units,),
            initializer=lambda *_, **__: _norms(self.direction),
            name="g_location",
        )
        self.log_scale = self.add_weight(
            shape=(self.units,),
            initializer=keras.initializers.Constant(
                math.log(self.initial_scale * _HE_NORM)
            ),
            name="g_log_scale",
        )
        self.flow = RealNVPFlow(
            self, "flow", self.units, self.num_couplings, self.hidden_units
        )
        # Not the directions, which are point estimates.
        give_role(POSTERIOR, [self.location, self.log_scale, *self.flow.variables])

    def scales(self, code: Tensor) -> tuple[Any, Any]:
        """Returns g for a code z, and log |det dg/dz|.

        Args:
            code: float tensor of shape (1, filters).

        Returns:
            Tensors of shape (1, filters) and (1,).
        """
        code = ops.cast(code, self.variable_dtype)
        changed, log_det = self.flow.forward(code)
        scales = self.location + ops.exp(self.log_scale) * changed
        return scales, log_det + ops.sum(self.log_scale)

    def generate(self, code: Tensor) -> Tensor:
        """Returns the kernel for a code z of shape (1, filters)."""
        return self.scales(code)[0] * self.direction / _norms(self.direction)

    def log_ratio(self, code: Tensor) -> Tensor:
        """Returns log q(g) - log p(g) for the g of one code: a scalar, in nats."""
        code = ops.cast(code, self.variable_dtype)
        scales, log_det = self.scales(code)
        standard = (scales - self.prior_mean) / self.prior_scale
        # The constants of the two Gaussians cancel but for the prior's scale.
        halves = 0.5 * ops.sum(ops.square(standard) - ops.square(code))
        return halves + self.units * math.log(self.prior_scale) - ops.sum(log_det)

    def posterior(self) -> Tensor:
        """Returns q(g) as a distribution of TensorFlow Probability, over (filters,).

        Raises:
            ImportError: if this backend has no TensorFlow Probability.
        """
        library = need_library()
        tfb, tfd = library.bijectors, library.distributions
        location, log_scale = map(
            ops.convert_to_tensor, (self.location, self.log_scale)
        )
        return tfd.TransformedDistribution(
            tfd.Sample(tfd.Normal(ops.zeros_like(location[0]), 1.0), self.units),
            tfb.Chain(
                [
                    tfb.Shift(location),
                    tfb.Scale(log_scale=log_scale),
                    self.flow.bijector(),
                ]
            ),
        )

    def kl_divergence(self) -> Tensor:
        return self.log_ratio(self._code(self.last_count()))

    def _code(self, count: Tensor) -> Tensor:
        return self.fresh_noise(self.seed, count)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        self.count_examples(inputs, training)
        kernel = self.generate(self._code(self.next_count(training)))
        return self.operate_and_activate(inputs, kernel)

    def set_mean(self, kernel: Tensor, bias: Tensor | None = None) -> None:
        """Makes trained weights of a stock layer the kernel of the code z = 0.

        For a layer that is not trained yet, whose flow maps 0 to 0.
        """
        norms = np.sqrt(np.sum(np.square(kernel), axis=tuple(range(kernel.ndim - 1))))
        # A filter of zeros has no direction: it keeps the one it has.
        present = ops.convert_to_numpy(self.direction)
        self.direction.assign(np.where(norms > 0, kernel, present))
        self.location.assign(norms)
        if self.bias is not None:
            self.bias.assign(bias)

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        generator = np.random.default_rng(seed)
        return generator.standard_normal((1, self.units), dtype="float32")

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        seed = StatelessSeed(seed, count)
        return keras.random.normal((1, self.units), dtype="float32", seed=seed)

    def point_weights(self, noise: Tensor) -> list:
        return self.with_bias(self.generate(noise))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_couplings": self.num_couplings,
            "hidden_units": self.hidden_units,
            "prior_mean": self.prior_mean,
            "prior_scale": self.prior_scale,
        }


def _norms(direction: Tensor) -> Tensor:
    """Returns the norm of each filter of a kernel, its last axis."""
    squares = ops.sum(
        ops.square(direction), axis=tuple(range(len(direction.shape) - 1))
    )
    return ops.sqrt(ops.maximum(squares, _TINY_SQUARE))
