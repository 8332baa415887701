"""PyramidNet: published sizes, widths, and structure."""

import keras
import numpy as np
import pytest

from tfhyper.models import pyramidnet

SMALL = {"depth": 14, "alpha": 9, "num_classes": 4, "input_shape": (8, 8, 3)}


# The page of the code of Han et al. (2017) says 1.7, 3.8, 28.3, 27.0 million, with
# these numbers of features before the classifier. The counts are those that the
# tests of another library of networks, osmr's imgclsmob, assert for its own.
@pytest.mark.parametrize(
    "depth, alpha, bottleneck, count, features",
    [
        (110, 48, False, 1_772_706, 64),
        (110, 84, False, 3_904_446, 100),
        (110, 270, False, 28_485_477, 286),
        (164, 270, True, 27_216_021, 1144),
    ],
)
def test_published_numbers_of_parameters(depth, alpha, bottleneck, count, features):
    model = pyramidnet(depth, alpha, bottleneck=bottleneck, kit="deterministic")
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == count
    assert model.get_layer("pool").output.shape == (None, features)
    convs = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convs) == depth - 1


@pytest.mark.parametrize("kit", ["deterministic", "hyper"])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_structure(kit, bottleneck):
    options = {**SMALL, "depth": 20 if bottleneck else 14}
    model = pyramidnet(**options, bottleneck=bottleneck, kit=kit)
    convs = {x.name: x for x in model.layers if isinstance(x, keras.layers.Conv2D)}
    assert all(x.padding == "same" and not x.use_bias for x in convs.values())
    # 16 and 1.5 more with each of 6 blocks; halves are rounded up.
    widths = [18, 19, 21, 22, 24, 25]
    paths = [f"stage{s}_block{b}" for s in (1, 2, 3) for b in (1, 2)]
    for path, width in zip(paths, widths, strict=True):
        last = 4 * width if bottleneck else width
        expected = [width, width, last] if bottleneck else [width, width]
        found = [convs[f"{path}_conv{i + 1}"].filters for i in range(len(expected))]
        assert found == expected
        assert model.get_layer(f"{path}_add").output.shape[-1] == last
    strided = {name for name, conv in convs.items() if conv.strides == (2, 2)}
    large = "conv2" if bottleneck else "conv1"
    assert strided == {f"stage{s}_block1_{large}" for s in (2, 3)}
    assert {c.kernel_size for n, c in convs.items() if n.endswith(large)} == {(3, 3)}
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) == (4 if bottleneck else 3) * 6 + 2
    relus = [x for x in model.layers if isinstance(x, keras.layers.ReLU)]
    assert len(relus) == (2 if bottleneck else 1) * 6 + 1
    pools = [x for x in model.layers if isinstance(x, keras.layers.AveragePooling2D)]
    assert [p.pool_size for p in pools] == [(2, 2), (2, 2)]
    assert model.output_shape == (None, 4)
    prefix = "bottleneck_" if bottleneck else ""
    assert model.name == f"{prefix}pyramidnet_{options['depth']}_9"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"depth": 110.0}, "`depth` must be a positive integer.*depth=110.0"),
        ({"depth": 109}, r"`depth` must be 6 n \+ 2.*depth=109"),
        ({"depth": 2}, r"`depth` must be 6 n \+ 2.*depth=2"),
        ({"depth": 14, "bottleneck": True}, r"`depth` must be 9 n \+ 2.*depth=14"),
        ({"alpha": 0}, "`alpha` must be a finite number > 0.*alpha=0"),
        ({"alpha": "48"}, "`alpha` must be a finite number > 0.*alpha='48'"),
        ({"bottleneck": "yes"}, "`bottleneck` must be True or.*bottleneck='yes'"),
        ({"num_classes": 0}, "`num_classes` must be a positive.*num_classes=0"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be \(height.*\(32, 32\)"),
        ({"kit": "bayesian"}, "`kit` must be one of.*'bayesian'"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        pyramidnet(**{**SMALL, **options})
