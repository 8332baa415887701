"""Small networks whose layers draw, and what a predictor of them must give."""

import os

import keras
import numpy as np
import scipy.special

import tfhyper
from tfhyper import kits, layers, models
from tfhyper.posterior import PosteriorPredictor

IMAGE = (8, 8, 1)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(tfhyper.__file__)))
BN = keras.layers.BatchNormalization
numpy = keras.ops.convert_to_numpy


def images(size=10, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, *IMAGE)).astype("float32")


def randomise(model):
    """Gives BatchNorm and biases values that no layer starts with."""
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, BN):
            layer.set_weights(
                [rng.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()]
            )
    return model


def hyper_resnet(sharing="all_in_one"):
    keras.utils.set_random_seed(0)
    # Wide enough that no code makes a kernel of zeros.
    kit = kits.hyper(sharing, "normal", code_units=4, hidden_units=16, seed=3)
    return randomise(
        models.wide_resnet(10, 1, num_classes=3, input_shape=IMAGE, kit=kit)
    )


def small_network(head=None):
    """Conv, BatchNorm, logits; quick to build."""
    keras.utils.set_random_seed(0)
    tail = [keras.layers.Dense(3)] if head is None else head
    return randomise(
        keras.Sequential(
            [
                keras.Input(IMAGE),
                layers.HyperConv2D(4, 3, code_units=4, hidden_units=16, seed=5),
                BN(name="norm"),
                keras.layers.ReLU(),
                keras.layers.GlobalAveragePooling2D(),
                *tail,
            ]
        )
    )


def calibrated(model=None, x=None, **options):
    options = {"num_draws": 3, **options}
    predictor = PosteriorPredictor(model or small_network(), **options)
    return predictor.calibrate(images(20) if x is None else x, verbose=0)


def next_code(layer):
    """The code a layer draws next at inference, by a twin in the same state."""
    twin = layers.LatentCode.from_config(layer.get_config())
    twin.build((None, 1))
    twin.draws.assign(layer.draws)
    return keras.ops.convert_to_numpy(twin(np.zeros((2, 1)), training=False))


def assert_draw_is_model(model, data):
    """One draw with the code that layer `hyper` draws next predicts as the model."""
    predictor = PosteriorPredictor(model, num_draws=1)
    code = next_code(model.get_layer("hyper").latent_code)
    predictor.draws[0].noise = {"hyper": code}
    members = predictor.predict(data).members
    expected = softmax(model(data, training=False))
    np.testing.assert_allclose(members[0], expected, atol=1e-5)
    return predictor


def softmax(logits):
    return scipy.special.softmax(numpy(logits).astype(np.float64), axis=-1)


def gaussian_network():
    keras.utils.set_random_seed(0)
    options = {"initial_scale": 1.0, "bias_posterior": "gaussian", "seed": 1}
    inputs = keras.Input((6,))
    x = layers.BayesDense(5, name="one", bias_initializer="ones", **options)(inputs)
    x = keras.layers.ReLU()(BN(name="norm", epsilon=1e-3)(x))
    x = layers.BayesDense(3, name="two", **options)(layers.Dropout(0.5)(x))
    return randomise(keras.Model(inputs, x))
