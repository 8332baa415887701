"""Channels that become pixels: the last step of networks that enlarge pictures."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_positive_integer
from tfhyper.tensor_types import Shape, Tensor


@keras.saving.register_keras_serializable("tfhyper")
class PixelShuffle(keras.layers.Layer):
    """Sub-pixel shuffle: each pixel's channels become a square of pixels.

        y[r scale + i, c scale + j, k] = x[r, c, (i scale + j) channels + k]

    with `channels` those of y, and i and j from 0 to scale - 1: the order of
    `tf.nn.depth_to_space`. A convolution before it, with scale^2 channels times as
    many filters, is the sub-pixel convolution of the reference. It has no weights, and
    keeps the dtype policy's compute dtype.

    Args:
        scale: int > 0, pixels along a side of the square.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, rows, columns, scale^2 channels). Channels come last; rows and columns
        may be `None`, any number.

    Output shape:
        (batch, scale rows, scale columns, channels).

    Raises:
        ValueError: for a scale that is not a positive int, or inputs of another shape.

    Example:

    >>> layer = tfhyper.layers.PixelShuffle(2)
    >>> y = layer(keras.ops.array([[[[1.0, 2.0, 3.0, 4.0]]]]))
    >>> [[float(x) for x in row] for row in y[0, :, :, 0]]
    [[1.0, 2.0], [3.0, 4.0]]

    Reference:
        Shi et al.: Real-time single image and video super-resolution using an
        efficient sub-pixel convolutional neural network, CVPR 2016, equation 4, whose
        order of the channels is another one.
    """

    def __init__(self, scale: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = check_positive_integer("scale", scale)

    def build(self, input_shape: Any) -> None:
        """Checks the axes."""
        channels = input_shape[-1] if len(input_shape) == 4 else None
        if channels is None or channels % self.scale**2:
            raise ValueError(
                "`PixelShuffle` must be called on (batch, rows, columns, channels), "
                f"where {self.scale**2} divides the channels. Received: inputs of the "
                f"shape {tuple(input_shape)}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the larger picture."""
        return pixel_shuffle(inputs, self.scale)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Returns the shape of the larger picture."""
        batch, *sizes, channels = input_shape
        rows, columns = (None if n is None else n * self.scale for n in sizes)
        return (batch, rows, columns, channels // self.scale**2)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        return {**super().get_config(), "scale": self.scale}


def pixel_shuffle(x: Tensor, scale: int) -> Tensor:
    """Returns what `PixelShuffle(scale)` gives, of a tensor."""
    # No more axes than four: what runs on small devices has no more than five.
    _, rows, columns, channels = ops.shape(x)
    x = ops.reshape(x, (-1, columns, scale, channels // scale))
    x = ops.transpose(x, (0, 2, 1, 3))
    size = (rows * scale, columns * scale, channels // scale**2)
    return ops.reshape(x, (-1, *size))
