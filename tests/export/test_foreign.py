"""Scores of foreign inputs in exported files, beside those of the predictor."""

import json

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.export import IMAGES, ROWS, calibrated, run, small_network
from tests.helpers.kits import make_kit
from tests.helpers.runtimes import FORMATS, require
from tfhyper import detection, export

RNG = np.random.default_rng(3)
X = np.concatenate([ROWS, RNG.normal(size=(75, 3)).astype("float32")])
Y = np.arange(80) % 4
FAR = np.concatenate([X[:8], 9 * RNG.normal(size=(8, 3)).astype("float32")])


def scorer_of(name, **options):
    if name == "nearest_neighbours":
        options["k"] = 5
    return detection.SCORERS[name](**options)


def network(kit, tail=(), seed=0):
    keras.utils.set_random_seed(seed)
    plain = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8, activation="tanh", name="hidden"),
            keras.layers.Dense(4, name="logits"),
            *tail,
        ]
    )
    options = {"mean_kernel": True} if kit == "hyper" else {}
    return tfhyper.convert(plain, make_kit(kit, **options))


PREDICTORS = {
    "codes": lambda: tfhyper.PosteriorPredictor(network("hyper"), 3),
    "Gaussian, softmax": lambda: tfhyper.PosteriorPredictor(
        network("bayes", [keras.layers.Softmax()]), 3
    ),
    # Two draws of each: one network without draws would be refused by some scorers.
    "ensemble": lambda: tfhyper.DeepEnsemble(
        [network("hyper", seed=1), network("bayes", seed=2)], 2
    ),
}


def assert_file(found, prediction):
    # Of float32: distances multiply the roundings of features.
    atol = 1e-4 * max(1.0, np.abs(prediction.foreign).max())
    np.testing.assert_allclose(found["foreign"], prediction.foreign, atol=atol)
    near = abs(prediction.foreign - prediction.rejection.threshold) < atol
    assert (found["rejected"] == prediction.rejected)[~near].all()
    np.testing.assert_allclose(found["probabilities"], prediction.mean, atol=1e-5)


@pytest.mark.parametrize("made", PREDICTORS)
@pytest.mark.parametrize("name", detection.SCORERS)
def test_a_file_scores_as_the_predictor(name, made, tmp_path):
    predictor = PREDICTORS[made]()
    scorer = scorer_of(name).fit(predictor, X, Y)
    predictor.fit_rejection(X, coverage=0.8, score=scorer)
    export.saved_model(predictor, tmp_path / "model")
    expected = predictor.predict(FAR)
    assert_file(run(tmp_path / "model", inputs=FAR), expected)
    # Draws of codes hardly differ here: no two of them disagree.
    if (name, made) != ("disagreement", "codes"):
        assert expected.rejected.any() and not expected.rejected.all()
    text = run(tmp_path / "model", "metadata")["metadata"]
    about = json.loads(text)
    assert about["scorer"] == {"scorer": name, "arguments": scorer.config()}
    assert about["rejection"]["score"] == "foreign"


@pytest.mark.parametrize("runtime", FORMATS, ids=lambda x: x.__name__)
@pytest.mark.parametrize("name", ["disagreement", "relative_mahalanobis", "vim"])
def test_other_runtimes_score_as_the_predictor(name, runtime, tmp_path):
    require(runtime)
    predictor = PREDICTORS["codes"]()
    scorer = scorer_of(name).fit(predictor, X, Y)
    predictor.fit_rejection(X, coverage=0.8, score=scorer)
    path = str(tmp_path / runtime.name)
    report = runtime.export(predictor, path, check_data=(FAR, Y[:16]), verbose=0)
    assert {"foreign", "rejected"} <= set(report.differences)
    assert_file(runtime.run(path, inputs=FAR), predictor.predict(FAR))


@pytest.mark.parametrize("runtime", FORMATS, ids=lambda x: x.__name__)
@pytest.mark.parametrize("name", sorted(detection.SCORERS))
def test_each_runtime_takes_each_scorer(name, runtime, tmp_path):
    """The report compares the file with the predictor, and refuses what differs."""
    require(runtime)
    predictor = PREDICTORS["Gaussian, softmax"]()
    predictor.scorer = scorer_of(name).fit(predictor, X, Y)
    report = runtime.export(predictor, str(tmp_path / runtime.name), verbose=0)
    assert report.differences["foreign"] <= report.tolerance
    assert "rejected" not in report.differences


def test_features_of_maps_and_of_the_first_draws_alone(tmp_path):
    predictor = calibrated(small_network("hyper"), 3)
    name = [x.name for x in predictor.model.layers if "pool" not in x.name][-3]
    scorer = detection.Mahalanobis(name, 2, shrinkage=None)
    scorer.fit(predictor, IMAGES, np.arange(6) % 4)
    predictor.scorer = scorer
    export.saved_model(predictor, tmp_path / "model")
    found = run(tmp_path / "model", inputs=2 * IMAGES)["foreign"]
    expected = scorer.score(2 * IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.ptp(expected) > 0


def test_fresh_draws_have_no_scores(tmp_path):
    predictor = PREDICTORS["codes"]()
    predictor.fit_rejection(X, coverage=0.8, score="energy")
    export.saved_model(predictor, tmp_path / "model", sampling=True)
    there = run(tmp_path / "model", "sample", inputs=X, seed=3)
    assert not {"foreign", "rejected"} & set(there)
    # A rejection by an uncertainty is of any draws.
    predictor.fit_rejection(X, coverage=0.8, score="total")
    export.saved_model(predictor, tmp_path / "other", sampling=True)
    there = run(tmp_path / "other", "sample", inputs=X, seed=3)
    assert "rejected" in there and "foreign" not in there
    assert "foreign" in run(tmp_path / "other", inputs=X)


def test_what_cannot_be_scored_is_refused_before_anything_is_written(tmp_path):
    # A layer between the last Dense layer and the softmax: there are no logits.
    predictor = tfhyper.PosteriorPredictor(
        network("bayes", [keras.layers.LeakyReLU(), keras.layers.Softmax()]), 2
    )
    predictor.scorer = "energy"
    with pytest.raises(ValueError, match="end in a Dense layer, with a softmax"):
        export.saved_model(predictor, tmp_path / "model")
    trained = PREDICTORS["codes"]()
    trained.scorer = scorer_of("react").fit(trained, X)
    trained.model.trainable_variables[0].assign_add(
        np.ones(trained.model.trainable_variables[0].shape)
    )
    with pytest.raises(ValueError, match="weights"):
        export.saved_model(trained, tmp_path / "model")
    assert not (tmp_path / "model").exists()
