"""convert: the trained network is the posterior's mean, whatever its graph."""

import warnings

import keras
import numpy as np
import pytest

from tests.helpers.kits import ARGUMENTS, make_kit
from tests.helpers.layers import to_numpy
from tfhyper import PosteriorPredictor, convert, kits, layers, saving, training
from tfhyper.posterior import PointNetwork

Dense, Conv2D = keras.layers.Dense, keras.layers.Conv2D
SMALL = {"hyper": {"code_units": 2, "hidden_units": 2}}
STOCHASTIC = [name for name in kits.KITS if make_kit(name).replaces]
# Those that take convolutions of all kinds, as the networks here have.
WHOLE = [
    name
    for name in STOCHASTIC
    if keras.layers.DepthwiseConv2D in make_kit(name).replaces
]
IMAGE = (8, 8, 3)


def small_kit(name, **options):
    return make_kit(name, **{**SMALL.get(name, {}), **options})


@pytest.fixture(params=WHOLE)
def kit(request):
    return small_kit(request.param)


def weighted(model):
    """Returns the names of the layers with kernels."""
    return [x.name for x in model.layers if hasattr(x, "kernel")]


def randomise(model):
    """Trained weights: none that a layer starts with, variances above zero."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in weight.dtype:
            positive = "variance" in weight.name or weight.name == "gamma"
            low, high = (0.8, 1.2) if positive else (-0.3, 0.3)
            weight.assign(rng.uniform(low, high, weight.shape))
    return model


def images(size=5, shape=IMAGE):
    return np.random.default_rng(0).normal(size=(size, *shape)).astype("float32")


def branched():
    """Shared layers, two inputs, an operation, and options of all sorts."""
    a, b = keras.Input(IMAGE, name="a"), keras.Input(IMAGE, name="b")
    shared = Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="shared")
    norm = keras.layers.BatchNormalization(name="norm")
    x = keras.ops.relu(norm(shared(a)) - norm(shared(b)))
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = keras.layers.Conv2DTranspose(3, 2, strides=2, name="up", activation="tanh")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.LayerNormalization(name="layer_norm")(x)
    first = Dense(3, name="first")(x)
    second = Dense(2, activation="sigmoid", name="second")(x)
    return randomise(keras.Model([a, b], {"first": first, "second": second}))


def sequential():
    """1-D and 3-D convolutions, a nested model, preprocessing."""
    inner = keras.Sequential([keras.Input((8, 4)), Dense(5, name="dense")], name="in")
    model = keras.Sequential(
        [
            keras.Input((8, 3)),
            keras.layers.Normalization(name="data"),
            keras.layers.Rescaling(2.0),
            keras.layers.Conv1D(4, 3, padding="causal", name="conv"),
            inner,
            keras.layers.Dropout(0.5),
            keras.layers.Reshape((2, 2, 2, 5)),
            keras.layers.Conv3D(3, 2, name="conv3d"),
            keras.layers.Flatten(),
            Dense(3, name="dense"),
        ]
    )
    randomise(model)
    model.layers[0].adapt(3 + 2 * images(9, (8, 3)))
    return model


def at_the_mean(model):
    """The plain network of the posterior's mean: code 0 of a generated kernel."""
    point = PointNetwork(model)
    draw = point.sample(0, 0)
    for name, layer in point._noise_layers.items():
        mean = layer.mean_noise()
        draw.noise[name] = np.zeros_like(draw.noise[name]) if mean is None else mean
    point.set(draw)
    return point.network


def predict(model, x):
    # Operation by operation, as no model is called often.
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    outputs = model(inputs, training=False)
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    return {name: to_numpy(value) for name, value in outputs.items()}


def assert_same_prediction(model, other, x, atol=1e-5):
    expected, found = predict(model, x), predict(other, x)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=atol)


def variables(model):
    return {id(v) for v in model.variables}


def converted_layers(model):
    return [x.name for x in model.layers if isinstance(x, layers.StochasticLayer)]


@pytest.mark.parametrize(
    "build, x",
    [
        (branched, {"a": images(), "b": images()[::-1]}),
        (sequential, images(shape=(8, 3))),
    ],
)
def test_mean_is_the_trained_network_which_stays_as_it_was(build, x, kit, tmp_path):
    model = build()
    before, graph = model.get_weights(), model.to_json()
    copy = convert(model, kit)
    assert_same_prediction(model, at_the_mean(copy), x)
    assert copy.name == model.name
    assert not variables(copy) & variables(model)
    # A draw is another network, and training changes the copy alone.
    first = next(iter(predict(model, x)))
    if kit.name != "subspace":  # whose `predict` is its midpoint
        assert np.abs(predict(copy, x)[first] - predict(model, x)[first]).max() > 1e-3
    copy.compile("sgd", "mse", jit_compile=False)
    y = keras.tree.map_structure(np.zeros_like, model.predict(x, verbose=0))
    assert np.isfinite(copy.train_on_batch(x, y)).all()
    assert model.to_json() == graph
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    copy.save(tmp_path / "copy.keras")
    loaded = keras.saving.load_model(tmp_path / "copy.keras")
    assert_same_prediction(at_the_mean(copy), at_the_mean(loaded), x, 1e-6)
    assert_same_prediction(copy, loaded, x, 1e-6)


def test_layers_keep_names_options_and_sharing():
    model = branched()
    copy = convert(model, small_kit("bayes"))
    names = {layer.name for layer in model.layers}
    assert {layer.name for layer in copy.layers} == names
    kinds = {name: type(copy.get_layer(name)).__name__ for name in names}
    changed = {name for name, kind in kinds.items() if kind.startswith("Bayes")}
    assert changed == {"shared", "depthwise", "up", "first", "second"}
    assert len(copy.get_layer("shared")._inbound_nodes) == 2
    conv = copy.get_layer("shared")
    assert (conv.strides, conv.padding, conv.use_bias) == ((2, 2), "same", False)
    assert copy.get_layer("up").activation is keras.activations.tanh
    assert list(copy.output) == ["first", "second"]
    # Nested models come out flat: the second of two equal names is another.
    dense = [x.name for x in convert(sequential(), "mc_dropout").layers]
    assert [x for x in dense if x.startswith("dense")][1::2] == ["dense", "dense_"]


# Convolutions of any kind and the classifier.
@pytest.mark.parametrize("application, count", [("ResNet50", 54), ("MobileNetV2", 53)])
@pytest.mark.parametrize("name", WHOLE)
def test_applications(application, count, name):
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, application)(
        weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
    )
    x = images(2, (32, 32, 3))
    options = {"hidden_units": 1} if name == "hyper" else {}
    copy = convert(model, small_kit(name, **options))
    # Dropout stands before all but the stem.
    names = weighted(model)
    assert len(names) == count
    dropout = name in ("mc_dropout", "concrete_dropout")
    drawn = {x.removesuffix("_mc_dropout") for x in converted_layers(copy)}
    assert set(names[1:] if dropout else names) <= drawn
    expected = to_numpy(model(x))
    found = to_numpy(at_the_mean(copy)(x))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_an_application_inside_of_a_model_that_fits_and_predicts(tmp_path):
    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35
    )
    inputs = keras.Input((32, 32, 3))
    x = base(keras.layers.Rescaling(2.0)(inputs), training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, Dense(4, name="logits")(x))
    data, labels = images(4, (32, 32, 3)), np.arange(4)
    # The last convolutions and the classifier.
    last = {"block_16_expand", "block_16_depthwise", "block_16_project", "Conv_1"}
    drawn = last | {"logits"}
    kept = {x.name for x in [*model.layers, *base.layers]} - drawn - {base.name}
    copy = convert(model, small_kit("bayes"), keep=kept)
    assert set(converted_layers(copy)) == drawn
    np.testing.assert_allclose(
        to_numpy(at_the_mean(copy)(data)), to_numpy(model(data)), atol=1e-5
    )
    training.compile_recipe(copy, 1, 1, learning_rate=1e-3, jit_compile=False)
    copy.run_eagerly = True  # one step of many layers
    assert np.isfinite(copy.fit(data, labels, verbose=0).history["loss"]).all()
    predictor = PosteriorPredictor(copy, num_draws=2, batch_norm="moving_average")
    members = predictor.predict(data).members
    assert np.abs(members[0] - members[1]).max() > 1e-6
    predictor.save(tmp_path / "predictor.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "predictor.tfhyper")
    np.testing.assert_allclose(loaded.predict(data).members, members, atol=1e-6)


def test_frozen_layers_stay_frozen(kit):
    model = branched()
    frozen = ("shared", "norm", "first")
    for name in frozen:
        model.get_layer(name).trainable = False
    copy = convert(model, kit)
    for layer in model.layers:
        assert copy.get_layer(layer.name).trainable == (layer.name not in frozen)
    assert not copy.get_layer("shared").trainable_weights


def test_keep_by_name_and_by_function():
    model = branched()
    everything = {"shared", "depthwise", "up", "first", "second"}
    kit = small_kit("bayes")
    copy = convert(model, kit, keep=["shared", "first"])
    assert set(converted_layers(copy)) == everything - {"shared", "first"}
    for name in ("shared", "first"):
        kept, stock = copy.get_layer(name), model.get_layer(name)
        assert type(kept) is type(stock)
        np.testing.assert_array_equal(to_numpy(kept.kernel), to_numpy(stock.kernel))
    copy = convert(model, kit, keep=lambda layer: isinstance(layer, Dense))
    assert set(converted_layers(copy)) == everything - {"first", "second"}
    # A nested model with all its layers, by name or by the function.
    for keep in (["in"], lambda layer: isinstance(layer, keras.Model)):
        copy = convert(sequential(), kit, keep=keep)
        assert converted_layers(copy) == ["conv", "conv3d", "dense_"]
    with pytest.raises(ValueError, match=r"`keep` must be names.*\['third'\]"):
        convert(model, kit, keep=["first", "third"])


@pytest.mark.parametrize("bias_posterior", ["point", "gaussian"])
def test_posterior_scale_follows_the_layers_rule(bias_posterior):
    kit = kits.bayes(100, initial_scale=0.2, bias_posterior=bias_posterior)
    posterior = convert(branched(), kit).get_layer("first").kernel_posterior
    fan_in = posterior.shape[0]
    expected = 0.2 * np.sqrt(2 / fan_in)
    np.testing.assert_allclose(to_numpy(posterior.scale), expected, rtol=1e-5)


def test_moped_takes_posterior_and_prior_from_the_weights():
    model = branched()
    kernel = to_numpy(model.get_layer("first").kernel).copy()
    kernel[0] = 0.0
    bias = to_numpy(model.get_layer("first").bias)
    model.get_layer("first").set_weights([kernel, bias])
    kit = kits.bayes(100, prior_scale=0.7, bias_posterior="gaussian")
    copy = convert(model, kit, moped=True, moped_delta=0.05)
    layer = copy.get_layer("first")
    smallest = np.sqrt(2 / kernel.shape[0]) / 100
    kl = 0.0
    for posterior, w in (
        (layer.kernel_posterior, kernel),
        (layer._bias_posterior, bias),
    ):
        scale = 0.05 * np.maximum(np.abs(w), smallest)
        np.testing.assert_array_equal(to_numpy(posterior.mean), w)
        np.testing.assert_array_equal(to_numpy(posterior.prior_mean), w)
        np.testing.assert_allclose(to_numpy(posterior.scale), scale, rtol=1e-4)
        # KL(N(w, scale^2) || N(w, 0.7^2)): the means drop out.
        kl += np.sum((scale / 0.7) ** 2 / 2 - 0.5 - np.log(scale / 0.7))
    assert float(to_numpy(layer.kl_divergence())) == pytest.approx(kl, rel=1e-4)
    x = {"a": images(), "b": images()[::-1]}
    assert_same_prediction(model, at_the_mean(copy), x)
    # The default.
    layer = convert(model, kit, moped=True).get_layer("second")
    w = np.abs(to_numpy(model.get_layer("second").kernel))
    scale = to_numpy(layer.kernel_posterior.scale)
    np.testing.assert_allclose(scale, 0.1 * np.maximum(w, smallest), rtol=1e-4)


def test_layers_of_the_package_are_kept():
    inputs = keras.Input((6,))
    x = layers.HyperDense(5, name="there", code_units=2, hidden_units=3)(inputs)
    model = randomise(keras.Model(inputs, Dense(3, name="plain")(x)))
    copy = convert(model, small_kit("bayes"))
    assert type(copy.get_layer("there")) is layers.HyperDense
    assert type(copy.get_layer("plain")) is layers.BayesDense
    for old, new in zip(
        model.get_layer("there").weights, copy.get_layer("there").weights, strict=True
    ):
        np.testing.assert_array_equal(to_numpy(new), to_numpy(old))
    with pytest.raises(ValueError, match="`model` must have layers to convert"):
        convert(copy, small_kit("bayes"))


def test_mc_dropout_turns_on_the_dropout_that_is_there():
    copy = convert(sequential(), kits.mc_dropout(0.0))
    (layer,) = [x for x in copy.layers if isinstance(x, layers.MCDropout)]
    assert layer.rate == 0.5
    copy = convert(sequential(), kits.mc_dropout(0.2))
    rates = [x.rate for x in copy.layers if isinstance(x, layers.MCDropout)]
    assert rates == [0.2, 0.5, 0.2, 0.2]


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Dense(4)

    def call(self, inputs):
        return self.inner(inputs)


class Subclass(keras.Model):
    def call(self, inputs):
        return inputs


def with_layer(layer, shape=(4, 4)):
    inputs = keras.Input(shape)
    x = Dense(3, name="logits")(keras.layers.Flatten()(layer(inputs)))
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(3, name="odd"),
        keras.layers.Embedding(5, 3, name="odd"),
        keras.layers.TimeDistributed(Dense(3), name="odd"),
        keras.layers.Bidirectional(keras.layers.GRU(3), name="odd"),
        keras.layers.PReLU(name="odd"),
        Own(name="odd"),
    ],
    ids=["lstm", "embedding", "time_distributed", "bidirectional", "prelu", "own"],
)
def test_what_a_kit_cannot_draw_is_kept_and_named(layer, tmp_path):
    model = with_layer(layer)
    kind = type(layer).__name__
    has_role = kind != "PReLU"
    x = np.random.default_rng(0).integers(0, 5, size=(2, 4, 4)).astype("float32")
    for name in STOCHASTIC:
        kit = small_kit(name)
        if kit.wraps and has_role:
            copy = convert(model, kit)
            assert type(copy.get_layer("odd")) is layers.RandomVariables
            assert_same_prediction(model, at_the_mean(copy), x)
            copy.save(tmp_path / "copy.keras")
            loaded = keras.saving.load_model(tmp_path / "copy.keras")
            assert_same_prediction(at_the_mean(copy), at_the_mean(loaded), x, 1e-6)
            continue
        with pytest.warns(UserWarning, match=rf"'odd' \({kind}\).*`keep`"):
            copy = convert(model, kit)
        assert type(copy.get_layer("odd")) is type(layer)
        assert "logits" in converted_layers(copy) or name == "mc_dropout"
    copy = convert(model, small_kit("bayes"), keep=["odd"])
    assert_same_prediction(model, at_the_mean(copy), x)
    assert converted_layers(copy) == ["logits"]


@keras.saving.register_keras_serializable("tests")
class OwnNorm(Own):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.LayerNormalization()

    def call(self, inputs):
        return self.norm(self.inner(inputs))


def other_class(layer):
    layer.inner = keras.layers.EinsumDense("ab,bc->ac", (4,))


def other_argument(layer):
    layer.norm.epsilon = 0.5


@pytest.mark.parametrize("change", [None, other_class, other_argument])
def test_what_the_config_of_a_layer_does_not_tell_is_kept(change):
    layer = OwnNorm(name="odd")
    if change is not None:
        change(layer)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Dense(3, name="logits")(layer(inputs)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        copy = convert(model, small_kit("bayes"))
    kept = [x for x in caught if "'odd' (OwnNorm)" in str(x.message)]
    assert len(kept) == (change is not None)
    drawn = [] if change is not None else ["odd"]
    assert converted_layers(copy) == [*drawn, "logits"]
    assert_same_prediction(model, at_the_mean(copy), np.eye(4, dtype="float32"))


def test_a_shared_layer_of_which_one_output_is_not_taken_keeps_its_weights():
    inputs = keras.Input((4,))
    shared = Dense(4, name="shared")
    once = shared(inputs)
    inner = keras.Model(inputs, [once, shared(once)], name="in")
    outer = keras.Input((4,))
    model = keras.Model(outer, Dense(3, name="logits")(inner(outer)[0]))
    copy = convert(model, small_kit("bayes"))
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    assert_same_prediction(model, at_the_mean(copy), x)


def test_a_vocabulary_goes_along():
    pytest.importorskip("tensorflow")  # which Keras' lookups need on any backend
    words = keras.layers.IntegerLookup(output_mode="one_hot", name="words")
    words.adapt([3, 4, 5])
    inputs = keras.Input((1,), dtype="int64")
    model = keras.Model(inputs, Dense(2)(words(inputs)))
    copy = convert(model, small_kit("bayes"))
    assert copy.get_layer("words").get_vocabulary() == words.get_vocabulary()
    x = np.array([[5], [9]])
    assert_same_prediction(model, at_the_mean(copy), x)


def test_separable_convolutions_and_norms():
    def model():
        layer = keras.layers.SeparableConv2D(4, 3, name="separable")
        inputs = keras.Input(IMAGE)
        x = keras.layers.GroupNormalization(2, name="group")(layer(inputs))
        return keras.Model(inputs, Dense(2)(keras.layers.Flatten()(x)))

    with pytest.warns(UserWarning, match=r"'separable' \(SeparableConv2D\)"):
        convert(model(), small_kit("bayesian_hypernet"))
    copy = convert(model(), small_kit("bayes"))
    assert [x.path for x in copy.get_layer("separable").posterior.chosen] == [
        "depthwise_kernel",
        "pointwise_kernel",
    ]
    assert "separable" in {x.name for x in convert(model(), "mc_dropout").layers}


@pytest.mark.parametrize(
    "model, error, message",
    [
        (Subclass(), TypeError, "`model` must be a functional or Sequential"),
        (keras.Sequential([Dense(2)]), TypeError, "`model` must be built"),
        (Dense(2), TypeError, "`model` must be a functional or Sequential"),
        (
            keras.Sequential([keras.Input((3,)), keras.layers.ReLU()]),
            ValueError,
            "`model` must have layers to convert",
        ),
    ],
)
def test_models_that_cannot_be_converted(model, error, message):
    with pytest.raises(error, match=message):
        convert(model, small_kit("bayes"))


@pytest.mark.parametrize(
    "kit, options, message",
    [
        ("deterministic", {}, r"layers to convert.*'dense_?\d*', as its class"),
        ("bayes", {}, "`num_examples` must be given"),
        ("none", {}, "`kit` must be one of"),
        (kits.hyper(mean_kernel=False), {}, r"use kits.hyper\(mean_kernel=True\)"),
        ("hyper", {"moped": True}, "`moped` must be False.*kit 'hyper'"),
        ("mc_dropout", {"moped": True}, "`moped` must be False.*kit 'mc_dropout'"),
        (small_kit("bayes"), {"moped_delta": 0.0}, "`moped_delta` must be.*=0.0"),
        (small_kit("bayes"), {"moped_delta": "a"}, "`moped_delta` must be.*='a'"),
    ],
)
def test_errors_name_argument_rule_and_value(kit, options, message):
    model = keras.Sequential([keras.Input((3,)), Dense(2)])
    with pytest.raises(ValueError, match=message):
        convert(model, kit, **options)


def test_every_kit_is_tested():
    assert set(ARGUMENTS) | set(SMALL) < set(kits.KITS)


def test_a_kit_makes_a_graph_deeper_than_the_stack_of_python(tmp_path):
    inputs = x = keras.Input((1,))
    for i in range(520):
        x = Dense(1, use_bias=False, kernel_initializer="ones", name=f"d{i}")(x)
    model = keras.Model(inputs, x)
    copy = convert(model, kits.mc_dropout(0.1, seed=1))
    assert len(copy.layers) == 1041
    path = tmp_path / "it.keras"
    copy.save(path)
    assert len(saving.load_model(path).layers) == 1041
