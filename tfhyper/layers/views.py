"""Views of an image: the same image, turned or moved, as layers without weights."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_choice, check_integer
from tfhyper.tensor_types import Shape, Tensor

FILLS = ("zeros", "reflect")


class _View(keras.layers.Layer):
    """Common part of the views: images in, images of the same shape out.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` for Keras' own.
        **kwargs: `keras.layers.Layer` arguments such as `name`.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if data_format is None:
            data_format = keras.config.image_data_format()
        formats = ("channels_last", "channels_first")
        check_choice("data_format", data_format, formats)
        self.data_format = data_format
        self.supports_masking = True

    @property
    def _rows(self) -> int:
        """The axis of the rows; that of the columns is the next."""
        return 1 if self.data_format == "channels_last" else 2

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                f"`{type(self).__name__}` needs images, of 4 axes with the batch. "
                f"Received: inputs.shape={tuple(input_shape)}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@keras.saving.register_keras_serializable("tfhyper")
class Flip(_View):
    """Images seen in a mirror: left and right change places.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` for Keras' own.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, rows, columns, channels), or with the channels first.

    Output shape:
        That of the input.

    Raises:
        ValueError: for another `data_format`, or inputs that are no images.

    Example:

    >>> image = keras.ops.reshape(keras.ops.arange(3), (1, 1, 3, 1))
    >>> [int(x) for x in tfhyper.layers.Flip()(image)[0, 0, :, 0]]
    [2, 1, 0]
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.flip(inputs, axis=self._rows + 1)


@keras.saving.register_keras_serializable("tfhyper")
class Shift(_View):
    """Images moved by whole pixels: what a shifted crop of a padded image is.

    Args:
        rows: int, pixels down; below zero, up.
        columns: int, pixels to the right; below zero, to the left.
        fill: what comes in at the edges: `"zeros"`, which are the mean colour of images
            that are normalised, or `"reflect"`.
        data_format: `"channels_last"` or `"channels_first"`; `None` for Keras' own.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        (batch, rows, columns, channels), or with the channels first.

    Output shape:
        That of the input.

    Raises:
        ValueError: for an argument out of range, inputs that are no images, or images
            that are moved by their size or more.

    Example:

    >>> image = keras.ops.reshape(keras.ops.arange(1, 4), (1, 1, 3, 1))
    >>> [int(x) for x in tfhyper.layers.Shift(0, 1)(image)[0, 0, :, 0]]
    [0, 1, 2]
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        fill: str = "zeros",
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(data_format, **kwargs)
        self.rows = check_integer("rows", rows, -(2**15), 2**15)
        self.columns = check_integer("columns", columns, -(2**15), 2**15)
        check_choice("fill", fill, FILLS)
        self.fill = fill

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for name, pixels, size in (
            ("rows", self.rows, input_shape[self._rows]),
            ("columns", self.columns, input_shape[self._rows + 1]),
        ):
            if size is not None and abs(pixels) >= size:
                raise ValueError(
                    f"`{name}` must be less than the image has. Received: "
                    f"{name}={pixels}, inputs.shape={tuple(input_shape)}"
                )

    def call(self, inputs: Tensor) -> Tensor:
        axis = self._rows
        padding = [(0, 0)] * 4
        crop = [slice(None)] * 4
        for i, pixels in ((axis, self.rows), (axis + 1, self.columns)):
            padding[i] = (max(pixels, 0), max(-pixels, 0))
            # As many as before, from the edge that the image moved away from.
            crop[i] = slice(None, -pixels) if pixels > 0 else slice(-pixels, None)
        mode = "constant" if self.fill == "zeros" else "reflect"
        return ops.pad(inputs, padding, mode=mode)[tuple(crop)]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rows": self.rows,
            "columns": self.columns,
            "fill": self.fill,
        }
