"""ResNets for CIFAR-10: published sizes, and the shortcut without parameters."""

import keras
import numpy as np
import pytest

from tfhyper import kits
from tfhyper.models import blocks, resnet_cifar


# He et al. (CVPR 2016), table 6, in millions.
@pytest.mark.parametrize(
    "depth, millions", [(20, "0.27"), (32, "0.46"), (56, "0.85"), (110, "1.7")]
)
def test_published_numbers_of_parameters(depth, millions):
    model = resnet_cifar(depth, kit="deterministic")
    count = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    digits = len(millions) - 2
    assert f"{count / 1e6:.{digits}f}" == millions


def test_parameters_written_out():
    """ResNet-32: 31 convolutions without bias, a BatchNorm each, and the classes."""
    count = 27 * 16 + 2 * 16
    for width, before in ((16, 16), (32, 16), (64, 32)):
        count += 9 * width * before + 9 * 9 * width * width + 10 * 2 * width
    count += 65 * 10
    model = resnet_cifar(32, kit="deterministic")
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == count
    convs = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convs) == 31


def test_preactivation_has_the_same_depth():
    model = resnet_cifar(20, preactivation=True, kit="deterministic")
    convs = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    # The two of size 1 are shortcuts, which depth does not count.
    assert sum(conv.kernel_size == (3, 3) for conv in convs) == 19
    assert len(convs) == 21


def test_padded_shortcut():
    inputs = keras.Input((4, 6, 3))
    model = keras.Model(inputs, blocks.padded_shortcut(inputs, 5, 2, name="block"))
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 3)).astype("float32")
    expected = np.zeros((2, 2, 3, 5), "float32")
    expected[..., :3] = x[:, ::2, ::2]
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_block_against_its_formula():
    """relu(x + norm(conv(relu(norm(conv(x)))))), with fresh BatchNorm."""
    inputs = keras.Input((5, 5, 4))
    kit = kits.deterministic().for_network()
    outputs = blocks.post_activation_block(kit, inputs, 4, 1, name="block")
    model = keras.Model(inputs, outputs)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype("float32")
    scale = 1 / np.sqrt(1 + 1e-5)
    first, second = (model.get_layer(f"block_conv{i}") for i in (1, 2))
    y = np.maximum(np.array(first(x)) * scale, 0)
    expected = np.maximum(x + np.array(second(y)) * scale, 0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 31, 33])
def test_depth_of_no_member_of_the_family_is_refused(depth):
    with pytest.raises(ValueError, match=f"6 n \\+ 2.*depth={depth}"):
        resnet_cifar(depth)
