"""Scores of images against TensorFlow's."""

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
