"""Random first scales of Gaussian posteriors: an initializer of rho."""

import keras
import numpy as np
import pytest

from tests.helpers.bayes import softplus, weights_of
from tfhyper import kits, layers, models

NORMAL = keras.initializers.RandomNormal


def test_rho_of_kernel_and_bias_come_from_the_initializer():
    layer = layers.BayesConv2D(
        64, 3, rho_initializer=NORMAL(-5.0, 0.1, seed=1), bias_posterior="gaussian"
    )
    layer.build((None, 8, 8, 16))
    weights = weights_of(layer)
    rho = weights["kernel_rho"]
    # 9,216 numbers of N(-5, 0.1): standard errors 0.001 and 0.0007.
    assert rho.mean() == pytest.approx(-5, abs=0.005)
    assert rho.std() == pytest.approx(0.1, abs=0.004)
    # 64 of them: standard errors 0.0125 and 0.009.
    assert weights["bias_rho"].mean() == pytest.approx(-5, abs=0.06)
    assert weights["bias_rho"].std() == pytest.approx(0.1, abs=0.045)
    scale = keras.ops.convert_to_numpy(layer.kernel_posterior.scale)
    np.testing.assert_allclose(scale, softplus(rho), rtol=1e-5)


def test_without_it_one_scale_is_that_of_all_weights():
    layer = layers.BayesDense(4, initial_scale=0.5)
    layer.build((None, 8))
    scale = softplus(weights_of(layer)["kernel_rho"])
    np.testing.assert_allclose(scale, 0.5 * np.sqrt(2 / 8), rtol=1e-5)
    assert layer.get_config()["rho_initializer"] is None


def test_a_layer_comes_back_from_its_config():
    layer = layers.BayesDense(4, rho_initializer=NORMAL(-5.0, 0.1, seed=3))
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    for one in (layer, again):
        one.build((None, 8))
    first, second = weights_of(layer), weights_of(again)
    np.testing.assert_array_equal(first["kernel_rho"], second["kernel_rho"])
    # As the version before wrote it.
    del config["config"]["rho_initializer"]
    assert keras.saving.deserialize_keras_object(config).rho_initializer is None


@pytest.mark.parametrize("name", ["none_such", 3])
def test_an_unknown_initializer_is_refused(name):
    for build in (
        lambda **options: layers.BayesDense(4, **options),
        lambda **options: kits.bayes(10, **options),
    ):
        with pytest.raises(ValueError, match="`rho_initializer` must be known"):
            build(rho_initializer=name)


def network():
    keras.utils.set_random_seed(0)
    kit = kits.bayes(
        50, kernel_initializer=NORMAL(0.0, 0.1), rho_initializer=NORMAL(-5.0, 0.1)
    )
    return models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit=kit)


def test_a_kit_gives_each_layer_other_values_and_the_same_again():
    found = layers.variational_layers(network())
    by_shape = {}
    for layer in found:
        weights = weights_of(layer)
        mean, rho = weights["kernel_mean"], weights["kernel_rho"]
        # The smallest kernel has 432 weights: standard error of its deviation 0.0034.
        assert mean.std() == pytest.approx(0.1, abs=0.014)
        assert rho.std() == pytest.approx(0.1, abs=0.014)
        by_shape.setdefault(mean.shape, []).append((mean, rho))
    alike = [pairs for pairs in by_shape.values() if len(pairs) > 1]
    assert alike
    for (mean, rho), (other_mean, other_rho), *_ in alike:
        assert not np.array_equal(mean, other_mean)
        assert not np.array_equal(rho, other_rho)
    again = layers.variational_layers(network())
    for one, two in zip(found, again, strict=True):
        np.testing.assert_array_equal(
            weights_of(one)["kernel_rho"], weights_of(two)["kernel_rho"]
        )


def test_a_depthwise_kernel_has_the_initializer_of_a_kits_kernels():
    kit = kits.bayes(50, kernel_initializer="ones")
    layer = kit.replace(keras.layers.DepthwiseConv2D(3, name="d"), "d")
    layer.build((None, 8, 8, 4))
    mean = weights_of(layer)
    np.testing.assert_array_equal(mean["kernel_mean"], np.ones((3, 3, 4, 1)))
