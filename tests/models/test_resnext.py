"""ResNeXt for CIFAR: published sizes, and structure with every kit."""

import keras
import numpy as np
import pytest

from tests.helpers.kits import make_kit, plain_layers
from tfhyper.kits import KITS
from tfhyper.models import resnext

SMALL = {"width_multiplier": 1 / 16, "num_classes": 4, "input_shape": (8, 8, 3)}


def count_trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


# The first two: Xie et al. (CVPR 2017), table 7, 34.4 and 68.1 million. The counts
# of all but the first are those that the tests of another library of networks,
# osmr's imgclsmob, assert for its own.
@pytest.mark.parametrize(
    "depth, cardinality, base_width, count",
    [
        (29, 8, 64, 34_426_698),
        (29, 16, 64, 68_155_210),
        (29, 32, 4, 4_775_754),
        (20, 64, 1, 1_922_506),
    ],
)
def test_published_numbers_of_parameters(depth, cardinality, base_width, count):
    model = resnext(depth, cardinality, base_width, kit="deterministic")
    assert count_trainable(model) == count
    assert model.name == f"resnext_{depth}_{cardinality}x{base_width}d"
    for stage in (1, 2, 3):
        width = cardinality * base_width * 2 ** (stage - 1)
        for block in range(1, (depth - 2) // 9 + 1):
            path = f"stage{stage}_block{block}"
            shape = model.get_layer(f"{path}_conv2").kernel.shape
            assert shape == (3, 3, width // cardinality, width)
            output = model.get_layer(f"{path}_add").output
            size = 64 // 2**stage
            assert output.shape == (None, size, size, 128 * 2**stage)


@pytest.mark.parametrize("kit", KITS)
def test_structure(kit):
    model = resnext(20, 2, 24, kit=make_kit(kit), **SMALL)
    convs = {
        x.name: x for x in plain_layers(model) if isinstance(x, keras.layers.Conv2D)
    }
    # Three to each block, a shortcut to each stage, and the stem.
    assert len(convs) == 3 * 6 + 3 + 1
    assert all(x.padding == "same" and not x.use_bias for x in convs.values())
    grouped = {name for name, conv in convs.items() if conv.groups == 2}
    assert grouped == {name for name in convs if name.endswith("conv2")}
    strided = {name for name, conv in convs.items() if conv.strides == (2, 2)}
    assert strided == {
        f"stage{s}_block1_{c}" for s in (2, 3) for c in ("conv2", "shortcut")
    }
    # Groups of floor(n 24 / 64) channels, n = 4, 8, 16.
    assert [convs[f"stage{s}_block2_conv2"].filters for s in (1, 2, 3)] == [2, 6, 12]
    assert [convs[f"stage{s}_block2_conv3"].filters for s in (1, 2, 3)] == [16, 32, 64]
    assert convs["stem"].filters == 4
    assert model.output_shape == (None, 4)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"depth": 28}, r"`depth` must be 9 n \+ 2.*depth=28"),
        ({"depth": 2}, r"`depth` must be 9 n \+ 2.*depth=2"),
        ({"depth": 29.0}, "`depth` must be a positive integer.*depth=29.0"),
        ({"cardinality": 0}, "`cardinality` must be a positive.*cardinality=0"),
        ({"base_width": 1.5}, "`base_width` must be a positive.*base_width=1.5"),
        ({"base_width": 15}, "`base_width` must give each group a channel.*=15"),
        ({"width_multiplier": 0}, "`width_multiplier` must be.*width_multiplier=0"),
        ({"num_classes": 0}, "`num_classes` must be a positive.*num_classes=0"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be \(height.*\(32, 32\)"),
        ({"kit": "bayesian"}, "`kit` must be one of.*'bayesian'"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        resnext(**{**SMALL, **options})
