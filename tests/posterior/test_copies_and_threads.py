"""Copies of predictors, and predictors that several threads use."""

import copy
import io
import pickle
import threading

import joblib
import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper
from tests.helpers.many_models import Scaled, relu
from tfhyper import DeepEnsemble, PosteriorPredictor

X = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")


def network(seed=0, units=3):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            tfhyper.layers.BayesDense(8),
            L.BatchNormalization(),
            L.ReLU(),
            L.Dense(units),
        ]
    )


def by_joblib(value):
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "joblib": by_joblib,
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_a_predictor_give_the_same(name):
    predictor = PosteriorPredictor(network(), num_draws=3, seed=5)
    predictor.calibrate(X, verbose=0)
    predictor.fit_rejection(X, coverage=0.5)
    found = COPIES[name](predictor)
    expected = predictor.predict(X)
    prediction = found.predict(X)
    np.testing.assert_allclose(prediction.members, expected.members, atol=1e-7)
    np.testing.assert_array_equal(prediction.rejected, expected.rejected)
    assert found.settings == predictor.settings
    # And goes its own way.
    found.model.layers[-1].bias.assign([1.0, 0.0, 0.0])
    found.calibrate(X + 1, verbose=0)
    np.testing.assert_array_equal(predictor.predict(X).members, expected.members)


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_a_predictor_before_its_calibration(name):
    found = COPIES[name](PosteriorPredictor(network(), num_draws=2))
    with pytest.raises(ValueError, match="Call `estimate_batch_norm"):
        found.predict(X)


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_an_ensemble_give_the_same(name, tmp_path):
    path = str(tmp_path / "one.keras")
    network(1).save(path)
    ensemble = DeepEnsemble([network(0), path], 2, batch_norm="reestimate")
    ensemble.calibrate(X, verbose=0)
    found = COPIES[name](ensemble).predict(X).members
    np.testing.assert_allclose(found, ensemble.predict(X).members, atol=1e-7)


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_predictions(name):
    predictor = PosteriorPredictor(network(), num_draws=3).calibrate(X, verbose=0)
    prediction = predictor.predict(X)
    found = COPIES[name](prediction)
    for field in ("mean", "members", "total", "epistemic"):
        np.testing.assert_array_equal(getattr(found, field), getattr(prediction, field))
    np.testing.assert_array_equal(found.variance.total, prediction.variance.total)
    model = network(units=1)
    regression = PosteriorPredictor(model, num_draws=3, outputs="mean")
    regression = regression.calibrate(X, verbose=0).predict(X)
    np.testing.assert_array_equal(COPIES[name](regression).std, regression.std)


# Layers that are used, and not copied.


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def own_layers():
    scaled = Scaled()
    scaled.factor = 3.0
    return {
        "lambda": [L.Lambda(lambda x: 2 * x)],
        "a function by a name of Keras'": [L.Dense(6, activation=relu)],
        "a lambda as activation": [L.Dense(6, activation=lambda x: x**2)],
        "an attribute set later": [scaled],
        "in a recurrent layer": [L.Reshape((2, 3)), L.LSTM(6, activation=relu)],
        "nested": [keras.Sequential([keras.Input((6,)), L.Dense(6, activation=relu)])],
    }


@pytest.mark.parametrize("name", own_layers())
@pytest.mark.parametrize(
    "what", ["predict", "deepcopy", "ensemble", "convert", "prune", "average"]
)
def test_layers_that_no_config_describes_work(name, what):
    keras.utils.set_random_seed(0)
    dense = L.Dense(3)
    model = keras.Sequential([keras.Input((6,)), *own_layers()[name], dense])
    for variable in model.weights:
        variable.assign(variable + 0.1)
    expected = softmax(model.predict(X, verbose=0))
    if what == "predict":
        found = PosteriorPredictor(model).predict(X).mean
    elif what == "deepcopy":
        found = copy.deepcopy(PosteriorPredictor(model)).predict(X).mean
    elif what == "ensemble":
        found = copy.deepcopy(DeepEnsemble([model])).predict(X).mean
    elif what == "average":
        average = PosteriorPredictor(model).materialize_average()
        found = average.predict(X, verbose=0)
    elif what == "convert":
        kit = tfhyper.kits.bayes(100, initial_scale=1e-6)
        keep = [x.name for x in model.layers if x is not dense]
        converted = tfhyper.convert(model, kit, keep=keep)
        found = PosteriorPredictor(converted, deterministic=True).predict(X).mean
    else:
        pruned = tfhyper.pruning.prune(model, threshold=0.0)
        found = softmax(pruned.predict(X, verbose=0))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The model is as it was.
    np.testing.assert_allclose(softmax(model.predict(X, verbose=0)), expected)


@pytest.mark.parametrize("name", own_layers())
def test_layers_that_no_config_describes_are_neither_saved_nor_pickled(name, tmp_path):
    model = keras.Sequential([keras.Input((6,)), *own_layers()[name], L.Dense(3)])
    for owner in (PosteriorPredictor(model), DeepEnsemble([model])):
        with pytest.raises(ValueError, match="cannot be saved: its config.*Received"):
            owner.save(str(tmp_path / "a.tfhyper"))
        with pytest.raises(ValueError, match="cannot be saved: its config.*Received"):
            pickle.dumps(owner)
    assert not list(tmp_path.iterdir())


def test_layers_of_users_with_a_whole_config_are_copied():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), Scaled(), L.Dense(3)])
    plain = PosteriorPredictor(model).materialize(0)
    assert plain.layers[1] is not model.layers[0]
    model.layers[0].scale.assign(np.full(6, 7.0))
    assert np.array(plain.layers[1].scale).max() == 1


# Threads.


def run(*functions):
    """Runs functions at once, each in a thread; raises what they raise."""
    errors = []

    def guarded(function):
        try:
            function()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_two_calibrations_at_once_leave_the_moments_of_one():
    model, data = network(), [X, 5 * X + 1]
    alone = []
    for x in data:
        predictor = PosteriorPredictor(model, num_draws=4).calibrate(x, verbose=0)
        alone.append([draw.moments for draw in predictor.draws])
    for _ in range(5):
        predictor = PosteriorPredictor(model, num_draws=4)
        run(*[lambda x=x: predictor.calibrate(x, 4, verbose=0) for x in data])
        found = [draw.moments for draw in predictor.draws]
        differences = [
            max(
                np.abs(np.subtract(one[name], other[name])).max()
                for one, other in zip(found, expected, strict=True)
                for name in one
            )
            for expected in alone
        ]
        assert min(differences) < 1e-4 and max(differences) > 0.1


def test_predictions_beside_a_calibration_are_those_before_or_after():
    predictor = PosteriorPredictor(network(), num_draws=4)
    predictor.calibrate(X, verbose=0)
    before = predictor.predict(X).members
    after = copy.deepcopy(predictor).calibrate(3 * X + 1, verbose=0).predict(X).members
    assert np.abs(before - after).max() > 1e-2
    found, done = [], threading.Event()

    def predict():
        while not done.is_set():
            found.append(predictor.predict(X).members)

    def calibrate():
        try:
            for _ in range(3):
                predictor.calibrate(3 * X + 1, 2, verbose=0)
                predictor.calibrate(X, 2, verbose=0)
        finally:
            done.set()

    run(predict, predict, calibrate)
    assert len(found) > 2
    for members in found:
        errors = [np.abs(members - one).max() for one in (before, after)]
        assert min(errors) < 1e-3, errors


def test_data_that_calibrate_what_reads_them_are_an_error():
    predictor = PosteriorPredictor(network(), num_draws=2)

    class Data:
        def __iter__(self):
            predictor.calibrate(X, verbose=0)
            yield X

    with pytest.raises(RuntimeError, match="`estimate_batch_norm` must not be called"):
        predictor.calibrate(Data(), verbose=0)
    predictor.calibrate(X, verbose=0)
