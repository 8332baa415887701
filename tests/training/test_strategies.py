"""Two replicas on this machine, against one device and Keras' own `fit`."""

import json

import keras
import numpy as np
import pytest

from tests.helpers import kills
from tests.helpers.trainings import assert_close, compiled, plain_network
from tfhyper import kits
from tfhyper.training import (
    Trainer,
    Workdir,
    fit_in_workdir,
    is_chief,
    make_strategy,
    strategies,
)

tf = pytest.importorskip("tensorflow")
from tests.helpers import two_replicas  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process with two logical CPUs found."""
    path = tmp_path_factory.mktemp("two_replicas")
    kills.run(two_replicas.work, [(str(path),)], timeout=1500.0).check()
    return path


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "found.json").read_text())


def load(folder, name):
    with np.load(folder / f"{name}.npz") as values:
        return dict(values)


@pytest.mark.parametrize("name", two_replicas.EQUAL)
def test_weights_and_history_are_those_of_one_device(folder, name):
    # The sums over a batch are in another order, which Adam's quotients amplify.
    atol = 5e-6 if name == "adamw" else 1e-6
    expected = two_replicas.plain_fit(name)
    assert_close(load(folder, name), expected, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("name", two_replicas.DECAY_STEPS)
def test_a_step_with_a_loss_of_zero_is_the_decay_alone(folder, name):
    found = load(folder, f"decay {name}")
    theta = [key for key in found if key.startswith("before") and "generator" in key]
    assert len(theta) == 4
    for key in found:
        if key.startswith("before"):
            # Once, not once for each replica; Nesterov's first step is 1.9 rates.
            expected = found[key] * (1 - 0.1 * 1.9 * 0.3)
            after = found[key.replace("before", "after")]
            np.testing.assert_allclose(after, expected, rtol=2e-6, atol=2e-8)


def test_examples_of_all_replicas_are_counted_by_trainer_and_fit(folder):
    expected = two_replicas.plain_fit("counting")
    for name in ("counting", "counting by fit"):
        found = load(folder, name)
        assert_close(found, expected, rtol=1e-5)
        counts = [value for key, value in found.items() if key.endswith("/examples")]
        assert counts == [24, 24]


def test_batch_norm_of_each_replica_is_that_of_fit(folder):
    found, expected = (
        load(folder, name) for name in ("per_replica", "per_replica by fit")
    )
    assert_close(found, expected)
    with pytest.raises(AssertionError):
        assert_close(found, load(folder, "fast"), atol=1e-3)


def test_weight_sets_on_replicas_fast_and_ordinary(folder):
    assert_close(load(folder, "sets fast"), load(folder, "sets ordinary"))


def test_bfloat16_is_that_of_one_device_within_its_rounding(folder):
    found, expected = load(folder, "bfloat16"), load(folder, "fast")
    assert_close(found, expected, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("kit", kits.KITS)
def test_fit_of_keras_works_for_every_kit(folder, kit):
    found = load(folder, f"kit {kit}")
    assert all(np.isfinite(value).all() for value in found.values())
    assert found["loss"].shape == (1,)


BY_EXAMPLE = {"flipout", "local_reparameterization", "mc_dropout", "dropout", "mnf"}


@pytest.mark.parametrize("name", two_replicas.NOISE)
def test_noise_of_examples_differs_and_that_of_kernels_does_not(folder, name):
    first, second = load(folder, "noise")[name]
    assert np.array_equal(first, second) == (name not in BY_EXAMPLE)


@pytest.mark.parametrize("name", two_replicas.NOISE)
def test_draws_of_each_replica_differ(folder, name):
    """And those of the first are those of one device."""
    first, second = load(folder, "noise per replica")[name]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, load(folder, "noise")[name][0])


def test_draws_of_each_replica_are_not_fast(found):
    assert found["why"] == ["the replicas have different codes"]


def test_gradients_that_cross_are_of_the_size_of_the_plain_network(found):
    hyper, plain = found["bytes"]
    assert plain < hyper <= 1.1 * plain


@pytest.mark.parametrize(
    ("case", "kind", "rule"),
    [
        ("optimizer outside", "ValueError", "The optimizer must be made in the scope"),
        ("model outside", "ValueError", "The model must be made in the scope"),
        ("uneven", "ValueError", "divided evenly by 2 replicas x 1 weight sets"),
        ("jit", "ValueError", "`jit_compile` must be False on several CPU replicas"),
        ("accumulation", "ValueError", "gradient_accumulation_steps=2"),
        ("float16", "ValueError", "Loss scaling must not look for overflows"),
        ("nan", "DivergedError", "the loss is nan at step 2 of epoch 1"),
        ("early", "ValueError", "ends in epoch 2, after step 0"),
    ],
)
def test_bad_input_on_replicas(found, case, kind, rule):
    assert found["errors"][case][0] == kind
    assert rule in found["errors"][case][1]


def test_uneven_batch_is_not_trained_on(found):
    assert not found["errors"]["trained on"]


def tf_config(cluster=None, task=None):
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]} if cluster is None else cluster
    task = {"type": "worker", "index": 1} if task is None else task
    return json.dumps({"cluster": cluster, "task": task})


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "be JSON"),
        ("", "be JSON"),
        ("[1]", "be a JSON object"),
        ("{}", "name the workers"),
        (tf_config(cluster={}), "name the workers"),
        (tf_config(cluster=[]), "name the workers"),
        (tf_config(cluster={"worker": []}), "name the workers"),
        (tf_config(cluster={"ps": ["127.0.0.1:1"]}), "name the workers"),
        (tf_config(cluster={"worker": "127.0.0.1:1"}), "give each worker as host:port"),
        (tf_config(cluster={"worker": ["127.0.0.1"]}), "give each worker as host:port"),
        (tf_config(cluster={"worker": ["host:x"]}), "give each worker as host:port"),
        (tf_config(cluster={"worker": [7]}), "give each worker as host:port"),
        (tf_config(task={}), "say that this process is a worker"),
        (tf_config(task=[]), "say that this process is a worker"),
        (tf_config(task={"type": "ps", "index": 0}), "is a worker"),
        (tf_config(task={"type": "worker"}), "say which worker"),
        (tf_config(task={"type": "worker", "index": "x"}), "say which worker"),
        (
            tf_config(task={"type": "worker", "index": 2}),
            "say which worker of its list",
        ),
        (tf_config(task={"type": "worker", "index": -1}), "say which worker of its"),
        (tf_config(task={"type": "chief", "index": 0}), "say which chief of its list"),
    ],
)
def test_bad_tf_config_is_refused_before_anything_is_done(monkeypatch, text, rule):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="`TF_CONFIG` must") as error:
        make_strategy("multi_worker")
    assert rule in str(error.value) and f"TF_CONFIG={text!r}" in str(error.value)


def test_good_tf_config():
    for task in ({"type": "worker", "index": 1}, {"type": "worker", "index": "0"}):
        assert strategies.check_tf_config(tf_config(task=task))["task"] == task


def test_multi_worker_needs_to_know_the_workers(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_PROCID", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG, or to be started by Slurm"):
        make_strategy("multi_worker")


def test_unknown_strategy():
    with pytest.raises(ValueError, match="`name` must be one of"):
        make_strategy("tpu")


def test_one_device_is_its_own_chief():
    strategy = make_strategy("none")
    assert is_chief(strategy) and strategies.num_workers(strategy) == 1
    assert strategies.local_devices(strategy) == ("",)
    assert strategies.sum_over_workers(strategy, [3, 4]) == [3, 4]


class Data:
    """Like what `tfhyper.data.load` returns, of which only the sizes are read."""

    steps_per_epoch = 2

    def __init__(self, batch_size, num_train):
        self.batch_size, self.num_train = batch_size, num_train

    def train_from(self, epoch):
        raise AssertionError("no data are read before the arguments are checked")


def not_called():
    raise AssertionError("no model is built before the arguments are checked")


def test_keras_distribution_is_refused(monkeypatch, tmp_path):
    model = plain_network()
    model.compile("sgd", "mse")
    monkeypatch.setattr(keras.distribution, "distribution", lambda: "DataParallel")
    for function in (
        lambda: Trainer(model),
        lambda: fit_in_workdir(Workdir(tmp_path, {}), not_called, Data(8, 16), 1),
    ):
        with pytest.raises(ValueError, match="does nothing on the TensorFlow backend"):
            function()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (Data(9, 18), "`data.batch_size` must be divided evenly by 1 replicas x 2"),
        (Data(8, 23), "the last batch of an epoch must be divided evenly"),
    ],
)
def test_batches_are_looked_at_before_anything_is_made(tmp_path, data, what):
    with pytest.raises(ValueError, match=what):
        fit_in_workdir(
            Workdir(tmp_path, {}), not_called, data, 1, weight_sets=2, verbose=0
        )


def test_chief_of_the_workdir_is_that_of_the_strategy(tmp_path):
    with pytest.raises(ValueError, match="`workdir.chief` must be"):
        fit_in_workdir(Workdir(tmp_path, {}, chief=False), not_called, Data(8, 16), 1)


def test_options_of_the_loop_on_other_backends(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="need the TensorFlow backend"):
        fit_in_workdir(Workdir(tmp_path, {}), not_called, Data(8, 16), 1, weight_sets=2)


def test_compiled_outside_of_a_strategy_is_for_one_device():
    assert Trainer(compiled(plain_network)).num_replicas == 1
