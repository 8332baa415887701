"""Layers that enlarge pictures: against NumPy and Pillow, and as layers of Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from tfhyper.layers import BicubicUpsampling2D, PixelShuffle

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale, channels", [(1, 2), (2, 3), (3, 1)])
def test_channels_become_pixels(scale, channels):
    x = RNG.normal(size=(2, 3, 4, scale**2 * channels)).astype("float32")
    expected = np.zeros((2, 3 * scale, 4 * scale, channels), "float32")
    for r, c, i, j, k in np.ndindex(3, 4, scale, scale, channels):
        value = x[:, r, c, (i * scale + j) * channels + k]
        expected[:, r * scale + i, c * scale + j, k] = value
    found = PixelShuffle(scale)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_channels_become_pixels_as_tensorflow_has_it():
    tf = pytest.importorskip("tensorflow")
    x = RNG.normal(size=(2, 3, 4, 12)).astype("float32")
    found = ops.convert_to_numpy(PixelShuffle(2)(x))
    np.testing.assert_array_equal(found, tf.nn.depth_to_space(x, 2))


@pytest.mark.parametrize("size", [(5, 8), (1, 2)])
@pytest.mark.parametrize("scale", [2, 3, 5])
def test_bicubic_enlargement_is_that_of_pillow(scale, size):
    image = pytest.importorskip("PIL.Image")
    x = RNG.uniform(size=(2, *size, 3)).astype("float32")
    found = ops.convert_to_numpy(BicubicUpsampling2D(scale)(x))
    assert found.shape == (2, size[0] * scale, size[1] * scale, 3)
    for example, channel in np.ndindex(2, 3):
        one = image.fromarray(x[example, :, :, channel])
        to = (size[1] * scale, size[0] * scale)
        expected = np.asarray(one.resize(to, image.Resampling.BICUBIC))
        np.testing.assert_allclose(found[example, :, :, channel], expected, atol=1e-6)


@pytest.mark.parametrize(
    "layer, shape, larger",
    [
        (PixelShuffle, (2, 3, 4, 8), (2, 6, 8, 2)),
        (BicubicUpsampling2D, (2, 3, 4, 2), (2, 6, 8, 2)),
    ],
)
def test_layers_of_keras(layer, shape, larger):
    from keras.src.testing import TestCase

    TestCase().run_layer_test(
        layer,
        {"scale": 2},
        input_shape=shape,
        expected_output_shape=larger,
        expected_num_trainable_weights=0,
        expected_num_losses=0,
        supports_masking=False,
        # In float32 under each policy, as is tested below.
        run_mixed_precision_check=layer is PixelShuffle,
    )


def test_mixed_precision_rounds_no_picture():
    x = RNG.uniform(size=(1, 4, 4, 1)).astype("float32")
    expected = ops.convert_to_numpy(BicubicUpsampling2D(2)(x))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer, shuffle = BicubicUpsampling2D(2), PixelShuffle(1)
    finally:
        keras.config.set_dtype_policy("float32")
    found = layer(x)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)
    assert keras.backend.standardize_dtype(shuffle(x).dtype) == "bfloat16"


def test_pictures_of_any_size_and_gradients():
    inputs = keras.Input((None, None, 4))
    outputs = BicubicUpsampling2D(2)(PixelShuffle(2)(inputs))
    assert outputs.shape == (None, None, None, 1)
    model = keras.Model(inputs, outputs)
    for size in ((3, 5), (2, 2)):
        x = RNG.normal(size=(2, *size, 4)).astype("float32")
        shape = (2, 4 * size[0], 4 * size[1], 1)
        assert model.predict(x, verbose=0).shape == shape


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PixelShuffle(0), "`scale` must be a positive integer"),
        (lambda: BicubicUpsampling2D(1), "`scale` must be an integer of at least 2"),
        (lambda: PixelShuffle(2)(np.zeros((1, 2, 2, 6))), "4 divides the channels"),
        (lambda: PixelShuffle(2)(np.zeros((1, 2, 4))), "must be called on"),
        (lambda: BicubicUpsampling2D(2)(np.zeros((2, 2, 3))), "must be called on"),
    ],
    ids=["shuffle", "bicubic", "channels", "axes", "bicubic axes"],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
