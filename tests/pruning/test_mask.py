"""A pruned weight is 0 in every call, is not trained and has no KL divergence."""

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tests.helpers.bayes import ESTIMATORS, normal_kl, softplus
from tests.helpers.layers import to_numpy
from tests.helpers.pruning import bayes_network, images, randomise, weight
from tfhyper import layers
from tfhyper.pruning import prune

tfd = tfp.distributions


def dense(**options):
    """A pruned layer with about half of its weights, and its mask."""
    options = {"seed": 3, "name": "dense", "pruned": True, **options}
    layer = layers.BayesDense(4, **options)
    randomise(keras.Sequential([keras.Input((6,)), layer]))
    mask = np.random.default_rng(4).integers(0, 2, (6, 4)).astype("float32")
    mask[:, 1] = 0
    layer.kernel_posterior.mask.assign(mask)
    return layer, mask.astype(bool)


def parts(layer, name="kernel"):
    found = {w.name: to_numpy(w).astype("float64") for w in layer.weights}
    return found[f"{name}_mean"], softplus(found[f"{name}_rho"])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_outputs_are_those_of_a_layer_whose_pruned_weights_vanish(estimator):
    layer, mask = dense(estimator=estimator)
    twin = layers.BayesDense.from_config({**layer.get_config(), "pruned": False})
    twin.build((None, 6))
    mean, scale = parts(layer)
    twin.kernel_posterior.mean.assign(mean * mask)
    # Not zero, but next to nothing: sigma = exp(-80).
    rho = to_numpy(layer.kernel_posterior.rho)
    twin.kernel_posterior.rho.assign(np.where(mask, rho, -80.0))
    twin.bias.assign(layer.bias)
    x = images(5, shape=(6,))
    for training in (True, False):
        found, expected = layer(x, training=training), twin(x, training=training)
        np.testing.assert_allclose(to_numpy(found), to_numpy(expected), atol=1e-5)
    # The unit without weights gives its bias; what is left of the noise of the
    # local estimator is the least deviation, 1e-6.
    outputs = to_numpy(layer(x, training=True))[:, 1]
    np.testing.assert_allclose(outputs, to_numpy(layer.bias)[1], atol=1e-5)


@pytest.mark.parametrize("seed", [None, 7])
def test_draws_are_zero_where_pruned(seed):
    layer, mask = dense(bias_posterior="gaussian")
    whole = layers.BayesDense.from_config({**layer.get_config(), "pruned": False})
    whole.build((None, 6))
    whole.set_weights([to_numpy(w) for w in layer.weights if w.name != "kernel_mask"])
    noise = layer.mean_noise() if seed is None else layer.sample_noise(seed)
    kernel, bias = layer.point_weights(noise)
    expected, expected_bias = whole.point_weights(noise)
    np.testing.assert_array_equal(to_numpy(kernel), to_numpy(expected) * mask)
    np.testing.assert_array_equal(to_numpy(bias), to_numpy(expected_bias))


def test_the_kl_divergence_is_the_sum_over_kept_weights():
    layer, mask = dense(prior_scale=0.3)
    mean, scale = parts(layer)
    expected = normal_kl(mean[mask], scale[mask], 0.0, 0.3)
    np.testing.assert_allclose(float(layer.kl_divergence()), expected, rtol=1e-5)
    layer, mask = dense(prior_mean="weight", bias_posterior="gaussian")
    mean, scale = parts(layer)
    prior_mean = to_numpy(layer.kernel_posterior.prior_mean)
    expected = normal_kl(mean[mask], scale[mask], prior_mean[mask], 1.0)
    bias_prior = [to_numpy(w) for w in layer.weights if w.name == "bias_prior_mean"]
    expected += normal_kl(*parts(layer, "bias"), *bias_prior, 1.0)
    np.testing.assert_allclose(float(layer.kl_divergence()), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "prior",
    [
        tfd.Normal(0.2, 0.5),
        tfd.Normal(np.float32([0.0, 1.0, 2.0, 3.0]), 0.5),
        layers.scale_mixture(0.5, 1.0, 0.1),
        tfd.Laplace(0.0, 1e-34),
    ],
    ids=["closed_form", "one_for_each_unit", "estimated", "narrow"],
)
def test_a_pruned_weight_adds_nothing_whatever_the_prior(prior):
    layer, mask = dense(prior=prior)
    posterior = layer.kernel_posterior
    before = float(layer.kl_divergence())
    # Far outside of the narrow prior, an infinite term each if they counted.
    posterior.mean.assign(np.where(mask, to_numpy(posterior.mean), 1e6))
    assert float(layer.kl_divergence()) == before
    posterior.mask.assign(np.zeros((6, 4)))
    assert float(layer.kl_divergence()) == 0.0
    posterior.mask.assign(np.eye(6, 4))
    posterior.mean.assign(np.full((6, 4), 0.5))
    one = float(layer.kl_divergence())
    assert np.isfinite(one) and one != 0.0


def test_a_learned_prior_scale_learns_from_kept_weights():
    layer, mask = dense(trainable_prior_scale=True)
    mean, scale = parts(layer)
    prior_scale = softplus(float(layer.prior_rho))
    expected = normal_kl(mean[mask], scale[mask], 0.0, prior_scale)
    np.testing.assert_allclose(float(layer.kl_divergence()), expected, rtol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pruned_weights_stay_zero_in_training(estimator, tmp_path):
    pruned = prune(bayes_network(estimator=estimator), fraction=0.5)
    before = {name: weight(pruned, name, "kernel_mean") for name in ("conv", "hidden")}
    pruned.compile(keras.optimizers.Adam(0.01), "mse")
    pruned.fit(images(16), np.ones((16, 3)), batch_size=4, epochs=2, verbose=0)
    pruned.save(tmp_path / "trained.keras")
    pruned = keras.saving.load_model(tmp_path / "trained.keras")
    for name, old in before.items():
        layer = pruned.get_layer(name)
        mask = weight(pruned, name, "kernel_mask").astype(bool)
        np.testing.assert_array_equal(mask, old != 0)
        for variable in ("kernel_mean", "kernel_rho"):
            assert (weight(pruned, name, variable)[~mask] == 0).all()
        assert (weight(pruned, name, "kernel_mean")[mask] != old[mask]).mean() > 0.9
        kernel = to_numpy(layer.point_weights(layer.sample_noise(0))[0])
        np.testing.assert_array_equal(kernel != 0, mask)


def test_without_it_there_is_no_mask():
    layer = layers.BayesDense(4)
    layer.build((None, 6))
    assert [w.name for w in layer.weights if "mask" in w.name] == []
    assert layer.kernel_posterior.mask is None
    fresh = layers.BayesDense(4, pruned=True)
    fresh.build((None, 6))
    assert (to_numpy(fresh.kernel_posterior.mask) == 1).all()
    assert not fresh.kernel_posterior.mask.trainable


def test_a_prior_of_several_weights_has_no_kl_of_one():
    prior = tfd.MultivariateNormalDiag(np.zeros(4, "float32"))
    with pytest.raises(ValueError, match=r"`pruned` needs.*event_shape=\(4,\)"):
        layers.BayesDense(4, prior=prior, pruned=True)
