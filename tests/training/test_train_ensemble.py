"""Ensembles trained in a folder: seeds, kills, growth, and what is refused."""

import hashlib
import json

import keras
import numpy as np
import pytest

from tfhyper import DeepEnsemble, layers
from tfhyper.layers.seeds import derive_seed
from tfhyper.training import fit_in_workdir, train_ensemble
from tfhyper.training.workdir import Workdir

tf = pytest.importorskip("tensorflow")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = np.arange(8) % 3
EPOCHS = 3


class Data:
    """Batches in an order of its seed and epoch."""

    steps_per_epoch = 2

    def __init__(self, seed):
        self.seed = seed

    def train_from(self, epoch):
        orders = [
            np.random.default_rng((self.seed, e)).permutation(8)
            for e in range(epoch, EPOCHS)
        ]
        order = np.concatenate(orders)
        return tf.data.Dataset.from_tensor_slices((X[order], Y[order])).batch(4)


def build(seed):
    """With dropout, whose masks a resumed training has to go on with."""
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu"),
            layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    return model


def train(folder, members=2, **options):
    options = {"seed": 5, "verbose": 0, **options}
    return train_ensemble(build, Data, EPOCHS, members, folder, **options)


def weights(path):
    return keras.saving.load_model(path).get_weights()


def assert_same_weights(found, expected):
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(weights(a), weights(b), strict=True):
            np.testing.assert_array_equal(x, y)


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder)


def test_members_are_trainings_with_seeds_of_their_own(whole, tmp_path):
    folder, paths = whole
    assert paths == [str(folder / f"member_{i}/checkpoint-00003.keras") for i in (0, 1)]
    for i, path in enumerate(paths):
        seed = derive_seed(5, i)
        keras.utils.set_random_seed(seed)
        expected, _ = fit_in_workdir(
            Workdir(tmp_path / str(i), {}),
            lambda seed=seed: build(seed),
            Data(seed),
            EPOCHS,
            verbose=0,
        )
        found = weights(path)
        for x, y in zip(found, expected.get_weights(), strict=True):
            np.testing.assert_array_equal(x, y)
    first, second = map(weights, paths)
    assert np.abs(first[0] - second[0]).max() > 0.1
    members = DeepEnsemble(paths).predict(X).members
    assert members.shape == (2, 8, 3) and np.ptp(members, axis=0).max() > 0.01


class Kill(keras.callbacks.Callback):
    """Ends the process, as far as a test can, in the middle of an epoch."""

    def __init__(self, member, epoch):
        super().__init__()
        self.member, self.at = member, epoch
        self.trained = -1

    def on_train_begin(self, logs=None):
        self.trained += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        # One compiled loop, of more than one step.
        if (self.trained, self.epoch) == (self.member, self.at):
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_killed_training_ends_as_one_that_was_not(whole, tmp_path, capsys, epoch):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, callbacks=[Kill(1, epoch)])
    done = hashes(tmp_path / "member_0")
    half = sorted(path.name for path in (tmp_path / "member_1").iterdir())
    assert "checkpoint-00003.keras" in done and "checkpoint-00003.keras" not in half
    assert ("checkpoint-00002.keras" in half) == (epoch == 2)
    keras.utils.set_random_seed(99)  # another process, another random state
    found = train(tmp_path, verbose=2)
    output = capsys.readouterr().out
    first = tmp_path / "member_0" / "checkpoint-00003.keras"
    assert f"member_0 (1 of 2): trained before, {first}" in output
    assert f"member_1 (2 of 2): training in {tmp_path / 'member_1'}" in output
    assert f"member_1 (2 of 2): written {found[1]}" in output
    assert ("resuming after 2 of 3 epochs" in output) == (epoch == 2)
    assert_same_weights(found, whole[1])
    assert hashes(tmp_path / "member_0") == done
    for i in range(2):
        name = f"member_{i}/history.json"
        histories = [json.loads((f / name).read_text()) for f in (tmp_path, whole[0])]
        assert histories[0] == histories[1] and len(histories[0]["loss"]) == 3


def test_more_members_can_be_trained_later(whole, tmp_path):
    train(tmp_path, members=1)
    before = hashes(tmp_path)
    found = train(tmp_path)
    assert_same_weights(found, whole[1])
    after = hashes(tmp_path)
    assert before.items() <= after.items()

    def no_data(seed):
        raise AssertionError("all members are trained")

    again = train_ensemble(build, no_data, EPOCHS, 2, tmp_path, seed=5, verbose=0)
    assert again == found and hashes(tmp_path) == after


def test_checkpoints_are_kept_of_each_member(whole, tmp_path):
    names = ["checkpoint-00002.keras", "checkpoint-00003.keras"]
    for folder in whole[0].iterdir():
        assert sorted(p.name for p in folder.glob("*.keras")) == names
    train(tmp_path, members=1, keep=1)
    found = [p.name for p in (tmp_path / "member_0").glob("*.keras")]
    assert found == names[1:]


@pytest.mark.parametrize(
    "options, message",
    [({"seed": 6}, "seed was 5, now 6"), ({"settings": {"a": 1}}, "a was None, now 1")],
)
def test_a_folder_of_other_settings_is_refused(whole, options, message):
    folder, _ = whole
    before = hashes(folder)
    with pytest.raises(ValueError, match=message):
        train(folder, **options)
    with pytest.raises(ValueError, match="epochs was 3, now 4"):
        train_ensemble(build, Data, 4, 2, folder, seed=5)
    assert hashes(folder) == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_members": 0}, "`num_members` must be an integer from 1 to 10000"),
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"epochs": 1.5}, "`epochs` must be a positive integer"),
        ({"seed": -1}, "`seed` must be"),
        ({"keep": 0}, "`keep` must be a positive integer"),
    ],
)
def test_bad_arguments_leave_no_folder(tmp_path, options, message):
    options = {"epochs": 1, "num_members": 1, "workdir": tmp_path / "new", **options}
    with pytest.raises(ValueError, match=message):
        train_ensemble(build, Data, **options)
    assert not (tmp_path / "new").exists()
