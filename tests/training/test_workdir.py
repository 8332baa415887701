"""Training in a folder: killed, resumed, and what is refused."""

import hashlib
import json
import os
import signal

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.processes import run_python
from tfhyper.training import Workdir, fit_in_workdir

pytest.importorskip("tensorflow")

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(tfhyper.__file__)))

# One run of a small hyper network; with "kill", it dies in the third epoch.
RUN = """
import dataclasses, os, signal, sys
import keras, numpy as np, tfhyper
from tfhyper.training import Workdir, compile_recipe, fit_in_workdir

folder, mode = sys.argv[1:]
data = tfhyper.data.load("fashion_mnist_small", train_examples=256, batch_size=64)

def build():
    keras.utils.set_random_seed(0)
    kit = dataclasses.replace(
        tfhyper.kits.hyper(code_units=4, hidden_units=8, seed=1),
        dropout=lambda rate, name: tfhyper.layers.Dropout(
            rate, seed=len(name), name=name.replace("/", "_")))
    model = tfhyper.models.wide_resnet(
        10, 1, input_shape=(28, 28, 1), kit=kit, dropout=0.1)
    return compile_recipe(model, epochs=4, steps_per_epoch=data.steps_per_epoch)

class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            os.kill(os.getpid(), signal.SIGKILL)

model, history = fit_in_workdir(
    Workdir(folder, {"epochs": 4}), build, data, 4,
    callbacks=[Kill()] if mode == "kill" else [], verbose=2, steps_per_call=1)
state = {f"weight{i}": w for i, w in enumerate(model.get_weights())}
for i, slot in enumerate(model.optimizer.variables):
    state[f"slot{i}"] = keras.ops.convert_to_numpy(slot)
for name, values in history.items():
    state[f"history/{name}"] = np.array(values)
np.savez(os.path.join(folder, "state.npz"), **state)
"""


def run(folder, mode):
    return run_python("-c", RUN, folder, mode)


def files(folder):
    """Name -> hash of content."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in sorted(os.listdir(folder))
    }


class Data:
    """The least that `fit_in_workdir` asks for."""

    steps_per_epoch = 2

    def __init__(self):
        self.read = []

    def train_from(self, epoch):
        import tensorflow as tf

        self.read.append(epoch)
        x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
        y = np.arange(8) % 3
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat()


def build(learning_rate=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(learning_rate, momentum=0.9), loss)
    return model


def trained(folder, epochs=2, **options):
    workdir = Workdir(folder, {"epochs": 9}, **options)
    return fit_in_workdir(workdir, build, Data(), epochs, verbose=0)


def test_a_killed_training_ends_as_one_that_was_not(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    result = run(whole, "run")
    assert result.returncode == 0, result.stderr

    killed = run(parts, "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "Epoch 3/4" in killed.stdout and "Epoch 4/4" not in killed.stdout
    assert sorted(files(parts)) == [
        "checkpoint-00001.keras",
        "checkpoint-00002.keras",
        "checksums.json",
        "history.json",
        "settings.json",
        "training.lock",
    ]
    # What a kill in the middle of a save leaves behind.
    (parts / ".checkpoint-00003.keras").write_bytes(b"half a checkpoint")
    (parts / ".history.json").write_text('{"loss": [0.')

    resumed = run(parts, "run")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after 2 of 4 epochs" in resumed.stdout
    assert "Epoch 3/4" in resumed.stdout and "Epoch 2/4" not in resumed.stdout

    expected, found = np.load(whole / "state.npz"), np.load(parts / "state.npz")
    assert set(found.files) == set(expected.files)
    assert {"weight0", "slot2", "history/loss", "history/accuracy"} <= set(found.files)
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert len(found["history/loss"]) == 4
    assert len(set(found["history/loss"])) == 4
    history = json.loads((whole / "history.json").read_text())
    assert history["loss"] == expected["history/loss"].tolist()
    assert json.loads((parts / "history.json").read_text()) == history


def test_a_training_that_is_done_is_not_trained_on(tmp_path):
    model, history = trained(tmp_path)
    before, data = files(tmp_path), Data()
    again, known = fit_in_workdir(
        Workdir(tmp_path, {"epochs": 9}), build, data, 2, verbose=0
    )
    assert known == history and len(known["loss"]) == 2
    assert data.read == [] and files(tmp_path) == before
    assert int(again.optimizer.iterations) == 4
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert np.abs(model.get_weights()[0] - build().get_weights()[0]).max() > 1e-4


def test_a_training_goes_on_where_it_ended(tmp_path):
    trained(tmp_path / "parts", epochs=2)
    data = Data()
    workdir = Workdir(tmp_path / "parts", {"epochs": 9})
    model, history = fit_in_workdir(workdir, build, data, 5, verbose=0)
    whole, expected = trained(tmp_path / "whole", epochs=5)
    assert data.read == [2] and history == expected and len(history["loss"]) == 5
    np.testing.assert_array_equal(model.get_weights()[0], whole.get_weights()[0])


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_checkpoints_are_kept(tmp_path, keep):
    trained(tmp_path, epochs=4, keep=keep)
    expected = list(range(4 - keep + 1, 5))
    assert [c.epoch for c in Workdir(tmp_path, {"epochs": 9}).checkpoints()] == expected
    assert sorted(files(tmp_path)) == [
        *(f"checkpoint-{e:05d}.keras" for e in expected),
        "checksums.json",
        "history.json",
        "settings.json",
    ]


@pytest.mark.parametrize("keep", [0, -1, 1.5, True])
def test_the_number_of_checkpoints_is_a_positive_integer(tmp_path, keep):
    with pytest.raises(ValueError, match="`keep` must be a positive integer"):
        Workdir(tmp_path / "new", {}, keep=keep)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"rate": 0.2, "kit": "hyper"}, r"rate was 0\.1, now 0\.2$"),
        ({"rate": 0.1}, "kit was 'hyper', now None"),
        ({"rate": 0.1, "kit": "hyper", "seed": 0}, "seed was None, now 0"),
        (
            {"rate": 1, "kit": "det"},
            r"kit was 'hyper', now 'det', rate was 0\.1, now 1",
        ),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(tmp_path, settings, message):
    Workdir(tmp_path, {"rate": 0.1, "kit": "hyper"})
    (tmp_path / "checkpoint-00001.keras").write_bytes(b"precious")
    before = files(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        Workdir(tmp_path, settings)
    assert "nothing in it is touched" in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert files(tmp_path) == before and len(before) == 2


def test_the_same_settings_are_accepted_in_any_order(tmp_path):
    Workdir(tmp_path, {"a": 1, "sizes": (3, 4)})
    before = files(tmp_path)
    Workdir(tmp_path, {"sizes": [3, 4], "a": 1})
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["settings.json", "history.json", "checksums.json"])
@pytest.mark.parametrize("content", [b"", b'{"loss": [0.3', b"\xff\xfe", b"[1, 2]"])
def test_json_that_is_broken_is_named(tmp_path, name, content):
    trained(tmp_path, epochs=1)
    (tmp_path / name).write_bytes(content)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is not"):
        trained(tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("history", [None, {}, {"loss": [0.5]}])
def test_a_history_that_is_too_short_is_refused(tmp_path, history):
    trained(tmp_path, epochs=2)
    if history is None:
        (tmp_path / "history.json").unlink()
    else:
        (tmp_path / "history.json").write_text(json.dumps(history))
    before = files(tmp_path)
    with pytest.raises(ValueError, match="history.json .* 2 epochs"):
        trained(tmp_path, epochs=3)
    assert files(tmp_path) == before


class Diverge(keras.callbacks.Callback):
    """Spoils the weights in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.at:
            for weight in self.model.trainable_weights:
                weight.assign(np.full(weight.shape, np.nan, "float32"))


def test_a_training_that_diverges_stops_and_keeps_what_was_good(tmp_path):
    workdir = Workdir(tmp_path, {"epochs": 9})
    with pytest.raises(ValueError, match="the loss is nan at step 1 of epoch 3"):
        fit_in_workdir(workdir, build, Data(), 5, callbacks=[Diverge(2)], verbose=0)
    assert [c.epoch for c in workdir.checkpoints()] == [1, 2]
    model, (epoch, *_) = workdir.restore()
    assert epoch == 2 and np.isfinite(model.get_weights()[0]).all()
    assert len(workdir.history(2)["loss"]) == 2
    _, history = trained(tmp_path, epochs=3)
    assert len(history["loss"]) == 3 and np.isfinite(history["loss"]).all()


def test_a_training_that_diverges_at_once_leaves_no_checkpoint(tmp_path):
    workdir = Workdir(tmp_path, {"epochs": 9})
    with pytest.raises(ValueError, match="the loss is nan at step 1 of epoch 1"):
        fit_in_workdir(workdir, build, Data(), 5, callbacks=[Diverge(0)], verbose=0)
    assert workdir.restore() == (None, (0, None, 0))


def test_a_new_folder_holds_its_settings(tmp_path):
    workdir = Workdir(tmp_path / "a" / "b", {"seed": 0})
    assert workdir.restore() == (None, (0, None, 0)) and workdir.history(0) == {}
    assert json.loads((tmp_path / "a" / "b" / "settings.json").read_text()) == {
        "seed": 0
    }
