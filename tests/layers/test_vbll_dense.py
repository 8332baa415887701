"""Variational Bayesian last layers of classifiers: bound, draws and Keras."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase
from scipy.special import expit, log_softmax, logsumexp, softmax

from tests.helpers import vbll
from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor
from tfhyper.layers import VBLLDense, role_of

SIZE, UNITS, COUNT = 5, 3, 20
VARIABLES = {"dense": 5, "diagonal": 4, "low_rank": 5, "known": 4}
KL_WEIGHT = 0.01


def built(form="dense", **options):
    options = {"seed": 3, "kl_weight": KL_WEIGHT, "prior_scale": 0.8, **options}
    layer = VBLLDense(UNITS, **vbll.FORMS[form], **options)
    layer.build((None, SIZE))
    vbll.randomise(layer)
    return layer, normal(COUNT, SIZE, seed=50)


def probit(logits, variance):
    return logits / np.sqrt(1 + np.pi / 8 * variance)


@pytest.mark.parametrize("form", vbll.FORMS)
def test_keras_checks_of_a_layer(form):
    TestCase().run_layer_test(
        VBLLDense,
        {"units": 4, "kl_weight": 0.01, **vbll.FORMS[form]},
        input_shape=(2, 3, SIZE),
        expected_num_trainable_weights=VARIABLES[form],
        # The counts of the draws and the factor of the KL divergence.
        expected_num_non_trainable_weights=2,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


@pytest.mark.parametrize("form", vbll.FORMS)
def test_the_loss_is_the_bound_of_the_paper(form):
    layer, x = built(form)
    y = np.arange(COUNT) % UNITS
    mean, variance = vbll.outputs(layer, x)
    variance = variance + vbll.noise_variance(layer)
    # Harrison et al. (2024): E log p(y) >= m_y - log sum_k exp(m_k + v_k / 2).
    bound = mean[np.arange(COUNT), y] - logsumexp(mean + variance / 2, axis=-1)
    prior = vbll.kl(layer) + vbll.noise_penalty(layer)
    expected = -bound.mean() + KL_WEIGHT * prior
    model = keras.Sequential([keras.Input((SIZE,)), layer])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=False)
    assert float(model.train_on_batch(x, y)) == pytest.approx(expected, rel=1e-5)
    assert float(to_numpy(layer.kl_divergence())) == pytest.approx(
        vbll.kl(layer), rel=1e-5
    )
    # With probabilities it is the same.
    config = {**layer.get_config(), "activation": "softmax"}
    other = VBLLDense.from_config(config)
    other.build((None, SIZE))
    other.set_weights(layer.get_weights())
    model = keras.Sequential([keras.Input((SIZE,)), other])
    model.compile(
        keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", jit_compile=False
    )
    assert float(model.train_on_batch(x, y)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["dense", "low_rank"])
def test_the_bound_is_above_the_expected_cross_entropy(form):
    layer, x = built(form)
    y = np.arange(COUNT) % UNITS
    mean, covariances = vbll.moments(layer)
    rng = np.random.default_rng(0)
    kernels = np.stack(
        [
            rng.multivariate_normal(m, c, size=4000)
            for m, c in zip(mean, covariances, strict=True)
        ],
        axis=1,
    )
    logits = np.einsum("skd,nd->snk", kernels, x) + to_numpy(layer.bias)
    scale = np.sqrt(vbll.noise_variance(layer))
    logits += rng.normal(size=logits.shape) * scale
    entropies = -log_softmax(logits, axis=-1)[:, np.arange(COUNT), y]
    m, v = map(to_numpy, layer.output_moments(x))
    v = v + scale**2
    found = float(to_numpy(layer.bound_penalty(m, v.astype("float32"))))
    found += -log_softmax(m, axis=-1)[np.arange(COUNT), y].mean()
    mean_entropy = entropies.mean()
    assert mean_entropy < found < mean_entropy + 2 * v.mean()
    np.testing.assert_allclose(logits.mean(axis=0), m, atol=0.2)
    np.testing.assert_allclose(logits.var(axis=0), v, rtol=0.15)


def test_labels_by_themselves_have_the_bound_of_the_sigmoid():
    layer, x = built(link="sigmoid")
    y = np.random.default_rng(0).integers(0, 2, (COUNT, UNITS))
    mean, variance = vbll.outputs(layer, x)
    variance = variance + vbll.noise_variance(layer)
    bound = y * mean - np.logaddexp(0, mean + variance / 2)
    prior = vbll.kl(layer) + vbll.noise_penalty(layer)
    model = keras.Sequential([keras.Input((SIZE,)), layer])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=False)
    found = float(model.train_on_batch(x, y))
    assert found == pytest.approx(-bound.mean() + KL_WEIGHT * prior, rel=1e-5)
    assert VBLLDense(1).link == VBLLDense(3, activation="sigmoid").link == "sigmoid"
    assert VBLLDense(2).link == VBLLDense(3, activation="softmax").link == "softmax"


@pytest.mark.parametrize("form", vbll.FORMS)
def test_outputs_in_training_and_outside_of_it(form):
    layer, x = built(form)
    mean, variance = vbll.outputs(layer, x)
    np.testing.assert_allclose(to_numpy(layer(x, training=True)), mean, atol=1e-5)
    assert len(layer.losses) == 2
    expected = probit(mean, variance + vbll.noise_variance(layer))
    np.testing.assert_allclose(to_numpy(layer(x)), expected, atol=1e-5)
    assert len(layer.losses) == 1  # the KL divergence alone


@pytest.mark.parametrize("form", vbll.FORMS)
def test_draws_are_of_the_posterior(form):
    layer, x = built(form)
    noise = layer.sample_noise(seed=5)
    rng = np.random.default_rng(noise)
    mean, covariances = vbll.moments(layer)
    first = rng.standard_normal((SIZE, UNITS), "f4").T
    second = rng.standard_normal((UNITS, 2), "f4")
    expected = []
    for k in range(UNITS):
        if form in ("dense", "known"):
            deviation = np.linalg.cholesky(covariances[k]) @ first[k]
        else:
            scale = np.log1p(np.exp(to_numpy(layer.kernel_rho)[:, k]))
            deviation = scale * first[k]
            if form == "low_rank":
                deviation = deviation + to_numpy(layer.kernel_factor)[k] @ second[k]
        expected.append(mean[k] + deviation)
    variance = vbll.noise_variance(layer)
    kernel, bias = map(to_numpy, layer.point_weights(noise))
    np.testing.assert_allclose(
        kernel, probit(np.transpose(expected), variance), atol=1e-5
    )
    np.testing.assert_allclose(bias, probit(to_numpy(layer.bias), variance), atol=1e-6)
    at_the_mean, _ = map(to_numpy, layer.point_weights(layer.mean_noise()))
    np.testing.assert_allclose(at_the_mean, probit(mean.T, variance), atol=1e-6)


def test_a_predictor_averages_over_draws_and_its_files_come_back(tmp_path):
    layer, x = built()
    model = keras.Sequential([keras.Input((SIZE,)), layer])
    predictor = PosteriorPredictor(model, 60)
    assert predictor.outputs == "logits"
    found = predictor.predict(x)
    mean, covariances = vbll.moments(layer)
    rng = np.random.default_rng(1)
    draws = np.stack(
        [
            rng.multivariate_normal(m, c, size=5000)
            for m, c in zip(mean, covariances, strict=True)
        ],
        axis=1,
    )
    logits = np.einsum("skd,nd->snk", draws, x) + to_numpy(layer.bias)
    expected = softmax(probit(logits, vbll.noise_variance(layer)), axis=-1).mean(axis=0)
    # Deviations of a probability are at most 1/2.
    np.testing.assert_allclose(found.mean, expected, atol=4 * 0.5 / np.sqrt(60))
    assert (found.epistemic > 0).all()
    # The mean field is near to the mean over draws of weights and noise.
    one_pass = to_numpy(ops.softmax(model(x)))
    assert np.abs(one_pass - expected).mean() < 0.08
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(model(x)))
    predictor.save(tmp_path / "p.tfhyper")
    again = PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_array_equal(again.predict(x).mean, found.mean)


def test_one_label_is_predicted_by_the_sigmoid():
    layer = VBLLDense(1, kl_weight=0.1, activation="sigmoid", seed=0)
    model = keras.Sequential([keras.Input((SIZE,)), layer])
    vbll.randomise(layer)
    x = normal(COUNT, SIZE)
    mean, variance = vbll.outputs(layer, x)
    expected = expit(probit(mean, variance + vbll.noise_variance(layer)))
    np.testing.assert_allclose(to_numpy(model(x)), expected, atol=1e-5)
    predictor = PosteriorPredictor(model, 4)
    assert predictor.outputs == "label_probabilities"
    assert predictor.predict(x).mean.shape == (COUNT, 1)


def test_variables_have_their_role_and_the_noise_starts_at_the_mode():
    layer = VBLLDense(UNITS, noise_prior_scale=2.0, noise_dof=3.0)
    layer.build((None, SIZE))
    roles = {v.name: role_of(v) for v in layer.trainable_variables}
    assert roles.pop("bias") is None
    assert set(roles.values()) == {"posterior"}
    expected = 2.0 / (3 + UNITS + 1)
    np.testing.assert_allclose(vbll.noise_variance(layer), expected, rtol=1e-5)


def test_the_uncertainty_grows_away_from_the_data():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = rng.normal(scale=0.3, size=(200, 2)).astype("float32")
    x[:, 0] += np.where(y == 1, 1.5, -1.5)
    # Features that do not grow: what a last layer knows is in their space.
    features = np.cos(x @ normal(2, 60) + 6 * normal(60, seed=1))
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    far = 9 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    away = np.cos(far @ normal(2, 60) + 6 * normal(60, seed=1)).astype("float32")
    keras.utils.set_random_seed(0)
    head = VBLLDense(2, prior_scale=5.0, initial_scale=0.5, kl_weight=1 / 200, seed=1)
    model = keras.Sequential([keras.Input((60,)), head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False)
    model.fit(features, y, epochs=30, batch_size=50, verbose=0)
    predictor = PosteriorPredictor(model, 16)
    near, far_off = predictor.predict(features), predictor.predict(away)
    assert (near.mean.argmax(axis=-1) == y).mean() > 0.98
    assert far_off.epistemic.mean() > 2 * near.epistemic.mean()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"units": 0}, "`units` must be a positive integer.*=0"),
        ({"covariance": "full"}, "`covariance` must be one of.*'full'"),
        ({"rank": 0}, "`rank` must be a positive integer.*=0"),
        ({"prior_scale": 0.0}, "`prior_scale` must be a finite number > 0.*=0.0"),
        ({"noise_scale": -1.0}, "`noise_scale` must be a finite number >= 0.*=-1.0"),
        ({"noise_prior_scale": 0}, "`noise_prior_scale` must be a finite number > 0"),
        ({"noise_dof": -1}, "`noise_dof` must be a finite number >= 0.*=-1"),
        ({"initial_scale": 0}, "`initial_scale` must be a finite number > 0.*=0"),
        ({"mean_field_factor": -1}, "`mean_field_factor` must be a finite.*=-1"),
        ({"kl_weight": -1}, "`kl_weight` must be a finite number >= 0.*=-1"),
        ({"link": "softmax", "units": 1}, "`link` must be 'sigmoid' for one unit"),
        ({"activation": "relu"}, "`activation` must be None, softmax or sigmoid"),
        ({"kernel_regularizer": "l2"}, "`kernel_regularizer` must be None"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        VBLLDense(**{"units": 3, **options})


def test_a_head_that_is_not_last_is_refused():
    inputs = keras.Input((SIZE,))
    hidden = VBLLDense(3, name="head")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    with pytest.raises(ValueError, match="Layer 'head'.*must be the last one"):
        PosteriorPredictor(model)
