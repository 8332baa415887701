"""The kit of cheap members: networks, conversion, predictors, exports."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.layers import BACKEND, to_numpy
from tfhyper import PosteriorPredictor, convert, data, kits, layers, models, training

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype("float32")
WITH_KL = {"posterior": "gaussian", "num_examples": 50}


def network(**options):
    keras.utils.set_random_seed(0)
    kit = kits.rank_one(**{"seed": 3, **options})
    return models.resnet_cifar(8, input_shape=SHAPE, kit=kit)


def drawn_layers(model):
    return [x for x in model.layers if type(x).__name__.startswith("RankOne")]


@pytest.fixture(scope="module")
def model():
    return network(members=3)


def test_every_kernel_has_members_and_the_plain_networks_shape(model):
    plain = models.resnet_cifar(8, input_shape=SHAPE, kit="deterministic")
    expected = {
        layer.name: f"RankOne{type(layer).__name__}"
        for layer in plain.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    }
    found = {x.name: type(x).__name__ for x in drawn_layers(model)}
    assert found == expected
    # K (inputs + outputs) more for each kernel, and K - 1 biases of the logits.
    more = 0
    for layer in drawn_layers(model):
        *_, inputs, outputs = layer.shared_kernel.shape
        more += 3 * (inputs + outputs) + (2 * outputs if layer.use_bias else 0)
        more += 2  # the counts of its draws
    assert model.count_params() == plain.count_params() + more


def test_options_reach_every_layer():
    options = {
        "members": 2,
        "batch": "divided",
        "member_bias": False,
        "factor_spread": 0.2,
        "random_signs": True,
        "prior_scale": 0.3,
        "initial_scale": 0.05,
    }
    model = network(**options, **WITH_KL)
    for layer in drawn_layers(model):
        assert {name: getattr(layer, name) for name in options} == options
        assert (layer.posterior, layer.kl_weight) == ("gaussian", 1 / 50)
    seeds = [layer.seed for layer in drawn_layers(model)]
    assert len(set(seeds)) == len(seeds)
    assert [x.seed for x in drawn_layers(network(seed=4))] != seeds


def test_the_divergence_is_divided_by_the_number_of_examples_once():
    model = network(**WITH_KL)
    kl = float(to_numpy(training.kl_divergence(model)))
    loss = float(to_numpy(sum(model.losses)))
    assert loss == pytest.approx(kl / 50, rel=1e-5)
    assert len(layers.variational_layers(model)) == len(drawn_layers(model))
    # Points have none, and what asks for the layers with one finds none.
    with pytest.raises(ValueError, match="must have layers with a KL divergence"):
        training.kl_divergence(network(num_examples=50))


def test_weight_decay_leaves_the_factors_out(model):
    training.compile_recipe(model, epochs=3, steps_per_epoch=1)
    model.optimizer.build(model.trainable_variables)
    decayed = {
        v.name
        for x in drawn_layers(model)
        for v in x.trainable_variables
        if layers.role_of(v) not in model.optimizer.no_decay_roles
    }
    assert decayed == {"shared_kernel", "bias"}


def test_draws_are_the_members_with_moments_of_their_own(model):
    predictor = PosteriorPredictor(model)
    assert predictor.num_draws == 3
    predictor.estimate_batch_norm(X, batch_size=12, verbose=0)
    whole = predictor.predict(X, batch_size=12)
    parts = predictor.predict(X, batch_size=5)
    np.testing.assert_allclose(whole.members, parts.members, atol=1e-6)
    assert whole.epistemic.mean() > 1e-3
    for i in range(3):
        noise = predictor.draws[i].noise
        assert {int(x[0]) for x in noise.values()} == {i}
        expected = to_numpy(ops.softmax(predictor.materialize(i)(X)))
        np.testing.assert_allclose(whole.members[i], expected, atol=1e-5)
    # A training of whole batches normalises each member as its draw does.
    twin = network(members=3)
    twin.set_weights(model.get_weights())
    for i in range(3):
        for x in drawn_layers(twin):
            x.draws.assign(np.array([i, 0]))
        found = to_numpy(ops.softmax(twin(X, training=True)))
        np.testing.assert_allclose(found, whole.members[i], atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"batch": "divided"}, WITH_KL])
def test_a_converted_model_is_the_trained_one_where_factors_are_one(options):
    x = keras.Input(SHAPE)
    y = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    y = keras.layers.Dense(2, name="dense", kernel_regularizer="l2")(
        keras.layers.Flatten()(y)
    )
    trained = keras.Model(x, y)
    trained.get_layer("conv").bias.assign([0.1, -0.2, 0.3])
    copy = convert(trained, kits.rank_one(members=2, **options))
    assert copy.get_layer("dense").kernel_regularizer is not None
    expected = to_numpy(trained(X))
    if options is WITH_KL:
        for layer in drawn_layers(copy):
            for factors in (layer.input_factors, layer.output_factors):
                assert (to_numpy(factors.location) == 1).all()
                factors.rho.assign(np.full(factors.rho.shape, -40.0))
    for training_ in (False, True, True):
        found = to_numpy(copy(X, training=training_))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    copy.compile("sgd", "mse", jit_compile=False)
    assert np.isfinite(copy.train_on_batch(X, np.zeros((12, 2))))
    wide = convert(trained, kits.rank_one(factor_spread=0.1))
    assert 1e-3 < np.abs(to_numpy(wide(X)) - expected).max()


def test_what_has_no_layer_here_is_refused_when_converting():
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.DepthwiseConv2D(3, name="it")]
    )
    match = r"kit 'rank_one'.*'it', as its class is none of the kit's"
    with pytest.raises(ValueError, match=match):
        convert(model, "rank_one")


def test_missing_or_bad_numbers_of_examples():
    for posterior in ("gaussian", "cauchy"):
        with pytest.raises(ValueError, match="`num_examples` must be given.*rank_one"):
            kits.rank_one(posterior)
    for value in (0, 1.5, True):
        for posterior in ("point", "gaussian"):
            with pytest.raises(ValueError, match="`num_examples` must be a positive"):
                kits.rank_one(posterior, num_examples=value)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"posterior": "normal"}, "`posterior` must be one of"),
        ({"members": 0}, "`members` must be a positive"),
        ({"batch": "half"}, "`batch` must be one of"),
        ({"member_bias": "no"}, "`member_bias` must be True or False"),
        ({"factor_spread": -1}, "`factor_spread` must be"),
        ({"random_signs": 1}, "`random_signs` must be True or False"),
        ({"prior_scale": 0}, "`prior_scale` must be"),
        ({"initial_scale": -1}, "`initial_scale` must be"),
        ({"seed": -1}, "`seed` must be"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_bad_options_are_refused_at_the_door(options, match):
    with pytest.raises(ValueError, match=match):
        kits.rank_one(**options)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="SavedModels are TensorFlow's.")
def test_an_exported_file_draws_members_and_samples(tmp_path):
    import tensorflow as tf

    from tfhyper import export

    keras.utils.set_random_seed(0)
    options = {"posterior": "gaussian", "members": 2, "initial_scale": 0.3}
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.RankOneDense(8, activation="relu", **options),
            layers.RankOneDense(4, **options),
        ]
    )
    rows = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    predictor = PosteriorPredictor(model, 4)
    export.saved_model(predictor, tmp_path / "model", sampling=True)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    found = loaded.signatures["members"](inputs=tf.constant(rows))["members"].numpy()
    expected = predictor.predict(rows).members
    np.testing.assert_allclose(found.swapaxes(0, 1), expected, atol=1e-5)
    sample = loaded.signatures["sample"]
    drawn = [
        sample(inputs=tf.constant(rows), seed=tf.constant(seed))["members"].numpy()
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    both = np.concatenate([drawn[0], drawn[2]], 1).swapaxes(0, 1).reshape(8, -1)
    assert len(np.unique(both, axis=0)) == 8


def test_a_repeated_batch_shows_each_example_to_each_member():
    tf = pytest.importorskip("tensorflow")
    x, y = np.arange(10, dtype="float32")[:, None], np.arange(10)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    repeated = data.repeat_batches(batches, 3)
    assert int(repeated.cardinality()) == 3
    for (a, b), (c, d) in zip(batches, repeated, strict=True):
        np.testing.assert_array_equal(np.tile(a, (3, 1)), c)
        np.testing.assert_array_equal(np.tile(b, 3), d)
    inputs = data.repeat_batches(batches.map(lambda a, b: {"image": a}), 2)
    assert next(iter(inputs))["image"].shape == (8, 1)
    layer = layers.RankOneDense(2, members=3, batch="divided", use_bias=False)
    found = to_numpy(layer(to_numpy(next(iter(repeated))[0]), training=True))
    factors = (layer.input_factors, layer.output_factors)
    r, s = (to_numpy(part.location) for part in factors)
    kernels = to_numpy(layer.shared_kernel) * r[:, :, None] * s[:, None]
    expected = np.concatenate([x[:4] @ kernel for kernel in kernels])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(TypeError, match="`data` must be a `tf.data.Dataset`"):
        data.repeat_batches(x, 2)
    with pytest.raises(ValueError, match="`members` must be a positive"):
        data.repeat_batches(batches, 0)
