"""Spectral normalization: the norm against that of the layer's matrix, and Keras."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.bayes import stock_layer
from tests.helpers.layers import (
    CASES,
    OPTION_CASES,
    gradients,
    normal,
    sized,
    to_numpy,
)
from tfhyper import PosteriorPredictor, layers
from tfhyper.posterior import PointNetwork

CLASSES = {
    "Dense": layers.SpectralDense,
    "Conv1D": layers.SpectralConv1D,
    "Conv2D": layers.SpectralConv2D,
    "Conv3D": layers.SpectralConv3D,
}
NAMES = {name: case for name, case in CASES.items() if case[0] in CLASSES}
OF_OPTIONS = {name: case for name, case in OPTION_CASES.items() if case[0] in CLASSES}


def matrix_of(name, options, inputs_shape, kernel):
    """Returns the linear map of a stock layer: what it makes of each unit vector."""
    plain = {**options, "use_bias": False, "activation": None}
    shape = inputs_shape[-1:] if name == "Dense" else inputs_shape[1:]
    units = np.eye(int(np.prod(shape)), dtype="float32").reshape(-1, *shape)
    stock = stock_layer(name, plain, units.shape, kernel, None)
    return to_numpy(stock(units)).reshape(len(units), -1)


def flat(array, channels_first):
    """Returns an example of the layer's map, channels last, as the matrix takes it."""
    if channels_first:
        array = np.moveaxis(array, -1, 1)
    return array.reshape(-1)


def trained(cls, options, inputs_shape, bound):
    """Returns a layer that had trained weights put in, and its inputs."""
    layer = cls(**options, norm_bound=bound, bias_initializer="random_normal")
    layer.build(inputs_shape)
    layer.set_mean(
        normal(*layer._kernel_mean.shape, seed=1),
        None if layer.bias is None else normal(*layer.bias.shape, seed=2),
    )
    return layer, normal(*inputs_shape)


@pytest.mark.parametrize("name", NAMES)
def test_keras_checks_of_a_layer(name):
    stock, options, inputs_shape, _ = NAMES[name]
    TestCase().run_layer_test(
        CLASSES[stock],
        {**options, "norm_bound": 0.5, "power_iterations": 2},
        input_shape=inputs_shape,
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=1,
        expected_num_seed_generators=0,
        expected_num_losses=0,
    )


@pytest.mark.parametrize("case", [*NAMES, *OF_OPTIONS])
def test_norm_and_outputs_are_those_of_the_layers_matrix(case):
    if case in NAMES:
        name, options, inputs_shape, _ = NAMES[case]
    else:
        name, options = OF_OPTIONS[case]
        options, inputs_shape = sized(name, options)
    layer, x = trained(CLASSES[name], options, inputs_shape, bound=0.8)
    kernel = to_numpy(layer._kernel_mean)
    matrix = matrix_of(name, options, inputs_shape, kernel)
    # The adjoint map is the transposed matrix.
    first = options.get("data_format") == "channels_first"
    vector = normal(*layer.singular_vector.shape, seed=3)
    image = to_numpy(layer._map.forward(vector, kernel))
    np.testing.assert_allclose(
        flat(image, first), flat(vector, first) @ matrix, atol=1e-4
    )
    adjoint = to_numpy(layer._map.adjoint(image, kernel))
    np.testing.assert_allclose(
        flat(adjoint, first), matrix @ flat(image, first), atol=1e-3
    )
    largest = np.linalg.svd(matrix.astype("float64"), compute_uv=False)[0]
    # Power iteration comes from below, and slowly where two values are close.
    assert 0.98 * largest < float(layer.norm()) < 1.00001 * largest
    bounded = kernel * (0.8 / float(layer.norm()))
    np.testing.assert_allclose(to_numpy(layer.kernel), bounded, rtol=1e-5)
    bias = None if layer.bias is None else to_numpy(layer.bias)
    stock = stock_layer(name, options, inputs_shape, bounded, bias)
    np.testing.assert_allclose(to_numpy(layer(x)), to_numpy(stock(x)), atol=1e-5)
    found = matrix_of(name, options, inputs_shape, to_numpy(layer.kernel))
    assert np.linalg.svd(found, compute_uv=False)[0] == pytest.approx(0.8, rel=0.02)


def test_a_norm_below_the_bound_is_left_alone():
    layer, x = trained(layers.SpectralDense, {"units": 4}, (2, 5), bound=100.0)
    stock = stock_layer(
        "Dense", {"units": 4}, (2, 5), to_numpy(layer._kernel_mean), layer.bias
    )
    for training in (False, True):
        found = to_numpy(layer(x, training=training))
        np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-6)


def test_training_goes_on_with_the_vector_and_prediction_does_not():
    layer = layers.SpectralDense(4, norm_bound=0.5)
    x = normal(3, 5)
    layer(x)
    start = to_numpy(layer.singular_vector).copy()
    layer(x, training=False)
    np.testing.assert_array_equal(to_numpy(layer.singular_vector), start)
    kernel = to_numpy(layer._kernel_mean).astype("float64")
    v = start.astype("float64") / np.linalg.norm(start)
    for _ in range(3):
        layer(x, training=True)
        u = v @ kernel / np.linalg.norm(v @ kernel)
        v = u @ kernel.T / np.linalg.norm(u @ kernel.T)
    np.testing.assert_allclose(to_numpy(layer.singular_vector), v, atol=1e-5)


def test_the_gradient_goes_through_the_norm():
    layer, x = trained(layers.SpectralDense, {"units": 4}, (2, 5), bound=0.5)
    kernel = to_numpy(layer._kernel_mean).astype("float64")
    (found,) = gradients(
        lambda: ops.sum(ops.square(layer(x, training=True))), [layer._kernel_mean]
    )
    bias = to_numpy(layer.bias).astype("float64")

    def loss(w):
        scale = 0.5 / np.linalg.svd(w, compute_uv=False)[0]
        return np.square(x @ w * scale + bias).sum()

    expected = np.zeros_like(kernel)
    for place in np.ndindex(*kernel.shape):
        step = np.zeros_like(kernel)
        step[place] = 1e-5
        expected[place] = (loss(kernel + step) - loss(kernel - step)) / 2e-5
    np.testing.assert_allclose(to_numpy(found), expected, atol=2e-3)


def test_inputs_of_any_size_count_as_32():
    def norm(size):
        layer = layers.SpectralConv2D(3, 3, padding="same")
        layer.build((None, size, size, 2))
        layer.set_mean(normal(3, 3, 2, 3), np.zeros(3))
        assert layer.singular_vector.shape == (1, 32, 32, 2)
        return float(layer.norm())

    assert norm(None) == pytest.approx(norm(32), rel=0.01)


def small_network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = layers.SpectralConv2D(4, 3, norm_bound=0.5, activation="relu")(inputs)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, layers.SpectralDense(3, norm_bound=0.9)(x))


def test_a_draw_is_a_network_of_stock_layers_and_files_hold_the_vector(tmp_path):
    model = small_network()
    model.compile("sgd", "mse")
    x = normal(8, 6, 6, 2)
    model.fit(x, normal(8, 3, seed=1), epochs=2, verbose=0)
    expected = to_numpy(model(x))
    network = PointNetwork(model)
    network.set(network.mean())
    assert [type(layer).__name__ for layer in network.network.layers[1:]] == [
        "Conv2D",
        "Flatten",
        "Dense",
    ]
    np.testing.assert_allclose(to_numpy(network.network(x)), expected, atol=1e-6)
    predictor = PosteriorPredictor(model, outputs="mean")
    assert predictor.num_draws == 1
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-6)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(copy(x)), expected)
    predictor.save(tmp_path / "p.tfhyper")
    again = PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_array_equal(again.predict(x).mean, predictor.predict(x).mean)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm_bound": 0.0}, "`norm_bound` must be a finite number > 0.*=0.0"),
        ({"norm_bound": -1}, "`norm_bound` must be a finite number > 0.*=-1"),
        ({"norm_bound": None}, "`norm_bound` must be a finite number > 0.*=None"),
        ({"power_iterations": 0}, "`power_iterations` must be a positive.*=0"),
        ({"units": 0}, "`units` must be a positive integer.*=0"),
        ({"use_bias": 2}, "`use_bias` must be"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        layers.SpectralDense(**{"units": 3, **options})


def test_iterations_by_hand_are_checked():
    layer = layers.SpectralDense(3)
    layer.build((None, 2))
    with pytest.raises(ValueError, match="`iterations` must be a positive integer"):
        layer.update_norm(0)
