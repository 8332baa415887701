"""The layers of Bayesian hypernetworks: kernels, the density, the KL term."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.bayes import normal_kl, stock_layer, weights_of
from tests.helpers.layers import (
    CASES,
    OPTION_CASES,
    gradients,
    normal,
    sized,
    to_numpy,
)
from tfhyper import PosteriorPredictor, layers
from tfhyper.layers import BayesHyperConv2D, BayesHyperDense
from tfhyper.layers.priors import probability_library
from tfhyper.training import KLSchedule, LinearKLWarmup, kl_divergence

SMALL = {"hidden_units": 3, "seed": 5}
CASES = {name: CASES[name] for name in ("dense", "conv2d")}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def layer_class(name):
    return getattr(layers, f"BayesHyper{name}")


def randomise(layer):
    """Gives every weight a value that a layer does not start with."""
    for i, weight in enumerate(layer.trainable_weights):
        weight.assign(0.5 * normal(*weight.shape, seed=i))
    return layer


def numpy_scales(layer, z):
    """Returns g of some codes and log |det dg/dz|, in float64."""
    weights = weights_of(layer)
    found = layer.flow.forward(ops.convert_to_tensor(z))
    x, log_det = (to_numpy(t).astype("float64") for t in found)
    scale = np.exp(weights["g_log_scale"])
    return weights["g_location"] + scale * x, log_det + np.log(scale).sum()


def numpy_kernel(layer, z):
    direction = weights_of(layer)["direction"]
    filters = direction.reshape(-1, direction.shape[-1])
    return numpy_scales(layer, z)[0] * direction / np.linalg.norm(filters, axis=0)


def test_keras_checks_of_a_layer(case):
    name, options, inputs_shape, _ = case
    TestCase().run_layer_test(
        layer_class(name),
        {**options, **SMALL, "kl_weight": 0.01, "prior_mean": 1.0},
        input_shape=inputs_shape,
        # Direction, location, scale, bias and four weights of each coupling.
        expected_num_trainable_weights=4 + 4 * 4,
        # The counts of the draws and the factor of the KL divergence.
        expected_num_non_trainable_weights=2,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


@pytest.mark.parametrize(
    "name, options",
    [c for c in OPTION_CASES.values() if c[0] in ("Dense", "Conv2D")],
    ids=str,
)
def test_a_layer_starts_at_the_stock_layer_of_its_initializer(name, options):
    options, inputs_shape = sized(name, options)
    options["bias_initializer"] = "random_normal"
    for initializer in ("he_normal", "glorot_uniform"):
        layer = layer_class(name)(
            **options, kernel_initializer=initializer, initial_scale=1e-30
        )
        x = normal(*inputs_shape)
        found = to_numpy(layer(x, training=True))
        weights = weights_of(layer)
        stock = stock_layer(
            name, options, inputs_shape, weights["direction"], weights.get("bias")
        )
        assert found.shape == tuple(layer.compute_output_shape(inputs_shape))
        np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-5)


def test_draw_gives_the_kernel_of_the_formula(case):
    name, options, inputs_shape, kernel_shape = case
    layer = layer_class(name)(**options, **SMALL)
    layer.build(inputs_shape)
    randomise(layer)
    noise = layer.sample_noise(3)
    assert noise.shape == (1, kernel_shape[-1]) and noise.dtype == "float32"
    kernel, bias = map(to_numpy, layer.point_weights(noise))
    assert kernel.shape == kernel_shape
    np.testing.assert_allclose(kernel, numpy_kernel(layer, noise), atol=1e-5)
    np.testing.assert_array_equal(bias, to_numpy(layer.bias))
    assert not np.allclose(noise, layer.sample_noise(4))
    np.testing.assert_array_equal(noise, layer.sample_noise(3))


def test_scales_start_around_the_norm_with_a_fraction_of_hes():
    layer = BayesHyperDense(4, initial_scale=0.25, kernel_initializer="glorot_normal")
    layer.build((None, 9))
    z = normal(4000, 4)
    g, _ = numpy_scales(layer, z)
    norms = np.linalg.norm(weights_of(layer)["direction"], axis=0)
    np.testing.assert_allclose(g.mean(0), norms, atol=0.03)
    np.testing.assert_allclose(g.std(0), 0.25 * np.sqrt(2), rtol=0.06)


@pytest.mark.skipif(probability_library() is None, reason="no TFP for this backend")
def test_loss_has_the_exact_density_of_the_kernel_of_the_last_training_call():
    tfd = probability_library().distributions
    options = {"prior_mean": 0.7, "prior_scale": 0.4, "kl_weight": 0.01}
    layer = BayesHyperDense(6, use_bias=False, **options, **SMALL)
    layer.build((None, 4))
    randomise(layer)
    layer.kl_factor.assign(0.5)
    prior = tfd.Independent(tfd.Normal(ops.full((6,), 0.7), 0.4), 1)
    directions = weights_of(layer)["direction"]
    directions /= np.linalg.norm(directions, axis=0)
    losses = []
    for _ in range(3):
        # An identity goes in, the kernel comes out: g is what it is made with.
        kernel = to_numpy(layer(np.eye(4, dtype="float32"), training=True))
        layer(np.eye(4, dtype="float32"), training=False)
        g = ops.convert_to_tensor((kernel * directions).sum(0).astype("float32"))
        expected = to_numpy(layer.posterior().log_prob(g) - prior.log_prob(g))
        (loss,) = layer.losses
        assert float(layer.kl_divergence()) == pytest.approx(expected, rel=1e-5)
        assert float(loss) == pytest.approx(0.005 * expected, rel=1e-5)
        losses.append(float(loss))
    assert len(set(losses)) == 3


def test_mean_over_draws_is_the_kl_divergence_of_gaussians():
    # Without couplings q(g) is a Gaussian.
    layer = BayesHyperDense(
        3, num_couplings=0, prior_mean=1.0, prior_scale=0.5, initial_scale=0.1
    )
    layer.build((None, 4))
    weights = weights_of(layer)
    scale = np.exp(weights["g_log_scale"])
    expected = normal_kl(weights["g_location"], scale, 1.0, 0.5)
    codes = normal(3000, 1, 3)
    found = [float(layer.log_ratio(code)) for code in codes[:300]]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(expected, abs=4 * error)
    assert error < 0.1 * expected


def test_a_layer_has_one_term_whatever_the_calls_and_none_if_it_is_frozen():
    layer = BayesHyperDense(3, kl_weight=1.0, **SMALL)
    layer.build((None, 4))
    assert len(layer.losses) == 1  # before the first call
    x = normal(2, 4)
    for _ in range(2):
        layer(x, training=True)
    assert len(layer.losses) == 1
    assert float(layer.losses[0]) == float(layer.kl_divergence())
    layer.trainable = False
    assert layer.losses == []
    assert not np.allclose(to_numpy(layer(x)), to_numpy(layer(x)))


def test_gradients_reach_every_weight_from_outputs_and_density(case):
    name, options, inputs_shape, _ = case
    layer = layer_class(name)(**options, **SMALL)
    x = normal(*inputs_shape)
    layer.build(inputs_shape)
    for weight in layer.trainable_weights:  # no gradient is 0 by symmetry
        weight.assign(weight + 0.1 * normal(*weight.shape))
    variables = layer.trainable_variables

    def outputs():
        return ops.sum(ops.square(layer(x, training=True)))

    for variable, found in zip(variables, gradients(outputs, variables), strict=True):
        assert np.isfinite(found).all() and (found != 0).all(), variable.path
    # The density depends on neither the directions nor the bias.
    inner = [v for v in variables if v.name not in ("direction", "bias")]
    for variable, found in zip(
        inner, gradients(layer.kl_divergence, inner), strict=True
    ):
        assert np.isfinite(found).all() and found.any(), variable.path


@pytest.mark.parametrize(
    "policy, rounding", [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)]
)
def test_mixed_precision(case, policy, rounding):
    name, options, inputs_shape, _ = case
    options = {**options, "use_bias": False}
    layer = layer_class(name)(**options, **SMALL, dtype=policy)
    exact = layer_class(name)(**options, **SMALL)
    x = normal(*inputs_shape)
    for each in (layer, exact):
        each.build(inputs_shape)
    exact.set_weights(layer.get_weights())
    assert {w.dtype for w in layer.trainable_weights} == {"float32"}
    found = layer(x)
    assert keras.backend.standardize_dtype(found.dtype) == policy[len("mixed_") :]
    (loss,) = layer.losses
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == float(exact.losses[0])
    # The same draw: rounding alone makes a difference, of inputs, kernel and sums.
    error = np.abs(to_numpy(ops.cast(found, "float32")) - to_numpy(exact(x)))
    kernel = to_numpy(layer.point_weights(layer.sample_noise(0))[0])
    bound = stock_layer(name, options, inputs_shape, np.abs(kernel) + 0.5)
    assert np.all(error <= 8 * rounding * to_numpy(bound(np.abs(x))) + 1e-6)
    assert error.max() > 0


def test_set_mean_puts_a_trained_kernel_at_code_zero():
    layer = BayesHyperDense(4, **SMALL)
    layer.build((None, 3))
    before = weights_of(layer)["direction"]
    kernel, bias = normal(3, 4), normal(4, seed=1)
    kernel[:, 2] = 0  # a dead unit
    layer.set_mean(kernel, bias)
    found = layer.point_weights(np.zeros((1, 4), "float32"))
    np.testing.assert_allclose(to_numpy(found[0]), kernel, atol=1e-6)
    np.testing.assert_array_equal(to_numpy(found[1]), bias)
    # It keeps a direction to grow in.
    after = weights_of(layer)["direction"]
    np.testing.assert_array_equal(after[:, 2], before[:, 2])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network, its history of training, and the network saved and loaded."""
    keras.utils.set_random_seed(0)
    x = normal(64, 6, 6, 1)
    y = (x.mean(axis=(1, 2, 3)) > 0).astype("int32")
    options = {"kl_weight": 1 / 64, "initial_scale": 0.05}
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            BayesHyperConv2D(4, 3, activation="relu", **options, seed=1),
            keras.layers.Flatten(),
            BayesHyperDense(2, **options, seed=2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(0.02),
        loss,
        jit_compile=False,  # which takes longer than the training
        metrics=[keras.metrics.SparseCategoricalCrossentropy("nll", from_logits=True)],
    )
    history = model.fit(
        x, y, 16, 15, shuffle=False, verbose=0, callbacks=[LinearKLWarmup(5)]
    ).history
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return model, history, keras.models.load_model(path), x


def test_training_lowers_both_terms_and_logs_the_kl_divergence(trained):
    model, history, _, _ = trained
    assert history["nll"][-1] < 0.5 * history["nll"][0]
    assert history["kl"][-1] < history["kl"][0]
    # The log is that of the last batch: a draw of the value that the loss has.
    kl = (history["loss"][-1] - history["nll"][-1]) * 64
    assert kl == pytest.approx(history["kl"][-1], rel=0.5)
    assert history["kl"][-1] == pytest.approx(float(kl_divergence(model)), rel=1e-6)


def test_loss_of_a_step_has_the_kl_divergence_of_that_step(trained):
    _, _, model, x = trained
    model.optimizer.learning_rate = 0.0
    for factor in (0.0, 0.25):
        history = model.fit(
            x[:4], np.zeros(4), verbose=0, callbacks=[KLSchedule(factor)]
        ).history
        (loss,), (nll,), (kl,) = (history[k] for k in ("loss", "nll", "kl"))
        assert loss - nll == pytest.approx(factor * kl / 64, abs=1e-5)


def test_saved_network_has_the_draws_of_the_first(trained):
    model, _, _, x = trained
    loaded = keras.models.model_from_json(model.to_json())
    loaded.set_weights(model.get_weights())
    first = PosteriorPredictor(model, num_draws=3, seed=1)
    second = PosteriorPredictor(loaded, num_draws=3, seed=1)
    members = first.predict(x).members
    np.testing.assert_array_equal(members, second.predict(x).members)
    assert np.abs(members[0] - members[1]).max() > 1e-3
    for i in range(3):
        plain = first.materialize(i)
        assert all(type(x).__module__.startswith("keras.") for x in plain.layers)
        expected = ops.softmax(plain.predict(x, verbose=0))
        np.testing.assert_allclose(members[i], to_numpy(expected), atol=1e-6)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"num_couplings": -1}, "`num_couplings` must be a non-negative integer"),
        ({"hidden_units": 0}, "`hidden_units` must be a positive integer"),
        ({"prior_mean": -1.0}, "`prior_mean` must be"),
        ({"prior_scale": 0.0}, "`prior_scale` must be"),
        ({"kl_weight": -0.1}, "`kl_weight` must be"),
        ({"initial_scale": 0}, "`initial_scale` must be"),
        ({"seed": 2**31}, "`seed` must be"),
        ({"kernel_regularizer": "l2"}, "`kernel_regularizer` must be None"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        BayesHyperConv2D(2, 3, **options)
    with pytest.raises(ValueError, match=match):
        BayesHyperDense(2, **options)
