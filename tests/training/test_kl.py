"""The KL divergence in training: its schedules, its logs, and several replicas."""

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.processes import run_python
from tfhyper import kits, layers, models, training
from tfhyper.training import BlundellKL, KLSchedule, LinearKLWarmup, SonderbyKLWarmup

ROOT = pathlib.Path(__file__).parents[2]
N = 48
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5)).astype("float32")
Y = RNG.integers(0, 3, size=N)


def network(**options):
    options = {"kl_weight": 1 / N, "seed": 1, **options}
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.BayesDense(7, activation="relu", **options),
            keras.Sequential([layers.BayesDense(3, **options)]),
        ]
    )


def compiled(model=None, learning_rate=0.01):
    model = network() if model is None else model
    return training.compile_adam_recipe(model, 4, 6, learning_rate=learning_rate)


def numpy_kl(model):
    """Sum of KL(N(m, s^2) || N(0, 1)) over all weights, in float64."""
    total = 0.0
    for layer in layers.variational_layers(model):
        mean, rho = (
            np.asarray(ops.convert_to_numpy(w), "float64")
            for w in (layer.kernel_posterior.mean, layer.kernel_posterior.rho)
        )
        scale = np.log1p(np.exp(rho))
        total += np.sum((scale**2 + mean**2 - 1) / 2 - np.log(scale))
    return total


def fit(model, callback, epochs=3, **options):
    options = {"batch_size": 8, "epochs": epochs, "verbose": 0, **options}
    return model.fit(X, Y, callbacks=[callback], **options).history


def factors_of(callback, epochs=3, **options):
    """Returns the factor of every batch, read from a layer within the batch."""
    model = compiled()
    found = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for layer in layers.variational_layers(model):
                found.append(float(ops.convert_to_numpy(layer.kl_factor)))

    model.fit(X, Y, 8, epochs, verbose=0, callbacks=[callback, Look()], shuffle=False)
    found = np.reshape(found, (epochs, 6, 2))
    np.testing.assert_array_equal(found[..., 0], found[..., 1])
    return found[..., 0]


def test_kl_divergence_of_a_model_is_the_sum_over_its_layers():
    model = network()
    found = float(ops.convert_to_numpy(training.kl_divergence(model)))
    assert found == pytest.approx(numpy_kl(model), rel=1e-6)


def test_constant_factor():
    assert (factors_of(KLSchedule(0.3)) == np.float32(0.3)).all()
    assert (factors_of(KLSchedule()) == 1).all()


def test_linear_warm_up_rises_by_batches_to_one():
    found = factors_of(LinearKLWarmup(2))
    expected = np.minimum(np.arange(1, 19) / 12, 1).reshape(3, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_sonderby_warm_up_rises_by_epochs():
    found = factors_of(SonderbyKLWarmup(2))
    np.testing.assert_allclose(found, np.repeat([[0.0], [0.5], [1.0]], 6, axis=1))


def test_blundell_weights_are_those_of_the_paper_and_average_to_one():
    found = factors_of(BlundellKL(), epochs=2)
    i = np.arange(1, 7)
    # Section 3.4: pi_i = 2^(M - i) / (2^M - 1), of which a constant factor is 1 / M.
    expected = 6 * 2.0 ** (6 - i) / (2**6 - 1)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-6)
    assert found.mean() == pytest.approx(1.0, rel=1e-6)
    # Thousands of batches neither overflow nor vanish where it matters.
    many = [BlundellKL().factor(0, batch, 5000) for batch in range(5000)]
    assert np.isfinite(many).all()
    assert np.mean(many) == pytest.approx(1.0)
    assert many[0] == pytest.approx(2500.0)


def test_data_term_and_kl_are_logged_apart():
    model = compiled(learning_rate=1e-30)  # the KL divergence stays what it is
    expected = numpy_kl(model)
    logs = fit(model, KLSchedule(0.25))
    np.testing.assert_allclose(logs["kl"], expected, rtol=1e-6)
    assert logs["kl_factor"] == [0.25] * 3
    weighted = np.asarray(logs["loss"]) - np.asarray(logs["nll"])
    np.testing.assert_allclose(weighted, 0.25 * expected / N, rtol=1e-4)


def test_training_lowers_the_kl_divergence_when_there_is_nothing_to_learn():
    model = compiled(network(kl_weight=1.0, initial_scale=0.1), learning_rate=0.1)
    logs = fit(model, KLSchedule(), epochs=4)
    assert logs["kl"][-1] < 0.75 * logs["kl"][0]


def test_recipes_have_no_second_data_term_without_a_kl_divergence():
    model = models.lenet5()
    training.compile_adam_recipe(model, 1, 1)
    x = np.zeros((2, 32, 32, 3), "float32")
    y = np.arange(2)
    assert set(model.train_on_batch(x, y, return_dict=True)) == {
        "accuracy",
        "loss",
    }


def test_residual_recipe_does_not_decay_what_has_a_prior():
    kit = kits.bayes(N, trainable_prior_scale=True, bias_posterior="gaussian")
    model = models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit=kit)
    training.compile_recipe(model, 1, 1)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    before = [keras.ops.convert_to_numpy(v) + 1 for v in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)  # none of them is zero, which would not shrink
    zeros = [keras.ops.zeros_like(v.value) for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    decayed = {
        variable.name
        for variable, value in zip(model.trainable_variables, before, strict=True)
        if not np.array_equal(keras.ops.convert_to_numpy(variable), value)
    }
    assert decayed == {"gamma", "beta"}


def test_the_factor_is_saved_with_the_model(tmp_path):
    model = compiled()
    fit(model, KLSchedule(0.125), epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for layer in layers.variational_layers(loaded):
        assert float(ops.convert_to_numpy(layer.kl_factor)) == 0.125


def test_a_resumed_training_is_bit_for_bit_the_uninterrupted_one(tmp_path):
    class Data:
        steps_per_epoch = 6

        def train_from(self, epoch):
            import tensorflow as tf

            return tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).repeat()

    def run(name, *ends):
        workdir = training.Workdir(str(tmp_path / name), {})
        for end in ends:
            keras.utils.set_random_seed(end)  # what is outside must not matter
            model, history = training.fit_in_workdir(
                workdir,
                lambda: compiled(starting_model()),
                Data(),
                end,
                callbacks=[LinearKLWarmup(3)],
                verbose=0,
            )
        return model, history

    def starting_model():
        keras.utils.set_random_seed(7)
        return network(estimator="flipout")

    whole, whole_history = run("whole", 4)
    parts, parts_history = run("parts", 1, 3, 4)
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (a, b)))
    assert whole_history == parts_history
    assert {"kl", "kl_factor", "nll", "loss", "accuracy"} == set(whole_history)


REPLICAS = """
import sys
import keras
import numpy as np
import tensorflow as tf
import tfhyper
from tfhyper.layers import BayesDense

replicas = int(sys.argv[1])
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 5)).astype("float32")
y = rng.integers(0, 3, size=64)
with strategy.scope():
    model = keras.Sequential([
        keras.Input((5,)),
        BayesDense(8, activation="relu", kl_weight=1 / 64, seed=1),
        BayesDense(3, kl_weight=1 / 64, seed=2)])
    tfhyper.training.compile_adam_recipe(model, 3, 4, jit_compile=False)
history = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0,
                    callbacks=[tfhyper.training.KLSchedule(0.5)]).history
print({k: [float(x) for x in v] for k, v in sorted(history.items())})
"""


def test_the_loss_is_the_same_on_one_and_two_replicas():
    found = []
    for replicas in ("1", "2"):
        result = run_python("-c", REPLICAS, replicas, check=True)
        found.append(eval(result.stdout.splitlines()[-1], {}))
    one, two = found
    assert one.keys() == two.keys() == {"accuracy", "kl", "kl_factor", "loss", "nll"}
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=2e-5, err_msg=name)


@pytest.mark.parametrize("factor", [-0.1, float("nan"), float("inf"), "linear", None])
def test_bad_factors(factor):
    with pytest.raises(ValueError, match="`factor` must be a finite number >= 0"):
        KLSchedule(factor)


@pytest.mark.parametrize("epochs", [0, -1, 1.5])
def test_bad_warm_ups(epochs):
    with pytest.raises(ValueError, match="`epochs` must be a positive integer"):
        LinearKLWarmup(epochs)
    with pytest.raises(ValueError, match="`warmup_epochs` must be a positive integer"):
        SonderbyKLWarmup(epochs)


def test_a_model_without_kl_divergence_is_refused():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="must have layers with a KL divergence"):
        training.kl_divergence(model)
    with pytest.raises(ValueError, match="must have layers with a KL divergence"):
        fit(compiled(model), KLSchedule())


@pytest.mark.parametrize("callback", [LinearKLWarmup(2), BlundellKL()])
def test_schedules_by_batches_need_to_know_how_many(callback):
    def batches():
        yield X[:8], Y[:8]

    with pytest.raises(ValueError, match="batches in an epoch must be known"):
        compiled().fit(batches(), callbacks=[callback], verbose=0)


@pytest.mark.parametrize("rate", [0, -1e-3, float("nan")])
def test_bad_learning_rates(rate):
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number > 0"):
        compiled(learning_rate=rate)
