"""The layers of multiplicative normalizing flows: bound, draws, estimators, Keras."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers import mnf
from tests.helpers.bayes import softplus, stock_layer, weights_of
from tests.helpers.layers import CASES, gradients, normal, sized, to_numpy
from tfhyper import PosteriorPredictor
from tfhyper.layers import BayesDense, MNFConv2D, MNFDense
from tfhyper.training import KLSchedule, kl_divergence

CLASSES = {"dense": MNFDense, "conv2d": MNFConv2D}
FORMS = {
    "default": {},
    "one_kernel": {"estimator": "reparameterization", "num_flows": 1},
    "no_flows": {"num_flows": 0},
}


@pytest.fixture(params=CLASSES)
def case(request):
    """A class, its arguments, and the shape of its inputs."""
    _, options, inputs_shape, _ = CASES[request.param]
    return CLASSES[request.param], options, inputs_shape


def built(case, **options):
    """Returns a layer with weights as after a training, and its inputs."""
    cls, sizes, inputs_shape = case
    options = {"seed": 3, "flow_width": 6, **options}
    layer = cls(**sizes, **options, bias_initializer="random_normal")
    layer.build(inputs_shape)
    mnf.randomise(layer)
    return layer, normal(*inputs_shape)


@pytest.mark.parametrize("form", FORMS)
def test_keras_checks_of_a_layer(case, form):
    cls, sizes, inputs_shape = case
    steps = FORMS[form].get("num_flows", 2)
    TestCase().run_layer_test(
        cls,
        {**sizes, **FORMS[form], "kl_weight": 0.01},
        input_shape=inputs_shape,
        # Kernel, z and r: 2 + 2 + 3; a bias; six for each step of both flows.
        expected_num_trainable_weights=8 + 12 * steps,
        # The counts of the draws and the factor of the KL divergence.
        expected_num_non_trainable_weights=2,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "name, options",
    [
        ("Conv2D", {"data_format": "channels_first", "strides": 2, "padding": "same"}),
        ("Conv2D", {"groups": 2, "use_bias": False, "activation": "relu"}),
        ("Conv2D", {"dilation_rate": 2, "padding": "same"}),
        ("Dense", {"activation": "gelu"}),
        ("Dense", {"use_bias": False}),
    ],
)
def test_options_of_the_stock_layer(name, options, training):
    options, inputs_shape = sized(name, options)
    cls = {"Conv2D": MNFConv2D, "Dense": MNFDense}[name]
    tiny = {"initial_scale": 1e-20, "multiplier_scale": 1e-20}
    layer = cls(**options, **tiny, num_flows=0, bias_initializer="random_normal")
    x = normal(*inputs_shape)
    found = to_numpy(layer(x, training=training))
    weights = weights_of(layer)
    arguments = weights["kernel_mean"], weights.get("bias")
    stock = stock_layer(name, options, inputs_shape, *arguments)
    np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-5)


def test_the_bound_is_that_of_the_formulas(case):
    for options in ({"prior_scale": 0.6}, {"num_flows": 0}):
        layer, _ = built(case, **options)
        for seed in range(2):
            noise = mnf.FixedNoise(seed)
            found = float(to_numpy(layer.kl_of(noise)))
            assert found == pytest.approx(mnf.bound(layer, noise.given), rel=1e-4)


def test_the_bound_is_the_mean_of_densities_of_drawn_weights():
    layer, _ = built((MNFDense, {"units": 3}, (1, 4)), num_flows=1)
    found = [float(to_numpy(layer.kl_of(mnf.FixedNoise(i)))) for i in range(100)]
    expected = mnf.sampled_bounds(layer, 20_000)
    errors = np.std(found) / np.sqrt(100), np.std(expected) / np.sqrt(20_000)
    assert np.hypot(*errors) < 0.2 * np.mean(expected)
    assert np.mean(found) == pytest.approx(expected.mean(), abs=4 * np.hypot(*errors))


def test_the_bound_is_above_the_divergence_of_the_weights():
    layer, _ = built((MNFDense, {"units": 1}, (1, 1)), num_flows=0)
    weights = weights_of(layer)
    mean, scale = weights["kernel_mean"], softplus(weights["kernel_rho"])
    # A weight z mean + sigma eps with Gaussian z is Gaussian itself.
    total = np.hypot(mean * softplus(weights["multiplier_rho"]), scale).item()
    location = (mean * weights["multiplier_mean"]).item()
    exact = (total**2 + location**2 - 1) / 2 - np.log(total)
    found = mnf.sampled_bounds(layer, 20_000)
    assert found.mean() - 4 * found.std() / np.sqrt(20_000) > exact


def test_without_flows_and_with_z_1_it_is_bayes_by_backprop():
    layer = MNFDense(3, num_flows=0, multiplier_scale=1e-3, prior_scale=0.7)
    twin = BayesDense(3, prior_scale=0.7)
    for one in (layer, twin):
        one.build((None, 5))
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 0.5, (5, 3)), rng.uniform(-3, -1, (5, 3))
    for one, names in (
        (layer, (layer.kernel_mean, layer.kernel_rho)),
        (twin, (twin.kernel_posterior.mean, twin.kernel_posterior.rho)),
    ):
        for variable, value in zip(names, values, strict=True):
            variable.assign(value)
    # r(z | W) = q(z): with tanh at 1 it has the mean and the variance of z.
    layer.projection.assign(np.full(5, 1e4))
    layer.auxiliary_mean.assign(np.ones(5))
    layer.auxiliary_log_variance.assign(np.full(5, 2 * np.log(1e-3)))
    noise = mnf.FixedNoise()
    found = float(to_numpy(layer.kl_of(noise)))
    # What one draw of z says beside its entropy, in closed form.
    eps = noise.given["kl_multiplier"]
    found -= ((eps**2 - 1) / 2).sum()
    expected = float(to_numpy(twin.kl_divergence()))
    # The kernel's mean is z mean, with z within 0.3 % of 1.
    assert found == pytest.approx(expected, rel=0.01)


def test_losses_hold_the_weighted_bound_once(case):
    cls, sizes, inputs_shape = case
    layer = cls(**sizes, kl_weight=0.25)
    for _ in range(2):
        layer(normal(*inputs_shape), training=True)
        (loss,) = layer.losses
        expected = 0.25 * float(to_numpy(layer.kl_divergence()))
        assert float(to_numpy(loss)) == pytest.approx(expected, rel=1e-6)
    # Another draw for each step of the training, the same before and after others.
    before = float(to_numpy(layer.kl_divergence()))
    layer(normal(*inputs_shape))
    assert float(to_numpy(layer.kl_divergence())) == before
    layer(normal(*inputs_shape), training=True)
    assert float(to_numpy(layer.kl_divergence())) != before
    layer.trainable = False
    assert not layer.losses


@pytest.mark.parametrize("form", FORMS)
def test_each_weight_gets_a_gradient(case, form):
    layer, x = built(case, **FORMS[form])
    for variable in layer.trainable_weights:
        variable.assign(0.2 * to_numpy(variable))

    def loss():
        # A single step may mask a whole flow of few entries.
        steps = [layer(x, training=True) for _ in range(4)]
        bounds = [layer.kl_of(mnf.FixedNoise(i)) for i in range(4)]
        return sum(ops.sum(ops.square(y)) for y in steps) + sum(bounds)

    found = gradients(loss, layer.trainable_weights)
    for variable, gradient in zip(layer.trainable_weights, found, strict=True):
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_both_estimators_give_outputs_of_the_drawn_kernels_moments(case):
    cls, sizes, inputs_shape = case
    layer, x = built(case, num_flows=1, use_bias=False)
    batch = 1500
    stacked = np.repeat(x[:1], batch, axis=0)
    found = to_numpy(layer(stacked, training=True))
    name = layer.point_class.__name__
    sizes = {**sizes, "use_bias": False}
    kernels = [mnf.kernel_of_draw(layer, [i]) for i in range(batch)]
    # All kernels in one stock layer: as many units or filters for each.
    key = "units" if name == "Dense" else "filters"
    wide = {**sizes, key: sizes[key] * batch}
    stock = stock_layer(name, wide, x[:1].shape, np.concatenate(kernels, axis=-1))
    expected = to_numpy(stock(x[:1]))[0]
    expected = np.moveaxis(expected.reshape(*found.shape[1:-1], batch, -1), -2, 0)
    spread = expected.std(0)
    # Five standard errors of both, of the mean; of the deviation, with tails as
    # heavy as those of a product, 16 %.
    difference = np.abs(found.mean(0) - expected.mean(0))
    assert np.all(difference < 5 * spread * np.sqrt(2 / batch))
    np.testing.assert_allclose(found.std(0), spread, rtol=0.16)


def test_a_call_outside_of_training_is_one_kernel_for_the_batch():
    layer, _ = built((MNFDense, {"units": 3}, (4, 5)), use_bias=False)
    x = np.concatenate([np.eye(5), normal(4, 5)]).astype("float32")
    for options in ({}, {"training": False}):
        y = to_numpy(layer(x, **options))
        np.testing.assert_allclose(y[5:], x[5:] @ y[:5], atol=1e-4)
    # In training each example has a z of its own.
    y = to_numpy(layer(np.ones((200, 5), "float32"), training=True))
    assert y.std(0).min() > 0.1
    layer, _ = built((MNFDense, {"units": 3}, (4, 5)), estimator="reparameterization")
    y = to_numpy(layer(np.ones((9, 5), "float32"), training=True))
    np.testing.assert_allclose(y, np.broadcast_to(y[:1], y.shape), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_draw_is_one_number_and_a_stock_layer(case, form):
    layer, x = built(case, name="mnf", **FORMS[form])
    noise = layer.sample_noise(12)
    assert noise.shape == (1,) and layer.mean_noise() is None
    for _ in range(2):  # the same numbers for one noise, whatever came between
        kernel, bias = (to_numpy(x) for x in layer.point_weights(noise))
        np.testing.assert_allclose(
            kernel, mnf.kernel_of_draw(layer, noise), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_array_equal(bias, to_numpy(layer.bias))
        layer(x)
    other, _ = layer.point_weights(layer.sample_noise(13))
    assert np.abs(to_numpy(other) - kernel).max() > 0.1
    point = layer.point_layer()
    assert type(point) is layer.point_class and point.name == "mnf"
    point.build(x.shape)
    point.set_weights([kernel, bias])


def test_set_mean_is_the_mean_of_the_draws(case):
    layer, _ = built(case)
    kernel = normal(*layer.kernel_mean.shape, seed=1)
    layer.set_mean(kernel, np.zeros(4))
    draws = [to_numpy(layer.point_weights([i])[0]) for i in range(300)]
    error = np.abs(np.mean(draws, axis=0) - kernel)
    assert np.all(error < 5 * np.std(draws, axis=0) / np.sqrt(300))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_draws_in_float32(case, policy):
    layer, x = built(case, dtype=policy, kl_weight=0.1)
    exact, _ = built(case, kl_weight=0.1)
    assert {w.dtype for w in layer.trainable_weights} == {"float32"}
    rounding = {"mixed_bfloat16": 2**-8, "mixed_float16": 2**-11}[policy]
    for training in (False, True):
        found = layer(x, training=training)
        expected = to_numpy(exact(x, training=training))
        dtype = keras.backend.standardize_dtype(found.dtype)
        assert dtype == policy[len("mixed_") :]
        if not training:  # where noise of the outputs is drawn in their dtype
            error = np.abs(to_numpy(ops.cast(found, "float32")) - expected)
            # Of a sum of up to 12 products of a size up to 10.
            assert 0 < error.max() < 100 * rounding
    (loss,), (other,) = layer.losses, exact.losses
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(to_numpy(loss)) == pytest.approx(float(to_numpy(other)), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions(case, dtype):
    layer, x = built(case, dtype=dtype)
    for training in (True, False):
        outputs = ops.cast(layer(x, training=training), "float32")
        assert np.isfinite(to_numpy(outputs)).all()
    assert np.isfinite(to_numpy(ops.cast(layer.losses[0], "float32")))


@pytest.fixture(scope="module")
def trained():
    """A small regression network, its training and its data."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(640, 4, 4, 1)).astype("float32")
    y = x[:, 1, 1] - x[:, 2, 2]
    options = {"kl_weight": 1e-4, "flow_width": 8}
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            MNFConv2D(4, 3, activation="relu", seed=1, **options),
            keras.layers.Flatten(),
            MNFDense(1, seed=2, **options),
        ]
    )
    optimizer = keras.optimizers.Adam(0.03)
    # XLA takes longer to compile it than the training lasts.
    model.compile(optimizer, "mse", metrics=["mse"], jit_compile=False)
    history = model.fit(
        x, y, batch_size=64, epochs=6, verbose=0, callbacks=[KLSchedule()]
    )
    return model, history.history, x, y


def test_training_lowers_the_loss_and_logs_the_bound(trained):
    model, history, _, y = trained
    assert np.isfinite(history["loss"]).all()
    # Below half of the variance, which a constant leaves.
    assert history["mse"][-1] < 0.5 * np.var(y) < history["mse"][0]
    assert history["kl"][-1] < history["kl"][0]
    assert history["kl_factor"] == [1.0] * 6
    expected = sum(
        float(to_numpy(layer.kl_divergence())) for layer in model.layers[::2]
    )
    assert float(to_numpy(kl_divergence(model))) == pytest.approx(expected, rel=1e-6)


def test_saved_model_goes_on_with_the_same_draws(trained, tmp_path):
    model, _, x, _ = trained
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model.layers, copy.layers, strict=True):
        assert a.get_config() == b.get_config()
    for training in (False, True, False):
        expected = to_numpy(model(x, training=training))
        found = to_numpy(copy(x, training=training))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert float(kl_divergence(model)) == float(kl_divergence(copy))


def test_predictor_is_stock_layers_with_drawn_kernels(trained):
    model, _, x, _ = trained
    predictor = PosteriorPredictor(model, num_draws=4, outputs="mean", seed=7)
    prediction = predictor.predict(x)
    assert prediction.members.shape == (4, 640)
    assert prediction.epistemic.mean() > 1e-3
    for i, draw in enumerate(predictor.draws):
        plain = predictor.materialize(i)
        assert [type(x) for x in plain.layers[1:]] == [
            keras.layers.Conv2D,
            keras.layers.Flatten,
            keras.layers.Dense,
        ]
        found = plain.predict(x, verbose=0)[:, 0]
        np.testing.assert_allclose(found, prediction.members[i], atol=1e-5)
        for layer in model.layers[::2]:
            kernel = mnf.kernel_of_draw(layer, draw.noise[layer.name])
            found = to_numpy(plain.get_layer(layer.name).kernel)
            np.testing.assert_allclose(found, kernel, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="mean kernel has no closed form"):
        PosteriorPredictor(model, deterministic=True).predict(x)


def test_seeds_make_layers_alike_or_not(case):
    first, x = built(case, seed=1)
    for seed, same in ((1, True), (2, False), (None, False)):
        other, _ = built(case, seed=seed)
        other.set_weights(first.get_weights())
        start = first.get_weights()
        equal = np.allclose(to_numpy(first(x)), to_numpy(other(x)))
        assert equal == same
        first.set_weights(start)


BAD = [
    ({"estimator": "flipout"}, "`estimator` must be one of.*estimator='flipout'"),
    ({"num_flows": -1}, "`num_flows` must be a non-negative.*num_flows=-1"),
    ({"num_flows": 1.5}, "`num_flows` must be a non-negative.*num_flows=1.5"),
    ({"flow_width": 0}, "`flow_width` must be a positive.*flow_width=0"),
    ({"prior_scale": 0}, "`prior_scale` must be a finite number > 0.*prior_scale=0"),
    ({"prior_scale": np.inf}, "`prior_scale` must be.*prior_scale=inf"),
    ({"initial_scale": 0.0}, "`initial_scale` must be.*initial_scale=0.0"),
    ({"multiplier_scale": -1.0}, "`multiplier_scale` must be.*multiplier_scale=-1.0"),
    ({"kl_weight": np.nan}, "`kl_weight` must be.*kl_weight=nan"),
    ({"seed": -1}, "`seed` must be an integer from 0.*seed=-1"),
    ({"kernel_regularizer": "l2"}, "`kernel_regularizer` must be None: the prior"),
]


@pytest.mark.parametrize("options, message", BAD)
def test_errors_name_argument_rule_and_value(case, options, message):
    cls, sizes, _ = case
    with pytest.raises(ValueError, match=message):
        cls(**sizes, **options)


def test_there_is_no_one_kernel(case):
    layer, _ = built(case)
    with pytest.raises(AttributeError, match="kernel"):
        layer.kernel
    with pytest.raises(ValueError, match="draws its kernel: LoRA"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match="quantized.*materialize"):
        layer.quantize("int8")
