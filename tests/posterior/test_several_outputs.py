"""Models with several outputs: a task and a prediction for each."""

import copy

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype("float32")
Y = {
    "tags": RNG.integers(0, 2, (30, 3)),
    "kind": RNG.integers(0, 4, 30),
    "size": RNG.normal(size=30),
}
LOSSES = {"kind": "sparse_categorical_crossentropy", "size": "mse"}


def parts():
    """Returns an input, and the three outputs of a network of one hidden layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = tfhyper.layers.BayesDense(
        6, activation="tanh", rho_initializer=keras.initializers.Constant(0.0)
    )(inputs)
    return inputs, {
        "tags": L.Dense(3, activation="sigmoid", name="tags")(hidden),
        "kind": L.Dense(4, activation="softmax", name="kind")(hidden),
        "size": L.Dense(1, name="size")(hidden),
    }


def of_dict():
    inputs, outputs = parts()
    model = keras.Model(inputs, outputs)
    model.compile("sgd", LOSSES | {"tags": "binary_crossentropy"})
    return model


def of_list():
    inputs, outputs = parts()
    model = keras.Model(inputs, list(outputs.values()))
    model.compile("sgd", ["binary_crossentropy", *LOSSES.values()])
    return model


FOUND = {"tags": "label_probabilities", "kind": "probabilities", "size": "mean"}


def single(predictor, name):
    """Returns a predictor of one output alone, with the same draws."""
    inputs = predictor.model.inputs
    index = list(FOUND).index(name)
    output = predictor.model.output
    output = output[name] if isinstance(output, dict) else output[index]
    one = keras.Model(inputs, output)
    found = tfhyper.PosteriorPredictor(one, 3, outputs=FOUND[name])
    if name == "size":
        found.task.noise_variance = predictor.noise_variance["size"]
    return found


@pytest.mark.parametrize("make", [of_dict, of_list])
def test_each_output_has_the_prediction_that_it_has_alone(make, tmp_path):
    predictor = tfhyper.PosteriorPredictor(make(), 3, noise_variance={"size": 0.5})
    assert predictor.outputs == FOUND
    lines = []
    predictor.summary(lines.append)
    assert "gives size" in lines[0] and "label_probabilities" in lines[0]
    found = predictor.predict(X)
    path = str(tmp_path / "several.tfhyper")
    predictor.save(path)
    again = tfhyper.PosteriorPredictor.load(path)
    assert again.settings == predictor.settings
    of_copy = copy.deepcopy(predictor).predict(X)
    of_file = again.predict(X)
    scores = predictor.evaluate(X, Y)
    for name in FOUND:
        alone = single(predictor, name)
        expected = alone.predict(X)
        assert type(found[name]) is type(expected)
        for part in ("members", "mean", "aleatoric", "epistemic"):
            one = getattr(expected, part)
            for other in (found, of_copy, of_file):
                given = getattr(other[name], part)
                np.testing.assert_allclose(given, one, rtol=1e-6, atol=1e-6)
        of_one = alone.evaluate(X, Y[name])
        given = {score: scores[f"{name}_{score}"] for score in of_one}
        assert given == pytest.approx(of_one, rel=1e-6)
    assert list(found) == list(FOUND) and "kind=" not in repr(found)
    # Labels in a list, and weights of the examples.
    weights = RNG.uniform(size=30)
    by_name = predictor.evaluate(X, Y, sample_weight=weights)
    in_order = predictor.evaluate(X, list(Y.values()), sample_weight=weights)
    assert by_name == in_order != scores
    parts = list(predictor.predict_batches(X, 20))
    joined = np.concatenate([part["kind"].mean for part in parts])
    np.testing.assert_allclose(joined, found["kind"].mean, atol=1e-6)


def test_noise_is_chosen_for_each_output_that_has_some():
    predictor = tfhyper.PosteriorPredictor(of_dict(), 3)
    with pytest.raises(ValueError, match="needs a noise variance above 0"):
        predictor.evaluate(X, Y)
    predictor.fit_noise(X, Y, score="log_likelihood")
    alone = single(predictor, "size")
    alone.fit_noise(X, Y["size"], score="log_likelihood")
    found = predictor.noise_variance
    assert found == {
        "tags": 0.0,
        "kind": 0.0,
        "size": pytest.approx(alone.noise_variance),
    }


def test_an_average_and_a_saved_model_say_the_same(tmp_path):
    tf = pytest.importorskip("tensorflow")
    predictor = tfhyper.PosteriorPredictor(of_dict(), 3, noise_variance={"size": 0.5})
    found = predictor.predict(X)
    average = predictor.materialize_average()(X)
    np.testing.assert_allclose(average["kind"], found["kind"].mean, atol=1e-6)
    np.testing.assert_allclose(
        average["size"][1][:, 0], found["size"].variance, rtol=1e-5
    )
    tfhyper.export.saved_model(predictor, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    served = loaded.signatures["serving_default"](inputs=tf.constant(X))
    for name, key, expected in [
        ("kind", "probabilities", found["kind"].mean),
        ("kind", "class", found["kind"].label),
        ("tags", "label", found["tags"].label),
        ("tags", "epistemic", found["tags"].epistemic),
        ("size", "mean", found["size"].mean),
        ("size", "variance", found["size"].variance),
    ]:
        given = served[f"{name}_{key}"]
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=2e-6)
    members = loaded.signatures["members"](inputs=tf.constant(X))
    expected = found["kind"].members.swapaxes(0, 1)
    np.testing.assert_allclose(members["kind_members"], expected, atol=1e-6)


def test_bad_outputs_labels_and_rules_are_named():
    model = of_dict()
    predictor = tfhyper.PosteriorPredictor(model, 3, noise_variance={"size": 0.5})
    for make, message in [
        (lambda: tfhyper.PosteriorPredictor(model, outputs=["mean"]), "`outputs` must"),
        (lambda: tfhyper.PosteriorPredictor(model, outputs={"x": "mean"}), "`outputs`"),
        (
            lambda: tfhyper.PosteriorPredictor(model, outputs={"kind": "median"}),
            "the output 'kind': `outputs` must be one of",
        ),
        (
            lambda: tfhyper.PosteriorPredictor(model, noise_variance=0.3),
            "`noise_variance` must be a dict with names",
        ),
        (
            lambda: tfhyper.PosteriorPredictor(model, noise_variance={"kind": 0.3}),
            "the output 'kind': `noise_variance` is for",
        ),
        (lambda: predictor.evaluate(X, Y["kind"]), "`y` must hold labels of each"),
        (lambda: predictor.evaluate(X, {"kind": Y["kind"]}), "`y` must hold labels"),
        (lambda: predictor.evaluate(X, Y | {"kind": Y["kind"][1:]}), "`x` and `y`"),
        (lambda: predictor.evaluate(X, Y | {"kind": Y["kind"] + 9}), r"in \[0, 4\)"),
        (lambda: predictor.predict_anytime(X), "models with one output"),
        (lambda: predictor.fit_rejection(X, coverage=0.5), "model with one output"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
