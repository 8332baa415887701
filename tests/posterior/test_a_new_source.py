"""An exercise: a source of draws that the library has not, in one file.

Weights that were kept along one training: each epoch's are a draw, of all variables.
"""

import copy

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper.posterior import Draw, PointNetwork, archive
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.draw_settings import DrawSettings
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.weight_cache import DrawnWeights
from tfhyper.posterior.tasks.registry import make_task

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype("float32")
Y = (X[:, 0] > X[:, 1]).astype(int)


class WeightNetwork(PointNetwork):
    """A plain network all of whose weights a draw fixes."""

    def check_draw(self, draw):
        """Raises ValueError if the draw has other weights."""
        if set(draw.noise) != set(map(str, range(len(self.model.weights)))):
            raise ValueError("The draw was made for another network.")

    def weights_of_draws(self, draws):
        """Yields layers, and the weights that each draw has there."""
        places = {id(x): str(i) for i, x in enumerate(self.model.weights)}
        for original, layer in self.pairs():
            names = [places[id(x)] for x in original.weights]
            if names:
                yield layer, [[draw.noise[name] for name in names] for draw in draws]

    @property
    def drawn_bytes(self):
        """How many bytes the weights of one draw have."""
        return 4 * self.network.count_params()


class KeptWeights:
    """A source of draws: sets of weights of one model."""

    draws_in_row = 1

    def __init__(self, model, weight_sets):
        self.model, self.inputs = model, ModelInputs(model)
        self.num_draws = len(weight_sets)
        self.settings = DrawSettings(self.num_draws, batch_norm="moving_average")
        self.point = WeightNetwork(model)
        self.weights = DrawnWeights(self.point)
        # By their place: a model that is loaded may have other names for them.
        self.draws = [
            Draw({str(i): value for i, value in enumerate(weights)})
            for weights in weight_sets
        ]

    def runs(self, data=None):
        return self.weights.runs(self.draws)

    def networks(self):
        return [(self.point, draw) for draw in self.draws]

    def materialize(self, index):
        point = WeightNetwork(self.model)
        point.set(self.draws[index])
        return point.network

    def estimate_batch_norm(self, inputs, batch_size, verbose):
        raise ValueError("The weights that were kept have averages of their own.")

    def held_models(self):
        return [self.model]

    models = held_models

    def set_draws(self, draws):
        for draw in draws:
            self.point.check_values(draw)
        self.draws = draws


class SnapshotPredictor(BasePredictor):
    """A predictor over them."""

    kind = "SnapshotPredictor"

    def __init__(self, model, weight_sets, outputs=None, rejection=None):
        source = KeptWeights(model, weight_sets)
        super().__init__(source, make_task(model, outputs), rejection)

    @classmethod
    def of_models(cls, models, settings):
        """Returns a predictor whose draws are given later."""
        sets = [models[0].get_weights()] * settings["num_draws"]
        return cls(models[0], sets, settings["outputs"], settings["rejection"])


@pytest.fixture(scope="module")
def trained():
    """A small network, and its weights after each of three epochs."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    kept = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: kept.append(model.get_weights())
    )
    model.fit(X, Y, epochs=3, batch_size=16, verbose=0, callbacks=[keep])
    return model, kept


@pytest.fixture
def known(monkeypatch):
    """The registry of files with one more line."""
    monkeypatch.setitem(archive.FORMATS, "SnapshotPredictor", "tfhyper snapshots 1")


def test_the_prediction_is_the_mean_over_the_weights(trained):
    model, kept = trained
    members = []
    for weights in kept:
        model.set_weights(weights)
        members.append(model.predict(X, verbose=0))
    predictor = SnapshotPredictor(model, kept)
    found = predictor.predict(X)
    assert np.ptp(members, axis=0).max() > 0.01
    np.testing.assert_allclose(found.members, members, atol=1e-6)
    np.testing.assert_allclose(found.mean, np.mean(members, axis=0), atol=1e-6)
    error = np.mean(np.mean(members, axis=0).argmax(1) != Y)
    assert predictor.evaluate(X, Y)["error"] == pytest.approx(error)
    network = predictor.materialize(1)
    np.testing.assert_allclose(network.predict(X, verbose=0), members[1], atol=1e-6)
    average = predictor.materialize_average().predict(X, verbose=0)
    np.testing.assert_allclose(average, found.mean, atol=1e-6)


def test_it_is_saved_copied_and_exported(trained, known, tmp_path):
    tf = pytest.importorskip("tensorflow")
    model, kept = trained
    predictor = SnapshotPredictor(model, kept)
    predictor.fit_rejection(X, coverage=0.5)
    expected = predictor.predict(X)
    path = str(tmp_path / "kept.tfhyper")
    predictor.save(path)
    for again in (SnapshotPredictor.load(path), copy.deepcopy(predictor)):
        found = again.predict(X)
        np.testing.assert_array_equal(found.members, expected.members)
        np.testing.assert_array_equal(found.rejected, expected.rejected)
    tfhyper.export.saved_model(predictor, str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["members"]
    found = served(inputs=tf.constant(X))["members"].numpy()
    np.testing.assert_allclose(found.swapaxes(0, 1), expected.members, atol=1e-6)
