"""Scores of images against TensorFlow's and scikit-image's."""

import numpy as np
import pytest
import tensorflow as tf

from tfhyper import metrics

RNG = np.random.default_rng(0)
TARGETS = RNG.uniform(size=(3, 16, 14, 2))
# Two images are near their targets, one is noise.
PREDICTED = np.clip(TARGETS + 0.1 * RNG.normal(size=TARGETS.shape), 0, 1)
PREDICTED[2] = RNG.uniform(size=TARGETS.shape[1:])


@pytest.mark.parametrize("max_value", [1.0, 255.0])
def test_scores_are_those_of_tensorflow(max_value):
    x, y = TARGETS * max_value, PREDICTED * max_value
    wide = tf.constant(x), tf.constant(y)
    found = metrics.psnr(x, y, max_value)
    np.testing.assert_allclose(found, tf.image.psnr(*wide, max_value), rtol=1e-5)
    for options in ({}, {"window": 8}):
        found = metrics.ssim(x, y, max_value, **options)
        theirs = {"filter_size": options.get("window", 11)}
        right = tf.image.ssim(*wide, max_value, **theirs)
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)
    assert found[2] < 0.2 < 0.6 < found[0]
    # Without channels it is the image of one channel.
    one = metrics.ssim(x[..., 0], y[..., 0], max_value)
    np.testing.assert_allclose(one, metrics.ssim(x[..., :1], y[..., :1], max_value))


def test_equal_images_and_bytes():
    assert metrics.ssim(TARGETS, TARGETS).tolist() == [1.0] * 3
    assert np.isposinf(metrics.psnr(TARGETS, TARGETS)).all()
    assert metrics.psnr(np.uint8([[0, 255]]), np.uint8([[255, 0]]), 255) == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.ssim(TARGETS, PREDICTED, window=15), "`window` must be.* 14"),
        (lambda: metrics.ssim(TARGETS[0, 0], PREDICTED[0, 0]), "`targets` must have"),
        (lambda: metrics.psnr(TARGETS, PREDICTED[:2]), "`predicted` must have the sha"),
        (lambda: metrics.psnr(TARGETS, PREDICTED, 0.0), "`max_value` must be.*=0.0"),
        (lambda: metrics.psnr(TARGETS * np.nan, PREDICTED), "`targets` must be finite"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("border", [0, 3])
def test_scores_are_those_of_scikit_image(border):
    theirs = pytest.importorskip("skimage.metrics")
    large = RNG.uniform(size=(2, 20, 18, 3))
    near = np.clip(large + 0.1 * RNG.normal(size=large.shape), 0, 1)
    inside = slice(border, -border or None)
    options = {"gaussian_weights": True, "use_sample_covariance": False}
    psnr = metrics.psnr(large, near, border=border)
    ssim = metrics.ssim(large, near, border=border)
    for i, pair in enumerate(zip(large, near, strict=True)):
        pair = [x[inside, inside] for x in pair]
        right = theirs.peak_signal_noise_ratio(*pair, data_range=1.0)
        np.testing.assert_allclose(psnr[i], right)
        right = theirs.structural_similarity(
            *pair, channel_axis=-1, data_range=1.0, **options
        )
        np.testing.assert_allclose(ssim[i], right)


def test_luma_is_that_of_scikit_image():
    color = pytest.importorskip("skimage.color")
    images = RNG.uniform(size=(2, 4, 5, 3))
    expected = color.rgb2ycbcr(images)[..., 0]
    np.testing.assert_allclose(metrics.luma(images) * 255, expected)
    grey = np.uint8([[0, 0, 0], [255, 255, 255]])
    np.testing.assert_allclose(metrics.luma(grey, max_value=255), [16, 235])
    assert metrics.luma(images).shape == (2, 4, 5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.psnr(TARGETS, PREDICTED, border=7), "`border` must leave"),
        (lambda: metrics.psnr(TARGETS, PREDICTED, border=-1), "`border` must be a non"),
        (lambda: metrics.ssim(TARGETS, PREDICTED, border=2), "`window` must be.* 10"),
        (lambda: metrics.psnr([[1.0]], [[1.0]], border=1), "`border` must leave"),
        (lambda: metrics.luma(TARGETS), "`images` must have red, green and blue"),
        (lambda: metrics.luma(TARGETS[..., [0, 0, 1]], 0), "`max_value` must be"),
    ],
    ids=["wide", "negative", "window", "rows", "channels", "range"],
)
def test_borders_and_colours_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()
