"""Losses of distributions: values, gradients, weights, configurations and errors."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from tests.helpers.heads import FAMILIES, parameters_of, targets_of
from tests.helpers.layers import gradients, to_numpy
from tfhyper import heads

Y = np.array([0.5, -1.0, 4.0], "float32")
PARAMETERS = np.array([[0.0, 1.0], [1.0, 2.0], [4.5, 0.25]], "float32")


def test_negative_log_likelihood_is_averaged_as_keras_does():
    logs = stats.norm(*PARAMETERS.T).logpdf(Y)
    loss = heads.NegativeLogLikelihood(heads.NormalHead())
    assert float(loss(Y, PARAMETERS)) == pytest.approx(-logs.mean(), rel=1e-6)
    assert float(loss(Y[:, None], PARAMETERS)) == pytest.approx(-logs.mean(), rel=1e-6)
    weights = np.array([1.0, 0.0, 3.0])
    found = float(loss(Y, PARAMETERS, sample_weight=weights))
    assert found == pytest.approx(-(weights * logs).sum() / 3, rel=1e-6)
    each = heads.NegativeLogLikelihood(heads.Normal(), reduction="none")
    np.testing.assert_allclose(to_numpy(each(Y, PARAMETERS)), -logs, rtol=1e-5)
    # Pixels: one loss for each, joint over its targets.
    family = heads.Normal(2)
    parameters, y = parameters_of(family, 2, 3, 4), targets_of(family, 2, 3, 4)
    found = to_numpy(
        heads.NegativeLogLikelihood(family, reduction="none")(y, parameters)
    )
    logs = stats.norm(parameters[..., :2], parameters[..., 2:]).logpdf(y)
    np.testing.assert_allclose(found, -logs.sum(axis=-1), rtol=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_beta_nll_weighs_gradients_by_the_variance(beta):
    loss = heads.BetaNLL(heads.Normal(), beta, reduction="sum")
    variable = keras.Variable(PARAMETERS)
    (found,) = gradients(lambda: loss(Y, variable.value), [variable])
    mean, scale = PARAMETERS.T.astype("float64")
    weight = scale ** (2 * beta)
    z = (mean - Y) / scale
    np.testing.assert_allclose(found[:, 0], weight * z / scale, rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], weight * (1 - z**2) / scale, rtol=1e-5)
    value = float(loss(Y, PARAMETERS))
    expected = -np.sum(weight * stats.norm(mean, scale).logpdf(Y))
    assert value == pytest.approx(expected, rel=1e-5)


def test_crps_by_samples_has_the_closed_form_as_its_mean():
    closed = float(heads.CRPS(heads.Normal())(Y, PARAMETERS))
    estimates = [
        float(heads.CRPS(heads.Normal(), num_samples=64, seed=i)(Y, PARAMETERS))
        for i in range(40)
    ]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert 0 < error < 0.02
    assert abs(np.mean(estimates) - closed) < 5 * error
    loss = heads.CRPS(heads.Normal(), num_samples=2, seed=1)
    first, second = float(loss(Y, PARAMETERS)), float(loss(Y + 0.25, PARAMETERS + 0.25))
    assert first == float(loss(Y, PARAMETERS)) != second


def test_crps_of_samples_has_gradients_of_every_parameter():
    family = heads.StudentT()
    loss = heads.CRPS(family, num_samples=500, seed=0, reduction="sum")
    closed = heads.CRPS(family, reduction="sum")
    values = np.array([[0.0, 1.0, 3.0]] * 20, "float32")
    variable, y = keras.Variable(values), np.linspace(-1, 1, 20)
    found, expected = (
        gradients(lambda f=f: f(y, variable.value), [variable])[0].mean(axis=0)
        for f in (loss, closed)
    )
    # Five standard errors and less: the estimate has 10,000 samples.
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert abs(expected[1]) > 0.05 and found[2] != 0


@pytest.mark.parametrize("name", FAMILIES)
def test_losses_come_back_from_their_configuration(name):
    family = FAMILIES[name]
    losses = [heads.NegativeLogLikelihood(family, reduction="sum")]
    if name != "categorical":
        losses.append(heads.CRPS(family, name="score"))
    if isinstance(family, heads.LocationScale):
        losses.append(heads.BetaNLL(family, 0.25))
        losses.append(heads.CRPS(family, num_samples=4, seed=3))
    y, parameters = targets_of(family, 5), parameters_of(family, 5)
    for loss in losses:
        config = keras.losses.serialize(loss)
        again = keras.losses.deserialize(config)
        assert again.get_config() == loss.get_config()
        assert float(again(y, parameters)) == float(loss(y, parameters))


def test_fits_find_mean_and_noise():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(256, 1)).astype("float32")
    y = 2 * x[:, 0] - 1 + np.where(x[:, 0], 0.5, 0.1) * rng.normal(size=256)
    for make in (heads.NegativeLogLikelihood, heads.CRPS):
        head = heads.NormalHead()
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(2, kernel_initializer="zeros"), head]
        )
        model.compile(keras.optimizers.Adam(0.1), make(head), jit_compile=False)
        model.fit(np.tile(x, (120, 1)), np.tile(y, 120), batch_size=256, verbose=0)
        found = model.predict(np.array([[0.0], [1.0]]), verbose=0)
        np.testing.assert_allclose(found[:, 0], [-1, 1], atol=0.1)
        np.testing.assert_allclose(found[:, 1], [0.1, 0.5], rtol=0.2)


def test_bad_arguments_and_shapes_are_named():
    with pytest.raises(
        TypeError, match="`family` must be a family or a head.*'normal'"
    ):
        heads.NegativeLogLikelihood("normal")
    with pytest.raises(TypeError, match="`family`.*location and a scale.*Poisson"):
        heads.BetaNLL(heads.Poisson())
    with pytest.raises(ValueError, match=r"`beta` must be in \[0, 1\].*beta=1.5"):
        heads.BetaNLL(heads.Normal(), 1.5)
    with pytest.raises(ValueError, match="`num_samples` must be.*num_samples=1"):
        heads.CRPS(heads.Normal(), num_samples=1)
    with pytest.raises(ValueError, match="`num_samples` must be None.*Poisson"):
        heads.CRPS(heads.Poisson(), num_samples=5)
    with pytest.raises(ValueError, match="`family`.*no order.*Categorical"):
        heads.CRPS(heads.CategoricalHead(3))
    with pytest.raises(ValueError, match="`seed` must be"):
        heads.CRPS(heads.Normal(), seed=-1)
    loss = heads.NegativeLogLikelihood(heads.Normal(2))
    with pytest.raises(ValueError, match=r"`y_true`.*\(\.\.\., 2\).*\(3, 1\)"):
        loss(np.zeros((3, 1)), np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"`y_pred` must have 4 numbers.*\(3, 3\)"):
        loss(np.zeros((3, 2)), np.ones((3, 3)))
    assert ops.is_tensor(loss(np.zeros((3, 2)), np.ones((3, 4))))
