"""Static hypernetworks: kernels of a shared generator, and networks of them."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.bayes import stock_layer
from tests.helpers.layers import OPTIONS, gradients, normal, sized, to_numpy
from tfhyper import PosteriorPredictor
from tfhyper.layers import KernelGenerator, StaticHyperConv2D
from tfhyper.posterior import PointNetwork

UNITS = {"embedding_units": 3, "hidden_units": 5}


def make_code(kernel_size=3, block=4, seed=0):
    """Returns a generator's weights, all far from where they start."""
    generator = KernelGenerator(kernel_size, block, **UNITS)
    generator.build((None, 1))
    for i, weight in enumerate(generator.weights):
        weight.assign(normal(*weight.shape, seed=seed + i))
    return generator(np.zeros((1, 1)))


def numpy_kernel(layer, code, shape):
    """Ha et al. (2016), section 3.1, one basic kernel after the other."""
    hidden, hidden_bias, output, output_bias = (
        to_numpy(x).astype("float64") for x in code
    )
    embeddings = to_numpy(layer.embeddings).astype("float64")
    rows = []
    for row in embeddings:
        blocks = []
        for z in row:
            block = []
            for w, b in zip(np.moveaxis(hidden, 1, 0), hidden_bias, strict=True):
                block.append(np.tensordot(z @ w + b, output, 1) + output_bias)
            blocks.append(np.stack(block, axis=2))
        rows.append(np.concatenate(blocks, axis=3))
    return np.concatenate(rows, axis=2)[:, :, : shape[-2], : shape[-1]]


def test_keras_checks_of_the_generator():
    TestCase().run_layer_test(
        KernelGenerator,
        {"kernel_size": (3, 2), "block": (4, 6), **UNITS},
        input_shape=(2, 5),
        expected_output_shape=[(3, 4, 5), (4, 5), (5, 3, 2, 6), (3, 2, 6)],
        expected_num_trainable_weights=4,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        run_training_check=False,
        # The generator works in float32 whatever the policy.
        run_mixed_precision_check=False,
    )


@pytest.mark.parametrize("block", [(2, 4), (4, 8), (3, 3), (16, 16)])
@pytest.mark.parametrize("options", [{}, *OPTIONS["Conv2D"]], ids=str)
def test_kernel_and_output_are_those_of_the_formulas(options, block):
    options, inputs_shape = sized("Conv2D", options)
    layer = StaticHyperConv2D(**options, bias_initializer="random_normal")
    x, code = normal(*inputs_shape), make_code(options["kernel_size"], block)
    found = to_numpy(layer(x, code))
    channels = 2 // options.get("groups", 1)
    shape = (*layer.kernel_size, channels, options["filters"])
    kernel = numpy_kernel(layer, code, shape)
    assert kernel.shape == shape
    # As many basic kernels as cover it, no more.
    grid = -(-channels // block[0]), -(-options["filters"] // block[1])
    assert layer.embeddings.shape == (*grid, 3)
    np.testing.assert_allclose(to_numpy(layer.generate(code)), kernel, atol=1e-5)
    bias = None if layer.bias is None else to_numpy(layer.bias)
    stock = stock_layer("Conv2D", options, inputs_shape, kernel, bias)
    np.testing.assert_allclose(found, to_numpy(stock(x)), atol=1e-4)
    assert found.shape == tuple(layer.compute_output_shape(inputs_shape, None))


@pytest.mark.parametrize("channels, filters", [(16, 64), (64, 16), (128, 128)])
def test_kernels_start_with_the_deviation_of_he(channels, filters):
    keras.utils.set_random_seed(0)
    generator = KernelGenerator(3, 16, embedding_units=64, hidden_units=64)
    layer = StaticHyperConv2D(filters, 3)
    code = generator(np.zeros((1, 1)))
    layer.build((None, 8, 8, channels), [x.shape for x in code])
    kernel = to_numpy(layer.generate(code))
    # The basic kernels share a generator, so that one network's may be off by more
    # than those of independent weights.
    expected = np.sqrt(2 / (9 * channels))
    assert kernel.std() == pytest.approx(expected, rel=0.15)
    assert abs(kernel.mean()) < 0.1 * expected


def network():
    inputs = keras.Input((6, 6, 3))
    generator = KernelGenerator(3, 4, **UNITS, name="generator")
    code = generator(inputs)
    x = StaticHyperConv2D(4, 3, activation="relu", name="first")(inputs, code)
    x = StaticHyperConv2D(6, 3, name="second")(x, code=code)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small network, its history of training, its loaded self, and inputs."""
    keras.utils.set_random_seed(0)
    x = normal(64, 6, 6, 3)
    y = (x.mean(axis=(1, 2, 3)) > 0).astype("int32")
    model = network()
    model.compile(
        keras.optimizers.Adam(0.02),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # which takes longer than the training
    )
    before = model.get_weights()
    history = model.fit(x, y, 16, 15, verbose=0).history
    for old, weight in zip(before, model.weights, strict=True):
        assert not np.array_equal(old, to_numpy(weight)), weight.path
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return model, history, keras.models.load_model(path), x


def test_training_lowers_the_loss(trained):
    _, history, _, _ = trained
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_saved_network_has_one_generator_still(trained):
    model, _, loaded, x = trained
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-6)
    assert loaded.count_params() == model.count_params()
    generators = [y for y in loaded.layers if isinstance(y, KernelGenerator)]
    assert len(generators) == 1


def test_the_one_draw_is_the_network_itself_and_materializes_plain(trained):
    model, _, _, x = trained
    predictor = PosteriorPredictor(model)
    (member,) = predictor.predict(x).members
    expected = to_numpy(ops.softmax(model.predict(x, verbose=0)))
    np.testing.assert_allclose(member, expected, atol=1e-6)
    plain = predictor.materialize(0)
    kinds = {y.name: type(y) for y in plain.layers if y.weights}
    conv = keras.layers.Conv2D
    assert kinds == {"first": conv, "second": conv, "logits": keras.layers.Dense}
    point = PointNetwork(model)
    for draw in (point.mean(), point.sample(0, 0), point.sample(1, 5)):
        point.set(draw)
        found = point.network.predict(x, verbose=0)
        np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-6)


def test_a_predictor_is_saved_with_its_draw(trained, tmp_path):
    model, _, _, x = trained
    predictor = PosteriorPredictor(model)
    predictor.save(tmp_path / "p.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "p.tfhyper")
    members = predictor.predict(x).members
    np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)


def test_gradients_reach_every_weight():
    model = network()
    x = normal(2, 6, 6, 3)
    variables = model.trainable_variables
    for variable, found in zip(
        variables,
        gradients(lambda: ops.sum(ops.square(model(x))), variables),
        strict=True,
    ):
        assert np.isfinite(found).all() and found.any(), variable.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    x = normal(2, 6, 6, 3)
    code = make_code()
    layer, exact = StaticHyperConv2D(5, 3, dtype=policy), StaticHyperConv2D(5, 3)
    found = layer(x, code)
    exact(x, code)
    exact.set_weights(layer.get_weights())
    assert keras.backend.standardize_dtype(found.dtype) == policy[len("mixed_") :]
    assert {w.dtype for w in layer.weights} == {x.dtype.name}
    expected = to_numpy(exact(x, code))
    np.testing.assert_allclose(
        to_numpy(ops.cast(found, "float32")), expected, atol=0.03 * expected.std() * 4
    )
    generator = KernelGenerator(3, 4, **UNITS, dtype=policy)
    outputs = generator(np.zeros((1, 1), "int32"))
    assert {keras.backend.standardize_dtype(o.dtype) for o in outputs} == {"float32"}


def test_regularizer_acts_on_the_generated_kernel():
    layer = StaticHyperConv2D(5, 3, kernel_regularizer=keras.regularizers.L2(0.1))
    code = make_code()
    layer(normal(1, 4, 4, 3), code)
    (loss,) = layer.losses
    kernel = numpy_kernel(layer, code, (3, 3, 3, 5))
    assert float(loss) == pytest.approx(0.1 * np.sum(kernel**2), rel=1e-5)


def test_one_layer_with_two_generators_is_refused_by_a_draw():
    inputs = keras.Input((6, 6, 3))
    layer = StaticHyperConv2D(3, 3, padding="same")
    first, second = (KernelGenerator(3, 4, **UNITS)(inputs) for _ in range(2))
    for outputs in (
        layer(layer(inputs, first), second),
        layer(inputs, first[:2] + second[2:]),
    ):
        with pytest.raises(ValueError, match="with two codes|straight from one"):
            PointNetwork(keras.Model(inputs, outputs))


@pytest.mark.parametrize(
    "code, match",
    [
        (None, r"must be called with the weights of a .*\(x\)\)\. Received.*\[\]"),
        ([np.zeros((1, 3), "float32")], r"Received: .*\[\(1, 3\)\]"),
        (make_code(5), r"must have kernel_size=\(3, 3\)\. Received: .*\(5, 5\)"),
    ],
)
def test_calls_without_a_fitting_generator(code, match):
    layer = StaticHyperConv2D(4, 3)
    with pytest.raises(ValueError, match=match):
        layer(normal(1, 6, 6, 3), code)


def test_a_built_layer_keeps_the_sizes_of_its_generator():
    layer = StaticHyperConv2D(4, 3)
    x = normal(1, 6, 6, 3)
    layer(x, make_code())
    layer(x, make_code(seed=9))
    with pytest.raises(ValueError, match="as when it was built"):
        layer(x, make_code(block=2))


@pytest.mark.parametrize(
    "name, value",
    [
        ("kernel_size", 0),
        ("kernel_size", (3, 3, 3)),
        ("block", (4, -1)),
        ("block", "big"),
        ("embedding_units", 1.5),
        ("hidden_units", None),
    ],
)
def test_bad_arguments_of_the_generator(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be .*integer.*{name}="):
        KernelGenerator(**{name: value})


def test_bad_arguments_of_the_layer():
    with pytest.raises(ValueError, match="`kernel_constraint` needs"):
        StaticHyperConv2D(3, 3, kernel_constraint="non_neg")
    layer = StaticHyperConv2D(3, 3)
    layer(normal(1, 6, 6, 3), make_code())
    with pytest.raises(ValueError, match="no mean kernel"):
        layer.set_mean(np.zeros((3, 3, 3, 3)))
