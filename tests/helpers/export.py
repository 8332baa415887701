"""What the tests of exported models need."""

import keras
import numpy as np
import tensorflow as tf

import tfhyper
from tests.helpers.kits import make_kit

IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")
ROWS = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
# Name in a signature -> name in a Prediction, where they differ.
NAMES = {"probabilities": "mean"}


def small_network(kit, **options):
    """Returns WRN-10-1 for `IMAGES` with a kit, by its name, and calibrated draws."""
    keras.utils.set_random_seed(0)
    return tfhyper.models.wide_resnet(
        10, 1, num_classes=4, input_shape=(8, 8, 3), kit=make_kit(kit), **options
    )


def dense_network(kit):
    """Returns a small network for `ROWS` with a kit, by its name."""
    keras.utils.set_random_seed(0)
    plain = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(4),
        ]
    )
    if kit == "deterministic":
        return plain
    options = {"mean_kernel": True} if kit == "hyper" else {}
    return tfhyper.convert(plain, make_kit(kit, **options))


def calibrated(model, num_draws=3, averaging="branching", **options):
    predictor = tfhyper.PosteriorPredictor(model, num_draws, averaging, **options)
    return predictor.calibrate(IMAGES, verbose=0)


def run(path, name="serving_default", **inputs):
    """Returns what a signature of a file gives, as arrays."""
    function = tf.saved_model.load(str(path)).signatures[name]
    found = function(**{key: tf.constant(value) for key, value in inputs.items()})
    return {key: value.numpy() for key, value in found.items()}


def assert_same(found, prediction, atol=1e-5):
    """Compares what serving_default gave with a prediction of the predictor."""
    for name, value in found.items():
        if name == "class":
            np.testing.assert_array_equal(value, prediction.mean.argmax(-1))
        else:
            expected = getattr(prediction, NAMES.get(name, name))
            np.testing.assert_allclose(value, expected, atol=atol, err_msg=name)
