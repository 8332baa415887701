"""Logits and probabilities: by the graph, by the loss, or by the user's word."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops

import tfhyper
from tfhyper import PosteriorPredictor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def functional(body):
    inputs = keras.Input((6,))
    return keras.Model(inputs, body(inputs))


def after_softmax(layer):
    return lambda x: layer(L.Dense(4, activation="softmax")(x))


class Own(L.Layer):
    """A user's softmax."""

    def call(self, inputs):
        return ops.exp(inputs) / ops.sum(ops.exp(inputs), -1, keepdims=True)


def nested(x):
    inner = keras.Sequential([keras.Input((6,)), L.Dense(4), L.Softmax()])
    return L.Activation("linear", dtype="float32")(inner(x))


def nested_without_head(x):
    inner = functional(lambda y: L.Dense(4, activation="softmax")(y))
    return L.Identity()(inner(x))


PROBABILITIES = {
    "string": lambda x: L.Dense(4, activation="softmax")(x),
    "function": lambda x: L.Dense(4, activation=ops.softmax)(x),
    "operation": lambda x: ops.softmax(L.Dense(4)(x)),
    "layer": lambda x: L.Softmax()(L.Dense(4)(x)),
    "activation layer": lambda x: L.Activation("softmax")(L.Dense(4)(x)),
    "layer as activation": lambda x: L.Dense(4, activation=L.Softmax())(x),
    "float32 after it": after_softmax(L.Activation("linear", dtype="float32")),
    "reshaped": after_softmax(L.Reshape((4,))),
    "dropout after it": after_softmax(L.Dropout(0.3)),
    "mean of heads": lambda x: L.Average()(
        [L.Dense(4, activation="softmax")(x) for _ in range(2)]
    ),
    "nested": nested,
    "nested without a head": nested_without_head,
    "bayesian": lambda x: tfhyper.layers.BayesDense(4, activation="softmax")(x),
}


@pytest.mark.parametrize("name", PROBABILITIES)
def test_probabilities_get_no_second_softmax(name):
    model = functional(PROBABILITIES[name])
    predictor = PosteriorPredictor(model, num_draws=1)
    assert predictor.outputs == "probabilities"
    expected = predictor.materialize(0).predict(X, verbose=0)
    np.testing.assert_allclose(predictor.predict(X).mean, expected, atol=1e-6)


LOGITS = {
    "dense": lambda x: L.Dense(4)(x),
    "float32 after it": lambda x: L.Activation("linear", dtype="float32")(
        L.Dense(4)(x)
    ),
    "sum": lambda x: L.Add()([L.Dense(4)(x), L.Dense(4)(x)]),
    "logarithms": lambda x: L.Dense(4, activation="log_softmax")(x),
    "attention before": lambda x: L.Dense(4)(L.Dense(6, activation="softmax")(x)),
}


@pytest.mark.parametrize("name", LOGITS)
def test_logits_get_their_softmax(name):
    model = functional(LOGITS[name])
    predictor = PosteriorPredictor(model)
    assert predictor.outputs == "logits"
    expected = softmax(model.predict(X, verbose=0).astype("float64"))
    np.testing.assert_allclose(predictor.predict(X).mean, expected, atol=1e-6)


@pytest.mark.parametrize(
    "loss, outputs",
    [
        ("sparse_categorical_crossentropy", "probabilities"),
        (keras.losses.SparseCategoricalCrossentropy(), "probabilities"),
        (keras.losses.CategoricalCrossentropy(from_logits=True), "logits"),
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "logits"),
        (keras.losses.KLDivergence(), "probabilities"),
    ],
)
def test_where_the_graph_does_not_tell_the_loss_does(loss, outputs):
    model = functional(lambda x: Own()(L.Dense(4)(x)))
    model.compile("sgd", loss)
    assert PosteriorPredictor(model).outputs == outputs


def test_where_neither_tells_what_may_be_probabilities_is_asked_about():
    model = functional(lambda x: Own()(L.Dense(4)(x)))
    predictor = PosteriorPredictor(model)
    for call in (predictor.predict, predictor.evaluate):
        with pytest.raises(ValueError, match="`outputs` must be given.*Received"):
            call(X, **({"y": np.zeros(40)} if call == predictor.evaluate else {}))
    expected = model.predict(X, verbose=0)
    for outputs, right in (("probabilities", expected), ("logits", softmax(expected))):
        found = PosteriorPredictor(model, outputs=outputs).predict(X).mean
        np.testing.assert_allclose(found, right, atol=1e-6)


def test_where_neither_tells_other_numbers_are_logits():
    model = functional(lambda x: L.Lambda(lambda y: 3 * y)(L.Dense(4)(x)))
    predictor = PosteriorPredictor(model)
    expected = softmax(model.predict(X, verbose=0))
    np.testing.assert_allclose(predictor.predict(X).mean, expected, atol=1e-6)


def test_what_is_not_known_yet_is_not_known_to_the_file(tmp_path):
    model = functional(lambda x: ops.square(L.Dense(4)(x)))
    predictor = PosteriorPredictor(model)
    assert predictor.settings["outputs"] is None
    with pytest.raises(ValueError, match="`outputs` must be given"):
        predictor.materialize_average()
    predictor.predict(X)
    assert predictor.settings["outputs"] == "logits"


def test_columns_of_a_sigmoid_are_labels_each_by_itself():
    for columns in (1, 4):
        head = L.Dense(columns, activation="sigmoid")
        model = functional(lambda x, head=head: head(x))
        assert PosteriorPredictor(model).outputs == "label_probabilities"
        # With a loss of classes nothing is certain.
        model.compile("sgd", "categorical_crossentropy")
        with pytest.raises(ValueError, match="`outputs` must say what the model gives"):
            PosteriorPredictor(model)
    found = PosteriorPredictor(model, outputs="probabilities")
    with pytest.raises(ValueError, match="sum to one. Received: a row"):
        found.predict(X)


LOSSES = {
    "mse": ("mse", "mean"),
    "huber": ("huber", "mean"),
    "absolute": (keras.losses.MeanAbsoluteError(), "mean"),
    "labels": (keras.losses.BinaryCrossentropy(from_logits=True), "label_logits"),
    "classes": (keras.losses.SparseCategoricalCrossentropy(True), "logits"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_says_what_columns_are(name):
    loss, expected = LOSSES[name]
    model = functional(L.Dense(4))
    assert PosteriorPredictor(model).outputs == "logits"
    model.compile("sgd", loss)
    predictor = PosteriorPredictor(model)
    assert predictor.outputs == predictor.settings["outputs"] == expected


def test_the_label_that_a_loss_ignores_is_ignored():
    model = functional(L.Dense(4))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True, 255))
    assert PosteriorPredictor(model).ignore_class == 255
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True, 0))
    with pytest.raises(ValueError, match=r"`ignore_class` must be no class.*=0"):
        PosteriorPredictor(model)
    with pytest.raises(ValueError, match="`ignore_class` is for classes and labels"):
        PosteriorPredictor(model, outputs="mean", ignore_class=255)


def test_one_column_without_a_loss_is_ambiguous():
    with pytest.raises(ValueError, match=r"one of \[.*'label_logits'.*\(None, 1\)"):
        PosteriorPredictor(functional(L.Dense(1)))
    timed = functional(
        lambda x: L.TimeDistributed(L.Dense(3, activation="softmax"))(
            L.Reshape((3, 2))(x)
        )
    )
    assert PosteriorPredictor(timed).outputs == "probabilities"
    # A softmax along another axis is none of classes.
    other = functional(lambda x: L.Softmax(axis=1)(L.Dense(3)(L.Reshape((3, 2))(x))))
    with pytest.raises(ValueError, match="sum to one"):
        PosteriorPredictor(other, outputs="probabilities").predict(X)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_softmax_rows_of_half_precision_are_accepted(dtype):
    classes = 300
    head = L.Dense(classes, activation="softmax", dtype=dtype)
    model = functional(lambda x: head(tfhyper.layers.MCDropout(0.2)(x)))
    predictor = PosteriorPredictor(model, num_draws=3)
    prediction = predictor.predict(X)
    sums = prediction.mean.sum(-1)
    assert 0 < np.abs(sums - 1).max() < 0.02
    assert (prediction.epistemic >= 0).all()
    scores = predictor.evaluate(X, np.arange(40))
    rows = prediction.mean / prediction.mean.sum(-1, keepdims=True)
    expected = -np.log(rows[np.arange(40), np.arange(40)]).mean()
    assert scores["nll"] == pytest.approx(expected, rel=1e-5)
