"""Normalisation, flips and crops against NumPy oracles."""

import numpy as np
import pytest
import tensorflow as tf

from tfhyper.data import augment


def distinct_images(batch, height, width, channels, seed=0):
    """Float images in which no two pixels are equal, so that windows are unique."""
    size = batch * height * width * channels
    values = np.random.default_rng(seed).permutation(size) + 1.0
    return values.reshape(batch, height, width, channels).astype(np.float32)


def test_normalize_matches_numpy():
    rng = np.random.default_rng(0)
    images = rng.random((4, 5, 6, 3), dtype=np.float32)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    result = augment.normalize(images, mean, std)
    assert result.dtype == tf.float32
    expected = (images.astype(np.float64) - mean) / std
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_flip_is_the_image_or_its_mirror_about_half_the_time(channels):
    images = distinct_images(400, 5, 4, channels)
    flipped = augment.random_flip(images, seed=(3, 4)).numpy()
    is_same = (flipped == images).all(axis=(1, 2, 3))
    is_mirror = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.all(is_same ^ is_mirror)
    # 400 draws of probability 1/2: five standard deviations are 50.
    assert abs(is_mirror.sum() - 200) <= 50


@pytest.mark.parametrize("edge, mode", [("zeros", "constant"), ("reflect", "reflect")])
@pytest.mark.parametrize("shape", [(6, 5, 1), (8, 8, 3)])
def test_each_crop_is_a_window_of_the_padded_image(shape, edge, mode):
    height, width, _ = shape
    padding, batch = 2, 500
    images = distinct_images(batch, *shape)
    crops = augment.random_crop(images, padding, seed=(5, 6), edge=edge).numpy()
    padded = np.pad(images, [(0, 0), (padding,) * 2, (padding,) * 2, (0, 0)], mode)
    matches = np.zeros((batch, 2 * padding + 1, 2 * padding + 1), bool)
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            window = padded[:, top : top + height, left : left + width]
            matches[:, top, left] = (crops == window).all(axis=(1, 2, 3))
    # Pixels are distinct and non-zero, so exactly one window matches.
    np.testing.assert_array_equal(matches.sum(axis=(1, 2)), 1)
    # 500 draws over 25 corners, 20 each on average; five deviations are 22.
    counts = matches.sum(axis=0)
    assert counts.min() >= 1
    assert counts.max() <= 42


@pytest.mark.parametrize(
    "function",
    [augment.random_flip, lambda x, seed: augment.random_crop(x, 4, seed)],
    ids=["flip", "crop"],
)
def test_the_seed_decides_the_result(function):
    images = distinct_images(32, 6, 6, 3)
    first = function(images, seed=(1, 2)).numpy()
    np.testing.assert_array_equal(first, function(images, seed=(1, 2)))
    assert np.any(first != function(images, seed=(1, 3)).numpy())
    traced = tf.function(lambda x: function(x, seed=(1, 2)))
    np.testing.assert_array_equal(first, traced(images))


def test_integer_images_keep_their_dtype_and_no_padding_changes_nothing():
    images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
    assert augment.random_flip(images, (0, 0)).dtype == tf.uint8
    assert augment.random_crop(images, 1, (0, 0)).dtype == tf.uint8
    np.testing.assert_array_equal(augment.random_crop(images, 0, (0, 0)), images)


def test_errors_name_the_argument():
    images = np.zeros((2, 3, 3, 3), np.uint8)
    with pytest.raises(TypeError, match="`images` must be a float32 .*uint8"):
        augment.normalize(images, (0.5,) * 3, (0.5,) * 3)
    images = images.astype(np.float32)
    with pytest.raises(ValueError, match="`mean` must have one entry"):
        augment.normalize(images, (0.5,), (0.5,) * 3)
    with pytest.raises(ValueError, match="`std` must be positive"):
        augment.normalize(images, (0.5,) * 3, (0.5, 0.0, 0.5))
    with pytest.raises(ValueError, match="`padding` must .*padding=-1"):
        augment.random_crop(images, -1, (0, 0))
    with pytest.raises(ValueError, match="`images` must have shape"):
        augment.random_flip(images[0], (0, 0))
