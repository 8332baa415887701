"""An exercise: a task that the library has not, in one class and a registry line.

Ordinal regression: K ordered classes from K - 1 logits, P(y > k) = sigmoid(l_k), with
l_k falling in k. P(y = k) is the difference of two neighbours.
"""

import copy

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tfhyper.posterior.tasks import registry
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.posterior.tasks.task import Task, in_float32, only

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype("float32")
Y = np.digitize(X[:, 0], [-0.7, 0.0, 0.7])


class Ordinal(Classification):
    """The task of ordered classes, from the logits of being above each."""

    names = ("ordinal",)
    takes = ()

    def __init__(self, model, outputs="ordinal"):
        Task.__init__(self)
        self.name, self.classes = outputs, model.outputs[0].shape[-1] + 1

    def read(self, raw):
        """Returns the probabilities of the classes, in a tuple."""
        above = 1 / (1 + np.exp(-only(raw).astype("float64")))
        ones = np.ones((len(above), 1))
        steps = np.concatenate([ones, above, 0 * ones], axis=1)
        return ((steps[:, :-1] - steps[:, 1:]).astype("float32"),)

    def tensor(self, raw):
        """Returns what `read` does, of tensors."""
        above = ops.sigmoid(in_float32(only(raw)))
        zeros = ops.zeros_like(above[:, :1])
        steps = ops.concatenate([zeros + 1, above, zeros], axis=1)
        return steps[:, :-1] - steps[:, 1:]


@pytest.fixture
def known(monkeypatch):
    """The registry with one more line."""
    monkeypatch.setattr(registry, "TASKS", [*registry.TASKS, Ordinal])


@keras.saving.register_keras_serializable("tests")
class Falling(keras.layers.Layer):
    """Makes numbers that fall: the first, less sums of the softplus of the others."""

    def call(self, x):
        return ops.concatenate(
            [x[:, :1], x[:, :1] - ops.cumsum(ops.softplus(x[:, 1:]), axis=1)], axis=1
        )


def predictor():
    keras.utils.set_random_seed(0)
    hidden = tfhyper.layers.HyperDense(8, activation="tanh", name="hidden")
    model = keras.Sequential(
        [keras.Input((3,)), hidden, keras.layers.Dense(3), Falling()]
    )
    return tfhyper.PosteriorPredictor(model, num_draws=4, outputs="ordinal")


def by_hand(found):
    """Returns the mean probabilities of the draws as plain Keras networks."""
    means = []
    for i in range(4):
        logits = np.asarray(found.materialize(i)(X), "float64")
        above = np.pad(1 / (1 + np.exp(-logits)), [(0, 0), (1, 1)])
        above[:, 0] = 1
        means.append(-np.diff(above, axis=1))
    return np.mean(means, axis=0)


def test_it_predicts_and_scores(known):
    found = predictor()
    prediction = found.predict(X)
    expected = by_hand(found)
    np.testing.assert_allclose(prediction.mean, expected, atol=1e-6)
    scores = found.evaluate(X, Y)
    assert scores["error"] == pytest.approx(np.mean(expected.argmax(1) != Y))
    nll = -np.log(expected[np.arange(60), Y]).mean()
    assert scores["nll"] == pytest.approx(nll, rel=1e-5)
    assert found.predict_anytime(X, min_draws=4).mean.shape == (60, 4)
    found.fit_rejection(X, coverage=0.5)
    assert np.mean(found.predict(X).rejected) == pytest.approx(0.5)


def test_it_is_saved_copied_and_exported(known, tmp_path):
    tf = pytest.importorskip("tensorflow")
    found = predictor()
    expected = found.predict(X)
    path = str(tmp_path / "ordinal.tfhyper")
    found.save(path)
    for again in (tfhyper.PosteriorPredictor.load(path), copy.deepcopy(found)):
        assert again.outputs == "ordinal"
        np.testing.assert_array_equal(again.predict(X).members, expected.members)
    average = found.materialize_average()
    np.testing.assert_allclose(average.predict(X), expected.mean, atol=1e-6)
    tfhyper.export.saved_model(found, str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    outputs = served(inputs=tf.constant(X))
    np.testing.assert_allclose(outputs["probabilities"], expected.mean, atol=1e-6)
    np.testing.assert_array_equal(outputs["class"], expected.label)


def test_it_is_unknown_without_its_line():
    with pytest.raises(ValueError, match="`outputs` must be one of"):
        predictor()
