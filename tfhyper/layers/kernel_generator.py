"""The generator that the layers of a static hypernetwork share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_positive_integer
from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.roles import GENERATOR, give_role
from tfhyper.layers.stochastic import StochasticLayer, he_deviation
from tfhyper.tensor_types import Tensor

# Defaults of the layers' arguments, and of their kit's.
BLOCK = 16
EMBEDDING_UNITS = 64
HIDDEN_UNITS = 64


def as_pair(name: str, value: Any) -> tuple[int, int]:
    """Returns a positive int, or two of them, as two.

    Raises:
        ValueError: for anything else.
    """
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    try:
        first, second = (check_positive_integer(name, size) for size in pair)
        return first, second
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a positive integer or two of them. "
            f"Received: {name}={value!r}"
        ) from error


@keras.saving.register_keras_serializable("tfhyper")
class KernelGenerator(StochasticLayer, keras.layers.Layer):
    """The two-layer hypernetwork of Ha et al. (2016), from embeddings to kernels.

    Called on any tensor of the network (its value is not used), it gives its
    weights. Hand them to all `StaticHyperConv2D` layers of a network, and they
    share this one generator. It turns an embedding z, (embedding_units,), into a
    basic kernel, (height, width, channels, filters) for `block=(channels, filters)`:

        a_i                = z W_i + B_i                 i = 0 ... channels - 1
        kernel[y, x, i, o] = sum_d a_i[d] W_out[d, y, x, o] + B_out[y, x, o]

    with a_i in hidden_units dimensions and no activation between. W and W_out are
    normal, so that z ~ N(0, I) gives a kernel of He's deviation; biases start at 0.
    It has

        (embedding_units + 1) channels hidden_units
        + (hidden_units + 1) height width filters

    weights. It draws nothing.

    Args:
        kernel_size: int > 0 or two of them, height and width.
        block: int > 0 or two of them, channels and filters of a basic kernel.
        embedding_units: int > 0, size of z. The paper uses 4 to 64.
        hidden_units: int > 0, size of each a_i.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Call arguments:
        inputs: any tensor.

    Output shape:
        The list of W (embedding_units, channels, hidden_units), B (channels,
        hidden_units), W_out (hidden_units, height, width, filters) and B_out
        (height, width, filters), float32 whatever the dtype policy.

    Raises:
        ValueError: for sizes that are not positive integers.

    Example:

    >>> x = keras.Input((32, 32, 3))
    >>> generator = tfhyper.layers.KernelGenerator(3)(x)
    >>> y = tfhyper.layers.StaticHyperConv2D(16, 3)(x, generator)
    >>> tfhyper.layers.StaticHyperConv2D(32, 3)(y, generator).shape
    (None, 28, 28, 32)

    Reference:
        Ha, Dai, Le: HyperNetworks, arXiv 1609.09106, 2016, section 3.1.
    """

    noise_kind = NoiseKind.NONE

    def __init__(
        self,
        kernel_size: int | tuple[int, int] = 3,
        block: int | tuple[int, int] = BLOCK,
        embedding_units: int = EMBEDDING_UNITS,
        hidden_units: int = HIDDEN_UNITS,
        **kwargs: Any,
    ):
        # float32 even under a mixed policy, as the generators of Hyper layers.
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.kernel_size = as_pair("kernel_size", kernel_size)
        self.block = as_pair("block", block)
        self.embedding_units = check_positive_integer(
            "embedding_units", embedding_units
        )
        self.hidden_units = check_positive_integer("hidden_units", hidden_units)
        # Any tensor will do as input, integer images included.
        self.autocast = False

    def build(self, input_shape: Any) -> None:
        channels, filters = self.block
        # Two linear layers: the variances of their weights multiply.
        deviations = (
            self.embedding_units**-0.5,
            he_deviation((*self.kernel_size, *self.block)) * self.hidden_units**-0.5,
        )
        hidden = (self.embedding_units, channels, self.hidden_units)
        output = (self.hidden_units, *self.kernel_size, filters)
        self.parts = []
        for name, shape, deviation in zip(
            ("generator_hidden", "generator_output"),
            (hidden, output),
            deviations,
            strict=True,
        ):
            initializer = keras.initializers.RandomNormal(stddev=deviation)
            self.parts += [
                self.add_weight(shape, initializer=initializer, name=name),
                self.add_weight(shape[1:], initializer="zeros", name=f"{name}_bias"),
            ]
        give_role(GENERATOR, self.parts)

    def call(self, inputs: Tensor) -> Tensor:
        # They are copies: a variable's value could be given away with the outputs.
        return [ops.copy(part) for part in self.parts]

    def compute_output_spec(self, inputs: Tensor) -> Any:
        channels, filters = self.block
        hidden = (self.embedding_units, channels, self.hidden_units)
        output = (self.hidden_units, *self.kernel_size, filters)
        shapes = (hidden, hidden[1:], output, output[1:])
        return [keras.KerasTensor(shape, dtype="float32") for shape in shapes]

    def point_layer(self) -> None:
        return None

    def code_of(self, noise: np.ndarray) -> Tensor:
        return [ops.convert_to_tensor(part) for part in self.parts]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "kernel_size": self.kernel_size,
            "block": self.block,
            "embedding_units": self.embedding_units,
            "hidden_units": self.hidden_units,
        }
