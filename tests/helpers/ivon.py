"""IVON computed in NumPy, and small models that are trained with it."""

import keras
import numpy as np
from keras import ops

import tfhyper
from tfhyper.training import IVON

N, DECAY, CURVATURE, TEMPERATURE = 40, 0.01, 0.3, 0.5
BETA_1, BETA_2, RATE = 0.9, 0.8, 0.1


def to_numpy(tensor):
    return np.array(ops.convert_to_numpy(tensor), "float64")


@keras.saving.register_keras_serializable("tests")
def gaussian_nll(targets, outputs):
    """The negative log-likelihood of noise of variance 1, but for a constant."""
    return ops.sum(ops.square(targets - outputs), axis=-1) / 2


def linear_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3)).astype("float32")
    y = x @ rng.normal(size=(3, 2)) + 0.5 + 0.1 * rng.normal(size=(N, 2))
    return x, y.astype("float32")


def linear_model(**options):
    """Returns an uncompiled linear model, and its data."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    given = {
        "weight_decay": DECAY,
        "initial_curvature": CURVATURE,
        "temperature": TEMPERATURE,
        "seed": 3,
    }
    return tfhyper.Variational(model, N, **{**given, **options})


def gradients(x, y, kernel, bias):
    """Returns those of `gaussian_nll` of a linear model, in one vector."""
    error = (x @ kernel + bias - y) / len(x)
    return np.concatenate([(x.T @ error).ravel(), error.sum(axis=0)])


def expected_steps(model, batches, rates, noise_of=None):
    """Returns means and curvature after steps, in float64.

    Args:
        model: a linear model, as it begins. Its noise is taken as given.
        batches: lists of (x, y): the parts of each step.
        rates: the rate of each step.
        noise_of: function of the step and the part's number; `None` for a draw after
            the other.
    """
    mean = np.concatenate([to_numpy(x).ravel() for x in model.means])
    curvature, momentum = np.full(mean.size, CURVATURE), np.zeros(mean.size)
    size, count = N / TEMPERATURE, 0
    for step, (parts, rate) in enumerate(zip(batches, rates, strict=True)):
        found, products = [], []
        for i, (x, y) in enumerate(parts):
            noise = model.noise.training_noise(count) if noise_of is None else None
            noise = to_numpy(noise_of(step, i) if noise is None else noise)
            count += 1
            drawn = mean + noise / np.sqrt(size * (curvature + DECAY))
            gradient = gradients(x, y, drawn[:6].reshape(3, 2), drawn[6:])
            found.append(gradient)
            products.append(size * (curvature + DECAY) * (drawn - mean) * gradient)
        gradient, product = np.mean(found, axis=0), np.mean(products, axis=0)
        momentum = BETA_1 * momentum + (1 - BETA_1) * gradient
        curvature = (
            BETA_2 * curvature
            + (1 - BETA_2) * product
            + (1 - BETA_2) ** 2 * (curvature - product) ** 2 / (2 * (curvature + DECAY))
        )
        average = momentum / (1 - BETA_1 ** (step + 1))
        mean = mean - rate * (average + DECAY * mean) / (curvature + DECAY)
    return mean, curvature


def check_values(model, expected, tolerance):
    """Asserts that a model has these means and curvature."""
    found = np.concatenate([to_numpy(x).ravel() for x in model.means])
    np.testing.assert_allclose(found, expected[0], rtol=tolerance, atol=tolerance)
    found = to_numpy(model.noise.curvature)
    np.testing.assert_allclose(found, expected[1], rtol=tolerance, atol=tolerance)


def check_steps(tolerance):
    """Asserts that steps of `fit` are those of the equations."""
    x, y = linear_data()
    # A rate that changes, one step of which is an epoch.
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [RATE, RATE / 2])
    batches = [[(x[i : i + 5], y[i : i + 5])] for i in range(0, N, 5)]
    rates = [RATE] * 5 + [RATE / 2] * 3
    model = linear_model()
    expected = expected_steps(model, batches, rates)
    before = np.concatenate([to_numpy(v).ravel() for v in model.means])
    assert np.abs(expected[0] - before).min() > 1e-3
    assert np.abs(expected[1] - CURVATURE).min() > 1e-3
    model.compile(IVON(schedule, BETA_1, BETA_2), gaussian_nll)
    model.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    check_values(model, expected, tolerance)

    # Two accumulated steps, each with a draw of its own, are one with both.
    model = linear_model()
    parts = [[*a, *b] for a, b in zip(batches[::2], batches[1::2], strict=True)]
    expected = expected_steps(model, parts, [RATE] * 4)
    optimizer = IVON(RATE, BETA_1, BETA_2, gradient_accumulation_steps=2)
    model.compile(optimizer, gaussian_nll)
    model.fit(x, y, batch_size=5, shuffle=False, verbose=0)
    check_values(model, expected, tolerance)


def check_two_replicas(tolerance):
    """Asserts that steps on two devices are those of the equations."""
    import tensorflow as tf

    from tfhyper.layers.replica_streams import replica_streams
    from tfhyper.training import Trainer, make_strategy

    x, y = linear_data()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(10).repeat()
    halves = [[(x[j : j + 5], y[j : j + 5]) for j in (i, i + 5)] for i in (0, 10, 20)]
    noise, strategy = linear_model().noise, make_strategy("mirrored")
    assert strategy.num_replicas_in_sync == 2
    for own in (False, True):

        def noise_of(step, replica, own=own):
            with replica_streams(replica, own):
                return noise.training_noise(step)

        same = np.array_equal(to_numpy(noise_of(0, 0)), to_numpy(noise_of(0, 1)))
        assert same != own
        expected = expected_steps(linear_model(), halves, [RATE] * 3, noise_of)
        with strategy.scope():
            model = linear_model()
            model.compile(IVON(RATE, BETA_1, BETA_2), gaussian_nll)
        trainer = Trainer(model, per_replica_draws=own)
        trainer.fit(dataset, epochs=1, steps_per_epoch=3, verbose=0)
        check_values(model, expected, tolerance)
