"""Scorers of predictors: rejections by them, files, copies, and what is refused."""

import copy
import json
import pickle
import zipfile

import keras
import numpy as np
import pytest

from tfhyper import DeepEnsemble, PosteriorPredictor, Rejection, detection, layers

RNG = np.random.default_rng(0)
Y = np.arange(120) % 3
X = (RNG.normal(size=(120, 4)) + 2 * np.eye(4)[Y]).astype("float32")
FAR = (9 * RNG.normal(size=(30, 4))).astype("float32")


def network(layer=layers.BayesDense, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            layer(6, activation="tanh", name="hidden"),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def classifier():
    return PosteriorPredictor(network(), 3)


def scorers():
    return {
        name: (kind(k=5) if name == "nearest_neighbours" else kind())
        for name, kind in detection.SCORERS.items()
    }


@pytest.mark.parametrize("name", detection.SCORERS)
def test_a_scorer_comes_back_from_its_file_and_that_of_its_predictor(name, tmp_path):
    predictor = classifier()
    scorer = scorers()[name].fit(predictor, X, Y)
    expected = scorer.score(FAR)
    scorer.save(tmp_path / "a.npz")
    again = detection.load(tmp_path / "a.npz", predictor)
    assert type(again) is type(scorer) and again.config() == scorer.config()
    np.testing.assert_array_equal(again.score(FAR), expected)

    predictor.fit_rejection(X, coverage=0.9, score=scorer)
    assert predictor.scorer is scorer and predictor.rejection.score == "foreign"
    predictor.save(tmp_path / "a.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "a.tfhyper")
    assert loaded.rejection == predictor.rejection
    found, before = loaded.predict(FAR), predictor.predict(FAR)
    np.testing.assert_allclose(found.foreign, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.rejected, before.rejected)
    np.testing.assert_array_equal(
        before.rejected, before.foreign > predictor.rejection.threshold
    )
    # For the loaded predictor, which has the same draws and weights.
    shared = detection.load(tmp_path / "a.npz", loaded)
    np.testing.assert_allclose(shared.score(FAR), expected, rtol=1e-5, atol=1e-6)


def test_predictions_are_unknown_by_a_scorer():
    predictor = classifier()
    scorer = detection.Mahalanobis().fit(predictor, X, Y)
    assert predictor.predict(X).foreign is None
    predictor.fit_rejection(X, coverage=0.9, score=scorer)
    found = predictor.predict(X)
    assert (~found.rejected).sum() == 108
    np.testing.assert_array_equal(found.foreign, scorer.score(X))
    assert (found.label[found.rejected] == -1).all()
    assert predictor.predict(FAR).rejected.mean() > 0.5
    parts = list(predictor.predict_batches(X, batch_size=50))
    joined = np.concatenate([part.foreign for part in parts])
    np.testing.assert_allclose(joined, found.foreign, rtol=1e-4)
    scores = predictor.evaluate(X, Y)
    assert scores["coverage"] == pytest.approx(0.9)
    right = found.mean.argmax(-1) == Y
    wrong = 1 - right[~found.rejected].mean()
    assert scores["selective_error"] == pytest.approx(wrong)
    assert "foreign" in repr(found)
    # By name, of one that needs no training data, and by an error.
    predictor.fit_rejection(X, Y, error=0.5, score="energy")
    assert isinstance(predictor.scorer, detection.Energy)
    # Another rule by the scorer that is there.
    predictor.fit_rejection(X, coverage=0.7, score="foreign")
    assert (~predictor.predict(X).rejected).sum() == 84
    predictor.fit_rejection(X, coverage=0.7)
    assert predictor.rejection.score == "total"
    predictor.scorer = None
    assert predictor.predict(X).foreign is None


def test_copies_have_a_scorer_of_their_own():
    predictor = classifier()
    scorer = detection.ViM(dimensions=3).fit(predictor, X)
    predictor.fit_rejection(X, coverage=0.8, score=scorer)
    expected = predictor.predict(FAR)
    for made in (copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))):
        assert made.scorer is not scorer and made.scorer.predictor is made
        found = made.predict(FAR)
        np.testing.assert_allclose(found.foreign, expected.foreign, rtol=1e-5)
        np.testing.assert_array_equal(found.rejected, expected.rejected)


def test_an_ensemble_has_one_too(tmp_path):
    models = [network(keras.layers.Dense, seed) for seed in (0, 1)]
    ensemble = DeepEnsemble(models)
    scorer = detection.NearestNeighbours(k=3).fit(ensemble, X)
    ensemble.fit_rejection(X, coverage=0.9, score=scorer)
    found = ensemble.predict(FAR)
    ensemble.save(tmp_path / "a.tfhyper")
    loaded = DeepEnsemble.load(tmp_path / "a.tfhyper")
    np.testing.assert_allclose(loaded.predict(FAR).foreign, found.foreign, rtol=1e-5)
    # Of paths, which are read when it is their turn.
    paths = [str(tmp_path / f"{i}.keras") for i in range(2)]
    for model, path in zip(models, paths, strict=True):
        model.save(path)
    of_paths = detection.NearestNeighbours(k=3).fit(DeepEnsemble(paths), X)
    np.testing.assert_allclose(of_paths.score(FAR), found.foreign, rtol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path):
    predictor = classifier()
    other = detection.Mahalanobis().fit(classifier(), X, Y)
    for score, message in (
        ("mahalanobis", r"`score` must be a fitted scorer, .*Mahalanobis\(\).fit"),
        ("none", "`score` must be one of"),
        ("foreign", '`score` must be another than "foreign"'),
        (detection.Mahalanobis(), "`score` must be a scorer that was fitted to this"),
        (other, "`score` must be a scorer that was fitted to this"),
        (7, "`score` must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.fit_rejection(X, coverage=0.9, score=score)
    assert predictor.scorer is None and predictor.rejection is None
    with pytest.raises(ValueError, match="`scorer` must be a scorer that was fitted"):
        predictor.scorer = other
    with pytest.raises(ValueError, match='`score` must be another than "foreign"'):
        predictor.rejection = Rejection(1.0, "foreign")
    with pytest.raises(ValueError, match='`score` must be another than "foreign"'):
        predictor.predict(X).reject(1.0, "foreign")
    with pytest.raises(ValueError, match="`threshold` must be a finite number"):
        Rejection(float("nan"), "foreign")
    assert Rejection(-3.0, "foreign").threshold == -3.0
    predictor.fit_rejection(X, coverage=0.9, score="energy")
    with pytest.raises(ValueError, match="`scorer` cannot change under a `rejection`"):
        predictor.scorer = None
    with pytest.raises(ValueError, match="`error` cannot|the error|`error`"):
        predictor.fit_rejection(X, (Y + 1) % 3, error=0.0, score="max_logit")
    assert isinstance(predictor.scorer, detection.Energy)
    regression = PosteriorPredictor(network(), 2, outputs="mean")
    with pytest.raises(ValueError, match="`predictor` must be a classifier"):
        regression.fit_rejection(X, coverage=0.9, score="energy")


def rewritten(path, target, name, change):
    with zipfile.ZipFile(path) as file:
        content = {x: file.read(x) for x in file.namelist()}
    content[name] = change(content[name])
    with zipfile.ZipFile(target, "w") as file:
        for x, value in content.items():
            file.writestr(x, value)


def test_files_of_others_are_refused(tmp_path):
    predictor = classifier()
    scorer = detection.Mahalanobis().fit(predictor, X, Y)
    path = tmp_path / "a.npz"
    scorer.save(path)
    with pytest.raises(FileExistsError, match="`path` must be free"):
        scorer.save(path)
    scorer.save(path, overwrite=True)
    with pytest.raises(ValueError, match="fitted to another predictor"):
        detection.load(path, PosteriorPredictor(network(), 3, seed=1))
    with pytest.raises(ValueError, match="fitted to another predictor"):
        detection.load(path, PosteriorPredictor(network(seed=1), 3))
    with pytest.raises(FileNotFoundError, match="`path` must be a file"):
        detection.load(tmp_path / "absent.npz", predictor)
    with pytest.raises(ValueError, match="must be fitted: call `fit`"):
        detection.Mahalanobis().save(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", means=np.ones(3))
    (tmp_path / "d.npz").write_bytes(path.read_bytes()[:-40])
    for name in ("c.npz", "d.npz"):
        with pytest.raises(ValueError, match="`path` must be a whole file"):
            detection.load(tmp_path / name, predictor)


def test_predictors_with_a_scorer_of_another_are_refused(tmp_path):
    predictor = classifier()
    scorer = detection.Mahalanobis().fit(predictor, X, Y)
    predictor.fit_rejection(X, coverage=0.9, score=scorer)
    predictor.save(tmp_path / "a.tfhyper")

    def with_change(**changes):
        return lambda text: json.dumps({**json.loads(text), **changes}).encode()

    for changes in (
        {"scorer": "none"},
        {"scorer": "energy"},
        {"arguments": {"layer": "hidden", "unknown": 1}},
        {"key": [1, 2, 3]},
        {"format": "tfhyper scorer 9"},
        {"draws": 2},
    ):
        target = tmp_path / "bad.tfhyper"
        rewritten(tmp_path / "a.tfhyper", target, "scorer.json", with_change(**changes))
        with pytest.raises(ValueError, match="`path` must be a whole file"):
            PosteriorPredictor.load(target)

    def without(data):
        return data[: len(data) // 2]

    rewritten(tmp_path / "a.tfhyper", target, "scorer.npz", without)
    with pytest.raises(ValueError, match="`path` must be a whole file"):
        PosteriorPredictor.load(target)


def test_what_a_file_holds_is_told(tmp_path):
    from tfhyper.cli.describe import describe

    predictor = classifier()
    predictor.fit_rejection(X, coverage=0.9, score="energy")
    predictor.save(tmp_path / "a.tfhyper")
    found = describe(str(tmp_path / "a.tfhyper"))
    assert found["settings"]["scorer"] == "energy"
    assert found["settings"]["rejection"]["score"] == "foreign"
