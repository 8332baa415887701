"""Residual blocks against their formulas, in NumPy; graphs of their shortcuts."""

import keras
import numpy as np
import pytest

from tests.helpers.layers import normal, numpy_conv2d, to_numpy
from tfhyper import kits
from tfhyper.models import blocks

X = normal(2, 6, 5, 4)


def built(block, *args, **options):
    """Returns a block as a model, each BatchNorm with statistics of its own."""
    inputs = keras.Input(X.shape[1:])
    kit = kits.deterministic().for_network()
    outputs = block(kit, inputs, *args, name="block", **options)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    return model


class Reference:
    """The layers of a block by name, computed from their weights."""

    def __init__(self, model):
        self.weights = {
            layer.name.removeprefix("block_"): [to_numpy(w) for w in layer.weights]
            for layer in model.layers
        }

    def conv(self, name, x, strides=1, groups=1):
        (kernel,) = self.weights[name]
        return numpy_conv2d(x, kernel, strides, "same", 1, groups)

    def norm(self, name, x):
        gamma, beta, mean, variance = self.weights[f"{name}_norm"]
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def active(self, name, x):
        return np.maximum(self.norm(name, x), 0)


def padded(x, width, strides, size=1):
    """Means of the pixels there are, size x size from every strides-th; zeros."""
    rows, columns = (range(0, n, strides) for n in x.shape[1:3])
    means = [
        [x[:, i : i + size, j : j + size].mean(axis=(1, 2)) for j in columns]
        for i in rows
    ]
    pooled = np.moveaxis(np.array(means), 2, 0)
    missing = width - x.shape[-1]
    return np.pad(pooled, [(0, 0), (0, 0), (0, 0), (0, missing)])


def assert_computes(model, expected):
    found = model.predict(X, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width, strides", [(4, 1), (6, 2)])
def test_post_activation_block(width, strides):
    model = built(blocks.post_activation_block, width, strides)
    r = Reference(model)
    y = r.active("post1", r.conv("conv1", X, strides))
    y = r.norm("post2", r.conv("conv2", y))
    assert_computes(model, np.maximum(padded(X, width, strides) + y, 0))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("width, strides", [(1, 1), (2, 1), (2, 2)])
def test_post_activation_bottleneck(width, strides, first):
    model = built(
        blocks.post_activation_bottleneck,
        width,
        strides,
        group_width=2,
        groups=3,
        strides_first=first,
    )
    r = Reference(model)
    steps = (strides, 1) if first else (1, strides)
    y = r.active("post1", r.conv("conv1", X, steps[0]))
    assert y.shape[-1] == 6
    y = r.active("post2", r.conv("conv2", y, steps[1], groups=3))
    y = r.norm("post3", r.conv("conv3", y))
    shortcut = X
    if (width, strides) != (1, 1):
        shortcut = r.norm("shortcut", r.conv("shortcut", X, strides))
    assert_computes(model, np.maximum(shortcut + y, 0))


def test_a_bottleneck_without_groups():
    model = built(blocks.post_activation_bottleneck, 2, 1)
    shapes = [model.get_layer(f"block_conv{i}").kernel.shape for i in (1, 2, 3)]
    assert shapes == [(1, 1, 4, 2), (3, 3, 2, 2), (1, 1, 2, 8)]


@pytest.mark.parametrize("width, strides", [(4, 1), (5, 1), (6, 2)])
def test_pyramid_block(width, strides):
    model = built(blocks.pyramid_block, width, strides)
    r = Reference(model)
    y = r.active("pre2", r.conv("conv1", r.norm("pre1", X), strides))
    y = r.norm("post", r.conv("conv2", y))
    assert_computes(model, padded(X, width, strides, strides) + y)


@pytest.mark.parametrize("width, strides", [(1, 1), (2, 2)])
def test_pyramid_bottleneck(width, strides):
    model = built(blocks.pyramid_block, width, strides, bottleneck=True)
    r = Reference(model)
    y = r.active("pre2", r.conv("conv1", r.norm("pre1", X)))
    y = r.active("pre3", r.conv("conv2", y, strides))
    y = r.norm("post", r.conv("conv3", y))
    assert_computes(model, padded(X, 4 * width, strides, strides) + y)


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("width, strides", [(4, 1), (6, 2)])
def test_preact_block(width, strides, after, project):
    options = {"project": project, "split_after_activation": after}
    model = built(blocks.preact_block, width, strides, **options)
    r = Reference(model)
    active = r.active("pre1", X)
    y = r.conv("conv2", r.active("pre2", r.conv("conv1", active, strides)))
    if project and strides == 2:
        shortcut = r.conv("shortcut", active, strides)
    else:
        shortcut = padded(active if after else X, width, strides)
    assert_computes(model, shortcut + y)


@pytest.mark.parametrize("size", [1, 2])
def test_padded_shortcut(size):
    inputs = keras.Input((4, 7, 3))
    outputs = blocks.padded_shortcut(inputs, 5, 2, name="block", pool_size=size)
    x = normal(2, 4, 7, 3)
    found = keras.Model(inputs, outputs).predict(x, verbose=0)
    np.testing.assert_allclose(found, padded(x, 5, 2, size), rtol=1e-5, atol=1e-6)


def test_a_shortcut_that_changes_nothing_has_no_layer():
    inputs = keras.Input((4, 4, 3))
    assert blocks.padded_shortcut(inputs, 3, 1, name="block") is inputs
