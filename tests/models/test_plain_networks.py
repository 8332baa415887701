"""LeNet-5 and AlexNet: numbers of parameters, shapes and structure."""

import itertools

import keras
import numpy as np
import pytest

from tests.helpers.kits import make_kit, plain_layer
from tests.helpers.layers import to_numpy
from tfhyper.kits import KITS
from tfhyper.models import alexnet, lenet5, plain_network

CONVS = {
    "lenet5": [(5, 6), (5, 16)],
    "alexnet": [(11, 64), (5, 192), (3, 384), (3, 256), (3, 128)],
}
UNITS = {"lenet5": [120, 84], "alexnet": []}
# Height and width of what is flattened, of images of 32x32.
FLAT = {"lenet5": 5 * 5, "alexnet": 1}
BUILDERS = {"lenet5": lenet5, "alexnet": alexnet}


def count_by_formula(name, channels=3, classes=10, width=1.0):
    """Weights and biases of each layer, one after another."""
    filters = [round(f * width) for _, f in CONVS[name]]
    units = [round(u * width) for u in UNITS[name]]
    total, inputs = 0, channels
    for (size, _), outputs in zip(CONVS[name], filters, strict=True):
        total += size * size * inputs * outputs + outputs
        inputs = outputs
    sizes = [FLAT[name] * inputs, *units, classes]
    return total + sum(a * b + b for a, b in itertools.pairwise(sizes))


@pytest.mark.parametrize(
    "build, shape, count",
    [
        # LeCun et al. (1998), with all feature maps connected to all.
        (lenet5, (28, 28, 1), 61_706),
        (lenet5, (32, 32, 1), 61_706),
        (lenet5, (32, 32, 3), 62_006),
        (alexnet, (32, 32, 3), 2_175_946),
    ],
)
def test_published_numbers_of_parameters(build, shape, count):
    assert build(input_shape=shape).count_params() == count


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("width, channels, classes", [(1, 3, 10), (0.5, 1, 100)])
def test_number_of_parameters_by_formula(name, width, channels, classes):
    model = BUILDERS[name](
        width_multiplier=width, input_shape=(32, 32, channels), num_classes=classes
    )
    expected = count_by_formula(name, channels, classes, width)
    assert model.count_params() == expected
    assert model.output_shape == (None, classes)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_gaussian_posterior_has_two_numbers_for_each_weight_of_a_kernel(name):
    plain = BUILDERS[name](width_multiplier=0.5)
    model = BUILDERS[name](width_multiplier=0.5, kit=make_kit("bayes"))
    kernels = [np.prod(w.shape) for w in plain.weights if w.name == "kernel"]
    count = sum(np.prod(w.shape) for w in model.trainable_weights)
    assert count == plain.count_params() + sum(kernels)


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("name", BUILDERS)
def test_structure(name, kit):
    model = BUILDERS[name](kit=make_kit(kit), width_multiplier=0.25, num_classes=7)
    filters = [round(f * 0.25) for _, f in CONVS[name]]
    sizes = {"lenet5": [28, 10], "alexnet": [8, 4, 2, 2, 2]}[name]
    for i, (size, _) in enumerate(CONVS[name]):
        layer = model.get_layer(f"conv{i + 1}")
        conv = plain_layer(layer)
        assert isinstance(conv, keras.layers.Conv2D)
        assert conv.kernel_size == (size, size)
        assert conv.use_bias
        assert layer.output.shape == (None, sizes[i], sizes[i], filters[i])
        assert (
            model.get_layer(f"conv{i + 1}_softplus").output.shape == layer.output.shape
        )
    pools = {x.name for x in model.layers if isinstance(x, keras.layers.MaxPooling2D)}
    pooled = {"lenet5": (1, 2), "alexnet": (1, 2, 5)}[name]
    assert pools == {f"conv{i}_pool" for i in pooled}
    assert model.get_layer("flatten").output.shape == (None, FLAT[name] * filters[-1])
    for i, units in enumerate(UNITS[name], 1):
        assert plain_layer(model.get_layer(f"dense{i}")).units == round(units * 0.25)
    logits = plain_layer(model.get_layer("logits"))
    assert logits.activation is keras.activations.linear
    assert model.output_shape == (None, 7)
    assert model.name == name


def test_small_images_are_padded_with_zeros_on_all_sides():
    model = lenet5(input_shape=(28, 28, 1), width_multiplier=0.5)
    large = lenet5(input_shape=(32, 32, 1), width_multiplier=0.5)
    large.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 28, 28, 1)).astype("float32")
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    np.testing.assert_allclose(to_numpy(model(x)), to_numpy(large(padded)), atol=1e-6)


@pytest.mark.parametrize("build", BUILDERS.values())
def test_activation(build):
    names = [layer.name for layer in build(activation="relu").layers]
    assert "conv1_relu" in names and not any("softplus" in name for name in names)


@pytest.mark.parametrize("build", BUILDERS.values())
@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_classes": 0}, "`num_classes` must be a positive.*num_classes=0"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be \(height.*\(32, 32\)"),
        ({"activation": "gelu"}, "`activation` must be one of.*activation='gelu'"),
        ({"width_multiplier": 0}, "`width_multiplier` must be.*width_multiplier=0"),
        ({"width_multiplier": np.inf}, "`width_multiplier` must be.*=inf"),
        ({"kit": "bayesian"}, "`kit` must be one of.*'bayesian'"),
    ],
)
def test_errors_name_argument_rule_and_value(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_names_are_readable_paths():
    model = plain_network(
        "mc_dropout",
        (32, 32, 3),
        4,
        convs=[{"filters": 2, "kernel_size": 3, "padding": 1, "pool": True}],
        units=[3],
        activation="relu",
        width_multiplier=1.0,
        name="small",
    )
    assert [layer.name for layer in model.layers] == [
        "images",
        "conv1_pad",
        "conv1",
        "conv1_relu",
        "conv1_pool",
        "flatten",
        "dense1_mc_dropout",
        "dense1",
        "dense1_relu",
        "logits_mc_dropout",
        "logits",
    ]
