"""The warning of generated kernels that BatchNorm's moving averages would judge."""

import warnings

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper import layers
from tfhyper.layers import MovingAveragesWarning

BN = keras.layers.BatchNormalization
ON_JAX = keras.backend.backend() == "jax"
UNITS = {"hidden_units": 4, "code_units": 2}
X = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
Y = np.arange(12) % 3


def hyper(units=3, **options):
    return layers.HyperDense(units, **UNITS, **options)


def sequential(*stack):
    return keras.Sequential([keras.Input((5,)), *stack])


def norm_behind():
    return sequential(hyper(), BN(), keras.layers.ReLU(), hyper())


def branches():
    """BatchNorm behind a sum of a plain and a generated branch."""
    x = keras.Input((5,))
    y = keras.layers.Add()([keras.layers.Dense(3)(x), hyper()(x)])
    return keras.Model(x, keras.layers.Dense(3)(BN()(keras.ops.relu(y))))


def norm_in_nested_model():
    return sequential(hyper(4), keras.Sequential([keras.Input((4,)), BN()]))


def shared_code():
    x = keras.Input((5,))
    code = layers.LatentCode(2)(x)
    return keras.Model(x, hyper()(BN()(hyper()(x, code)), code))


def kernel_in_nested_model():
    return sequential(keras.Sequential([keras.Input((5,)), hyper()]), BN())


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.norm = hyper(), BN()

    def call(self, inputs, training=None):
        return self.norm(self.first(inputs, training=training), training=training)


def norm_before():
    return sequential(BN(), hyper())


def norm_beside():
    """BatchNorm in another branch."""
    x = keras.Input((5,))
    y = keras.layers.Add()([BN()(keras.layers.Dense(3)(x)), hyper()(x)])
    return keras.Model(x, y)


def frozen_norm():
    return sequential(hyper(), BN(trainable=False))


def norm_of_its_own_statistics():
    x = keras.Input((5,))
    return keras.Model(x, BN()(hyper()(x), training=False))


def other_norms():
    return sequential(hyper(), keras.layers.LayerNormalization(), hyper())


def before_the_norm():
    """The features of a network whose BatchNorm comes later."""
    model = norm_behind()
    return keras.Model(model.inputs, model.layers[0].output)


def plain_kernels():
    return sequential(keras.layers.Dense(3), BN())


def gaussian_kernels():
    return sequential(layers.BayesDense(3, kl_weight=0.0), BN())


def compiled(make):
    keras.utils.set_random_seed(0)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    "make",
    [
        norm_behind,
        branches,
        norm_in_nested_model,
        shared_code,
        pytest.param(
            kernel_in_nested_model, marks=pytest.mark.skipif(ON_JAX, reason="unknown")
        ),
        pytest.param(Subclass, marks=pytest.mark.skipif(ON_JAX, reason="unknown")),
    ],
)
def test_a_network_that_is_evaluated_by_moving_averages_warns_once(make):
    model = compiled(make)
    with pytest.warns(MovingAveragesWarning, match="PosteriorValidation") as found:
        model.evaluate(X, Y, verbose=0)
        model.predict(X, verbose=0)
    assert len([w for w in found if w.category is MovingAveragesWarning]) == 1


def test_validation_in_fit_warns_and_training_does_not():
    for _ in range(2):  # each model once
        model = compiled(norm_behind)
        with warnings.catch_warnings():
            warnings.simplefilter("error", MovingAveragesWarning)
            model.fit(X, Y, epochs=1, verbose=0)
        with pytest.warns(MovingAveragesWarning) as found:
            model.fit(X, Y, epochs=2, validation_data=(X, Y), verbose=0)
        assert len([w for w in found if w.category is MovingAveragesWarning]) == 1


@pytest.mark.parametrize(
    "make",
    [
        norm_before,
        norm_beside,
        frozen_norm,
        norm_of_its_own_statistics,
        other_norms,
        pytest.param(
            before_the_norm, marks=pytest.mark.skipif(ON_JAX, reason="unknown")
        ),
        plain_kernels,
        gaussian_kernels,
    ],
)
@pytest.mark.filterwarnings("error::tfhyper.layers.MovingAveragesWarning")
def test_a_network_without_such_a_norm_does_not_warn(make):
    compiled(make).evaluate(X, Y, verbose=0)


@pytest.mark.filterwarnings("error::tfhyper.layers.MovingAveragesWarning")
def test_predictions_and_copies_do_not_warn(tmp_path):
    model = compiled(norm_behind)
    model.fit(X, Y, epochs=1, verbose=0)
    predictor = tfhyper.PosteriorPredictor(model, num_draws=2)
    predictor.calibrate(X, verbose=0)
    predictor.evaluate(X, Y)
    predictor.materialize(0).predict(X, verbose=0)
    predictor.materialize_average().predict(X, verbose=0)
    predictor.save(tmp_path / "it.tfhyper")
    tfhyper.PosteriorPredictor.load(tmp_path / "it.tfhyper").predict(X)
    if keras.backend.backend() == "tensorflow":
        tfhyper.export.saved_model(predictor, tmp_path / "exported", form="generator")
    model.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras")
    keras.models.clone_model(model)
    tfhyper.convert(compiled(plain_kernels), tfhyper.kits.hyper())
    # By statistics of the batch, as in training, there is nothing to warn of.
    model(X, training=True)


@pytest.mark.parametrize("batch", ["whole", "divided"])
def test_members_that_were_trained_apart_are_warned_of(batch):
    layers_ = [
        keras.Input((4,)),
        layers.RankOneDense(3, members=2, batch=batch),
        keras.layers.BatchNormalization(),
    ]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", MovingAveragesWarning)
        keras.Sequential(layers_)(np.ones((2, 4), "float32"))
    kinds = [
        w.category for w in found if "factors of several members" in str(w.message)
    ]
    assert kinds == ([MovingAveragesWarning] if batch == "whole" else [])
