"""The kit of static hypernetworks: what it generates, and how much it saves."""

import math

import keras
import pytest

from tfhyper import convert, kits, models
from tfhyper.layers import KernelGenerator, StaticHyperConv2D


def trainable(layer):
    """Returns the number of trainable weights of a layer or model."""
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


@pytest.mark.parametrize("depth, width, published", [(40, 1, 97_000), (10, 2, None)])
def test_number_of_weights_is_that_of_the_formula(depth, width, published):
    plain = models.wide_resnet(depth, width, kit="deterministic")
    model = models.wide_resnet(depth, width, kit=kits.static_hypernet())
    # Ha et al. (2016), section 3.1, with N_z = d = 64 and basic kernels of 16 x 16.
    expected = 64 * 16 * (64 + 1) + 9 * 16 * (64 + 1)
    for layer in plain.layers:
        generated = "conv" in layer.name and layer.name.startswith("stage")
        if generated and layer.kernel.shape[0] == 3:
            channels, filters = layer.kernel.shape[-2:]
            expected += 64 * (channels // 16) * (filters // 16)
        else:
            expected += trainable(layer)
    assert trainable(model) == expected < trainable(plain) / 2
    if published is not None:  # table 2, in millions with three digits
        assert trainable(model) // 1000 * 1000 == published


def test_what_is_generated_by_one_generator():
    model = models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit="static_hypernet")
    plain = models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit="deterministic")
    for layer in plain.layers:
        found = model.get_layer(layer.name)
        if isinstance(layer, keras.layers.Conv2D):
            inside = layer.name.startswith("stage") and layer.kernel_size == (3, 3)
            expected = StaticHyperConv2D if inside else keras.layers.Conv2D
            assert type(found) is expected
        else:
            assert type(found) is type(layer)
    added = {x.name for x in model.layers} - {x.name for x in plain.layers}
    assert {n for n in added if not n.startswith("input")} == {"generator_3x3"}


def test_options_reach_the_generators_one_for_each_size():
    kit = kits.static_hypernet((4, 6), embedding_units=3, hidden_units=5).for_network()
    inputs = x = keras.Input((8, 8, 2))
    for i, kernel_size in enumerate([3, 5, 3, (3, 1), 1]):
        x = kit.conv(5, kernel_size, name=f"a/{i}")(x)
    model = keras.Model(inputs, x)
    generators = [x for x in model.layers if isinstance(x, KernelGenerator)]
    assert [x.kernel_size for x in generators] == [(3, 3), (5, 5), (3, 1)]
    for layer in generators:
        sizes = layer.block, layer.embedding_units, layer.hidden_units
        assert sizes == ((4, 6), 3, 5)
    assert type(model.get_layer("a_4")) is keras.layers.Conv2D


def test_two_networks_of_one_kit_have_generators_of_their_own():
    kit = kits.static_hypernet(4, embedding_units=2, hidden_units=2)
    first, second = (
        models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit=kit) for _ in range(2)
    )
    ids = {id(weight) for weight in first.weights}
    assert not ids & {id(weight) for weight in second.weights}


def test_trained_networks_are_refused_with_a_reason():
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match="the kit 'static_hypernet', with which all"):
        convert(model, "static_hypernet")


@pytest.mark.parametrize(
    "options, name",
    [
        ({"block": 0}, "block"),
        ({"block": (1, 2, 3)}, "block"),
        ({"embedding_units": -1}, "embedding_units"),
        ({"hidden_units": 0.5}, "hidden_units"),
    ],
)
def test_bad_options_are_refused_at_the_door(options, name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*{name}="):
        kits.static_hypernet(**options)
