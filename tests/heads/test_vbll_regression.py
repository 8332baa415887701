"""Variational Bayesian last layers of regressions, against Bayesian regression."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase
from scipy import stats

from tests.helpers import vbll
from tests.helpers.layers import gradients, normal, to_numpy
from tfhyper import PosteriorPredictor, heads
from tfhyper.heads import NegativeLogLikelihood, VBLLRegression
from tfhyper.layers.gaussian_weights import inverse_softplus

SIZE, TARGETS, COUNT = 4, 2, 30
NOISE = 0.5


def built(form="dense", **options):
    options = {"seed": 3, "kl_weight": 1 / COUNT, "prior_scale": 0.8, **options}
    layer = VBLLRegression(TARGETS, **{**vbll.FORMS[form], **options})
    layer.build((None, SIZE))
    vbll.randomise(layer)
    return layer, normal(COUNT, SIZE, seed=50)


def compiled(layer, rate=0.0):
    model = keras.Sequential([keras.Input((SIZE,)), layer])
    loss = NegativeLogLikelihood(layer)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    return model


def regression():
    """Returns inputs and targets of a linear function with known noise."""
    x = normal(COUNT, SIZE, seed=1)
    y = x @ normal(SIZE, TARGETS, seed=2) + NOISE * normal(COUNT, TARGETS, seed=3)
    return x, y.astype("float32")


def exact_posterior(x, y, prior):
    """Returns the mean (size, targets) and covariance of Bayesian regression."""
    x = x.astype("float64")
    precision = x.T @ x / NOISE**2 + np.eye(SIZE) / prior
    covariance = np.linalg.inv(precision)
    return covariance @ x.T @ y / NOISE**2, covariance


@pytest.mark.parametrize("form", vbll.FORMS)
def test_keras_checks_of_a_layer(form):
    TestCase().run_layer_test(
        VBLLRegression,
        {"units": 2, "kl_weight": 0.01, **vbll.FORMS[form]},
        input_shape=(2, 3, SIZE),
        expected_output_shape=(2, 3, 4),
        expected_num_trainable_weights={"dense": 5, "low_rank": 5}.get(form, 4),
        expected_num_non_trainable_weights=2,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


@pytest.mark.parametrize("form", vbll.FORMS)
def test_the_loss_is_the_bound_of_the_paper(form):
    layer, x = built(form)
    y = normal(COUNT, TARGETS, seed=9)
    mean, variance = vbll.outputs(layer, x)
    noise = vbll.noise_variance(layer)
    log_prob = stats.norm(mean, np.sqrt(noise)).logpdf(y) - variance / (2 * noise)
    prior = vbll.kl(layer) + vbll.noise_penalty(layer)
    expected = -log_prob.sum(axis=-1).mean() + prior / COUNT
    found = float(compiled(layer).train_on_batch(x, y))
    assert found == pytest.approx(expected, rel=1e-5)


def test_at_the_exact_posterior_the_loss_is_the_evidence_and_has_no_gradient():
    layer, _ = built(noise_scale=NOISE, use_bias=False)
    x, y = regression()
    prior = 0.8**2 * 2 / SIZE
    mean, covariance = exact_posterior(x, y, prior)
    lower = np.linalg.cholesky(covariance)
    layer.kernel_mean.assign(mean)
    rho = inverse_softplus(np.diag(lower))
    layer.kernel_rho.assign(np.stack([rho] * TARGETS, axis=1))
    layer.kernel_lower.assign(np.stack([np.tril(lower, -1)] * TARGETS))
    of_targets = NOISE**2 * np.eye(COUNT) + prior * x.astype("float64") @ x.T
    evidence = stats.multivariate_normal(np.zeros(COUNT), of_targets).logpdf(y.T).sum()
    model = compiled(layer)
    found = COUNT * float(model.train_on_batch(x, y))
    assert found == pytest.approx(-evidence, abs=1e-3)

    def loss():
        value = model.loss(y, layer(x, training=True))
        _, variance = layer.output_moments(x)
        return value + layer.bound_penalty(variance) + layer.weighted_kl()

    for gradient in gradients(loss, layer.trainable_variables):
        np.testing.assert_allclose(to_numpy(gradient), 0, atol=2e-4)


def test_training_comes_near_to_the_exact_posterior():
    keras.utils.set_random_seed(0)
    layer, _ = built(noise_scale=NOISE, use_bias=False)
    x, y = regression()
    mean, covariance = exact_posterior(x, y, 0.8**2 * 2 / SIZE)
    model = compiled(layer, 0.02)
    copies = 250
    model.fit(
        np.tile(x, (copies, 1)), np.tile(y, (copies, 1)), batch_size=COUNT, verbose=0,
        shuffle=False, epochs=2,
    )  # fmt: skip
    found, covariances = vbll.moments(layer)
    # In posterior deviations, which are about 0.1.
    deviation = np.sqrt(covariance.diagonal())[:, None]
    np.testing.assert_allclose((found.T - mean) / deviation, 0, atol=0.05)
    for each in covariances:
        np.testing.assert_allclose(each, covariance, atol=0.05 * covariance.max())


@pytest.mark.parametrize("form", vbll.FORMS)
def test_the_prediction_of_one_pass_is_the_predictive_distribution(form):
    layer, x = built(form)
    mean, variance = vbll.outputs(layer, x)
    noise = vbll.noise_variance(layer)
    expected = np.concatenate([mean, np.sqrt(variance + noise)], axis=-1)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)
    in_training = np.concatenate([mean, np.sqrt(0 * variance + noise)], axis=-1)
    found = to_numpy(layer(x, training=True))
    np.testing.assert_allclose(found, in_training, rtol=1e-4, atol=1e-5)


def test_a_predictor_parts_the_variance_and_its_files_come_back(tmp_path):
    layer, x = built(prior_scale=1.0)
    model = compiled(layer)
    predictor = PosteriorPredictor(model, 100)
    assert predictor.outputs == "distribution"
    found = predictor.predict(x)
    mean, variance = vbll.outputs(layer, x)
    noise = np.broadcast_to(vbll.noise_variance(layer), variance.shape)
    np.testing.assert_allclose(found.aleatoric, noise, rtol=1e-4)
    # The error of a mean over 100 draws, and of a variance.
    scale = np.sqrt(variance)
    assert (np.abs(found.mean - mean) < 5 * scale / np.sqrt(100)).all()
    np.testing.assert_allclose(found.epistemic, variance, rtol=5 * np.sqrt(2 / 100))
    at_the_mean = PosteriorPredictor(model, deterministic=True).predict(x)
    np.testing.assert_allclose(at_the_mean.mean, mean, atol=1e-4)
    assert at_the_mean.epistemic.max() == 0
    y = mean + 0.1
    assert predictor.evaluate(x, y).keys() >= {"rmse", "nll", "crps"}
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(model(x)))
    predictor.save(tmp_path / "p.tfhyper")
    again = PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_array_equal(again.predict(x).mean, found.mean)


def test_it_is_a_head_with_a_family():
    head = VBLLRegression(3)
    assert isinstance(head, heads.Head)
    assert head.family == heads.Normal(3) and head.units == 3
    copy = VBLLRegression.from_config(head.get_config())
    assert copy.get_config() == head.get_config()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"units": 0}, "`units` must be a positive integer.*=0"),
        ({"activation": "relu"}, "`activation` must be None"),
        ({"noise_scale": 0.0}, "`noise_scale` must be a finite number > 0.*=0.0"),
        ({"covariance": "full"}, "`covariance` must be one of.*'full'"),
        ({"noise_prior_scale": -1}, "`noise_prior_scale` must be a finite number > 0"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        VBLLRegression(**{"units": 2, **options})
