"""The two networks of a DCGAN: sizes, published parameters, kits, spectral norm."""

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper.layers import SpectralConstraint
from tfhyper.models import dcgan_discriminator, dcgan_generator


def trained_numbers(model):
    return sum(int(np.prod(x.shape)) for x in model.trainable_variables)


def test_parameters_of_the_published_networks():
    # The networks of the authors' code for 64 x 64 pixels: 3,576,704 and 2,765,568.
    # The bias of the dense layer and that of the logit, which those have not, are left
    # out of the count.
    assert trained_numbers(dcgan_generator()) == 3_576_704 + 4 * 4 * 512
    assert trained_numbers(dcgan_discriminator()) == 2_765_568 + 1


@pytest.mark.parametrize(
    "shape, small",
    [((28, 28, 1), (7, 7)), ((32, 32, 3), (4, 4)), ((64, 32, 1), (8, 4))],
    ids=["28", "32", "64x32"],
)
def test_sizes_come_out_and_the_smallest_map_is_as_told(shape, small):
    generator = dcgan_generator(2, image_shape=shape, latent_dim=3)
    assert generator.output_shape == (None, *shape)
    assert generator.get_layer("map_shape").output.shape[1:3] == small
    discriminator = dcgan_discriminator(2, input_shape=shape, num_classes=5)
    assert discriminator.output_shape == (None, 5)
    assert discriminator.get_layer("features").input.shape[1:3] == small
    images = generator.predict_on_batch(np.ones((2, 3), "float32"))
    assert np.abs(images).max() <= 1


def test_each_kit_fills_both_networks():
    kits = tfhyper.kits
    for kit, kinds in (
        (kits.bayes(10), (tfhyper.layers.BayesConv2DTranspose, "BayesConv2D")),
        (kits.hyper(), (tfhyper.layers.HyperConv2DTranspose, "HyperConv2D")),
        (kits.mnf(10), (keras.layers.Conv2DTranspose, "MNFConv2D")),
    ):
        made = dcgan_generator(2, image_shape=(8, 8, 1), latent_dim=3, kit=kit)
        assert isinstance(made.get_layer("up_block2_conv"), kinds[0])
        judge = dcgan_discriminator(2, input_shape=(8, 8, 1), kit=kit)
        assert type(judge.get_layer("down_block2_conv")).__name__ == kinds[1]
        assert judge.output_shape == (None, 1)


def test_spectral_norm_of_each_kernel_is_one_after_a_step():
    model = dcgan_discriminator(3, input_shape=(8, 8, 2), spectral_norm=True)
    assert not any("norm" in layer.name for layer in model.layers)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    model.fit(np.ones((2, 8, 8, 2)), np.ones((2, 1)), verbose=0)
    again = type(model).from_config(model.get_config())
    for layer in model.layers:
        if layer.weights:
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            matrix = kernel.reshape(-1, kernel.shape[-1])
            np.testing.assert_allclose(np.linalg.norm(matrix, 2), 1, rtol=1e-5)
            constraint = again.get_layer(layer.name).kernel_constraint
            assert isinstance(constraint, SpectralConstraint)


def test_the_constraint_divides_by_the_largest_singular_value():
    rng = np.random.default_rng(0)
    for shape in ((2, 2, 3, 5), (1, 1, 2, 9), (4, 4)):
        kernel = rng.normal(size=shape).astype("float32")
        norm = np.linalg.svd(kernel.reshape(-1, shape[-1]))[1][0]
        found = keras.ops.convert_to_numpy(SpectralConstraint()(kernel))
        np.testing.assert_allclose(found, kernel / norm, rtol=1e-5, atol=1e-6)
    zeros = np.zeros((2, 3), "float32")
    np.testing.assert_array_equal(SpectralConstraint()(zeros), zeros)


@pytest.mark.parametrize(
    "make, options, message",
    [
        (dcgan_generator, {"image_shape": (30, 28, 1)}, "`image_shape` .*multiples of"),
        (dcgan_generator, {"image_shape": (28, 28)}, "`image_shape` must"),
        (dcgan_generator, {"latent_dim": 0}, "`latent_dim` must be"),
        (dcgan_generator, {"width": 0}, "`width` must be"),
        (
            dcgan_discriminator,
            {"input_shape": (28, 29, 1)},
            "`input_shape` .*multiples",
        ),
        (dcgan_discriminator, {"num_classes": 0}, "`num_classes` must be"),
        (
            dcgan_discriminator,
            {"kit": tfhyper.kits.bayes(10), "spectral_norm": True},
            "`spectral_norm` must be False.*'bayes'",
        ),
    ],
    ids=["height", "axes", "latent", "width", "judged", "classes", "spectral"],
)
def test_what_does_not_fit_is_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
