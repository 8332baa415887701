"""Predictors with conformal rules: by hand, in their order, through files, exported."""

import copy
import json
import pickle
import warnings
import zipfile

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.runtimes import LiteRT, Onnx, OpenVINO, require
from tfhyper import DeepEnsemble, PosteriorPredictor, conformal, heads, layers
from tfhyper.conformal import ConformalIntervals, ConformalSets
from tfhyper.scaling import CalibrationWarning, Temperature

RNG = np.random.default_rng(0)
X = (2 * RNG.normal(size=(300, 4))).astype("float32")
ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports are of TensorFlow"
)
SCORES = ("lac", "aps", "raps")
METHODS = ("split", "normalized", "quantile")


def network(seed=0, outputs=3, shape=(4,), activation=None):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.HyperDense(8, activation="tanh"),
            keras.layers.Dense(outputs, activation, kernel_initializer="he_normal"),
        ]
    )


def classifier(**options):
    return PosteriorPredictor(network(), 4, **options)


def detector(**options):
    return PosteriorPredictor(network(outputs=1), 4, outputs="label_logits", **options)


def regressor(outputs=1, **options):
    options = {"outputs": "mean", "noise_variance": 0.3, **options}
    return PosteriorPredictor(network(outputs=outputs), 4, **options)


def with_variance(targets=1):
    model = network(outputs=2 * targets)
    both = model.outputs[0]
    mean, raw = both[..., :targets], both[..., targets:]
    outputs = [mean, keras.ops.softplus(raw) + 0.1]
    return PosteriorPredictor(
        keras.Model(model.inputs, outputs), 4, outputs="mean_and_variance"
    )


def with_head(targets=1):
    head = heads.NormalHead(targets)
    inner = network(outputs=head.units)
    return PosteriorPredictor(keras.Model(inner.inputs, head(inner.outputs[0])), 4)


def noisy_labels(predictor):
    mean = predictor.predict(X).mean.astype("float64")
    if mean.shape[-1] == 1:
        return (RNG.uniform(size=300) < 0.2 + 0.6 * mean[:, 0]).astype(int)
    rows = mean / mean.sum(-1, keepdims=True)
    return np.array([RNG.choice(3, p=0.7 * p + 0.1) for p in rows])


def noisy_targets(predictor):
    found = predictor.predict(X)
    return found.mean + 1.3 * found.std * RNG.normal(size=found.mean.shape)


Y, Y1 = noisy_labels(classifier()), noisy_labels(detector())
OF_CLASSES = [(classifier, Y), (detector, Y1)]
NUMBERS = {
    "mean": regressor,
    "two means": lambda: regressor(2, noise_variance=[0.2, 0.4]),
    "mean and variance": with_variance,
    "two of each": lambda: with_variance(2),
    "head": with_head,
    "head of two": lambda: with_head(2),
}
of_numbers = pytest.mark.parametrize("kind", NUMBERS)


@pytest.mark.parametrize("make, y", OF_CLASSES, ids=["classes", "label"])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("by_class", [False, True])
def test_a_classifier_holds_a_rule_and_its_file_does(
    make, y, score, by_class, tmp_path
):
    predictor = make()
    before = predictor.predict(X)
    assert predictor.fit_conformal(X[:200], y[:200], 0.2, score, by_class=by_class) is (
        predictor
    )
    # Predictions that were there already, in one part.
    rule = conformal.fit_sets(
        y[:200], before.take(slice(0, 200)), 0.2, score, by_class=by_class
    )
    assert predictor.conformal.by_class == by_class
    np.testing.assert_allclose(
        predictor.conformal.thresholds, rule.thresholds, atol=1e-6
    )
    found = predictor.predict(X)
    np.testing.assert_array_equal(found.sets, predictor.conformal(before))
    assert found.sets.dtype == bool and found.sets.shape == (300, max(2, y.max() + 1))
    scores = predictor.evaluate(X[200:], y[200:], batch_size=30)
    held = found.sets[np.arange(300), y][200:]
    assert scores["set_coverage"] == pytest.approx(held.mean())
    assert scores["set_size"] == pytest.approx(found.sets[200:].sum(-1).mean())
    assert 0.65 < held.mean() < 0.97
    path = tmp_path / "a.tfhyper"
    predictor.save(path)
    for again in (
        PosteriorPredictor.load(path),
        pickle.loads(pickle.dumps(predictor)),
        copy.deepcopy(predictor),
    ):
        assert again.conformal == predictor.conformal
        np.testing.assert_array_equal(again.predict(X).sets, found.sets)
    with zipfile.ZipFile(path) as file:
        assert "conformal" not in json.loads(file.read("settings.json"))
        assert json.loads(file.read("conformal.json"))["score"] == score
    assert f"conformal: {score} sets that miss 0.2" in repr(found)
    assert found.take([3, 1]).sets.tolist() == found.sets[[3, 1]].tolist()


@of_numbers
@pytest.mark.parametrize("method", METHODS)
def test_a_regression_holds_a_rule_and_its_file_does(kind, method, tmp_path):
    predictor = NUMBERS[kind]()
    before = predictor.predict(X)
    y = noisy_targets(predictor)
    predictor.fit_conformal(X[:200], y[:200], 0.2, method, batch_size=64)
    rule = conformal.fit_intervals(y[:200], before.take(slice(0, 200)), 0.2, method)
    np.testing.assert_allclose(
        predictor.conformal.thresholds, rule.thresholds, rtol=1e-4, atol=1e-5
    )
    found = predictor.predict(X)
    lower, upper = found.conformal_interval
    assert lower.shape == found.mean.shape
    np.testing.assert_array_equal((lower, upper), predictor.conformal(before))
    inside = ((lower <= y) & (y <= upper))[200:]
    assert 0.68 < inside.mean() < 0.93
    scores = predictor.evaluate(X[200:], y[200:])
    assert scores["conformal_coverage"] == pytest.approx(inside.mean())
    width = (upper - lower)[200:].mean()
    assert scores["conformal_width"] == pytest.approx(width, rel=1e-5)
    predictor.save(tmp_path / "a.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "a.tfhyper")
    assert loaded.conformal == predictor.conformal
    np.testing.assert_array_equal(loaded.predict(X).conformal_interval, (lower, upper))
    assert f"conformal: {method} intervals" in repr(found) and " to " in repr(found)


def test_a_deep_ensemble_and_its_file(tmp_path):
    models = [network(seed) for seed in (0, 1)]
    ensemble = DeepEnsemble(models).fit_conformal(X, Y, 0.1, "aps")
    ensemble.save(tmp_path / "a.tfhyper")
    loaded = DeepEnsemble.load(tmp_path / "a.tfhyper")
    again = DeepEnsemble(models, conformal=ensemble.conformal)
    for other in (loaded, again):
        np.testing.assert_array_equal(other.predict(X).sets, ensemble.predict(X).sets)
        assert other.conformal == ensemble.conformal


def test_functions_leave_the_predictor_alone_and_know_groups():
    predictor, groups = classifier(), np.where(X[:, 0] > 0, "right", "left")
    rule = conformal.conformal_sets(predictor, X, Y, 0.2, "aps", groups=groups)
    prediction = predictor.predict(X)
    assert predictor.conformal is None and prediction.conformal is None
    sets = rule(prediction, groups)
    for group in ("left", "right"):
        inside = sets[np.arange(300), Y][groups == group]
        count = len(inside)
        # ceil((n + 1) (1 - alpha)) of those that chose it, but for equals.
        assert inside.sum() == int(np.ceil((count + 1) * 0.8 - 1e-9))
    numbers = regressor()
    y = noisy_targets(numbers)
    rule = conformal.conformal_intervals(numbers, X, y, 0.2, groups=groups)
    lower, upper = rule(numbers.predict(X), groups)
    inside = ((lower <= y) & (y <= upper))[groups == "left"]
    assert inside.sum() == int(np.ceil((len(inside) + 1) * 0.8 - 1e-9))
    with pytest.raises(ValueError, match="without `groups`.*rule.prediction, groups"):
        numbers.conformal = rule
    randomized = conformal.conformal_sets(
        predictor, X, Y, 0.2, "aps", randomized=True, seed=0
    )
    with pytest.raises(ValueError, match="without `randomized`.*the same set"):
        predictor.conformal = randomized
    with pytest.raises(TypeError, match="`predictor` must be a PosteriorPredictor"):
        conformal.conformal_sets(network(), X, Y)


def test_data_sets_and_examples_that_are_left_out():
    import tensorflow as tf

    weights = np.ones(300, "float32")
    weights[:40] = 0
    data = tf.data.Dataset.from_tensor_slices((X, Y, weights)).batch(70)
    expected = conformal.conformal_sets(classifier(), X[40:], Y[40:], 0.1)
    found = conformal.conformal_sets(classifier(), data, alpha=0.1)
    assert found.thresholds[0] == pytest.approx(expected.thresholds[0], abs=1e-6)
    groups = ["out"] * 40 + ["in"] * 260
    of_groups = conformal.conformal_sets(classifier(), data, groups=groups)
    assert of_groups.groups == ("in",)
    weights[50] = 2
    data = tf.data.Dataset.from_tensor_slices((X, Y, weights)).batch(70)
    with pytest.raises(ValueError, match="`sample_weight` must be 0 for examples"):
        classifier().fit_conformal(data)
    targets = np.zeros(300, "float32")
    data = tf.data.Dataset.from_tensor_slices((X, targets, weights * 0)).batch(70)
    with pytest.raises(ValueError, match="must hold targets that count|all 0"):
        regressor().fit_conformal(data)


def test_labels_that_are_ignored_do_not_choose():
    labels = np.where(np.arange(300) < 30, -1, Y)
    predictor = classifier(ignore_class=-1).fit_conformal(X, labels, 0.2)
    expected = classifier().fit_conformal(X[30:], Y[30:], 0.2)
    np.testing.assert_allclose(
        predictor.conformal.thresholds, expected.conformal.thresholds, atol=1e-6
    )
    found, wanted = predictor.evaluate(X, labels), expected.evaluate(X[30:], Y[30:])
    assert found["set_coverage"] == pytest.approx(wanted["set_coverage"])


# --- the order of rules ----------------------------------------------------------


def test_scaling_comes_first_and_rejection_changes_no_set():
    predictor = classifier().fit_scaling(X, Y, "vector")
    predictor.fit_conformal(X, Y, 0.1, "aps")
    rule, sets = predictor.conformal, predictor.predict(X).sets
    assert rule == conformal.fit_sets(Y, predictor.predict(X), 0.1, "aps")
    predictor.fit_rejection(X, coverage=0.5)
    found = predictor.predict(X)
    assert predictor.conformal is rule and found.rejected.any()
    np.testing.assert_array_equal(found.sets, sets)
    np.testing.assert_array_equal(found.reject(0.1).sets, sets)
    # And a rejection that was there does not change what is chosen.
    assert predictor.fit_conformal(X, Y, 0.1, "aps").conformal == rule
    scores = predictor.evaluate(X, Y)
    assert {"coverage", "selective_error", "set_coverage", "set_size"} <= set(scores)


def batch_normalised():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.HyperDense(6),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ]
    )


def test_what_changes_predictions_drops_the_rule():
    predictor = classifier().fit_conformal(X, Y, 0.1)
    rule = predictor.conformal
    predictor.scaling = None  # as it was
    assert predictor.conformal is rule
    with pytest.warns(CalibrationWarning, match="another scaling.*None from now on"):
        predictor.fit_scaling(X, Y)
    assert predictor.conformal is None
    with pytest.raises(ValueError, match="must have a rule.*`fit_conformal`"):
        _ = predictor.predict(X).sets
    predictor.fit_conformal(X, Y, 0.1)
    with pytest.warns(CalibrationWarning, match="another scaling"):
        predictor.scaling = Temperature(3.0)
    predictor.fit_conformal(X, Y, 0.1)
    with pytest.warns(CalibrationWarning, match="other draws"):
        predictor.draws = predictor.draws[::-1]
    assert predictor.conformal is None
    normed = PosteriorPredictor(batch_normalised(), 2)
    normed.estimate_batch_norm(X, verbose=0).fit_conformal(X, Y, 0.1)
    with pytest.warns(CalibrationWarning, match="other moments of BatchNorm"):
        normed.estimate_batch_norm(X[:100], verbose=0)
    assert normed.conformal is None


def test_another_noise_drops_what_goes_by_it():
    predictor = regressor()
    y = noisy_targets(predictor)
    for method in METHODS:
        predictor.fit_conformal(X, y, 0.1, method)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            predictor.fit_noise(X, y)
        told = [x for x in found if issubclass(x.category, CalibrationWarning)]
        assert (predictor.conformal is None) == bool(told) == (method != "split")


# --- refused ---------------------------------------------------------------------


def test_maps_and_several_answers_are_refused_by_name():
    maps = PosteriorPredictor(network(shape=(5, 6, 4)), 2)
    images = np.zeros((20, 5, 6, 4), "float32")
    labels = RNG.integers(0, 3, (20, 5, 6))
    for call in (
        lambda: maps.fit_conformal(images, labels),
        lambda: conformal.conformal_sets(maps, images, labels),
        lambda: setattr(maps, "conformal", ConformalSets(0.1, 0.5)),
    ):
        with pytest.raises(ValueError, match="of examples.*map_probabilities"):
            call()
    numbers = regressor()
    of_maps = PosteriorPredictor(network(outputs=2, shape=(5, 4)), 2, outputs="mean")
    with pytest.raises(ValueError, match="Conformal intervals are of examples"):
        of_maps.fit_conformal(images[:, 0, :5], np.zeros((20, 5, 2)))
    tags = PosteriorPredictor(network(outputs=2), 2, outputs="label_logits")
    with pytest.raises(ValueError, match="several labels are not independent"):
        tags.fit_conformal(X, RNG.integers(0, 2, (300, 2)))
    inputs = keras.Input((4,))
    hidden = layers.HyperDense(3)(inputs)
    outputs = {"a": keras.layers.Dense(3)(hidden), "b": keras.layers.Dense(1)(hidden)}
    several = PosteriorPredictor(
        keras.Model(inputs, outputs), 2, outputs={"a": "logits", "b": "mean"}
    )
    with pytest.raises(ValueError, match="of a model with one output"):
        several.fit_conformal(X, {"a": Y, "b": Y})
    for predictor, rule in (
        (numbers, ConformalSets(0.1, 0.5)),
        (classifier(), ConformalIntervals(0.1, 0.5)),
    ):
        with pytest.raises(ValueError, match="`method` or `score` must be one of"):
            predictor.conformal = rule
    for rule, words in (
        (ConformalSets(0.1, [0.5, 0.5]), "one threshold, or 3"),
        (0.5, "`conformal` must be a tfhyper.conformal.ConformalSets"),
        ({"alpha": 0.1}, "`conformal` must be a tfhyper"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            classifier(conformal=rule)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"alpha": 0.0}, "`alpha` must be in 0 < alpha < 1"),
        ({"alpha": 0.001}, "`y` must hold at least 999 labels.*Received: 300"),
        ({"method": "split"}, "`method` or `score` must be one of"),
        ({"method": "best"}, "`method` or `score` must be one of"),
        ({"by_class": "yes"}, "`by_class` must be True or False"),
        ({"penalty": 0.1}, "`penalty` and `free_classes` are of"),
        ({"y": None}, "`y` must hold the labels"),
        ({"y": 0 * Y}, "labels of two classes or more"),
        ({"y": Y + 1}, "`y` must lie in"),
        ({"y": Y[:-1]}, "`y`"),
        ({"x": X[:0], "y": Y[:0]}, "`x` must"),
        ({"x": X * np.nan}, "`x` must"),
        ({"y": np.minimum(Y, 1), "by_class": True}, "Received: 0 of class 2"),
    ],
)
def test_calibration_data_that_choose_nothing_are_refused(changes, words):
    predictor = classifier(conformal=ConformalSets(0.1, 0.5))
    with pytest.raises(ValueError, match=words):
        predictor.fit_conformal(**{"x": X, "y": Y, **changes})
    assert predictor.conformal == ConformalSets(0.1, 0.5)


def test_numbers_that_choose_nothing_are_refused():
    predictor, y = regressor(), noisy_targets(regressor())
    for changes, words in (
        ({"y": y * np.nan}, "`y`"),
        ({"y": y[:, None, None]}, "`y`"),
        ({"by_class": True}, "`by_class`, `penalty` and `free_classes` are of sets"),
        ({"method": "lac"}, "`method` or `score` must be one of"),
        ({"x": X[:5], "y": y[:5]}, "at least 9 labels.*Received: 5"),
    ):
        with pytest.raises(ValueError, match=words):
            predictor.fit_conformal(**{"x": X, "y": y, **changes})
    sure = DeepEnsemble([network(outputs=1)], outputs="mean")
    with pytest.raises(ValueError, match="a standard deviation above 0"):
        sure.fit_conformal(X, y, 0.1, "normalized")


def test_files_with_another_rule_are_refused(tmp_path):
    predictor = classifier().fit_conformal(X, Y, 0.1)
    predictor.save(tmp_path / "a.tfhyper")
    with zipfile.ZipFile(tmp_path / "a.tfhyper") as file:
        content = {name: file.read(name) for name in file.namelist()}
    good = json.loads(content["conformal.json"])
    settings = json.loads(content["settings.json"])
    for changes in (
        {"conformal.json": json.dumps({**good, "thresholds": [["nan"]]})},
        {"conformal.json": json.dumps({**good, "thresholds": [[0.1, 0.2]]})},
        {"conformal.json": json.dumps({**good, "alpha": 3})},
        {"conformal.json": json.dumps({**good, "randomized": True, "score": "aps"})},
        {"conformal.json": json.dumps({**good, "more": 1})},
        {"conformal.json": json.dumps([1])},
        {"conformal.json": "{"},
        {"settings.json": json.dumps({**settings, "conformal": good})},
    ):
        with zipfile.ZipFile(tmp_path / "bad.tfhyper", "w") as file:
            for name, value in {**content, **changes}.items():
                file.writestr(name, value)
        with pytest.raises(ValueError, match="`path` must be a whole file"):
            PosteriorPredictor.load(tmp_path / "bad.tfhyper")


# --- exports ---------------------------------------------------------------------


def served(path):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(path)).signatures
    found = signatures["serving_default"](inputs=tf.constant(X))
    told = json.loads(signatures["metadata"]()["metadata"].numpy())
    return {name: value.numpy() for name, value in found.items()}, told


@ON_TENSORFLOW
@pytest.mark.parametrize("make, y", OF_CLASSES, ids=["classes", "label"])
@pytest.mark.parametrize("score", SCORES)
def test_saved_models_give_the_sets(make, y, score, tmp_path):
    predictor = make().fit_conformal(X, y, 0.2, score, by_class=score != "lac")
    tfhyper.export.saved_model(predictor, tmp_path / "model", sampling=True)
    found, told = served(tmp_path / "model")
    sets = predictor.predict(X).sets
    assert found["sets"].dtype == bool
    # Also of those examples that are at a threshold: they chose it.
    np.testing.assert_array_equal(found["sets"], sets)
    assert 0 < sets.mean() < 1
    assert told["conformal"] == json.loads(json.dumps(predictor.conformal.to_json()))
    import tensorflow as tf

    sample = tf.saved_model.load(str(tmp_path / "model")).signatures["sample"]
    assert "sets" not in sample.structured_outputs


@ON_TENSORFLOW
@of_numbers
@pytest.mark.parametrize("method", METHODS)
def test_saved_models_give_the_intervals(kind, method, tmp_path):
    predictor = NUMBERS[kind]()
    predictor.fit_conformal(X, noisy_targets(predictor), 0.2, method)
    if method == "quantile" and "head" in kind:
        with pytest.raises(ValueError, match='`conformal` must be of "split"'):
            tfhyper.export.saved_model(predictor, tmp_path / "model")
        return
    tfhyper.export.saved_model(predictor, tmp_path / "model")
    found, _ = served(tmp_path / "model")
    lower, upper = predictor.predict(X).conformal_interval
    np.testing.assert_allclose(found["lower"], lower, atol=2e-5)
    np.testing.assert_allclose(found["upper"], upper, atol=2e-5)


@ON_TENSORFLOW
@pytest.mark.parametrize(
    "runtime, score",
    [(Onnx, "aps"), (Onnx, "raps"), (LiteRT, "raps"), (OpenVINO, "raps")],
)
def test_files_of_other_runtimes_give_the_sets(runtime, score, tmp_path):
    require(runtime)
    predictor = classifier().fit_conformal(X, Y, 0.2, score, by_class=True)
    path = str(tmp_path / runtime.name)
    report = runtime.export(predictor, path, check_data=(X, Y), verbose=0)
    assert report.differences["sets"] == 0
    found = runtime.run(path, inputs=X)
    np.testing.assert_array_equal(found["sets"], predictor.predict(X).sets)


@ON_TENSORFLOW
@pytest.mark.parametrize("runtime", [Onnx, LiteRT])
def test_files_of_other_runtimes_give_the_intervals(runtime, tmp_path):
    require(runtime)
    predictor = with_variance(2)
    y = noisy_targets(predictor)
    predictor.fit_conformal(X, y, 0.2, "quantile")
    path = str(tmp_path / runtime.name)
    report = runtime.export(predictor, path, check_data=(X, y), verbose=0)
    assert max(report.differences["lower"], report.differences["upper"]) < 1e-5
    found = runtime.run(path, inputs=X)
    lower, upper = predictor.predict(X).conformal_interval
    np.testing.assert_allclose(found["lower"], lower, atol=2e-5)
    np.testing.assert_allclose(found["upper"], upper, atol=2e-5)


# --- maps ------------------------------------------------------------------------


def test_mapie_controls_the_risk_of_maps():
    from mapie.risk_control import SemanticSegmentationController

    predictor = PosteriorPredictor(network(shape=(6, 7, 4), outputs=2), 3)
    rng = np.random.default_rng(1)
    images = (2 * rng.normal(size=(200, 6, 7, 4))).astype("float32")
    probs = predictor.predict(images).mean[..., 1]
    masks = rng.uniform(size=probs.shape) < probs
    masks[:, 0, 0] = True  # MAPIE asks for one in each
    function = conformal.map_probabilities(predictor, channel=1, batch_size=50)
    np.testing.assert_allclose(function(images)[:, 0], probs, atol=1e-6)
    controller = SemanticSegmentationController(
        function, target_level=0.8, risk="recall"
    )
    controller.calibrate(images[:100], masks[:100].reshape(100, -1))
    found = controller.predict(images[100:])
    assert found.shape == (100, 1, 6, 7)
    # By the formula of conformal risk control, on MAPIE's grid.
    grid = np.arange(0, 1, 0.01)
    above = probs[:100, None] > grid[:, None, None]
    hits = (above & masks[:100, None]).sum((2, 3))
    risk = 1 - hits / masks[:100].sum((1, 2))[:, None]
    bound = 100 / 101 * risk.mean(0) + 1 / 101
    best = grid[bound <= 0.2].max()
    np.testing.assert_array_equal(found[:, 0], probs[100:] > best)
    recall = (found[:, 0] & masks[100:]).sum((1, 2)) / masks[100:].sum((1, 2))
    assert 0.72 < recall.mean() < 0.9
    for bad, words in (
        (classifier(), "`predictor` must be one of classes or labels of pixels"),
        (regressor(), "`predictor` must be one of classes or labels of pixels"),
    ):
        with pytest.raises(ValueError, match=words):
            conformal.map_probabilities(bad)
    with pytest.raises(ValueError, match="`channel` must be an integer from 0 to 1"):
        conformal.map_probabilities(predictor, 2)
