"""The operations: what a layer does with its kernel, however that is drawn."""

from keras import ops

from tfhyper import keras_private
from tfhyper.layers.mixin import LayerMixin
from tfhyper.tensor_types import Tensor


class Operation(LayerMixin):
    """What a layer does with its kernel, before the bias and the activation.

    Stands between a posterior and the stock Keras layer whose operation it is, and
    reads strides, padding and the like from that layer.
    """

    # What the arguments of the stock layer call the kernel: kernel_initializer.
    kernel_argument = "kernel"

    def operate(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Returns the operation's outputs for one kernel.

        Args:
            inputs: tensor, as the stock layer takes it.
            kernel: tensor of the kernel's shape, which is cast to the inputs' dtype.
        """
        raise NotImplementedError


class ConvOperation(Operation):
    """The convolution of `keras.layers.Conv1D`, `Conv2D` and `Conv3D`."""

    def operate(self, inputs: Tensor, kernel: Tensor) -> Tensor:
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

    def operate(self, inputs: Tensor, kernel: Tensor) -> Tensor:
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

    def operate(self, inputs: Tensor, kernel: Tensor) -> Tensor:
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

    def operate(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        return ops.matmul(inputs, ops.cast(kernel, inputs.dtype))
