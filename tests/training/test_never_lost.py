"""Processes that die at any moment: killed, or asked to end."""

import json
import os
import signal
import threading

import numpy as np
import pytest

from tests.helpers.processes import run_python
from tfhyper.training.sigterm import SigtermStop

pytest.importorskip("tensorflow")

# A training in which calls in the code that trains and saves are counted, and a signal
# is sent at one.
TRAIN = """
import os, signal, sys, zipfile
import h5py, keras, numpy as np, tensorflow as tf, tfhyper
from tfhyper.training import Workdir, fit_in_workdir

EPOCHS = 4
PLACES = [os.path.dirname(tfhyper.training.__file__), zipfile.__file__,
          os.path.dirname(h5py.__file__),
          *(os.path.join(os.path.dirname(keras.__file__), "src", part)
            for part in ("saving", "callbacks"))]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3

class Data:
    steps_per_epoch = 3
    def train_from(self, epoch):
        order = np.concatenate([
            np.random.default_rng(e).permutation(12) for e in range(epoch, EPOCHS)])
        return tf.data.Dataset.from_tensor_slices((X[order], Y[order])).batch(4)

def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((4,)), keras.layers.Dense(6, activation="relu"),
        tfhyper.layers.Dropout(0.3, seed=1), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model

def train(folder, at, number):
    calls = 0
    def profile(frame, event, arg):
        nonlocal calls
        if event in ("call", "c_call") and any(
                frame.f_code.co_filename.startswith(place) for place in PLACES):
            calls += 1
            if calls == at:
                os.kill(os.getpid(), number)
    def begun():
        model = build()
        sys.setprofile(profile)
        return model
    workdir = Workdir(folder, {})
    before = signal.getsignal(signal.SIGTERM)
    if workdir.checkpoints():
        sys.setprofile(profile)
    try:
        model, history = fit_in_workdir(workdir, begun, Data(), EPOCHS, verbose=0)
    finally:
        sys.setprofile(None)
        assert signal.getsignal(signal.SIGTERM) is before
    state = [*model.get_weights(),
             *map(keras.ops.convert_to_numpy, model.optimizer.variables),
             *map(np.array, history.values())]
    np.savez(os.path.join(folder, "state.npz"), *state)
    with open(os.path.join(folder, "calls"), "w") as file:
        file.write(str(calls))

folder, at, number = sys.argv[1:]
train(folder, int(at), int(number))
"""


def train(folder, at=0, number=signal.SIGKILL):
    """Returns how a training ended that gets a signal at a call."""
    return run_python("-c", TRAIN, folder, at, int(number))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a training that nothing disturbed, and its calls."""
    folder = tmp_path_factory.mktemp("whole")
    ended = train(folder)
    assert ended.returncode == 0, ended.stderr
    return folder, int((folder / "calls").read_text())


def assert_same(folder, whole):
    expected, found = np.load(whole / "state.npz"), np.load(folder / "state.npz")
    assert len(expected.files) > 10 and found.files == expected.files
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    histories = [json.loads((f / "history.json").read_text()) for f in (folder, whole)]
    assert histories[0] == histories[1] and len(histories[0]["loss"]) == 4
    names = [f"checkpoint-0000{e}.keras" for e in (3, 4)]
    assert [p.name for p in sorted(folder.glob("checkpoint*"))] == names
    assert not list(folder.glob(".*"))


def test_kills_at_any_moments_end_as_none(whole, tmp_path):
    """Each kill is at a moment of what the one before left to do."""
    folder, calls = whole
    rng = np.random.default_rng(3)
    for fraction in rng.uniform(0.05, 0.6, size=4):
        ended = train(tmp_path, at=int(fraction * calls))
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
        if ended.returncode == 0:
            break
    ended = train(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert_same(tmp_path, folder)
    assert "not used" not in ended.stderr


@pytest.mark.parametrize("fraction", [0.4, 0.999])
def test_sigterm_ends_where_the_training_can_go_on(whole, tmp_path, fraction):
    folder, calls = whole
    at = int(fraction * calls)
    ended = train(tmp_path, at, signal.SIGTERM)
    assert ended.returncode == 143, ended.stderr
    assert f"stopped by SIGTERM; {tmp_path} goes on from its newest" in ended.stderr
    assert not (tmp_path / "state.npz").exists() and not list(tmp_path.glob(".*"))
    ended = train(tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert_same(tmp_path, folder)


def test_sigterm_is_noted_and_the_handler_put_back():
    got = []

    def handler(number, frame):
        got.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit) as end, SigtermStop("stopped") as stop:
            stop.check()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested and not got
            stop.check()
        assert end.value.code == 143
        # As the context ends, and with the error that is under way.
        with pytest.raises(SystemExit), SigtermStop("stopped"):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyError), SigtermStop("stopped"):
            os.kill(os.getpid(), signal.SIGTERM)
            raise KeyError
        assert signal.getsignal(signal.SIGTERM) is handler and not got
        os.kill(os.getpid(), signal.SIGTERM)
        assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with SigtermStop("stopped") as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            stop.check()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_no_handler_is_set_outside_of_the_main_thread():
    found = []

    def work():
        with SigtermStop("stopped") as stop:
            stop.check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
