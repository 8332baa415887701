"""Every change of any weight is noticed, and nothing else is."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper
from tfhyper import DeepEnsemble, PosteriorPredictor
from tfhyper.posterior.running.fingerprint import Fingerprint

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = np.arange(32) % 3


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            *[L.Dense(7, activation="relu") for _ in range(9)],
            L.Dense(40),
            L.BatchNormalization(),
            tfhyper.layers.BayesDense(80),
            L.Dense(3),
        ]
    )


def predictor_of(model, **options):
    return PosteriorPredictor(model, num_draws=2, **options).calibrate(X, verbose=0)


def floats(model):
    return [x for x in model.weights if "float" in x.dtype]


@pytest.mark.parametrize("scale", [1e-6, 1.0])
def test_a_change_of_one_number_of_any_weight_is_noticed(scale):
    model = network()
    own = ("moving_mean", "moving_variance", "kl_factor")
    variables = [x for x in floats(model) if x.name not in own]
    assert len(variables) > 20
    predictor = predictor_of(model)
    predictor.predict(X)
    for variable in variables:
        value = np.array(variable)
        changed = value.copy()
        changed.flat[-1] += scale * (1 + abs(changed.flat[-1]))
        variable.assign(changed)
        with pytest.raises(ValueError, match=f"was trained.*{variable.path}"):
            predictor.predict(X)
        variable.assign(value)
        predictor.predict(X)  # it is as it was


def test_fine_tuning_a_head_is_noticed_and_calibrating_takes_its_weights():
    model = network()
    predictor = predictor_of(model)
    before = predictor.predict(X).mean
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.layers[-1].trainable = True
    model.fit(X, Y, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="was trained"):
        predictor.predict(X)
    for call in (predictor.materialize, predictor.materialize_average):
        with pytest.raises(ValueError, match="was trained"):
            call()
    predictor.calibrate(X, verbose=0)
    assert np.abs(predictor.predict(X).mean - before).max() > 1e-6


def test_what_is_no_weight_of_a_draw_is_not_noticed():
    model = network()
    predictor = predictor_of(model)
    before = predictor.predict(X).mean
    model(X, training=True)  # moving averages, counts of draws
    model(X)
    model.predict(X, verbose=0)
    model.set_weights(model.get_weights())  # the same values, elsewhere
    for layer in tfhyper.layers.variational_layers(model):
        layer.kl_factor.assign(0.5)
    np.testing.assert_array_equal(predictor.predict(X).mean, before)


def test_moving_averages_are_noticed_where_they_predict():
    model = network()
    predictor = PosteriorPredictor(model, num_draws=2, batch_norm="moving_average")
    predictor.predict(X)
    model(X, training=True)
    with pytest.raises(ValueError, match="was trained.*moving_mean"):
        predictor.predict(X)


def test_an_ensembles_models_are_looked_at(tmp_path):
    models = [network(), network()]
    ensemble = DeepEnsemble(models)
    ensemble.predict(X)
    models[1].layers[-1].bias.assign([0.0, 1e-3, 0.0])
    with pytest.raises(ValueError, match=r"model was trained.*models\[1\]"):
        ensemble.predict(X)
    paths = [str(tmp_path / f"{i}.keras") for i in range(2)]
    for path, model in zip(paths, models, strict=True):
        model.save(path)
    ensemble = DeepEnsemble(paths)
    ensemble.predict(X)
    models[0].layers[-1].bias.assign([0.0, 1e-3, 0.0])
    models[0].save(paths[0])
    with pytest.raises(ValueError, match=r"file was written.*models\[0\]"):
        ensemble.predict(X)


def test_looking_reads_no_weights_as_long_as_none_is_written(monkeypatch):
    model = network()
    fingerprint = Fingerprint(model)
    read = []

    def noted(value):
        read.append(value)
        return np.array(value)

    monkeypatch.setattr(keras.ops, "convert_to_numpy", noted)
    assert fingerprint.changed() == []
    assert not read
    model.layers[0].kernel.assign(model.layers[0].kernel + 1)
    assert fingerprint.changed() == [model.layers[0].kernel.path]
    assert len(read) == 1


def test_a_predictor_that_is_gone_leaves_nothing_in_its_model():
    model = network()
    predictor = predictor_of(model)
    predictor.predict(X)
    gone = weakref.ref(predictor)
    network_of_draws = weakref.ref(predictor.materialize(0))
    del predictor
    gc.collect()
    assert gone() is None and network_of_draws() is None
