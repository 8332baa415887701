"""Stock dropout that is on in prediction: masks of a draw, fixed by the example."""

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.kits import make_kit
from tests.helpers.layers import normal, to_numpy
from tfhyper import kits, layers
from tfhyper.posterior import Draw, PosteriorPredictor

BN = keras.layers.BatchNormalization
STOCK = {
    "dropout": (lambda: keras.layers.Dropout(0.4, name="drop"), (5, 4, 3), None),
    "tfhyper": (lambda: layers.Dropout(0.4, name="drop"), (5, 4, 3), None),
    "noise_shape": (
        lambda: keras.layers.Dropout(0.4, noise_shape=(None, 1, 3), name="drop"),
        (6, 3),
        (0,),
    ),
    "spatial1d": (
        lambda: keras.layers.SpatialDropout1D(0.4, name="drop"),
        (6, 3),
        (0,),
    ),
    "spatial2d": (
        lambda: keras.layers.SpatialDropout2D(0.4, name="drop"),
        (5, 4, 3),
        (0, 1),
    ),
    "channels_first": (
        lambda: keras.layers.SpatialDropout2D(
            0.4, data_format="channels_first", name="drop"
        ),
        (3, 5, 4),
        (1, 2),
    ),
    "spatial3d": (
        lambda: keras.layers.SpatialDropout3D(0.4, name="drop"),
        (3, 2, 4, 3),
        (0, 1, 2),
    ),
}


def network(**options):
    """Dropout of three kinds; the norm stands behind the first."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.SpatialDropout2D(0.3, name="channels"),
            keras.layers.Conv2D(4, 3),
            *([BN(name="norm")] if options.pop("norm", False) else []),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.4, name="stock"),
            keras.layers.Flatten(),
            layers.Dropout(0.2, name="own"),
            keras.layers.Dense(3),
        ]
    )
    return model


def vectors(*inner, units=3):
    return keras.Sequential([keras.Input((50,)), *inner, keras.layers.Dense(units)])


def images(size=20):
    return normal(size, 6, 6, 2)


def sampled(model, num_draws=3, **options):
    return PosteriorPredictor(model, num_draws, dropout="sample", **options)


def mc_dropout_network(model):
    """The same network with `MCDropout` in place of its dropout, by the kit."""
    return tfhyper.convert(model, kits.mc_dropout(0, seed=1))


# What is drawn.


def test_draws_are_those_of_the_network_with_mc_dropout():
    model, x = network(), images()
    predictor = sampled(model, seed=5)
    names = ["channels", "stock", "own"]
    assert all(list(draw.noise) == names for draw in predictor.draws)
    other = PosteriorPredictor(mc_dropout_network(model), 3, seed=5)
    for draw, same in zip(predictor.draws, other.draws, strict=True):
        for name in names:
            np.testing.assert_array_equal(draw.noise[name], same.noise[name])
    members = predictor.predict(x).members
    np.testing.assert_allclose(members, other.predict(x).members, atol=1e-6)
    assert np.ptp(members, axis=0).max() > 0.05


@pytest.mark.parametrize("name", STOCK)
def test_masks_have_the_layers_rate_and_shape(name):
    stats = pytest.importorskip("scipy.stats")
    make, shape, shared = STOCK[name]
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(make()(inputs)))
    predictor = sampled(keras.Model(inputs, outputs), 1)
    plain = predictor.materialize(0)
    dropped = keras.Model(plain.input, plain.get_layer("drop").output)
    y = dropped.predict(np.ones((600, *shape), "float32"), batch_size=600, verbose=0)
    values = np.unique(y)
    np.testing.assert_allclose(values, [0, 1 / 0.6], rtol=1e-6)
    if shared is not None:
        axes = tuple(axis + 1 for axis in shared)
        same = np.broadcast_to(y.max(axes, keepdims=True), y.shape)
        np.testing.assert_array_equal(y, same)
        y = y.max(axes)
    count = int((y == 0).sum())
    assert stats.binomtest(count, y.size, 0.4).pvalue > 1e-3
    # Not one mask for all examples, nor for all channels.
    assert (
        np.ptp(y, axis=0).min() > 0 and len(np.unique(y.reshape(600, -1), axis=0)) > 2
    )


def test_the_prediction_does_not_depend_on_the_batches():
    model, x = network(), images()
    predictor = sampled(model)
    members = predictor.predict(x, batch_size=20).members
    for batch_size in (1, 7):
        found = predictor.predict(x, batch_size=batch_size).members
        np.testing.assert_allclose(found, members, atol=1e-6)
    np.testing.assert_array_equal(predictor.predict(x, batch_size=20).members, members)


def test_examples_and_draws_have_masks_of_their_own():
    x = np.tile(normal(1, 50), (20, 1))
    members = sampled(vectors(keras.layers.Dropout(0.5)), 4).predict(x).members
    assert len(np.unique(members.reshape(-1, 3), axis=0)) == 80


def test_the_mean_over_draws_is_that_of_the_linear_network():
    # Dropout keeps the mean: over draws, logits of a linear network do, too.
    keras.utils.set_random_seed(0)
    model = vectors(keras.layers.Dropout(0.5))
    x = normal(4, 50)
    predictor = sampled(model, 50)
    logits = np.array(
        [to_numpy(predictor.materialize(i)(x)) for i in range(50)], "float64"
    )
    kernel = to_numpy(model.layers[-1].kernel).astype("float64")
    # Var of a sum of x_j w_j m_j / (1 - p): sum (x_j w_j)^2 p / (1 - p).
    variance = np.square(x) @ np.square(kernel)
    scores = (logits.mean(0) - x @ kernel) / np.sqrt(variance / len(logits))
    assert np.abs(scores).max() < 4
    # 12 variances of 50 draws each, a standard error of sqrt(2 / 50).
    ratios = logits.var(0, ddof=1) / variance
    assert 0.3 < ratios.min() and ratios.max() < 2 and abs(ratios.mean() - 1) < 0.3


def test_off_by_default():
    model, x = network(), images()
    expected = to_numpy(keras.ops.softmax(model.predict(x, verbose=0)))
    predictor = PosteriorPredictor(model)
    assert predictor.dropout == "off"
    found = predictor.predict(x).members
    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_the_mean_drops_nothing():
    model, x = network(), images()
    expected = to_numpy(keras.ops.softmax(model.predict(x, verbose=0)))
    predictor = sampled(model, None, deterministic=True)
    found = predictor.predict(x).mean
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_seed_fixes_the_masks_and_the_model_is_untouched():
    model, x = network(), images()
    before = [w.copy() for w in model.get_weights()]
    first = sampled(model, seed=3).predict(x).members
    keras.utils.set_random_seed(9)
    np.testing.assert_array_equal(sampled(model, seed=3).predict(x).members, first)
    assert np.abs(sampled(model, seed=4).predict(x).members - first).max() > 0.05
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


# Which layers.


def test_layers_of_rate_0_and_other_noise_do_not_draw():
    model = vectors(
        keras.layers.Dropout(0.0),
        keras.layers.GaussianDropout(0.0),
        keras.layers.GaussianNoise(0.5),
        keras.layers.Dropout(0.5, name="free"),
    )
    assert [list(draw.noise) for draw in sampled(model).draws] == [["free"]] * 3


def test_a_layer_that_is_called_in_inference_mode_draws():
    # Keras turns it on in `fit`, too: that of the model is the mode of its layers.
    inputs = keras.Input((50,))
    x = keras.layers.Dropout(0.5, name="drop")(inputs, training=False)
    model = keras.Model(inputs, x)
    y = to_numpy(model(np.ones((4, 50)), training=True))
    assert 0.2 < np.mean(y == 0) < 0.8
    assert list(sampled(model, 1).draws[0].noise) == ["drop"]


def test_layers_that_are_called_by_keyword():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((50,))
    inner = keras.Input((50,))
    base = keras.Model(inner, BN(name="norm")(inputs=inner))
    x = keras.layers.Dropout(0.5, name="drop")(inputs=base(inputs=inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(layers.MCDropout(0.1)(inputs=x)))
    x = normal(12, 50)
    predictor = sampled(model).calibrate(x, verbose=0)
    assert np.ptp(predictor.predict(x).members, axis=0).max() > 0.01


def test_a_shared_layer_has_one_mask():
    inputs = keras.Input((50,))
    drop = keras.layers.Dropout(0.5, name="drop")
    outputs = keras.layers.Concatenate()([drop(inputs), drop(-inputs)])
    predictor = sampled(keras.Model(inputs, outputs), 1)
    y = predictor.materialize(0).predict(np.ones((9, 50), "float32"), verbose=0)
    np.testing.assert_array_equal(y[:, :50], -y[:, 50:])
    assert (y == 0).any() and (y != 0).any()


def test_nested_models_and_equal_names():
    keras.utils.set_random_seed(0)
    inner = keras.Input((8,))
    base = keras.Model(inner, keras.layers.Dropout(0.5, name="drop")(inner))
    inputs = keras.Input((8,))
    x = keras.layers.Dropout(0.5, name="drop")(base(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    predictor = sampled(model)
    for draw in predictor.draws:
        one, other = draw.noise.values()
        assert list(draw.noise) == ["drop", "drop_"] and np.any(one != other)
    assert np.ptp(predictor.predict(normal(9, 8)).members, axis=0).max() > 0.01


def test_frozen_dropout_still_drops():
    model = vectors(keras.layers.Dropout(0.5, name="drop"))
    model.trainable = False
    assert list(sampled(model).draws[0].noise) == ["drop"]


def test_mc_dropout_draws_beside_stock_dropout():
    model = vectors(layers.MCDropout(0.5, name="mc"), keras.layers.Dropout(0.5))
    assert len(PosteriorPredictor(model, 1).draws[0].noise) == 1
    assert len(sampled(model, 1).draws[0].noise) == 2


def test_layers_keep_their_dtype():
    keras.utils.set_random_seed(0)
    model = vectors(keras.layers.Dropout(0.5, dtype="mixed_float16", name="drop"))
    predictor = sampled(model, 2)
    drop = predictor.materialize(0).get_layer("drop")
    assert drop.compute_dtype == "float16"
    assert np.isfinite(predictor.predict(normal(5, 50)).members).all()


# With BatchNorm and other random layers.


def masks_of(predictor, index, x):
    """The scaled masks of a draw on the data, by what they make of ones."""
    plain = predictor.materialize(index)
    dropped = keras.Model(plain.input, plain.get_layer("drop").output)
    return dropped.predict(np.ones_like(x), batch_size=len(x), verbose=0)


@pytest.mark.parametrize("batch_norm", ["reestimate", "minibatch"])
def test_batch_norm_of_a_draw_sees_its_masks(batch_norm):
    model = vectors(keras.layers.Dropout(0.5, name="drop"), BN(name="norm"))
    x = normal(24, 50) + 1
    options = {"batch_size": 24} if batch_norm == "minibatch" else {}
    predictor = sampled(model, 2, batch_norm=batch_norm, **options)
    if batch_norm == "minibatch":
        # One batch of all, in the order of a dataset.
        predictor.calibrate(OneBatch(x), verbose=0)
    else:
        predictor.calibrate(x, batch_size=7, verbose=0)
    for i, draw in enumerate(predictor.draws):
        seen = x.astype("float64") * masks_of(predictor, i, x)
        mean, variance = draw.moments["norm"]
        np.testing.assert_allclose(mean, seen.mean(0), atol=1e-5)
        np.testing.assert_allclose(variance, seen.var(0), rtol=1e-4)


class OneBatch:
    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter([self.x])


def test_moving_averages_need_no_calibration():
    model, x = network(norm=True), images()
    predictor = sampled(model, batch_norm="moving_average")
    expected = PosteriorPredictor(
        mc_dropout_network(model), 3, batch_norm="moving_average"
    )
    np.testing.assert_allclose(
        predictor.predict(x).members, expected.predict(x).members, atol=1e-6
    )


@pytest.mark.parametrize("name", ["hyper", "bayes"])
def test_random_kernels_and_masks_are_both_in_a_draw(name):
    options = {"mean_kernel": True} if name == "hyper" else {}
    model = tfhyper.convert(network(norm=True), make_kit(name, seed=1, **options))
    x = images()
    kernels = PosteriorPredictor(model, 2).draws[0].noise
    predictor = sampled(model, 2, batch_norm="minibatch", batch_size=8)
    predictor.calibrate(x, verbose=0)
    draw = predictor.draws[0]
    assert set(draw.noise) == set(kernels) | {"channels", "stock", "own"}
    assert set(draw.moments) == {"norm"}
    members = predictor.predict(x).members
    # Each of the three is in the prediction: it changes with each alone.
    other = predictor.draws[1]
    masks = {n: other.noise[n] for n in ("channels", "stock", "own")}
    rest = {n: v for n, v in other.noise.items() if n not in masks}
    for changed in (
        Draw({**draw.noise, **masks}, draw.moments),
        Draw({**draw.noise, **rest}, draw.moments),
        Draw(draw.noise, other.moments),
    ):
        predictor.draws = [changed, other]
        assert np.abs(predictor.predict(x).members[0] - members[0]).max() > 1e-3


# Files and networks.


def test_masks_survive_the_file(tmp_path):
    model, x = network(norm=True), images()
    predictor = sampled(model, batch_norm="minibatch", batch_size=8)
    members = predictor.calibrate(x, verbose=0).predict(x).members
    predictor.save(tmp_path / "net.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
    assert loaded.dropout == "sample"
    np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)
    loaded.calibrate(x, verbose=0)
    np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)


def test_a_materialized_draw_is_that_member(tmp_path):
    predictor, x = sampled(network()), images()
    plain = predictor.materialize(1)
    plain.save(tmp_path / "plain.keras")
    copy = keras.saving.load_model(tmp_path / "plain.keras")
    member = predictor.predict(x).members[1]
    for one in (plain, copy):
        probs = to_numpy(keras.ops.softmax(one.predict(x, verbose=0)))
        np.testing.assert_allclose(probs, member, atol=1e-6)


def test_regression_with_dropout():
    keras.utils.set_random_seed(0)
    model = vectors(keras.layers.Dropout(0.1), units=1)
    predictor = sampled(model, 8, outputs="mean", noise_variance=0.5)
    prediction = predictor.predict(normal(12, 50))
    np.testing.assert_allclose(
        prediction.epistemic, prediction.members.var(0, dtype="float64"), rtol=1e-5
    )
    assert prediction.epistemic.min() > 0


# Bad input.


@pytest.mark.parametrize("rate", [None, 0.0])
def test_a_model_without_dropout_is_refused(rate):
    model = vectors(*([] if rate is None else [keras.layers.Dropout(rate)]))
    with pytest.raises(ValueError, match='`dropout="sample"` needs a model.*Received'):
        sampled(model)


@pytest.mark.parametrize("dropout", ["on", True])
def test_unknown_choices_are_refused(dropout):
    with pytest.raises(ValueError, match="`dropout` must be one of.*Received: dropout"):
        PosteriorPredictor(network(), dropout=dropout)


@pytest.mark.parametrize(
    "layer, rule",
    [
        (keras.layers.Dropout(1.0, name="drop"), "`rate` must be in 0 <= rate < 1"),
        (
            keras.layers.Dropout(0.5, noise_shape=(4, 50), name="drop"),
            "`noise_shape` must begin with None",
        ),
    ],
)
def test_layers_that_no_draw_can_fix_are_named(layer, rule):
    with pytest.raises(ValueError, match=f"Layer 'drop' has no draws: {rule}"):
        sampled(vectors(layer))


class Block(keras.layers.Layer):
    """A user's layer with dropout inside."""

    def __init__(self):
        super().__init__()
        self.drop = keras.layers.Dropout(0.5, name="drop")

    def call(self, inputs):
        return self.drop(inputs)


def test_dropout_inside_of_a_users_layer_is_out_of_reach():
    model = vectors(Block(), keras.layers.Dropout(0.5))
    PosteriorPredictor(model, 1)  # off, it is no matter
    with pytest.raises(ValueError, match="Layer 'drop' draws inside of layer"):
        sampled(model)


INSIDE = {
    "wrapped": lambda: keras.layers.TimeDistributed(keras.layers.Dropout(0.5)),
    "gaussian": lambda: keras.layers.GaussianDropout(0.5),
    "alpha": lambda: keras.layers.AlphaDropout(0.5),
    "lstm": lambda: keras.layers.LSTM(4, dropout=0.5),
    "gru": lambda: keras.layers.GRU(4, recurrent_dropout=0.5, return_sequences=True),
    "cells": lambda: keras.layers.RNN(keras.layers.LSTMCell(4, dropout=0.5)),
    "bidirectional": lambda: keras.layers.Bidirectional(
        keras.layers.SimpleRNN(4, dropout=0.5)
    ),
}


@pytest.mark.parametrize("name", INSIDE)
def test_dropout_inside_of_keras_layers_has_one_noise_in_a_draw(name, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 5))
    x = keras.layers.Flatten()(INSIDE[name]()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    predictor, x = sampled(model), normal(9, 4, 5)
    found = predictor.predict(x).members
    assert np.ptp(found, axis=0).max() > 0.01
    # Neither the other examples nor the batches matter.
    np.testing.assert_allclose(
        predictor.predict(x[4:7], batch_size=2).members, found[:, 4:7], atol=1e-6
    )
    predictor.save(str(tmp_path / "a.tfhyper"))
    loaded = PosteriorPredictor.load(str(tmp_path / "a.tfhyper"))
    np.testing.assert_allclose(loaded.predict(x).members, found, atol=1e-6)
    mean = sampled(model, None, deterministic=True).predict(x).mean
    expected = to_numpy(keras.ops.softmax(model.predict(x, verbose=0)))
    np.testing.assert_allclose(mean, expected, atol=1e-6)


def test_masks_of_a_recurrent_layer_are_those_that_keras_draws_from_the_states():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 5)), keras.layers.LSTM(4, dropout=0.5), keras.layers.Dense(3)]
    )
    predictor, x = sampled(model), normal(2, 4, 5)
    found = predictor.predict(x).members
    lstm, dense = model.layers
    (name,) = predictor.draws[1].noise
    # By identity: variables compare number by number.
    weights = set(map(id, lstm.weights))
    (state,) = (x for x in lstm.variables if id(x) not in weights)
    for i in range(2):  # one example at a time
        state.assign(predictor.draws[1].noise[name][0])
        logits = to_numpy(dense(lstm(x[i : i + 1], training=True)))[0]
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(found[1, i], expected, atol=1e-6)


def test_dropout_called_in_training_mode_is_asked_about():
    inputs = keras.Input((50,))
    x = keras.layers.Dropout(0.5, name="drop")(inputs, training=True)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    with pytest.raises(ValueError, match="`dropout` must be given.*'drop'"):
        PosteriorPredictor(model)
    data = normal(4, 50)
    off = PosteriorPredictor(model, dropout="off", outputs="logits").predict(data)
    expected = to_numpy(keras.ops.softmax(model.predict(data, verbose=0)))
    np.testing.assert_allclose(off.mean, expected, atol=1e-6)
    assert list(sampled(model, 1).draws[0].noise) == ["drop"]


def test_attention_whose_dropout_draws_keeps_its_mask():
    # Of a rate that drops nothing, what is compiled is what the model gives.
    tokens = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]])
    inputs = keras.Input((5,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = keras.layers.MultiHeadAttention(2, 3, dropout=1e-7, seed=1)(x, x)
    model = keras.Model(inputs, x[:, 0])
    predictor = tfhyper.PosteriorPredictor(model, 2, dropout="sample", outputs="mean")
    expected = keras.ops.convert_to_numpy(model(tokens))
    np.testing.assert_allclose(predictor.predict(tokens).mean, expected, atol=1e-6)


@pytest.mark.parametrize("dropout", ["off", "sample"])
def test_layers_with_tensors_beside_other_arguments(dropout):
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    inputs = keras.Input((5, 4))
    attention = keras.layers.MultiHeadAttention(2, 3, dropout=1e-7, seed=1)
    y, scores = attention(
        inputs,
        inputs,
        attention_mask=np.tri(5)[None] > 0,
        return_attention_scores=True,
    )
    y = tfhyper.layers.BayesDense(2, initial_scale=1e-9)(y + scores[:, 0, :, :4])
    model = keras.Model(inputs, y)
    predictor = tfhyper.PosteriorPredictor(model, 2, dropout=dropout, outputs="mean")
    expected = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-5)
