"""Small networks and data that the tests of Laplace share."""

import json
import pathlib

import keras
import numpy as np

REFERENCE = json.loads(
    (pathlib.Path(__file__).parents[1] / "laplace" / "reference.json").read_text()
)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")
CLASSES = (X[:, :3] + 0.5 * RNG.normal(size=(40, 3))).argmax(1)
LABELS = (X[:, :2] + 0.5 * RNG.normal(size=(40, 2)) > 0).astype(int)
TARGETS = (X[:, :2] @ [[1.0, -0.5], [0.3, 2.0]] + RNG.normal(size=(40, 2))) / 2
HELD_OUT = RNG.normal(size=(9, 4)).astype("float32")


def network(outputs=3, activation=None, use_bias=True, hidden=5, tail=()):
    """Returns a small network whose features are tanh of something."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    return keras.Sequential(
        [
            keras.Input((4,)),
            dense(hidden, activation="tanh", bias_initializer="normal"),
            dense(
                outputs,
                activation,
                use_bias,
                bias_initializer="normal",
                name="last",
            ),
            *tail,
        ]
    )


def of_reference(case):
    """Returns the network of the reference, and inputs, labels and new inputs."""
    weights = [np.array(x, "float32") for x in case["weights"]]
    model = network(weights[-1].size)
    model.set_weights(weights)
    return model, *(np.array(case[name]) for name in ("x", "y", "x_test"))


def features_of(model, x):
    """Returns what comes into the last layer, and a 1, in NumPy."""
    kernel, bias, *_ = model.get_weights()
    found = np.tanh(np.asarray(x, float) @ kernel.astype(float) + bias)
    return np.concatenate([found, np.ones((len(x), 1))], axis=1)


def last_weights(model):
    """Returns kernel and bias of the last layer, (rows, outputs)."""
    kernel, bias = model.get_weights()[-2:]
    return np.concatenate([kernel, bias[None]]).astype(float)
