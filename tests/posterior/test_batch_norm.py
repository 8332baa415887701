"""BatchNorm statistics of draws against NumPy's over all the data together."""

import keras
import numpy as np
import pytest

from tfhyper import layers
from tfhyper.posterior import Draw, PosteriorPredictor
from tfhyper.posterior.networks.batch_norm import BatchMoments, PooledMoments

BN = keras.layers.BatchNormalization
numpy = keras.ops.convert_to_numpy
SHAPES = {"dense": (6,), "1d": (7, 3), "2d": (6, 5, 2), "3d": (4, 3, 5, 2)}


def hyper_layer(kind, units, name):
    options = {"hidden_units": 16, "code_units": 4, "seed": 1, "name": name}
    if kind == "dense":
        return layers.HyperDense(units, **options)
    layer = getattr(layers, f"HyperConv{kind.upper()}")
    return layer(units, 2, padding="same", **options)


def randomise(model, seed=0):
    """Gives BatchNorm's parameters and averages values that cannot be missed."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, BN):
            layer.set_weights(
                [rng.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()]
            )
    return model


def network(kind, axis=-1, **options):
    keras.utils.set_random_seed(7)
    return randomise(
        keras.Sequential(
            [
                keras.Input(SHAPES[kind]),
                hyper_layer(kind, 4, "first"),
                BN(axis=axis, name="bn1", **options),
                keras.layers.Activation("relu"),
                hyper_layer(kind, 3, "second"),
                BN(axis=axis, name="bn2", **options),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
    )


def data(kind, size=23):
    rng = np.random.default_rng(5)
    return rng.normal(1.0, 2.0, (size, *SHAPES[kind])).astype("float32")


def moments_by_hand(plain, batches):
    """Moments of each BatchNorm's inputs, layer after layer, in NumPy.

    Each layer sees what the layers before it make of the same batch, and the
    inputs of all batches are put together before their moments are taken.
    """
    seen = {}
    for x in batches:
        for layer in plain.layers[1:]:  # without the InputLayer
            if not (isinstance(layer, BN) and layer.trainable):
                x = numpy(layer(x, training=False))
                continue
            wide = x.astype(np.float64)
            seen.setdefault(layer.name, []).append(wide)
            axis = layer.axis % x.ndim
            others = tuple(i for i in range(x.ndim) if i != axis)
            shape = [-1 if i == axis else 1 for i in range(x.ndim)]
            deviation = np.sqrt(wide.var(others, keepdims=True) + layer.epsilon)
            x = (wide - wide.mean(others, keepdims=True)) / deviation
            if layer.gamma is not None:
                x = x * np.reshape(numpy(layer.gamma), shape)
            if layer.beta is not None:
                x = x + np.reshape(numpy(layer.beta), shape)
            x = x.astype("float32")
    moments = {}
    for layer in plain.layers:
        if layer.name in seen:
            inputs = np.concatenate(seen[layer.name])
            axis = layer.axis % inputs.ndim
            others = tuple(i for i in range(inputs.ndim) if i != axis)
            moments[layer.name] = (inputs.mean(others), inputs.var(others))
    return moments


def assert_moments(draw, expected, tolerance=1e-5):
    assert set(draw.moments) == set(expected) and expected
    for name, (mean, variance) in expected.items():
        found_mean, found_variance = draw.moments[name]
        assert found_mean.shape == mean.shape == found_variance.shape
        scale = np.sqrt(variance).max()
        np.testing.assert_allclose(found_mean, mean, atol=tolerance * scale)
        np.testing.assert_allclose(found_variance, variance, rtol=10 * tolerance)
        assert not np.allclose(variance, 0.0)


def split(x, batch_size):
    return [x[i : i + batch_size] for i in range(0, len(x), batch_size)]


def test_pooled_moments_are_those_of_the_whole_array():
    rng = np.random.default_rng(0)
    array = rng.normal([0.0, 3.0, -2.0], [1.0, 0.1, 5.0], (101, 3))
    pool = PooledMoments()
    for part in np.split(array, [1, 4, 50, 51, 90]):
        pool.add(len(part), part.mean(0), part.var(0))
    mean, variance = pool.result()
    assert pool.count == 101 and mean.dtype == variance.dtype == np.float32
    np.testing.assert_allclose(mean, array.mean(0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(variance, array.var(0), rtol=1e-6)
    assert not np.allclose(variance, array.var(0, ddof=1), rtol=1e-3)


def test_pooled_moments_of_a_large_offset_do_not_cancel():
    array = np.random.default_rng(1).normal(1e4, 1.0, (1000, 2)).astype("float32")
    pool = PooledMoments()
    for part in np.split(array, [7, 300, 301, 800]):
        wide = part.astype(np.float64)
        pool.add(len(part), np.float32(wide.mean(0)), np.float32(wide.var(0)))
    naive = np.square(array).mean(0) - np.square(array.mean(0))
    exact = array.astype(np.float64).var(0)
    assert np.abs(naive / exact - 1).max() > 0.1
    np.testing.assert_allclose(pool.result()[1], exact, rtol=2e-3)

    shifted = PooledMoments()
    for part in np.split(np.float64(array), [7, 300, 301, 800]):
        shifted.add(len(part), part.mean(0), part.var(0))
    np.testing.assert_allclose(shifted.result()[1], exact, rtol=1e-7)


def test_pooled_moments_ignore_the_order_of_the_batches():
    array = np.random.default_rng(2).normal(size=(30, 4))
    results = []
    for parts in (np.split(array, [2, 20]), np.split(array, [2, 20])[::-1]):
        pool = PooledMoments()
        for part in parts:
            pool.add(len(part), part.mean(0), part.var(0))
        results.append(pool.result())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_moments_of_one_batch_with_a_large_offset():
    layer = BN()
    layer.build((None, 2))
    x = np.random.default_rng(3).normal(1e4, 1.0, (4000, 2)).astype("float32")
    outputs, mean, variance, count = BatchMoments(layer)(x)
    assert float(count[0, 0]) == 4000
    assert mean.shape == variance.shape == (1, 2)
    exact = x.astype(np.float64).var(0)
    np.testing.assert_allclose(numpy(mean)[0], x.mean(0, "float64"), rtol=1e-5)
    np.testing.assert_allclose(numpy(variance)[0], exact, rtol=5e-3)
    np.testing.assert_allclose(numpy(outputs).std(0), 1.0, atol=5e-3)


@pytest.mark.parametrize(
    "kind, axis",
    [
        ("dense", -1),
        ("dense", 1),
        ("1d", -1),
        ("1d", 1),
        ("2d", -1),
        ("2d", 1),
        ("3d", -1),
        ("3d", 2),
    ],
)
def test_moments_are_those_of_numpy_layer_by_layer(kind, axis):
    model, x = network(kind, axis), data(kind)
    predictor = PosteriorPredictor(model, num_draws=2)
    predictor.calibrate(x, batch_size=9, verbose=0)
    for draw in predictor.draws:
        plain = predictor.materialize(Draw(draw.noise))
        assert_moments(draw, moments_by_hand(plain, split(x, 9)))
    first, second = predictor.draws
    assert not np.allclose(first.moments["bn1"], second.moments["bn1"], rtol=1e-2)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}])
def test_layers_without_scale_or_offset(options):
    model, x = network("dense", **options), data("dense")
    predictor = PosteriorPredictor(model, num_draws=1)
    predictor.calibrate(x, batch_size=9, verbose=0)
    plain = predictor.materialize(Draw(predictor.draws[0].noise))
    assert_moments(predictor.draws[0], moments_by_hand(plain, split(x, 9)))


def test_variance_is_biased_as_in_training():
    model, x = network("dense"), data("dense", size=5)
    predictor = PosteriorPredictor(model, num_draws=1)
    predictor.calibrate(x, batch_size=5, verbose=0)
    plain = predictor.materialize(Draw(predictor.draws[0].noise))
    inputs = numpy(plain.layers[1](x)).astype(np.float64)
    variance = predictor.draws[0].moments["bn1"][1]
    np.testing.assert_allclose(variance, inputs.var(0), rtol=1e-4)
    assert not np.allclose(variance, inputs.var(0, ddof=1), rtol=0.1)


def test_moments_differ_from_the_moving_averages():
    model, x = network("2d"), data("2d")
    predictor = PosteriorPredictor(model, num_draws=2)
    predictor.calibrate(x, verbose=0)
    for draw in predictor.draws:
        for name, (mean, variance) in draw.moments.items():
            layer = model.get_layer(name)
            assert np.all(np.abs(mean - numpy(layer.moving_mean)) > 1e-4)
            assert np.all(np.abs(variance - numpy(layer.moving_variance)) > 1e-4)


def test_a_dataset_gives_the_moments_of_its_array():
    tf = pytest.importorskip("tensorflow")
    model, x = network("1d"), data("1d")
    labels = np.zeros(len(x), "int32")
    found = []
    for inputs in (
        x,
        tf.data.Dataset.from_tensor_slices(x).batch(9),
        tf.data.Dataset.from_tensor_slices((x, labels)).batch(9),
    ):
        predictor = PosteriorPredictor(model, num_draws=1)
        predictor.calibrate(inputs, batch_size=9, verbose=0)
        found.append(predictor.draws[0].moments)
    for moments in found[1:]:
        for name, values in found[0].items():
            np.testing.assert_array_equal(moments[name], values)


def test_frozen_layers_keep_their_own_statistics():
    model, x = network("dense"), data("dense")
    model.get_layer("bn1").trainable = False
    predictor = PosteriorPredictor(model, num_draws=1)
    predictor.calibrate(x, batch_size=9, verbose=0)
    draw = predictor.draws[0]
    assert set(draw.moments) == {"bn2"}
    plain = predictor.materialize(Draw(draw.noise))
    assert_moments(draw, moments_by_hand(plain, split(x, 9)))
    frozen = predictor.materialize(0).get_layer("bn1")
    for now, before in zip(
        frozen.get_weights(), model.get_layer("bn1").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(now, before)


def test_a_model_whose_layers_are_all_frozen_needs_no_calibration():
    model = network("dense")
    model.trainable = False
    prediction = PosteriorPredictor(model, num_draws=2).predict(data("dense"))
    assert np.isfinite(prediction.members).all()


@pytest.mark.parametrize("nested", [False, True])
def test_layers_called_in_inference_mode_keep_their_own_statistics(nested):
    keras.utils.set_random_seed(7)
    inputs = keras.Input((6,))
    norm = BN(name="held")
    if nested:
        inner = keras.Input((6,))
        base = keras.Model(inner, norm(keras.layers.Dense(6)(inner)))
        x = base(inputs, training=False)
    else:
        x = norm(keras.layers.Dense(6)(inputs), training=False)
    x = BN(name="free")(keras.layers.Dense(4)(x))
    model = randomise(keras.Model(inputs, keras.layers.Dense(3)(x)))
    predictor = PosteriorPredictor(model, num_draws=1)
    predictor.calibrate(data("dense"), verbose=0)
    assert set(predictor.draws[0].moments) == {"free"}


@pytest.mark.parametrize("dropout", [layers.Dropout, keras.layers.Dropout])
def test_dropout_is_off_in_the_pass(dropout):
    def model_with(rate):
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6,))
        x = layers.HyperDense(8, code_units=4, seed=1)(inputs)
        x = dropout(rate, seed=1)(x) if rate else x
        x = BN(name="bn")(x)
        return keras.Model(inputs, keras.layers.Dense(3)(x))

    plain, dropped = model_with(0.0), model_with(0.9)
    dropped.set_weights(plain.get_weights())
    found = []
    for model in (plain, dropped):
        predictor = PosteriorPredictor(model, num_draws=1, seed=4)
        predictor.calibrate(data("dense"), verbose=0)
        found.append(predictor.draws[0].moments["bn"])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-6)


def test_the_model_keeps_its_weights_bit_for_bit():
    model, x = network("2d"), data("2d")
    model(x, training=False)
    before = [w.copy() for w in model.get_weights()]
    predictor = PosteriorPredictor(model, num_draws=2)
    predictor.calibrate(x, batch_size=9, verbose=0)
    predictor.predict(x)
    predictor.materialize(1)
    after = model.get_weights()
    assert len(before) == len(after) > 0
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_two_predictors_of_one_model_share_nothing():
    model, x = network("2d"), data("2d")
    first = PosteriorPredictor(model, num_draws=2, seed=0)
    second = PosteriorPredictor(model, num_draws=2, seed=1)
    first.calibrate(x, batch_size=9, verbose=0)
    assert not any(draw.moments for draw in second.draws)
    before = first.predict(x).members
    second.calibrate(3.0 * x + 1.0, batch_size=9, verbose=0)
    other = second.predict(x).members
    np.testing.assert_array_equal(first.predict(x).members, before)
    assert np.abs(other - before).max() > 1e-3


def test_a_batch_norm_layer_that_is_called_twice_is_refused():
    inputs = keras.Input((6,))
    norm = BN(name="shared")
    x = norm(keras.layers.Dense(6)(norm(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(ValueError, match="'shared' is called more than once"):
        PosteriorPredictor(model, num_draws=1)


def test_residual_network_normalises_training_inputs_to_mean_0_variance_1():
    from tfhyper import kits, models

    keras.utils.set_random_seed(7)
    model = models.wide_resnet(
        10, 1, num_classes=3, input_shape=(8, 8, 1), kit=kits.hyper(seed=0)
    )
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
    predictor = PosteriorPredictor(model, num_draws=2).calibrate(
        x, batch_size=16, verbose=0
    )
    plain = predictor.materialize(1)
    norms = [layer for layer in plain.layers if isinstance(layer, BN)]
    assert len(norms) == 7 == len(predictor.draws[1].moments)
    outputs = keras.Model(plain.input, [layer.output for layer in norms])(x)
    for layer, output in zip(norms, outputs, strict=True):
        variance = numpy(layer.moving_variance)
        expected = variance / (variance + layer.epsilon)
        output = numpy(output).astype(np.float64)
        np.testing.assert_allclose(output.mean((0, 1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(output.var((0, 1, 2)), expected, atol=1e-3)
