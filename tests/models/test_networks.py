"""Every network with every kit: gradients, files, mixed precision, the graph."""

import importlib.util
import itertools
import shutil

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.kits import make_kit, plain_layers
from tfhyper import training
from tfhyper.kits import KITS
from tfhyper.layers import Dropout, StochasticLayer
from tfhyper.models import NETWORKS, SEGMENTERS

PLAIN = {"width_multiplier": 0.25, "num_classes": 4, "input_shape": (32, 32, 3)}
SMALL = {"num_classes": 4, "input_shape": (8, 8, 3)}
# Every network at its smallest; a new one in the registry has to be added here.
SMALLEST = {
    "alexnet": PLAIN,
    "deeplab_cifar": {"depth": 8, "width": 4, "rates": (1, 2), **SMALL},
    "lenet5": PLAIN,
    "pyramidnet": {"depth": 8, "alpha": 6, **SMALL},
    "resnet": {**PLAIN, "width_multiplier": 1 / 16, "stage_blocks": (1, 1)},
    "resnet_cifar": {"depth": 8, **SMALL},
    "resnext": {
        "depth": 11,
        "cardinality": 2,
        "base_width": 32,
        "width_multiplier": 1 / 16,
        **SMALL,
    },
    "segnet": {
        "stage_convs": (1, 2),
        "width_multiplier": 1 / 16,
        "dropout": 0.2,
        **SMALL,
    },
    "unet": {"depth": 2, "width": 4, "dropout": 0.2, **SMALL},
    "wide_resnet": {"depth": 10, "width": 1, "dropout": 0.2, **SMALL},
}
BUILDERS = {**NETWORKS, **SEGMENTERS}
# Kits whose networks have the same weights in every pass, outside of a predictor.
POINT_KITS = {"deterministic", "sngp", "static_hypernet", "subspace", "vbll"}
# Offsets that reach the output through BatchNorm alone, which takes them out
# again: the published PyramidNet has them all the same.
ABSORBED = {"pyramidnet": ("stem_norm/beta", "post_norm/beta")}
ROUNDING = 1e-7
# Each network and each kit once or more, where all pairs would take long.
FEW = [
    (list(BUILDERS)[i % len(BUILDERS)], list(KITS)[i % len(KITS)])
    for i in range(max(len(BUILDERS), len(KITS)))
]
# Each kit in one network with blocks and in one without, too.
MORE = FEW + [
    pair
    for pair in itertools.product(("lenet5", "wide_resnet"), KITS)
    if pair not in FEW
]
X = {
    size: np.random.default_rng(0).normal(size=(6, size, size, 3)).astype("float32")
    for size in (8, 32)
}
Y = np.arange(6) % 4
MAPS = np.random.default_rng(1).integers(0, 4, (6, 8, 8))


def test_every_network_is_tested():
    assert SMALLEST.keys() == BUILDERS.keys()
    assert not NETWORKS.keys() & SEGMENTERS.keys()
    assert {network for network, _ in FEW} == BUILDERS.keys()
    assert {kit for _, kit in FEW} == KITS.keys()


def build(network, kit):
    """Returns a small network, images for it, and their labels."""
    model = BUILDERS[network](kit=make_kit(kit), **SMALLEST[network])
    x = X[model.input_shape[1]]
    return model, x, MAPS if network in SEGMENTERS else Y


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("network", BUILDERS)
def test_gradients(network, kit):
    """Each trainable weight gets one, finite and not zero."""
    model, x, y = build(network, kit)
    absorbed = ABSORBED.get(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Operation by operation: compiling all these networks would take minutes.
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)
    old_values = [ops.convert_to_numpy(w).copy() for w in model.trainable_weights]
    # The loss includes the KL divergences.
    assert np.isfinite(model.train_on_batch(x, y))
    for weight, old in zip(model.trainable_weights, old_values, strict=True):
        gradient = old - ops.convert_to_numpy(weight)
        assert np.isfinite(gradient).all(), weight.path
        if kit == "rank_one" and weight.name == "output_factors":
            continue  # which BatchNorm straight behind takes out, up to its epsilon
        # Of a norm in a subspace, too: stem_norm/stem_norm_posterior/beta_corner1.
        path = weight.path.replace("_posterior/", "/").partition("_corner")[0]
        reaches_nothing = path.endswith(absorbed) if absorbed else False
        assert (np.abs(gradient).max() > ROUNDING) != reaches_nothing, weight.path


@pytest.mark.parametrize("network, kit", MORE)
def test_files(network, kit, tmp_path):
    model, x, y = build(network, kit)
    # A small rate: a network that collapses predicts the same with every draw.
    training.compile_recipe(model, 1, 1, learning_rate=1e-3, jit_compile=False)
    model.run_eagerly = True
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert {w.path for w in copy.optimizer.variables} == {
        w.path for w in model.optimizer.variables
    }
    draws = []
    for _ in range(2):
        draws.append(ops.convert_to_numpy(model(x)))
        np.testing.assert_array_equal(ops.convert_to_numpy(copy(x)), draws[-1])
    replaced = any(
        isinstance(layer, StochasticLayer) and not isinstance(layer, Dropout)
        for layer in model.layers
    )
    assert replaced == (kit != "deterministic")
    assert np.array_equal(*draws) == (kit in POINT_KITS)


@pytest.mark.parametrize("network, kit", MORE)
def test_one_step_in_mixed_precision(network, kit):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, x, y = build(network, kit)
    finally:
        keras.config.set_dtype_policy(before)
    training.compile_recipe(model, epochs=1, steps_per_epoch=1, jit_compile=False)
    # The graphs of these two kits take longest, and are made in their own tests.
    slow = kit in ("bayesian_hypernet", "mnf")
    model.run_eagerly = slow or (network, kit) not in FEW
    weights = [w.copy() for w in model.get_weights()]
    loss, *_ = model.train_on_batch(x, y)
    assert np.isfinite(loss)
    trainable = {w.path for w in model.trainable_weights}
    assert {w.dtype for w in model.trainable_weights} == {"float32"}
    for variable, old in zip(model.weights, weights, strict=True):
        new = ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), variable.path
        if variable.path in trainable:
            assert not np.array_equal(new, old), variable.path
    outputs = model(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    convs = [x for x in plain_layers(model) if isinstance(x, keras.layers.Conv2D)]
    assert {conv.compute_dtype for conv in convs} == {"bfloat16"}


@pytest.mark.parametrize("network, kit", FEW)
def test_layers_come_in_order_and_their_names_are_paths(network, kit):
    model, *_ = build(network, kit)
    names = [layer.name for layer in model.layers]
    last = "logits_upsample" if network == "deeplab_cifar" else "logits"
    assert names[0] == "images" and names[-1] == last
    # No name of Keras' own making, such as add_3.
    own = tuple(SMALLEST) + ("code", "conv", "dense", "flatten", "generator")
    own += ("head", "images", "logits", "pad", "pool", "stage", "stem")
    own += ("bottom", "pyramid", "up", "subspace_point")
    assert all(name.startswith(own) for name in names)
    # A layer never stands before what feeds it.
    seen = set()
    for layer in model.layers:
        for node in layer._inbound_nodes:
            feeds = {x._keras_history.operation.name for x in node.input_tensors}
            assert feeds <= seen, layer.name
        seen.add(layer.name)
    # Blocks follow each other.
    blocks = [n.split("_")[:2] for n in names if n.startswith("stage")]
    assert blocks == sorted(blocks)


@pytest.mark.skipif(not importlib.util.find_spec("pydot"), reason="needs pydot")
@pytest.mark.parametrize("network, kit", FEW)
def test_the_graph_can_be_drawn(network, kit, tmp_path):
    model, *_ = build(network, kit)
    dot = keras.utils.model_to_dot(model, show_layer_names=True).to_string()
    assert all(f"<b>{layer.name}</b>" in dot for layer in model.layers)
    if shutil.which("dot"):
        keras.utils.plot_model(model, tmp_path / "model.png")
        assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
