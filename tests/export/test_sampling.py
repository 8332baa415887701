"""Draws that an exported model makes from a seed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhyper
from tests.helpers.export import IMAGES, ROWS, calibrated, dense_network, small_network
from tests.helpers.kits import make_kit
from tests.helpers.layers import to_numpy
from tfhyper import export


def sampler(path):
    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures["sample"]

    def sample(inputs, seed):
        found = function(inputs=tf.constant(inputs), seed=tf.constant(seed))
        return {name: value.numpy() for name, value in found.items()}

    sample.loaded = loaded  # whose variables the function needs
    return sample


@pytest.mark.parametrize(
    "kit", ["hyper", "bayes", "mnf", "bayesian_hypernet", "mc_dropout", "sngp", "vbll"]
)
def test_draws_go_by_the_seed(kit, tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network(kit), 4)
    export.saved_model(predictor, tmp_path / "model", sampling=True)
    sample = sampler(tmp_path / "model")
    first, again, other = (sample(ROWS, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first["members"], again["members"])
    draws = np.concatenate([first["members"], other["members"]], 1).swapaxes(0, 1)
    assert len(np.unique(draws.reshape(8, -1), axis=0)) == 8
    # All that serving_default gives, of these draws.
    mean = first["members"].mean(1)
    np.testing.assert_allclose(first["probabilities"], mean, atol=1e-6)
    np.testing.assert_array_equal(first["class"], mean.argmax(-1))
    members = first["members"].swapaxes(0, 1)
    for name, function in (
        ("total", tfhyper.metrics.predictive_entropy),
        ("aleatoric", tfhyper.metrics.expected_entropy),
        ("epistemic", tfhyper.metrics.mutual_information),
    ):
        np.testing.assert_allclose(first[name], function(members), atol=1e-5)


def test_each_draw_has_moments_of_its_own(tmp_path):
    """As `calibrate` gives them to draws with the same codes."""
    predictor = calibrated(small_network("hyper"), 2)
    path = tmp_path / "model"
    export.saved_model(predictor, path, sampling=True, sampling_inputs=IMAGES)
    found = sampler(path)(IMAGES, 3)["members"]
    network = tfhyper.posterior.PointNetwork(predictor.model)
    for i in range(2):
        noise = network.fresh(tf.constant(3), tf.constant(i)).noise
        noise = {name: to_numpy(code) for name, code in noise.items()}
        predictor.draws[i] = tfhyper.Draw(noise)
    predictor.calibrate(IMAGES, batch_size=len(IMAGES), verbose=0)
    expected = predictor.predict(IMAGES).members
    np.testing.assert_allclose(found.swapaxes(0, 1), expected, atol=1e-5)


def test_mini_batches_are_drawn_from_the_stored_inputs(tmp_path):
    predictor = calibrated(
        small_network("deterministic"), 3, batch_norm="minibatch", batch_size=5
    )
    path = tmp_path / "model"
    export.saved_model(predictor, path, sampling=True, sampling_inputs=IMAGES)
    members = sampler(path)(IMAGES, 3)["members"].swapaxes(0, 1)
    # Of six inputs there are six mini-batches of five.
    possible = []
    for left_out in range(6):
        rest = np.delete(IMAGES, left_out, axis=0)
        one = tfhyper.PosteriorPredictor(predictor.model)
        one.calibrate(rest, verbose=0)
        possible.append(one.predict(IMAGES).mean)
    for member in members:
        assert min(np.abs(member - other).max() for other in possible) < 1e-5


def test_several_networks_and_draws_inside_of_one(tmp_path):
    models = [dense_network("hyper"), dense_network("bayes")]
    ensemble = tfhyper.DeepEnsemble(models, 2)
    wide = tfhyper.PosteriorPredictor(models[0], 2, "widening")
    for name, predictor, count in (("e", ensemble, 4), ("w", wide, 1)):
        export.saved_model(predictor, tmp_path / name, sampling=True)
        sample = sampler(tmp_path / name)
        first, other = (sample(ROWS, seed)["members"] for seed in (1, 2))
        assert first.shape == (5, count, 4)
        assert np.abs(first - other).max() > 1e-4
        # A negative seed is one like any other.
        assert np.isfinite(sample(ROWS, -1)["members"]).all()


@pytest.mark.parametrize("kit", ["bayes", "mnf", "bayesian_hypernet"])
def test_fresh_kernels_have_the_moments_of_the_draws(kit):
    """400 draws of each: means within 5 standard errors, deviations within 20 %."""
    options = {} if kit == "mnf" else {"initial_scale": 1.0}
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = tfhyper.convert(plain, make_kit(kit, **options))
    (layer,) = [x for x in model.layers if hasattr(x, "fresh_noise")]
    count = 400

    @tf.function(autograph=False)
    def fresh(index):
        return layer.point_weights(layer.fresh_noise(tf.constant(1), index))[0]

    found = np.stack([fresh(tf.constant(i)).numpy() for i in range(count)])
    drawn = [layer.point_weights(layer.sample_noise(i))[0] for i in range(count)]
    drawn = np.stack([to_numpy(x) for x in drawn])
    error = np.sqrt((found.var(0) + drawn.var(0)) / count)
    assert (np.abs(found.mean(0) - drawn.mean(0)) < 5 * error).all()
    np.testing.assert_allclose(found.std(0), drawn.std(0), rtol=0.2)


@pytest.mark.parametrize("prior", ["normal", "uniform", "half_normal"])
def test_fresh_codes_are_those_of_the_seed(prior):
    code = tfhyper.layers.LatentCode(7, prior)
    expected = code.sample_noise(11)
    found = tf.function(code.fresh_noise)(tf.constant(11), tf.constant(0))
    np.testing.assert_array_equal(found, expected)
    other = code.fresh_noise(tf.constant(11), tf.constant(1))
    assert np.abs(other - expected).min() > 1e-6


def plain_predictor():
    return tfhyper.PosteriorPredictor(dense_network("deterministic"))


def mean_predictor():
    return tfhyper.PosteriorPredictor(dense_network("bayes"), deterministic=True)


def norm_predictor():
    return calibrated(small_network("hyper"), 2)


@pytest.mark.parametrize(
    "make, inputs, message",
    [
        (plain_predictor, None, "whose draws differ"),
        (mean_predictor, None, "whose draws differ"),
        (norm_predictor, None, "`sampling_inputs` must hold training inputs"),
        (norm_predictor, IMAGES[..., :2], "`sampling_inputs` must be an array"),
        (norm_predictor, IMAGES[:0], "at least 1 examples"),
        (norm_predictor, IMAGES * np.nan, "`sampling_inputs` must be finite"),
        (norm_predictor, IMAGES + 1j, "`sampling_inputs` must hold real numbers"),
        (norm_predictor, IMAGES.astype(object), "`sampling_inputs` must hold real"),
        (norm_predictor, [[1.0], [2.0, 3.0]], "`sampling_inputs` must hold real"),
    ],
)
def test_what_cannot_be_sampled_is_refused(make, inputs, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=message):
        export.saved_model(
            make(), tmp_path / "model", sampling=True, sampling_inputs=inputs
        )
    assert not list(tmp_path.iterdir())
