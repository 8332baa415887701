"""Folders of trainings that somebody made to do harm: an error that says what is."""

import json
import os
import zipfile

import keras
import numpy as np
import pytest

from tfhyper.training import Workdir, train_ensemble
from tfhyper.training.folder_lock import folder_lock
from tfhyper.whole_files import write_json


def model():
    keras.utils.set_random_seed(0)
    found = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    found.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    found.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    return found


@pytest.fixture
def run(tmp_path):
    """A folder of one epoch."""
    folder = tmp_path / "run"
    Workdir(folder, {}).save(model(), 1, {"loss": [0.5]})
    return folder


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "precious.txt"
    path.write_text('{"mine": "kept"}')
    yield path
    assert path.read_text() == '{"mine": "kept"}'


def link(path, target):
    if path.exists():
        path.unlink()
    path.symlink_to(target)


def test_the_folder_that_is_changed_is_restored_as_it_is(run):
    found, checkpoint = Workdir(run, {}).restore()
    assert checkpoint.epoch == 1 and found.compiled
    for new, old in zip(found.get_weights(), model().get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_settings_that_are_a_link_are_refused(run, precious):
    link(run / "settings.json", precious)
    with pytest.raises(ValueError, match="settings.json must be a file, not a link"):
        Workdir(run, {"mine": "kept"})


@pytest.mark.parametrize("name", ["history.json", "checksums.json"])
def test_other_files_that_are_links_are_refused(run, precious, name):
    link(run / name, precious)
    workdir = Workdir(run, {})
    with pytest.raises(ValueError, match=f"{name} must be a file, not a link"):
        workdir.history(1)
        workdir.newest()


def test_nothing_is_written_through_a_link(run, precious):
    for name in (".history.json", ".checksums.json", ".checkpoint-00002.keras"):
        link(run / name, precious)
    Workdir(run, {}).save(model(), 2, {"loss": [0.5, 0.4]})
    assert json.loads((run / "history.json").read_text()) == {"loss": [0.5, 0.4]}
    link(run / ".x.json", precious)
    write_json(str(run / "x.json"), {"x": 1})
    assert not (run / "x.json").is_symlink()


def test_a_lock_that_is_a_link_is_refused(run, precious):
    link(run / "training.lock", precious)
    with pytest.raises(ValueError, match="training.lock must be a file, not a link"):
        with folder_lock(str(run / "training.lock")):
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_pipes_are_not_waited_for(run):
    (run / "settings.json").unlink()
    os.mkfifo(run / "settings.json")
    with pytest.raises(ValueError, match="not a link, a folder or a device"):
        Workdir(run, {})


def test_a_checkpoint_that_is_a_link_is_not_used(run, tmp_path):
    model().save(tmp_path / "elsewhere.keras")
    link(run / "checkpoint-00009.keras", tmp_path / "elsewhere.keras")
    with pytest.warns(UserWarning, match="it is foreign"):
        assert Workdir(run, {}).newest().epoch == 1
    assert (tmp_path / "elsewhere.keras").exists()


def test_a_checkpoint_with_code_is_not_loaded(run):
    path = run / "checkpoint-00001.keras"
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    config = json.loads(content["config.json"])
    config["config"]["layers"][1].update(
        module="keras.layers", class_name="Lambda", registered_name=None
    )
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, value in content.items():
            file.writestr(name, value)
    (run / "checksums.json").unlink()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be loaded: Lambda runs code"):
        Workdir(run, {}).restore()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "history",
    [
        {"loss": "0.5"},
        {"loss": ["0.5"]},
        {"loss": [True]},
        {"loss": [[0.5]]},
        {"loss": {"0": 0.5}},
        {"loss": [None]},
    ],
)
def test_a_history_of_other_values_is_refused(run, history):
    (run / "history.json").write_text(json.dumps(history))
    with pytest.raises(ValueError, match="history.json must hold lists of numbers"):
        Workdir(run, {}).history(1)


@pytest.mark.parametrize("state", ["x", {"a": 1}, [["1"]], [True], [[None]]])
def test_metrics_of_other_values_are_refused(run, state):
    workdir = Workdir(run, {})
    checkpoint = workdir.checkpoints()[0]
    name = os.path.basename(checkpoint.path)
    (run / "metrics.json").write_text(json.dumps({name: state}))
    with pytest.raises(ValueError, match=r"metrics.json (must hold|holds no) list"):
        workdir.metrics(checkpoint)


def test_checksums_of_other_values_are_refused(run):
    (run / "checksums.json").write_text('{"checkpoint-00001.keras": 1}')
    with pytest.raises(ValueError, match="checksums.json must hold texts"):
        Workdir(run, {}).newest()


def test_an_epoch_that_no_training_had_is_refused(run):
    (run / "checkpoint-00001.keras").rename(run / "checkpoint-99999.keras")
    (run / "checksums.json").unlink()
    workdir = Workdir(run, {})
    assert workdir.newest().epoch == 99999
    with pytest.raises(ValueError, match="does not hold the metrics of the 99999"):
        workdir.history(99999)


def test_json_without_end_is_refused(run):
    for text in (b"[" * 10**6, b'{"loss": [' + b"[]," * 2**21 + b"[]]}"):
        (run / "history.json").write_bytes(text)
        with pytest.raises(ValueError, match="history.json (is not JSON|holds more)"):
            Workdir(run, {}).history(1)


def test_a_members_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "member_0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="member_0 is a link"):
        train_ensemble(lambda seed: None, lambda seed: None, 1, 2, tmp_path / "runs")
    assert not list((tmp_path / "elsewhere").iterdir())
    with pytest.raises(ValueError, match="`num_members` must be an integer from 1"):
        train_ensemble(lambda s: None, lambda s: None, 1, 10**9, tmp_path / "runs")
