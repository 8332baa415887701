"""Models of every kind under a predictor, also such as change or went wrong."""

import os

import keras
import numpy as np
import pytest

from tests.helpers.predictors import (
    BN,
    IMAGE,
    assert_draw_is_model,
    calibrated,
    hyper_resnet,
    images,
    next_code,
    numpy,
    randomise,
    small_network,
    softmax,
)
from tests.helpers.processes import run_python
from tfhyper import kits, layers
from tfhyper.posterior import Draw, PosteriorPredictor

# Plain networks.


@pytest.mark.parametrize("sharing", sorted(kits.SHARING))
def test_a_materialized_draw_is_that_member(sharing):
    predictor, x = calibrated(hyper_resnet(sharing)), images()
    members = predictor.predict(x).members
    for i in (2, 0):
        plain = predictor.materialize(i)
        for layer in plain._flatten_layers():
            assert type(layer).__module__.split(".")[0] == "keras", layer
        probs = softmax(plain.predict(x, verbose=0))
        np.testing.assert_allclose(probs, members[i], atol=1e-6)
    # It is a copy: the predictor goes on as before.
    plain.set_weights([0 * w for w in plain.get_weights()])
    np.testing.assert_array_equal(predictor.predict(x).members, members)


def test_a_materialized_network_needs_keras_only(tmp_path):
    predictor, x = calibrated(hyper_resnet()), images()
    predictor.materialize(1).save(tmp_path / "plain.keras")
    np.save(tmp_path / "x.npy", x)
    run_python(
        "-c",
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
        "assert not any(name.split('.')[0] == 'tfhyper' for name in sys.modules)",
        tmp_path / "plain.keras",
        tmp_path / "x.npy",
        tmp_path / "logits.npy",
        fresh=True,
        check=True,
    )
    probs = softmax(np.load(tmp_path / "logits.npy"))
    np.testing.assert_allclose(probs, predictor.predict(x).members[1], atol=1e-6)


@pytest.mark.parametrize("index", [-1, 3, 99])
def test_draws_out_of_range_are_refused(index):
    with pytest.raises(ValueError, match="`draw` must be an integer from 0 to 2"):
        calibrated().materialize(index)


@pytest.mark.parametrize("index", [1.5, "1", None, True])
def test_draws_that_are_no_index_are_refused(index):
    with pytest.raises(ValueError, match="`draw` must be an integer from 0 to 2"):
        calibrated().materialize(index)


# Models that change, or went wrong.


def test_training_on_asks_for_calibration():
    keras.utils.set_random_seed(0)
    model, x, y = small_network(), images(20), np.arange(20) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    model.fit(x, y, epochs=1, verbose=0)
    predictor = calibrated(model)
    before = predictor.predict(x).members
    model.evaluate(x, y, verbose=0)  # no training
    np.testing.assert_array_equal(predictor.predict(x).members, before)
    model.fit(x, y, epochs=3, verbose=0)
    for use in (
        lambda: predictor.predict(x),
        lambda: predictor.evaluate(x, y),
        lambda: predictor.materialize(0),
    ):
        with pytest.raises(
            ValueError, match="trained since.*`estimate_batch_norm` again"
        ):
            use()
    predictor.calibrate(images(20), verbose=0)
    after = predictor.predict(x).members
    np.testing.assert_array_equal(after, calibrated(model).predict(x).members)
    assert np.abs(after - before).max() > 1e-4


def test_a_stale_predictor_is_not_saved(tmp_path):
    model, x, y = small_network(), images(20), np.arange(20) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    predictor = calibrated(model)
    model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="trained since"):
        predictor.save(tmp_path / "net.tfhyper")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("index", [0, -1])  # a generator's weights, a plain layer's
def test_weights_that_were_set_ask_for_calibration(index):
    model, x = small_network(), images()
    predictor = calibrated(model)
    weight = model.layers[index].trainable_weights[0]
    weight.assign(weight * 1.5)
    with pytest.raises(ValueError, match="trained since"):
        predictor.predict(x)
    predictor.calibrate(images(20), verbose=0)
    assert np.isfinite(predictor.predict(x).mean).all()


def network_with_stem():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(IMAGE)
    x = keras.layers.Conv2D(2, 3, name="stem")(inputs)
    x = layers.HyperConv2D(4, 3, hidden_units=16, seed=5, name="hyper")(x)
    x = keras.layers.Flatten()(BN(name="norm")(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["stem", "hyper", "logits"])
def test_a_diverged_model_is_an_error_that_changes_nothing(value, name):
    model, x = network_with_stem(), images()
    predictor = calibrated(model)
    before = predictor.predict(x).members
    moments = [dict(draw.moments) for draw in predictor.draws]
    weight = model.get_layer(name).trainable_weights[-1]
    good = keras.ops.convert_to_numpy(weight).copy()
    weight.assign(np.full(good.shape, value, "float32"))
    if name == "logits":  # behind BatchNorm, whose moments are fine
        predictor.calibrate(images(20), verbose=0)
        with pytest.raises(ValueError, match="output is not finite.*diverged"):
            predictor.predict(x)
        weight.assign(good)
        predictor.calibrate(images(20), verbose=0)
    else:
        with pytest.raises(ValueError, match="'norm' are not finite.*diverged"):
            predictor.calibrate(images(20), verbose=0)
        with pytest.raises(ValueError, match="trained since"):
            predictor.predict(x)
        weight.assign(good)
    for draw, old in zip(predictor.draws, moments, strict=True):
        assert set(draw.moments) == set(old) == {"norm"}
        np.testing.assert_array_equal(draw.moments["norm"], old["norm"])
    np.testing.assert_array_equal(predictor.predict(x).members, before)


# Models of every kind.


def test_subclassed_models_are_refused():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Subclassed()
    model(np.zeros((1, 4)))
    with pytest.raises(TypeError, match="functional or Sequential.*keras.Model"):
        PosteriorPredictor(model)
    for other in (None, "model", keras.layers.Dense(3)):
        with pytest.raises(TypeError, match="functional or Sequential"):
            PosteriorPredictor(other)


def test_unbuilt_models_are_refused():
    with pytest.raises(TypeError, match="must be built: give it a keras.Input"):
        PosteriorPredictor(keras.Sequential([keras.layers.Dense(3)]))


def test_sequential_models_that_were_built_by_a_call():
    model = keras.Sequential([layers.HyperDense(3, seed=1)])
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    model(x)
    predictor = PosteriorPredictor(model, num_draws=2)
    assert predictor.predict(x).members.shape == (2, 6, 3)


def test_a_code_that_is_computed_is_refused():
    x = keras.Input((4,))
    code = keras.layers.Dense(4)(layers.LatentCode(4)(x))
    model = keras.Model(x, layers.HyperDense(3, name="end")(x, code))
    with pytest.raises(ValueError, match="layer 'end' must come straight from"):
        PosteriorPredictor(model)


def test_a_layer_with_two_codes_is_refused():
    x = keras.Input((3,))
    layer = layers.HyperDense(3, name="twice")
    one, two = layers.LatentCode(4)(x), layers.LatentCode(4)(x)
    model = keras.Model(x, layer(layer(x, one), two))
    with pytest.raises(ValueError, match="'twice' is called with two codes"):
        PosteriorPredictor(model)


def test_a_draw_inside_of_another_layer_is_refused():
    x = keras.Input((5, 4))
    inner = layers.HyperDense(3, name="inner")
    y = keras.layers.TimeDistributed(inner, name="outer")(x)
    model = keras.Model(x, keras.layers.GlobalAveragePooling1D()(y))
    with pytest.raises(ValueError, match="'inner' draws inside of layer 'outer'"):
        PosteriorPredictor(model)


def test_batch_norm_inside_of_another_layer_is_not_passed_over():
    x = keras.Input((5, 4))
    y = keras.layers.TimeDistributed(BN(), name="outer")(x)
    y = keras.layers.GlobalAveragePooling1D()(y)
    model = keras.Model(x, layers.HyperDense(3, seed=0)(y))
    with pytest.raises(ValueError, match="'outer' has a BatchNorm layer inside"):
        PosteriorPredictor(model)
    predictor = PosteriorPredictor(model, num_draws=2, batch_norm="moving_average")
    assert predictor.predict(np.ones((3, 5, 4), "float32")).mean.shape == (3, 3)


def softmax_operation():
    x = keras.Input((4,))
    return keras.Model(x, keras.ops.softmax(keras.layers.Dense(3)(x)))


@pytest.mark.parametrize(
    "head",
    [
        lambda: [keras.layers.Dense(3, activation="softmax")],
        lambda: [keras.layers.Dense(3), keras.layers.Softmax()],
        lambda: [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        lambda: [keras.Sequential([keras.layers.Dense(3, activation="softmax")])],
        lambda: [softmax_operation()],
    ],
)
def test_models_that_end_in_a_softmax_are_seen(head):
    model, x = small_network(head()), images()
    predictor = calibrated(model, num_draws=2)
    assert predictor.outputs == "probabilities"
    members = predictor.predict(x).members
    np.testing.assert_allclose(
        members[1], numpy(predictor.materialize(1)(x)), atol=1e-6
    )
    # Asked for logits, it would take a second softmax.
    assert calibrated(model, num_draws=2, outputs="logits").outputs == "logits"


def test_logits_called_probabilities_are_refused():
    predictor = calibrated(outputs="probabilities")
    with pytest.raises(ValueError, match="softmax first|sum to one"):
        predictor.predict(images())


def test_two_outputs_are_none_of_one_task():
    x = keras.Input((4, 2))
    flat = keras.layers.Flatten()(x)
    model = keras.Model(x, [keras.layers.Dense(units)(flat) for units in (3, 1)])
    with pytest.raises(ValueError, match="Of the output 'dense.*`outputs` must say"):
        PosteriorPredictor(model)
    with pytest.raises(ValueError, match=r"`model` must have one output.*shapes"):
        PosteriorPredictor(model, outputs="logits")


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_models_of_several_inputs(structure):
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    y = keras.layers.Concatenate()([layers.HyperDense(5, seed=0)(a), b])
    y = keras.layers.Dense(3)(BN(name="norm")(y))
    rng = np.random.default_rng(0)
    one = rng.normal(size=(9, 4)).astype("float32")
    two = rng.normal(size=(9, 2)).astype("float32")
    if structure == "dict":
        model, x = keras.Model({"a": a, "b": b}, y), {"a": one, "b": two}
        short = {"a": one, "b": two[:5]}
    else:
        model, x, short = keras.Model([a, b], y), [one, two], [one, two[:5]]
    predictor = calibrated(model, x)
    np.testing.assert_allclose(
        predictor.draws[0].moments["norm"][0][5:], two.mean(0), atol=1e-6
    )
    members = predictor.predict(x, batch_size=4).members
    for member, i in zip(members, range(3), strict=True):
        logits = predictor.materialize(i).predict(x, verbose=0)
        np.testing.assert_allclose(softmax(logits), member, atol=1e-6)
    with pytest.raises(ValueError, match="same length.*9, x of length 5"):
        predictor.predict(short)


def inner_network(name, seed):
    x = keras.Input((6,), name="inputs")
    y = layers.HyperDense(6, seed=seed, name="hyper")(x)
    y = keras.layers.ReLU(name="relu")(BN(name="norm")(y))
    return keras.Model(x, y, name=name)


@pytest.mark.parametrize("deep", [False, True])
def test_nested_models_with_layers_of_the_same_names(deep):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    one, two = inner_network("one", 1), inner_network("two", 2)
    three = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6, name="relu"), BN(name="norm")]
    )
    x = two(one(inputs))
    x = keras.Sequential([keras.Input((6,)), three])(x) if deep else three(x)
    model = randomise(keras.Model(inputs, keras.layers.Dense(3, name="hyper")(x)))
    data = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")

    predictor = PosteriorPredictor(model, num_draws=1, batch_norm="moving_average")
    names = [one.get_layer("hyper"), two.get_layer("hyper")]
    predictor.draws[0].noise = dict(
        zip(
            predictor.draws[0].noise,
            (next_code(layer.latent_code) for layer in names),
            strict=True,
        )
    )
    members = predictor.predict(data).members
    expected = softmax(model(data, training=False))
    np.testing.assert_allclose(members[0], expected, atol=1e-5)

    predictor = calibrated(model, data)
    assert len(predictor.draws[0].noise) == 2
    assert len(predictor.draws[0].moments) == 3
    means = [mean for mean, _ in predictor.draws[0].moments.values()]
    assert np.abs(means[0] - means[1]).max() > 1e-3
    prediction = predictor.predict(data).members
    plain = predictor.materialize(0)
    np.testing.assert_allclose(softmax(plain(data)), prediction[0], atol=1e-6)


def test_layers_and_nested_models_that_are_called_twice():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    shared = keras.layers.Dense(6, activation="tanh")
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6), shared])
    x = inner(shared(inner(inputs)))
    x = layers.HyperDense(6, seed=0, name="hyper")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(shared(x) + x * 0.5))
    data = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    plain = assert_draw_is_model(model, data).materialize(0)
    assert sum(isinstance(x, keras.layers.Dense) for x in plain.layers) == 4


def test_operations_and_constants_in_the_graph():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 6))
    x = layers.HyperDense(6, seed=0, name="hyper")(inputs[:, 1:] * 2.0 - 1.0)
    x = keras.ops.concatenate([keras.ops.mean(x, axis=1), x[:, 0]], axis=-1)
    x = keras.ops.clip(keras.ops.reshape(x, (-1, 12)), -1.0, 1.0)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    data = np.random.default_rng(0).normal(size=(5, 4, 6)).astype("float32")
    assert_draw_is_model(model, data)


def test_preprocessing_layers_are_kept_and_augmentation_is_off():
    keras.utils.set_random_seed(0)
    x = 100 + 30 * images(12)
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    inputs = keras.Input(IMAGE)
    y = keras.layers.RandomFlip("horizontal", seed=1)(inputs)
    y = keras.layers.RandomTranslation(0.3, 0.3, seed=1)(y)
    y = keras.layers.GaussianNoise(1.0, seed=1)(y)
    y = keras.layers.Rescaling(0.5, offset=3.0)(normalization(y))
    y = layers.HyperConv2D(3, 3, seed=1, name="hyper")(y)
    y = keras.layers.Flatten()(keras.layers.ReLU()(y))
    model = keras.Model(inputs, keras.layers.Dense(3)(y))
    predictor = PosteriorPredictor(model, num_draws=1)
    code = next_code(model.get_layer("hyper").latent_code)
    predictor.draws[0].noise = {"hyper": code}
    first = predictor.predict(x).members
    np.testing.assert_array_equal(predictor.predict(x).members, first)
    expected = softmax(model(x, training=False))
    np.testing.assert_allclose(first[0], expected, atol=1e-5)


def test_integer_images():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(IMAGE, dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Flatten()(BN()(layers.HyperConv2D(3, 3, seed=1)(x)))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    data = np.random.default_rng(0).integers(0, 256, (8, *IMAGE)).astype("uint8")
    predictor = calibrated(model, data)
    prediction = predictor.predict(data)
    logits = predictor.materialize(0).predict(data, verbose=0)
    np.testing.assert_allclose(softmax(logits), prediction.members[0], atol=1e-6)
    assert prediction.epistemic.max() > 1e-4


def test_reduced_precision():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.HyperDense(8, seed=1, dtype="mixed_bfloat16")(inputs)
    x = BN(dtype="mixed_bfloat16", name="norm")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="mixed_bfloat16")(x))
    data = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    predictor = calibrated(model, data)
    members = predictor.predict(data).members
    assert members.dtype == np.float32 and np.isfinite(members).all()
    assert predictor.draws[0].moments["norm"][0].dtype == np.float32
    assert predictor.materialize(0).get_layer("norm").compute_dtype == "bfloat16"


def test_a_network_of_keras_applications():
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), classes=4, alpha=0.35
    )
    x = np.random.default_rng(0).normal(size=(24, 32, 32, 3)).astype("float32")
    predictor = calibrated(model, x, num_draws=1)
    assert predictor.outputs == "probabilities"
    assert len(predictor.draws[0].moments) == 52
    members = predictor.predict(x).members
    plain = predictor.materialize(0).predict(x, verbose=0)
    np.testing.assert_allclose(plain, members[0], atol=1e-4)
    expected = model.predict(x, verbose=0)
    assert np.abs(expected - members[0]).max() > 1e-4
    predictor.draws[0].moments = {
        name: tuple(model.get_layer(name).get_weights()[2:])
        for name in predictor.draws[0].moments
    }
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-5)


def test_a_draw_without_moments_is_materialized_with_moving_averages():
    model, x = small_network(), images()
    predictor = calibrated(model)
    plain = predictor.materialize(Draw(predictor.draws[0].noise))
    np.testing.assert_array_equal(
        numpy(plain.get_layer("norm").moving_mean),
        numpy(model.get_layer("norm").moving_mean),
    )
    assert np.isfinite(numpy(plain(x))).all()
