"""Predictions that say unknown: by hand, through files, and refused."""

import dataclasses
import json
import zipfile

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper import DeepEnsemble, PosteriorPredictor, Rejection, layers

RNG = np.random.default_rng(0)
X = (2 * RNG.normal(size=(300, 4))).astype("float32")
Y = RNG.integers(0, 3, 300)


def network(seed=0, outputs=3, layer=layers.HyperDense):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layer(8, activation="tanh"),
            keras.layers.Dense(outputs, kernel_initializer="he_normal"),
        ]
    )


def classifier(**options):
    return PosteriorPredictor(network(), 4, **options)


def regression(**options):
    options = {"outputs": "mean", "noise_variance": 0.1, **options}
    return PosteriorPredictor(network(outputs=1), 4, **options)


@pytest.fixture(scope="module")
def prediction():
    return classifier().predict(X)


def by_hand(members, score):
    """Returns a score from the members' probabilities, in plain NumPy."""

    def entropy(p):
        return -np.sum(p * np.log(p), axis=-1)

    members = members.astype("float64")
    mean = members.mean(0)
    aleatoric = entropy(members).mean(0)
    return {
        "total": entropy(mean),
        "aleatoric": aleatoric,
        "epistemic": entropy(mean) - aleatoric,
        "confidence": 1 - mean.max(-1),
    }[score]


SCORES = ("total", "aleatoric", "epistemic", "confidence")


@pytest.mark.parametrize("score", SCORES)
def test_a_prediction_is_unknown_where_it_is_too_uncertain(score, prediction):
    uncertainty = by_hand(prediction.members, score)
    np.testing.assert_allclose(prediction.uncertainty(score), uncertainty, atol=1e-6)
    threshold = float(np.median(uncertainty)) + 1e-5
    found = prediction.reject(threshold, score)
    rejected = uncertainty > threshold
    assert 100 < rejected.sum() < 200
    best = prediction.members.mean(0).argmax(-1)
    np.testing.assert_array_equal(found.rejected, rejected)
    np.testing.assert_array_equal(found.label, np.where(rejected, -1, best))
    assert found.rejected.dtype == bool and found.label.dtype == np.int64
    # What would have been said stays, and the first prediction is as it was.
    np.testing.assert_array_equal(found.mean, prediction.mean)
    assert prediction.rejection is None and not prediction.rejected.any()
    np.testing.assert_array_equal(prediction.label, best)
    wrong = best != Y
    assert found.selective_scores(Y) == {
        "coverage": pytest.approx(1 - rejected.mean()),
        "selective_error": pytest.approx(wrong[~rejected].mean()),
    }


def test_the_ends_of_the_range(prediction):
    # Nothing is below 0; what equals the threshold has its answer.
    assert prediction.reject(0.0).rejected.all()
    assert prediction.reject(0.0).selective_scores(Y) == {"coverage": 0.0}
    assert not prediction.reject(np.log(3)).rejected.any()
    assert not prediction.reject(1, "confidence").rejected.any()
    threshold = prediction.total[7]
    assert not prediction.reject(threshold).rejected[7]
    assert prediction.reject(np.nextafter(threshold, 0)).rejected[7]


@pytest.mark.parametrize(
    "threshold, score, words",
    [
        (-0.1, "total", "`threshold` must be a finite number >= 0"),
        (np.nan, "total", "`threshold`.*Received: threshold=nan"),
        (np.inf, "total", "`threshold`.*Received: threshold=inf"),
        (None, "total", "`threshold`.*Received: threshold=None"),
        (True, "total", "`threshold`.*Received: threshold=True"),
        ("0.5", "total", "`threshold`.*Received: threshold='0.5'"),
        ([0.5], "total", "`threshold`"),
        (1.2, "total", r"at most log\(classes\) = 1.0986.*Received: threshold=1.2"),
        (1.2, "confidence", "in 0 <= threshold <= 1.*Received: threshold=1.2"),
        (0.5, "entropy", "`score` must be one of.*Received: score='entropy'"),
    ],
)
def test_bad_thresholds_are_refused(threshold, score, words, prediction):
    with pytest.raises(ValueError, match=words):
        prediction.reject(threshold, score)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("coverage", [0.3, 0.9, 1.0])
def test_a_coverage_is_kept_to_by_all_that_predicts(score, coverage):
    predictor = classifier()
    assert predictor.fit_rejection(X, coverage=coverage, score=score) is predictor
    found = predictor.predict(X)
    kept = int(np.ceil(300 * coverage - 1e-9))
    assert np.sum(~found.rejected) == kept
    least = np.sort(by_hand(found.members, score))[kept - 1]
    assert least == pytest.approx(predictor.rejection.threshold, abs=0.05)
    # In parts of another size, which other functions compute.
    again = predictor.predict(X[:48], batch_size=16).rejected
    np.testing.assert_array_equal(again, found.rejected[:48])


@pytest.mark.parametrize("rule", [{"coverage": 0.6}, {"error": 0.5}])
def test_weights_of_arrays_and_of_datasets_count(rule):
    import tensorflow as tf

    weights = RNG.integers(0, 3, 300).astype("float32")
    repeated = np.repeat(np.arange(300), weights.astype(int))
    expected = classifier().fit_rejection(X[repeated], Y[repeated], **rule).rejection
    data = tf.data.Dataset.from_tensor_slices((X, Y, weights)).batch(70)
    for found in (
        classifier().fit_rejection(X, Y, sample_weight=weights, **rule),
        classifier().fit_rejection(data, **rule),
    ):
        assert found.rejection.threshold == pytest.approx(expected.threshold, rel=1e-5)
    plain = classifier().fit_rejection(X, Y, **rule).rejection
    assert plain.threshold != pytest.approx(expected.threshold, rel=1e-4)


@pytest.mark.parametrize("wrap", [False, True])
def test_an_error_is_kept_to_at_the_largest_coverage(wrap):
    predictor = classifier()
    before = predictor.predict(X)
    labels = before.mean.argmax(-1)
    wrong = RNG.random(300) < before.total.argsort().argsort() / 500
    labels = np.where(wrong, (labels + 1) % 3, labels)
    if wrap:
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((X, labels)).batch(70)
        predictor.fit_rejection(data, error=0.2)
    else:
        predictor.fit_rejection(X, labels, error=0.2)
    order = np.argsort(before.total)
    rates = np.cumsum(wrong[order]) / np.arange(1, 301)
    kept = np.flatnonzero(rates <= 0.2).max() + 1
    assert 50 < kept < 300
    scores = predictor.evaluate(X, labels)
    assert scores["coverage"] == pytest.approx(kept / 300)
    assert scores["selective_error"] == pytest.approx(rates[kept - 1])
    # The other scores are those of all.
    assert scores["error"] == pytest.approx(wrong.mean())
    plain = classifier().evaluate(X, labels)
    assert set(scores) - set(plain) == {"coverage", "selective_error"}
    # A guarantee keeps fewer.
    cautious = predictor.fit_rejection(X, labels, error=0.3, confidence=0.9)
    assert np.sum(~cautious.predict(X).rejected) < 300


def test_all_can_be_rejected():
    predictor = classifier(rejection=Rejection(0.0))
    scores = predictor.evaluate(X, Y)
    assert scores["coverage"] == 0 and "selective_error" not in scores
    assert scores["error"] == classifier().evaluate(X, Y)["error"]
    predictor.rejection = None
    assert "coverage" not in predictor.evaluate(X, Y)
    assert not predictor.predict(X).rejected.any()


def test_a_regression_is_rejected_by_its_variance():
    predictor = regression()
    targets = RNG.normal(size=300)
    before = predictor.predict(X)
    members = before.members.astype("float64")
    for score in ("total", "epistemic"):
        predictor.fit_rejection(X, coverage=0.6, score=score)
        found = predictor.predict(X)
        kept = np.argsort(members.var(0))[:180]  # the noise is the same for all
        np.testing.assert_array_equal(np.flatnonzero(~found.rejected), np.sort(kept))
    assert predictor.rejection.threshold < before.variance.max()
    scores = predictor.evaluate(X, targets)
    errors = targets[kept] - members.mean(0)[kept]
    assert scores["coverage"] == pytest.approx(0.6)
    assert scores["selective_rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), 1e-5)
    np.testing.assert_array_equal(found.mean, before.mean)
    assert found.reject(0.0).selective_scores(targets) == {"coverage": 0.0}
    assert not found.reject(1e9).rejected.any()
    with pytest.raises(ValueError, match="`error` is for classifiers"):
        predictor.fit_rejection(X, targets, error=0.1)
    for refused in (
        lambda: predictor.fit_rejection(X, coverage=0.5, score="confidence"),
        lambda: found.reject(0.5, "confidence"),
        lambda: setattr(predictor, "rejection", Rejection(0.5, "confidence")),
    ):
        with pytest.raises(ValueError, match="`score` must be one of"):
            refused()
    with pytest.raises(ValueError, match="`targets` must have the shape"):
        found.selective_scores(targets[:-1])


def test_it_is_saved_with_the_predictor(tmp_path):
    predictor = classifier().fit_rejection(X, coverage=0.8, score="confidence")
    predictor.save(tmp_path / "a.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "a.tfhyper")
    assert loaded.rejection == predictor.rejection
    np.testing.assert_array_equal(loaded.predict(X).label, predictor.predict(X).label)
    assert loaded.settings["rejection"] == dataclasses.asdict(predictor.rejection)

    # A file from before there was such a thing.
    with zipfile.ZipFile(tmp_path / "a.tfhyper") as file:
        content = {name: file.read(name) for name in file.namelist()}
    settings = json.loads(content["settings.json"])
    del settings["rejection"]
    with zipfile.ZipFile(tmp_path / "old.tfhyper", "w") as file:
        for name, value in {**content, "settings.json": json.dumps(settings)}.items():
            file.writestr(name, value)
    assert PosteriorPredictor.load(tmp_path / "old.tfhyper").rejection is None
    settings["rejection"] = {"threshold": -1, "score": "total"}
    with zipfile.ZipFile(tmp_path / "bad.tfhyper", "w") as file:
        for name, value in {**content, "settings.json": json.dumps(settings)}.items():
            file.writestr(name, value)
    with pytest.raises(ValueError, match="`path` must be a whole file"):
        PosteriorPredictor.load(tmp_path / "bad.tfhyper")


def test_a_deep_ensemble_rejects(tmp_path):
    ensemble = DeepEnsemble(
        [network(seed, layer=keras.layers.Dense) for seed in (0, 1)]
    )
    ensemble.fit_rejection(X, coverage=0.7, score="epistemic")
    found = ensemble.predict(X)
    members = by_hand(found.members, "epistemic")
    expected = np.argsort(members)[:210]
    np.testing.assert_array_equal(np.flatnonzero(~found.rejected), np.sort(expected))
    ensemble.save(tmp_path / "a.tfhyper")
    loaded = DeepEnsemble.load(tmp_path / "a.tfhyper")
    assert loaded.rejection == ensemble.rejection
    np.testing.assert_array_equal(loaded.predict(X).label, found.label)
    assert loaded.evaluate(X, Y)["coverage"] == pytest.approx(0.7)


def test_draws_in_one_network_are_rejected_but_by_what_they_have_not():
    predictor = classifier(averaging="widening")
    found = predictor.fit_rejection(X, coverage=0.5).predict(X)
    assert np.sum(~found.rejected) == 150
    with pytest.raises(ValueError, match="0 throughout for one network"):
        predictor.fit_rejection(X, coverage=0.5, score="epistemic")
    with pytest.raises(ValueError, match="0 throughout for one network"):
        classifier(averaging="widening", rejection=Rejection(0.5, "epistemic"))
    assert predictor.rejection.score == "total"


def test_labels_of_few_draws_are_never_unknown():
    predictor = classifier(rejection=Rejection(0.0))
    assert predictor.predict_anytime(X, confidence=1.0).label.min() >= 0


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "One of `coverage` and `error`"),
        ({"coverage": 0.5, "error": 0.1}, "One of `coverage` and `error`"),
        ({"coverage": 1.5}, "`coverage` must be a fraction"),
        ({"coverage": 0.5, "score": "variance"}, "`score` must be one of"),
        ({"coverage": 0.5, "confidence": 0.9}, "`confidence` is for `error`"),
        ({"error": 0.1}, "`y` must hold the labels"),
        ({"error": 1.0, "y": Y}, "`error` must be a fraction"),
        ({"error": 0.1, "y": Y, "confidence": 1}, "`confidence` must be a prob"),
        ({"error": 0.1, "y": Y + 1}, "`y` must lie in"),
        ({"error": 1e-4, "y": Y, "confidence": 0.9}, "`error` must be at least"),
        ({"coverage": 0.5, "batch_size": 0}, "`batch_size` must be"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(options, words):
    before = Rejection(0.5)
    predictor = classifier(rejection=before)
    with pytest.raises(ValueError, match=words):
        predictor.fit_rejection(X, **options)
    assert predictor.rejection is before


def test_bad_rules_are_refused():
    for bad in (0.5, {"threshold": 0.5}, "total", (0.5, "total")):
        with pytest.raises(TypeError, match="`rejection` must be a tfhyper.Rejection"):
            classifier(rejection=bad)
    # More nats than three classes have: seen when there are probabilities.
    predictor = classifier(rejection=Rejection(2.0))
    with pytest.raises(ValueError, match=r"at most log\(classes\) = 1.0986"):
        predictor.predict(X)
    assert tfhyper.Rejection is tfhyper.posterior.Rejection
