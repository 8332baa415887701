"""Random changes of the colours of image batches, as pure functions.

Each function takes a float32 batch `(batch, height, width, 3)` of RGB images in units
of 0 to 1 and a stateless seed; the same batch and seed give the same result bit for
bit. Values may leave 0 to 1: they are not clipped, as in fb.resnet.torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfhyper.checks import check_number

#: Standard deviation of the PCA noise of AlexNet.
LIGHTING = 0.1
# The principal components of the RGB values of ImageNet's training images: eigenvalues,
# and eigenvectors in the columns. The numbers are those of fb.resnet.torch, which other
# libraries have taken over.
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
# The parts of red, green and blue in the luminance of ITU-R BT.601.
_LUMINANCE = (0.299, 0.587, 0.114)


def random_lighting(
    images: tf.Tensor, seed: Sequence[int] | tf.Tensor, std: float = LIGHTING
) -> tf.Tensor:
    """Adds noise along the principal components of ImageNet's colours.

    To all pixels of an image it adds the RGB triple

        sum_i alpha_i eigenvalue_i eigenvector_i,   alpha_i ~ N(0, std^2)

    with three draws for each image.

    Args:
        images: float32 tensor `(batch, height, width, 3)` in units of 0 to 1.
        seed: Two integers, or an integer tensor of shape `(2,)`.
        std: Standard deviation of the draws; a finite number >= 0.

    Returns:
        A tensor with the shape and dtype of `images`.

    Raises:
        TypeError: If `images` is not float32.
        ValueError: If `images` is not a batch of RGB images, or `std` is out of range.

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional
        neural networks, NIPS 2012, section 4.1.

    Example:
        >>> random_lighting(tf.zeros((8, 32, 32, 3)), seed=(1, 2)).shape
        TensorShape([8, 32, 32, 3])
    """
    images = _rgb_batch(images)
    std = check_number("std", std)
    draws = std * tf.random.stateless_normal((tf.shape(images)[0], 3), seed=seed)
    noise = draws * tf.constant(_EIGENVALUES) @ tf.transpose(_EIGENVECTORS)
    return images + noise[:, None, None, :]


def random_color_jitter(
    images: tf.Tensor, strength: float, seed: Sequence[int] | tf.Tensor
) -> tf.Tensor:
    """Scales brightness, contrast and saturation of each image at random.

    Each is a blend `factor * image + (1 - factor) * other` with black, with the mean
    of the image's luminance, and with its luminance; the three factors are uniform in
    `1 - strength` to `1 + strength`, independent of each other and for each image. The
    three commute, so that their order, which fb.resnet.torch draws, does not matter.

    Args:
        images: float32 tensor `(batch, height, width, 3)` in units of 0 to 1.
        strength: A number in 0 <= strength < 1; fb.resnet.torch has 0.4.
        seed: Two integers, or an integer tensor of shape `(2,)`.

    Returns:
        A tensor with the shape and dtype of `images`.

    Raises:
        TypeError: If `images` is not float32.
        ValueError: If `images` is not a batch of RGB images, or `strength` is out of
            range.

    Reference:
        fb.resnet.torch, https://github.com/facebookarchive/fb.resnet.torch

    Example:
        >>> random_color_jitter(tf.zeros((8, 32, 32, 3)), 0.4, seed=(1, 2)).shape
        TensorShape([8, 32, 32, 3])
    """
    images = _rgb_batch(images)
    strength = check_strength("strength", strength)
    factors = tf.random.stateless_uniform(
        (3, tf.shape(images)[0], 1, 1, 1), seed, 1 - strength, 1 + strength
    )
    brightness, contrast, saturation = tf.unstack(factors)
    luminance = tf.reduce_sum(images * tf.constant(_LUMINANCE), axis=-1, keepdims=True)
    mean = tf.reduce_mean(luminance, axis=(1, 2), keepdims=True)
    # The blends after one another, with their factors multiplied out.
    return (
        brightness * contrast * saturation * images
        + brightness * contrast * (1 - saturation) * luminance
        + brightness * (1 - contrast) * mean
    )


def check_strength(name: str, value: float) -> float:
    """Returns `value` as a float, or raises ValueError unless it is in 0 <= value < 1.

    Example:
        >>> check_strength("strength", 0)
        0.0
    """
    strength = check_number(name, value)
    if strength >= 1:
        raise ValueError(f"`{name}` must be below 1. Received: {name}={value!r}")
    return strength


def _rgb_batch(images: tf.Tensor) -> tf.Tensor:
    """Returns `images` as a tensor after checking that it is a batch in float32."""
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.float32:
        raise TypeError(
            "`images` must be a float32 tensor in units of 0 to 1. "
            f"Received: images.dtype={images.dtype.name}"
        )
    if images.shape.rank != 4 or images.shape[-1] != 3:
        raise ValueError(
            "`images` must have shape (batch, height, width, 3). "
            f"Received: images.shape={images.shape}"
        )
    return images
