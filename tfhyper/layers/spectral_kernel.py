"""Kernels whose operator norm is bounded: spectral normalization."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.tensor_types import Tensor

# Defaults of the layers' arguments.
NORM_BOUND = 0.95
POWER_ITERATIONS = 1
# Of an axis whose size is not known: the norm of longer ones is little above.
_UNKNOWN_SIZE = 32
# Where a trained kernel is put in, the vector starts far from the right one.
_ITERATIONS_TO_SETTLE = 30
_TINY = 1e-12


class SpectralKernel(StochasticKernel):
    """Kernel W min(1, c / sigma), sigma the largest singular value: layers Spectral*.

    sigma is that of the layer's linear map, from inputs to outputs before the bias: of
    `keras.layers.Dense` of the kernel itself, of a convolution of the convolution, with
    its strides, padding, dilation, groups and the size of its inputs (Gouk et al.,
    2021), and not of the kernel reshaped into a matrix. Power iteration finds it:

        u = W v / |W v|,    v = W^T u / |W^T u|,    sigma = |W v|

    `power_iterations` times at each call in training, from the vector v of the call
    before, which is a variable. Outside of training the stored one counts. The
    gradient goes through sigma, where v is a constant (Miyato et al., 2018).

    It draws nothing: in a draw it is a stock layer with the bounded kernel.
    """

    noise_kind = NoiseKind.NONE
    kernel_description = "whose kernel has a bounded norm"

    def __init__(
        self,
        *args: Any,
        norm_bound: float = NORM_BOUND,
        power_iterations: int = POWER_ITERATIONS,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.norm_bound = check_number("norm_bound", norm_bound, positive=True)
        self.power_iterations = check_positive_integer(
            "power_iterations", power_iterations
        )

    def build(self, input_shape: Any) -> None:
        """Makes the kernel and the vector of the power iteration."""
        self._map = self.linear_map(tuple(input_shape))
        super().build(input_shape)
        self.built = True

    def build_kernel(self, shape: tuple[int, ...], **options: Any) -> Any:
        """Makes the kernel W, as the stock layer would, and v."""
        kernel = keras.Layer.add_weight(self, shape, name="kernel", **options)
        self.singular_vector = keras.Layer.add_weight(
            self,
            self._map.input_shape,
            initializer="random_normal",
            trainable=False,
            autocast=False,
            # All replicas have the same kernel, and find the same.
            aggregation="only_first_replica",
            name="singular_vector",
        )
        return kernel

    def linear_map(self, input_shape: tuple[int | None, ...]) -> "DenseMap | ConvMap":
        """Returns the map from inputs to outputs, of one example."""
        if hasattr(self, "strides"):
            return ConvMap(self, input_shape)
        return DenseMap(input_shape)

    def set_mean(self, kernel: Tensor, bias: Tensor | None = None) -> None:
        """Takes trained weights of a stock layer, whose kernel is then bounded."""
        super().set_mean(kernel, bias)
        self.update_norm(_ITERATIONS_TO_SETTLE)

    def update_norm(self, iterations: int = 1) -> None:
        """Goes on with the power iteration, as training does.

        For a kernel that was set by hand. Each iteration brings sigma nearer to the
        largest singular value, from below.

        Args:
            iterations: int > 0.

        Raises:
            ValueError: if it is not.
        """
        check_positive_integer("iterations", iterations)
        self.singular_vector.assign(self._iterate(iterations))

    def norm(self) -> Tensor:
        """Returns sigma, the norm of the kernel W before it is bounded: a scalar."""
        vector = _unit(ops.convert_to_tensor(self.singular_vector))
        return self._norm_of(vector)

    @property
    def kernel(self) -> Tensor:
        """The bounded kernel: what the layer's operation takes."""
        return self._bounded(self.norm())

    @kernel.setter
    def kernel(self, value: keras.Variable) -> None:
        pass  # some stock layers set it in `build`

    def _iterate(self, iterations: int) -> Tensor:
        kernel = ops.stop_gradient(ops.convert_to_tensor(self._kernel_mean))
        vector = _unit(ops.convert_to_tensor(self.singular_vector))
        for _ in range(iterations):
            image = _unit(self._map.forward(vector, kernel))
            vector = _unit(self._map.adjoint(image, kernel))
        return ops.stop_gradient(vector)

    def _norm_of(self, vector: Tensor) -> Tensor:
        image = self._map.forward(vector, ops.convert_to_tensor(self._kernel_mean))
        return ops.sqrt(ops.sum(ops.square(image)) + _TINY)

    def _bounded(self, norm: Tensor) -> Tensor:
        return self._kernel_mean * ops.minimum(1.0, self.norm_bound / norm)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns the outputs of the stock layer with the bounded kernel."""
        if not training:
            return self.operate_and_activate(inputs, self.kernel)
        vector = self._iterate(self.power_iterations)
        self.singular_vector.assign(vector)
        return self.operate_and_activate(inputs, self._bounded(self._norm_of(vector)))

    def point_weights(self, noise: Tensor) -> list:
        """Returns the bounded kernel and the bias, the same for all draws."""
        return self.with_bias(self.kernel)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "norm_bound": self.norm_bound,
            "power_iterations": self.power_iterations,
        }


class DenseMap:
    """x -> x W, the linear map of `keras.layers.Dense`.

    Args:
        input_shape: shape of the layer's inputs.

    Attributes:
        input_shape: of the vectors that it takes, (1, features).
    """

    def __init__(self, input_shape: tuple[int | None, ...]):
        self.input_shape = (1, input_shape[-1])

    def forward(self, vector: Tensor, kernel: Tensor) -> Tensor:
        """Returns x W."""
        return ops.matmul(vector, kernel)

    def adjoint(self, image: Tensor, kernel: Tensor) -> Tensor:
        """Returns y W^T."""
        return ops.matmul(image, ops.transpose(kernel))


class ConvMap:
    """The linear map of a convolution of 1, 2 or 3 dimensions, of one example.

    It works channels last, whatever the layer's format: the norm is the same.

    Args:
        layer: `keras.layers.Conv1D`, `Conv2D` or `Conv3D`.
        input_shape: shape of its inputs.

    Attributes:
        input_shape: of the vectors that it takes, (1, ..., channels).
    """

    def __init__(self, layer: keras.Layer, input_shape: tuple[int | None, ...]):
        first = layer.data_format == "channels_first"
        *sizes, channels = (
            [*input_shape[2:], input_shape[1]] if first else [*input_shape[1:]]
        )
        self._strides = tuple(layer.strides)
        self._dilation = tuple(layer.dilation_rate)
        self._groups = layer.groups
        self._reach = [
            dilation * (size - 1) + 1
            for size, dilation in zip(layer.kernel_size, self._dilation, strict=True)
        ]
        known = zip(sizes, self._reach, strict=True)
        self._sizes = [
            max(_UNKNOWN_SIZE, reach) if size is None else size for size, reach in known
        ]
        self._pads = [
            _pads(layer.padding, *axis)
            for axis in zip(self._sizes, self._reach, self._strides, strict=True)
        ]
        self.input_shape = (1, *self._sizes, channels)

    def forward(self, vector: Tensor, kernel: Tensor) -> Tensor:
        """Returns the convolution of (1, ..., channels)."""
        padded = ops.pad(vector, [(0, 0), *self._pads, (0, 0)])
        return self._valid(padded, kernel, self._strides)

    def adjoint(self, image: Tensor, kernel: Tensor) -> Tensor:
        """Returns the adjoint map of (1, ..., filters): the map's gradient."""
        pads, crops = [], [slice(None)]
        for axis, stride in enumerate(self._strides, 1):
            low, high = self._pads[axis - 1]
            size, reach = self._sizes[axis - 1], self._reach[axis - 1]
            image = _spread(image, axis, stride)
            # What is left over at the end, where strides do not come out even.
            rest = low + size + high - (image.shape[axis] - 1 + reach)
            pads.append((reach - 1, reach - 1 + rest))
            crops.append(slice(low, low + size))
        image = ops.pad(image, [(0, 0), *pads, (0, 0)])
        ones = (1,) * len(self._strides)
        return self._valid(image, self._transposed(kernel), ones)[tuple(crops)]

    def _valid(self, x: Tensor, kernel: Tensor, strides: Sequence[int]) -> Tensor:
        return ops.conv(
            x,
            kernel,
            strides=list(strides),
            padding="valid",
            dilation_rate=self._dilation,
            data_format="channels_last",
        )

    def _transposed(self, kernel: Tensor) -> Tensor:
        """Returns the kernel flipped, from filters to the channels of each group."""
        *size, channels, filters = kernel.shape
        rank, groups = len(size), self._groups
        kernel = ops.flip(kernel, tuple(range(rank)))
        parts = ops.reshape(kernel, (*size, channels, groups, filters // groups))
        parts = ops.transpose(parts, (*range(rank), rank + 2, rank + 1, rank))
        return ops.reshape(parts, (*size, filters // groups, groups * channels))


def _pads(padding: str, size: int, reach: int, stride: int) -> tuple[int, int]:
    """Returns the zeros before and after an axis."""
    if padding == "causal":
        return reach - 1, 0
    if padding != "same":
        return 0, 0
    both = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return both // 2, both - both // 2


def _spread(x: Tensor, axis: int, stride: int) -> Tensor:
    """Returns a tensor with stride - 1 zeros between the entries of an axis."""
    if stride == 1:
        return x
    shape = list(x.shape)
    pads = [(0, 0)] * (len(shape) + 1)
    pads[axis + 1] = (0, stride - 1)
    x = ops.pad(ops.expand_dims(x, axis + 1), pads)
    size = shape[axis] * stride
    x = ops.reshape(x, (*shape[:axis], size, *shape[axis + 1 :]))
    return x[(slice(None),) * axis + (slice(0, size - stride + 1),)]


def _unit(vector: Tensor) -> Tensor:
    """Returns a tensor divided by its Euclidean norm."""
    return vector / ops.sqrt(ops.sum(ops.square(vector)) + _TINY)
