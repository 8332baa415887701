"""Checkpoints after every so many epochs, and what SIGTERM leaves of an epoch."""

import json
import os
import signal

import keras
import numpy as np
import pytest

from tfhyper.training import Workdir, fit_in_workdir

pytest.importorskip("tensorflow")


class Data:
    steps_per_epoch = 3

    def train_from(self, epoch):
        import tensorflow as tf

        x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
        y = np.arange(12) % 3
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4).repeat()
        return dataset.skip(3 * epoch)


def build():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    return model


def train(folder, epochs=5, **options):
    options = {"verbose": 0, "steps_per_call": 1, **options}
    return fit_in_workdir(Workdir(str(folder), {}), build, Data(), epochs, **options)


class At(keras.callbacks.Callback):
    """Does something before the end of a step."""

    def __init__(self, epoch, step, do):
        super().__init__()
        self.at, self.do = (epoch, step), do

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.do()


def epochs_of(folder):
    return [c[0] for c in Workdir(str(folder), {}).checkpoints()]


def fail():
    raise KeyboardInterrupt


def test_every_third_epoch_and_the_last_are_saved(tmp_path):
    saved = []

    class Looks(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            saved.append(epochs_of(tmp_path))

    whole, history = train(tmp_path, save_every=3, callbacks=[Looks()])
    assert saved == [[], [], [], [3], [3]] and epochs_of(tmp_path) == [3, 5]
    assert len(history["loss"]) == 5
    expected, same = train(tmp_path / "each")
    assert same == history
    for one, other in zip(whole.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_was_killed_goes_on_from_the_last_that_was_saved(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, save_every=2, callbacks=[At(3, 1, fail)])
    assert epochs_of(tmp_path) == [2]
    model, history = train(tmp_path, save_every=2)
    expected, same = train(tmp_path / "whole")
    assert history == same
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("step, saved", [(1, (1, 2)), (2, (2, 0))])
def test_sigterm_saves_what_was_done_of_an_epoch_or_all_of_it(tmp_path, step, saved):
    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        train(tmp_path, save_every=4, callbacks=[At(1, step, terminate)])
    assert ended.value.code == 143
    (found,) = Workdir(str(tmp_path), {}).checkpoints()
    assert (found.epoch, found.step) == saved
    history = json.loads((tmp_path / "history.json").read_text())
    assert len(history["loss"]) == saved[0]
    model, history = train(tmp_path, save_every=4)
    expected, same = train(tmp_path / "whole")
    assert history == same
    for one, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("every", [0, -1, 1.5, None])
def test_the_epochs_between_are_a_positive_integer(tmp_path, every):
    with pytest.raises(ValueError, match="`save_every` must be a positive integer"):
        train(tmp_path, save_every=every)
