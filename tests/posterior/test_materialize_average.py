"""One plain network that gives what the predictor gives."""

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper import kits, layers, models

X = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype("float32")


def trunk():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    return inputs, layers.HyperDense(8, activation="relu")(inputs)


@pytest.mark.parametrize("form", ["branching", "widening"])
@pytest.mark.parametrize("link", ["softmax", "normalized_softplus"])
def test_class_probabilities(form, link, tmp_path):
    keras.utils.set_random_seed(0)
    kit = kits.hyper("block_wise", "normal", mean_kernel=False)
    model = models.wide_resnet(10, 1, num_classes=4, input_shape=(8, 8, 3), kit=kit)
    predictor = tfhyper.PosteriorPredictor(model, 3, form, link=link)
    predictor.calibrate(X, verbose=0)
    average = predictor.materialize_average()
    average.save(tmp_path / "average.keras")
    plain = keras.saving.load_model(tmp_path / "average.keras")
    expected = predictor.predict(X).mean
    np.testing.assert_allclose(plain.predict(X, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("heads", ["mean", "one", "two"])
def test_mean_and_variance(heads):
    inputs, x = trunk()
    mean = keras.layers.Dense(1)(x)
    variance = keras.layers.Dense(1, activation="softplus")(x)
    outputs = {
        "mean": mean,
        "one": keras.layers.Concatenate()([mean, variance]),
        "two": [mean, variance],
    }[heads]
    options = {"outputs": "mean_and_variance"}
    if heads == "mean":
        options = {"outputs": "mean", "noise_variance": 0.25}
    predictor = tfhyper.PosteriorPredictor(keras.Model(inputs, outputs), 4, **options)
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = predictor.materialize_average().predict(rows, verbose=0)
    expected = predictor.predict(rows)
    np.testing.assert_allclose(found[0][:, 0], expected.mean, rtol=1e-5)
    np.testing.assert_allclose(found[1][:, 0], expected.variance, rtol=1e-4)


def test_of_networks_that_were_trained_apart():
    networks = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        networks.append(
            keras.Sequential(
                [keras.Input((3,)), keras.layers.Dense(4, activation="softmax")]
            )
        )
    ensemble = tfhyper.DeepEnsemble(networks)
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = ensemble.materialize_average().predict(rows, verbose=0)
    expected = np.mean([net.predict(rows, verbose=0) for net in networks], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
