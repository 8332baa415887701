"""Bicubic enlargement, the same on every backend and in every exported file."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_integer
from tfhyper.layers.full_precision import full_precision
from tfhyper.layers.pixel_shuffle import pixel_shuffle
from tfhyper.tensor_types import Shape, Tensor

# Keys' parameter, that of Pillow and MATLAB; of OpenCV and Torch it is -0.75.
_A = -0.5
# Pixels to each side whose value counts.
_RADIUS = 2


@keras.saving.register_keras_serializable("tfhyper")
class BicubicUpsampling2D(keras.layers.Layer):
    """Bicubic interpolation to `scale` times as many rows and columns.

    A pixel of the enlarged picture lies at p = (i + 1/2) / scale - 1/2 among the rows
    (and columns) of the small one, and is

        y(p) = sum_k w(p - k) x[k] / sum_k w(p - k)

    over the rows k that there are, with Keys' kernel

        w(t) = 3/2 |t|^3 - 5/2 |t|^2 + 1                for |t| <= 1
        w(t) = -1/2 |t|^3 + 5/2 |t|^2 - 4 |t| + 2       for 1 < |t| < 2

    as `PIL.Image.resize` with `BICUBIC` has it. Backends of Keras differ in this, in
    kernel and edges: here one convolution gives the same in all. It has no weights,
    and computes in float32 under a policy of mixed precision, where a float16 could
    not tell the grey values of 8 bits apart.

    Args:
        scale: int > 1, how many times as many rows and columns.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, rows, columns, channels). Channels come last; rows and columns may be
        `None`, any number.

    Output shape:
        (batch, scale rows, scale columns, channels).

    Raises:
        ValueError: for a scale that is not an int above 1, or inputs of another shape.

    Example:

    >>> layer = tfhyper.layers.BicubicUpsampling2D(2)
    >>> y = layer(keras.ops.array([0.0, 1.0, 0.0])[None, :, None, None])
    >>> y.shape
    (1, 6, 2, 1)
    >>> round(float(y[0, 2, 0, 0]), 3)
    0.847

    Reference:
        Keys: Cubic convolution interpolation for digital image processing, IEEE
        Transactions on Acoustics, Speech, and Signal Processing 29(6), 1981, eq. 15.
    """

    def __init__(self, scale: int = 2, **kwargs: Any):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = full_precision()
        super().__init__(**kwargs)
        self.scale = check_integer("scale", scale, 2)

    def build(self, input_shape: Any) -> None:
        """Checks the axes."""
        if len(input_shape) != 4 or input_shape[-1] is None:
            raise ValueError(
                "`BicubicUpsampling2D` must be called on (batch, rows, columns, "
                f"channels). Received: inputs of the shape {tuple(input_shape)}"
            )
        self._kernel = _kernel(self.scale, input_shape[-1])

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the larger picture."""
        kernel = ops.cast(ops.convert_to_tensor(self._kernel), inputs.dtype)

        def weighted(x: Tensor) -> Tensor:
            return ops.conv(x, kernel, 1, "same", data_format="channels_last")

        # Beyond the edge there is nothing: its weights are none of the sum either.
        found = weighted(inputs) / weighted(ops.ones_like(inputs))
        return pixel_shuffle(found, self.scale)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Returns the shape of the larger picture."""
        batch, *sizes, channels = input_shape
        rows, columns = (None if n is None else n * self.scale for n in sizes)
        return (batch, rows, columns, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        return {**super().get_config(), "scale": self.scale}


def _kernel(scale: int, channels: int) -> np.ndarray:
    """Returns (5, 5, channels, scale^2 channels), in the order of `PixelShuffle`."""
    # Row by place within a pixel, column by the neighbour.
    centres = (np.arange(scale) + 0.5) / scale - 0.5
    t = np.abs(centres[:, None] - np.arange(-_RADIUS, _RADIUS + 1))
    near = (_A + 2) * t**3 - (_A + 3) * t**2 + 1
    far = _A * (t**3 - 5 * t**2 + 8 * t - 4)
    weights = np.where(t <= 1, near, np.where(t < 2, far, 0))
    kernel = np.einsum("ia,jb,kl->abkijl", weights, weights, np.eye(channels))
    size = 2 * _RADIUS + 1
    return kernel.reshape(size, size, channels, -1).astype("float32")
