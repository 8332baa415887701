"""2D convolution whose kernel a shared generator makes of embeddings."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.operations import ConvOperation
from tfhyper.layers.roles import GENERATOR, give_role
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class StaticHyperConv2D(StochasticKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution of the static hypernetwork of Ha et al. (2016).

    As `keras.layers.Conv2D`, but called with the weights of a `KernelGenerator`,
    which all such layers of a network share: `layer(x, generator(x))`. Its own
    weights are the bias and embeddings z ~ N(0, block_channels / channels) at the
    start, one for each basic kernel of (block_channels, block_filters). They lie
    side by side in rows over the channels and columns over the filters,

        rows    = ceil(channels / block_channels)
        columns = ceil(filters / block_filters)

    and what is over at the end of both is cropped: sizes that a block divides
    use their embeddings best. The deviation of the embeddings gives the kernel
    He's for its own number of channels.

    It draws nothing: a `tfhyper.PosteriorPredictor` makes one `keras.layers.Conv2D`
    of it. A trained kernel cannot be put into it.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`: filters,
            kernel_size, strides, padding, dilation_rate, groups, data_format,
            activation, use_bias, initializers, regularizers, constraints.
            `kernel_regularizer` acts on the kernel that was generated.
            `kernel_initializer` has no use; a `kernel_constraint` is refused.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        code: the list of tensors that a `KernelGenerator` of the same
            `kernel_size` gives.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: without a generator's weights, for a generator of another
            kernel size, or a `kernel_constraint`.

    Example:

    >>> inputs = keras.Input((28, 28, 1))
    >>> generator = tfhyper.layers.KernelGenerator(3, block=8)(inputs)
    >>> x = tfhyper.layers.StaticHyperConv2D(16, 3)(inputs, generator)
    >>> tfhyper.layers.StaticHyperConv2D(32, 3)(x, generator).shape
    (None, 24, 24, 32)

    Reference:
        Ha, Dai, Le: HyperNetworks, arXiv 1609.09106, 2016, sections 3.1 and 4.1.
    """

    point_class = keras.layers.Conv2D
    noise_kind = NoiseKind.NONE
    kernel_description = "whose kernel is generated"

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.kernel_constraint is not None:
            raise ValueError(
                "`kernel_constraint` needs a kernel that is a variable: leave it out. "
                f"Received: kernel_constraint={self.kernel_constraint!r}"
            )

    def build(self, inputs_shape: Any, code_shape: Any = None) -> None:
        self._code_shapes = self._check_code_shapes(code_shape)
        super().build(inputs_shape)
        self.built = True

    def build_kernel(self, shape: tuple[int, ...], **options: Any) -> Any:
        (units, channels, _), _, (*_, filters), _ = self._code_shapes
        self.kernel_shape = tuple(shape)
        self.grid = -(-shape[-2] // channels), -(-shape[-1] // filters)
        deviation = (channels / shape[-2]) ** 0.5
        self.embeddings = self.add_weight(
            (*self.grid, units),
            initializer=keras.initializers.RandomNormal(stddev=deviation),
            name="generator_embeddings",
        )
        give_role(GENERATOR, [self.embeddings])

    def generate(self, code: Tensor) -> Tensor:
        """Returns the kernel for a generator's weights."""
        hidden, hidden_bias, output, output_bias = code
        features = ops.einsum("rcz,zid->rcid", self.embeddings, hidden) + hidden_bias
        # From (row, column, channel, y, x, filter) to (y, x, channels, filters).
        blocks = ops.tensordot(features, output, 1) + output_bias
        rows, columns, channels, height, width, filters = blocks.shape
        kernel = ops.reshape(
            ops.transpose(blocks, (3, 4, 0, 2, 1, 5)),
            (height, width, rows * channels, columns * filters),
        )
        return kernel[:, :, : self.kernel_shape[-2], : self.kernel_shape[-1]]

    def call(self, inputs: Tensor, code: Sequence[Tensor] | None = None) -> Tensor:
        self._check_code_shapes(None if code is None else [x.shape for x in code])
        kernel = self.generate([ops.cast(x, self.variable_dtype) for x in code or ()])
        self.add_kernel_loss(kernel)
        return self.operate_and_activate(inputs, kernel)

    def _check_code_shapes(self, shapes: Any) -> list[tuple[int, ...]]:
        shapes = [] if shapes is None else [tuple(shape) for shape in shapes]
        if [len(shape) for shape in shapes] != [3, 2, 4, 3]:
            raise ValueError(
                f"Layer '{self.name}' must be called with the weights of a "
                "tfhyper.layers.KernelGenerator: layer(x, generator(x)). Received: "
                f"tensors of shapes {shapes}"
            )
        if shapes[2][1:3] != tuple(self.kernel_size):
            raise ValueError(
                f"The generator of layer '{self.name}' must have kernel_size="
                f"{tuple(self.kernel_size)}. Received: kernel_size={shapes[2][1:3]}"
            )
        if shapes != getattr(self, "_code_shapes", shapes):
            raise ValueError(
                f"The generator of layer '{self.name}' must have weights of shapes "
                f"{self._code_shapes}, as when it was built. Received: {shapes}"
            )
        return shapes

    def compute_output_shape(self, inputs_shape: Any, code_shape: Any = None) -> Any:
        return super().compute_output_shape(inputs_shape)

    def point_weights(self, noise: Tensor) -> list:
        # Not noise of its own: `KernelGenerator.code_of` says what is here.
        return self.with_bias(self.generate(noise))
