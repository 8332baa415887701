"""ResNet-50: the network of Keras, published sizes, structure."""

import keras
import numpy as np
import pytest

from tests.helpers.layers import normal
from tfhyper.models import resnet, resnet50

SMALL = {
    "width_multiplier": 1 / 16,
    "stage_blocks": (1, 2),
    "num_classes": 4,
    "input_shape": (32, 32, 3),
}
# Blocks' layers, as Keras names them and as we do.
PARTS = {"0": "shortcut", "1": "conv1", "2": "conv2", "3": "conv3"}
NORMS = {"0": "shortcut", "1": "post1", "2": "post2", "3": "post3"}


@pytest.fixture(scope="module")
def ours():
    return resnet(num_classes=10, input_shape=(64, 64, 3), kit="deterministic")


@pytest.fixture(scope="module")
def theirs():
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.bias.assign(rng.normal(size=layer.bias.shape))
    return model


def names(theirs):
    """Returns Keras' names of convolutions and norms -> ours."""
    found = {"conv1_conv": "stem", "conv1_bn": "stem_norm"}
    for layer in theirs.layers:
        part, _, kind = layer.name.partition("_")[2].partition("_")[2].partition("_")
        if part in PARTS and kind in ("conv", "bn"):
            stage = int(layer.name[4]) - 1
            block = layer.name.split("_")[1]
            inner = PARTS[part] if kind == "conv" else f"{NORMS[part]}_norm"
            found[layer.name] = f"stage{stage}_{block}_{inner}"
    return found


def test_the_same_function_as_the_network_of_keras(ours, theirs):
    """Keras' convolutions have biases, which BatchNorm's means take in."""
    pairs = names(theirs)
    assert len(pairs) == 2 * 53
    for their_name, our_name in pairs.items():
        if their_name.endswith("_bn"):
            bias = theirs.get_layer(f"{their_name.removesuffix('bn')}conv").bias
            gamma, beta, mean, variance = theirs.get_layer(their_name).get_weights()
            mean = mean - keras.ops.convert_to_numpy(bias)
            ours.get_layer(our_name).set_weights([gamma, beta, mean, variance])
        else:
            kernel = theirs.get_layer(their_name).get_weights()[0]
            ours.get_layer(our_name).set_weights([kernel])
    ours.get_layer("logits").set_weights(theirs.get_layer("predictions").get_weights())
    x = normal(2, 64, 64, 3)
    expected = theirs.predict(x, verbose=0)
    found = ours.predict(x, verbose=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4)
    for their_name, our_name in pairs.items():
        shape = theirs.get_layer(their_name).output.shape
        assert ours.get_layer(our_name).output.shape == shape


def test_published_numbers_of_parameters(ours, theirs):
    biases = sum(layer.filters for layer in theirs.layers if hasattr(layer, "filters"))
    assert biases == 26_560
    assert ours.count_params() == theirs.count_params() - biases
    # He et al. (2016); torchvision documents this number of its ResNet-50.
    trainable = sum(int(np.prod(w.shape)) for w in ours.trainable_weights)
    assert trainable + (1000 - 10) * 2049 == 25_557_032
    convs = [x for x in ours.layers if isinstance(x, keras.layers.Conv2D)]
    # The depth counts the classifier, but not the four shortcuts.
    assert len(convs) + 1 - 4 == 50
    assert ours.name == "resnet_50"


@pytest.mark.parametrize("kit", ["deterministic", "hyper"])
@pytest.mark.parametrize("version, strided", [("v1", "conv1"), ("v1.5", "conv2")])
def test_structure(kit, version, strided):
    model = resnet(**SMALL, version=version, kit=kit)
    convs = {x.name: x for x in model.layers if isinstance(x, keras.layers.Conv2D)}
    assert len(convs) == 1 + 3 * 3 + 2
    assert {name for name, x in convs.items() if x.strides == (2, 2)} == {
        "stem",
        f"stage2_block1_{strided}",
        "stage2_block1_shortcut",
    }
    assert [model.get_layer(f"stage{s}_block1_add").output.shape for s in (1, 2)] == [
        (None, 8, 8, 16),
        (None, 4, 4, 32),
    ]
    assert model.get_layer("stem").output.shape == (None, 16, 16, 4)
    assert model.output_shape == (None, 4)
    assert model.name == "resnet_11"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"input_shape": (31, 64, 3)}, r"height and width of at least 32.*\(31, 64"),
        ({"input_shape": (64, 16, 3)}, r"height and width of at least 32.*\(64, 16"),
        ({"input_shape": (64, 64)}, r"`input_shape` must be \(height.*\(64, 64\)"),
        ({"version": "v2"}, "`version` must be one of.*version='v2'"),
        ({"stage_blocks": ()}, r"`stage_blocks` must be a sequence.*=\(\)"),
        ({"stage_blocks": (3, 0)}, "`stage_blocks` must be a positive.*=0"),
        ({"stage_blocks": 3}, "`stage_blocks` must be a sequence.*=3"),
        ({"width_multiplier": -1}, "`width_multiplier` must be.*width_multiplier=-1"),
        ({"num_classes": 0}, "`num_classes` must be a positive.*num_classes=0"),
        ({"kit": "bayesian"}, "`kit` must be one of.*'bayesian'"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        resnet(**{**SMALL, **options})


def test_depths_are_those_of_the_paper():
    tiny = {**SMALL, "stage_blocks": None, "kit": "deterministic"}
    for depth, count in {50: 16, 101: 33, 152: 50}.items():
        model = resnet(depth, **tiny)
        sums = [x for x in model.layers if isinstance(x, keras.layers.Add)]
        assert (model.name, len(sums)) == (f"resnet_{depth}", count)
    with pytest.raises(ValueError, match=r"`depth` must be one of \[101, 152, 50\]"):
        resnet(34)


def test_the_old_name_is_taken_with_a_warning():
    with pytest.warns(DeprecationWarning, match="called `resnet`"):
        old = resnet50(**SMALL, kit="deterministic")
    new = resnet(**SMALL, kit="deterministic")
    assert [w.path for w in old.weights] == [w.path for w in new.weights]
