"""One training at a time in a folder, and workers that are not the chief."""

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import threading

import keras
import numpy as np
import pytest

from tests.helpers import kills
from tfhyper.training import (
    Workdir,
    WorkdirInUseError,
    fit_in_workdir,
    folder_lock,
    train_ensemble,
)

tf = pytest.importorskip("tensorflow")
pytest.importorskip("fcntl")


class Data:
    steps_per_epoch = 2

    def train_from(self, epoch):
        x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        y = np.arange(8) % 3
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat()


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="top")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=False)
    return model


def train(folder, epochs=2, **options):
    workdir = Workdir(folder, {})
    return fit_in_workdir(workdir, build, Data(), epochs, verbose=0, **options)


def files(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def hold_and_die(folder):
    """Takes the lock, leaves a forked process behind, and is killed."""
    with Workdir(folder, {}).lock():
        child = os.fork()
        if not child:
            signal.pause()
        with open(os.path.join(folder, "child"), "w") as file:
            file.write(str(child))
        os.kill(os.getpid(), signal.SIGKILL)


def try_to_train(folder):
    try:
        train(folder, 3)
    except WorkdirInUseError as error:
        print(error)
        sys.exit(3)


def test_a_second_training_is_refused_and_touches_nothing(run):
    found = []

    class Second(keras.callbacks.Callback):
        """Starts in the middle of the first, in this process and in another."""

        def on_train_batch_end(self, batch, logs=None):
            if found:
                return
            before = files(run)
            assert json.loads((run / "training.lock").read_text()) == {
                "pid": os.getpid(),
                "host": socket.gethostname(),
            }
            with pytest.raises(WorkdirInUseError) as error:
                train(run, 3)
            found.append(str(error.value))
            ended = kills.run(try_to_train, [(run,)])
            assert ended.codes == [3], ended.logs
            found.append(ended.logs[0])
            assert files(run) == before
            assert Workdir(run, {}).newest()[0] == 2  # readers are not refused

    train(run, 3, callbacks=[Second()])
    assert len(found) == 2
    holder = f"process {os.getpid()} on {socket.gethostname()} is"
    for message in found:
        assert "`workdir` is in use" in message and holder in message
        assert f"Received: workdir={str(run)!r}" in message
    assert not (run / "training.lock").exists()
    assert train(run, 4)[1]["loss"]


def test_the_lock_of_a_dead_process_is_taken_over(run):
    assert kills.run(hold_and_die, [(run,)]).codes == [-signal.SIGKILL]
    child = int((run / "child").read_text())
    try:
        os.kill(child, 0)  # it lives
        assert json.loads((run / "training.lock").read_text())["pid"] != os.getpid()
        _, history = train(run, 3)
    finally:
        os.kill(child, signal.SIGKILL)
    assert len(history["loss"]) == 3 and not (run / "training.lock").exists()


def test_a_failure_lets_the_lock_go(run):
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyError

    with pytest.raises(KeyError):
        train(run, 3, callbacks=[Fail()])
    assert not (run / "training.lock").exists()
    train(run, 3)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_holder_that_has_not_said_who_it_is(tmp_path, content):
    path = tmp_path / "training.lock"
    with folder_lock.folder_lock(str(path)):
        path.write_text(content)
        with pytest.raises(WorkdirInUseError, match="and another process is"):
            with folder_lock.folder_lock(str(path)):
                pass


def test_many_that_take_turns_never_hold_at_once(tmp_path):
    """The file is removed and made again all the time."""
    path, inside, most, refused = str(tmp_path / "training.lock"), [], [], []

    def work():
        for _ in range(100):
            try:
                with folder_lock.folder_lock(path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except WorkdirInUseError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and len(most) + len(refused) == 400
    assert not os.path.exists(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_without_locks_train_on(run, monkeypatch, number):
    def fail(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(folder_lock.fcntl, "flock", fail)
    with Workdir(run, {}).lock(), Workdir(run, {}).lock():
        pass
    assert len(train(run, 3)[1]["loss"]) == 3


def test_systems_without_fcntl_train_on(run, monkeypatch):
    monkeypatch.setattr(folder_lock, "fcntl", None)
    with Workdir(run, {}).lock(), Workdir(run, {}).lock():
        assert not (run / "training.lock").exists()


def test_workers_that_are_not_the_chief_write_nothing(run):
    torn = run / "checkpoint-00002.keras"
    torn.write_bytes(torn.read_bytes()[:-1000])
    before = files(run)
    worker = Workdir(run, {}, chief=False)
    with Workdir(run, {}).lock(), worker.lock():  # the chief's, and none
        held = files(run)
        with pytest.warns(UserWarning, match="not used: it is torn.*00001.keras is us"):
            model, _ = worker.restore()
        worker.save(model, 3, worker.history(2))
        assert files(run) == held
    assert files(run) == before
    with pytest.warns(UserWarning, match="keras.torn; .*00001.keras is used"):
        expected, _ = Workdir(run, {}).restore()
    for found, weight in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(found, weight)


def test_workers_need_no_folder_but_the_same_settings(run, tmp_path):
    new = tmp_path / "new"
    worker = Workdir(new, {"a": 1}, chief=False)
    assert worker.restore()[0] is None and worker.history(0) == {}
    worker.check_writable()
    worker.save(build(), 1, {"loss": [0.0]})
    assert not new.exists()
    with pytest.raises(ValueError, match="a was None, now 1"):
        Workdir(run, {"a": 1}, chief=False)
    spoilt = build()
    spoilt.get_layer("top").bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(ValueError, match="top/bias is not finite"):
        worker.save(spoilt, 1, {})


def test_a_checkpoint_that_the_chief_sets_aside_meanwhile(run, monkeypatch):
    """Or that a run at work drops: what is there then is read."""
    last, fault_of = run / "checkpoint-00002.keras", Workdir._fault

    def vanish(workdir, path, known):
        last.unlink(missing_ok=True)
        return fault_of(workdir, path, known)

    monkeypatch.setattr(Workdir, "_fault", vanish)
    assert Workdir(run, {}, chief=False).newest()[0] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_slots_of_the_optimizer_that_diverge_are_not_saved(run, value):
    model, _ = Workdir(run, {}).restore()
    slot = next(v for v in model.optimizer.variables if "momentum" in v.path)
    slot.assign(np.full(slot.shape, value, "float32"))
    before = files(run)
    with pytest.raises(ValueError, match="diverged: .*momentum is not finite after ep"):
        Workdir(run, {}).save(model, 3, {})
    assert files(run) == before


@pytest.mark.parametrize("part", ["", "below"])
def test_a_file_in_the_place_of_the_folder(tmp_path, part):
    (tmp_path / "file").write_text("precious")
    path = os.path.join(tmp_path / "file", part).rstrip("/")
    for make in (
        lambda: Workdir(path, {}),
        lambda: Workdir(path, {}, chief=False),
        lambda: train_ensemble(lambda s: build(), lambda s: Data(), 1, 1, path),
    ):
        with pytest.raises(ValueError, match="`workdir` must be a folder.*Received: w"):
            make()
    assert (tmp_path / "file").read_text() == "precious"


def test_a_folder_that_cannot_be_made(monkeypatch, tmp_path):
    def fail(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "makedirs", fail)
    message = "`workdir` cannot be made or read: Permission denied. Received: workdir="
    with pytest.raises(PermissionError, match=message):
        Workdir(tmp_path / "new", {})


def assert_read_but_not_trained_in(run):
    model, history = train(run, 2)
    assert len(history["loss"]) == 2 and int(model.optimizer.iterations) == 4
    steps = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(batch)
    )
    with pytest.raises(OSError, match="`workdir` cannot be written: .*Received: work"):
        train(run, 3, callbacks=[count])
    assert not steps


def test_a_folder_that_cannot_be_written(run, monkeypatch):
    """Is found before the first step; a training that is done is read."""
    before, opened = files(run), os.open

    def fail(path, flags, *args, **options):
        if flags & os.O_WRONLY or flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert_read_but_not_trained_in(run)
    assert files(run) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write(run):
    run.chmod(0o500)
    try:
        assert_read_but_not_trained_in(run)
    finally:
        run.chmod(0o700)
