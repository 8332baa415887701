"""ResNets for CIFAR-10: published sizes, both forms."""

import keras
import numpy as np
import pytest

from tfhyper.models import resnet_cifar


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


# He et al. (ECCV 2016): the form with pre-activation has as many.
@pytest.mark.parametrize("depth", [20, 110])
def test_preactivation_adds_no_parameters(depth):
    plain, model = (
        resnet_cifar(depth, preactivation=form, kit="deterministic")
        for form in (False, True)
    )
    convs = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convs) == depth - 1
    # The BatchNorm behind the last block has 48 channels more than that behind the
    # stem; those before the blocks that change the width have 16 and 32 less.
    assert model.count_params() == plain.count_params()


def test_preactivation_splits_as_published():
    """The first activation comes before the first split, shortcuts have no layer."""
    model = resnet_cifar(14, preactivation=True, kit="deterministic")

    def feeds(name):
        node = model.get_layer(name)._inbound_nodes[0]
        return [x._keras_history.operation.name for x in node.input_tensors]

    assert feeds("stage1_block1_add")[0] == "stage1_block1_pre1_relu"
    assert feeds("stage1_block1_pre1_norm") == ["stem"]
    assert feeds("stage1_block2_add")[0] == "stage1_block1_add"
    assert feeds("stage2_block1_add")[0] == "stage2_block1_shortcut_pad"
    assert feeds("stage2_block1_shortcut_pad") == ["stage2_block1_shortcut_pool"]
    assert feeds("stage2_block1_shortcut_pool") == ["stage1_block2_add"]
    assert feeds("head_norm") == ["stage3_block2_add"]


@pytest.mark.parametrize("depth", [2, 31, 33])
def test_depth_of_no_member_of_the_family_is_refused(depth):
    with pytest.raises(ValueError, match=f"6 n \\+ 2.*depth={depth}"):
        resnet_cifar(depth)


def test_preactivation_is_said_or_not():
    with pytest.raises(ValueError, match="`preactivation` must be.*'no'"):
        resnet_cifar(20, preactivation="no")
