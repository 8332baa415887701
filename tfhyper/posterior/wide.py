"""Values of a network that holds several copies of a tensor side by side."""

import dataclasses

import keras
from keras import ops

# Layers that treat every channel by itself, whatever their arguments.
_CHANNELWISE = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.ELU,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.Subtract,
)
# Those that do so where their channels are on the axis that is wide.
_CHANNELWISE_BY_FORMAT = (
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
)
# Activations of vectors; all others are of numbers.
_OF_VECTORS = {
    keras.activations.glu,
    keras.activations.log_softmax,
    keras.activations.softmax,
    keras.activations.sparsemax,
}


@dataclasses.dataclass
class Wide:
    """N copies of a tensor, one after the other along the axis of the channels.

    Attributes:
        tensor: all of them in one.
        copies: N.
        axis: 1 or -1.
    """

    tensor: object
    copies: int
    axis: int

    def split(self) -> list:
        """Returns the copies one by one."""
        if not hasattr(self, "_parts"):
            self._parts = ops.split(self.tensor, self.copies, axis=self.axis)
        return self._parts

    def mean(self, name: str):
        """Returns the mean of the copies."""
        return keras.layers.Average(name=name)(self.split())


def widen(x, copies: int, axis: int, name: str) -> Wide:
    """Returns a tensor, or what is wide already, so many times side by side."""
    if isinstance(x, Wide):
        return x
    join = keras.layers.Concatenate(axis=axis, name=name)
    return Wide(join([x] * copies), copies, axis)


def is_of_numbers(activation) -> bool:
    """Whether an activation treats every number by itself."""
    return activation not in _OF_VECTORS


def is_channelwise(layer, axis: int) -> bool:
    """Whether a layer, without weights, does with wide tensors what it is to do.

    Args:
        layer: a Keras layer or operation.
        axis: that of the channels, 1 or -1.
    """
    if type(layer) is keras.layers.Activation:
        return is_of_numbers(layer.activation)
    if type(layer) in _CHANNELWISE_BY_FORMAT:
        first = layer.data_format == "channels_first"
        return axis == (1 if first else -1)
    return type(layer) in _CHANNELWISE
