"""Multiply-adds, against published counts and layers that count for themselves."""

import doctest
import importlib

import keras
import numpy as np
import pytest

from tfhyper import analysis, kits, layers, models


@pytest.fixture(scope="module")
def wrn_28_4():
    kit = kits.hyper(mean_kernel=False, hidden_units=32, code_units=32)
    return analysis.complexity(models.wide_resnet(28, 4, kit=kit))


def test_the_paper(wrn_28_4):
    # Section 5.3: 0.85 and 0.18 (cut, not rounded) thousand million; 0.2 % of 128.
    assert f"{wrn_28_4.per_image / 1e9:.2f}" == "0.85"
    assert int(wrn_28_4.per_batch / 1e9 * 100) == 18
    assert f"{wrn_28_4.overhead:.1%}" == "0.2%"


def test_mobilenet():
    # Howard et al., MobileNets, 2017, table 8: 569 million mult-adds.
    model = keras.applications.MobileNet(weights=None)
    assert round(analysis.complexity(model).per_image / 1e6) == 569


@pytest.mark.parametrize(
    "shape, layer",
    [
        ((9,), keras.layers.Dense(4)),
        ((5, 3, 9), keras.layers.Dense(4)),
        ((9, 4), keras.layers.Conv1D(6, 3, strides=2)),
        ((9, 8, 4), keras.layers.Conv2D(6, (3, 2))),
        ((9, 8, 4), keras.layers.Conv2D(6, 3, dilation_rate=2, groups=2)),
        ((5, 6, 7, 2), keras.layers.Conv3D(3, 2, strides=2)),
        ((9, 8, 4), keras.layers.DepthwiseConv2D(3, depth_multiplier=2)),
        ((9, 4), keras.layers.DepthwiseConv1D(3)),
        ((4, 5, 3), keras.layers.Conv2DTranspose(6, 3, strides=2)),
        ((4, 3), keras.layers.Conv1DTranspose(6, 3)),
    ],
)
def test_with_ones_the_outputs_add_up_to_the_count(shape, layer):
    # Each product of a weight and an input is 1, and none is padded away.
    model = keras.Sequential([keras.Input(shape), layer])
    layer.set_weights(
        [np.ones_like(x) for x in layer.get_weights()[:1]]
        + [np.zeros_like(x) for x in layer.get_weights()[1:]]
    )
    counted = keras.ops.convert_to_numpy(model(np.ones((1, *shape), "float32"))).sum()
    found = analysis.complexity(model)
    assert found.per_image == counted > 0
    assert found.per_batch == 0 and found.not_counted == ()


def count(shape, *stack):
    return analysis.complexity(keras.Sequential([keras.Input(shape), *stack]))


def test_a_separable_convolution_is_two():
    separable = keras.layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2)
    both = count(
        (9, 8, 4),
        keras.layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2),
        keras.layers.Conv2D(6, 1),
    )
    assert count((9, 8, 4), separable).per_image == both.per_image


def test_channels_may_come_first():
    options = {"padding": "same", "strides": 2, "groups": 2}
    first = keras.layers.Conv2D(6, 3, data_format="channels_first", **options)
    last = keras.layers.Conv2D(6, 3, data_format="channels_last", **options)
    assert count((4, 9, 8), first).per_image == count((9, 8, 4), last).per_image


def test_what_draws_cost():
    generated = layers.HyperDense(5, code_units=7, hidden_units=3)
    # z V: 7 x 3; h U: 3 x (4 x 5 weights).
    assert count((4,), generated).per_batch == 7 * 3 + 3 * 4 * 5
    # mean + sigma eps: one for each weight.
    assert count((4,), layers.BayesDense(5)).per_batch == 4 * 5
    for layer in (generated, layers.BayesDense(5)):
        assert count((4,), layer).per_image == 4 * 5


def test_a_shared_code_brings_its_own_size():
    inputs = keras.Input((4,))
    code = layers.LatentCode(9)(inputs)
    layer = layers.HyperDense(4, code_units=2, hidden_units=3)
    model = keras.Model(inputs, layer(layer(inputs, code), code))
    found = analysis.complexity(model, batch_size=10)
    # Called twice, it works and draws twice.
    assert [row.per_batch for row in found.layers] == [9 * 3 + 3 * 16] * 2
    assert found.per_image == 2 * 16
    assert found.overhead == pytest.approx(2 * 75 / (10 * 32))


def test_layers_of_nested_models_are_found():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="inner")])
    found = count((4,), inner, keras.layers.Dense(2, name="outer"))
    assert [(row.name, row.per_image) for row in found.layers] == [
        ("inner", 12),
        ("outer", 6),
    ]


def test_what_is_not_counted_is_named():
    found = count(
        (5, 4),
        keras.layers.BatchNormalization(),
        keras.layers.LSTM(3, name="memory"),
        keras.layers.Dense(2),
    )
    assert found.not_counted == ("memory",)
    assert found.per_image == 6
    assert str(found).endswith("not counted: memory")


def test_the_model_is_left_as_it_is():
    model = models.wide_resnet(10, 1, input_shape=(8, 8, 3))
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    before = model.get_weights()
    analysis.complexity(model)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_table(wrn_28_4):
    lines = str(wrn_28_4).splitlines()
    # Stem, 24 convolutions and 3 shortcuts, logits; head and two lines of totals.
    assert len(wrn_28_4.layers) == 29 and len(lines) == 32
    assert lines[1].split() == ["stem", f"{32 * 32 * 27 * 16:,}", "0"]
    assert lines[-2].split() == ["all", "845,597,184", "186,870,784"]
    assert lines[-1] == "draws add 0.17% to batches of 128"


def test_bars_add_up_the_layers_of_a_stage(wrn_28_4, tmp_path):
    figure = analysis.complexity_plot(wrn_28_4, title="WRN-28-4")
    figure.savefig(tmp_path / "complexity.png")
    (axes,) = figure.axes
    assert figure.get_suptitle() == "WRN-28-4"
    stages = [label.get_text() for label in axes.get_xticklabels()]
    assert stages == ["stem", "stage1", "stage2", "stage3", "logits"]
    network, kernels = ([b.get_height() for b in bars] for bars in axes.containers)
    assert sum(network) == wrn_28_4.per_image and sum(kernels) == wrn_28_4.per_batch
    # Stage 3: all but the first two of its convolutions are of 8 x 8 x 9 x 256 x 256.
    assert network[3] == 7 * 37_748_736 + 18_874_368 + 2_097_152
    assert kernels[0] == kernels[-1] == 0
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["Network, each image", "Kernels, each batch"]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="sizes are known.*'open'"):
        count((None, None, 3), keras.layers.Conv2D(2, 3, name="open"))
    with pytest.raises(ValueError, match="convolutions or dense layers to count"):
        count((3,), keras.layers.ReLU())
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        analysis.complexity(keras.Sequential([keras.Input((3,))]), batch_size=0)
    with pytest.raises(TypeError, match="`model` must be a functional"):
        analysis.complexity(keras.layers.Dense(3))


def test_the_docstring_examples_run():
    result = doctest.testmod(importlib.import_module("tfhyper.analysis.complexity"))
    assert result.attempted > 0 and result.failed == 0
