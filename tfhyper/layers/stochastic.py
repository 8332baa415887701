"""What the posterior asks of a layer with random weights.

A layer is an operation plus a posterior over its kernel. The operation is a
stock Keras layer, inherited: its arguments, checks, shapes and config are
Keras'. The posterior is a class between the two that says where the kernel
comes from. `HyperConv2D` is `GeneratedKernel` over `ConvOperation` over
`keras.layers.Conv2D`, and nothing else. The operations stand in `operations`.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.layers.former_methods import adapt_former_methods
from tfhyper.layers.live_config import live_config
from tfhyper.layers.mixin import LayerMixin
from tfhyper.layers.noise import MEAN, NoiseKind
from tfhyper.layers.stock_arguments import check_stock_arguments
from tfhyper.tensor_types import Tensor


class StochasticLayer(LayerMixin):
    """A layer whose randomness a draw can fix.

    The posterior package knows layers through these members alone. Two of them every
    such layer has: `point_layer` and `point_weights`. One that draws has `sample_noise`
    too; one that draws nothing has `noise_kind = NoiseKind.NONE` in its place.

    Attributes:
        noise_kind: `NoiseKind`, what the numbers of the layer's noise are.
        takes_all_arguments: whether the layer hands all arguments of its call on, and
            `point_layer()` takes them: another one has inputs, and perhaps a code.

    Example:

    >>> layer = tfhyper.layers.HyperDense(10)
    >>> layer.build((None, 64))
    >>> plain = layer.point_layer()
    >>> plain.build((None, 64))
    >>> plain.set_weights(layer.point_weights(layer.sample_noise(seed=0)))
    >>> plain(keras.ops.ones((2, 64))).shape
    (2, 10)
    """

    noise_kind: NoiseKind = NoiseKind.CODE
    takes_all_arguments: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adapt_former_methods(cls)

    @property
    def is_random(self) -> bool:
        """Whether one draw of the layer differs from another."""
        return self.noise_kind is not NoiseKind.NONE

    @property
    def distinct_draws(self) -> int | None:
        """How many draws of the layer differ, if it is so many and no more.

        Draw number `index` is that of `index` modulo this. `None`: there is no end.
        """
        return None

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Draws what fixes this layer in one draw of an ensemble: a small array.

        Most layers need `seed` alone. The others are for layers that act together, or
        whose posterior has members that are counted: the one for draw number `index`,
        say, is `index % members` in all layers.

        Args:
            seed: int, 0 <= seed < 2**31, of this layer in this draw: other layers and
                other draws have other seeds.
            index: int >= 0, the number of the draw, which its layers have in common.
            ensemble_seed: int, 0 <= ensemble_seed < 2**31, of the whole ensemble: what
                the layers of a draw share is a function of it and `index`.

        Returns:
            An array, the noise that `point_weights` takes: the same for the same
            arguments, of a shape that the layer alone decides.
        """
        if self.is_random:
            raise NotImplementedError(f"{type(self).__name__} has no `sample_noise`.")
        return MEAN

    def point_layer(self) -> keras.Layer | None:
        """Returns the unbuilt stock layer that one draw turns this layer into.

        `None` for a layer that only makes codes for others. One whose noise
        differs from example to example is a `NoiseOfExamples`.
        """
        raise NotImplementedError

    def point_weights(self, noise: Tensor) -> list:
        """Returns the weights of `point_layer()` for one draw, in its order.

        Args:
            noise: that of `sample_noise`, `fresh_noise` or `mean_noise`.
        """
        raise NotImplementedError

    def point_weights_of_draws(self, noises: Sequence) -> Iterator[list]:
        """Yields the `point_weights` of one noise after another.

        As if for each by itself, up to rounding. A layer that makes several kernels
        at once faster than one by one does so, some of them at a time.

        Args:
            noises: what `point_weights` takes, of each draw.
        """
        return map(self.point_weights, noises)

    def code_of(self, noise: np.ndarray) -> Tensor:
        """Returns what `point_weights` takes for a draw's noise of this layer.

        The noise itself, but for a layer that makes codes for others (without a
        `point_layer`) whose code holds more than noise: the `point_weights` of
        the layers that are called with the code then take what it gives.
        """
        return noise

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Draws noise of the same distribution as `sample_noise`, in tensors.

        For functions that are traced: what `code_of` and `point_weights` take. Of
        `NoiseKind.SEED` it is a key, `make_key(seed, count)`.

        Args:
            seed: int32 scalar tensor, 0 <= seed < 2**31, of all draws and layers.
            count: int32 scalar tensor, another one for each draw and layer.
            index: int32 scalar tensor, the number of the draw, which its layers have
                in common.
        """
        if self.is_random:
            raise NotImplementedError(f"{type(self).__name__} has no `fresh_noise`.")
        return MEAN

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise that gives the posterior's mean; `None` if unknown."""
        return None if self.is_random else MEAN


class StochasticKernel(StochasticLayer):
    """Common part of the layers whose kernel is drawn.

    Stands before an operation and a stock Keras layer in the bases of a class.
    The stock layer's `build` makes bias, checks and shapes as ever; its
    request for a kernel variable goes to `build_kernel` instead.

    Attributes:
        point_class: the stock layer's class, that of a network of one draw.
        kernel_description: what an error says of the kernel after the layer's name.
    """

    point_class: type[keras.Layer]
    kernel_description: str = "whose kernel is drawn"

    def __init__(self, *args: Any, **kwargs: Any):
        names = inspect.signature(self.point_class).parameters
        check_stock_arguments({**dict(zip(names, args)), **kwargs})
        super().__init__(*args, **kwargs)
        # Noise and generator work in float32 whatever the policy; the finished
        # kernel is cast. Half the rounding error, at no cost that was seen.
        # The variables do not autocast, either: an outermost layer would cast them.
        self.autocast = False

    def build_kernel(self, shape: tuple[int, ...], **options: Any) -> Any:
        """Makes the variables that the kernel is drawn from.

        Args:
            shape: shape of the kernel of the stock layer.
            **options: what the stock layer would have passed to `add_weight`.

        Returns:
            A variable of that shape (the kernel's mean, say), or `None`.
        """
        raise NotImplementedError

    def add_weight(
        self, *args: Any, name: str | None = None, **kwargs: Any
    ) -> keras.Variable:
        kwargs = {**kwargs, "autocast": False}
        if name == "kernel":
            self._kernel_mean = self.build_kernel(*args, **kwargs)
            return self._kernel_mean
        return super().add_weight(*args, name=name, **kwargs)

    def set_mean(self, kernel: Tensor, bias: Tensor | None = None) -> None:
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
    def kernel(self) -> keras.Variable:
        """Raises: there is no one kernel to read."""
        raise AttributeError(
            f"{type(self).__name__} has no kernel of its own: each call draws one."
        )

    @kernel.setter
    def kernel(self, value: keras.Variable) -> None:
        pass  # some stock layers set it in `build`

    @property
    def draw_multiply_adds(self) -> int | None:
        """Multiply-adds of drawing one kernel; `None` if nobody has counted them."""
        return None

    def add_kernel_loss(self, kernel: Tensor) -> None:
        """Adds the regularizer's term of a kernel made in this call, if any."""
        regularizer = getattr(self, f"{self.kernel_argument}_regularizer")
        if regularizer is not None:
            self.add_loss(regularizer(kernel))

    def operate_and_activate(
        self, inputs: Tensor, kernel: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Returns activation(operation(inputs, kernel) + bias)."""
        outputs = self.operate(self.to_compute_dtype(inputs), kernel)
        return self.activate(outputs, self.bias if bias is None else bias)

    def activate(self, outputs: Tensor, bias: Tensor) -> Tensor:
        """Returns activation(outputs + bias), without the bias if it is `None`."""
        if bias is not None:
            bias = self.to_compute_dtype(bias)
            if self.channel_axis == 1:
                bias = ops.reshape(bias, (1, -1) + (1,) * self.rank)
            outputs = ops.add(outputs, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def to_compute_dtype(self, tensor: Tensor) -> Tensor:
        """Returns a tensor cast to the compute dtype of the layer's policy."""
        return ops.cast(tensor, self.compute_dtype)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in inputs and outputs: 1 or -1."""
        first = getattr(self, "data_format", None) == "channels_first"
        return 1 if first else -1

    def point_layer(self) -> keras.Layer:
        return self.point_class.from_config(live_config(self, self.point_class))

    def with_bias(self, kernel: Tensor, bias: Tensor | None = None) -> list:
        """Returns the stock layer's weights: the kernel and, if any, the bias."""
        bias = self.bias if bias is None else bias
        return [kernel] if bias is None else [kernel, bias]

    # Some stock layers save their kernel by name, for LoRA and quantization.
    # What is saved here is every variable this layer has.
    def save_own_variables(self, store: Any) -> None:
        keras.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        keras.Layer.load_own_variables(self, store)

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            f"{type(self).__name__} draws its kernel: LoRA needs a fixed one."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            f"{type(self).__name__} draws its kernel and cannot be quantized. "
            "Quantize a network made by `PosteriorPredictor.materialize`."
        )


def he_deviation(shape: tuple[int, ...]) -> float:
    """Returns sqrt(2 / fan_in), the deviation of He's kernel of a shape."""
    return math.sqrt(2.0 / math.prod(shape[:-1]))
