"""The optimizer, the schedule and the recipe of the papers."""

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tfhyper.layers import HyperDense, LatentCode
from tfhyper.training import CoupledDecaySGD, compile_recipe, step_schedule

DATA = (
    np.random.default_rng(0).normal(size=(12, 5)).astype("float32"),
    np.arange(12) % 3,
)
FIT = {"batch_size": 4, "shuffle": False, "verbose": 0}


def to_numpy(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def reference(values, gradients, rates, momentum, nesterov, decay, decayed):
    """SGD with the penalty's gradient in the gradient, in float64."""
    values = [np.array(v, "float64") for v in values]
    velocities = [np.zeros_like(v) for v in values]
    for step, rate in zip(gradients, rates, strict=True):
        for i, gradient in enumerate(step):
            gradient = gradient + (decay * values[i] if decayed[i] else 0)
            velocities[i] = momentum * velocities[i] - rate * gradient
            if nesterov:
                values[i] = values[i] + momentum * velocities[i] - rate * gradient
            else:
                values[i] = values[i] + velocities[i]
    return values


@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize(
    "momentum, nesterov", [(0.9, True), (0.9, False), (0.0, False)]
)
def test_steps_are_those_of_the_formula(momentum, nesterov, decay, scheduled):
    rng = np.random.default_rng(0)
    names = ["kernel", "generator_output", "not_to_decay_at_all"]
    start = [rng.normal(size=(3, 2)).astype("float32") for _ in names]
    gradients = [[rng.normal(size=(3, 2)).astype("float32") for _ in names]] * 3
    gradients += [[rng.normal(size=(3, 2)).astype("float32") for _ in names]] * 3
    rates = [0.1, 0.1, 0.1, 0.02, 0.02, 0.02] if scheduled else [0.1] * 6
    optimizer = CoupledDecaySGD(
        step_schedule(0.1, 2, 3, drops=(0.5,)) if scheduled else 0.1,
        momentum=momentum,
        nesterov=nesterov,
        coupled_decay=decay,
        no_decay=("generator_output", "to_decay"),
    )
    variables = [keras.Variable(v, name=n) for v, n in zip(start, names, strict=True)]
    for step in gradients:
        step = [ops.convert_to_tensor(gradient) for gradient in step]
        optimizer.apply(step, variables)
    expected = reference(
        start, gradients, rates, momentum, nesterov, decay, [True, False, False]
    )
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(to_numpy(variable), value, rtol=1e-5, atol=1e-6)


def classifier(**regularizers):
    return keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, activation="relu", **regularizers),
            keras.layers.Dense(3, **regularizers),
        ]
    )


def test_equals_the_penalty_of_keras_and_leaves_the_loss_alone():
    decay = 0.1
    penalty = keras.regularizers.L2(decay / 2)
    penalised = classifier(kernel_regularizer=penalty, bias_regularizer=penalty)
    decayed = classifier()
    plain = classifier()
    start = [np.array(w) for w in plain.get_weights()]
    losses = {}
    for name, model, optimizer in (
        ("penalised", penalised, keras.optimizers.SGD(0.1, 0.9, nesterov=True)),
        ("decayed", decayed, CoupledDecaySGD(0.1, coupled_decay=decay)),
        ("plain", plain, CoupledDecaySGD(0.1)),
    ):
        model.set_weights(start)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss)
        losses[name] = model.evaluate(*DATA, verbose=0)
        model.fit(*DATA, epochs=3, **FIT)
    pairs = zip(penalised.get_weights(), decayed.get_weights(), strict=True)
    for expected, found in pairs:
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not np.allclose(decayed.get_weights()[0], plain.get_weights()[0], atol=1e-3)
    norm = decay / 2 * sum(np.sum(w**2) for w in start)
    assert norm > 0.1
    assert losses["decayed"] == pytest.approx(losses["plain"], rel=1e-6)
    assert losses["penalised"] == pytest.approx(losses["plain"] + norm, rel=1e-5)


def test_is_not_the_weight_decay_of_keras():
    # Under momentum 0.9 the coupled form decays about ten times as much.
    kept = {}
    for name, optimizer in {
        "coupled": CoupledDecaySGD(0.01, coupled_decay=0.1),
        "keras": keras.optimizers.SGD(0.01, 0.9, nesterov=True, weight_decay=0.1),
    }.items():
        variable = keras.Variable(np.ones((1,), "float32"))
        for _ in range(200):
            optimizer.apply([ops.zeros((1,))], [variable])
        kept[name] = float(to_numpy(variable)[0])
    ratio = np.log(kept["coupled"]) / np.log(kept["keras"])
    assert ratio == pytest.approx(10, rel=0.1)


def test_config_round_trip():
    optimizer = CoupledDecaySGD(
        step_schedule(0.1, 10, 5),
        momentum=0.8,
        nesterov=False,
        coupled_decay=0.25,
        no_decay=("beta", "gamma"),
        no_decay_roles=("generator",),
        clipnorm=2.0,
    )
    data = keras.saving.serialize_keras_object(optimizer)
    assert data["registered_name"] == "tfhyper>CoupledDecaySGD"
    copy = keras.saving.deserialize_keras_object(data)
    assert copy.get_config() == optimizer.get_config()
    assert (copy.momentum, copy.nesterov, copy.clipnorm) == (0.8, False, 2.0)
    assert copy.coupled_decay == 0.25
    assert copy.no_decay == ("beta", "gamma")
    assert copy.no_decay_roles == ("generator",)


@pytest.mark.parametrize("decay", [-1e-4, np.nan, np.inf])
def test_decay_out_of_range(decay):
    with pytest.raises(ValueError, match="`coupled_decay`.*finite.*coupled_decay="):
        CoupledDecaySGD(coupled_decay=decay)
    with pytest.raises(ValueError, match="`weight_decay` must be a finite"):
        compile_recipe(classifier(), 1, 1, weight_decay=decay)


def test_rate_at_every_epoch_of_the_paper():
    epochs, steps = 200, 391
    rate = step_schedule(0.1, epochs, steps)
    found = np.array(
        [
            [float(to_numpy(rate(ops.convert_to_tensor(step, "int64"))))]
            for epoch in range(epochs)
            for step in (epoch * steps, epoch * steps + 200, (epoch + 1) * steps - 1)
        ],
        "float32",
    ).reshape(epochs, 3)
    # First, middle and last step of an epoch: drops fall between epochs.
    expected = np.repeat([0.1, 0.02, 0.004, 0.0008], [80, 40, 40, 40])
    expected = np.repeat(expected[:, None], 3, axis=1).astype("float32")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("epochs, drops", [(10, [4, 6, 8]), (7, [3, 4, 6]), (1, [])])
def test_rate_of_a_shorter_training(epochs, drops):
    rate = step_schedule(0.5, epochs, 3, factor=0.1)
    found = [float(to_numpy(rate(3 * epoch))) for epoch in range(epochs)]
    expected = [0.5 * 0.1 ** sum(e >= drop for drop in drops) for e in range(epochs)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rate_in_training():
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(to_numpy(self.model.optimizer.learning_rate)))

    model = compile_recipe(classifier(), epochs=10, steps_per_epoch=3)
    model.fit(*DATA, epochs=10, callbacks=[Rates()], **FIT)
    expected = np.repeat([0.1, 0.02, 0.004, 0.0008], [12, 6, 6, 6])
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"learning_rate": 0}, "`learning_rate` must be.*learning_rate=0"),
        ({"learning_rate": -0.1}, "`learning_rate` must be.*learning_rate=-0.1"),
        ({"factor": 0.0}, "`factor` must be.*factor=0.0"),
        ({"epochs": 0}, "`epochs` must be a positive integer.*epochs=0"),
        ({"epochs": 2.5}, "`epochs` must be a positive integer.*epochs=2.5"),
        ({"steps_per_epoch": -1}, "`steps_per_epoch` must be.*steps_per_epoch=-1"),
        ({"drops": (0.6, 0.4)}, r"`drops` must increase.*drops=\(0.6, 0.4\)"),
        ({"drops": (0.5, 1.0)}, r"`drops` must increase.*drops=\(0.5, 1.0\)"),
        ({"drops": (0.0, 0.5)}, r"`drops` must increase.*drops=\(0.0, 0.5\)"),
    ],
)
def test_schedule_errors_name_argument_rule_and_value(options, message):
    options = {"learning_rate": 0.1, "epochs": 10, "steps_per_epoch": 5, **options}
    with pytest.raises(ValueError, match=message):
        step_schedule(**options)


def hyper_classifier(mean_kernel=False):
    x = keras.Input((5,))
    z = LatentCode(4, "uniform", seed=1)(x)
    y = HyperDense(6, hidden_units=8, mean_kernel=mean_kernel, name="hyper")(x, z)
    y = keras.layers.BatchNormalization(name="norm")(y)
    return keras.Model(x, keras.layers.Dense(3, name="logits")(y))


def decayed_weights(model):
    """Names of the weights that a step with a zero gradient makes smaller."""
    for weight in model.trainable_weights:
        weight.assign(ops.ones(weight.shape))
    gradients = [ops.zeros(weight.shape) for weight in model.trainable_weights]
    model.optimizer.apply(gradients, model.trainable_weights)
    found = set()
    for weight in model.trainable_weights:
        value = to_numpy(weight)
        if (value != 1).any():
            # One Nesterov step from rest: lr (1 + 0.9) 0.01.
            np.testing.assert_allclose(value, 1 - 0.1 * 1.9 * 0.01, rtol=1e-6)
            found.add(weight.path)
    return found


def test_recipe_decays_all_unless_the_generators_are_to_be_left_out():
    plain = {"norm/gamma", "norm/beta", "logits/kernel", "logits/bias", "hyper/bias"}
    generator = {"hyper/generator_hidden", "hyper/generator_output"}
    for mean_kernel in (False, True):
        mean = {"hyper/mean_kernel"} if mean_kernel else set()
        for options, expected in (
            ({"weight_decay": 0.01}, plain | mean | generator),
            ({"weight_decay": 0.01, "decay_generator": False}, plain | mean),
            ({"weight_decay": 0.0}, set()),
        ):
            model = hyper_classifier(mean_kernel)
            compile_recipe(model, 10, 3, **options)
            assert decayed_weights(model) == expected


def test_recipe_is_that_of_the_paper():
    model = classifier()
    assert compile_recipe(model, 200, 391, jit_compile=False) is model
    optimizer = model.optimizer
    assert isinstance(optimizer, CoupledDecaySGD)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    assert optimizer.coupled_decay == 5e-4
    assert float(to_numpy(optimizer.learning_rate)) == pytest.approx(0.1)
    assert model.jit_compile is False
    loss, accuracy = model.evaluate(*DATA, verbose=0)
    logits = to_numpy(model(DATA[0])).astype("float64")
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-logs[np.arange(12), DATA[1]].mean(), rel=1e-5)
    assert accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == DATA[1]))


@pytest.mark.parametrize("weight_decay", [0.0, 5e-2])
def test_maximum_likelihood_and_map(weight_decay):
    keras.utils.set_random_seed(0)
    model = compile_recipe(
        classifier(), 40, 3, weight_decay=weight_decay, learning_rate=0.05
    )
    history = model.fit(*DATA, epochs=40, **FIT).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    keras.utils.set_random_seed(0)
    other = compile_recipe(classifier(), 40, 3, weight_decay=0.0, learning_rate=0.05)
    other.fit(*DATA, epochs=40, **FIT)
    norm, free = (sum(np.sum(w**2) for w in m.get_weights()) for m in (model, other))
    assert norm == free if weight_decay == 0 else norm < 0.8 * free


def test_training_from_a_dataset_equals_that_from_arrays():
    tf = pytest.importorskip("tensorflow")
    found = []
    for data, options in (
        (DATA, FIT),
        ([tf.data.Dataset.from_tensor_slices(DATA).batch(4)], {"verbose": 0}),
    ):
        keras.utils.set_random_seed(0)
        model = compile_recipe(hyper_classifier(), 3, 3)
        before = model.get_weights()
        model.fit(*data, epochs=3, **options)
        assert int(model.optimizer.iterations) == 9
        assert all(
            not np.array_equal(a, b)
            for a, b in zip(before, model.get_weights(), strict=True)
        )
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_resumed_training_keeps_rate_and_momentum(tmp_path):
    model = compile_recipe(hyper_classifier(), 6, 3)
    model.fit(*DATA, epochs=3, **FIT)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    tfhyper.training.use_fast_generator(copy)  # which no file remembers
    assert isinstance(copy.optimizer, CoupledDecaySGD)
    assert copy.optimizer.no_decay_roles == model.optimizer.no_decay_roles
    assert copy.optimizer.no_decay_roles == ("posterior",)
    for each in (model, copy):
        each.fit(*DATA, epochs=3, **FIT)
    assert float(to_numpy(copy.optimizer.learning_rate)) == pytest.approx(0.0008)
    for a, b in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
