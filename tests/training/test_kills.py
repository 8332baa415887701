"""A training that is killed at random moments, twenty times."""

import collections
import json
import os

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers import kills
from tfhyper import kits
from tfhyper.training import LinearKLWarmup, Workdir, compile_recipe, fit_in_workdir

pytest.importorskip("tensorflow")

KILLS = 20
EPOCHS = 20
STEPS = 2
BATCH = 4


class Data:
    """Images in an order of their epoch."""

    steps_per_epoch = STEPS

    def train_from(self, epoch):
        import tensorflow as tf

        rng = np.random.default_rng(0)
        x = rng.normal(size=(STEPS * BATCH, 8, 8, 3)).astype("float32")
        y = np.arange(STEPS * BATCH) % 3
        order = np.concatenate(
            [
                np.random.default_rng(e).permutation(STEPS * BATCH)
                for e in range(epoch, EPOCHS)
            ]
        )
        return tf.data.Dataset.from_tensor_slices((x[order], y[order])).batch(BATCH)


def build():
    """A residual block from a hypernetwork, dropout, and a Bayesian classifier."""
    keras.utils.set_random_seed(0)
    kit = kits.hyper("layer_wise", code_units=4, hidden_units=8, seed=1).for_network()
    x = inputs = keras.Input((8, 8, 3))
    x = shortcut = kit.stem(4, 3, strides=2, name="stem")(x)
    for i in (1, 2):
        x = keras.layers.ReLU()(kit.norm(name=f"stage1_block1/norm{i}")(x))
        x = kit.conv(4, 3, name=f"stage1_block1/conv{i}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x + shortcut)
    x = tfhyper.layers.Dropout(0.3, seed=2)(x)
    outputs = kits.bayes(num_examples=12, seed=3).dense(3, name="top")(x)
    # XLA would take most of the time.
    return compile_recipe(
        keras.Model(inputs, outputs), EPOCHS, STEPS, jit_compile=False
    )


def train(folder):
    """Writes all that a training ends with to `state.npz`."""
    model, history = fit_in_workdir(
        Workdir(folder, {}),
        build,
        Data(),
        EPOCHS,
        callbacks=[LinearKLWarmup(EPOCHS // 2)],
        verbose=0,
    )
    variables = [*model.variables, *model.optimizer.variables]
    state = {f"{i} {v.path}": v.numpy() for i, v in enumerate(variables)}
    state.update({f"history {name}": values for name, values in history.items()})
    np.savez(os.path.join(folder, "state.npz"), **state)


def unfinished(folder):
    """Name -> when it was written, of files whose writing had not come to its end."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(".*")}


def assert_same(folder, whole):
    expected, found = np.load(whole / "state.npz"), np.load(folder / "state.npz")
    assert found.files == expected.files
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    histories = [json.loads((f / "history.json").read_text()) for f in (folder, whole)]
    assert histories[0] == histories[1]
    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in folder.iterdir()) == names


def test_the_state_is_all_that_training_changes(whole):
    folder, _ = whole
    state = np.load(folder / "state.npz")
    text = " ".join(state.files)
    for part in ("code_stage1_block1_conv1/draws", "conv2_generator_output_momentum"):
        assert part in text
    for part in ("moving_variance", "seed_generator_state", "kl_factor", "iteration"):
        assert part in text
    assert len(set(state["history loss"])) == EPOCHS
    assert len(set(state["history kl_factor"])) >= EPOCHS // 2
    (draws,) = (state[name] for name in state.files if "conv1/draws" in name)
    assert EPOCHS * STEPS in draws


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a training that nothing disturbed, and its seconds."""
    folder = tmp_path_factory.mktemp("whole")
    ended = kills.run(train, [(folder,)])
    ended.check()
    return folder, ended.seconds


def test_twenty_kills_at_random_moments(whole, tmp_path):
    """A folder is killed in until its training is done; then comes another."""
    expected, seconds = whole
    rng = np.random.default_rng(0)
    hit = collections.Counter()

    def moments():
        while sum(hit.values()) < KILLS:
            yield rng.uniform(0, seconds), 0

    runs = 0
    while sum(hit.values()) < KILLS:
        folder = tmp_path / str(runs)
        old = {}

        def look(ended, folder=folder, old=old):
            files = unfinished(folder)
            new = sorted(name for name in files if files[name] != old.get(name))
            old.update(files)
            if new:
                hit[f"saving {new[0]}".split("-")[0]] += 1
            elif list(folder.glob("checkpoint*")):
                hit["after a checkpoint"] += 1
            else:
                hit["before the first"] += 1

        workers = [(folder,)]
        attempts = kills.run_through_kills(train, lambda _: workers, moments(), look)
        assert_same(folder, expected)
        runs += 1
        # A length that was taken while the machine was busy would miss the most.
        if not attempts[0].killed:
            seconds = min(seconds, attempts[0].seconds)
    print(f"{KILLS} kills in {runs} trainings of {seconds:.2f} s: {dict(hit)}")
    assert any(where.startswith("saving") for where in hit)
