"""Normalisation and augmentation of image batches, as pure functions.

Each function takes a batch `(batch, height, width, channels)` and, where it is random,
a stateless seed: the same batch and seed give the same result bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from tfhyper.checks import check_choice

# How an image goes on beyond its edge.
Edge = Literal["zeros", "reflect"]


def normalize(
    images: tf.Tensor, mean: Sequence[float], std: Sequence[float]
) -> tf.Tensor:
    """Takes mean and deviation out: `(images - mean) / std`, channel by channel.

    Args:
        images: float32 tensor `(..., channels)` in units of 0 to 1.
        mean: Mean of each channel in the same units; length `channels`.
        std: Standard deviation of each channel, positive; length `channels`.

    Returns:
        A float32 tensor with the shape of `images`.

    Raises:
        TypeError: If `images` is not float32.
        ValueError: If `mean` or `std` does not have one entry per channel, or an entry
            of `std` is not positive.

    Example:
        >>> images = tf.constant([0.0, 1.0], shape=(2, 1, 1, 1))
        >>> normalize(images, mean=(0.5,), std=(0.25,))[:, 0, 0, 0].numpy().tolist()
        [-2.0, 2.0]
    """
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.float32:
        raise TypeError(
            "`images` must be a float32 tensor in units of 0 to 1. "
            f"Received: images.dtype={images.dtype.name}"
        )
    channels = images.shape[-1]
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise ValueError(
                f"`{name}` must have one entry per channel ({channels}). "
                f"Received: {name}={values}"
            )
    if min(std) <= 0:
        raise ValueError(f"`std` must be positive. Received: std={std}")
    return (images - tf.constant(mean, tf.float32)) / tf.constant(std, tf.float32)


def random_flip(images: tf.Tensor, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Mirrors each image left to right with probability one half.

    The draws of different examples are independent.

    Args:
        images: Tensor `(batch, height, width, channels)` of any dtype.
        seed: Two integers, or an integer tensor of shape `(2,)`.

    Returns:
        A tensor with the shape and dtype of `images`.

    Raises:
        ValueError: If `images` is not of rank 4.

    Example:
        >>> images = tf.random.stateless_normal((8, 32, 32, 3), seed=(0, 0))
        >>> random_flip(images, seed=(1, 2)).shape
        TensorShape([8, 32, 32, 3])
    """
    images = _batch_of_images(images)
    batch, height, width, _ = tf.unstack(tf.shape(images))
    flips = tf.random.stateless_uniform((batch, 1), seed=seed) < 0.5
    columns = tf.range(width)
    columns = tf.where(flips, width - 1 - columns, columns)
    flipped = _take_pixels(images, tf.range(height)[None, :], columns)
    return tf.ensure_shape(flipped, images.shape)


def random_symmetries(images: tf.Tensor, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Turns and mirrors each image: one of the eight symmetries of a square.

    Each is drawn with probability 1/8, independently for each example. With the same
    seed, batches of one length get the same ones, whatever the size of their images.

    Args:
        images: Tensor `(batch, side, side, channels)` of any dtype.
        seed: Two integers, or an integer tensor of shape `(2,)`.

    Returns:
        A tensor with the shape and dtype of `images`.

    Raises:
        ValueError: If `images` is not of rank 4.

    Example:
        >>> images = tf.random.stateless_normal((8, 32, 32, 3), seed=(0, 0))
        >>> random_symmetries(images, seed=(1, 2)).shape
        TensorShape([8, 32, 32, 3])
    """
    images = _batch_of_images(images)
    batch, side = tf.shape(images)[0], tf.shape(images)[1]
    draws = tf.random.stateless_uniform((3, batch, 1, 1, 1), seed=seed) < 0.5
    images = tf.where(draws[0], tf.transpose(images, (0, 2, 1, 3)), images)
    there = tf.range(side)[None, :]
    rows, columns = (
        tf.where(turned[:, 0, 0], side - 1 - there, there)
        for turned in tf.unstack(draws[1:])
    )
    return tf.ensure_shape(_take_pixels(images, rows, columns), images.shape)


def random_crop(
    images: tf.Tensor,
    padding: int,
    seed: Sequence[int] | tf.Tensor,
    edge: Edge = "zeros",
) -> tf.Tensor:
    """Pads each image on all sides and cuts out a window of its own size.

    The corner of the window is uniform over the `(2 * padding + 1) ** 2` positions,
    independently for each example. On normalised images zeros are the mean pixel, as
    in fb.resnet.torch. With `padding=4` and `edge="reflect"` this is the cropping of
    Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv:1605.07146),
    section 3.

    Args:
        images: Tensor `(batch, height, width, channels)` of any numeric dtype.
        padding: Pixels added on each side; a non-negative integer, smaller than the
            image for `"reflect"`.
        seed: Two integers, or an integer tensor of shape `(2,)`.
        edge: What the pixels are: `"zeros"`, or `"reflect"` for the image mirrored at
            its outermost pixels, which are not repeated.

    Returns:
        A tensor with the shape and dtype of `images`.

    Raises:
        ValueError: If `images` is not of rank 4, `padding` is not a non-negative
            integer, or `edge` is another text.

    Example:
        >>> images = tf.ones((8, 32, 32, 3))
        >>> random_crop(images, padding=4, seed=(0, 0)).shape
        TensorShape([8, 32, 32, 3])
    """
    images = _batch_of_images(images)
    if isinstance(padding, bool) or not isinstance(padding, int) or padding < 0:
        raise ValueError(
            f"`padding` must be a non-negative integer. Received: padding={padding!r}"
        )
    check_choice("edge", edge, ("zeros", "reflect"))
    if padding == 0:
        return images
    batch, height, width, _ = tf.unstack(tf.shape(images))
    corners = tf.random.stateless_uniform(
        (2, batch, 1), seed=seed, maxval=2 * padding + 1, dtype=tf.int32
    )
    sides = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
    padded = tf.pad(images, sides, "REFLECT" if edge == "reflect" else "CONSTANT")
    rows, columns = corners[0] + tf.range(height), corners[1] + tf.range(width)
    return tf.ensure_shape(_take_pixels(padded, rows, columns), images.shape)


def random_windows(
    images: tf.Tensor,
    labels: tf.Tensor,
    scale: Sequence[float],
    seed: Sequence[int] | tf.Tensor,
    ignore_class: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Shows a window of each image, and of its map, in the size of the image.

    A factor s, whose logarithm is uniform between those of the two of `scale`, is drawn
    for each example, and a window of 1 / s of its height and width is put at a uniform
    place: within the image for s >= 1; around it for s < 1. Images are interpolated
    bilinearly, labels taken from the nearest pixel, both at the same places.

    Args:
        images: float32 tensor `(batch, height, width, channels)`; beyond the edge they
            are 0, the mean colour of normalised images.
        labels: int32 tensor `(batch, height, width, 1)`, below 2 ** 24.
        scale: The lower and the upper factor, both above 0.
        seed: Two integers, or an integer tensor of shape `(2,)`.
        ignore_class: The label beyond the edge.

    Returns:
        Images and labels of the same shapes and types.

    Raises:
        ValueError: If `images` or `labels` are not of rank 4.

    Example:
        >>> images, labels = tf.ones((8, 6, 9, 3)), tf.ones((8, 6, 9, 1), tf.int32)
        >>> images, labels = random_windows(images, labels, (1.0, 2.0), seed=(0, 0))
        >>> labels.shape
        TensorShape([8, 6, 9, 1])
    """
    images, labels = _batch_of_images(images), _batch_of_images(labels)
    batch, height, width, _ = tf.unstack(tf.shape(images))
    draws = tf.random.stateless_uniform((3, batch), seed=seed)
    low, high = (tf.math.log(tf.constant(x, tf.float32)) for x in scale)
    share = tf.exp(-(low + draws[0] * (high - low)))
    # Below 0 where the window is larger than the image.
    corner = draws[1:] * (1.0 - share)
    boxes = tf.stack([*tf.unstack(corner), *tf.unstack(corner + share)], axis=-1)

    def window(values: tf.Tensor, method: str, beyond: float) -> tf.Tensor:
        # One image at a time: of a number of images that it does not know, TensorFlow
        # warns that it cannot say what that will cost.
        found = tf.map_fn(
            lambda one: tf.image.crop_and_resize(
                one[0][None], one[1][None], [0], (height, width), method, beyond
            )[0],
            (values, boxes),
            fn_output_signature=values.dtype,
        )
        return tf.ensure_shape(found, values.shape)

    seen = window(images, "bilinear", 0.0)
    classes = window(tf.cast(labels, tf.float32), "nearest", float(ignore_class))
    return seen, tf.cast(tf.round(classes), labels.dtype)


def _take_pixels(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Returns `images[b, rows[b, i], columns[b, j]]` as `(b, i, j, channels)`.

    One gather from the list of all pixels is several times faster on a CPU than
    `tf.where`, or a slice for each example. A first axis of 1 broadcasts.
    """
    batch, height, width, channels = tf.unstack(tf.shape(images))
    rows = rows + tf.range(batch)[:, None] * height
    pixels = rows[:, :, None] * width + columns[:, None, :]
    return tf.gather(tf.reshape(images, (-1, channels)), pixels)


def _batch_of_images(images: tf.Tensor) -> tf.Tensor:
    """Returns `images` as a tensor after checking that its rank is 4."""
    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4:
        raise ValueError(
            "`images` must have shape (batch, height, width, channels). "
            f"Received: images.shape={images.shape}"
        )
    return images
