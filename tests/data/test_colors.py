"""Noise and jitter of colours against NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfhyper.data import colors

# Of the published covariance of ImageNet's colours; see `test_lighting`.
VECTORS = np.array(
    [
        [-0.5675, -0.5808, -0.5836],
        [0.7192, -0.0045, -0.6948],
        [0.4009, -0.8140, 0.4203],
    ]
)
VALUES = np.array([0.2175, 0.0188, 0.0045])


def random_images(batch, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((batch, 4, 5, 3)).astype(np.float32)


def test_lighting_is_noise_along_the_principal_components():
    count = 4000
    images = random_images(count)
    changed = colors.random_lighting(images, seed=(1, 2)).numpy()
    noise = changed - images
    # One triple for all pixels of an image.
    np.testing.assert_allclose(noise, noise[:, :1, :1] + 0 * noise, atol=1e-6)
    np.testing.assert_allclose(VECTORS @ VECTORS.T, np.eye(3), atol=1e-3)
    parts = noise[:, 0, 0] @ VECTORS.T
    # The deviation of a sample of 4000 is off by 1/sqrt(8000); five of them are 6 %.
    np.testing.assert_allclose(parts.std(0), 0.1 * VALUES, rtol=0.06)
    np.testing.assert_array_less(abs(parts.mean(0)), 5 * 0.1 * VALUES / count**0.5)
    correlation = np.corrcoef(parts.T)[np.triu_indices(3, 1)]
    np.testing.assert_array_less(abs(correlation), 5 / count**0.5)
    twice = colors.random_lighting(images, seed=(1, 2), std=0.2).numpy()
    np.testing.assert_allclose(twice - images, 2 * noise, atol=1e-6)


def blends(image, factors, order):
    """The three blends of fb.resnet.torch after one another, in an order."""
    for name in order:
        luminance = image @ [0.299, 0.587, 0.114]
        other = {
            "brightness": 0.0,
            "contrast": luminance.mean(),
            "saturation": luminance[..., None],
        }[name]
        image = factors[name] * image + (1 - factors[name]) * other
    return image


def test_jitter_is_the_three_blends_in_any_order():
    count, strength = 600, 0.4
    images = random_images(count)
    changed = colors.random_color_jitter(images, strength, seed=(3, 4)).numpy()
    found = []
    for image, result in zip(images.astype(np.float64), changed, strict=True):
        # A sum of image, luminance and mean luminance, whose weights give the factors.
        luminance = image @ [0.299, 0.587, 0.114]
        columns = [
            image,
            luminance[..., None] + 0 * image,
            luminance.mean() + 0 * image,
        ]
        matrix = np.stack([column.ravel() for column in columns], axis=1)
        a, b, c = np.linalg.lstsq(matrix, result.ravel(), rcond=None)[0]
        found.append((a + b + c, (a + b) / (a + b + c), a / (a + b)))
    names = ("brightness", "contrast", "saturation")
    for image, result, row in zip(images[:5], changed, found, strict=False):
        factors = dict(zip(names, row, strict=True))
        for order in itertools.permutations(names):
            np.testing.assert_allclose(blends(image, factors, order), result, atol=1e-5)
    found = np.array(found)
    assert found.min() > 0.6 - 1e-4 and found.max() < 1.4 + 1e-4
    # Uniform: mean 1 and deviation 0.8 / sqrt(12), to five standard errors.
    np.testing.assert_allclose(found.mean(0), 1, atol=5 * 0.231 / count**0.5)
    np.testing.assert_allclose(found.std(0), 0.231, rtol=0.1)
    correlation = np.corrcoef(found.T)[np.triu_indices(3, 1)]
    np.testing.assert_array_less(abs(correlation), 5 / count**0.5)


def test_no_strength_changes_nothing():
    images = random_images(3)
    for changed in (
        colors.random_color_jitter(images, 0, seed=(0, 0)),
        colors.random_lighting(images, seed=(0, 0), std=0),
    ):
        np.testing.assert_allclose(changed, images, atol=1e-6)


@pytest.mark.parametrize(
    "function",
    [colors.random_lighting, lambda x, seed: colors.random_color_jitter(x, 0.4, seed)],
    ids=["lighting", "jitter"],
)
def test_the_seed_decides_the_result(function):
    images = random_images(8)
    first = function(images, seed=(1, 2)).numpy()
    np.testing.assert_array_equal(first, function(images, seed=(1, 2)))
    assert np.any(first != function(images, seed=(1, 3)).numpy())
    traced = tf.function(lambda x: function(x, seed=(1, 2)))
    np.testing.assert_allclose(first, traced(images), atol=1e-6)


def test_errors_name_the_argument():
    images = random_images(2)
    for function in (
        lambda x: colors.random_lighting(x, (0, 0)),
        lambda x: colors.random_color_jitter(x, 0.4, (0, 0)),
    ):
        with pytest.raises(TypeError, match="`images` must be a float32 .*uint8"):
            function(images.astype(np.uint8))
        for wrong in (images[0], images[..., :1]):
            with pytest.raises(ValueError, match="must have shape .*width, 3"):
                function(wrong)
    with pytest.raises(ValueError, match="`std` must be .*std=-1"):
        colors.random_lighting(images, (0, 0), std=-1)
    for strength in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="`strength` must be .*strength="):
            colors.random_color_jitter(images, strength, (0, 0))
