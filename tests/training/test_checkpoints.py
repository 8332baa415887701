"""Checkpoints that are torn, foreign or cannot be written, and losses that diverge."""

import errno
import hashlib
import json
import os
import shutil
import zipfile

import keras
import numpy as np
import pytest

from tfhyper.training import Workdir, fit_in_workdir, train_ensemble

tf = pytest.importorskip("tensorflow")

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3


class Data:
    """The least that `fit_in_workdir` asks for; one example can be spoilt."""

    steps_per_epoch = 3

    def __init__(self, bad=None, value=np.nan):
        self.x = np.tile(X, (9, 1))
        if bad is not None:
            self.x[bad] = value

    def train_from(self, epoch):
        x, y = self.x[12 * epoch :], np.tile(Y, 9)[12 * epoch :]
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(4)


def build(learning_rate=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="top")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9), loss)
    return model


def train(folder, epochs, data=None, **options):
    data = data or Data()
    return fit_in_workdir(
        Workdir(folder, {}), build, data, epochs, verbose=0, **options
    )


def hashes(folder):
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(os.listdir(folder))
    }


def listed(folder):
    return json.loads((folder / "checksums.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder, weights and history of 4 epochs."""
    folder = tmp_path_factory.mktemp("whole")
    model, history = train(folder, 4, keep=3)
    return folder, model.get_weights(), history


@pytest.fixture
def run(tmp_path, whole):
    """A copy of the folder of 4 epochs; 3 checkpoints are kept."""
    return shutil.copytree(whole[0], tmp_path / "run")


def assert_ends_the_same(folder, whole):
    model, history = train(folder, 4, keep=3)
    assert history == whole[2] and len(history["loss"]) == 4
    for found, expected in zip(model.get_weights(), whole[1], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert json.loads((folder / "history.json").read_text()) == history


def truncate(fraction):
    def change(path):
        data = path.read_bytes()
        path.write_bytes(data[: int(fraction * len(data))])

    return change


def flip(path):
    """One bit of the weights, which are stored as they are."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        weights = archive.getinfo("model.weights.h5")
    data[weights.header_offset + weights.file_size // 2] ^= 4
    path.write_bytes(data)


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "of another program")


def other_model(path):
    build().save(path)


DAMAGES = {
    "empty": (truncate(0.0), r"torn \(it is not a whole zip file"),
    "half": (truncate(0.5), r"torn \(it is not a whole zip file"),
    "nearly whole": (truncate(0.99), "torn"),
    "one bit": (flip, "torn"),
    "other zip": (other_zip, r"foreign \(a zip file, but not a Keras model"),
    "other model": (other_model, "foreign or was changed"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_checkpoint_before_a_bad_one_is_used(run, whole, damage):
    change, message = DAMAGES[damage]
    path, before = run / "checkpoint-00004.keras", run / "checkpoint-00003.keras"
    change(path)
    bad = path.read_bytes()
    with pytest.warns(UserWarning, match=message) as record:
        assert Workdir(run, {}).newest() == (3, str(before), 0)
    text = str(record[0].message)
    assert f"{path} is not used" in text
    assert f"now {path}.torn; {before} is used" in text
    assert not path.exists() and (run / f"{path.name}.torn").read_bytes() == bad
    assert_ends_the_same(run, whole)


def test_two_bad_ones_and_one_set_aside_before(run, whole):
    aside = run / "checkpoint-00004.keras.torn"
    aside.write_bytes(b"of another day")
    for epoch in (3, 4):
        truncate(0.5)(run / f"checkpoint-0000{epoch}.keras")
    with pytest.warns(UserWarning, match="not used") as record:
        model, (epoch, *_) = Workdir(run, {}).restore()
    assert epoch == 2 and int(model.optimizer.iterations) == 6 and len(record) == 2
    assert aside.read_bytes() == b"of another day"
    assert (run / "checkpoint-00004.keras.torn2").exists()
    assert_ends_the_same(run, whole)


def test_no_whole_checkpoint_is_an_error_and_nothing_is_touched(run):
    for epoch in (2, 3, 4):
        truncate(0.5)(run / f"checkpoint-0000{epoch}.keras")
    before = hashes(run)
    with pytest.raises(ValueError, match="No checkpoint in .* can be used") as error:
        train(run, 5)
    for epoch in (2, 3, 4):
        assert f"{run}/checkpoint-0000{epoch}.keras: it is torn" in str(error.value)
    assert "Remove them to start again" in str(error.value)
    assert hashes(run) == before


def test_a_file_that_was_put_there_is_foreign(run, whole):
    path = run / "checkpoint-00005.keras"
    other_model(path)
    with pytest.warns(UserWarning, match="foreign .checksums.json does not list it"):
        assert Workdir(run, {}).newest()[0] == 4
    assert not path.exists()
    assert_ends_the_same(run, whole)


def test_folders_older_than_checksums_go_on(run, whole):
    (run / "checksums.json").unlink()
    assert Workdir(run, {}).newest()[0] == 4
    flip(run / "checkpoint-00004.keras")
    with pytest.warns(UserWarning, match="torn"):
        assert Workdir(run, {}).newest()[0] == 3
    assert_ends_the_same(run, whole)
    # Older ones stay good beside one with a checksum.
    assert list(listed(run)) == ["checkpoint-00004.keras"]
    truncate(0.5)(run / "checkpoint-00004.keras")
    with pytest.warns(UserWarning, match="torn"):
        assert Workdir(run, {}).newest()[0] == 3


def test_a_whole_checkpoint_that_keras_cannot_load_stays(run, monkeypatch):
    before = hashes(run)

    def fail(path):
        raise TypeError("Could not locate class 'Mine'")

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(ValueError, match="00004.keras is whole, but cannot be loaded"):
        train(run, 5)
    assert hashes(run) == before


def test_a_folder_that_cannot_be_written_is_read(run, monkeypatch):
    truncate(0.5)(run / "checkpoint-00004.keras")
    before = hashes(run)

    def fail(*args):
        raise PermissionError

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(UserWarning, match="It is now .*00004.keras; .*00003.keras is"):
        assert Workdir(run, {}).restore()[1].epoch == 3
    assert hashes(run) == before


def test_a_reader_beside_a_run_at_work_disturbs_nothing(run, monkeypatch, recwarn):
    """It reads between the writes of a save, and between its names and its sums."""
    model, _ = Workdir(run, {}).restore()
    found, replace, names_of = [], os.replace, Workdir.checkpoints

    def read_replace_read(source, target):
        found.append(Workdir(run, {}).newest()[0])
        replace(source, target)
        found.append(Workdir(run, {}).newest()[0])

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", read_replace_read)
        Workdir(run, {}, keep=3).save(model, 5, {"loss": [0.0] * 5})
    assert found == [4, 4, 4, 4, 4, 5]

    def list_then_save(workdir):
        names = names_of(workdir)
        monkeypatch.undo()
        Workdir(run, {}, keep=3).save(model, 6, {"loss": [0.0] * 6})
        return names

    monkeypatch.setattr(Workdir, "checkpoints", list_then_save)
    assert Workdir(run, {}).newest()[0] == 5
    assert not [w for w in recwarn.list if "not used" in str(w.message)]
    assert not list(run.glob("*.torn"))


@pytest.mark.parametrize("keep", [1, 3])
def test_the_checksums_are_those_of_the_files(tmp_path, keep):
    train(tmp_path, 4, keep=keep)
    names = [f"checkpoint-0000{e}.keras" for e in range(5 - keep, 5)]
    assert sorted(p.name for p in tmp_path.glob("*.keras")) == names
    found, known = hashes(tmp_path), listed(tmp_path)
    for name in names:
        assert known[name] == found[name]
    assert len(known) <= keep + 1
    with pytest.raises(ValueError, match="`keep` must be a positive integer"):
        train(tmp_path, 5, keep=0)


def test_a_member_whose_last_checkpoint_is_torn_is_trained_on(tmp_path):
    def ensemble():
        return train_ensemble(
            lambda seed: build(), lambda seed: Data(), 2, 1, tmp_path, verbose=0
        )

    (path,) = ensemble()
    expected = keras.saving.load_model(path).get_weights()
    truncate(0.5)(tmp_path / "member_0" / "checkpoint-00002.keras")
    with pytest.warns(UserWarning, match="torn"):
        assert ensemble() == [path]
    found = keras.saving.load_model(path).get_weights()
    np.testing.assert_array_equal(found[0], expected[0])


def full_disk(monkeypatch, where):
    """Makes the disk full at one of the writes of a save."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real = {"fsync": os.fsync, "replace": os.replace, "save": keras.Model.save}

    def fsync(descriptor):
        name = os.path.realpath(f"/proc/self/fd/{descriptor}")
        if where in os.path.basename(name):
            raise error
        real["fsync"](descriptor)

    def replace(source, target):
        if where == "replace" and target.endswith(".keras"):
            raise error
        real["replace"](source, target)

    def save(model, path):
        if where in ("save", "HDF5"):
            with open(path, "wb") as file:
                file.write(b"half")
            if where == "save":
                raise error
            raise RuntimeError("Can't decrement id ref count (No space left on device)")
        real["save"](model, path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(keras.Model, "save", save)


@pytest.mark.parametrize(
    "where", ["save", "HDF5", "replace", ".history", ".checksums", ".checkpoint"]
)
def test_a_full_disk_keeps_what_was_saved(run, whole, monkeypatch, where):
    before = hashes(run)
    with monkeypatch.context() as patch:
        full_disk(patch, where)
        with pytest.raises(OSError, match="the disk is full") as error:
            train(run, 5)
    # HDF5 says it without the number.
    assert error.value.errno == (None if where == "HDF5" else errno.ENOSPC)
    message = f"Epoch 5 could not be saved in {run}: the disk is full"
    assert message in str(error.value)
    after = hashes(run)
    assert before.keys() == after.keys()  # no temporary file
    for name in before:
        assert after[name] == before[name] or name in ("history.json", "checksums.json")
    model, history = train(run, 5)
    assert int(model.optimizer.iterations) == 15 and len(history["loss"]) == 5
    assert {n: history[n][:4] for n in history} == whole[2]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_real_device_that_is_full(run, tmp_path, monkeypatch):
    model, _ = Workdir(run, {}).restore()
    full, save = tmp_path / "full.keras", model.save
    full.symlink_to("/dev/full")
    monkeypatch.setattr(model, "save", lambda path: save(full))
    with pytest.raises(OSError, match="the disk is full"):
        Workdir(run, {}).save(model, 5, {"loss": [0.0] * 5})
    assert not os.path.lexists(run / ".checkpoint-00005.keras")
    assert Workdir(run, {}).newest()[0] == 4


def test_another_error_of_saving_is_told_as_it_is(run, monkeypatch):
    model, _ = Workdir(run, {}).restore()

    def fail(error):
        def save(path):
            raise error

        return save

    monkeypatch.setattr(model, "save", fail(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Epoch 5 .*: .*Input/output") as raised:
        Workdir(run, {}).save(model, 5, {})
    assert raised.value.errno == errno.EIO
    monkeypatch.setattr(model, "save", fail(TypeError("not serializable")))
    with pytest.raises(TypeError, match="^not serializable"):
        Workdir(run, {}).save(model, 5, {})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("step, epoch", [(1, 1), (2, 2), (3, 3)])
def test_a_loss_that_diverges_stops_at_its_step(tmp_path, step, epoch, value):
    data = Data(bad=12 * (epoch - 1) + 4 * (step - 1) + 1, value=value)
    where = f"the loss is (nan|inf) at step {step} of epoch {epoch}"
    with pytest.raises(ValueError, match=f"Training diverged: {where}. ") as error:
        train(tmp_path, 4, data)
    assert str(tmp_path) in str(error.value)
    epochs = [c.epoch for c in Workdir(tmp_path, {}).checkpoints()]
    assert epochs == [1, 2][: epoch - 1]


def test_weights_that_diverge_in_the_last_step_are_not_saved(tmp_path):
    """Its loss was that of the weights before it."""

    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.model.get_layer("top").bias.assign([0.0, np.inf, 0.0])

    with pytest.raises(ValueError, match="diverged: .*top/bias is not finite after ep"):
        train(tmp_path, 4, callbacks=[Spoil()])
    assert [c.epoch for c in Workdir(tmp_path, {}).checkpoints()] == [1]
    assert not list(tmp_path.glob(".*"))
