"""Wide residual networks: published sizes, and structure with every kit."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.kits import make_kit, plain_layer, plain_layers
from tfhyper import kits
from tfhyper.kits import KITS
from tfhyper.layers import Dropout, MCDropout
from tfhyper.models import wide_resnet

SMALL = {"depth": 10, "width": 1, "num_classes": 4, "input_shape": (8, 8, 3)}


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)


def layers_of(model, kind):
    return [layer for layer in plain_layers(model) if isinstance(layer, kind)]


# Zagoruyko and Komodakis (2016): tables 4 and 5, in millions.
@pytest.mark.parametrize(
    "depth, width, millions",
    [(40, 1, "0.6"), (40, 4, "8.9"), (16, 8, "11.0"), (28, 10, "36.5")],
)
def test_published_numbers_of_parameters(depth, width, millions):
    model = wide_resnet(depth, width, kit="deterministic")
    count = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert f"{count / 1e6:.1f}" == millions
    if (depth, width) == (28, 10):
        assert count + norm_statistics(28, 10) == model.count_params() == 36_497_146


def conv_shapes(depth, width):
    """Kernels of the residual blocks, written out from the paper's table 1."""
    shapes = []
    inputs = 16
    for outputs in (16 * width, 32 * width, 64 * width):
        for block in range((depth - 4) // 6):
            if block == 0 and (outputs != inputs or outputs != 16 * width):
                shapes.append((1, 1, inputs, outputs))
            shapes.append((3, 3, inputs, outputs))
            shapes.append((3, 3, outputs, outputs))
            inputs = outputs
    return shapes


def norm_statistics(depth, width):
    """Moving means and variances: of the inputs of every 3x3 convolution, and last."""
    convs = conv_shapes(depth, width)
    return 2 * (sum(s[2] for s in convs if s[0] == 3) + 64 * width)


@pytest.mark.parametrize("depth, width", [(10, 1), (16, 2)])
def test_number_of_parameters_by_formula(depth, width):
    kernels = sum(map(np.prod, conv_shapes(depth, width)))
    rest = 3 * 3 * 3 * 16 + 64 * width * 10 + 10
    # As many scales and offsets as moving means and variances.
    expected = kernels + 2 * norm_statistics(depth, width) + rest
    model = wide_resnet(depth, width, kit="deterministic")
    assert model.count_params() == expected


@pytest.mark.parametrize("mean_kernel", [False, True])
@pytest.mark.parametrize("depth, code, hidden", [(10, 16, 32), (16, 5, 3)])
def test_number_of_parameters_of_the_generators(depth, code, hidden, mean_kernel):
    kit = kits.hyper(code_units=code, hidden_units=hidden, mean_kernel=mean_kernel)
    model = wide_resnet(depth, 1, kit=kit)
    plain = wide_resnet(depth, 1, kit="deterministic")
    kernels = [int(np.prod(shape)) for shape in conv_shapes(depth, 1)]
    generated = sum(code * hidden + hidden * size for size in kernels)
    if not mean_kernel:
        generated -= sum(kernels)  # they are variables no more
    draws = 2  # the counts of the one code
    assert model.count_params() == plain.count_params() + generated + draws


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("depth, width", [(10, 1), (16, 2)])
def test_structure(depth, width, kit):
    model = wide_resnet(depth, width, num_classes=7, kit=make_kit(kit))
    blocks = (depth - 4) // 6
    convs = layers_of(model, keras.layers.Conv2D)
    large = [conv for conv in convs if conv.kernel_size == (3, 3)]
    # Two to each block and the stem. The depth counts those, the classifier and
    # the shortcuts of three stages: 6 n + 1 + 3.
    assert len(large) == depth - 4 + 1
    small = [conv for conv in convs if conv.kernel_size == (1, 1)]
    assert len(small) == (2 if width == 1 else 3)
    assert all(conv.padding == "same" and not conv.use_bias for conv in convs)
    strided = {conv.name for conv in convs if conv.strides == (2, 2)}
    assert strided == {
        f"stage{s}_block1_{c}" for s in (2, 3) for c in ("conv1", "shortcut")
    }
    assert len(layers_of(model, keras.layers.Add)) == 3 * blocks
    assert len(layers_of(model, keras.layers.BatchNormalization)) == 6 * blocks + 1
    for stage, size, channels in ((1, 32, 16), (2, 16, 32), (3, 8, 64)):
        for block in range(1, blocks + 1):
            output = model.get_layer(f"stage{stage}_block{block}_add").output
            assert output.shape == (None, size, size, channels * width)
    assert model.get_layer("stem").output.shape == (None, 32, 32, 16)
    assert model.output_shape == (None, 7)
    assert plain_layer(model.get_layer("logits")).activation is keras.activations.linear
    assert model.name == f"wide_resnet_{depth}_{width}"


def before(model, name, argument=0):
    """Returns the name of the layer that feeds a layer, MC dropout passed over."""
    node = model.get_layer(name)._inbound_nodes[0]
    layer = node.input_tensors[argument]._keras_history.operation
    if layer.name.endswith("_mc_dropout"):
        return before(model, layer.name)
    return layer.name


@pytest.mark.parametrize("kit", KITS)
def test_norm_and_activation_come_before_the_convolutions(kit):
    model = wide_resnet(16, 1, kit=make_kit(kit), dropout=0.3)
    block = "stage2_block1"
    chain = [
        f"{block}_add",  # its second input
        f"{block}_conv2",
        f"{block}_dropout",
        f"{block}_pre2_relu",
        f"{block}_pre2_norm",
        f"{block}_conv1",
        f"{block}_pre1_relu",
        f"{block}_pre1_norm",
        "stage1_block2_add",
    ]
    for later, earlier in zip(chain, chain[1:]):
        argument = 1 if later.endswith("_add") else 0
        assert before(model, later, argument) == earlier
    # A shortcut that changes the width starts from the activation, the others
    # from the block's input.
    assert before(model, f"{block}_add", 0) == f"{block}_shortcut"
    assert before(model, f"{block}_shortcut") == f"{block}_pre1_relu"
    assert before(model, "stage2_block2_add", 0) == "stage2_block1_add"
    head = ["logits", "pool", "head_relu", "head_norm", "stage3_block2_add"]
    for later, earlier in zip(head, head[1:]):
        assert before(model, later) == earlier
    dropouts = [
        layer.rate
        for layer in layers_of(model, Dropout | MCDropout)
        if layer.name.endswith("block1_dropout")
        or layer.name.endswith("block2_dropout")
    ]
    # Learned rates take the place of the network's own.
    assert dropouts == ([] if kit == "concrete_dropout" else [0.3] * 6)


def test_batch_norm_and_initialisation_of_the_reference_code():
    model = wide_resnet(10, 4, kit="deterministic")
    for norm in layers_of(model, keras.layers.BatchNormalization):
        assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
    for conv in layers_of(model, keras.layers.Conv2D):
        kernel = ops.convert_to_numpy(conv.kernel)
        he = np.sqrt(2 / np.prod(kernel.shape[:-1]))
        assert np.std(kernel) == pytest.approx(he, rel=0.1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"depth": 11}, r"`depth` must be 6 n \+ 4.*depth=11"),
        ({"depth": 4}, r"`depth` must be 6 n \+ 4.*depth=4"),
        ({"depth": -2}, "`depth` must be a positive integer.*depth=-2"),
        ({"depth": 16.0}, "`depth` must be a positive integer.*depth=16.0"),
        ({"width": 0}, "`width` must be a positive integer.*width=0"),
        ({"width": 1.5}, "`width` must be a positive integer.*width=1.5"),
        ({"num_classes": 0}, "`num_classes` must be a positive.*num_classes=0"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be \(height.*\(32, 32\)"),
        ({"input_shape": (32, 0, 3)}, "`input_shape` must be a positive.*=0"),
        ({"input_shape": (None, 32, 3)}, "`input_shape` must be a positive.*=None"),
        ({"dropout": 1.5}, "`dropout` must be in 0 <= dropout < 1.*1.5"),
        ({"dropout": 1.0}, "`dropout` must be in 0 <= dropout < 1.*1.0"),
        ({"dropout": -0.1}, "`dropout` must be in 0 <= dropout < 1.*-0.1"),
        ({"dropout": "half"}, "`dropout` must be in 0 <= dropout < 1.*half"),
        ({"kit": "bayesian"}, "`kit` must be one of.*'bayesian'"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        wide_resnet(**{**SMALL, **options})
