"""The layers with a Gaussian posterior as Keras layers, and their draws."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.bayes import (
    ESTIMATORS,
    bayes_class,
    softplus,
    spread,
    stock_layer,
    weights_of,
)
from tests.helpers.layers import (
    CASES,
    OPTION_CASES,
    gradients,
    kernel_argument,
    normal,
    sized,
    to_numpy,
)
from tfhyper import PosteriorPredictor
from tfhyper.layers import BayesConv2D, BayesDense
from tfhyper.training import kl_divergence

# Arguments, and how many weights they add: trainable, not trainable.
FORMS = {
    "point_bias": ({}, (0, 0)),
    "gaussian_bias": (
        {
            "estimator": "flipout",
            "bias_posterior": "gaussian",
            "prior_mean": "weight",
        },
        (1, 2),
    ),
    "no_bias": (
        {
            "estimator": "local_reparameterization",
            "trainable_prior_scale": True,
            "use_bias": False,
        },
        (0, 0),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return request.param


@pytest.mark.parametrize("form", FORMS)
def test_keras_checks_of_a_layer(case, form):
    name, options, inputs_shape, _ = case
    arguments, (trainable, fixed) = FORMS[form]
    TestCase().run_layer_test(
        bayes_class(name),
        {**options, **arguments, "kl_weight": 0.01},
        input_shape=inputs_shape,
        expected_num_trainable_weights=3 + trainable,
        # The counts of the draws and the factor of the KL divergence.
        expected_num_non_trainable_weights=2 + fixed,
        expected_num_seed_generators=0,
        expected_num_losses=1,
    )


@pytest.mark.parametrize("estimator", [*ESTIMATORS, None])
@pytest.mark.parametrize("name, options", OPTION_CASES.values(), ids=OPTION_CASES)
def test_options_of_the_stock_layer(name, options, estimator):
    options, inputs_shape = sized(name, options)
    layer = bayes_class(name)(
        **options,
        estimator=estimator or "reparameterization",
        initial_scale=1e-30,
        bias_initializer="random_normal",
    )
    x = normal(*inputs_shape)
    found = to_numpy(layer(x, training=estimator is not None))
    weights = weights_of(layer)
    stock = stock_layer(
        name, options, inputs_shape, weights["kernel_mean"], weights.get("bias")
    )
    assert found.shape == tuple(layer.compute_output_shape(inputs_shape))
    np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-5)


def test_draws_of_every_estimator_have_the_stock_layers_shape(case, estimator):
    name, options, inputs_shape, kernel_shape = case
    layer = bayes_class(name)(**options, estimator=estimator, bias_posterior="gaussian")
    x = normal(*inputs_shape)
    first, second = (to_numpy(layer(x, training=True)) for _ in range(2))
    assert first.shape == tuple(layer.compute_output_shape(inputs_shape))
    assert np.isfinite(first).all() and not np.allclose(first, second)
    weights = weights_of(layer)
    assert weights["kernel_mean"].shape == kernel_shape
    assert weights["kernel_rho"].shape == kernel_shape
    assert weights["bias_rho"].shape == weights["bias_mean"].shape


def test_deviations_start_at_a_fraction_of_he(case):
    name, options, inputs_shape, kernel_shape = case
    layer = bayes_class(name)(**options, initial_scale=0.25, bias_posterior="gaussian")
    layer.build(inputs_shape)
    weights = weights_of(layer)
    expected = 0.25 * np.sqrt(2 / np.prod(kernel_shape[:-1]))
    np.testing.assert_allclose(softplus(weights["kernel_rho"]), expected, rtol=1e-5)
    np.testing.assert_allclose(softplus(weights["bias_rho"]), expected, rtol=1e-5)
    assert np.std(weights["kernel_mean"]) > 0.3 * expected
    assert not weights["bias_mean"].any()


@pytest.mark.parametrize(
    "policy, rounding", [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)]
)
def test_mixed_precision(case, estimator, policy, rounding):
    name, options, inputs_shape, _ = case
    options = {**options, "use_bias": False}
    arguments = {"estimator": estimator, "seed": 3, "kl_weight": 0.1}
    layer = bayes_class(name)(**options, **arguments, dtype=policy)
    exact = bayes_class(name)(**options, **arguments)
    x = normal(*inputs_shape)
    layer.build(inputs_shape)
    exact.build(inputs_shape)
    exact.set_weights(layer.get_weights())
    assert {w.dtype for w in layer.trainable_weights} == {"float32"}
    found = layer(x)
    assert keras.backend.standardize_dtype(found.dtype) == policy[len("mixed_") :]
    (loss,) = layer.losses
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    # The same draw, so that rounding alone makes a difference: of inputs, kernel
    # and result, and of the sums between them.
    error = np.abs(to_numpy(ops.cast(found, "float32")) - to_numpy(exact(x)))
    kernel = to_numpy(layer.point_weights(layer.sample_noise(0))[0])
    bound = stock_layer(name, options, inputs_shape, np.abs(kernel) + 0.5)
    assert np.all(error <= 8 * rounding * to_numpy(bound(np.abs(x))) + 1e-6)
    assert error.max() > 0


@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, 1000.0])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_gradients_are_finite_for_inputs_of_any_size(estimator, policy, size):
    # In float16 the squares of 1e-4 vanish and those of 1000 overflow.
    options = {"kl_weight": 1.0, "initial_scale": 1e-3, "dtype": policy}
    layer = BayesDense(3, estimator=estimator, **options)
    x = size * np.ones((4, 5), "float32")
    layer.build(x.shape)

    def loss():
        return ops.sum(ops.cast(layer(x, training=True), "float32")) + sum(layer.losses)

    for gradient in gradients(loss, layer.trainable_weights):
        assert np.isfinite(gradient).all()


def test_small_deviations_survive_in_float16():
    layer = BayesDense(
        4000, estimator="local_reparameterization", dtype="mixed_float16", seed=1
    )
    layer.build((1, 2))
    deviation = 1e-5  # its square is below float16's smallest number, 6e-8
    for variable in layer.trainable_weights:
        value = {"kernel_mean": 0.0, "kernel_rho": np.log(np.expm1(deviation))}
        variable.assign(np.full(variable.shape, value.get(variable.name, 0.0)))
    y = to_numpy(ops.cast(layer(np.ones((1, 2), "float32"), training=True), "float32"))
    # 4000 numbers have a deviation of relative error 1 / sqrt(8000) = 1.1 %.
    assert np.std(y) == pytest.approx(np.sqrt(2) * deviation, rel=0.06)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_precisions(dtype, estimator):
    layer = BayesDense(3, estimator=estimator, dtype=dtype)
    assert np.isfinite(to_numpy(ops.cast(layer(normal(2, 4)), "float32"))).all()
    assert np.isfinite(to_numpy(ops.cast(layer.losses[0], "float32")))


def trained_model(case, **arguments):
    name, options, inputs_shape, _ = case
    model = keras.Sequential(
        [
            keras.Input(inputs_shape[1:]),
            bayes_class(name)(**options, kl_weight=0.01, **arguments),
            keras.layers.Flatten(),
            BayesDense(3, kl_weight=0.01, prior_mean="weight"),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = normal(4, *inputs_shape[1:])
    labels = np.array([0, 1, 2, 0])
    model.fit(x, labels, batch_size=2, shuffle=False, verbose=0)
    return model, x, labels


@pytest.mark.parametrize(
    "case, estimator", zip(CASES.values(), 2 * ESTIMATORS, strict=True), ids=CASES
)
def test_saved_model_goes_on_with_the_same_draws(tmp_path, case, estimator):
    model, x, labels = trained_model(
        case, estimator=estimator, bias_posterior="gaussian"
    )
    first = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    expected, found = (
        [
            m.predict(x, verbose=0),
            m.predict(x, verbose=0),
            to_numpy(m(x, training=True)),
        ]
        for m in (model, copy)
    )
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(expected[0], expected[1])
    assert not np.allclose(expected[0], first)
    for m in (model, copy):
        m.fit(x, labels, batch_size=2, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(kl_divergence(model)) == float(kl_divergence(copy))


def test_config_round_trip(case):
    name, options, inputs_shape, _ = case
    layer = bayes_class(name)(
        **options,
        estimator="flipout",
        prior_scale=0.5,
        trainable_prior_scale=True,
        prior_mean="weight",
        kl_weight=0.25,
        initial_scale=0.3,
        bias_posterior="gaussian",
        name="bayes",
        **{kernel_argument(name, "constraint"): "max_norm"},
    )
    config = layer.get_config()
    assert 0 <= config["seed"] < 2**31
    data = keras.saving.serialize_keras_object(layer)
    assert data["registered_name"] == f"tfhyper>Bayes{name}"
    copy = keras.saving.deserialize_keras_object(data)
    assert type(copy) is type(layer)
    assert copy.get_config() == config
    for key in ("estimator", "prior_scale", "kl_weight", "initial_scale"):
        assert getattr(copy, key) == getattr(layer, key)
    x = normal(*inputs_shape)
    layer(x)
    copy(x)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(layer(x)))
    np.testing.assert_array_equal(*(to_numpy(m.losses[0]) for m in (layer, copy)))


def test_draws_in_training_and_outside_are_counted_apart(case, estimator):
    name, options, inputs_shape, _ = case
    layer = bayes_class(name)(**options, estimator=estimator, seed=5)
    x = normal(*inputs_shape)
    layer.build(inputs_shape)
    start = layer.get_weights()
    order = [True, False, False, True, False]
    mixed = {True: [], False: []}
    for training in order:
        mixed[training].append(to_numpy(layer(x, training=training)))
    assert weights_of(layer)["draws"].tolist() == [2, 3]
    layer.set_weights(start)
    for training in (True, False):
        for expected in mixed[training]:
            found = to_numpy(layer(x, training=training))
            np.testing.assert_array_equal(found, expected)
    draws = [*mixed[True], *mixed[False]]
    for i, draw in enumerate(draws):
        for other in draws[:i]:
            assert np.abs(draw - other).max() > 1e-3
    np.testing.assert_array_equal(
        [w for n, w in weights_of(layer).items() if n == "draws"], [[2, 3]]
    )


def test_seeds_make_layers_alike_or_not():
    first, same, other, free = (BayesDense(3, seed=s) for s in (1, 1, 2, None))
    x = normal(2, 4)
    for layer in (first, same, other, free):
        layer.build((2, 4))
        layer.set_weights(first.get_weights())
    expected = to_numpy(first(x))
    np.testing.assert_array_equal(to_numpy(same(x)), expected)
    assert not np.allclose(to_numpy(other(x)), expected)
    assert not np.allclose(to_numpy(free(x)), expected)


def numpy_weights(layer, noise):
    """The kernel and bias of a draw: mean + softplus(rho) eps, eps by NumPy."""
    rng = np.random.default_rng(noise)
    weights = weights_of(layer)
    drawn = []
    for name in ("kernel", "bias"):
        if f"{name}_mean" in weights:
            mean, rho = weights[f"{name}_mean"], weights[f"{name}_rho"]
            drawn.append(mean + softplus(rho) * rng.standard_normal(mean.shape, "f"))
        elif name in weights:
            drawn.append(weights[name])
    return drawn


@pytest.mark.parametrize("form", FORMS)
def test_a_draw_is_one_number_and_a_stock_layer(case, form):
    name, options, inputs_shape, _ = case
    layer = bayes_class(name)(**options, **FORMS[form][0], name="bayes")
    layer.build(inputs_shape)
    spread(layer)
    noise = layer.sample_noise(12)
    assert noise.shape == (1,)
    expected = numpy_weights(layer, noise)
    for _ in range(2):  # the same numbers for one noise, whatever came between
        found = layer.point_weights(noise)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(to_numpy(a), b, atol=1e-6)
        layer(normal(*inputs_shape))
    others = layer.point_weights(layer.sample_noise(13))
    assert np.abs(to_numpy(others[0]) - expected[0]).max() > 0.1
    point = layer.point_layer()
    assert type(point) is getattr(keras.layers, name)
    assert point.name == "bayes"
    point.build(inputs_shape)
    point.set_weights(expected)


def test_draws_have_the_posteriors_mean_and_deviation():
    layer = BayesDense(2)
    layer.build((None, 3))
    spread(layer)
    kernels = np.stack(
        [to_numpy(layer.point_weights(layer.sample_noise(i))[0]) for i in range(2000)]
    )
    weights = weights_of(layer)
    scale = softplus(weights["kernel_rho"])
    # Five standard errors of 2000 draws: of the mean, and of the deviation.
    error = np.abs(kernels.mean(axis=0) - weights["kernel_mean"])
    assert np.all(error < 5 * scale / np.sqrt(2000))
    np.testing.assert_allclose(kernels.std(axis=0), scale, rtol=5 / np.sqrt(4000))


@pytest.mark.parametrize("form", FORMS)
def test_mean_noise_gives_the_mean_kernel(case, form):
    name, options, inputs_shape, _ = case
    layer = bayes_class(name)(**options, **FORMS[form][0])
    layer.build(inputs_shape)
    found = layer.point_weights(layer.mean_noise())
    weights = weights_of(layer)
    np.testing.assert_array_equal(to_numpy(found[0]), weights["kernel_mean"])
    if layer.use_bias:
        bias = weights.get("bias", weights.get("bias_mean"))
        np.testing.assert_array_equal(to_numpy(found[1]), bias)


def test_predictor_is_stock_layers_with_drawn_kernels():
    sizes = {"kernel_size": 3, "activation": "relu"}
    model = keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            BayesConv2D(4, **sizes, estimator="flipout", bias_posterior="gaussian"),
            BayesConv2D(4, **sizes, padding="same"),
            keras.layers.Flatten(),
            BayesDense(3, name="logits"),
        ]
    )
    for layer in model.layers:
        spread(layer)
    x = normal(5, 6, 6, 4)
    predictor = PosteriorPredictor(model, num_draws=3, seed=7)
    members = predictor.predict(x).members
    stochastic = [layer for layer in model.layers if hasattr(layer, "estimator")]
    for draw, found in zip(predictor.draws, members, strict=True):
        noises = [int(draw.noise[layer.name][0]) for layer in stochastic]
        assert len(set(noises)) == 3  # layers do not share their noise
        one, two, logits = (
            numpy_weights(layer, draw.noise[layer.name]) for layer in stochastic
        )
        y = stock_layer("Conv2D", {"filters": 4, **sizes}, x.shape, *one)(x)
        options = {"filters": 4, "padding": "same", **sizes}
        y = stock_layer("Conv2D", options, y.shape, *two)(y)
        y = to_numpy(y).reshape(len(x), -1) @ logits[0] + logits[1]
        expected = np.exp(y) / np.exp(y).sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(members[0] - members[1]).max() > 0.05


BAD = [
    ({"estimator": "lrt"}, "`estimator` must be one of .*'flipout'.*estimator='lrt'"),
    ({"bias_posterior": "none"}, "`bias_posterior` must be one of.*='none'"),
    ({"prior_mean": 0.0}, "`prior_mean` must be one of.*prior_mean=0.0"),
    ({"prior_scale": 0}, "`prior_scale` must be a finite number > 0.*prior_scale=0"),
    ({"prior_scale": -1.0}, "`prior_scale` must be.*prior_scale=-1.0"),
    ({"prior_scale": np.inf}, "`prior_scale` must be.*prior_scale=inf"),
    ({"prior_scale": "1"}, "`prior_scale` must be.*prior_scale='1'"),
    ({"initial_scale": 0.0}, "`initial_scale` must be.*initial_scale=0.0"),
    ({"initial_scale": np.nan}, "`initial_scale` must be.*initial_scale=nan"),
    ({"kl_weight": -0.1}, "`kl_weight` must be a finite number >= 0.*kl_weight=-0.1"),
    ({"kl_weight": np.nan}, "`kl_weight` must be.*kl_weight=nan"),
    ({"kl_weight": [1]}, r"`kl_weight` must be.*kl_weight=\[1\]"),
    ({"seed": -1}, "`seed` must be an integer from 0.*seed=-1"),
    ({"seed": 2**31}, "`seed` must be an integer from 0.*seed=2147483648"),
    ({"seed": 1.5}, "`seed` must be an integer from 0.*seed=1.5"),
]


@pytest.mark.parametrize("options, message", BAD)
def test_errors_name_argument_rule_and_value(case, options, message):
    name, sizes, _, _ = case
    with pytest.raises(ValueError, match=message):
        bayes_class(name)(**sizes, **options)


def test_the_prior_is_the_regularizer(case):
    name, options, _, _ = case
    argument = kernel_argument(name, "regularizer")
    with pytest.raises(ValueError, match=f"`{argument}` must be None: the prior"):
        bayes_class(name)(**options, **{argument: "l2"})


@pytest.mark.parametrize("name, argument", [("Dense", "units"), ("Conv2D", "filters")])
@pytest.mark.parametrize("value", [-1, 0])
def test_sizes_of_the_stock_layer_are_checked(name, argument, value):
    options, inputs_shape = sized(name, {argument: value})
    with pytest.raises(ValueError, match=argument):
        bayes_class(name)(**options)(normal(*inputs_shape))


def test_there_is_no_one_kernel_to_read(case):
    name, options, inputs_shape, _ = case
    layer = bayes_class(name)(**options)
    layer.build(inputs_shape)
    with pytest.raises(AttributeError, match="kernel"):
        layer.kernel


def test_lora_and_quantization_are_refused(case):
    name, options, inputs_shape, _ = case
    layer = bayes_class(name)(**options)
    layer.build(inputs_shape)
    with pytest.raises(ValueError, match=f"Bayes{name} draws its kernel: LoRA"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match=f"Bayes{name}.*quantized.*materialize"):
        layer.quantize("int8")


@pytest.mark.parametrize("name", ["Dense", "Conv1D", "Conv2D", "Conv3D"])
def test_lora_asked_for_in_the_constructor_is_refused(name):
    options, inputs_shape = sized(name, {"lora_rank": 2})
    with pytest.raises(ValueError, match="LoRA"):
        bayes_class(name)(**options)(normal(*inputs_shape))


def test_regularizer_and_constraint_of_the_other_weights():
    layer = BayesDense(
        3,
        kl_weight=0.0,
        bias_initializer="ones",
        bias_regularizer=keras.regularizers.L2(0.5),
        kernel_constraint=keras.constraints.MaxNorm(0.01, axis=0),
    )
    model = keras.Sequential([keras.Input((4,)), layer])
    assert sum(float(to_numpy(loss)) for loss in model.losses) == 1.5
    model.compile("sgd", "mse")
    model.fit(normal(4, 4), normal(4, 3), verbose=0)
    weights = weights_of(layer)
    assert np.linalg.norm(weights["kernel_mean"], axis=0).max() < 0.0101
