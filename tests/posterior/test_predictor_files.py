"""The file of a predictor: the same predictions, or a named error."""

import io
import json
import os
import pickle
import zipfile

import keras
import numpy as np
import pytest

from tests.helpers.predictors import (
    IMAGE,
    calibrated,
    gaussian_network,
    hyper_resnet,
    images,
    small_network,
)
from tests.helpers.processes import run_python
from tfhyper.posterior import PosteriorPredictor


def test_a_saved_predictor_predicts_the_same_in_another_process(tmp_path):
    predictor, x = calibrated(hyper_resnet("layer_wise"), seed=4), images()
    path = tmp_path / "net.tfhyper"
    predictor.save(path)
    np.save(tmp_path / "x.npy", x)
    run_python(
        "-c",
        "import sys, numpy as np, tfhyper\n"
        "predictor = tfhyper.PosteriorPredictor.load(sys.argv[1])\n"
        "assert (predictor.num_draws, predictor.seed) == (3, 4)\n"
        "members = predictor.predict(np.load(sys.argv[2])).members\n"
        "np.save(sys.argv[3], members)",
        path,
        tmp_path / "x.npy",
        tmp_path / "members.npy",
        check=True,
    )
    expected = predictor.predict(x).members
    np.testing.assert_array_equal(np.load(tmp_path / "members.npy"), expected)
    assert os.listdir(tmp_path).count("net.tfhyper") == 1


def test_settings_survive_the_file(tmp_path):
    head = [keras.layers.Dense(3, activation="softmax")]
    predictor = PosteriorPredictor(
        small_network(head), num_draws=2, batch_norm="moving_average", seed=9
    )
    predictor.save(tmp_path / "net.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
    for name in ("num_draws", "averaging", "batch_norm", "seed", "outputs", "link"):
        assert getattr(loaded, name) == getattr(predictor, name)
    assert loaded.outputs == "probabilities" and loaded.batch_norm == "moving_average"
    assert loaded.deterministic is False
    x = images()
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)


def test_link_and_mean_survive_the_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    predictor = PosteriorPredictor(
        gaussian_network(), link="normalized_softplus", deterministic=True
    ).calibrate(x, verbose=0)
    predictor.save(tmp_path / "net.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
    assert loaded.link == "normalized_softplus" and loaded.deterministic is True
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)


def test_files_without_the_newer_settings_still_load(tmp_path, saved):
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        settings = json.loads(archive.read("settings.json"))
    del settings["link"], settings["deterministic"]
    path = tmp_path / "net.tfhyper"
    replaced(saved, path, "settings.json", json.dumps(settings))
    loaded = PosteriorPredictor.load(path)
    assert loaded.link == "softmax" and loaded.deterministic is False
    (tmp_path / "new.tfhyper").write_bytes(saved)
    expected = PosteriorPredictor.load(tmp_path / "new.tfhyper").predict(images())
    np.testing.assert_array_equal(loaded.predict(images()).mean, expected.mean)


def test_a_file_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "net.tfhyper"
    path.write_bytes(b"precious")
    predictor = calibrated()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        predictor.save(path)
    assert path.read_bytes() == b"precious"
    predictor.save(path, overwrite=True)
    x = images()
    loaded = PosteriorPredictor.load(path)
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)
    assert os.listdir(tmp_path) == ["net.tfhyper"]


@pytest.mark.parametrize("failing", ["model", "arrays", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, failing
):
    path = tmp_path / "net.tfhyper"
    predictor = calibrated(num_draws=1)
    predictor.save(path)
    before = path.read_bytes()

    def fail(target, *args, **kwargs):
        if isinstance(target, str):
            with open(target, "wb") as file:
                file.write(b"half")
        raise OSError("disk full")

    if failing == "model":
        monkeypatch.setattr(predictor.model, "save", fail)
    elif failing == "arrays":
        monkeypatch.setattr(np, "savez", fail)
    else:
        monkeypatch.setattr(os, "replace", lambda *args: fail(None))
    with pytest.raises(OSError, match="disk full"):
        predictor.save(path, overwrite=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.tfhyper"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.tfhyper"
    calibrated(num_draws=1).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_file_is_refused(tmp_path, saved, fraction):
    path = tmp_path / "net.tfhyper"
    path.write_bytes(saved[: int(len(saved) * fraction)])
    with pytest.raises(ValueError, match="`path` must be a whole file written by"):
        PosteriorPredictor.load(path)


def test_flipped_bytes_are_refused_or_harmless(tmp_path, saved):
    x = images()
    path = tmp_path / "net.tfhyper"
    path.write_bytes(saved)
    expected = PosteriorPredictor.load(path).predict(x).mean
    refused = 0
    for at in np.random.default_rng(0).integers(0, len(saved), 25):
        data = bytearray(saved)
        data[at] ^= 0xFF
        path.write_bytes(data)
        try:
            loaded = PosteriorPredictor.load(path)
        except ValueError as error:
            assert "`path` must be a whole file" in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(loaded.predict(x).mean, expected)
    assert refused > 15


def write_zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            archive.writestr(name.replace("_", "."), value)


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "net.tfhyper"
    for data in (b"", b"\x00" * 100, np.random.default_rng(0).bytes(5000)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="`path` must be a whole file written"):
            PosteriorPredictor.load(path)
    small_network().save(tmp_path / "net.keras")
    with pytest.raises(ValueError, match="`path` must be a whole file written"):
        PosteriorPredictor.load(tmp_path / "net.keras")
    for settings in ("", "[]", "{}", '{"format": "tfhyper predictor 0"}', "\xff"):
        write_zip(path, settings_json=settings, draws_npz=b"", model_keras=b"")
        with pytest.raises(ValueError, match="`path` must be a whole file written"):
            PosteriorPredictor.load(path)


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def replaced(saved, path, name, value):
    """Writes a saved predictor with one member replaced."""
    with zipfile.ZipFile(io.BytesIO(saved)) as old:
        members = {n: old.read(n) for n in old.namelist()}
    assert name in members
    members[name] = value
    with zipfile.ZipFile(path, "w") as archive:
        for n, data in members.items():
            archive.writestr(n, data)


def test_nothing_is_unpickled(tmp_path, saved):
    trace = tmp_path / "exploded"
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()  # the bomb works
    trace.unlink()
    arrays = io.BytesIO()
    np.savez(arrays, **{"0/noise/x": np.array([Bomb(trace)], dtype=object)})
    raw = pickle.dumps(Bomb(trace))
    for value in (arrays.getvalue(), raw):
        path = tmp_path / "net.tfhyper"
        replaced(saved, path, "draws.npz", value)
        with pytest.raises(ValueError, match="`path` must be a whole file written"):
            PosteriorPredictor.load(path)
        assert not trace.exists()


@pytest.mark.parametrize(
    "change",
    [{"num_draws": "many"}, {"num_draws": 0}, {"averaging": "x"}, {"surprise": 1}],
)
def test_settings_of_another_kind_are_refused(tmp_path, saved, change):
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        settings = json.loads(archive.read("settings.json"))
    path = tmp_path / "net.tfhyper"
    replaced(saved, path, "settings.json", json.dumps({**settings, **change}))
    with pytest.raises(ValueError, match="`path` must be a whole file written"):
        PosteriorPredictor.load(path)


def test_code_in_a_file_is_not_run(tmp_path, saved):
    inputs = keras.Input(IMAGE)
    x = keras.layers.Lambda(lambda x: x * 2.0, output_shape=IMAGE)(inputs)
    unsafe = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    unsafe.save(tmp_path / "unsafe.keras")
    path = tmp_path / "net.tfhyper"
    replaced(saved, path, "model.keras", (tmp_path / "unsafe.keras").read_bytes())
    with pytest.raises(ValueError, match="(?i)lambda"):
        PosteriorPredictor.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be a file.*none.tfhyper"):
        PosteriorPredictor.load(tmp_path / "none.tfhyper")


def test_a_file_that_needs_a_class_registered_says_so(tmp_path):
    class Unregistered(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    layers = [keras.Input((3,)), Unregistered(), keras.layers.Dense(2)]
    predictor = PosteriorPredictor(keras.Sequential(layers), 1, outputs="mean")
    path = tmp_path / "net.tfhyper"
    with pytest.warns(UserWarning, match="cannot be read as it is.*Unregistered"):
        predictor.save(path)
    with pytest.raises(ValueError, match="Unregistered is not one of Keras'"):
        PosteriorPredictor.load(path)
    x = np.ones((2, 3), "float32")
    with keras.saving.CustomObjectScope({"Unregistered": Unregistered}):
        loaded = PosteriorPredictor.load(path)
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)
