"""A dense layer that is averaged over in closed form."""

import keras
import numpy as np
import pytest
import scipy.special
from keras.src.testing.test_case import TestCase

from tfhyper.laplace import MarginalDense

COVARIANCES = ("by_output", "shared", "diagonal")


@pytest.mark.parametrize("gives", ["scaled_logits", "mean_and_variance"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_keras_checks_of_a_layer(covariance, gives):
    bias = covariance != "shared"
    TestCase().run_layer_test(
        MarginalDense,
        {"units": 4, "covariance": covariance, "gives": gives, "use_bias": bias},
        input_shape=(2, 3, 5),
        expected_output_shape=(2, 3, 4 if gives == "scaled_logits" else 8),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=2 + bias + (covariance == "shared"),
        expected_num_seed_generators=0,
        supports_masking=True,
        run_training_check=False,
        run_mixed_precision_check=False,
    )


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_variance_is_the_formula(covariance, use_bias):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3)).astype("float32")
    layer = MarginalDense(2, covariance, "mean_and_variance", use_bias=use_bias)
    layer.build((None, 3))
    weights = [rng.normal(size=w.shape) for w in layer.get_weights()]
    if covariance != "by_output":
        weights[-1] = np.abs(weights[-1])
    layer.set_weights(weights)
    wide = np.concatenate([x, np.ones((6, 1))], axis=1) if use_bias else x
    mean = x @ weights[0] + (weights[1] if use_bias else 0)
    if covariance == "by_output":
        blocks = np.split(weights[-1], 2, axis=1)
        variance = np.stack([np.square(wide @ p).sum(1) for p in blocks], 1)
    elif covariance == "shared":
        variance = np.square(wide @ weights[-2]) @ weights[-1]
    else:
        variance = np.square(wide) @ weights[-1]
    found = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(found, np.concatenate([mean, variance], 1), rtol=2e-5)
    soft = MarginalDense(2, covariance, activation="softmax", use_bias=use_bias)
    soft.build((None, 3))
    soft.set_weights(weights)
    expected = scipy.special.softmax(mean / np.sqrt(1 + np.pi / 8 * variance), axis=-1)
    found = keras.ops.convert_to_numpy(soft(x))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_half_precision_is_computed_in_float32():
    layer = MarginalDense(2, "diagonal", use_bias=False)
    model = keras.Sequential([keras.Input((3,), dtype="bfloat16"), layer])
    assert layer.compute_dtype == "float32" and model.outputs[0].dtype == "float32"


@pytest.mark.parametrize(
    "arguments,said",
    [
        ((0, "shared"), "`units`"),
        ((2, "some"), "`covariance`"),
        ((2, "shared", "mean"), "`gives`"),
        ((2, "shared", "mean_and_variance", "softmax"), "`activation`"),
    ],
    ids=["units", "covariance", "gives", "activation"],
)
def test_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        MarginalDense(*arguments)
