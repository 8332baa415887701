"""What the posterior asks of a layer with random weights, and the operations.

A layer is an operation plus a posterior over its kernel. The operation is a
stock Keras layer, inherited: its arguments, checks, shapes and config are
Keras'. The posterior is a class between the two that says where the kernel
comes from. `HyperConv2D` is `GeneratedKernel` over `ConvOperation` over
`keras.layers.Conv2D`, and nothing else.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_bool, check_positive_integer
from tfhyper.layers.live_config import live_config


class StochasticLayer:
    """A layer whose randomness a draw can fix.

    The posterior package knows layers through these methods alone.

    Example:

    >>> layer = tfhyper.layers.HyperDense(10)
    >>> layer.build((None, 64))
    >>> plain = layer.point_layer()
    >>> plain.build((None, 64))
    >>> plain.set_weights(layer.point_weights(layer.sample_noise(seed=0)))
    >>> plain(keras.ops.ones((2, 64))).shape
    (2, 10)
    """

    def sample_noise(self, seed: int) -> np.ndarray:
        """Draws what fixes this layer: a small array, the same for one `seed`.

        Args:
            seed: int, 0 <= seed < 2**31.

        Returns:
            An array, the noise that `point_weights` takes: the code z, or the
            seed of weight noise. Empty if the layer draws nothing.
        """
        raise NotImplementedError

    def point_layer(self) -> keras.Layer | None:
        """Returns the unbuilt stock layer that one draw turns this layer into.

        `None` for a layer that only makes codes for others. One whose noise
        differs from example to example is a `NoiseOfExamples`.
        """
        raise NotImplementedError

    def point_weights(self, noise: Any) -> list:
        """Returns the weights of `point_layer()` for one draw, in its order."""
        raise NotImplementedError

    def point_weights_of_draws(self, noises: Sequence) -> Iterator[list]:
        """Yields the `point_weights` of one noise after another.

        As if for each by itself, up to rounding. A layer that makes several kernels
        at once faster than one by one does so, some of them at a time.

        Args:
            noises: what `point_weights` takes, of each draw.
        """
        return map(self.point_weights, noises)

    def code_of(self, noise: np.ndarray) -> Any:
        """Returns what `point_weights` takes for a draw's noise of this layer.

        The noise itself, but for a layer that makes codes for others (without a
        `point_layer`) whose code holds more than noise: the `point_weights` of
        the layers that are called with the code then take what it gives.
        """
        return noise

    # Whether the noise is a seed of NumPy, which a traced function cannot draw from.
    noise_is_seed = False

    def fresh_noise(self, seed: Any, count: Any) -> Any:
        """Draws noise of the same distribution as `sample_noise`, in tensors.

        For functions that are traced: what `code_of` and `point_weights` take.

        Args:
            seed: int32 scalar tensor, 0 <= seed < 2**31.
            count: int32 scalar tensor, another one for each draw and layer.
        """
        noise = self.sample_noise(0)
        if noise.size:
            raise NotImplementedError(f"{type(self).__name__} has no `fresh_noise`.")
        return noise

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise that gives the posterior's mean; `None` if unknown."""
        return None


class StochasticKernel(StochasticLayer):
    """Common part of the layers whose kernel is drawn.

    Stands before an operation and a stock Keras layer in the bases of a class.
    The stock layer's `build` makes bias, checks and shapes as ever; its
    request for a kernel variable goes to `build_kernel` instead.
    """

    def __init__(self, *args, **kwargs):
        names = inspect.signature(self.point_class).parameters
        _check_stock_arguments({**dict(zip(names, args)), **kwargs})
        super().__init__(*args, **kwargs)
        # Noise and generator work in float32 whatever the policy; the finished
        # kernel is cast. Half the rounding error, at no cost that was seen.
        # The variables do not autocast, either: an outermost layer would cast them.
        self.autocast = False

    def build_kernel(self, shape: tuple[int, ...], **options):
        """Makes the variables that the kernel is drawn from.

        Args:
            shape: shape of the kernel of the stock layer.
            **options: what the stock layer would have passed to `add_weight`.

        Returns:
            A variable of that shape (the kernel's mean, say), or `None`.
        """
        raise NotImplementedError

    def add_weight(self, *args, name=None, **kwargs):
        kwargs = {**kwargs, "autocast": False}
        if name == "kernel":
            self._kernel_mean = self.build_kernel(*args, **kwargs)
            return self._kernel_mean
        return super().add_weight(*args, name=name, **kwargs)

    def set_mean(self, kernel, bias=None) -> None:
        """Makes trained weights of a stock layer the posterior's mean.

        Raises:
            ValueError: if no variable of the layer is the mean of its kernel.
        """
        if self._kernel_mean is None:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) has no mean kernel to "
                "keep trained weights in: use kits.hyper(mean_kernel=True)."
            )
        self._kernel_mean.assign(kernel)
        if self.bias is not None:
            self.bias.assign(bias)

    @property
    def kernel(self):
        """Raises: there is no one kernel to read."""
        raise AttributeError(
            f"{type(self).__name__} has no kernel of its own: each call draws one."
        )

    @kernel.setter
    def kernel(self, value):
        pass  # some stock layers set it in `build`

    def add_kernel_loss(self, kernel) -> None:
        """Adds the regularizer's term of a kernel made in this call, if any."""
        regularizer = getattr(self, f"{self.kernel_argument}_regularizer")
        if regularizer is not None:
            self.add_loss(regularizer(kernel))

    def operate_and_activate(self, inputs, kernel, bias=None):
        """Returns activation(operation(inputs, kernel) + bias)."""
        outputs = self.operate(self.to_compute_dtype(inputs), kernel)
        return self.activate(outputs, self.bias if bias is None else bias)

    def activate(self, outputs, bias):
        """Returns activation(outputs + bias), without the bias if it is `None`."""
        if bias is not None:
            bias = self.to_compute_dtype(bias)
            if self.channel_axis == 1:
                bias = ops.reshape(bias, (1, -1) + (1,) * self.rank)
            outputs = ops.add(outputs, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def to_compute_dtype(self, tensor):
        """Returns a tensor cast to the compute dtype of the layer's policy."""
        return ops.cast(tensor, self.compute_dtype)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in inputs and outputs: 1 or -1."""
        first = getattr(self, "data_format", None) == "channels_first"
        return 1 if first else -1

    def point_layer(self):
        return self.point_class.from_config(live_config(self, self.point_class))

    def with_bias(self, kernel, bias=None) -> list:
        """Returns the stock layer's weights: the kernel and, if any, the bias."""
        bias = self.bias if bias is None else bias
        return [kernel] if bias is None else [kernel, bias]

    # Some stock layers save their kernel by name, for LoRA and quantization.
    # What is saved here is every variable this layer has.
    def save_own_variables(self, store):
        keras.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.Layer.load_own_variables(self, store)

    def enable_lora(self, *args, **kwargs):
        raise ValueError(
            f"{type(self).__name__} draws its kernel: LoRA needs a fixed one."
        )

    def quantize(self, *args, **kwargs):
        raise ValueError(
            f"{type(self).__name__} draws its kernel and cannot be quantized. "
            "Quantize a network made by `PosteriorPredictor.materialize`."
        )


# What arguments whose names end so are made into.
_IDENTIFIERS = {
    "activation": keras.activations.get,
    "constraint": keras.constraints.get,
    "initializer": keras.initializers.get,
    "regularizer": keras.regularizers.get,
}
_SIZES = {"depth_multiplier", "filters", "groups"}
# A drawn kernel has neither.
_OF_FIXED_KERNELS = ("lora_alpha", "lora_rank", "quantization_config")


def _check_stock_arguments(options):
    """Raises ValueError for arguments that Keras takes as they are, or does not name.

    Args:
        options: what a stock layer is given, by name.
    """
    for name in _SIZES & set(options):
        check_positive_integer(name, options[name])
    if not isinstance(options.get("padding", ""), str):
        raise ValueError(
            "`padding` must be a name that Keras knows. "
            f"Received: padding={options['padding']!r}"
        )
    if "use_bias" in options:
        check_bool("use_bias", options["use_bias"])
    for name in _OF_FIXED_KERNELS:
        if options.get(name) is not None:
            raise ValueError(
                f"`{name}` must be None: the kernel is drawn, and LoRA and "
                f"quantization need a fixed one. Received: {name}={options[name]!r}"
            )
    for name, value in options.items():
        if name.rpartition("_")[2] in _IDENTIFIERS:
            known_to_keras(name, value)


def known_to_keras(name: str, value: Any) -> Any:
    """Returns what Keras makes of an activation, initializer, regularizer, constraint.

    Args:
        name: the argument's name, which ends in one of these words.
        value: what was given.

    Raises:
        ValueError: if Keras does not know it.
    """
    try:
        return _IDENTIFIERS[name.rpartition("_")[2]](value)
    except Exception as error:
        raise ValueError(
            f"`{name}` must be known to Keras: {error}. Received: {name}={value!r}"
        ) from error


def he_deviation(shape: tuple[int, ...]) -> float:
    """Returns sqrt(2 / fan_in), the deviation of He's kernel of a shape."""
    return math.sqrt(2.0 / math.prod(shape[:-1]))


class Operation:
    """What a layer does with its kernel: `operate(inputs, kernel)`.

    In the dtype of the inputs, which the kernel is cast to.
    """

    # The kernel's name in the arguments of the stock layer: kernel_initializer.
    kernel_argument = "kernel"


class ConvOperation(Operation):
    """The convolution of `keras.layers.Conv1D`, `Conv2D` and `Conv3D`."""

    def operate(self, inputs, kernel):
        padding = self.padding
        if padding == "causal":
            inputs = ops.pad(inputs, keras_private.causal_padding(self))
            padding = "valid"
        return ops.conv(
            inputs,
            ops.cast(kernel, inputs.dtype),
            strides=list(self.strides),
            padding=padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class DepthwiseConvOperation(Operation):
    """The convolution of `keras.layers.DepthwiseConv2D`."""

    kernel_argument = "depthwise"

    def operate(self, inputs, kernel):
        return ops.depthwise_conv(
            inputs,
            ops.cast(kernel, inputs.dtype),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class ConvTransposeOperation(Operation):
    """The convolution of `keras.layers.Conv2DTranspose`."""

    def operate(self, inputs, kernel):
        return ops.conv_transpose(
            inputs,
            ops.cast(kernel, inputs.dtype),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )


class DenseOperation(Operation):
    """The matrix product of `keras.layers.Dense`."""

    def operate(self, inputs, kernel):
        return ops.matmul(inputs, ops.cast(kernel, inputs.dtype))
