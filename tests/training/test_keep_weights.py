"""Callbacks that keep weights along a training, and the rates that they go with."""

import math
import os

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.ivon import to_numpy
from tests.helpers.processes import run_python
from tfhyper import training
from tfhyper.training import (
    SGHMC,
    SWAG,
    AveragingRate,
    CosineCycles,
    CyclicSGMCMC,
    FastGeometric,
    GeometricRate,
    Snapshots,
    WeightAverage,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = (X[:, 0] > X[:, 1]).astype("int32")
STEPS = 3  # of an epoch


def test_cosine_cycles_are_those_of_the_paper():
    rate = CosineCycles(0.2, steps=50, cycles=4)
    found = [float(rate(t)) for t in range(50)]
    length = math.ceil(50 / 4)
    # Equation 2, whose first step is t = 1.
    expected = [
        0.1 * (math.cos(math.pi * ((t - 1) % length) / length) + 1)
        for t in range(1, 51)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_geometric_cycles_are_those_of_the_paper():
    rate = GeometricRate(0.1, start=10, cycle_steps=4, high=0.05, low=0.01)
    found = [float(rate(t)) for t in range(10, 22)]
    expected = []
    for i in range(1, 13):
        t = ((i - 1) % 4 + 1) / 4
        first = (1 - 2 * t) * 0.05 + 2 * t * 0.01
        second = (2 - 2 * t) * 0.01 + (2 * t - 1) * 0.05
        expected.append(first if t <= 0.5 else second)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    before = [float(rate(t)) for t in range(10)]
    assert before[0] == pytest.approx(0.1) and np.all(np.diff(before) < 0)
    assert before[-1] > 0.05


def test_the_averaging_rate_is_that_of_the_code_of_its_authors():
    rate = AveragingRate(0.1, start=100, final=0.02)
    for step in (0, 30, 50, 60, 75, 90, 99, 100, 300):
        t, ratio = step / 100, 0.2
        factor = 1.0 if t <= 0.5 else ratio
        if 0.5 < t <= 0.9:
            factor = 1.0 - (1.0 - ratio) * (t - 0.5) / 0.4
        assert float(rate(step)) == pytest.approx(0.1 * factor, rel=1e-5)


@pytest.mark.parametrize(
    "rate",
    [
        CosineCycles(0.2, 50, 4),
        GeometricRate(0.1, 10, 4),
        AveragingRate(0.1, 100),
    ],
    ids=lambda rate: type(rate).__name__,
)
def test_rates_are_written_and_read(rate):
    optimizer = keras.optimizers.SGD(rate)
    twin = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert twin.get_config() == optimizer.get_config()
    twin.build([keras.Variable(0.0)])
    assert float(twin.learning_rate) == pytest.approx(float(rate(0)))


def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )


def compiled(rate, model=None, optimizer=None):
    model = network() if model is None else model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = optimizer or keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, loss)
    return model


def fit(model, callback, epochs, first=0):
    """Trains, and returns the weights after each epoch."""
    seen = {}
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.update({epoch + 1: model.get_weights()})
    )
    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    callbacks = [callback, look]
    model.fit(X, Y, epochs=epochs, initial_epoch=first, callbacks=callbacks, **options)
    return seen


# name -> callback by folder, rate of a number of epochs, and the epochs that are kept
# of 12.
KEEP = {
    "snapshots": (
        lambda folder: Snapshots(3, folder=folder),
        lambda epochs: CosineCycles(0.2, STEPS * epochs, 3),
        [4, 8, 12],
    ),
    "last snapshots": (
        lambda folder: Snapshots(3, last=2, folder=folder),
        lambda epochs: CosineCycles(0.2, STEPS * epochs, 3),
        [8, 12],
    ),
    "fast geometric": (
        lambda folder: FastGeometric(6, 2, folder=folder),
        lambda epochs: GeometricRate(0.2, STEPS * 6, STEPS * 2),
        [7, 9, 11],
    ),
}


@pytest.mark.parametrize("where", ["memory", "folder"])
@pytest.mark.parametrize("name", KEEP)
def test_sets_are_the_weights_of_their_epochs(name, where, tmp_path):
    make, rate, epochs = KEEP[name]
    callback = make(tmp_path / "kept" if where == "folder" else None)
    model = compiled(rate(12))
    seen = fit(model, callback, 12)
    posterior = callback.posterior()
    assert callback.taken == epochs and posterior.num_sets == len(epochs)
    for stack, place in zip(posterior.noise.stacks, posterior.varying, strict=True):
        expected = np.stack([seen[epoch][place] for epoch in epochs])
        np.testing.assert_array_equal(to_numpy(stack), expected)
    predictor = tfhyper.PosteriorPredictor(posterior)
    predictor.estimate_batch_norm(X, verbose=0)
    members = predictor.predict(X).members
    assert len(members) == len(epochs) and np.ptp(members, axis=0).max() > 0.01
    if where == "folder":
        # Another process that comes when all is done.
        again = make(tmp_path / "kept").posterior(model)
        found = tfhyper.PosteriorPredictor(again)
        found.estimate_batch_norm(X, verbose=0)
        np.testing.assert_array_equal(found.predict(X).members, members)


def test_moments_are_those_of_numpy(tmp_path):
    rate = AveragingRate(0.3, start=STEPS * 4, final=0.2)
    for make in (
        lambda folder: SWAG(3, start=0.5, folder=folder),
        lambda folder: WeightAverage(0.5, folder=folder),
    ):
        for folder in (None, tmp_path / make(None).__class__.__name__):
            callback, model = make(folder), compiled(rate)
            seen = fit(model, callback, 10)
            assert callback.taken == [6, 7, 8, 9, 10]
            posterior = callback.posterior()
            kept = [seen[epoch] for epoch in callback.taken]
            for i, place in enumerate(posterior.varying):
                values = np.stack([one[place] for one in kept]).astype("float64")
                mean = values.mean(0)
                if isinstance(callback, WeightAverage):
                    (found,) = to_numpy(posterior.noise.stacks[i])
                    np.testing.assert_allclose(found, mean, atol=1e-6)
                    continue
                noise = posterior.noise
                np.testing.assert_allclose(to_numpy(noise.means[i]), mean, atol=1e-6)
                variance = to_numpy(noise.variances[i])
                np.testing.assert_allclose(variance, values.var(0), atol=1e-7)
                # Of the mean so far, as algorithm 1 has it.
                expected = [values[k] - values[: k + 1].mean(0) for k in (2, 3, 4)]
                columns = to_numpy(noise.columns[i])
                np.testing.assert_allclose(columns, expected, atol=1e-6)


class Killed(Exception):
    pass


class KillAfter(keras.callbacks.Callback):
    """Ends the training in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            raise Killed


class Data:
    """The table in its order."""

    steps_per_epoch = STEPS

    def train_from(self, epoch):
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((X, Y)).batch(16).repeat()


@pytest.mark.parametrize("name", ["snapshots", "fast geometric", "swag", "samples"])
def test_a_killed_training_goes_on_to_the_same_sets(name, tmp_path):
    pytest.importorskip("tensorflow")

    def make(folder):
        if name in KEEP:
            return KEEP[name][0](folder)
        if name == "swag":
            return SWAG(3, start=0.5, folder=folder)
        return CyclicSGMCMC(3, samples=2, folder=folder)

    def build():
        if name in KEEP:
            return compiled(KEEP[name][1](12))
        if name == "swag":
            return compiled(AveragingRate(0.3, STEPS * 4, 0.2))
        return compiled(None, optimizer=sghmc(12, 3))

    def train(workdir, folder, *more):
        callback = make(folder)
        model, _ = training.fit_in_workdir(
            training.Workdir(str(tmp_path / workdir), {}),
            build,
            Data(),
            12,
            save_every=2,
            callbacks=[callback, *more],
            verbose=0,
        )
        return callback.posterior(model)

    undisturbed = train("a", None)
    for epoch in (1, 7, 8):
        with pytest.raises(Killed):
            train("b", tmp_path / "kept", KillAfter(epoch))
        # What is there so far does not pass for the whole.
        with pytest.raises(ValueError, match="must come to its end first"):
            make(tmp_path / "kept").posterior(network())
    found = train("b", tmp_path / "kept")
    for new, old in zip(found.weights, undisturbed.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(new), to_numpy(old))


def test_a_training_that_goes_on_by_itself():
    callback = Snapshots(3)
    rate = CosineCycles(0.2, STEPS * 12, 3)
    model = compiled(rate)
    fit(model, callback, 12)
    callback.on_train_begin()  # of the same number of epochs
    callback.on_epoch_begin(12)
    assert callback.taken == [4, 8, 12]
    with pytest.raises(ValueError, match="`folder` must be given to Snapshots"):
        fit(compiled(rate), Snapshots(3), 12, first=6)


def sghmc(epochs, cycles, **options):
    rate = CosineCycles(0.05, STEPS * epochs, cycles)
    options = {"exploration": 0.4, "temperature": 0.02, "seed": 3, **options}
    return SGHMC(rate, num_examples=len(X), **options)


def test_steps_of_sghmc_are_those_of_the_algorithm():
    optimizer = sghmc(4, 2, coupled_decay=0.1, friction=0.2)
    start = RNG.normal(size=(300,))
    variable = keras.Variable(start, dtype="float32")
    velocity, w, plain = np.zeros(300), start.copy(), sghmc(4, 2, temperature=0.0)
    noises = []
    for step in range(12):
        gradient = np.cos(np.arange(300) + step)
        rate = 0.025 * (math.cos(math.pi * (step % 6) / 6) + 1)
        expected = 0.8 * velocity - rate * (gradient + 0.1 * w)
        gradients = [ops.convert_to_tensor(gradient, "float32")]
        before = to_numpy(variable)
        optimizer.apply(gradients, [variable])
        found = to_numpy(variable) - before
        noise = found - expected
        sampling = (step % 6) / 6 >= 0.4
        scale = math.sqrt(2 * 0.2 * rate * 0.02 / len(X))
        if sampling:
            noises.append(noise / scale)
        else:
            np.testing.assert_allclose(noise, 0, atol=1e-6)
        velocity, w = found, to_numpy(variable).astype("float64")
    noises = np.stack(noises)
    assert noises.shape == (6, 300) and len(np.unique(noises)) > 1700
    # Of 1,800 numbers from N(0, 1): four standard errors.
    assert abs(noises.std() - 1) < 0.07 and abs(noises.mean()) < 0.1
    assert plain.noise_scale == 0


def test_the_stationary_distribution_is_the_posterior():
    """Of a quadratic loss N h w^2 / 2, the prior's decay in h: N(0, 1 / (N h))."""
    count, curvature, decay, rate, friction = 50, 2.0, 1.0, 0.05, 0.3
    optimizer = SGHMC(
        CosineCycles(rate, steps=10**6, cycles=1),  # which is constant at first
        count,
        exploration=0.0,
        coupled_decay=decay,
        friction=friction,
        seed=5,
    )
    variable = keras.Variable(np.zeros(4000), dtype="float32")
    found = []
    for step in range(220):
        optimizer.apply([curvature * variable.value], [variable])
        if step >= 60 and step % 20 == 0:
            found.append(to_numpy(variable))
    h = curvature + decay
    # The variance of the second-order recursion that the steps are; it is 1 / (N h)
    # for small rates.
    bias = rate * h / (2 * (2 - friction))
    assert bias < 0.05
    variance = 1 / (count * h * (1 - bias))
    # Of 32,000 numbers: five standard errors.
    assert np.var(found) == pytest.approx(variance, rel=0.04)
    assert abs(np.mean(found)) < 0.03 * math.sqrt(variance)


def test_sghmc_is_written_and_read():
    optimizer = sghmc(4, 2, role_decays={"generator": 0.1})
    twin = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(optimizer)
    )
    assert type(twin) is SGHMC and twin.get_config() == optimizer.get_config()
    assert twin.cycle_steps == 6


def test_samples_of_each_cycle():
    callback = CyclicSGMCMC(2, samples=2)
    model = compiled(None, optimizer=sghmc(8, 2))
    seen = fit(model, callback, 8)
    assert callback.taken == [3, 4, 7, 8]
    stack = to_numpy(callback.posterior().noise.stacks[0])
    np.testing.assert_array_equal(stack[2], seen[7][0])


def test_learned_noise_within_each_cycle():
    model = tfhyper.Variational(network(), len(X), seed=2)
    training.compile_variational_recipe(
        model, 8, STEPS, schedule=CosineCycles(0.5, 8 * STEPS, 2)
    )
    snapshots = Snapshots(2)
    fit(model, snapshots, 8)
    predictor = tfhyper.PosteriorPredictor(snapshots.posterior(), num_draws=6)
    predictor.estimate_batch_norm(X, verbose=0)
    members = predictor.predict(X).members
    assert all(np.abs(members[0] - x).max() > 1e-3 for x in members[1:])
    model = training.compile_recipe(network(), 8, STEPS, schedule=CosineCycles(1, 2, 1))
    assert float(model.optimizer.learning_rate) == pytest.approx(1.0)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    pytest.importorskip(backend)
    code = f"import pytest; exit(pytest.main(['-q', '-k', {_ELSEWHERE!r}, __FILE__]))"
    code = code.replace("__FILE__", repr(__file__))
    done = run_python("-c", code, env={"KERAS_BACKEND": backend}, fresh=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


_ELSEWHERE = "sets_are_the_weights or moments_are or steps_of_sghmc or samples_of_each"


def diverging(model, *arguments):
    model.layers[0].kernel.assign(np.full((4, 5), np.nan))
    return fit(model, *arguments)


CASES = {
    "cycles that do not divide": (
        lambda: fit(compiled(0.1), Snapshots(5), 12),
        "`cycles` must divide the epochs",
    ),
    "a constant rate": (
        lambda: fit(compiled(0.1), Snapshots(3), 12),
        "CosineCycles.*steps=36, cycles=3.*Received: the rate 0.1",
    ),
    "another schedule": (
        lambda: fit(
            compiled(keras.optimizers.schedules.CosineDecay(0.1, 36)), Snapshots(3), 12
        ),
        "Received: CosineDecay",
    ),
    "other cycles": (
        lambda: fit(compiled(CosineCycles(0.1, 36, 4)), Snapshots(3), 12),
        r"Received: CosineCycles\(steps=36, cycles=4\)",
    ),
    "no geometric cycle": (
        lambda: fit(compiled(0.1), FastGeometric(12), 12),
        "`start` must leave epochs",
    ),
    "another geometric rate": (
        lambda: fit(compiled(GeometricRate(0.1, 9, 6)), FastGeometric(6), 12),
        r"GeometricRate\(..., start=18, cycle_steps=6\)",
    ),
    "no epoch to average": (
        lambda: fit(compiled(0.1), WeightAverage(0.9, every=2), 12),
        "`start` and `every` must leave 1 epochs",
    ),
    "too few for the rank": (
        lambda: fit(compiled(0.1), SWAG(5), 12),
        "must leave 5 epochs",
    ),
    "an optimizer without noise": (
        lambda: fit(compiled(CosineCycles(0.1, 36, 3)), CyclicSGMCMC(3), 12),
        "`optimizer` must be `tfhyper.training.SGHMC`",
    ),
    "noise after the samples": (
        lambda: fit(
            compiled(None, optimizer=sghmc(12, 3, exploration=0.9)),
            CyclicSGMCMC(3, samples=3),
            12,
        ),
        "`exploration` of the optimizer must end before",
    ),
    "more samples than epochs": (
        lambda: fit(compiled(0.1), CyclicSGMCMC(3, samples=5), 12),
        "`samples` must not be above",
    ),
    "a training that diverged": (
        lambda: diverging(compiled(CosineCycles(0.1, 36, 3)), Snapshots(3), 12),
        "holds NaN or infinite values after epoch 4",
    ),
    "no training": (lambda: Snapshots(3).posterior(), "`model` must be given"),
    "a training that did not begin": (
        lambda: Snapshots(3).posterior(network()),
        "must come to its end first",
    ),
    "snapshots: last": (lambda: Snapshots(2, last=3), "`last` must not be above"),
    "snapshots: cycles": (lambda: Snapshots(0), "`cycles` must be"),
    "geometric: odd": (lambda: FastGeometric(2, 3), "`cycle_epochs` must be even"),
    "rate: odd": (lambda: GeometricRate(0.1, 2, 3), "`cycle_steps` must be even"),
    "rate: low": (lambda: GeometricRate(0.1, 2, 4, 0.1, 0.2), "`low` must be below"),
    "rate: final": (lambda: AveragingRate(0.1, 2, 0.2), "`final` must not be above"),
    "rate: cycles": (lambda: CosineCycles(0.1, 2, 3), "`cycles` must not be above"),
    "swag: rank": (lambda: SWAG(1), "`rank` must be 0 or 2"),
    "swag: start": (lambda: SWAG(2, start=1.0), "`start` must be"),
    "sghmc: friction": (lambda: sghmc(4, 2, friction=1.5), "`friction` must not be"),
    "sghmc: exploration": (lambda: sghmc(4, 2, exploration=1), "`exploration` must"),
    "sghmc: rate": (lambda: SGHMC(0.1, 5), "`learning_rate` must be a `tfhyper"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused(name):
    call, message = CASES[name]
    with pytest.raises((ValueError, TypeError, training.DivergedError), match=message):
        call()


def test_folders_of_others_are_refused(tmp_path):
    folder = tmp_path / "kept"
    rate = CosineCycles(0.2, STEPS * 12, 3)
    fit(compiled(rate), Snapshots(3, folder=folder), 12)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`folder` must be that of the same training"):
        fit(compiled(rate, other), Snapshots(3, folder=folder), 12)
    with pytest.raises(ValueError, match="`model` must be the one whose weights"):
        Snapshots(3, folder=folder).posterior(other)
    with pytest.raises(ValueError, match="`folder` must hold the weights of a"):
        Snapshots(3, folder=tmp_path / "none").posterior(other)
    with open(os.path.join(folder, "epoch-00004.npz"), "wb") as file:
        file.write(b"torn")
    with pytest.raises(ValueError, match="`folder` must hold the weights of epoch 4"):
        Snapshots(3, folder=folder).posterior(network())
    with pytest.raises(TypeError, match="`folder`"):
        Snapshots(3, folder=3)
