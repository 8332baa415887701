"""All draws in one network give what they give one after the other."""

import gc
import weakref

import keras
import numpy as np
import pytest

from tests.helpers.layers import normal
from tfhyper import PosteriorPredictor, layers
from tfhyper.posterior.running import small_batches
from tfhyper.posterior.running.batches import Batches
from tfhyper.posterior.running.loop import predict
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.small_batches import ConcatenatedDraws, UnrolledNetwork

DRAWS = 3
IMAGE = (6, 6, 2)


def block(conv, dense, dropout=None):
    """A network with a residual block, whose layers are of some classes."""
    inputs = keras.Input(IMAGE)
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    x = keras.layers.BatchNormalization()(x)
    y = conv(4, 3, padding="same", activation="relu")(x)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.Add()([x, y if dropout is None else dropout(y)])
    y = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(y))
    return keras.Model(inputs, dense(3)(keras.layers.BatchNormalization()(y)))


def two_outputs():
    inputs = keras.Input(IMAGE)
    x = layers.MCDropout(0.5)(keras.layers.Flatten()(inputs))
    x = layers.HyperDense(5, activation="tanh")(x)
    mean = keras.layers.Dense(1)(x)
    return keras.Model(inputs, [mean, keras.layers.Dense(1, "softplus")(x)])


CONV, DENSE = keras.layers.Conv2D, keras.layers.Dense
NETWORKS = {
    "hyper": lambda: block(layers.HyperConv2D, layers.HyperDense),
    "bayes": lambda: block(layers.BayesConv2D, DENSE),
    "mnf": lambda: block(CONV, layers.MNFDense),
    "mc_dropout": lambda: block(CONV, DENSE, layers.MCDropout(0.4)),
    "sampled": lambda: block(CONV, DENSE, keras.layers.SpatialDropout2D(0.4)),
    "two_outputs": two_outputs,
}
NETWORKS["averages"] = NETWORKS["hyper"]
OPTIONS = {
    "sampled": {"dropout": "sample"},
    "averages": {"batch_norm": "moving_average"},
    "two_outputs": {"outputs": "mean_and_variance"},
}


def make(name, num_draws=DRAWS, **options):
    options = {"seed": 3, **OPTIONS.get(name, {}), **options}
    predictor = PosteriorPredictor(NETWORKS[name](), num_draws, **options)
    if predictor.batch_norm != "moving_average":
        predictor.calibrate(normal(40, *IMAGE, seed=9), verbose=0)
    return predictor


@pytest.fixture(scope="module")
def predictors():
    """Name -> a calibrated predictor."""
    keras.utils.set_random_seed(1)
    return {name: make(name) for name in NETWORKS}


def members_of(prediction):
    found = [prediction.members, getattr(prediction, "member_variance", None)]
    return np.stack([part for part in found if part is not None])


@pytest.mark.parametrize("form", [UnrolledNetwork, ConcatenatedDraws])
@pytest.mark.parametrize("name", NETWORKS)
def test_members_are_those_of_one_draw_after_another(predictors, name, form):
    x, predictor = normal(7, *IMAGE), predictors[name]
    one_by_one = predictor.predict(x)
    expected = members_of(one_by_one)
    assert np.abs(expected[:, 0] - expected[:, 1]).max() > 1e-3
    network = form(predictor.source.point, predictor.source.weights, predictor.draws)
    # Batches of 3, of which the last one is filled up.
    data = Batches("x", x, 3, ModelInputs(predictor.model))
    found, *_ = predict([network], DRAWS, data, predictor.task, True)
    np.testing.assert_allclose(members_of(found), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.mean, one_by_one.mean, rtol=1e-5, atol=1e-5)


@pytest.fixture
def chosen(monkeypatch):
    """The sizes of the batches that went to a network of all draws."""
    form = small_batches.FORMS[keras.backend.backend()]
    monkeypatch.setattr(form, "largest", 4)
    monkeypatch.setattr(form, "pays_after", 3)
    sizes, send = [], form.__call__

    def counted(network, x, first=0):
        sizes.append(len(x))
        return send(network, x, first)

    monkeypatch.setattr(form, "__call__", counted)
    return sizes


def test_the_form_goes_by_the_sizes_of_batches_and_their_number(chosen):
    predictor, x = make("hyper", num_draws=2), normal(6, *IMAGE)
    expected = predictor.predict(x).members
    for count in range(1, 6):
        found = predictor.predict(x[:2]).members
        np.testing.assert_allclose(found, expected[:, :2], atol=1e-5)
        assert len(chosen) == max(0, count - 2)
    chosen.clear()
    for _ in range(5):
        predictor.predict(x)
        predictor.predict(x[:5])
    assert chosen == []
    # As many batches in one call; the last one is filled up.
    scores = predictor.evaluate(x[:5], [0, 1, 2, 0, 1], batch_size=2)
    assert chosen == [2, 2, 2] and 0 <= scores["error"] <= 1
    # A size of its own, as yet of two batches.
    predictor.predict(x[:4], batch_size=1)
    assert chosen == [2, 2, 2, 1, 1, 1, 1]


def test_other_draws_and_other_moments_are_given_to_it(chosen):
    predictor, x = make("hyper", num_draws=2), normal(2, *IMAGE)
    first = [predictor.predict(x).members for _ in range(4)][-1]
    assert len(chosen) == 2
    network = weakref.ref(predictor.source.small_batches.network)

    predictor.calibrate(normal(40, *IMAGE, seed=5), verbose=0)
    gc.collect()
    assert network() is None
    found = [predictor.predict(x).members for _ in range(4)]
    assert len(chosen) == 4
    assert np.abs(found[-1] - first).max() > 1e-3
    np.testing.assert_allclose(found[-1], found[0], atol=1e-5)

    predictor.draws[0] = predictor.draws[1]
    found = [predictor.predict(x).members for _ in range(4)]
    for members in found:
        np.testing.assert_array_equal(members[0], members[1])
    assert len(chosen) == 6


def test_networks_that_a_form_cannot_take_go_one_by_one(chosen, monkeypatch):
    # Moments of each draw, for a BatchNorm that there is once side by side.
    mixed = make("hyper", num_draws=2, batch_norm="minibatch", batch_size=8)
    with pytest.raises(ValueError, match="other moments of BatchNorm"):
        ConcatenatedDraws(mixed.source.point, mixed.source.weights, mixed.draws)
    monkeypatch.setattr(small_batches, "_CONSTANT_BYTES", 1000)
    with pytest.raises(ValueError, match="too many for constants"):
        UnrolledNetwork(mixed.source.point, mixed.source.weights, mixed.draws)
    members = [mixed.predict(normal(2, *IMAGE)).members for _ in range(4)]
    assert chosen == []
    np.testing.assert_array_equal(members[0], members[-1])


def test_a_trained_model_is_refused_as_ever(chosen):
    predictor, x = make("averages", num_draws=2), normal(2, *IMAGE)
    for _ in range(4):
        predictor.predict(x)
    for weight in predictor.model.trainable_variables:
        weight.assign(weight + 1.0)
    with pytest.raises(ValueError, match="The model was trained"):
        predictor.predict(x)
