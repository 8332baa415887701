"""The training loop on one device, against `model.fit` by Keras' ordinary path."""

import keras
import numpy as np
import pytest

from tests.helpers import trainings
from tests.helpers.trainings import (
    STEPS,
    X,
    Y,
    assert_close,
    batches,
    bayes_network,
    compiled,
    plain_network,
    small_network,
    state,
    train,
    validation,
)
from tfhyper import layers, training
from tfhyper.training import DivergedError, Trainer

tf = pytest.importorskip("tensorflow")


def by_fit(*args, **options):
    return state(*train(None, *args, loop="fit", fast=False, **options))


@pytest.fixture(scope="module")
def expected():
    """What `model.fit` makes of the small network."""
    return by_fit()


# 5: the steps of an epoch in one loop, shorter than that; 2: the last is shorter.
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_weights_and_history_are_those_of_fit(expected, steps):
    found = state(*train(steps_per_call=steps, fast=False))
    assert_close(found, expected)


def test_resnet_of_one_code_is_as_by_fit():
    data = np.random.default_rng(1).normal(size=(24, 8, 8, 2)).astype("float32")
    options = {"build": trainings.wide_resnet, "data": batches(data)}
    found = state(*train(fast=True, **options))
    assert_close(found, by_fit(**options), atol=1e-5)


@pytest.mark.parametrize("build", [trainings.small_network, trainings.counting_network])
def test_resumed_in_the_middle_of_an_epoch(build):
    """The metrics of the epoch and the count of its examples have its first steps."""
    expected = by_fit(build=build)
    model = compiled(build)
    first = Trainer(model, steps_per_call=1)

    class Stopped(Exception):
        pass

    def stop(epoch, step):
        if (epoch, step) == (1, 2):
            first.state = first.metrics_state()
            raise Stopped

    options = {"epochs": 2, "steps_per_epoch": STEPS, "verbose": 0}
    with pytest.raises(Stopped):
        first.fit(batches(), after_call=stop, **options)
    history = Trainer(model).fit(
        batches().skip(STEPS + 2),
        initial_epoch=1,
        initial_step=2,
        initial_metrics=first.state,
        **options,
    )
    assert_close(
        state(model, history),
        {**expected, **{name: expected[name][1:] for name in ("accuracy", "loss")}},
    )


def test_validation_with_a_short_last_batch():
    options = {"fit_options": {"validation_data": validation()}}
    found = state(*train(**options))
    expected = by_fit(**options)
    assert {"val_loss", "val_accuracy"} <= found.keys()
    assert_close(found, expected)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda: training.BlundellKL(),
        lambda: training.LinearKLWarmup(2),
        lambda: training.SonderbyKLWarmup(1),
        lambda: training.KLSchedule(0.3),
    ],
    ids=["blundell", "linear", "sonderby", "constant"],
)
def test_factor_of_the_kl_is_set_for_each_step_of_a_loop(schedule):
    def options():
        return {"build": bayes_network, "fit_options": {"callbacks": [schedule()]}}

    found = state(*train(steps_per_call=2, **options()))
    expected = by_fit(**options())
    assert {"kl", "kl_factor"} <= found.keys()
    assert_close(found, expected, atol=2e-6)


def test_rate_follows_its_schedule_within_a_loop():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1, 3], [0.2, 0.1, 0.0]
    )
    options = {
        "build": plain_network,
        "optimizer": lambda: keras.optimizers.SGD(schedule),
    }
    assert_close(state(*train(**options)), by_fit(**options))


@pytest.mark.parametrize("overwrite", [None, 2])
def test_moving_averages_of_the_weights(overwrite):
    """`use_ema` ends with the averages in the place of the weights."""

    def optimizer():
        return keras.optimizers.SGD(
            0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=overwrite
        )

    options = {"build": plain_network, "optimizer": optimizer}
    assert_close(state(*train(**options)), by_fit(**options))


def test_weights_of_examples():
    """Batches of (x, y, weight), as `model.fit` takes them."""
    data = tf.data.Dataset.from_tensor_slices((X, Y, np.linspace(0, 2, len(X))))
    options = {"build": plain_network, "data": data.batch(8).repeat()}
    assert_close(state(*train(**options)), by_fit(**options))


def test_callbacks_see_the_ends_of_loops():
    seen = []

    class Notes(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(("begin", batch))

        def on_train_batch_end(self, batch, logs=None):
            seen.append(("end", batch))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(("epoch", epoch, sorted(logs)))

    model, history = train(
        None, plain_network, steps_per_call=2, fit_options={"callbacks": [Notes()]}
    )
    epoch = [("begin", 0), ("end", 1), ("begin", 2), ("end", 2)]
    logs = ["accuracy", "loss"]
    assert seen == [*epoch, ("epoch", 0, logs), *epoch, ("epoch", 1, logs)]
    assert model.optimizer.iterations == 2 * STEPS
    assert isinstance(history, keras.callbacks.History)
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("loop", ["trainer", "fit"])
def test_early_stopping_ends_after_the_same_epoch(loop):
    stop = keras.callbacks.EarlyStopping("loss", min_delta=9.0, patience=2)
    options = {"epochs": 5, "fit_options": {"callbacks": [stop]}}
    _, history = train(None, plain_network, loop=loop, **options)
    assert len(history.history["loss"]) == 3 and stop.stopped_epoch == 2


def test_a_callback_stops_between_loops():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    options = {"fit_options": {"callbacks": [Stop()]}}
    model, history = train(None, plain_network, steps_per_call=2, **options)
    assert model.optimizer.iterations == 2 and history.epoch == [0]


def test_tensorboard_gets_its_events(tmp_path):
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    train(None, plain_network, fit_options={"callbacks": [board]})
    (path,) = (tmp_path / "train").iterdir()
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"} <= tags


def test_evaluate_is_that_of_keras():
    model = compiled(plain_network)
    found = Trainer(model).evaluate(validation())
    expected = model.evaluate(validation(), verbose=0, return_dict=True)
    assert found == pytest.approx(expected, abs=1e-6)


def test_progress_bar_is_that_of_keras(capsys):
    train(None, plain_network, fit_options={"verbose": 2})
    said = capsys.readouterr().out
    assert "Epoch 2/2" in said and "3/3" in said and "accuracy: 0." in said


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_as_by_fit(precision):
    options = {"compile_options": {"policy": precision}}
    assert_close(state(*train(fast=False, **options)), by_fit(**options))


def test_loop_of_a_compiled_step():
    """XLA rounds otherwise than the ordinary path."""
    options = {"compile_options": {"jit_compile": True}}
    expected = by_fit(plain_network)
    assert_close(state(*train(None, plain_network, **options)), expected, atol=1e-5)


@pytest.mark.parametrize("steps_per_call", [1, 3])
@pytest.mark.parametrize("step", [2, 4])
def test_bad_loss_ends_at_its_step(step, steps_per_call):
    """In the middle of a loop or at its end, in the first epoch or the second."""
    weight = np.ones(48)
    weight[8 * (step - 1) + 3] = np.nan
    data = (np.tile(X, (2, 1, 1, 1)), np.tile(Y, 2), weight)
    data = tf.data.Dataset.from_tensor_slices(data).batch(8)
    with pytest.raises(DivergedError) as error:
        train(None, plain_network, data=data, steps_per_call=steps_per_call)
    where = f"the loss is nan at step {(step - 1) % 3 + 1} of epoch {1 + step // 4}"
    assert error.value.what == where
    assert "diverged" in str(error.value) and where in str(error.value)


def test_dataset_that_ends_early():
    data = batches().take(4)
    with pytest.raises(ValueError, match="ends in epoch 2, after step 1"):
        train(None, plain_network, data=data, steps_per_call=1)
    with pytest.raises(ValueError, match="ends in epoch 2, after step 0"):
        train(None, plain_network, data=data)


def test_batch_that_weight_sets_do_not_divide():
    with pytest.raises(ValueError, match="1 replicas x 3 weight sets"):
        train(weight_sets=3)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"weight_sets": 0}, "weight_sets"),
        ({"steps_per_call": 0}, "steps_per_call"),
        ({"steps_per_call": 1.5}, "steps_per_call"),
        ({"batch_norm": "global"}, "batch_norm"),
    ],
)
def test_arguments_out_of_range(options, rule):
    with pytest.raises(ValueError, match=rule):
        Trainer(compiled(plain_network), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"steps_per_epoch": 0},
        {"initial_epoch": 3},
        {"initial_epoch": -1},
        {"initial_step": 3},
        {"initial_step": -1},
    ],
)
def test_arguments_of_fit_out_of_range(options):
    trainer = Trainer(compiled(plain_network))
    (name,) = options
    options = {"epochs": 2, "steps_per_epoch": 3, **options}
    with pytest.raises(ValueError, match=name):
        trainer.fit(batches(), verbose=0, **options)


def test_model_that_is_not_compiled():
    with pytest.raises(ValueError, match="must be compiled"):
        Trainer(plain_network())


def test_other_backends_have_fit(monkeypatch):
    model = compiled(plain_network)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="for the TensorFlow backend; use `model.fit`"):
        Trainer(model)


def test_batch_norm_of_the_user_is_left_alone_on_one_device():
    model = compiled(small_network)
    Trainer(model)
    norm = next(x for x in model.layers if "batch_norm" in x.name)
    assert not norm.synchronized


def test_network_of_dropout_is_as_by_fit():
    def build():
        return keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                keras.layers.Flatten(),
                layers.MCDropout(0.5, seed=1),
                keras.layers.Dense(3),
            ]
        )

    assert_close(state(*train(None, build)), by_fit(build))


def endless():
    return validation().repeat()


def of_unknown_number():
    """No batches, which the dataset does not say."""
    return validation().filter(lambda *batch: False)


@pytest.mark.parametrize(
    "dataset, error, rule",
    [
        (lambda: validation().take(0), ValueError, "must have batches"),
        (of_unknown_number, ValueError, "must have batches.*with none"),
        (endless, ValueError, r"must end.*take\(steps\).*without an end"),
        (lambda: (X, Y), TypeError, r"must be a tf.data.Dataset.*Received: \w+=\("),
        (lambda: "False", TypeError, "must be a tf.data.Dataset.*'False'"),
    ],
)
def test_data_to_evaluate_on_that_are_none_or_have_no_end(dataset, error, rule):
    trainer = Trainer(compiled(build=plain_network))
    with pytest.raises(error, match=f"`dataset` {rule}"):
        trainer.evaluate(dataset())
    options = {"epochs": 1, "steps_per_epoch": STEPS, "verbose": 0}
    with pytest.raises(error, match=f"`validation_data` {rule}"):
        trainer.fit(batches(), validation_data=dataset(), **options)


@pytest.mark.parametrize("name", ["per_replica_draws", "fast_generator"])
@pytest.mark.parametrize("value", ["False", 0, None])
def test_what_is_true_or_false_is_no_text(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be True or False.*{value!r}"):
        Trainer(compiled(build=plain_network), **{name: value})


def test_what_is_no_model():
    for model in (None, "model.keras", keras.layers.Dense(2)):
        with pytest.raises(TypeError, match="`model` must be a compiled keras.Model"):
            Trainer(model)
