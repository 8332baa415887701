"""What an exported predictor gives, beside what the predictor gives."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhyper
from tests.helpers.export import (
    IMAGES,
    ROWS,
    assert_same,
    calibrated,
    dense_network,
    run,
    small_network,
)
from tfhyper import export
from tfhyper.export import Preprocessing
from tfhyper.export.functions import FORMS

CODED = ["hyper", "bayesian_hypernet", "mc_dropout", "rank_one", "deterministic"]
SEEDED = ["bayes", "mnf", "sngp", "vbll"]


@pytest.fixture(scope="module")
def hyper():
    return calibrated(small_network("hyper"))


@pytest.fixture(scope="module", params=FORMS)
def exported(request, hyper, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "hyper" / "1"
    export.saved_model(hyper, path, form=request.param)
    return request.param, path


def variables_of(path):
    """Returns the shapes of the numbers that a file holds."""
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    return {k: v for k, v in shapes.items() if not k.startswith(("_CHECK", "save_c"))}


def count_of(path):
    return sum(int(np.prod(shape)) for shape in variables_of(path).values())


def test_both_forms_give_the_prediction(exported, hyper):
    _, path = exported
    found = run(path, inputs=IMAGES)
    prediction = hyper.predict(IMAGES)
    assert set(found) == {"probabilities", "class", "total", "aleatoric", "epistemic"}
    assert prediction.epistemic.max() > 1e-4
    assert_same(found, prediction)
    members = run(path, "members", inputs=IMAGES)["members"]
    np.testing.assert_allclose(members.swapaxes(0, 1), prediction.members, atol=1e-5)


@pytest.mark.parametrize("size", [1, 5])
def test_batches_of_any_size(exported, hyper, size):
    assert_same(run(exported[1], inputs=IMAGES[:size]), hyper.predict(IMAGES[:size]))


def test_what_the_files_hold(exported, hyper):
    form, path = exported
    draw = hyper.draws[0]
    codes = sum(x.size for x in draw.noise.values())
    moments = sum(2 * mean.size for mean, _ in draw.moments.values())
    # Before the first drawn kernel all draws have the same moments.
    first = 2 * draw.moments["stage1_block1_pre1_norm"][0].size
    drawn = [x for x in hyper.model.layers if isinstance(x, tfhyper.layers.HyperConv2D)]
    generators = sum(v.value.numpy().size for x in drawn for v in x.trainable_variables)
    kernels = sum(int(np.prod(x.kernel_shape)) for x in drawn)
    common = hyper.materialize(0).count_params() - kernels - moments
    of_draws = {"generator": codes, "materialized": kernels}[form] + moments - first
    shared = common + first + {"generator": generators, "materialized": 0}[form]
    assert count_of(path) == shared + 3 * of_draws
    # Not written into the graph, either.
    assert os.path.getsize(path / "saved_model.pb") < 400_000


@pytest.mark.parametrize("form", [None, "materialized"])
@pytest.mark.parametrize("kit", [*CODED, *SEEDED])
def test_every_posterior(kit, form, tmp_path):
    count = 1 if kit == "deterministic" else 3
    predictor = tfhyper.PosteriorPredictor(dense_network(kit), count)
    path = tmp_path / "model"
    export.saved_model(predictor, path, form=form)
    assert_same(run(path, inputs=ROWS), predictor.predict(ROWS))
    entries = json.loads((path / "assets" / "tfhyper.json").read_text())
    usual = "materialized" if kit in SEEDED else "generator"
    assert entries["form"] == (form or usual)


@pytest.mark.parametrize("kit", SEEDED)
def test_gaussian_kernels_have_no_generator(kit, tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network(kit), 3)
    with pytest.raises(ValueError, match="needs a posterior whose draws are codes"):
        export.saved_model(predictor, tmp_path / "model", form="generator")
    assert not os.listdir(tmp_path)


def test_the_mean_of_a_gaussian_posterior_has_both_forms(tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network("bayes"), deterministic=True)
    for form in FORMS:
        export.saved_model(predictor, tmp_path / form, form=form)
        assert_same(run(tmp_path / form, inputs=ROWS), predictor.predict(ROWS))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("averaging", ["parallelizing", "widening"])
def test_draws_inside_of_one_network(averaging, form, tmp_path, hyper):
    predictor = calibrated(hyper.model, 2, averaging)
    export.saved_model(predictor, tmp_path / "model", form=form)
    assert_same(run(tmp_path / "model", inputs=IMAGES), predictor.predict(IMAGES))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_norm": "minibatch", "batch_size": 4},
        {"dropout": "sample", "averaging": "widening", "num_draws": 2},
    ],
    ids=["mcbn", "dropout"],
)
def test_draws_of_a_plain_network(options, tmp_path):
    predictor = calibrated(small_network("deterministic", dropout=0.2), **options)
    export.saved_model(predictor, tmp_path / "model")
    prediction = predictor.predict(IMAGES)
    assert_same(run(tmp_path / "model", inputs=IMAGES), prediction)
    assert count_of(tmp_path / "model") < 1.2 * predictor.model.count_params()


def test_a_static_hypernetwork_stays_small(tmp_path):
    predictor = calibrated(small_network("static_hypernet"), None)
    export.saved_model(predictor, tmp_path / "model")
    assert_same(run(tmp_path / "model", inputs=IMAGES), predictor.predict(IMAGES))
    assert count_of(tmp_path / "model") == predictor.model.count_params()


def test_networks_that_were_trained_apart(tmp_path):
    models = [dense_network("hyper"), dense_network("bayesian_hypernet")]
    models[1].save(tmp_path / "second.keras")
    ensemble = tfhyper.DeepEnsemble([models[0], tmp_path / "second.keras"], 2)
    export.saved_model(ensemble, tmp_path / "model")
    prediction = ensemble.predict(ROWS)
    assert_same(run(tmp_path / "model", inputs=ROWS), prediction)
    members = run(tmp_path / "model", "members", inputs=ROWS)["members"]
    np.testing.assert_allclose(members.swapaxes(0, 1), prediction.members, atol=1e-5)


@pytest.mark.parametrize("heads", ["mean", "one", "two"])
def test_regressions(heads, tmp_path):
    inputs = keras.Input((3,))
    x = tfhyper.layers.HyperDense(8, activation="relu")(inputs)
    mean = keras.layers.Dense(1)(x)
    variance = keras.layers.Dense(1, activation="softplus")(x)
    outputs = {
        "mean": mean,
        "one": keras.layers.Concatenate()([mean, variance]),
        "two": [mean, variance],
    }[heads]
    options = {"outputs": "mean_and_variance"}
    if heads == "mean":
        options = {"outputs": "mean", "noise_variance": 0.25}
    predictor = tfhyper.PosteriorPredictor(keras.Model(inputs, outputs), 4, **options)
    export.saved_model(predictor, tmp_path / "model")
    prediction = predictor.predict(ROWS)
    found = run(tmp_path / "model", inputs=ROWS)
    assert set(found) == {"mean", "variance", "aleatoric", "epistemic"}
    for name, value in found.items():
        np.testing.assert_allclose(value, getattr(prediction, name), atol=1e-5)
    found = run(tmp_path / "model", "members", inputs=ROWS)
    for name in ("members", "member_variance"):
        expected = getattr(prediction, name).swapaxes(0, 1)
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


def test_the_other_link_far_below_zero(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    model.set_weights([np.eye(3), np.zeros(3)])
    predictor = tfhyper.PosteriorPredictor(model, link="normalized_softplus")
    export.saved_model(predictor, tmp_path / "model")
    rows = np.array([[-300.0, -301.0, -302.0], [-14.9, -15.1, 2], [500, 0, -9]])
    rows = rows.astype("float32")
    found = run(tmp_path / "model", inputs=rows)["probabilities"]
    expected = tfhyper.metrics.normalized_softplus(rows)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_several_inputs_keep_their_names(tmp_path):
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    x = keras.layers.Concatenate()([left, right])
    outputs = tfhyper.layers.HyperDense(4)(x)
    model = keras.Model({"right": right, "left": left}, outputs)
    predictor = tfhyper.PosteriorPredictor(model, 2)
    export.saved_model(predictor, tmp_path / "model")
    found = run(tmp_path / "model", left=ROWS, right=ROWS[:, :2])
    assert_same(found, predictor.predict({"right": ROWS[:, :2], "left": ROWS}))


def test_images_of_bytes(hyper, tmp_path):
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    export.saved_model(
        hyper, tmp_path / "model", preprocessing=Preprocessing(mean, std)
    )
    images = np.random.default_rng(3).integers(0, 256, (4, 8, 8, 3), dtype="uint8")
    normalised = ((images / 255 - mean) / std).astype("float32")
    found = run(tmp_path / "model", inputs=images)
    assert_same(found, hyper.predict(normalised))
    entries = json.loads(run(tmp_path / "model", "metadata")["metadata"])
    assert entries["preprocessing"]["mean"] == mean
    assert entries["preprocessing"]["std"] == std
    assert entries["inputs"]["inputs"] == {"shape": [None, 8, 8, 3], "dtype": "uint8"}


def test_metadata(tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network("hyper"), 2, seed=7)
    names = ["cat", "dög", 'a "quote"', ""]
    export.saved_model(
        predictor, tmp_path / "model", class_names=names, metadata={"trained": [1, 2.5]}
    )
    found = run(tmp_path / "model", "metadata")
    assert [name.decode() for name in found["class_names"]] == names
    text = found["metadata"].decode()
    assert text == (tmp_path / "model" / "assets" / "tfhyper.json").read_text()
    entries = json.loads(text)
    assert entries["class_names"] == names
    assert entries["metadata"] == {"trained": [1, 2.5]}
    assert entries["settings"]["seed"] == 7
    assert entries["num_draws"] == 2


def test_a_file_is_replaced_when_told_and_nothing_else(tmp_path):
    first, second = (
        tfhyper.PosteriorPredictor(dense_network("hyper"), 2, seed=i) for i in range(2)
    )
    path = tmp_path / "model"
    export.saved_model(first, path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export.saved_model(second, path)
    assert_same(run(path, inputs=ROWS), first.predict(ROWS))
    export.saved_model(second, path, overwrite=True)
    assert_same(run(path, inputs=ROWS), second.predict(ROWS))
    assert os.listdir(tmp_path) == ["model"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="nothing else is replaced"):
        export.saved_model(first, mine, overwrite=True)
    assert (mine / "thesis.txt").exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, there):
    predictor = tfhyper.PosteriorPredictor(dense_network("hyper"), 2)
    path = tmp_path / "model"
    if there:
        export.saved_model(predictor, path)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    save = tf.saved_model.save

    def fail(module, folder, signatures):
        save(module, folder, signatures=signatures)
        raise OSError("no space left")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        export.saved_model(predictor, path, overwrite=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"form": "small"}, ValueError, "`form` must be one of"),
        ({"class_names": ["a"]}, ValueError, "one name for each of 4 classes"),
        ({"class_names": "abcd"}, TypeError, "`class_names` must be a sequence"),
        ({"class_names": [1, 2, 3, 4]}, TypeError, "`class_names` must be a sequence"),
        ({"metadata": [1]}, TypeError, "`metadata` must map strings"),
        ({"metadata": {"a": object()}}, TypeError, "`metadata` must hold JSON"),
        ({"metadata": {"a": float("nan")}}, ValueError, "`metadata` must hold finite"),
        ({"preprocessing": (0, 1)}, TypeError, "`preprocessing` must be a"),
        (
            {"preprocessing": Preprocessing([0.0, 0.0], [1.0, 1.0])},
            ValueError,
            "for each channel",
        ),
        ({"sampling_inputs": ROWS}, ValueError, "is for `sampling=True`"),
        ({"predictor": "a predictor"}, TypeError, "`predictor` must be"),
    ],
)
def test_bad_arguments_write_nothing(arguments, error, message, tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network("hyper"), 2)
    arguments = {"predictor": predictor, "path": tmp_path / "model", **arguments}
    with pytest.raises(error, match=message):
        export.saved_model(**arguments)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "mean, std, error, message",
    [
        ("a", 1.0, TypeError, "`mean` must hold real numbers"),
        ([0.1, 0.2], [1.0], ValueError, "same length"),
        (0.5, 0.0, ValueError, "`std` must be above 0"),
        (np.nan, 1.0, ValueError, "`mean` must be finite"),
        ([], [], ValueError, "`mean` must be a number"),
    ],
)
def test_bad_preprocessing(mean, std, error, message):
    with pytest.raises(error, match=message):
        Preprocessing(mean, std)


def test_other_backends_are_refused(monkeypatch, tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network("hyper"), 2)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match='Received: the backend "jax"'):
        export.saved_model(predictor, tmp_path / "model")


def test_draws_without_their_moments_are_not_exported(hyper, tmp_path):
    predictor = tfhyper.PosteriorPredictor(hyper.model, 2)
    with pytest.raises(ValueError, match="estimate_batch_norm"):
        export.saved_model(predictor, tmp_path / "model")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("score", ["total", "aleatoric", "epistemic", "confidence"])
def test_what_a_predictor_rejects_its_file_rejects(score, tmp_path):
    rows = np.random.default_rng(2).normal(size=(60, 3)).astype("float32")
    predictor = tfhyper.PosteriorPredictor(dense_network("hyper"), 3)
    predictor.fit_rejection(rows[:40], coverage=0.5, score=score)
    export.saved_model(predictor, tmp_path / "model", sampling=True)
    prediction = predictor.predict(rows)
    found = run(tmp_path / "model", inputs=rows)
    assert found["rejected"].dtype == bool
    assert 10 < found["rejected"].sum() < 50
    np.testing.assert_array_equal(found["rejected"], prediction.rejected)
    # It says so beside what would have been said.
    np.testing.assert_array_equal(found["class"], prediction.mean.argmax(-1))
    entries = json.loads(run(tmp_path / "model", "metadata")["metadata"])
    threshold = predictor.rejection.threshold
    assert entries["rejection"] == {"score": score, "threshold": threshold}
    assert entries["settings"]["rejection"] == entries["rejection"]
    fresh = run(tmp_path / "model", "sample", inputs=rows, seed=np.int32(1))
    uncertainty = 1 - fresh["probabilities"].max(-1)
    if score != "confidence":
        uncertainty = fresh[score]
    np.testing.assert_array_equal(fresh["rejected"], uncertainty > threshold)


def test_a_regression_and_an_ensemble_reject_too(tmp_path):
    networks = [dense_network(kit) for kit in ("hyper", "bayes")]
    ensemble = tfhyper.DeepEnsemble(networks, 2).fit_rejection(ROWS, coverage=0.6)
    export.saved_model(ensemble, tmp_path / "ensemble")
    found = run(tmp_path / "ensemble", inputs=ROWS)["rejected"]
    np.testing.assert_array_equal(found, ensemble.predict(ROWS).rejected)
    assert found.sum() == 2

    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), tfhyper.layers.HyperDense(4), keras.layers.Dense(1)]
    predictor = tfhyper.PosteriorPredictor(
        keras.Sequential(layers), 3, outputs="mean", noise_variance=0.1
    )
    predictor.fit_rejection(ROWS, coverage=0.6)
    export.saved_model(predictor, tmp_path / "regression")
    found = run(tmp_path / "regression", inputs=ROWS)
    variance = predictor.predict(ROWS).members.var(0) + 0.1
    np.testing.assert_array_equal(
        found["rejected"], variance > predictor.rejection.threshold
    )
    assert found["rejected"].sum() == 2
