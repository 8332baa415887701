"""ConcreteDropout: masks and KL in NumPy, its rate, and what a draw fixes."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops
from keras.src.testing import TestCase

import tfhyper
from tests.helpers.layers import normal, to_numpy
from tests.helpers.masks import INFERENCE, expected_words
from tfhyper import PosteriorPredictor, export
from tfhyper.layers import ConcreteDropout, role_of, variational_layers
from tfhyper.layers.masks import uniform_numbers


def expected_masks(seed, count, examples, features, rate, first=0, temperature=0.1):
    """Equation 5 of the paper, for what is kept, over 1 - p."""
    words = expected_words(seed, count, examples, features, first).astype("float64")
    u = (words // 2**9 + 0.5) / 2**23
    odds = np.log(u) - np.log1p(-u) - np.log(rate) + np.log1p(-rate)
    return 1 / (1 + np.exp(-odds / temperature)) / (1 - rate)


def identity(features, **options):
    """A dense layer that gives its inputs."""
    return L.Dense(features, use_bias=False, kernel_initializer="identity", **options)


def network(**options):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(4, 3, activation="relu"),
            ConcreteDropout(
                L.Conv2D(5, 2, name="conv"), 0.3, seed=3, kl_weight=0.01, **options
            ),
            L.Flatten(),
            ConcreteDropout(L.Dense(3, name="logits"), 0.2, seed=4, kl_weight=0.01),
        ]
    )


def images(size=9):
    return normal(size, 6, 6, 2)


# Masks.


def test_uniform_numbers_are_uniform_and_neither_0_nor_1():
    stats = pytest.importorskip("scipy.stats")
    key = ops.convert_to_tensor(np.array([7, 3], "int32"))
    found = to_numpy(uniform_numbers(key, ops.convert_to_tensor(5), 200, 500))
    expected = (expected_words(7, 3, 200, 500, 5) // 2**9 + 0.5) / 2**23
    np.testing.assert_array_equal(found, expected.astype("float32"))
    assert 0 < found.min() and found.max() < 1
    assert stats.kstest(found.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_calls_draw_masks_of_seed_and_count(training):
    layer = ConcreteDropout(identity(50), 0.3, seed=5)
    x = normal(4, 50)
    for i in range(2):
        found = to_numpy(layer(x, training=training))
        count = i + (0 if training else INFERENCE)
        masks = expected_masks(5, count, 4, 50, 0.3)
        np.testing.assert_allclose(found, x * masks, rtol=1e-4, atol=1e-5)
    assert to_numpy(layer.draws).tolist() == ([2, 0] if training else [0, 2])


def test_masks_have_the_moments_of_the_relaxed_ones():
    stats = pytest.importorskip("scipy.stats")
    integrate = pytest.importorskip("scipy.integrate")
    layer = ConcreteDropout(identity(500), 0.3, seed=1, temperature=0.2)
    z = 0.7 * to_numpy(layer(np.ones((100, 500), "float32"))).astype("float64")

    def mask(u):
        odds = np.log(u / (1 - u)) - np.log(0.3 / 0.7)
        return 1 / (1 + np.exp(-odds / 0.2))

    moments = [
        integrate.quad(lambda u, k=k: mask(u) ** k, 0, 1, limit=200)[0] for k in (1, 2)
    ]
    deviation = np.sqrt(moments[1] - moments[0] ** 2)
    assert abs(z.mean() - moments[0]) < 4 * deviation / np.sqrt(z.size)
    assert z.std() == pytest.approx(deviation, rel=0.02)
    # Above a half with probability 1 - p, whatever the temperature.
    count = int((z < 0.5).sum())
    assert stats.binomtest(count, z.size, 0.3).pvalue > 1e-3


@pytest.mark.parametrize(
    "make, shape, axes",
    [
        (lambda: identity(8), (5, 8), (1,)),
        (lambda: L.Conv1D(8, 1), (5, 8), (1,)),
        (lambda: L.DepthwiseConv2D(1), (3, 4, 8), (1, 2)),
        (lambda: L.Conv2D(8, 1, data_format="channels_first"), (8, 3, 4), (2, 3)),
        (lambda: L.SeparableConv1D(8, 1), (5, 8), (1,)),
        (lambda: L.Conv3DTranspose(8, 1), (2, 2, 2, 8), (1, 2, 3)),
    ],
    ids=["dense", "conv1d", "depthwise", "channels_first", "separable", "transpose"],
)
def test_one_mask_for_each_channel_of_each_example(make, shape, axes):
    if "channels_first" in str(make().get_config()) and keras.backend.backend() != (
        "torch"
    ):
        pytest.skip("convolutions on CPUs want the channels last")
    layer = ConcreteDropout(make(), 0.5, seed=2)
    x = np.ones((6, *shape), "float32")
    y = to_numpy(layer(x))
    same = np.broadcast_to(y.mean(axes, keepdims=True), y.shape)
    np.testing.assert_allclose(y, same, atol=1e-5)
    assert len(np.unique(y.reshape(6, -1).round(4), axis=0)) == 6
    # Against the plain layer on inputs that NumPy has masked.
    where = [6, *(8 if i not in axes else 1 for i in range(1, len(x.shape)))]
    masks = expected_masks(2, INFERENCE, 6, 8, 0.5).reshape(where)
    expected = to_numpy(layer.layer((x * masks).astype("float32")))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_a_cold_mask_is_that_of_mc_dropout():
    x = np.ones((4, 100), "float32")
    cold = ConcreteDropout(identity(100), 0.4, temperature=1e-6, seed=3)
    np.testing.assert_allclose(
        to_numpy(cold(x)), to_numpy(tfhyper.layers.MCDropout(0.4, seed=3)(x)), rtol=1e-5
    )


# The loss.


def kl(kernel, rate, features, prior_scale=1.0):
    """Equations 3 and 4 of the paper, M = kernel / (1 - p) and l = 1 / prior_scale."""
    paper = np.sum(np.square(to_numpy(kernel).astype("float64") / (1 - rate)))
    entropy = -rate * np.log(rate) - (1 - rate) * np.log(1 - rate)
    return (1 - rate) * paper / (2 * prior_scale**2) - features * entropy


def test_kl_is_that_of_the_paper_once_for_all_calls():
    layer = ConcreteDropout(L.Conv2D(5, 3), 0.2, prior_scale=0.7, kl_weight=0.25)
    x = images()
    layer(x)
    layer(x, training=True)
    expected = kl(layer.layer.kernel, 0.2, 2, 0.7)
    (loss,) = layer.losses
    assert float(loss) == pytest.approx(0.25 * expected, rel=1e-5)
    assert float(layer.kl_divergence()) == pytest.approx(expected, rel=1e-5)
    layer.kl_factor.assign(0.5)
    assert float(layer.losses[0]) == pytest.approx(0.125 * expected, rel=1e-5)
    roles = {v.name: role_of(v) for v in layer.trainable_variables}
    assert roles == {"rate_logit": "posterior", "kernel": "posterior", "bias": None}
    layer.rate_logit.assign(np.log(0.9 / 0.1))
    assert float(layer.rate) == pytest.approx(0.9)
    expected = kl(layer.layer.kernel, 0.9, 2, 0.7)
    assert float(layer.kl_divergence()) == pytest.approx(expected, rel=1e-5)


def fit(layer, loss, steps, x, y):
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.compile(keras.optimizers.Adam(0.1), loss)
    # One epoch of the same batch: each epoch takes time of its own.
    data = [np.tile(part, (steps, 1)) for part in (x, y)]
    model.fit(*data, batch_size=len(x), verbose=0, shuffle=False)
    return float(layer.rate)


def test_the_rate_goes_to_the_optimum_of_the_kl():
    optimize = pytest.importorskip("scipy.optimize")
    layer = ConcreteDropout(identity(6, trainable=True), 0.3, 1.5, kl_weight=1.0)
    layer.layer.trainable = False  # the kernel alone: sum of squares 6
    x = np.zeros((1, 6), "float32")
    found = fit(layer, lambda y, p: 0.0 * ops.sum(p, axis=-1), 80, x, x)
    # d/dp of S / (2 s^2 (1 - p)) - K H(p), with S = K = 6.
    expected = optimize.brentq(
        lambda p: 1 / (2 * 1.5**2 * (1 - p) ** 2) - np.log((1 - p) / p), 1e-6, 0.5
    )
    assert found == pytest.approx(expected, abs=0.005)


def test_data_that_need_their_inputs_lower_the_rate():
    keras.utils.set_random_seed(0)
    x = normal(64, 3)
    layer = ConcreteDropout(L.Dense(1), 0.3, kl_weight=1 / 64, seed=1)
    y = x.sum(1, keepdims=True)

    def nll(y, p):  # of N(p, 0.1^2)
        return ops.sum(50 * ops.square(y - p), axis=-1)

    assert fit(layer, nll, 60, x, y) < 0.1


def test_the_weight_of_the_kl_is_found():
    layer = ConcreteDropout(L.Dense(1), seed=1)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mse")
    model.fit(normal(12, 3), np.zeros((12, 1)), batch_size=4, epochs=2, verbose=0)
    assert int(layer.examples) == 12
    assert float(model.losses[0]) == pytest.approx(float(layer.kl_divergence()) / 12)


def test_a_frozen_layer_draws_and_does_not_learn():
    layer = ConcreteDropout(L.Dense(2, trainable=False), 0.5)
    first, second = to_numpy(layer(normal(2, 9))), to_numpy(layer(normal(2, 9)))
    assert np.abs(first - second).max() > 0
    assert not layer.trainable_variables and not layer.losses


# In a draw.


def softmax(logits):
    return to_numpy(ops.softmax(logits))


def test_a_draw_is_the_network_with_its_masks_however_batched(tmp_path):
    model, x = network(), images()
    predictor = PosteriorPredictor(model, 2, seed=1)
    members = predictor.predict(x).members
    assert np.abs(members[0] - members[1]).max() > 0.01
    found = predictor.predict(x, batch_size=4).members
    np.testing.assert_allclose(found, members, atol=1e-6)
    conv, dropped, _, logits = model.layers
    noise = predictor.draws[1].noise
    hidden = to_numpy(conv(x))
    masks = expected_masks(*map(int, noise["conv"]), 9, 4, 0.3)[:, None, None]
    hidden = to_numpy(dropped.layer((hidden * masks).astype("float32")))
    flat = hidden.reshape(9, -1)
    masks = expected_masks(*map(int, noise["logits"]), 9, flat.shape[1], 0.2)
    expected = softmax(logits.layer((flat * masks).astype("float32")))
    np.testing.assert_allclose(members[1], expected, atol=1e-5)
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)
    plain = predictor.materialize(1)
    plain.save(tmp_path / "plain.keras")
    for one in (plain, keras.saving.load_model(tmp_path / "plain.keras")):
        np.testing.assert_allclose(softmax(one(x)), members[1], atol=1e-5)


def test_nothing_is_dropped_at_the_mean():
    model, x = network(), images()
    conv, dropped, flatten, logits = model.layers
    expected = softmax(logits.layer(flatten(dropped.layer(conv(x)))))
    found = PosteriorPredictor(model, deterministic=True).predict(x).mean
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_model_comes_back_from_its_file_and_goes_on(tmp_path):
    model, x = network(temperature=0.3), images()
    model.layers[1].rate_logit.assign(-0.5)
    model(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(x)), to_numpy(model(x)), atol=1e-6)
    assert loaded.layers[1].temperature == 0.3
    for new, old in zip(loaded.weights, model.weights, strict=True):
        assert old.path.endswith(new.path)  # less the name of the model
    for found, expected in zip(loaded.losses, model.losses, strict=True):
        assert float(found) == pytest.approx(float(expected), rel=1e-6)
    copy = keras.models.clone_model(model)
    assert len(variational_layers(copy)) == 2


def test_a_saved_model_gives_what_the_predictor_gives(tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras makes a SavedModel on TensorFlow")
    from tests.helpers.export import run

    predictor, x = PosteriorPredictor(network(), 2), images()
    export.saved_model(predictor, tmp_path / "it")
    found = run(tmp_path / "it", inputs=x)
    np.testing.assert_allclose(
        found["probabilities"], predictor.predict(x).mean, atol=1e-5
    )


def relu(x):
    """A user's activation, by a name that Keras has too."""
    return ops.maximum(x, 0.5 * x)


def test_a_users_activation_stays_by_whatever_name():
    def dropped():
        return ConcreteDropout(L.Dense(4, activation=relu, name="it"), 0.3)

    inner = keras.Sequential([keras.Input((4,)), dropped()], name="inner")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, dropped()(inner(inputs)))
    options = {"deterministic": True, "outputs": "mean"}
    predictor = PosteriorPredictor(model, **options)
    x = normal(5, 4)
    expected = x
    for layer in (inner.layers[0], model.layers[-1]):
        expected = to_numpy(layer.layer(expected))
    assert expected.min() < 0
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-6)


@pytest.mark.parametrize("averaging", ["parallelizing", "widening"])
def test_forms_of_averaging(averaging):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = L.Dense(8)(inputs)
    x = L.Add()([x, ConcreteDropout(L.Dense(8), 0.4, seed=1)(x)])
    model = keras.Model(inputs, L.Dense(2)(x))
    x = normal(5, 6)
    predictor = PosteriorPredictor(model, 4, averaging=averaging, outputs="mean")
    found = predictor.predict(x)
    np.testing.assert_allclose(
        predictor.predict(x, batch_size=2).mean, found.mean, atol=1e-5
    )
    # Linear behind the masks: an average inside is one of the outputs.
    members = PosteriorPredictor(model, 200, outputs="mean").predict(x).members
    deviation = members.std(0) / np.sqrt(4)
    assert (np.abs(found.mean - members.mean(0)) < 5 * deviation).all()


# Keras.


@keras.saving.register_keras_serializable("tests")
class DroppedDense(ConcreteDropout):
    """As Keras' checks make several layers of the same arguments, one with none."""

    def __init__(self, initial_rate=0.3, layer=None, dtype=None, **kwargs):
        super().__init__(layer or L.Dense(4, dtype=dtype), initial_rate, **kwargs)


def test_keras_checks_of_a_layer():
    TestCase().run_layer_test(
        DroppedDense,
        {"initial_rate": 0.4, "kl_weight": 0.1, "seed": 3},
        input_shape=(2, 3, 5),
        expected_output_shape=(2, 3, 4),
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=2,  # counts of draws, factor of the KL
        expected_num_seed_generators=0,
        expected_num_losses=1,
        supports_masking=True,
    )


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(dtype):
    layer = ConcreteDropout(identity(50, dtype=dtype), 0.5, seed=2)
    y = layer(np.ones((4, 50), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
    assert {v.dtype for v in layer.trainable_variables} == {"float32"}
    y = to_numpy(ops.cast(y, "float32"))
    expected = expected_masks(2, INFERENCE, 4, 50, 0.5)
    np.testing.assert_allclose(y, expected, rtol=0.01, atol=0.01)


def quantized():
    layer = L.Dense(4)
    layer.build((None, 4))
    layer.quantize("int8")
    return layer


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: ConcreteDropout("dense"), TypeError, "`layer` must be a layer of K"),
        (lambda: ConcreteDropout(L.LSTM(2)), TypeError, "`layer` must be a layer of K"),
        (
            lambda: ConcreteDropout(L.Dense(2, kernel_regularizer="l2")),
            ValueError,
            "`layer` must have no kernel_regularizer.*'dense",
        ),
        (
            lambda: ConcreteDropout(L.DepthwiseConv1D(2, depthwise_regularizer="l2")),
            ValueError,
            "`layer` must have no depthwise_regularizer",
        ),
        (lambda: ConcreteDropout(quantized()), ValueError, "weights of full precision"),
        (lambda: ConcreteDropout(L.Dense(2), 0.0), ValueError, "`initial_rate` must"),
        (lambda: ConcreteDropout(L.Dense(2), 1.0), ValueError, "`initial_rate` must"),
        (
            lambda: ConcreteDropout(L.Dense(2), prior_scale=0),
            ValueError,
            "`prior_scale` must",
        ),
        (
            lambda: ConcreteDropout(L.Dense(2), temperature=0),
            ValueError,
            "`temperature` must",
        ),
        (
            lambda: ConcreteDropout(L.Dense(2), kl_weight=-1),
            ValueError,
            "`kl_weight` must",
        ),
        (lambda: ConcreteDropout(L.Dense(2), seed=-1), ValueError, "`seed` must"),
        (
            lambda: ConcreteDropout(L.Dense(2), dtype="float16"),
            TypeError,
            "`dtype` must be left out",
        ),
    ],
    ids=list("abcdefghijkl"),
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
