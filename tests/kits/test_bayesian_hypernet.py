"""The kit of Bayesian hypernetworks: which layers it draws, and its KL term."""

import keras
import numpy as np
import pytest

from tests.helpers.bayes import weights_of
from tests.helpers.layers import normal, to_numpy
from tfhyper import convert, kits, layers, models, training
from tfhyper.layers import BayesHyperConv2D, BayesHyperDense
from tfhyper.posterior import PointNetwork

SHAPE = (8, 8, 3)
SMALL = {"hidden_units": 2, "num_couplings": 2, "seed": 3}


def network(num_examples=50, **options):
    kit = kits.bayesian_hypernet(num_examples, **{**SMALL, **options})
    return models.wide_resnet(10, 1, input_shape=SHAPE, kit=kit)


@pytest.fixture(scope="module")
def model():
    return network()


def test_every_kernel_has_random_scales_and_the_weights_of_the_formula(model):
    plain = models.wide_resnet(10, 1, input_shape=SHAPE, kit="deterministic")
    count = plain.count_params()
    for layer in layers.variational_layers(model):
        stock = plain.get_layer(layer.name)
        assert type(layer).__name__ == f"BayesHyper{type(stock).__name__}"
        n, hidden = stock.kernel.shape[-1], 2
        half = n // 2
        for kept, changed in ((half, n - half), (n - half, half)):
            count += (kept + 1) * hidden + (hidden + 1) * 2 * changed
        count += 2 * n + 3  # location and scale; counts of draws and factor
    assert model.count_params() == count
    kernels = [x for x in plain.layers if hasattr(x, "kernel")]
    assert len(layers.variational_layers(model)) == len(kernels)


def test_kl_divergence_is_divided_by_the_number_of_examples_once(model):
    found = float(sum(model.losses))
    kl = float(to_numpy(training.kl_divergence(model)))
    assert found == pytest.approx(kl / 50, rel=1e-5)


def test_options_and_seeds_reach_every_layer(model):
    options = {"prior_mean": 1.5, "prior_scale": 0.2, "initial_scale": 0.05}
    drawn = layers.variational_layers(network(**options))
    for layer in drawn:
        found = {name: getattr(layer, name) for name in (*options, *SMALL)}
        assert found == {**options, **SMALL, "seed": layer.seed}
    seeds = [layer.seed for layer in drawn]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [x.seed for x in layers.variational_layers(model)]


def test_weight_decay_leaves_out_what_the_prior_regularises(model):
    compiled = training.compile_recipe(model, epochs=1, steps_per_epoch=1)
    compiled.optimizer.build(model.trainable_variables)
    decayed = {
        variable.name
        for variable in model.trainable_variables
        if layers.role_of(variable) not in compiled.optimizer.no_decay_roles
    }
    assert decayed == {"direction", "bias", "gamma", "beta"}


def test_converted_network_is_the_trained_one_at_code_zero():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, strides=2, kernel_regularizer="l2", name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, bias_initializer="ones", name="dense"),
        ]
    )
    copy = convert(model, kits.bayesian_hypernet(10, **SMALL))
    assert type(copy.get_layer("conv")) is BayesHyperConv2D
    assert type(copy.get_layer("dense")) is BayesHyperDense
    point = PointNetwork(copy)
    draw = point.sample(0, 0)
    draw.noise = {name: np.zeros_like(noise) for name, noise in draw.noise.items()}
    point.set(draw)
    x = normal(3, 6, 6, 2)
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(point.network.predict(x, verbose=0), expected, atol=1e-5)
    with pytest.raises(ValueError, match="`deterministic=True` needs"):
        point.mean()
    # A layer of another kind is named.
    other = keras.Sequential([keras.Input((8, 2)), keras.layers.Conv1D(2, 3)])
    with pytest.raises(ValueError, match=r"to convert.*'conv1d\w*', as its class is"):
        convert(other, kits.bayesian_hypernet(10))
    assert weights_of(copy.get_layer("conv"))["g_location"].shape == (4,)


@pytest.mark.parametrize("num_examples", [0, -5, 1.5, "all", True])
def test_bad_numbers_of_examples(num_examples):
    with pytest.raises(ValueError, match="`num_examples` must be a positive integer"):
        kits.bayesian_hypernet(num_examples)


def test_missing_number_of_examples():
    for make in (kits.bayesian_hypernet, lambda: kits.get("bayesian_hypernet")):
        with pytest.raises(ValueError, match="kit=tfhyper.kits.bayesian_hypernet"):
            make()


@pytest.mark.parametrize(
    "name, value",
    [
        ("num_couplings", 1.5),
        ("hidden_units", 0),
        ("prior_mean", -1),
        ("prior_scale", 0),
        ("initial_scale", float("nan")),
        ("seed", -1),
    ],
)
def test_bad_options_are_refused_at_the_door(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*{name}={value}"):
        kits.bayesian_hypernet(10, **{name: value})
