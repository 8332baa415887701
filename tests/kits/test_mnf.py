"""The kit of multiplicative normalizing flows."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.layers import to_numpy
from tfhyper import PosteriorPredictor, convert, kits, layers, models, training

SHAPE = (8, 8, 3)
X = np.random.default_rng(0).normal(size=(12, *SHAPE)).astype("float32")
SMALL = {"flow_width": 4, "seed": 3}


def network(num_examples=50, **options):
    keras.utils.set_random_seed(0)
    kit = kits.mnf(num_examples, **{**SMALL, **options})
    return models.resnet_cifar(8, input_shape=SHAPE, kit=kit)


@pytest.fixture(scope="module")
def model():
    return network()


def test_every_kernel_has_a_posterior(model):
    kinds = {x.name: type(x).__name__ for x in layers.variational_layers(model)}
    plain = models.resnet_cifar(8, input_shape=SHAPE, kit="deterministic")
    expected = {
        layer.name: f"MNF{type(layer).__name__}"
        for layer in plain.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    }
    assert kinds == expected


@pytest.mark.parametrize("num_examples", [1, 60_000])
def test_kl_divergence_is_divided_by_the_number_of_examples_once(num_examples):
    kit = kits.mnf(num_examples, **SMALL)
    model = keras.Sequential([keras.Input((3,)), kit.dense(2, name="a")])
    (loss,) = model.losses
    kl = float(to_numpy(training.kl_divergence(model)))
    assert float(to_numpy(loss)) == pytest.approx(kl / num_examples, rel=1e-6)


def test_options_reach_every_layer():
    options = {
        "estimator": "reparameterization",
        "num_flows": 1,
        "flow_width": 3,
        "prior_scale": 0.2,
        "initial_scale": 0.05,
        "multiplier_scale": 0.25,
    }
    for layer in layers.variational_layers(network(**options)):
        assert {name: getattr(layer, name) for name in options} == options


def test_layers_have_seeds_of_their_own_that_follow_the_kits(model):
    def seeds(model):
        return [x.seed for x in layers.variational_layers(model)]

    assert len(set(seeds(model))) == len(seeds(model))
    assert seeds(network(num_flows=0)) == seeds(model)
    assert seeds(network(num_flows=0, seed=4)) != seeds(model)


def test_a_draw_fixes_all_layers_and_is_its_materialized_network(model):
    predictor = PosteriorPredictor(model, num_draws=2)
    predictor.calibrate(X, batch_size=12, verbose=0)
    whole = predictor.predict(X, batch_size=12)
    parts = predictor.predict(X, batch_size=5)
    np.testing.assert_allclose(whole.members, parts.members, atol=1e-6)
    assert whole.epistemic.mean() > 1e-3
    for i in range(2):
        expected = to_numpy(ops.softmax(predictor.materialize(i)(X)))
        np.testing.assert_allclose(whole.members[i], expected, atol=1e-5)


def test_weight_decay_leaves_the_posterior_out(model):
    training.compile_recipe(model, epochs=3, steps_per_epoch=1)
    model.optimizer.build(model.trainable_variables)
    drawn = {id(v) for x in layers.variational_layers(model) for v in x.variables}
    decayed = [
        v.path
        for v in model.trainable_variables
        if id(v) in drawn and layers.role_of(v) not in model.optimizer.no_decay_roles
    ]
    assert {path.rpartition("/")[-1] for path in decayed} <= {"bias"}


def test_a_converted_model_has_the_trained_kernels_as_the_means_of_its_draws():
    x = keras.Input(SHAPE)
    y = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(x)
    y = keras.layers.Dense(2, name="dense")(keras.layers.Flatten()(y))
    trained = keras.Model(x, y)
    copy = convert(trained, kits.mnf(50, **SMALL))
    for name in ("conv", "dense"):
        layer, kernel = copy.get_layer(name), to_numpy(trained.get_layer(name).kernel)
        draws = [to_numpy(layer.point_weights([i])[0]) for i in range(300)]
        error = np.abs(np.mean(draws, axis=0) - kernel)
        # Five standard errors, and rounding for what hardly varies.
        assert np.all(error < 5 * np.std(draws, axis=0) / np.sqrt(300) + 1e-6)
        np.testing.assert_array_equal(
            to_numpy(layer.bias), to_numpy(trained.get_layer(name).bias)
        )
    assert np.abs(to_numpy(copy(X)) - to_numpy(trained(X))).max() > 1e-3
    copy.compile("sgd", "mse", jit_compile=False)
    assert np.isfinite(copy.train_on_batch(X, np.zeros((12, 2))))


def test_other_convolutions_alone_are_refused_when_converting():
    model = keras.Sequential(
        [keras.Input((8, 3)), keras.layers.Conv1D(4, 3, name="conv")]
    )
    with pytest.raises(ValueError, match=r"kit 'mnf'.*'conv', as its class is none"):
        convert(model, kits.mnf(50))
    plain = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="`moped` must be False.*kit 'mnf'"):
        convert(plain, kits.mnf(50), moped=True)


def test_missing_or_bad_numbers_of_examples():
    for make in (kits.mnf, lambda: models.lenet5(kit="mnf")):
        with pytest.raises(ValueError, match="`num_examples` must be given.*kits.mnf"):
            make()
    for value in (0, 1.5, True):
        with pytest.raises(ValueError, match="`num_examples` must be a positive"):
            kits.mnf(value)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"estimator": "flipout"}, "`estimator` must be one of"),
        ({"num_flows": -1}, "`num_flows` must be"),
        ({"flow_width": 0}, "`flow_width` must be"),
        ({"prior_scale": 0}, "`prior_scale` must be"),
        ({"initial_scale": -1}, "`initial_scale` must be"),
        ({"multiplier_scale": 0}, "`multiplier_scale` must be"),
        ({"seed": -1}, "`seed` must be"),
    ],
)
def test_bad_options_are_refused_at_the_door(options, match):
    with pytest.raises(ValueError, match=match):
        kits.mnf(10, **options)
