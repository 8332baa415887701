"""Ensembles of trained networks against NumPy, and against one predictor each."""

import gc
import io
import json
import os
import pathlib
import weakref
import zipfile

import keras
import numpy as np
import pytest

from tests.helpers.layers import normal, to_numpy
from tfhyper import DeepEnsemble, Prediction, RegressionPrediction, layers
from tfhyper.layers.seeds import derive_seed
from tfhyper.posterior import PosteriorPredictor, member_models
from tfhyper.posterior.drawn_ensemble import DrawnEnsemble

X = normal(23, 5)
LABELS = np.arange(23) % 3


def classifier(seed, hidden=None, activation=None, inputs=5, classes=3):
    """A network whose BatchNorm has moving averages of its own."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            hidden or keras.layers.Dense(6, activation="relu"),
            norm,
            keras.layers.Dense(classes, activation=activation),
        ]
    )
    norm.moving_mean.assign(rng.normal(size=6))
    norm.moving_variance.assign(rng.uniform(0.5, 2, size=6))
    return model


def stochastic(seed):
    """A classifier whose first layer is drawn."""
    hidden = layers.BayesDense(6, initial_scale=0.3, activation="relu", seed=seed)
    return classifier(seed, hidden)


def softmax(logits):
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def outputs(model):
    """What a plain network gives, its outputs beside each other."""
    return np.concatenate([to_numpy(y) for y in keras.tree.flatten(model(X))], -1)


def probabilities(models):
    return np.stack([softmax(outputs(model)) for model in models])


@pytest.fixture(scope="module")
def models():
    return [classifier(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def paths(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    found = [folder / f"{i}.keras" for i in range(3)]
    for model, path in zip(models, found, strict=True):
        model.save(path)
    return found


@pytest.fixture(scope="module")
def ensemble(models):
    return DeepEnsemble(models)


@pytest.fixture(scope="module")
def bayesian():
    """Two networks of two draws each, calibrated."""
    found = [stochastic(0), stochastic(1)]
    options = {"draws_per_member": 2, "batch_norm": "reestimate", "seed": 7}
    return DeepEnsemble(found, **options).calibrate(X, verbose=0), found


# The average.


def test_the_prediction_is_the_mean_of_the_members(models, ensemble):
    assert (ensemble.num_members, ensemble.num_draws) == (3, 3)
    prediction = ensemble.predict(X, batch_size=7)
    assert isinstance(prediction, Prediction)
    expected = probabilities(models)
    assert expected.std(0).min() > 1e-3  # members differ
    np.testing.assert_allclose(prediction.members, expected, atol=1e-6)
    np.testing.assert_allclose(prediction.mean, expected.mean(0), atol=1e-6)
    total = -np.sum(expected.mean(0) * np.log(expected.mean(0)), -1)
    aleatoric = -np.sum(expected * np.log(expected), -1).mean(0)
    np.testing.assert_allclose(prediction.epistemic, total - aleatoric, atol=1e-5)
    nll = -np.log(expected.mean(0)[np.arange(23), LABELS]).mean()
    assert ensemble.evaluate(X, LABELS)["nll"] == pytest.approx(nll, rel=1e-5)
    assert ensemble.predict(X, keep_members=False).members is None


def test_members_come_in_the_order_of_the_models(models, ensemble):
    turned = DeepEnsemble([models[2], models[0], models[1]]).predict(X)
    members = ensemble.predict(X).members
    np.testing.assert_array_equal(turned.members, members[[2, 0, 1]])
    for i in range(3):
        found = softmax(outputs(ensemble.materialize(i)))
        np.testing.assert_allclose(found, members[i], atol=1e-6)


def test_members_may_be_of_different_networks(models):
    wide = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    found = DeepEnsemble([models[0], wide]).predict(X).members
    np.testing.assert_allclose(found, probabilities([models[0], wide]), atol=1e-6)


def test_probabilities_and_links(ensemble, models):
    ends = [classifier(seed, activation="softmax") for seed in range(3)]
    found = DeepEnsemble(ends)
    assert found.outputs == "probabilities"
    np.testing.assert_allclose(
        found.predict(X).mean, ensemble.predict(X).mean, atol=1e-6
    )
    found = DeepEnsemble(models, link="normalized_softplus")
    logits = np.stack([outputs(model) for model in models])
    positive = np.logaddexp(0, logits.astype("float64"))
    expected = (positive / positive.sum(-1, keepdims=True)).mean(0)
    np.testing.assert_allclose(found.predict(X).mean, expected, atol=1e-6)


def test_one_member_is_a_predictor_of_one_draw(models):
    options = {"num_draws": 1, "batch_norm": "moving_average"}
    expected = PosteriorPredictor(models[1], **options).predict(X)
    found = DeepEnsemble([models[1]]).predict(X)
    np.testing.assert_array_equal(found.members, expected.members)
    np.testing.assert_array_equal(found.mean, expected.mean)
    assert found.epistemic.max() < 1e-7


def test_members_with_random_layers_are_predictors(bayesian):
    ensemble, models = bayesian
    assert (ensemble.num_members, ensemble.num_draws) == (2, 4)
    expected = []
    for i, model in enumerate(models):
        predictor = PosteriorPredictor(model, 2, seed=derive_seed(7, i))
        expected.append(predictor.calibrate(X, verbose=0).predict(X).members)
    expected = np.concatenate(expected)
    assert np.ptp(expected, axis=0).max() > 1e-2
    found = ensemble.predict(X)
    np.testing.assert_array_equal(found.members, expected)
    for i in range(4):
        found = softmax(outputs(ensemble.materialize(i)))
        np.testing.assert_allclose(found, expected[i], atol=1e-6)


def test_mini_batches_and_dropout_are_drawn_as_by_the_predictor(models):
    options = {"batch_norm": "minibatch", "batch_size": 8}
    found = DeepEnsemble(models[:2], 2, seed=3, **options).calibrate(X, verbose=0)
    assert found.batch_size == 8
    members = found.predict(X).members
    for i in range(2):
        predictor = PosteriorPredictor(models[i], 2, seed=derive_seed(3, i), **options)
        expected = predictor.calibrate(X, verbose=0).predict(X).members
        np.testing.assert_array_equal(members[2 * i : 2 * i + 2], expected)
    with pytest.raises(ValueError, match='`dropout="sample"` needs'):
        DeepEnsemble(models, dropout="sample")


# Models that are files.


def test_paths_are_as_good_as_models(paths, ensemble, monkeypatch):
    monkeypatch.chdir(paths[0].parent)
    found = DeepEnsemble(["0.keras", paths[1], str(paths[2])])
    monkeypatch.chdir("/")
    expected = ensemble.predict(X).members
    for _ in range(2):
        np.testing.assert_array_equal(found.predict(X).members, expected)


def test_draws_of_paths_keep_their_moments(paths, models):
    options = {"batch_norm": "reestimate"}
    expected = DeepEnsemble(models, **options).calibrate(X, verbose=0)
    found = DeepEnsemble(paths, **options)
    with pytest.raises(ValueError, match="Call `estimate_batch_norm"):
        found.predict(X)
    assert found.calibrate(X, verbose=0) is found
    np.testing.assert_array_equal(found.predict(X).members, expected.predict(X).members)


def test_models_of_paths_are_let_go(paths, monkeypatch):
    seen, at_once, load = [], [], member_models.read_model

    def watched(path):
        gc.collect()
        at_once.append(sum(ref() is not None for ref in seen))
        model = load(path)
        seen.append(weakref.ref(model))
        return model

    monkeypatch.setattr(member_models, "read_model", watched)
    DeepEnsemble(paths[:2]).predict(X)
    assert len(seen) == 4 and max(at_once) <= 1


def test_a_file_that_changed_is_refused(paths, tmp_path, models):
    path = tmp_path / "net.keras"
    models[0].save(path)
    found = DeepEnsemble([path, paths[1]])
    models[2].save(path)
    for use in (found.predict, found.calibrate):
        with pytest.raises(ValueError, match="The file was written since .*models.0."):
            use(X)


def test_a_model_that_was_trained_is_refused(tmp_path):
    model = classifier(0)
    found = DeepEnsemble([model, classifier(1)])
    model.layers[0].kernel.assign(model.layers[0].kernel + 1)
    for use in (
        lambda: found.predict(X),
        lambda: found.materialize(0),
        lambda: found.save(tmp_path / "net.tfhyper"),
    ):
        with pytest.raises(ValueError, match="The model was trained since"):
            use()
    assert os.listdir(tmp_path) == []


# Calibration.


def test_a_failed_calibration_changes_nothing(bayesian, monkeypatch):
    ensemble, _ = bayesian
    before = ensemble.predict(X).members
    estimated, calls = DrawnEnsemble.estimated, []

    def fail_at_the_second(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return estimated(self, *args, **kwargs)

    monkeypatch.setattr(DrawnEnsemble, "estimated", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        ensemble.calibrate(X + 1, verbose=0)
    np.testing.assert_array_equal(ensemble.predict(X).members, before)


def test_moving_averages_need_no_calibration(ensemble, capsys):
    with pytest.raises(ValueError, match="nothing to estimate"):
        ensemble.calibrate(X)
    ensemble.predict(X, verbose=1)
    assert "predict: 3 draws" in capsys.readouterr().out


# Regression.


def regression(seed, heads):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((5,))
    x = keras.layers.Dense(6, activation="tanh")(inputs)
    mean = keras.layers.Dense(1)(x)
    if heads == "mean":
        return keras.Model(inputs, mean)
    variance = keras.layers.Dense(1, activation="softplus")(x)
    if heads == "two":
        return keras.Model(inputs, [mean, variance])
    return keras.Model(inputs, keras.layers.Concatenate()([mean, variance]))


@pytest.mark.parametrize("heads", ["one", "two"])
def test_heteroscedastic_regression_is_the_mixture(heads):
    """Lakshminarayanan et al. (2017), section 2.4, written out."""
    models = [regression(seed, heads) for seed in range(4)]
    ensemble = DeepEnsemble(models, outputs="mean_and_variance")
    raw = np.stack([outputs(model) for model in models]).astype("float64")
    mu, s2 = raw[..., 0], raw[..., 1]
    mean = mu.mean(0)
    variance = (s2 + mu**2).mean(0) - mean**2
    found = ensemble.predict(X)
    assert isinstance(found, RegressionPrediction)
    assert mu.std(0).min() > 1e-3
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-5)
    np.testing.assert_allclose(found.aleatoric, s2.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.members, mu, rtol=1e-4, atol=1e-6)
    targets = normal(23, seed=9).astype("float64")
    scores = ensemble.evaluate(X, targets)
    each = np.exp(-((targets - mu) ** 2) / (2 * s2)) / np.sqrt(2 * np.pi * s2)
    nll = -np.log(each.mean(0)).mean()  # of the mixture itself
    assert scores["nll"] == pytest.approx(nll, rel=1e-5)
    rmse = np.sqrt(np.mean((targets - mean) ** 2))
    assert scores["rmse"] == pytest.approx(rmse, rel=1e-5)


def test_the_noise_of_a_regression_is_fitted_and_saved(tmp_path):
    models = [regression(seed, "mean") for seed in range(3)]
    ensemble = DeepEnsemble(models, outputs="mean")
    mu = np.stack([outputs(model)[:, 0] for model in models]).astype("float64")
    targets = mu.mean(0) + 0.7 * normal(23, seed=9)
    with pytest.raises(ValueError, match="needs a noise variance above 0"):
        ensemble.evaluate(X, targets)
    assert ensemble.fit_noise(X, targets, score="log_likelihood") is ensemble

    def nll(noise):
        each = np.exp(-((targets - mu) ** 2) / (2 * noise)) / np.sqrt(noise)
        return -np.log(each.mean(0)).mean()

    best = min(np.geomspace(0.01, 10, 2000), key=nll)
    assert ensemble.noise_variance == pytest.approx(best, rel=0.02)
    ensemble.save(tmp_path / "net.tfhyper")
    loaded = DeepEnsemble.load(tmp_path / "net.tfhyper")
    assert loaded.noise_variance == ensemble.noise_variance
    assert loaded.evaluate(X, targets) == ensemble.evaluate(X, targets)


# One file.


def test_a_file_gives_the_same_predictions(bayesian, tmp_path):
    ensemble, _ = bayesian
    ensemble.save(tmp_path / "net.tfhyper")
    assert os.listdir(tmp_path) == ["net.tfhyper"]
    loaded = DeepEnsemble.load(tmp_path / "net.tfhyper")
    for name in ("num_members", "num_draws", "draws_per_member", "batch_norm", "seed"):
        assert getattr(loaded, name) == getattr(ensemble, name)
    expected = ensemble.predict(X)
    found = loaded.predict(X)
    np.testing.assert_array_equal(found.members, expected.members)
    np.testing.assert_array_equal(found.mean, expected.mean)


def test_a_file_stands_by_itself(paths, ensemble, tmp_path):
    copies = [tmp_path / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    path = tmp_path / "net.tfhyper"
    DeepEnsemble(copies).save(path)
    for copy in copies:
        copy.unlink()
    found = DeepEnsemble.load(path).predict(X)
    np.testing.assert_array_equal(found.members, ensemble.predict(X).members)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        ensemble.save(path)
    ensemble.save(path, overwrite=True)


def test_a_failed_save_leaves_nothing(models, tmp_path, monkeypatch):
    ensemble = DeepEnsemble(models)

    def fail(path):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(models[1], "save", fail)
    with pytest.raises(OSError, match="disk full"):
        ensemble.save(tmp_path / "net.tfhyper")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def saved(ensemble, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.tfhyper"
    ensemble.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_a_torn_file_is_refused(saved, tmp_path, fraction):
    path = tmp_path / "net.tfhyper"
    path.write_bytes(saved[: int(len(saved) * fraction)])
    with pytest.raises(ValueError, match="file written by DeepEnsemble.save"):
        DeepEnsemble.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"num_models": 4},
        {"num_models": 2},  # fewer models than draws
        {"num_models": 0},
        {"draws": 2},
        {"draws": 4},
        {"draws_per_member": 2},
        {"surprise": 1},
        {"outputs": "median"},
        {"format": "tfhyper predictor 1"},
    ],
)
def test_settings_that_do_not_fit_are_refused(saved, tmp_path, change):
    path = tmp_path / "net.tfhyper"
    with (
        zipfile.ZipFile(io.BytesIO(saved)) as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == "settings.json":
                data = json.dumps({**json.loads(data), **change})
            new.writestr(name, data)
    with pytest.raises(ValueError, match="file written by DeepEnsemble.save"):
        DeepEnsemble.load(path)


def test_files_of_the_other_class_are_refused(saved, models, tmp_path):
    path = tmp_path / "net.tfhyper"
    path.write_bytes(saved)
    with pytest.raises(ValueError, match="PosteriorPredictor.save.*another format"):
        PosteriorPredictor.load(path)
    PosteriorPredictor(models[0], 1).save(path, overwrite=True)
    with pytest.raises(ValueError, match="DeepEnsemble.save.*another format"):
        DeepEnsemble.load(path)
    with pytest.raises(FileNotFoundError, match="`path` must be a file"):
        DeepEnsemble.load(tmp_path / "none.tfhyper")


# What is refused.


class Subclass(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "make, error, message",
    [
        (list, ValueError, "`models` must not be empty"),
        (lambda: classifier(0), TypeError, "`models` must be a sequence"),
        (lambda: "a.keras", TypeError, "`models` must be a sequence"),
        (lambda: iter([classifier(0)]), TypeError, "`models` must be a sequence"),
        (lambda: [classifier(0), 3], TypeError, r"models\[1\]=3 of type int"),
        (lambda: [classifier(0), Subclass()], TypeError, "whose graph is known"),
        (
            lambda: [classifier(0), keras.Sequential([keras.layers.Dense(3)])],
            TypeError,
            "`model` must be built",
        ),
        (
            lambda: [classifier(0), classifier(1, inputs=4)],
            ValueError,
            r"models\[0\] with inputs \[\(5,\)\].*models\[1\] with inputs \[\(4,\)\]",
        ),
        (
            lambda: [classifier(0), classifier(1, classes=4)],
            ValueError,
            r"outputs of the same shapes",
        ),
        (
            lambda: [classifier(0), classifier(1, activation="softmax")],
            ValueError,
            "all give logits or all probabilities",
        ),
        (lambda: [classifier(0), "none.keras"], FileNotFoundError, r"models\[1\]"),
        (lambda: ["net.h5"], ValueError, "paths of .keras files"),
    ],
)
def test_models_that_do_not_fit_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        DeepEnsemble(make())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"draws_per_member": 0}, "`draws_per_member` must be a positive integer"),
        ({"deterministic": True, "draws_per_member": 2}, "must be 1 with"),
        ({"seed": -1}, "`seed` must be"),
        ({"batch_norm": "x"}, "`batch_norm` must be one of"),
        ({"outputs": "x"}, "`outputs` must be one of"),
        ({"link": "x"}, "`link` must be one of"),
        ({"batch_norm": "minibatch"}, "`batch_size` must be given"),
        ({"noise_variance": 1.0}, "`noise_variance` is for"),
    ],
)
def test_arguments_out_of_range_are_refused(models, options, message):
    with pytest.raises(ValueError, match=message):
        DeepEnsemble(models, **options)


@pytest.mark.parametrize("draw", [-1, 3, 0.5])
def test_a_draw_out_of_range_is_refused(ensemble, draw):
    with pytest.raises(ValueError, match="`draw` must be an integer from 0 to 2"):
        ensemble.materialize(draw)


def test_the_same_model_twice_is_refused(models, paths, tmp_path):
    link = tmp_path / "link.keras"
    link.symlink_to(paths[0])
    for twice in ([models[0], models[1], models[0]], [paths[0], paths[1], link]):
        with pytest.raises(ValueError, match=r"models\[0\] and models\[2\] are the s"):
            DeepEnsemble(twice)


def test_files_that_are_no_models_are_refused(paths, tmp_path):
    torn = tmp_path / "torn.keras"
    torn.write_bytes(paths[0].read_bytes()[:500])
    unsafe = keras.Sequential(
        [keras.Input((5,)), keras.layers.Lambda(lambda x: x[:, :3])]
    )
    unsafe.save(tmp_path / "unsafe.keras")
    for name, message in (("torn", "safe mode"), ("unsafe", "(?i)lambda")):
        with pytest.raises(ValueError, match=message):
            DeepEnsemble([paths[1], tmp_path / f"{name}.keras"])
