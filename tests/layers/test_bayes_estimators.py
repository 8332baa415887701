"""Reparameterization, local reparameterization and flipout against exact moments."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.bayes import (
    ESTIMATORS,
    bayes_class,
    softplus,
    spread,
    stock_layer,
    weights_of,
)
from tests.helpers.layers import (
    gradients,
    normal,
    numpy_conv2d,
    sized,
    to_numpy,
)
from tfhyper.layers import BayesConv2D, BayesDense

DRAWS = 1000
# Beside Conv2D, which NumPy checks.
MOMENT_CASES = {
    "Dense": {},
    "Conv1D": {"padding": "causal", "dilation_rate": 2},
    "Conv2DTranspose": {"strides": 2},
    "Conv3D": {"padding": "same"},
    "DepthwiseConv2D": {"strides": 2},
}


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return request.param


class Calls(keras.Model):
    """Many calls of a layer at once: (batch, ...) to (batch, calls, ...)."""

    def __init__(self, layer, calls, training):
        super().__init__()
        self.layer, self.calls = layer, calls
        self.options = {"training": training}

    def call(self, x):
        calls = [self.layer(x, **self.options) for _ in range(self.calls)]
        return ops.stack(calls, axis=1)


def draws_of(layer, x, number=DRAWS, training=True):
    """Returns the outputs of many calls, (number, batch, ...)."""
    calls = math.gcd(number, 20)
    repeated = np.tile(x, [number // calls] + [1] * (x.ndim - 1))
    outputs = Calls(layer, calls, training).predict(
        repeated, batch_size=len(x), verbose=0
    )
    outputs = outputs.reshape(number // calls, *x.shape[:1], calls, *outputs.shape[2:])
    return outputs.swapaxes(1, 2).reshape(number, *x.shape[:1], *outputs.shape[3:])


def check_moments(found, mean, variance):
    """Five standard errors: of a mean, and of a normal number's variance."""
    number = len(found)
    error = np.abs(found.mean(axis=0) - mean) / np.sqrt(variance / number)
    assert error.max() < 5
    ratio = found.var(axis=0) / variance
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / number)


@pytest.mark.parametrize("estimator", ESTIMATORS[1:])
@pytest.mark.parametrize("name, options", MOMENT_CASES.items(), ids=MOMENT_CASES)
def test_mean_and_variance_of_the_outputs(name, options, estimator):
    options, inputs_shape = sized(name, options)
    layer = bayes_class(name)(
        **options, estimator=estimator, bias_initializer="random_normal", seed=1
    )
    layer.build(inputs_shape)
    spread(layer)
    x = normal(*inputs_shape)
    weights = weights_of(layer)
    mean = stock_layer(
        name, options, inputs_shape, weights["kernel_mean"], weights["bias"]
    )(x)
    variance = stock_layer(
        name,
        {**options, "use_bias": False},
        inputs_shape,
        softplus(weights["kernel_rho"]) ** 2,
    )(x**2)
    mean, variance = to_numpy(mean), to_numpy(variance)
    # Where no weight meets an input, as between strides, there is the bias alone.
    variance = np.maximum(variance, 1e-12)
    check_moments(draws_of(layer, x), mean, variance)


@pytest.mark.parametrize("strides, groups", [(1, 1), (2, 2)])
@pytest.mark.parametrize("estimator", [*ESTIMATORS, None])
def test_moments_of_conv2d_by_numpy(strides, groups, estimator):
    training = estimator is not None
    layer = BayesConv2D(
        4,
        3,
        strides=strides,
        groups=groups,
        estimator=estimator or "flipout",
        bias_posterior="gaussian",
        seed=2,
    )
    x = normal(2, 5, 6, 4)
    layer.build(x.shape)
    spread(layer)
    weights = weights_of(layer)
    how = (strides, "valid", 1, groups)
    mean = numpy_conv2d(x, weights["kernel_mean"], *how) + weights["bias_mean"]
    variance = numpy_conv2d(x**2, softplus(weights["kernel_rho"]) ** 2, *how)
    variance = variance + softplus(weights["bias_rho"]) ** 2
    check_moments(draws_of(layer, x, training=training), mean, variance)


def repeated_example(estimator, training, number, batch):
    layer = BayesConv2D(3, 2, estimator=estimator, seed=3)
    x = np.repeat(normal(1, 3, 3, 2), batch, axis=0)
    layer.build(x.shape)
    spread(layer)
    return layer, draws_of(layer, x, number, training)


@pytest.mark.parametrize("training", [True, False])
def test_one_kernel_for_the_batch(estimator, training):
    _, found = repeated_example(estimator, training, 20, 5)
    spread_in_batch = np.ptp(found, axis=1)
    if training and estimator != "reparameterization":
        assert spread_in_batch.reshape(20, -1).max(axis=1).min() > 0.1
    else:
        assert spread_in_batch.max() < 1e-6
    assert np.std(found, axis=0).min() > 0.05


def test_correlation_of_examples_in_a_batch(estimator):
    _, found = repeated_example(estimator, True, DRAWS, 2)
    first, second = (found[:, i] - found[:, i].mean(axis=0) for i in (0, 1))
    correlation = np.mean(first * second, axis=0) / (
        first.std(axis=0) * second.std(axis=0)
    )
    if estimator == "reparameterization":
        np.testing.assert_allclose(correlation, 1, atol=1e-4)
    else:
        # Five standard errors of the correlation of independent numbers.
        assert np.abs(correlation).max() < 5 / np.sqrt(DRAWS)


def test_local_noise_differs_from_place_to_place():
    # One kernel gives equal outputs for equal patches; local noise does not.
    x = np.ones((1, 4, 4, 2), "float32")
    for estimator in ESTIMATORS:
        layer = BayesConv2D(1, 2, estimator=estimator)
        y = to_numpy(layer(x, training=True))
        assert (np.ptp(y) > 1e-3) == (estimator == "local_reparameterization")


@pytest.mark.parametrize("name", ["Conv2D", *MOMENT_CASES])
def test_flipout_flips_nothing_of_the_mean(name):
    options, inputs_shape = sized(name, {})
    layer = bayes_class(name)(
        **options,
        estimator="flipout",
        initial_scale=1e-30,
        bias_initializer="random_normal",
    )
    layer.build(inputs_shape)
    weights = weights_of(layer)
    x = normal(*inputs_shape)
    stock = stock_layer(
        name, options, inputs_shape, weights["kernel_mean"], weights["bias"]
    )
    expected = to_numpy(stock(x))
    for _ in range(5):  # other signs each time
        np.testing.assert_array_equal(to_numpy(layer(x, training=True)), expected)


def test_flipout_averages_to_the_mean_within_one_batch():
    batch = 4000
    layer, found = repeated_example("flipout", True, 1, batch)
    weights = weights_of(layer)
    kernel = weights["kernel_mean"]
    expected = numpy_conv2d(normal(1, 3, 3, 2), kernel, 1, "valid", 1, 1)
    # One draw of the deviations; its signs alone average them out.
    error = np.abs(found[0].mean(axis=0) - expected[0])
    assert np.all(error < 5 * found[0].std(axis=0) / np.sqrt(batch))
    deviations = np.abs(found[0] - expected)
    # 2 input channels, 3 output channels: the sizes are |a + b| and |a - b|.
    sizes = {tuple(np.round(d.ravel(), 3)) for d in deviations[:200]}
    assert len(sizes) == 2


def test_flipout_signs_are_even_and_independent():
    layer = BayesDense(3, estimator="flipout", use_bias=False, seed=4)
    layer.build((None, 2))
    spread(layer)
    x = np.tile(np.array([[1.0, 0.0]], "float32"), (4000, 1))
    mean = weights_of(layer)["kernel_mean"][0]
    signs = np.sign(to_numpy(layer(x, training=True)) - mean)
    # Five standard errors of 4000 fair signs, and of products of two.
    assert np.abs(signs.mean(axis=0)).max() < 5 / np.sqrt(4000)
    # One sign of the input is common to all outputs, those of the outputs differ.
    products = [np.mean(signs[:, i] * signs[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert np.abs(products).max() < 5 / np.sqrt(4000)


def test_gradients_vary_less_with_noise_for_each_example():
    # y = x w, loss = mean (y - t)^2 over n examples: the gradient of the mean is
    # 2/n sum_i (y_i - t_i) x_i, with noise of its own in each y_i or a common one.
    count, features, scale, draws = 64, 5, 0.5, 150
    x, targets = normal(count, features), normal(count, 1, seed=1)
    shared = 4 * scale**2 * np.sum(np.square(x.T @ x / count))
    apart = 4 * scale**2 * np.sum(np.sum(x**2, axis=1) ** 2) / count**2
    found = {}
    for estimator in ESTIMATORS:
        layer = BayesDense(1, estimator=estimator, use_bias=False, seed=5)
        layer.build(x.shape)
        spread(layer, scale, scale)
        (mean,) = [v for v in layer.trainable_weights if v.name == "kernel_mean"]

        def loss(layer=layer):
            errors = ops.subtract(layer(x, training=True), targets)
            return ops.mean(ops.square(errors))

        values = []
        for count in range(draws):
            layer.draws.assign([count, 0])  # JAX's gradients leave no trace of it
            values.append(gradients(loss, [mean])[0])
        found[estimator] = np.var(values, axis=0, ddof=1).sum()
    assert found["reparameterization"] == pytest.approx(shared, rel=0.25)
    assert found["local_reparameterization"] == pytest.approx(apart, rel=0.25)
    assert found["flipout"] == pytest.approx(apart, rel=0.25)
    assert found["reparameterization"] > 5 * found["local_reparameterization"]
    assert found["reparameterization"] > 5 * found["flipout"]
