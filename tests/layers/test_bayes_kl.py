"""The KL divergence of the layers with a Gaussian posterior, and the loss."""

import keras
import numpy as np
import pytest

from tests.helpers.bayes import (
    ESTIMATORS,
    bayes_class,
    inverse_softplus,
    normal_kl,
    set_weight,
    softplus,
    spread,
    weights_of,
)
from tests.helpers.layers import BACKEND, CASES, gradients, normal, sized, to_numpy
from tfhyper.layers import BayesConv2D, BayesDense, variational_layers

needs_tensorflow = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow Probability, or tf.GradientTape"
)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def expected_kl(layer, prior_scale=1.0):
    """KL(q || p) of a layer by the formula, from its weights, in float64."""
    weights, total = weights_of(layer), 0.0
    for name in ("kernel", "bias"):
        if f"{name}_rho" in weights:
            mean, scale = weights[f"{name}_mean"], softplus(weights[f"{name}_rho"])
            prior_mean = weights.get(f"{name}_prior_mean", 0.0)
            total += normal_kl(mean, scale, prior_mean, prior_scale)
    return total


def built(name, options=None, **arguments):
    options, inputs_shape = sized(name, options or {})
    layer = bayes_class(name)(**options, **{"kl_weight": 1.0, **arguments})
    layer.build(inputs_shape)
    spread(layer)
    return layer


@pytest.mark.parametrize("bias_posterior", ["point", "gaussian"])
def test_kl_is_the_closed_form_summed_over_weights(case, bias_posterior):
    layer = built(case[0], prior_scale=0.3, bias_posterior=bias_posterior)
    expected = expected_kl(layer, prior_scale=0.3)
    assert float(to_numpy(layer.kl_divergence())) == pytest.approx(expected, rel=1e-6)
    (loss,) = layer.losses
    assert float(to_numpy(loss)) == pytest.approx(expected, rel=1e-6)


@needs_tensorflow
def test_kl_is_that_of_tfp(case):
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    layer = built(case[0], prior_scale=0.3)
    weights = weights_of(layer)
    posterior = tfd.Normal(weights["kernel_mean"], softplus(weights["kernel_rho"]))
    prior = tfd.Normal(np.float64(0), np.float64(0.3))
    expected = float(np.sum(tfd.kl_divergence(posterior, prior)))
    assert float(layer.kl_divergence()) == pytest.approx(expected, rel=1e-6)


def test_kl_of_twice_the_filters_is_twice_as_large():
    totals = []
    for filters in (8, 16):
        layer = BayesConv2D(filters, 3, kernel_initializer=keras.initializers.Ones())
        layer.build((None, 6, 6, 2))
        totals.append(float(to_numpy(layer.kl_divergence())))
    assert totals[1] == pytest.approx(2 * totals[0], rel=1e-5)
    assert totals[0] > 3 * 3 * 2 * 8 * 0.5  # each weight alone has mean^2 / 2


def test_kl_is_from_posterior_to_prior():
    layer = BayesDense(1, use_bias=False, prior_scale=2.0)
    layer.build((None, 1))
    set_weight(layer, "kernel_mean", 1.0)
    set_weight(layer, "kernel_rho", inverse_softplus(0.1))
    forward, backward = normal_kl(1, 0.1, 0, 2), normal_kl(0, 2, 1, 0.1)
    assert forward == pytest.approx(2.622, abs=1e-3)
    assert backward > 200
    assert float(to_numpy(layer.kl_divergence())) == pytest.approx(forward, rel=1e-6)


def test_kl_of_very_small_and_large_deviations():
    layer = BayesDense(1, use_bias=False, initial_scale=1e-6)
    layer.build((None, 2))
    for scale in (1e-8, 1e-3, 1.0, 50.0):
        rho = scale + np.log(-np.expm1(-scale))
        set_weight(layer, "kernel_rho", rho)
        found = float(to_numpy(layer.kl_divergence()))
        assert found == pytest.approx(expected_kl(layer), rel=1e-5)
        mean = weights_of(layer)["kernel_mean"]
        assert found == pytest.approx(normal_kl(mean, scale, 0, 1), rel=1e-4)


def test_weight_and_factor_multiply():
    layer = built("Conv2D", kl_weight=0.01)
    expected = expected_kl(layer)
    for factor in (1.0, 0.25, 0.0):
        layer.kl_factor.assign(factor)
        found = float(to_numpy(layer.losses[0]))
        assert found == pytest.approx(0.01 * factor * expected, rel=1e-6)
        # The divergence itself has neither.
        kl = float(to_numpy(layer.kl_divergence()))
        assert kl == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_model_has_the_term_once_for_each_layer(estimator):
    shared = BayesDense(4, kl_weight=0.1, estimator=estimator, name="shared")
    inner = keras.Sequential([keras.Input((4,)), BayesDense(4, kl_weight=0.2)])
    x = keras.Input((4,))
    y = inner(shared(shared(x)))
    model = keras.Model(x, BayesDense(2, kl_weight=0.3)(y))
    found = variational_layers(model)
    assert len(found) == 3
    for layer in found:
        spread(layer)
    expected = sorted(layer.kl_weight * expected_kl(layer) for layer in found)

    def check():
        losses = sorted(float(to_numpy(loss)) for loss in model.losses)
        np.testing.assert_allclose(losses, expected, rtol=1e-6)

    check()
    for training in (True, False, True):
        model(normal(3, 4), training=training)
        check()


def test_fit_and_evaluate_report_data_term_plus_kl():
    layer = BayesDense(2, kl_weight=0.1, initial_scale=1e-30)
    model = keras.Sequential([keras.Input((4,)), layer])
    x, y = normal(6, 4), normal(6, 2, seed=1)
    weights = weights_of(layer)
    errors = np.square(x @ weights["kernel_mean"] + weights["bias"] - y)
    expected = errors.mean() + 0.1 * expected_kl(layer)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    found = model.evaluate(x, y, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)
    history = model.fit(x, y, batch_size=3, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


@needs_tensorflow
@pytest.mark.parametrize("compiled", [False, True])
def test_custom_training_loop_sees_the_kl(compiled):
    import tensorflow as tf

    layer = BayesDense(2, kl_weight=1.0)
    model = keras.Sequential([keras.Input((4,)), layer])
    optimizer = keras.optimizers.SGD(0.01)

    def step(x):
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            # No data term: the divergence alone takes the posterior to the prior.
            loss = 0.0 * tf.reduce_sum(model(x, training=True)) + sum(model.losses)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    step = tf.function(step) if compiled else step
    optimizer.build(model.trainable_variables)
    for _ in range(5):
        expected = expected_kl(layer)
        assert float(step(normal(3, 4))) == pytest.approx(expected, rel=1e-5)
        assert expected_kl(layer) < expected


def test_gradients_are_those_of_the_formula(case):
    layer = built(case[0], prior_scale=0.7, kl_weight=0.5)
    variables = {v.name: v for v in layer.trainable_weights if v.name != "bias"}
    assert list(variables) == ["kernel_mean", "kernel_rho"]
    found = gradients(lambda: layer.losses[0], list(variables.values()))
    weights = weights_of(layer)
    rho, scale = weights["kernel_rho"], softplus(weights["kernel_rho"])
    expected = [
        0.5 * weights["kernel_mean"] / 0.7**2,
        0.5 * (scale / 0.7**2 - 1 / scale) / (1 + np.exp(-rho)),
    ]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_frozen_layer_has_no_term():
    layer = built("Dense")
    layer.trainable = False
    assert layer.losses == []
    layer.trainable = True
    assert len(layer.losses) == 1


@pytest.mark.parametrize("bias_posterior", ["point", "gaussian"])
def test_learned_scale_of_the_prior(bias_posterior):
    layer = built("Conv2D", trainable_prior_scale=True, bias_posterior=bias_posterior)
    weights = weights_of(layer)
    assert softplus(weights["prior_rho"]) == pytest.approx(1.0, rel=1e-6)
    moments = []
    for name in ("kernel", "bias"):
        if f"{name}_rho" in weights:
            scale = softplus(weights[f"{name}_rho"])
            moments.append((weights[f"{name}_mean"] ** 2 + scale**2).ravel())
    moments = np.concatenate(moments)
    optimum = np.sqrt(moments.mean())
    values = []
    for prior_scale in (0.8 * optimum, optimum, 1.25 * optimum, 1.0):
        rho = inverse_softplus(prior_scale)
        layer.prior_rho.assign(rho)
        expected = expected_kl(layer, prior_scale)
        values.append(float(to_numpy(layer.losses[0])))
        assert values[-1] == pytest.approx(expected, rel=1e-6)
        (found,) = gradients(lambda: layer.losses[0], [layer.prior_rho])
        slope = np.sum(1 / prior_scale - moments / prior_scale**3)
        expected = slope / (1 + np.exp(-rho))
        assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-3)
    assert values[1] < min(values[0], values[2])


@pytest.mark.parametrize("bias_posterior", ["point", "gaussian"])
def test_prior_mean_that_is_a_weight(tmp_path, case, bias_posterior):
    layer = built(
        case[0], prior_mean="weight", prior_scale=0.4, bias_posterior=bias_posterior
    )
    names = ["kernel", *(["bias"] if bias_posterior == "gaussian" else [])]
    weights = weights_of(layer)
    for name in names:
        assert not weights[f"{name}_prior_mean"].any()
        value = normal(*weights[f"{name}_mean"].shape, seed=3)
        set_weight(layer, f"{name}_prior_mean", value)
        # Not trained.
        assert f"{name}_prior_mean" not in [v.name for v in layer.trainable_weights]
    found = float(to_numpy(layer.kl_divergence()))
    assert found == pytest.approx(expected_kl(layer, 0.4), rel=1e-6)
    # At the prior itself there is no divergence.
    for name in names:
        set_weight(layer, f"{name}_mean", weights_of(layer)[f"{name}_prior_mean"])
        set_weight(layer, f"{name}_rho", inverse_softplus(0.4))
    assert float(to_numpy(layer.kl_divergence())) == pytest.approx(0.0, abs=1e-5)
