"""The layers with generated kernels against stock layers, NumPy and formulas."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.layers import (
    BACKEND,
    CASES,
    OPTION_CASES,
    gradients,
    kernel_argument,
    normal,
    numpy_conv2d,
    sized,
    to_numpy,
)
from tests.helpers.processes import run_python
from tfhyper import PosteriorPredictor, layers
from tfhyper.layers import HyperConv2D, HyperDense, LatentCode, generated_kernel

FORMS = {
    "paper": {"mean_kernel": False},
    "mean": {"mean_kernel": True, "deviation_scale": 0.5},
}
GENERATOR = {"hidden_units": 16, "code_units": 5, "seed": 3}


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(1)


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=FORMS)
def form(request):
    return {**GENERATOR, **FORMS[request.param]}


def hyper_class(name):
    return getattr(layers, f"Hyper{name}")


def numpy_kernel(layer, code, shape):
    """The formulas of `GeneratedKernel`, in float64."""
    hidden, output = (
        to_numpy(weight).astype("float64")
        for weight in (layer.generator_hidden, layer.generator_output)
    )
    features = np.maximum(np.asarray(code, "float64") @ hidden, 0)
    if not layer.mean_kernel:
        return (features @ output).reshape(shape)
    deviation = (features @ output).reshape(shape) / np.sqrt(layer.hidden_units)
    return to_numpy(layer.mean) + layer.deviation_scale * deviation


def test_keras_checks_of_a_layer_with_its_own_code(case, form):
    name, options, inputs_shape, _ = case
    TestCase().run_layer_test(
        hyper_class(name),
        {**options, **form},
        input_shape=inputs_shape,
        expected_num_trainable_weights=3 + form.get("mean_kernel", False),
        expected_num_non_trainable_weights=1,
        expected_num_seed_generators=0,
    )


def test_keras_checks_of_a_layer_with_a_shared_code(case, form):
    name, options, inputs_shape, _ = case
    TestCase().run_layer_test(
        hyper_class(name),
        {**options, **form},
        input_shape={"inputs_shape": inputs_shape, "code_shape": (1, 7)},
        expected_num_trainable_weights=3 + form.get("mean_kernel", False),
        expected_num_non_trainable_weights=0,
        run_training_check=False,
        # It calls `compute_output_spec` with names that no layer of two inputs has.
        run_mixed_precision_check=False,
    )


def test_kernel_and_output_are_those_of_the_formulas(case, form):
    name, options, inputs_shape, kernel_shape = case
    layer = hyper_class(name)(**options, **form, bias_initializer="random_normal")
    x, code = normal(*inputs_shape), normal(1, 7, seed=1)
    found = to_numpy(layer(x, code))
    kernel = numpy_kernel(layer, code, kernel_shape)
    assert np.std(kernel) > 1e-3
    np.testing.assert_allclose(to_numpy(layer.generate(code)), kernel, atol=1e-6)
    stock = getattr(keras.layers, name)(**options)
    stock.build(inputs_shape)
    stock.set_weights([kernel, to_numpy(layer.bias)])
    np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-5)


def test_own_code_is_the_one_of_a_latent_code_of_the_same_seed(case, form):
    name, options, inputs_shape, _ = case
    layer = hyper_class(name)(**options, **form, prior="half_normal")
    codes = LatentCode(GENERATOR["code_units"], "half_normal", GENERATOR["seed"])
    x = normal(*inputs_shape)
    outputs = []
    for training in (True, False, False, True):
        outputs.append(to_numpy(layer(x, training=training)))
        expected = layer(x, codes(x, training=training))
        np.testing.assert_allclose(outputs[-1], to_numpy(expected), atol=1e-6)
    assert not np.allclose(outputs[1], outputs[2])
    assert to_numpy(layer.latent_code.draws).tolist() == [2, 2]


@pytest.mark.parametrize("name, options", OPTION_CASES.values(), ids=OPTION_CASES)
def test_options_of_the_stock_layer(name, options, form):
    options, inputs_shape = sized(name, options)
    layer = hyper_class(name)(**options, **form, bias_initializer="random_normal")
    stock = getattr(keras.layers, name)(**options)
    stock.build(inputs_shape)
    x, code = normal(*inputs_shape), normal(1, 7, seed=1)
    found = to_numpy(layer(x, code))
    kernel = numpy_kernel(layer, code, tuple(stock.kernel.shape))
    bias = [] if layer.bias is None else [to_numpy(layer.bias)]
    stock.set_weights([kernel, *bias])
    assert found.shape == tuple(layer.compute_output_shape(inputs_shape))
    np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "strides, dilation, groups", [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 1, 2)]
)
def test_conv2d_from_its_definition(form, padding, strides, dilation, groups):
    layer = HyperConv2D(
        6,
        (3, 2),
        strides=strides,
        padding=padding,
        dilation_rate=dilation,
        groups=groups,
        bias_initializer="random_normal",
        **form,
    )
    x, code = normal(2, 7, 6, 4), normal(1, 5, seed=1)
    found = to_numpy(layer(x, code))
    kernel = numpy_kernel(layer, code, (3, 2, 4 // groups, 6))
    expected = numpy_conv2d(
        x.astype("float64"), kernel, strides, padding, dilation, groups
    )
    np.testing.assert_allclose(found, expected + to_numpy(layer.bias), atol=1e-5)


def test_one_kernel_serves_the_whole_batch(form):
    layer = HyperDense(3, **form)
    outputs = to_numpy(layer(np.repeat(normal(1, 4), 5, axis=0)))
    np.testing.assert_allclose(outputs, np.repeat(outputs[:1], 5, axis=0), atol=1e-6)


@pytest.mark.parametrize("hidden_units", [8, 32])
def test_output_weights_start_at_a_tenth_of_he(hidden_units):
    stats = pytest.importorskip("scipy.stats")
    layer = HyperConv2D(
        16, 3, hidden_units=hidden_units, code_units=4, mean_kernel=False
    )
    layer.build((None, 8, 8, 16))
    weights = to_numpy(layer.generator_output)
    assert weights.shape == (hidden_units, 3 * 3 * 16 * 16)
    bound = 0.1 * np.sqrt(6 / hidden_units)
    assert 0.999 * bound < np.abs(weights).max() <= bound * (1 + 1e-6)
    uniform = stats.uniform(-bound, 2 * bound)
    assert stats.kstest(weights.ravel(), uniform.cdf).pvalue > 1e-3


def test_hidden_weights_start_by_he(form):
    layer = HyperDense(2, **{**form, "code_units": 80, "hidden_units": 250})
    layer.build((None, 3))
    weights = to_numpy(layer.generator_hidden)
    assert weights.shape == (80, 250)
    # Deviation of the deviation of n normal numbers: 1 / sqrt(2 n), here 0.5 %.
    assert np.std(weights) == pytest.approx(np.sqrt(2 / 80), rel=0.02)
    assert abs(np.mean(weights)) < 4 * np.sqrt(2 / 80 / weights.size)


@pytest.mark.parametrize("name", ["Dense", "Conv1D", "Conv2D", "Conv3D"])
def test_deviation_scale_is_the_deviation_over_that_of_the_mean(name):
    stats = pytest.importorskip("scipy.stats")
    sizes = {"Dense": (64, 64), "Conv1D": (2, 32, 64)}
    shape = sizes.get(name, (2,) * int(name[-2]) + (16, 64) if "D" in name[-1] else ())
    options = {"units": 64} if name == "Dense" else {"filters": 64, "kernel_size": 2}
    layer = hyper_class(name)(
        **options,
        mean_kernel=True,
        deviation_scale=0.3,
        code_units=64,
        hidden_units=64,
    )
    layer.build((None, *[4] * (len(shape) - 2), shape[-2]))
    mean, output = to_numpy(layer.mean), to_numpy(layer.generator_output)
    assert mean.shape == shape
    he = np.sqrt(2 / np.prod(shape[:-1]))
    assert np.std(mean) == pytest.approx(he, rel=0.05)
    assert np.std(output) == pytest.approx(he, rel=0.02)
    assert stats.kstest(output.ravel()[::4], stats.norm(0, he).cdf).pvalue > 1e-3
    deviations = [
        to_numpy(layer.generate(normal(1, 64, seed=i))) - mean for i in range(50)
    ]
    ratio = np.sqrt(np.mean(np.square(deviations))) / he
    assert ratio == pytest.approx(0.3, rel=0.15)


def test_generator_has_no_bias(case, form):
    name, options, inputs_shape, kernel_shape = case
    layer = hyper_class(name)(**options, **form, use_bias=False)
    layer(normal(*inputs_shape), normal(1, 5))
    names = {weight.name for weight in layer.trainable_weights}
    mean = {"mean_kernel"} if layer.mean_kernel else set()
    assert names == {"generator_hidden", "generator_output"} | mean
    expected = to_numpy(layer.mean) if layer.mean_kernel else np.zeros(kernel_shape)
    zero = to_numpy(layer.generate(np.zeros((1, 5), "float32")))
    np.testing.assert_array_equal(zero, expected)
    other = to_numpy(layer.generate(normal(1, 5)))
    assert not np.allclose(other, expected)


def test_gradients(case, form):
    name, options, inputs_shape, kernel_shape = case
    # The others work in float32 whatever is asked for.
    dtype = "float64" if BACKEND == "tensorflow" else "float32"
    layer = hyper_class(name)(
        **options, **form, bias_initializer="random_normal", dtype=dtype
    )
    x, code = normal(*inputs_shape, dtype=dtype), normal(1, 7, seed=1, dtype=dtype)
    weights = ops.convert_to_tensor(
        normal(*layer.compute_output_shape(inputs_shape), seed=2, dtype=dtype)
    )
    layer(x, code)

    def loss():
        return ops.sum(ops.sin(layer(x, code)) * weights)

    variables = layer.trainable_weights
    assert len(variables) == 3 + layer.mean_kernel
    found = dict(zip([v.name for v in variables], gradients(loss, variables)))
    for gradient in found.values():
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-3

    # Central differences at some entries of each weight.
    step, tolerance = (1e-5, 1e-7) if dtype == "float64" else (1e-2, 2e-2)
    for variable in variables:
        value = to_numpy(variable).copy()
        flat = found[variable.name].ravel()
        # The largest entries, so that rounding does not drown them.
        for i in np.argsort(-np.abs(flat))[:6]:
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved.ravel()[i] += sign * step
                variable.assign(moved)
                ends.append(float(to_numpy(loss())))
            variable.assign(value)
            difference = (ends[0] - ends[1]) / (2 * step)
            assert difference == pytest.approx(flat[i], rel=tolerance)

    # The generator's last weight: h times the gradient of the kernel.
    stock = getattr(keras.layers, name)(**options, dtype=dtype)
    stock.build(inputs_shape)
    stock.set_weights([to_numpy(layer.generate(code)), to_numpy(layer.bias)])
    kernel_gradient, _ = gradients(
        lambda: ops.sum(ops.sin(stock(x)) * weights), stock.trainable_weights
    )
    assert kernel_gradient.shape == kernel_shape
    features = np.maximum(code @ to_numpy(layer.generator_hidden), 0)
    if layer.mean_kernel:
        features = features * layer.deviation_scale / np.sqrt(layer.hidden_units)
    np.testing.assert_allclose(
        found["generator_output"],
        np.outer(features, kernel_gradient),
        atol=1e-10 if dtype == "float64" else 1e-4,
    )
    if layer.mean_kernel:
        np.testing.assert_allclose(
            found["mean_kernel"],
            kernel_gradient,
            atol=1e-10 if dtype == "float64" else 1e-4,
        )


def test_regularizers_are_in_the_losses(case, form):
    name, options, inputs_shape, kernel_shape = case
    layer = hyper_class(name)(
        **options,
        **form,
        bias_initializer="ones",
        **{kernel_argument(name, "regularizer"): keras.regularizers.L2(0.1)},
        bias_regularizer=keras.regularizers.L1(0.01),
        generator_regularizer=keras.regularizers.L2(0.001),
    )
    x = normal(*inputs_shape)
    for seed in (1, 2):
        code = normal(1, 5, seed=seed)
        layer(x, code)
        expected = [
            0.1 * np.sum(numpy_kernel(layer, code, kernel_shape) ** 2),
            0.01 * np.sum(np.abs(to_numpy(layer.bias))),
            0.001 * np.sum(to_numpy(layer.generator_hidden) ** 2),
            0.001 * np.sum(to_numpy(layer.generator_output) ** 2),
        ]
        found = [float(to_numpy(loss)) for loss in layer.losses]
        np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-5)


def test_without_regularizers_there_are_no_losses(case, form):
    name, options, inputs_shape, _ = case
    layer = hyper_class(name)(**options, **form)
    layer(normal(*inputs_shape))
    assert layer.losses == []


def test_constraint_acts_on_the_mean_kernel():
    constraint = keras.constraints.MaxNorm(0.01, axis=0)
    layer = HyperDense(3, mean_kernel=True, kernel_constraint=constraint, **GENERATOR)
    model = keras.Sequential([keras.Input((4,)), layer])
    assert np.linalg.norm(to_numpy(layer.mean), axis=0).min() > 0.02
    model.compile("sgd", "mse")
    model.fit(normal(4, 4), normal(4, 3), verbose=0)
    assert np.linalg.norm(to_numpy(layer.mean), axis=0).max() < 0.0101


@pytest.mark.parametrize(
    "policy, rounding", [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)]
)
def test_mixed_precision(case, form, policy, rounding):
    name, options, inputs_shape, kernel_shape = case
    layer = hyper_class(name)(**options, **form, dtype=policy)
    x, code = normal(*inputs_shape), normal(1, 5, seed=1)
    found = layer(x, code)
    assert keras.backend.standardize_dtype(found.dtype) == policy[len("mixed_") :]
    assert {w.dtype for w in layer.trainable_weights} == {"float32"}
    kernel = to_numpy(layer.generate(code))
    assert kernel.dtype == np.float32
    # Not rounded on the way: the formula with the weights in float64.
    expected = numpy_kernel(layer, code, kernel_shape)
    np.testing.assert_allclose(kernel, expected, rtol=1e-4, atol=1e-6)
    exact, bound = (
        getattr(keras.layers, name)(**options, use_bias=False) for _ in range(2)
    )
    for stock, values in ((exact, kernel), (bound, np.abs(kernel))):
        stock.build(inputs_shape)
        stock.set_weights([values])
    found = to_numpy(ops.cast(found, "float32"))
    error = np.abs(found - to_numpy(exact(x)))
    # Inputs, kernel and result are rounded by at most `rounding` each, and so may
    # be the sums between them.
    assert np.all(error <= 8 * rounding * to_numpy(bound(np.abs(x))) + 1e-6)
    assert error.max() > 0


def test_a_large_kernel_is_summed_in_float32():
    # Generated in float16, 4096 equal terms of 1/8 + 2**-11 would lose the latter.
    options = {"hidden_units": 4096, "code_units": 1, "mean_kernel": False}
    layer = HyperDense(1, **options, dtype="mixed_float16")
    x, code = np.ones((1, 1), "float32"), np.ones((1, 1), "float32")
    layer(x, code)
    layer.generator_hidden.assign(np.ones((1, 4096)))
    layer.generator_output.assign(np.full((4096, 1), 0.125 + 2**-11))
    assert float(to_numpy(layer(x, code))[0, 0]) == 514


def small_model(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            HyperConv2D(4, 3, activation="relu", **GENERATOR, **options),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            HyperDense(3, hidden_units=6, code_units=4, **options),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


DATA = normal(12, 6, 6, 2), np.arange(12) % 3
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}

NEW_PROCESS = """
import sys

import keras
import numpy as np

import tfhyper

for folder in sys.argv[1:]:
    x = np.load(folder + "/x.npy")
    model = keras.saving.load_model(folder + "/model.keras")
    found = [model.predict(x, verbose=0) for _ in range(3)]
    predictor = tfhyper.PosteriorPredictor.load(folder + "/predictor.tfhyper")
    members = predictor.predict(x).members
    np.savez(folder + "/found.npz", outputs=np.stack(found), members=members)
"""


def test_saved_networks_predict_the_same_in_a_new_process(tmp_path):
    x, labels = DATA
    expected = {}
    for name, form in FORMS.items():
        folder = tmp_path / name
        folder.mkdir()
        model = small_model(**form)
        model.fit(x, labels, **FIT)
        model.predict(x, verbose=0)
        predictor = PosteriorPredictor(model, num_draws=3, seed=4)
        predictor.calibrate(x, batch_size=6, verbose=0)
        predictor.save(folder / "predictor.tfhyper")
        model.save(folder / "model.keras")
        np.save(folder / "x.npy", x)
        outputs = np.stack([model.predict(x, verbose=0) for _ in range(3)])
        assert not np.allclose(outputs[0], outputs[1])
        members = predictor.predict(x).members
        assert not np.allclose(members[0], members[1])
        expected[folder] = outputs, members

    environment = {"KERAS_BACKEND": BACKEND}
    run_python("-c", NEW_PROCESS, *expected, env=environment, fresh=True, check=True)
    for folder, (outputs, members) in expected.items():
        with np.load(folder / "found.npz") as found:
            np.testing.assert_array_equal(found["outputs"], outputs)
            np.testing.assert_array_equal(found["members"], members)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_resumed_training_equals_an_uninterrupted_one(tmp_path, form):
    model = small_model(**form)
    model.fit(*DATA, epochs=4, **FIT)
    # A clone, because the second layer's seed was chosen by itself.
    first = keras.models.clone_model(model)
    first.set_weights(small_model(**form).get_weights())
    first.compile_from_config(model.get_compile_config())
    first.fit(*DATA, epochs=2, **FIT)
    halfway = first.get_weights()
    first.save(tmp_path / "model.keras")
    second = keras.saving.load_model(tmp_path / "model.keras")
    second.fit(*DATA, epochs=2, **FIT)
    for expected, found in zip(model.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(
        not np.array_equal(a, b)
        for a, b, v in zip(halfway, second.get_weights(), model.weights, strict=True)
        if v.trainable
    )


def twin_model(shared):
    """Two layers with the same weights: equal outputs if their codes are."""
    x = keras.Input((4,))
    z = LatentCode(5, seed=1, name="z")(x)
    other = z if shared else LatentCode(5, seed=2, name="other")(x)
    outputs = [
        HyperDense(3, hidden_units=6, name="a")(x, z),
        HyperDense(3, hidden_units=6, name="b")(x, other),
    ]
    return keras.Model(x, outputs)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("how", ["built", "saved", "from_config", "clone_model"])
def test_sharing_of_a_code_survives(tmp_path, shared, how):
    model = twin_model(shared)
    model.get_layer("b").set_weights(model.get_layer("a").get_weights())
    copy = model
    if how == "saved":
        model.save(tmp_path / "model.keras")
        copy = keras.saving.load_model(tmp_path / "model.keras")
    elif how == "from_config":
        copy = keras.Model.from_config(model.get_config())
        copy.set_weights(model.get_weights())
    elif how == "clone_model":
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
    count = sum(isinstance(layer, LatentCode) for layer in copy.layers)
    assert count == (1 if shared else 2)
    assert copy is model or copy.get_layer("a") is not model.get_layer("a")
    x = normal(2, 4)
    a, b = (to_numpy(y) for y in copy(x))
    assert np.array_equal(a, b) == shared
    if copy is not model:
        for found, expected in zip((a, b), model(x), strict=True):
            np.testing.assert_array_equal(found, to_numpy(expected))
    assert not np.array_equal(to_numpy(copy(x)[0]), a)


def test_config_round_trip(case):
    name, options, inputs_shape, _ = case
    layer = hyper_class(name)(
        **options,
        mean_kernel=True,
        deviation_scale=0.25,
        hidden_units=7,
        code_units=9,
        prior="symmetric_uniform",
        generator_regularizer="l2",
        **{kernel_argument(name, "regularizer"): "l1"},
        use_bias=False,
        name="hyper",
    )
    config = layer.get_config()
    assert 0 <= config["seed"] < 2**31
    data = keras.saving.serialize_keras_object(layer)
    assert data["registered_name"] == f"tfhyper>Hyper{name}"
    copy = keras.saving.deserialize_keras_object(data)
    assert type(copy) is type(layer)
    assert copy.get_config() == config
    x = normal(*inputs_shape)
    layer(x)
    copy(x)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(to_numpy(copy(x)), to_numpy(layer(x)))


def test_plain_layer_of_a_draw(case, form):
    name, options, inputs_shape, _ = case
    layer = hyper_class(name)(
        **options, **form, bias_initializer="random_normal", name="hyper"
    )
    x = normal(*inputs_shape)
    layer(x)
    noise = layer.sample_noise(12)
    point = layer.point_layer()
    assert type(point) is getattr(keras.layers, name)
    assert point.name == "hyper"
    point.build(inputs_shape)
    point.set_weights([to_numpy(w) for w in layer.point_weights(noise)])
    np.testing.assert_allclose(to_numpy(point(x)), to_numpy(layer(x, noise)), atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_kernels_of_several_draws(form, at_once, monkeypatch):
    layer = layers.HyperConv2D(6, 3, bias_initializer="random_normal", **form)
    layer(normal(1, 5, 5, 4))
    shape = 3, 3, 4, 6
    monkeypatch.setattr(
        generated_kernel, "_PRODUCT_BYTES", at_once * 4 * math.prod(shape) + 3
    )
    noises = [layer.sample_noise(i) for i in range(5)]
    found = list(layer.point_weights_of_draws(noises))
    assert len(found) == 5
    for noise, (kernel, bias) in zip(noises, found, strict=True):
        expected = numpy_kernel(layer, noise, shape)
        np.testing.assert_allclose(to_numpy(kernel), expected, atol=1e-6)
        np.testing.assert_array_equal(to_numpy(bias), to_numpy(layer.bias))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prior": "gauss"}, "`prior` must be one of .*'uniform'.*prior='gauss'"),
        ({"hidden_units": 0}, "`hidden_units` must be a positive.*hidden_units=0"),
        ({"hidden_units": -1}, "`hidden_units` must be a positive.*hidden_units=-1"),
        ({"code_units": -3}, "`code_units` must be a positive.*code_units=-3"),
        ({"code_units": 1.5}, "`code_units` must be a positive.*code_units=1.5"),
        ({"seed": -1}, "`seed` must be an integer from 0.*seed=-1"),
        ({"deviation_scale": -0.1}, "`deviation_scale`.*finite.*deviation_scale=-0.1"),
        ({"deviation_scale": np.nan}, "`deviation_scale`.*finite.*=nan"),
        ({"deviation_scale": np.inf}, "`deviation_scale`.*finite.*=inf"),
        ({"deviation_scale": [1, 2]}, r"`deviation_scale`.*finite.*=\[1, 2\]"),
        ({"deviation_scale": "big"}, "`deviation_scale`.*finite.*='big'"),
    ],
)
def test_errors_name_argument_rule_and_value(case, options, message):
    name, sizes, _, _ = case
    with pytest.raises(ValueError, match=message):
        hyper_class(name)(**sizes, **options)


def test_a_constraint_needs_a_mean_kernel(case):
    name, options, _, _ = case
    argument = kernel_argument(name, "constraint")
    with pytest.raises(ValueError, match=f"`{argument}`.*mean_kernel=True"):
        hyper_class(name)(**options, mean_kernel=False, **{argument: "non_neg"})


@pytest.mark.parametrize("name, argument", [("Dense", "units"), ("Conv2D", "filters")])
@pytest.mark.parametrize("value", [-1, 0])
def test_sizes_of_the_stock_layer_are_checked(name, argument, value):
    _, options, inputs_shape, _ = next(c for c in CASES.values() if c[0] == name)
    with pytest.raises(ValueError, match=argument):
        hyper_class(name)(**{**options, argument: value})(normal(*inputs_shape))


@pytest.mark.parametrize("shape", [(2, 5), (1,), (1, 5, 1), (5, 1)])
def test_codes_of_another_shape_are_refused(case, shape):
    name, options, inputs_shape, _ = case
    with pytest.raises(ValueError, match=r"`code` must have shape \(1, units\)"):
        hyper_class(name)(**options)(normal(*inputs_shape), normal(*shape))


def test_a_code_of_another_size_than_at_first_is_refused():
    layer = HyperDense(3)
    layer(normal(2, 4), normal(1, 5))
    with pytest.raises(Exception, match="(?i)shape|size|dimension|contract"):
        layer(normal(2, 4), normal(1, 6))


def test_there_is_no_one_kernel_to_read(case, form):
    name, options, inputs_shape, _ = case
    layer = hyper_class(name)(**options, **form)
    layer(normal(*inputs_shape))
    with pytest.raises(AttributeError, match="kernel"):
        layer.kernel


def test_lora_and_quantization_are_refused(case, form):
    name, options, inputs_shape, _ = case
    layer = hyper_class(name)(**options, **form)
    layer(normal(*inputs_shape))
    with pytest.raises(ValueError, match=f"Hyper{name} draws its kernel: LoRA"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match=f"Hyper{name}.*quantized.*materialize"):
        layer.quantize("int8")


@pytest.mark.parametrize("name", ["Dense", "Conv1D", "Conv2D", "Conv3D"])
def test_lora_asked_for_in_the_constructor_is_refused(name):
    _, options, _, _ = next(c for c in CASES.values() if c[0] == name)
    with pytest.raises(ValueError, match="LoRA"):
        hyper_class(name)(**options, lora_rank=2)


def test_layers_with_a_code_in_a_functional_model():
    form = {"hidden_units": 6, "mean_kernel": False}
    x = keras.Input((6, 6, 2))
    z = LatentCode(5, "uniform", seed=1)(x)
    y = HyperConv2D(4, 3, strides=2, activation="relu", **form)(x, z)
    y = keras.layers.Flatten()(y)
    y = HyperDense(3, **form)(y, code=z)
    model = keras.Model(x, y)
    assert model.output_shape == (None, 3)
    before = model.get_weights()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(*DATA, epochs=2, **FIT).history
    assert np.isfinite(history["loss"]).all()
    changed = [not np.array_equal(*w) for w in zip(before, model.get_weights())]
    # Six trainable weights and the count of the codes.
    assert changed == [True] * 7
    assert not np.allclose(to_numpy(model(DATA[0])), to_numpy(model(DATA[0])))
