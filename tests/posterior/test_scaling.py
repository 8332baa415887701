"""Predictors that scale: beside SciPy on the draws' own logits, and through files."""

import json
import pickle
import zipfile

import keras
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, softmax

import tfhyper
from tests.helpers.runtimes import Onnx, require
from tfhyper import DeepEnsemble, PosteriorPredictor, Rejection, layers, scaling

RNG = np.random.default_rng(0)
X = (2 * RNG.normal(size=(300, 4))).astype("float32")
METHODS = tuple(scaling.METHODS)
PER_DRAW = tuple(x for x in METHODS if scaling.METHODS[x].scales_draws)
FORMS = [(x, False) for x in METHODS] + [(x, True) for x in PER_DRAW]
FEW = pytest.mark.filterwarnings("ignore::tfhyper.scaling.CalibrationWarning")
pytestmark = FEW


def network(seed=0, outputs=3, layer=layers.HyperDense, activation=None):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layer(8, activation="tanh"),
            keras.layers.Dense(outputs, activation, kernel_initializer="he_normal"),
        ]
    )


def classifier(**options):
    return PosteriorPredictor(network(), 4, **options)


def detector(layer=layers.HyperDense, **options):
    return PosteriorPredictor(
        network(outputs=1, layer=layer), outputs="label_logits", **options
    )


def noisy_labels(predictor):
    """Returns labels that a predictor is too sure of."""
    mean = predictor.predict(X).mean
    if mean.shape[-1] == 1:
        return (RNG.uniform(size=300) < 0.3 + 0.4 * mean[:, 0]).astype(int)
    likely = mean.argmax(-1)
    return np.where(RNG.uniform(size=300) < 0.6, likely, RNG.integers(0, 3, 300))


Y = noisy_labels(classifier())
Y1 = noisy_labels(detector())


def logits_of(predictor, x=X):
    return np.stack(
        [
            predictor.materialize(i).predict(x, verbose=0)
            for i in range(predictor.num_networks)
        ]
    ).astype("float64")


def best_temperature(nll):
    options = {"xatol": 1e-10}
    found = minimize_scalar(nll, bounds=(0.1, 30), method="bounded", options=options)
    return found.x


def entropy(p):
    return -np.sum(p * np.log(p), axis=-1)


def test_the_temperature_of_the_mean_by_hand():
    predictor = classifier()
    before = predictor.predict(X)
    assert predictor.fit_scaling(X, Y) is predictor
    mean = softmax(logits_of(predictor), -1).mean(0)
    best = best_temperature(
        lambda t: -np.log(softmax(np.log(mean) / t, -1)[np.arange(300), Y]).mean()
    )
    assert predictor.scaling.temperature == pytest.approx(best, abs=1e-4)
    assert not predictor.scaling.per_draw and best > 1.2
    found = predictor.predict(X)
    scaled = softmax(np.log(mean) / best, -1)
    np.testing.assert_allclose(found.mean, scaled, atol=1e-5)
    np.testing.assert_allclose(found.total, entropy(scaled), atol=1e-5)
    # Members are what the draws said, and the parts have the shares of before.
    np.testing.assert_array_equal(found.members, before.members)
    share = (before.aleatoric + 1e-3) / (before.total + 1e-3)
    np.testing.assert_allclose(found.aleatoric, found.total * share, atol=1e-6)
    np.testing.assert_allclose(
        found.epistemic, found.total - found.aleatoric, atol=1e-12
    )
    np.testing.assert_allclose(found.variance.total, scaled * (1 - scaled), atol=1e-5)
    np.testing.assert_allclose(
        found.variance.aleatoric / found.variance.total,
        before.variance.aleatoric / before.variance.total,
        rtol=1e-6,
    )
    assert found.epistemic.min() >= 0 and found.variance.epistemic.min() >= 0
    with pytest.raises(ValueError, match="`covariance` is that of members"):
        found.covariance()
    assert "scaled: temperature" in repr(found)
    assert found.take([0, 2]).scaling is predictor.scaling


def test_the_temperature_of_draws_by_hand():
    predictor = classifier().fit_scaling(X, Y, per_draw=True)
    logits = logits_of(predictor)
    best = best_temperature(
        lambda t: -np.log(softmax(logits / t, -1).mean(0)[np.arange(300), Y]).mean()
    )
    assert predictor.scaling.temperature == pytest.approx(best, abs=1e-4)
    members = softmax(logits / best, -1)
    found = predictor.predict(X)
    np.testing.assert_allclose(found.members, members, atol=1e-5)
    np.testing.assert_allclose(found.mean, members.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.aleatoric, entropy(members).mean(0), atol=1e-5)
    np.testing.assert_allclose(found.total, entropy(members.mean(0)), atol=1e-5)
    np.testing.assert_allclose(
        found.covariance().total.diagonal(axis1=-2, axis2=-1),
        found.variance.total,
        atol=1e-6,
    )
    anytime = predictor.predict_anytime(X, confidence=1.0, check=True)
    np.testing.assert_allclose(anytime.full_mean, found.mean, atol=1e-6)


@pytest.mark.parametrize("link", ["softmax", "normalized_softplus"])
def test_links_are_scaled_by_their_log_probabilities(link):
    predictor = classifier(link=link)
    members = predictor.predict(X).members.astype("float64")
    predictor.scaling = scaling.Temperature(2.5, per_draw=True)
    expected = softmax(np.log(members) / 2.5, -1)
    np.testing.assert_allclose(predictor.predict(X).members, expected, atol=1e-5)


def test_a_column_of_one_by_hand():
    # Logits so far out that float32 knows no probability besides 1.
    model = network(outputs=1, layer=keras.layers.Dense)
    model.layers[-1].kernel.assign(60 * model.layers[-1].kernel)
    labels = RNG.uniform(size=300) < expit(model.predict(X, verbose=0)[:, 0] / 20)
    predictor = PosteriorPredictor(model, outputs="label_logits")
    logit = model.predict(X, verbose=0)[:, 0].astype("float64")
    assert np.abs(logit).max() > 80
    predictor.fit_scaling(X, labels)
    best = minimize_scalar(
        lambda t: -log_expit(np.where(labels, logit, -logit) / t).mean(),
        bounds=(1, 99),
        method="bounded",
        options={"xatol": 1e-9},
    ).x
    assert predictor.scaling.per_draw and 5 < best < 90
    assert predictor.scaling.temperature == pytest.approx(best, rel=1e-4)
    found = predictor.predict(X)
    np.testing.assert_allclose(found.mean[:, 0], expit(logit / best), atol=1e-5)
    assert predictor.evaluate(X, labels)["nll"] < 0.7


def test_probabilities_are_scaled_as_logits_are():
    model = network()
    given = keras.Sequential([model, keras.layers.Softmax()])
    one, other = PosteriorPredictor(model, 4), PosteriorPredictor(given, 4)
    assert (one.outputs, other.outputs) == ("logits", "probabilities")
    for method, per_draw in FORMS:
        predictor = one.fit_scaling(X, Y, method, per_draw=per_draw)
        other.scaling = predictor.scaling
        np.testing.assert_allclose(
            other.predict(X).mean, predictor.predict(X).mean, atol=2e-3 if
            method == "isotonic" else 2e-5,
        )  # fmt: skip


@pytest.mark.parametrize("make, y", [(classifier, Y), (detector, Y1)])
@pytest.mark.parametrize("method, per_draw", FORMS)
def test_every_form_is_fitted_saved_and_averaged(method, per_draw, make, y, tmp_path):
    predictor = make()
    before = predictor.evaluate(X, y)
    predictor.fit_scaling(X, y, method, per_draw=per_draw)
    assert predictor.scaling.method == method
    after = predictor.evaluate(X, y)
    score = "nll" if method in PER_DRAW else "brier"
    assert after[score] < before[score]
    prediction = predictor.predict(X)
    np.testing.assert_allclose(
        prediction.total, prediction.aleatoric + prediction.epistemic, atol=1e-9
    )
    # It is applied to what the networks say, whatever scaled that before.
    first = predictor.scaling
    assert predictor.fit_scaling(X, y, method, per_draw=per_draw).scaling == first
    rejected = predictor.fit_rejection(X, coverage=0.7).predict(X).rejected
    predictor.save(tmp_path / "a.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "a.tfhyper")
    assert loaded.scaling == first and loaded.rejection == predictor.rejection
    again = loaded.predict(X)
    np.testing.assert_array_equal(again.mean, prediction.mean)
    np.testing.assert_array_equal(again.rejected, rejected)
    assert pickle.loads(pickle.dumps(predictor)).scaling == first


@pytest.mark.parametrize("method, per_draw", FORMS)
def test_the_averaged_model_is_scaled(method, per_draw, tmp_path):
    predictor = PosteriorPredictor(network(), 2).fit_scaling(
        X, Y, method, per_draw=per_draw
    )
    average, expected = predictor.materialize_average(), predictor.predict(X).mean
    atol = max(1e-5, predictor.scaling.rounding)
    np.testing.assert_allclose(average(X), expected, atol=atol)
    if method in ("matrix", "isotonic"):
        average.save(tmp_path / "average.keras")
        read = keras.saving.load_model(tmp_path / "average.keras")
        np.testing.assert_allclose(read(X), expected, atol=atol)


def test_a_deep_ensemble_and_its_file(tmp_path):
    models = [network(seed, layer=keras.layers.Dense) for seed in (0, 1)]
    ensemble = DeepEnsemble(models).fit_scaling(X, Y, "vector")
    logits = np.stack([x.predict(X, verbose=0) for x in models]).astype("float64")
    logs = np.log(softmax(logits, -1).mean(0))
    expected = softmax(
        logs * np.array(ensemble.scaling.weights) + ensemble.scaling.biases, -1
    )
    np.testing.assert_allclose(ensemble.predict(X).mean, expected, atol=1e-5)
    ensemble.save(tmp_path / "a.tfhyper")
    loaded = DeepEnsemble.load(tmp_path / "a.tfhyper")
    np.testing.assert_array_equal(loaded.predict(X).mean, ensemble.predict(X).mean)
    again = DeepEnsemble(models, scaling=ensemble.scaling)
    np.testing.assert_array_equal(again.predict(X).mean, ensemble.predict(X).mean)


@pytest.mark.parametrize("method, per_draw", FORMS)
def test_maps_weights_masks_and_data_sets(method, per_draw):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    body = [layers.HyperDense(5), keras.layers.Dense(3, kernel_initializer="he_normal")]
    maps = PosteriorPredictor(keras.Sequential([keras.Input((10, 4)), *body]), 3)
    flat = PosteriorPredictor(keras.Sequential([keras.Input((4,)), *body]), 3)
    flat.draws = maps.draws
    options = {"per_draw": per_draw, "verbose": 0}
    x, y = X.reshape(30, 10, 4), Y.reshape(30, 10)
    maps.fit_scaling(x, y, method, **options)
    flat.fit_scaling(X, Y, method, **options)
    np.testing.assert_allclose(
        maps.predict(x).mean.reshape(-1, 3), flat.predict(X).mean, atol=2e-3
    )
    weights = RNG.uniform(0.5, 2.0, (30, 10))
    weights[:5] = 0.0
    weighted = maps.fit_scaling(x, y, method, sample_weight=weights, **options).scaling
    kept = weights.reshape(-1) > 0
    expected = flat.fit_scaling(
        X[kept], Y[kept], method, sample_weight=weights.reshape(-1)[kept], **options
    ).scaling
    probs = flat.predict(X[:20]).members[0]
    probs = probs / probs.sum(-1, keepdims=True)
    np.testing.assert_allclose(weighted(probs), expected(probs), atol=2e-3)
    data = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(7)
    by_data = maps.fit_scaling(data, method=method, **options).scaling
    np.testing.assert_allclose(by_data(probs), weighted(probs), atol=2e-3)


def test_draws_in_one_network_are_scaled_as_one():
    predictor = classifier(averaging="widening")
    before = predictor.evaluate(X, Y)["nll"]
    assert predictor.fit_scaling(X, Y).scaling.per_draw
    assert predictor.evaluate(X, Y)["nll"] < before


def test_several_outputs_have_scalings_by_their_names(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = layers.HyperDense(8)(inputs)
    kind, size = keras.layers.Dense(3)(hidden), keras.layers.Dense(1)(hidden)
    outputs = {"kind": kind, "size": size}
    model = keras.Model(inputs, outputs)
    told = {"kind": "logits", "size": "mean"}
    plain = PosteriorPredictor(model, 3, outputs=told)
    made = PosteriorPredictor(
        model, 3, outputs=told, scaling={"kind": scaling.Temperature(3.0)}
    )
    mean = plain.predict(X)["kind"].mean
    expected = softmax(np.log(mean) / 3, -1)
    np.testing.assert_allclose(made.predict(X)["kind"].mean, expected, atol=1e-5)
    made.save(tmp_path / "a.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "a.tfhyper")
    assert loaded.scaling == {"kind": scaling.Temperature(3.0), "size": None}
    loaded.scaling = None
    np.testing.assert_array_equal(loaded.predict(X)["kind"].mean, mean)
    with pytest.raises(ValueError, match="`fit_scaling` is for models with one output"):
        made.fit_scaling(X, {"kind": Y, "size": Y})
    for bad in (scaling.Temperature(2.0), {"other": None}):
        with pytest.raises(TypeError, match="`scaling` must be a dict with names"):
            made.scaling = bad
    with pytest.raises(ValueError, match="A scaling is for classifiers"):
        made.scaling = {"size": scaling.Temperature(2.0)}


def test_a_rejection_of_before_is_warned_of():
    predictor = classifier(rejection=Rejection(0.9))
    with pytest.warns(scaling.CalibrationWarning, match="`rejection` was chosen"):
        predictor.fit_scaling(X, Y)
    assert predictor.rejection == Rejection(0.9)


def test_bad_arguments_are_refused_and_change_nothing():
    before = scaling.Temperature(2.0)
    predictor = classifier(scaling=before)
    for error, words, call in (
        (ValueError, "`method` must be", lambda: predictor.fit_scaling(X, Y, "t")),
        (ValueError, "`y` must hold the labels", lambda: predictor.fit_scaling(X)),
        (ValueError, "`y` must lie in", lambda: predictor.fit_scaling(X, Y + 1)),
        (ValueError, "two classes or more", lambda: predictor.fit_scaling(X, 0 * Y)),
        (ValueError, "`x` must", lambda: predictor.fit_scaling(X[:0], Y[:0])),
        (ValueError, "`x` must", lambda: predictor.fit_scaling(X * np.nan, Y)),
        (
            ValueError,
            "none of the classes",
            lambda: predictor.fit_scaling(X, Y % 2, "platt"),
        ),
        (
            ValueError,
            "`per_draw` must be False",
            lambda: predictor.fit_scaling(X, Y, "isotonic", per_draw=True),
        ),
        (
            ValueError,
            "`regularization` must be left out",
            lambda: predictor.fit_scaling(X, Y, regularization=1),
        ),
        (
            ValueError,
            "`scaling` must be for the same number of classes",
            lambda: setattr(predictor, "scaling", scaling.Vector([1, 1], [0, 0])),
        ),
        (TypeError, "`scaling` must be", lambda: setattr(predictor, "scaling", 2.0)),
        (TypeError, "`scaling` must be", lambda: classifier(scaling=2.0)),
        (
            ValueError,
            "`predict_anytime` decides by what single",
            lambda: predictor.predict_anytime(X),
        ),
    ):
        with pytest.raises(error, match=words):
            call()
    assert predictor.scaling is before
    numbers = PosteriorPredictor(network(outputs=1), 2, outputs="mean")
    tags = PosteriorPredictor(network(outputs=2), 2, outputs="label_logits")
    for other in (numbers, tags):
        with pytest.raises(ValueError, match="A scaling is for classifiers"):
            other.fit_scaling(X, Y)
        with pytest.raises(ValueError, match="A scaling is for classifiers"):
            other.scaling = before
    with pytest.raises(ValueError, match="`scaling` is for classes and labels"):
        PosteriorPredictor(network(outputs=1), outputs="mean", scaling=before)


def test_a_file_with_another_scaling_is_refused(tmp_path):
    predictor = classifier(scaling=scaling.Temperature(2.0))
    predictor.save(tmp_path / "a.tfhyper")
    with zipfile.ZipFile(tmp_path / "a.tfhyper") as file:
        content = {name: file.read(name) for name in file.namelist()}
    assert json.loads(content["scaling.json"]) == predictor.scaling.to_json()
    for bad in (
        {"method": "temperature", "temperature": -1, "per_draw": False},
        {"method": "vector", "weights": [1, 1], "biases": [0, 0], "per_draw": False},
        [1],
        "{",
    ):
        changed = {**content, "scaling.json": json.dumps(bad)}
        with zipfile.ZipFile(tmp_path / "bad.tfhyper", "w") as file:
            for name, value in changed.items():
                file.writestr(name, value)
        with pytest.raises(ValueError, match="`path` must be a whole file"):
            PosteriorPredictor.load(tmp_path / "bad.tfhyper")


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are of TensorFlow"
)
@pytest.mark.parametrize("make, y", [(classifier, Y), (detector, Y1)])
@pytest.mark.parametrize("method, per_draw", FORMS)
def test_exports_hold_it(method, per_draw, make, y, tmp_path):
    import tensorflow as tf

    predictor = make().fit_scaling(X, y, method, per_draw=per_draw)
    predictor.fit_rejection(X, coverage=0.8)
    tfhyper.export.saved_model(predictor, tmp_path / "model")
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    inputs = tf.constant(X)
    found = signatures["serving_default"](inputs=inputs)
    found = {name: value.numpy() for name, value in found.items()}
    prediction = predictor.predict(X)
    atol = max(1e-5, 4 * predictor.scaling.rounding)
    for name, value in (
        ("probabilities", prediction.mean),
        ("total", prediction.total),
        ("aleatoric", prediction.aleatoric),
        ("epistemic", prediction.epistemic),
    ):
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)
    assert np.mean(found["rejected"] == prediction.rejected) > 0.98
    members = signatures["members"](inputs=inputs)["members"].numpy()
    np.testing.assert_allclose(members.swapaxes(0, 1), prediction.members, atol=1e-5)
    told = json.loads(signatures["metadata"]()["metadata"].numpy())
    assert told["scaling"] == {"method": method, "per_draw": per_draw}


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are of TensorFlow"
)
@pytest.mark.parametrize("method", METHODS)
def test_files_of_other_runtimes_hold_it(method, tmp_path):
    require(Onnx)
    predictor = classifier().fit_scaling(X, Y, method)
    path = str(tmp_path / "model.onnx")
    report = tfhyper.export.onnx(predictor, path, check_data=(X, Y), verbose=0)
    found = Onnx.run(path, inputs=X)["probabilities"]
    np.testing.assert_allclose(
        found, predictor.predict(X).mean, atol=max(1e-5, predictor.scaling.rounding)
    )
    assert report.scores["file"]["nll"] == pytest.approx(
        predictor.evaluate(X, Y)["nll"], abs=1e-3
    )
