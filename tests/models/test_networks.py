"""Every network with every kit: gradients, files, mixed precision."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.kits import make_kit
from tfhyper import training
from tfhyper.kits import KITS
from tfhyper.layers import Dropout, StochasticLayer
from tfhyper.models import NETWORKS

PLAIN = {"width_multiplier": 0.25, "num_classes": 4, "input_shape": (32, 32, 3)}
# Every network at its smallest; a new one in the registry has to be added here.
SMALLEST = {
    "alexnet": PLAIN,
    "lenet5": PLAIN,
    "resnet_cifar": {"depth": 8, "num_classes": 4, "input_shape": (8, 8, 3)},
    "wide_resnet": {
        "depth": 10,
        "width": 1,
        "num_classes": 4,
        "input_shape": (8, 8, 3),
        "dropout": 0.2,
    },
}
Y = np.arange(6) % 4


def test_every_network_is_tested():
    assert SMALLEST.keys() == NETWORKS.keys()


@pytest.fixture(params=KITS)
def kit(request):
    return make_kit(request.param)


@pytest.fixture(params=NETWORKS)
def build(request):
    return lambda kit: NETWORKS[request.param](kit=kit, **SMALLEST[request.param])


def images(model):
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, *model.input_shape[1:])).astype("float32")


def test_every_trainable_weight_gets_a_gradient(build, kit):
    model = build(kit)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    before = [ops.convert_to_numpy(w).copy() for w in model.trainable_weights]
    # The loss includes the KL divergences.
    assert np.isfinite(model.train_on_batch(images(model), Y))
    for weight, value in zip(model.trainable_weights, before, strict=True):
        gradient = value - ops.convert_to_numpy(weight)
        assert np.isfinite(gradient).all(), weight.path
        assert np.abs(gradient).max() > 0, weight.path


def test_saved_network_predicts_the_same(build, kit, tmp_path):
    model = build(kit)
    # A small rate: a network that collapses predicts the same with every draw.
    training.compile_recipe(model, 1, 2, learning_rate=1e-3, jit_compile=False)
    x = images(model)
    model.fit(x, Y, batch_size=3, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    draws = []
    for _ in range(2):
        draws.append(model.predict(x, verbose=0))
        np.testing.assert_array_equal(copy.predict(x, verbose=0), draws[-1])
    stochastic = any(
        isinstance(layer, StochasticLayer) and not isinstance(layer, Dropout)
        for layer in model.layers
    )
    assert stochastic == (kit.name != "deterministic")
    assert stochastic != np.array_equal(*draws)


def test_one_step_in_mixed_precision(build, kit):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(kit)
    finally:
        keras.config.set_dtype_policy(before)
    training.compile_recipe(model, epochs=1, steps_per_epoch=1, jit_compile=False)
    weights = [w.copy() for w in model.get_weights()]
    loss, *_ = model.train_on_batch(images(model), Y)
    assert np.isfinite(loss)
    trainable = {w.path for w in model.trainable_weights}
    assert {w.dtype for w in model.trainable_weights} == {"float32"}
    for variable, old in zip(model.weights, weights, strict=True):
        new = ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), variable.path
        if variable.path in trainable:
            assert not np.array_equal(new, old), variable.path
    outputs = model(images(model))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    convs = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert {conv.compute_dtype for conv in convs} == {"bfloat16"}
