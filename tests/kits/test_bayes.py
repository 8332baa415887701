"""The kit of Gaussian posteriors: which layers have one, and how KL is scaled."""

import keras
import numpy as np
import pytest
from keras import ops

from tfhyper import PosteriorPredictor, kits, layers, models, training

SHAPE = (8, 8, 3)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, *SHAPE)).astype("float32")


def network(num_examples=50, **options):
    keras.utils.set_random_seed(0)
    kit = kits.bayes(num_examples, **{"seed": 3, **options})
    return models.wide_resnet(10, 1, input_shape=SHAPE, kit=kit)


def test_every_kernel_has_a_posterior():
    model = network()
    kinds = {
        layer.name: type(layer).__name__ for layer in layers.variational_layers(model)
    }
    plain = models.wide_resnet(10, 1, input_shape=SHAPE, kit="deterministic")
    expected = {
        layer.name: f"Bayes{type(layer).__name__}"
        for layer in plain.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)
    }
    assert kinds == expected
    # A mean and a rho for each weight of a kernel, and a factor for each layer.
    kernels = sum(layer.kernel.numpy().size for layer in map(plain.get_layer, kinds))
    assert model.count_params() == plain.count_params() + kernels + 3 * len(kinds)


@pytest.mark.parametrize("num_examples", [1, 50, 60_000])
def test_kl_divergence_is_divided_by_the_number_of_examples_once(num_examples):
    model = network(num_examples)
    found = float(sum(model.losses))
    kl = float(ops.convert_to_numpy(training.kl_divergence(model)))
    assert found == pytest.approx(kl / num_examples, rel=1e-6)
    assert len(model.losses) == len(layers.variational_layers(model))


def test_options_reach_every_layer():
    options = {
        "estimator": "flipout",
        "prior_scale": 0.2,
        "trainable_prior_scale": True,
        "initial_scale": 0.05,
        "bias_posterior": "gaussian",
    }
    for layer in layers.variational_layers(network(**options)):
        assert {name: getattr(layer, name) for name in options} == options


def test_layers_have_seeds_of_their_own_that_follow_the_kits():
    def seeds(**options):
        return [x.seed for x in layers.variational_layers(network(**options))]

    assert len(set(seeds())) == len(seeds())
    assert seeds() == seeds() != seeds(seed=4)


@pytest.mark.parametrize("estimator", ["reparameterization", "flipout"])
def test_a_draw_fixes_all_layers_whatever_the_batch(estimator):
    model = network(estimator=estimator)
    predictor = PosteriorPredictor(model, num_draws=3)
    predictor.calibrate(X, verbose=0)
    whole = predictor.predict(X, batch_size=12).members
    parts = predictor.predict(X, batch_size=5).members
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_batch_norm_of_a_draw_is_that_of_its_materialized_network():
    model = network(initial_scale=1.0)
    predictor = PosteriorPredictor(model, num_draws=2)
    predictor.calibrate(X, batch_size=12, verbose=0)
    for i, draw in enumerate(predictor.draws):
        plain = predictor.materialize(i)
        stem = keras.Model(plain.input, plain.get_layer("stem").output)
        # The first BatchNorm sees the stem's output and nothing else.
        activations = ops.convert_to_numpy(stem(X)).reshape(-1, 16).astype("float64")
        mean, variance = draw.moments["stage1_block1_pre1_norm"]
        np.testing.assert_allclose(mean, activations.mean(0), atol=1e-5)
        np.testing.assert_allclose(variance, activations.var(0), rtol=1e-4)
        logits = ops.convert_to_numpy(plain(X))
        expected = ops.convert_to_numpy(ops.softmax(logits))
        np.testing.assert_allclose(predictor.predict(X).members[i], expected, atol=1e-5)


def test_a_predictor_notices_that_its_model_was_trained():
    model = network()
    training.compile_recipe(model, epochs=3, steps_per_epoch=1)
    predictor = PosteriorPredictor(model, num_draws=2, batch_norm="moving_average")
    predictor.predict(X)
    model.fit(X, np.arange(12) % 10, verbose=0, callbacks=[training.KLSchedule()])
    with pytest.raises(ValueError, match="The model was trained since"):
        predictor.predict(X)


@pytest.mark.parametrize("num_examples", [0, -5, 1.5, "all", True])
def test_bad_numbers_of_examples(num_examples):
    with pytest.raises(ValueError, match="`num_examples` must be a positive integer"):
        kits.bayes(num_examples)


def test_missing_number_of_examples():
    for make in (kits.bayes, lambda: models.lenet5(kit="bayes")):
        with pytest.raises(ValueError, match="`num_examples` must be given"):
            make()


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"estimator": "score"}, ValueError, "`estimator` must be one of"),
        ({"prior_scale": 0}, ValueError, "`prior_scale` must be"),
        ({"initial_scale": -1}, ValueError, "`initial_scale` must be"),
        ({"bias_posterior": "none"}, ValueError, "`bias_posterior` must be one of"),
        ({"prior": np.tanh}, TypeError, "`prior` must be"),
        ({"seed": -1}, ValueError, "`seed` must be"),
    ],
)
def test_bad_options_are_refused_at_the_door(options, error, match):
    with pytest.raises(error, match=match):
        kits.bayes(10, **options)
