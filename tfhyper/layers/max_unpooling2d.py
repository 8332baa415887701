"""The way back through max pooling: each value to where its maximum was."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_positive_integer
from tfhyper.tensor_types import Shape, Tensor


@keras.saving.register_keras_serializable("tfhyper")
class MaxUnpooling2D(keras.layers.Layer):
    """Max-unpooling: each value goes to where max pooling took its maximum from.

    Called on `[values, pooled]`, where `pooled` is what
    `keras.layers.MaxPooling2D(pool_size)` was called on, and `values` has the size of
    what that gave. In each window and channel

        y[i] = value   if i is the first place of the maximum of `pooled`
        y[i] = 0       elsewhere

    Places are counted row by row, so that of equal maxima the first one counts, as in
    `tf.nn.max_pool_with_argmax`. It has no weights, and the gradient reaches `values`
    alone.

    Args:
        pool_size: int > 0, or two of them, (rows, columns): the window and the strides
            of the pooling.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        Two of (batch, rows, columns, channels), the second of pool_size times the rows
        and columns of the first. Channels come last.

    Output shape:
        That of the second.

    Raises:
        ValueError: for sizes that are not positive ints, or inputs of other shapes.

    Example:

    >>> image = keras.ops.reshape(keras.ops.array([1.0, 4.0, 3.0, 2.0]), (1, 2, 2, 1))
    >>> value = keras.ops.full((1, 1, 1, 1), 7.0)
    >>> y = tfhyper.layers.MaxUnpooling2D(2)([value, image])
    >>> [float(x) for x in keras.ops.ravel(y)]
    [0.0, 7.0, 0.0, 0.0]

    Reference:
        Badrinarayanan, Kendall, Cipolla: SegNet: A deep convolutional encoder-decoder
        architecture for image segmentation, IEEE PAMI 39(12), 2017, section 3.
    """

    def __init__(self, pool_size: int | tuple[int, int] = 2, **kwargs: Any):
        super().__init__(**kwargs)
        pair = pool_size if isinstance(pool_size, tuple | list) else [pool_size] * 2
        if len(pair) != 2:
            raise ValueError(
                "`pool_size` must be a positive integer or two. "
                f"Received: pool_size={pool_size!r}"
            )
        self.pool_size = tuple(check_positive_integer("pool_size", x) for x in pair)

    def build(self, input_shape: Any) -> None:
        rule = (
            "`MaxUnpooling2D` must be called on two tensors of the axes (batch, rows, "
            f"columns, channels), the second {self.pool_size} times as large. "
            f"Received: shapes {input_shape}"
        )
        # One shape is a sequence too, of numbers.
        if len(input_shape) != 2 or not all(
            isinstance(shape, tuple | list) and len(shape) == 4 for shape in input_shape
        ):
            raise ValueError(rule)
        small, large = input_shape
        factors = (*self.pool_size, 1)
        for a, factor, b in zip(small[1:], factors, large[1:], strict=True):
            if a is not None and b is not None and a * factor != b:
                raise ValueError(rule)

    def call(self, inputs: Any) -> Tensor:
        values, pooled = inputs
        rows, columns = self.pool_size
        places = [
            pooled[:, i::rows, j::columns, :]
            for i in range(rows)
            for j in range(columns)
        ]
        largest = places[0]
        for place in places[1:]:
            largest = ops.maximum(largest, place)
        # 1 where no maximum was found yet. No more axes than five: what runs on small
        # devices has no more.
        left = ops.ones_like(values)
        parts = []
        for place in places:
            here = ops.cast(ops.equal(place, largest), values.dtype) * left
            left = left - here
            parts.append(values * ops.stop_gradient(here))
        height, width, channels = ops.shape(values)[1:]
        lines = [
            ops.reshape(
                ops.stack(parts[i * columns : (i + 1) * columns], axis=3),
                (-1, height, width * columns, channels),
            )
            for i in range(rows)
        ]
        return ops.reshape(
            ops.stack(lines, axis=2), (-1, height * rows, width * columns, channels)
        )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        small, large = input_shape
        sizes = [
            b if a is None else a * factor
            for a, factor, b in zip(small[1:3], self.pool_size, large[1:3], strict=True)
        ]
        return (small[0], *sizes, small[3])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size}
