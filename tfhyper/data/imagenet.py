"""ImageNet's images: JPEGs of any size, decoded, cut and resized to one size.

Every result is a pure function of the image and, for training, a stateless seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tfhyper.data.specs import DatasetSpec, ResizeMethod

#: Fraction of an image's area that a training window covers, and its width / height.
AREA = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)
#: Windows drawn before the central one is taken instead.
ATTEMPTS = 10
# As Pillow decodes, at no higher cost; TensorFlow's own choice is less exact.
_DECODING = "INTEGER_ACCURATE"


def random_image(
    jpeg: tf.Tensor, spec: DatasetSpec, seed: Sequence[int] | tf.Tensor
) -> tf.Tensor:
    """Cuts a random window out of a JPEG and resizes it.

    Only the window is decoded.

    Args:
        jpeg: The bytes of the file, a string scalar.
        spec: Spec of the set, with the shape of the result.
        seed: Two integers, or an integer tensor of shape `(2,)`.

    Returns:
        A uint8 tensor of shape `spec.image_shape`.

    Example:
        >>> from tfhyper.data import DATASETS
        >>> jpeg = tf.io.encode_jpeg(tf.zeros((300, 400, 3), tf.uint8))
        >>> random_image(jpeg, DATASETS["imagenet2012"], seed=(1, 2)).shape
        TensorShape([224, 224, 3])
    """
    size = tf.image.extract_jpeg_shape(jpeg)
    window = random_window(size[0], size[1], seed)
    image = tf.image.decode_and_crop_jpeg(
        jpeg, window, channels=spec.image_shape[-1], dct_method=_DECODING
    )
    return _resize(image, spec.image_shape[:2], spec.resize_method)


def central_image(jpeg: tf.Tensor, spec: DatasetSpec) -> tf.Tensor:
    """Resizes a JPEG to `spec.resize` on the shorter side and cuts out the centre.

    Args:
        jpeg: The bytes of the file, a string scalar.
        spec: Spec of the set, with the shape of the result.

    Returns:
        A uint8 tensor of shape `spec.image_shape`.

    Example:
        >>> from tfhyper.data import DATASETS
        >>> jpeg = tf.io.encode_jpeg(tf.zeros((300, 400, 3), tf.uint8))
        >>> central_image(jpeg, DATASETS["imagenet2012"]).shape
        TensorShape([224, 224, 3])
    """
    height, width, channels = spec.image_shape
    image = tf.image.decode_jpeg(jpeg, channels=channels, dct_method=_DECODING)
    size = tf.cast(tf.shape(image)[:2], tf.float64)
    size = tf.cast(tf.round(size * (spec.resize / tf.reduce_min(size))), tf.int32)
    image = _resize(image, size, spec.resize_method)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return image[top : top + height, left : left + width]


def random_window(
    height: int | tf.Tensor, width: int | tf.Tensor, seed: Sequence[int] | tf.Tensor
) -> tf.Tensor:
    """Draws a window of random area, shape and place within an image.

    The area is uniform in 8 % to all of the image's, the logarithm of width / height
    uniform in log 3/4 to log 4/3, and the corner uniform over the positions that are
    left. A window that does not fit is drawn again; after ten, it is the largest
    central one of a shape in that range.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        seed: Two integers, or an integer tensor of shape `(2,)`.

    Returns:
        An int32 tensor `(top, left, height, width)`.

    Reference:
        Szegedy et al.: Going deeper with convolutions, CVPR 2015, section 6, as
        fb.resnet.torch and torchvision have it.

    Example:
        >>> top, left, height, width = random_window(300, 400, seed=(1, 2)).numpy()
        >>> bool(0 <= top <= 300 - height and 0 <= left <= 400 - width)
        True
    """
    height, width = tf.cast(height, tf.float64), tf.cast(width, tf.float64)
    draws = tf.random.stateless_uniform((4, ATTEMPTS), seed, dtype=tf.float64)
    areas = height * width * (AREA[0] + (AREA[1] - AREA[0]) * draws[0])
    low, high = map(math.log, RATIO)
    ratios = tf.exp(low + (high - low) * draws[1])
    heights = tf.round(tf.sqrt(areas / ratios))
    widths = tf.round(tf.sqrt(areas * ratios))
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = tf.argmax(tf.cast(fits, tf.int32))
    free_rows = height - heights[first] + 1
    free_columns = width - widths[first] + 1
    window = tf.stack(
        [
            tf.floor(draws[2, first] * free_rows),
            tf.floor(draws[3, first] * free_columns),
            heights[first],
            widths[first],
        ]
    )
    # Both bounds of the shape are the same, turned over.
    central_height = tf.minimum(height, tf.round(width * RATIO[1]))
    central_width = tf.minimum(width, tf.round(height * RATIO[1]))
    central = tf.stack(
        [
            (height - central_height) // 2,
            (width - central_width) // 2,
            central_height,
            central_width,
        ]
    )
    return tf.cast(tf.where(tf.reduce_any(fits), window, central), tf.int32)


def _resize(
    image: tf.Tensor, size: Sequence[int] | tf.Tensor, method: ResizeMethod
) -> tf.Tensor:
    """Returns a uint8 image in another size, without aliasing."""
    image = tf.image.resize(image, size, method, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
