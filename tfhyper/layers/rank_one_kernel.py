"""One kernel times rank-one factors by member: BatchEnsemble and rank-1 BNNs."""

import functools
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops

from tfhyper.checks import (
    check_bool,
    check_choice,
    check_number,
    check_positive_integer,
)
from tfhyper.layers.moving_averages import warn_of_moving_averages
from tfhyper.layers.noise import MEAN, NoiseKind, is_mean
from tfhyper.layers.rank_one_factors import (
    DENSITIES,
    FactorPosterior,
    Factors,
    initial_factors,
)
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeds import StatelessSeed
from tfhyper.layers.variational import KLTerm
from tfhyper.layers.variational_kernel import VariationalKernel
from tfhyper.tensor_types import Tensor

POSTERIORS: tuple[FactorPosterior, ...] = get_args(FactorPosterior)
BatchUse: TypeAlias = Literal["whole", "divided"]
BATCH_USES: tuple[BatchUse, ...] = get_args(BatchUse)
# Defaults of the layers' arguments, and of their kit's.
POSTERIOR_OF_FACTORS: FactorPosterior = "point"
MEMBERS = 4
BATCH: BatchUse = "whole"
MEMBER_BIAS = True
RANDOM_SIGNS = False
PRIOR_SCALE = 0.1
# That of the code of rank-1 BNNs, sqrt(p / (1 - p)) with p = 0.001.
INITIAL_SCALE = 0.0316
# Around 1 at the start, as in the code of BatchEnsemble for wide residual networks.
_POINT_SPREAD = 0.5


class RankOneKernel(VariationalKernel):
    """Kernel = W * r_k s_k^T by the entry, k one of K members: the layers RankOne*.

    r_k has an entry for each input channel, s_k one for each output channel, so that
    with * the layer's operation

        y = ((x r_k) * W) s_k + b_k

    Factors are weights (`posterior="point"`: BatchEnsemble), or each has a posterior
    of its own around a location of the member's (rank-1 BNNs),

        gaussian    q(r_ki) = N(m_ki, sigma_ki^2),      p = N(1, prior_scale^2)
        cauchy      q(r_ki) = Cauchy(m_ki, sigma_ki),   p = Cauchy(1, prior_scale)

    with sigma = softplus(rho), s likewise; what is drawn is clipped to -10 ... 10. The
    posterior is the mixture of the members, each with the weight 1 / K, and the loss
    gains kl_weight times

        1 / K sum_k KL(q_k || p)

    which is not below the mixture's KL divergence, as KL is convex in q.
    """

    kernel_description = "whose kernel has factors of several members"
    streams = ("factors",)

    def __init__(
        self,
        *args: Any,
        posterior: FactorPosterior = POSTERIOR_OF_FACTORS,
        members: int = MEMBERS,
        batch: BatchUse = BATCH,
        member_bias: bool = MEMBER_BIAS,
        factor_spread: float | None = None,
        random_signs: bool = RANDOM_SIGNS,
        prior_scale: float = PRIOR_SCALE,
        initial_scale: float = INITIAL_SCALE,
        **kwargs: Any,
    ):
        super().__init__(*args, initial_scale=initial_scale, **kwargs)
        self.posterior = check_choice("posterior", posterior, POSTERIORS)
        self.members = check_positive_integer("members", members)
        self.batch = check_choice("batch", batch, BATCH_USES)
        self.member_bias = check_bool("member_bias", member_bias)
        if factor_spread is not None:
            factor_spread = check_number("factor_spread", factor_spread)
        self.factor_spread = factor_spread
        self.random_signs = check_bool("random_signs", random_signs)
        self.prior_scale = check_number("prior_scale", prior_scale, positive=True)
        if not self.has_divergence and self.members == 1:
            self.noise_kind = NoiseKind.NONE
        self._checked_batch = False

    @property
    def has_divergence(self) -> bool:
        """Whether the factors have a density."""
        return self.posterior != "point"

    @property
    def distinct_draws(self) -> int | None:
        """The number of members, if these are all that draws differ in."""
        return None if self.has_divergence else self.members

    def check_no_regularizer(self) -> None:
        """Nothing: W is a plain variable, of which a regularizer is the prior."""

    def build_kl_factor(self) -> None:
        """Makes what the KL divergence needs, if there is one."""
        if self.has_divergence:
            super().build_kl_factor()

    def build_kernel(self, shape: tuple[int, ...], **options: Any) -> Any:
        """Makes the kernel W and the factors of all members."""
        shape = tuple(shape)
        self._kernel_shape = shape
        self.shared_kernel = self.add_weight(shape, name="shared_kernel", **options)
        spread = self.factor_spread
        if spread is None:
            spread = self.prior_scale if self.has_divergence else _POINT_SPREAD
        make = functools.partial(
            Factors,
            self,
            self.posterior,
            initializer=initial_factors(spread, self.random_signs),
            scale=self.initial_scale,
        )
        regularizer = KLTerm(self) if self.has_divergence else None
        inputs = shape[-2] * self._groups
        self.input_factors = make(
            "input_factors", (self.members, inputs), regularizer=regularizer
        )
        self.output_factors = make("output_factors", (self.members, shape[-1]))
        # Of those without a density, too: weight decay would pull them to 0, not to 1.
        give_role(POSTERIOR, self.input_factors.variables)
        give_role(POSTERIOR, self.output_factors.variables)
        return self.shared_kernel

    def add_weight(
        self, shape: Any = None, *args: Any, name: str | None = None, **kwargs: Any
    ) -> keras.Variable:
        if name == "bias" and self.member_bias:
            shape = (self.members, *shape)
        return super().add_weight(shape, *args, name=name, **kwargs)

    @property
    def _groups(self) -> int:
        return getattr(self, "groups", 1)

    @property
    def draw_multiply_adds(self) -> int:
        """Two for each weight of the kernel."""
        return 2 * int(np.prod(self._kernel_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if self.has_divergence:
            self.count_examples(inputs, training)
        count = self.next_count(training)
        inputs = self.to_compute_dtype(inputs)
        if training and self.batch == "divided":
            return self._divided(inputs, count)
        if not training and self.batch == "whole" and self.is_random:
            warn_of_moving_averages(self)
        # The member's number goes by the count: that of the next call is the next.
        noise = self._fresh(self.stream_seed("factors", count), count)
        kernel, bias = self._weights(noise)
        return self.operate_and_activate(inputs, kernel, bias)

    def _divided(self, inputs: Tensor, count: Tensor) -> Tensor:
        """Returns the outputs of a batch, whose part number k has member k.

        One operation for all: the factors multiply inputs and outputs. Those with a
        density are drawn anew for each example, as in the authors' code.
        """
        self._check_batch(inputs.shape[0])
        size = ops.shape(inputs)[0]
        members = ops.arange(size, dtype="int32") * self.members // size
        normal: list[Tensor] = [None, None]
        if self.has_divergence:
            seed = self.stream_seed("factors", count, by_example=True)
            normal = self._split(self._standard((size, self._noise_size), seed))
        rows = self.input_factors.take(members, normal[0])
        columns = self.output_factors.take(members, normal[1])
        outputs = self.operate(self._scaled(inputs, rows), self.shared_kernel)
        outputs = self._scaled(outputs, columns)
        if self.bias is None or not self.member_bias:
            return self.activate(outputs, self.bias)
        bias = ops.take(ops.convert_to_tensor(self.bias) + 0.0, members, axis=0)
        outputs = outputs + self._by_example(bias, outputs)
        return self.activate(outputs, None)

    def _check_batch(self, size: int | None) -> None:
        """Raises ValueError if the first batch cannot be divided among the members."""
        if self._checked_batch or size is None:
            return
        if size % self.members:
            raise ValueError(
                f"`members` must divide the batch of training, of which `batch="
                f'"divided"` gives each member an equal part. Received: members='
                f"{self.members}, a batch of {size} (layer '{self.name}')"
            )
        # The last batch of an epoch may be another one.
        self._checked_batch = True

    def _by_example(self, values: Tensor, like: Tensor) -> Tensor:
        """Returns (examples, channels) as what is broadcast to a tensor's shape."""
        shape = [1] * len(like.shape)
        shape[0], shape[self.channel_axis] = -1, values.shape[-1]
        return ops.reshape(ops.cast(values, like.dtype), shape)

    def _scaled(self, tensor: Tensor, factors: Tensor) -> Tensor:
        return tensor * self._by_example(factors, tensor)

    def _weights(self, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns kernel and bias of one member, by a noise."""
        rows: Tensor = None
        columns: Tensor = None
        if is_mean(noise):
            members = ops.zeros((1,), "int32")
        else:
            members = ops.cast(ops.convert_to_tensor(noise)[:1], "int32")
            if self.has_divergence:
                rows, columns = self._split(ops.convert_to_tensor(noise)[None, 1:])
        rows = self.input_factors.take(members, rows)
        columns = self.output_factors.take(members, columns)
        # (filters of a group or 1, channels of a group), for each filter its own.
        rows = ops.reshape(rows, (self._groups, self._kernel_shape[-2]))
        if self._groups > 1:
            rows = ops.repeat(rows, self._kernel_shape[-1] // self._groups, axis=0)
        kernel = self.shared_kernel * ops.transpose(rows) * columns
        if self.bias is None or not self.member_bias:
            return kernel, self.bias
        bias = ops.take(ops.convert_to_tensor(self.bias) + 0.0, members, axis=0)
        return kernel, ops.squeeze(bias, 0)

    @property
    def _noise_size(self) -> int:
        """How many numbers of a draw the factors of a member take."""
        return self.input_factors.size + self.output_factors.size

    def _split(self, noise: Tensor) -> list[Tensor]:
        # Not `ops.split`, which takes no places where torch looks for shapes alone.
        inputs = self.input_factors.size
        return [noise[..., :inputs], noise[..., inputs:]]

    def _standard(self, shape: Any, seed: StatelessSeed) -> Tensor:
        return DENSITIES[self.posterior].standard(shape, seed)

    def _fresh(self, seed: StatelessSeed, index: Tensor) -> Tensor:
        """Returns the noise of the member of a draw's number, in tensors."""
        member = ops.reshape(ops.cast(index, "int32") % self.members, (1,))
        member = ops.cast(member, "float32")
        if not self.has_divergence:
            return member
        return ops.concatenate([member, self._standard((self._noise_size,), seed)])

    def kl_divergence(self) -> Tensor:
        """Returns 1 / K sum_k KL(q_k || p) in nats, over all factors: a scalar.

        Raises:
            ValueError: for factors without a density.
        """
        if not self.has_divergence:
            raise ValueError(
                f"Layer '{self.name}' has no KL divergence: its factors are points. "
                f"Received: posterior={self.posterior!r}"
            )
        parts = self.input_factors, self.output_factors
        return sum(x.kl_divergence(self.prior_scale) for x in parts) / self.members

    def set_mean(self, kernel: Tensor, bias: Tensor | None = None) -> None:
        """Makes trained weights of a stock layer those of r = s = 1.

        All factors, or their locations, become 1; with a `factor_spread` that was
        given they stay as far from 1 as they are, without random signs.
        """
        self.shared_kernel.assign(kernel)
        for factors in (self.input_factors, self.output_factors):
            values = np.ones(factors.location.shape, "float32")
            if self.factor_spread is not None:
                values = ops.convert_to_numpy(factors.location)
                values = np.abs(values) if self.random_signs else values
            factors.location.assign(values)
        if self.bias is not None and bias is not None:
            self.bias.assign(np.broadcast_to(bias, self.bias.shape))

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the number of the draw's member, and what its factors are drawn by.

        (1,) without a density, else (1 + inputs + outputs,). Member `index` modulo
        `members`, in all layers of a draw.
        """
        if not self.is_random:
            return MEAN
        member = np.array([index % self.members], "float32")
        if not self.has_divergence:
            return member
        generator = np.random.default_rng(seed)
        normal = DENSITIES[self.posterior].standard_numpy(generator, self._noise_size)
        return np.concatenate([member, normal])

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns noise as `sample_noise`, in tensors."""
        if not self.is_random:
            return MEAN
        return self._fresh(StatelessSeed(seed, count), index)

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise of the only member's means, if there are these."""
        return MEAN if self.members == 1 and self.posterior != "cauchy" else None

    def point_weights(self, noise: Tensor) -> list:
        return self.with_bias(*self._weights(noise))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "posterior": self.posterior,
            "members": self.members,
            "batch": self.batch,
            "member_bias": self.member_bias,
            "factor_spread": self.factor_spread,
            "random_signs": self.random_signs,
            "prior_scale": self.prior_scale,
        }
