"""What the tests of pruning need: small networks, and what must not change."""

import keras
import numpy as np

from tests.helpers.layers import to_numpy
from tfhyper import layers

IMAGE = (8, 8, 3)


def randomise(model, seed=0):
    """Gives every float weight a value that no layer starts with."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "float" not in weight.dtype or weight.name in ("kl_factor", "kernel_mask"):
            continue
        low, high = (0.5, 2.0) if "variance" in weight.name else (-1.0, 1.0)
        if weight.name.endswith("rho"):
            low, high = -4.0, -1.0
        weight.assign(rng.uniform(low, high, weight.shape))
    return model


def images(size=6, seed=0, shape=IMAGE):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, *shape)).astype("float32")


def plain_network():
    """Convolution, BatchNorm, pooling, Flatten and two dense layers."""
    return randomise(
        keras.Sequential(
            [
                keras.Input(IMAGE),
                keras.layers.Conv2D(6, 3, activation="relu", name="conv"),
                keras.layers.BatchNormalization(name="norm"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(5, activation="tanh", name="hidden"),
                keras.layers.Dense(3, name="logits"),
            ]
        )
    )


def bayes_network(**options):
    options = {"kl_weight": 0.01, "seed": 1, **options}
    return randomise(
        keras.Sequential(
            [
                keras.Input(IMAGE),
                layers.BayesConv2D(
                    6, 3, activation="relu", name="conv", **{**options, "seed": 2}
                ),
                keras.layers.BatchNormalization(name="norm"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                layers.BayesDense(5, activation="tanh", name="hidden", **options),
                keras.layers.Dense(3, name="logits"),
            ]
        )
    )


def values(model):
    """Returns copies of all variables, random states too."""
    return [to_numpy(variable).copy() for variable in model.variables]


def assert_untouched(model, before):
    for value, old in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(value, old)


def weight(model, layer, name):
    (found,) = [w for w in model.get_layer(layer).weights if w.name == name]
    return to_numpy(found)
