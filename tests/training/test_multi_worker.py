"""Two worker processes on this machine, against one process, and against kills."""

import json
import os
import signal
import threading
import time

import keras
import numpy as np
import pytest

from tests.helpers import kills
from tests.helpers.trainings import (
    STEPS,
    assert_close,
    batches,
    compiled,
    plain_network,
    state,
    train,
    validation,
)
from tfhyper.training import for_multi_worker_fit

tf = pytest.importorskip("tensorflow")
from tests.helpers import two_workers  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes wrote that trained together."""
    path = tmp_path_factory.mktemp("two_workers")
    kills.run(two_workers.compare, two_workers.workers(path), timeout=1200.0).check()
    return path


def load(folder, name):
    with np.load(folder / f"{name}.npz") as values:
        return dict(values)


EQUAL = {
    "fast": {},
    "ordinary": {},
    "validation": {"build": plain_network},
}


@pytest.mark.parametrize("name", EQUAL)
def test_weights_and_history_are_those_of_one_process(folder, name):
    options = EQUAL[name]
    if name == "validation":
        options = {**options, "fit_options": {"validation_data": validation()}}
    expected = state(*train(loop="fit", fast=False, **options))
    assert_close(load(folder, f"{name} 0"), expected, rtol=1e-5)


@pytest.mark.parametrize("name", [*EQUAL, *(f"kit {k}" for k in two_workers.KITS)])
def test_workers_end_with_the_same_bits(folder, name):
    first, second = (load(folder, f"{name} {i}") for i in range(2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
        assert np.isfinite(first[name]).all()


@pytest.mark.parametrize("name", two_workers.KITS)
def test_fit_of_keras_works_for_a_kit(folder, name):
    assert {"loss", "accuracy", "val_loss"} <= load(folder, f"kit {name} 0").keys()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of two workers that nothing disturbed, and the seconds it took."""
    path = tmp_path_factory.mktemp("whole")
    ended = kills.run(two_workers.resume, two_workers.workers(path))
    ended.check()
    return path, ended.seconds


def assert_same(folder, whole, history=True):
    expected = load(whole, "state 0")
    assert len(expected) > 20
    names = list(expected) if history else list(expected)[:-2]
    for found in (load(folder, f"state {i}") for i in range(2)):
        for name in names:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    histories = [json.loads((f / "history.json").read_text()) for f in (folder, whole)]
    assert histories[0].keys() == histories[1].keys()
    assert len(histories[0]["loss"]) == two_workers.EPOCHS


KILLS = 20


def test_kills_of_a_worker_end_as_none(whole, tmp_path):
    """Either worker, at random moments; the other is ended, and both start again.

    It ends by itself, with an error that says why, or waits for the one that died. A
    training that comes to its end between two kills is followed by another.
    """
    path, seconds = whole
    rng = np.random.default_rng(0)
    kills_left, folder = KILLS, tmp_path / "0"
    while True:
        moment = float(rng.uniform(0.2, 0.9) * seconds), int(rng.integers(2))
        kill = moment if kills_left else None
        known = two_workers.workers(folder)
        ended = kills.run(two_workers.resume, known, kill, grace=0.1)
        if not ended.killed:
            ended.check()
            assert_same(folder, path)
            if not kills_left:
                return
            folder = tmp_path / str(kills_left)
            continue
        kills_left -= 1
        other = 1 - moment[1]
        if ended.codes[other] == 1:
            # TensorFlow's own words, if it was before the training.
            words = "Another worker is gone", "UnavailableError"
            assert any(w in ended.logs[other] for w in words), ended.logs[other]


@pytest.mark.parametrize("worker", [0, 1])
def test_sigterm_to_one_worker_ends_both_at_the_same_step(whole, tmp_path, worker):
    path, _ = whole
    notes = tmp_path / "steps 0"

    workers = [(*arguments, worker) for arguments in two_workers.workers(tmp_path)]
    ended = kills.run(sigterm_itself, workers, grace=30.0)
    assert ended.codes == [143, 143], ended.logs
    # The signal comes after four steps, and a busy machine may take another one.
    epochs, steps = divmod(len(notes.read_text()), STEPS)
    assert (epochs, steps) >= (1, 2)
    names = {p.name for p in tmp_path.glob("checkpoint*")}
    assert f"checkpoint-{epochs:05}-{steps:07}.keras" in names
    assert all("stopped by SIGTERM" in log for log in ended.logs)
    kills.run(two_workers.resume, two_workers.workers(tmp_path)).check()
    # The metrics of that epoch go on but for rounding.
    assert_same(tmp_path, path, history=False)


def sigterm_itself(folder, index, known, options, worker):
    """As `resume`, but one worker gets SIGTERM in its fifth step."""
    if index == worker:
        watch = os.path.join(folder, f"steps {index}")

        def send():
            while not os.path.exists(watch) or os.path.getsize(watch) < 4:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=send, daemon=True).start()
    two_workers.resume(folder, index, known, options)


def test_outer_model_is_refused_for_what_it_cannot_train():
    model = plain_network()
    with pytest.raises(ValueError, match="must be compiled"):
        for_multi_worker_fit(model)

    class OwnStep(keras.Model):
        def train_step(self, data):
            return super().train_step(data)

    own = OwnStep(model.inputs, model.outputs)
    own.compile("sgd", "mse")
    with pytest.raises(ValueError, match="without a `train_step` of its own"):
        for_multi_worker_fit(own)
    model.compile("sgd", "mse")
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope(), pytest.raises(ValueError, match="outside of the scope"):
        for_multi_worker_fit(model)


@pytest.mark.parametrize("fast", [True, False])
def test_outer_model_trains_the_inner_one(fast):
    """On one device, as the inner one's own `fit` does."""
    model = compiled(fast=fast)
    outer = for_multi_worker_fit(model)
    assert outer.optimizer is model.optimizer
    expected, history = train(loop="fit", fast=False)
    options = {"epochs": 2, "steps_per_epoch": 3, "shuffle": False, "verbose": 0}
    found = outer.fit(batches(), **options)
    assert_close(state(model, found), state(expected, history))
