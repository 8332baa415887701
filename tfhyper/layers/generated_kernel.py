"""The implicit posterior: a small network turns a random code into a kernel."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_bool, check_number, check_positive_integer
from tfhyper.layers.latent_code import LatentCode, Prior
from tfhyper.layers.moving_averages import warn_of_moving_averages
from tfhyper.layers.packed_product import packed_product
from tfhyper.layers.roles import GENERATOR, give_role
from tfhyper.layers.stochastic import StochasticKernel, he_deviation
from tfhyper.layers.stock_arguments import known_to_keras
from tfhyper.tensor_types import Tensor

# Defaults of the layers' arguments, and of their kit's.
HIDDEN_UNITS = 32
CODE_UNITS = 32
PRIOR: Prior = "uniform"
MEAN_KERNEL = True
DEVIATION_SCALE = 0.3
# How many bytes of kernels are generated in one product.
_PRODUCT_BYTES = 2**26


class GeneratedKernel(StochasticKernel):
    """Kernel = generator(z), z ~ p(z): the layers named Hyper*.

    With V the hidden and U the output weights of the generator,

        h(z)   = relu(z V)                    z: (1, code_units), h: (1, hidden_units)
        kernel = M + deviation_scale * reshape(h(z) U) / sqrt(hidden_units)
                                                              mean_kernel=True
        kernel = reshape(h(z) U)                              mean_kernel=False

    without biases, so that z cannot be ignored (Ukai et al., 2019, 4.1). V is
    initialised by He's method. U is uniform in +-0.1 sqrt(6 / hidden_units), a
    tenth of He's range, in the paper's form; beside a mean kernel it is normal
    with He's deviation for the kernel, sqrt(2 / fan_in), so that
    `deviation_scale` is about the size of the deviation over that of the mean.

    With a rank R the generator makes factors in place of a kernel, of the shape
    (..., inputs, outputs),

        a, b   = the parts of h(z) U / sqrt(hidden_units)    (R, inputs), (R, outputs)
        kernel = M (1 + deviation_scale * sum_j a_j b_j^T / sqrt(R))

    by the entry, the same at all places, U normal with the deviation 1. BatchEnsemble
    (Wen et al., 2020) and rank-1 BNNs (Dusenberry et al., 2020) multiply in this way;
    no source here adds generated factors, which would be the same at all places of a
    kernel, however large it is there.
    """

    kernel_description = "whose kernel is generated"
    # Whether, in training, the gradient of the output weights is packed for an
    # optimizer that asks for it: `tfhyper.training.use_fast_generator` lets it.
    packs_gradient: bool = False

    def __init__(
        self,
        *args: Any,
        hidden_units: int = HIDDEN_UNITS,
        code_units: int = CODE_UNITS,
        prior: Prior = PRIOR,
        seed: int | None = None,
        mean_kernel: bool = MEAN_KERNEL,
        deviation_scale: float = DEVIATION_SCALE,
        rank: int | None = None,
        generator_regularizer: str
        | dict[str, Any]
        | Callable[[Tensor], Tensor]
        | None = None,
        **kwargs: Any,
    ):
        kwargs.setdefault(f"{self.kernel_argument}_initializer", "he_normal")
        super().__init__(*args, **kwargs)
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)
        self.code_units = check_positive_integer("code_units", code_units)
        self.latent_code = LatentCode(code_units, prior, seed, name="latent_code")
        self.prior = self.latent_code.prior
        self.seed = self.latent_code.seed
        self.mean_kernel = check_bool("mean_kernel", mean_kernel)
        self.deviation_scale = check_number("deviation_scale", deviation_scale)
        # Not `rank`, which is another thing of a convolution.
        self.factor_rank = check_rank(rank, self.mean_kernel)
        self.generator_regularizer = known_to_keras(
            "generator_regularizer", generator_regularizer
        )
        constraint = getattr(self, f"{self.kernel_argument}_constraint")
        if constraint is not None and not self.mean_kernel:
            raise ValueError(
                f"`{self.kernel_argument}_constraint` needs a kernel that is a "
                "variable: give `mean_kernel=True`, or leave it out. Received: "
                f"{self.kernel_argument}_constraint={constraint!r}"
            )

    def build(self, inputs_shape: Any, code_shape: Any = None) -> None:
        if code_shape is None:
            # Only a layer that draws for itself owns a counter.
            self.latent_code.build(inputs_shape)
            self._generator_inputs = self.code_units
        else:
            self._generator_inputs = check_code_shape(code_shape)
        super().build(inputs_shape)
        self.built = True

    def build_kernel(self, shape: tuple[int, ...], **options: Any) -> Any:
        self.kernel_shape = tuple(shape)
        self.mean = None
        size = math.prod(shape)
        # Uniform in +-sqrt(3 scale / hidden_units): a tenth of He's range.
        output_initializer = keras.initializers.VarianceScaling(
            scale=2.0 * 0.1**2, mode="fan_in", distribution="uniform"
        )
        if self.mean_kernel:
            # The regularizer acts on the drawn kernel, in `call`.
            self.mean = keras.Layer.add_weight(
                self, shape, name="mean_kernel", **{**options, "regularizer": None}
            )
            deviation = he_deviation(shape)
            if self.factor_rank is not None:
                deviation, size = 1.0, self.factor_rank * sum(shape[-2:])
            output_initializer = keras.initializers.RandomNormal(stddev=deviation)
        self.generator_hidden, (self.generator_output,) = add_generator_weights(
            self,
            (self._generator_inputs, self.hidden_units),
            [(size, output_initializer, "generator_output")],
            self.generator_regularizer,
        )
        return self.mean

    def generate(self, code: Any) -> Any:
        """Returns the kernel for one code.

        Args:
            code: float tensor of shape (1, code_units).

        Returns:
            A tensor of the kernel's shape, in the dtype of the variables.
        """
        return self._generate(code, self.kernel_shape)

    def output_product(self, features: Any, training: bool = False) -> Any:
        """Returns h(z) U: the product of features with the output weights.

        Args:
            features: float tensor (number, hidden_units), of one code or several.
            training: whether a gradient may be taken of it, with one code, which is
                packed for those who ask if `packs_gradient`:
                `tfhyper.layers.packed_product`.

        Returns:
            A float tensor (number, kernel weights).
        """
        if training and self.packs_gradient:
            return packed_product(self.name, features, self.generator_output)
        return ops.matmul(features, self.generator_output)

    def _generate(
        self, codes: Any, shape: tuple[int, ...], training: bool = False
    ) -> Any:
        """Returns the kernels for codes (number, code_units), in a shape."""
        factors = self.factor_rank is not None
        scale = self.deviation_scale if self.mean_kernel and not factors else None
        features = hidden_features(codes, self.generator_hidden, scale)
        if self.factor_rank is not None:
            return ops.reshape(self._with_factors(features, self.factor_rank), shape)
        kernels = self.output_product(features, training)
        kernels = ops.reshape(kernels, shape)
        return ops.add(kernels, self.mean) if self.mean_kernel else kernels

    def _with_factors(self, features: Any, rank: int) -> Any:
        """Returns the kernels (number, ...) of features, the mean times factors."""
        count, ends = ops.shape(features)[0], self.kernel_shape[-2:]
        features = features / math.sqrt(self.hidden_units)
        factors = ops.matmul(features, self.generator_output)
        product = product_of_factors(factors, rank, *ends)
        scale = self.deviation_scale / math.sqrt(rank)
        places = (1,) * (len(self.kernel_shape) - 2)
        return self.mean * ops.reshape(1.0 + scale * product, (count, *places, *ends))

    @property
    def draw_multiply_adds(self) -> int:
        """Those of the generator's two products, and of that of factors."""
        matrices = (self.generator_hidden, self.generator_output)
        found = sum(math.prod(matrix.shape) for matrix in matrices)
        if self.factor_rank is None:
            return found
        product = self.factor_rank * math.prod(self.kernel_shape[-2:])
        return found + product + math.prod(self.kernel_shape)

    def call(self, inputs: Any, code: Any = None, training: bool | None = None) -> Any:
        if not training:
            warn_of_moving_averages(self)
        if code is None:
            if not self.latent_code.built:
                raise ValueError(
                    f"Layer '{self.name}' was built with a shared code and draws none "
                    "itself: call it with `code` again."
                )
            code = self.latent_code.next_code(training)
        check_code_shape(code.shape, self._generator_inputs)
        kernel = self._generate(code, self.kernel_shape, bool(training))
        self.add_kernel_loss(kernel)
        return self.operate_and_activate(inputs, kernel)

    def compute_output_shape(self, inputs_shape: Any, code_shape: Any = None) -> Any:
        return super().compute_output_shape(inputs_shape)

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        return self.latent_code.sample_noise(seed)

    def fresh_noise(self, seed: Any, count: Any, index: Any = 0) -> Any:
        return self.latent_code.fresh_noise(seed, count)

    def point_weights(self, noise: Any) -> list:
        return self.with_bias(self.generate(noise))

    def point_weights_of_draws(self, noises: Sequence) -> Iterator[list]:
        # The generator is read once for many draws: it is far larger than a kernel.
        count = max(1, _PRODUCT_BYTES // (4 * math.prod(self.kernel_shape)))
        for start in range(0, len(noises), count):
            some = noises[start : start + count]
            codes = ops.concatenate([ops.convert_to_tensor(x) for x in some])
            kernels = self._generate(codes, (len(some), *self.kernel_shape))
            yield from map(self.with_bias, ops.unstack(kernels, len(some)))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "hidden_units": self.hidden_units,
            "code_units": self.code_units,
            "prior": self.prior,
            "seed": self.seed,
            "mean_kernel": self.mean_kernel,
            "deviation_scale": self.deviation_scale,
            "rank": self.factor_rank,
            "generator_regularizer": keras.regularizers.serialize(
                self.generator_regularizer
            ),
        }


def check_rank(rank: int | None, mean_kernel: bool = True) -> int | None:
    """Returns the rank of factors, or `None` where whole kernels are generated."""
    if rank is None:
        return None
    if not mean_kernel:
        raise ValueError(
            "`rank` must be None without a mean kernel, which the factors multiply: "
            f"give `mean_kernel=True`. Received: rank={rank!r}, mean_kernel=False"
        )
    return check_positive_integer("rank", rank)


def add_generator_weights(
    layer: keras.layers.Layer,
    shape: tuple[int, int],
    outputs: Sequence[tuple[int, Any, str]],
    regularizer: Any = None,
) -> tuple[keras.Variable, list[keras.Variable]]:
    """Makes the weights of a generator in a layer.

    Args:
        layer: the layer.
        shape: the units of the code and the hidden ones.
        outputs: (size, initializer, name) of each matrix of output weights.
        regularizer: of all of them.

    Returns:
        The hidden weights V, of that shape, and the output weights U, (hidden_units,
        size) each.
    """
    add_weight = functools.partial(
        layer.add_weight, regularizer=regularizer, autocast=False
    )
    hidden = add_weight(shape, initializer="he_normal", name="generator_hidden")
    found = [
        add_weight((shape[1], size), initializer=initializer, name=name)
        for size, initializer, name in outputs
    ]
    give_role(GENERATOR, [hidden, *found])
    return hidden, found


def hidden_features(codes: Any, hidden: keras.Variable, scale: float | None) -> Any:
    """Returns h(z) = relu(z V), (number, hidden_units), of codes (number, code_units).

    Args:
        codes: float tensor or array.
        hidden: V.
        scale: `deviation_scale`, by which over sqrt(hidden_units) they are multiplied
            that go beside a mean; `None`: they are not.
    """
    features = ops.relu(ops.matmul(ops.cast(codes, hidden.dtype), hidden))
    if scale is None:
        return features
    return features * (scale / math.sqrt(hidden.shape[-1]))


def product_of_factors(factors: Tensor, rank: int, rows: int, columns: int) -> Tensor:
    """Returns sum_j a_j b_j^T, (number, rows, columns), of factors.

    Args:
        factors: a and b of some codes, one behind the other: (number, rank (rows +
            columns)).
        rank: how many a and b there are.
        rows: numbers of each a.
        columns: numbers of each b.
    """
    count, first = ops.shape(factors)[0], rank * rows
    a = ops.reshape(factors[:, :first], (count, rank, rows))
    b = ops.reshape(factors[:, first:], (count, rank, columns))
    return ops.matmul(ops.transpose(a, (0, 2, 1)), b)


def check_code_shape(shape: Any, units: int | None = None) -> int:
    """Returns the size of a code, or raises ValueError if it does not fit."""
    shape = tuple(shape)
    if len(shape) != 2 or shape[0] != 1 or shape[1] is None:
        raise ValueError(
            "`code` must have shape (1, units): one code for the whole batch. "
            f"Received: code.shape={shape}"
        )
    if units is not None and shape[1] != units:
        raise ValueError(
            f"`code` must have shape (1, {units}), as when the layer was built. "
            f"Received: code.shape={shape}"
        )
    return shape[1]
