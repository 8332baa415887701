"""MCBN: the moments of a draw are NumPy's of one mini-batch, layer by layer."""

import itertools

import keras
import numpy as np
import pytest

from tests.helpers.kits import make_kit
from tests.helpers.layers import normal, to_numpy
from tfhyper import convert, layers
from tfhyper.posterior import Draw, PosteriorPredictor

BN = keras.layers.BatchNormalization
SHAPES = {"dense": (5,), "1d": (6, 3), "2d": (5, 4, 3), "3d": (4, 3, 3, 2)}
SIZE, BATCH = 12, 4


def weighted(kind, units):
    if kind == "dense":
        return keras.layers.Dense(units)
    return getattr(keras.layers, f"Conv{kind.upper()}")(units, 2)


def randomise(model, seed=0):
    """Gives BatchNorm's parameters and averages values that cannot be missed."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, BN):
            layer.set_weights(
                [rng.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()]
            )
    return model


def network(kind="dense", seed=7):
    """The first norm sees the data itself, which shows the mini-batch's examples."""
    keras.utils.set_random_seed(seed)
    return randomise(
        keras.Sequential(
            [
                keras.Input(SHAPES[kind]),
                BN(name="norm0"),
                weighted(kind, 4),
                BN(name="norm1", epsilon=0.1),
                keras.layers.ReLU(),
                weighted(kind, 3),
                BN(name="norm2", scale=False),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
    )


def data(kind="dense", size=SIZE, seed=5):
    return 1 + 2 * normal(size, *SHAPES[kind], seed=seed)


def predictor_of(model, **options):
    options = {"num_draws": 3, "batch_size": BATCH, **options}
    return PosteriorPredictor(model, batch_norm="minibatch", **options)


def calibrated(model, x, **options):
    return predictor_of(model, **options).calibrate(x, verbose=0)


# The forward pass in NumPy.


def numpy_conv(x, kernel):
    """Convolution without padding, of any rank, from its definition."""
    rank = kernel.ndim - 2
    windows = np.lib.stride_tricks.sliding_window_view(
        x, kernel.shape[:rank], axis=tuple(range(1, rank + 1))
    )  # (batch, positions ..., channels, offsets ...)
    offsets = [*range(rank + 2, 2 * rank + 2), rank + 1]
    return np.tensordot(windows, kernel, (offsets, list(range(rank + 1))))


def numpy_moments(model, x):
    """Name -> (mean, biased variance) of what each trained norm sees, in float64."""
    x, moments = x.astype("float64"), {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            return moments
        weights = [w.astype("float64") for w in layer.get_weights()]
        if isinstance(layer, BN):
            gamma = weights.pop(0) if layer.scale else 1.0
            beta, *found = weights
            if layer.trainable:
                axes = tuple(range(x.ndim - 1))
                found = moments[layer.name] = x.mean(axes), x.var(axes)
            x = gamma * (x - found[0]) / np.sqrt(found[1] + layer.epsilon) + beta
        elif isinstance(layer, keras.layers.Dense):
            x = x @ weights[0] + weights[1]
        elif isinstance(layer, keras.layers.ReLU):
            x = np.maximum(x, 0)
        elif weights:
            x = numpy_conv(x, weights[0]) + weights[1]
    raise AssertionError("no Flatten")


def chosen(draw, x, size=BATCH):
    """The examples whose mean the first norm of a draw holds, of all choices."""
    means = x.astype("float64").mean(tuple(range(1, x.ndim - 1)))
    choices = list(itertools.combinations(range(len(x)), size))
    found = means[np.array(choices)].mean(1)
    distances = np.abs(found - draw.moments["norm0"][0]).max(-1)
    nearest, second = np.argsort(distances)[:2]
    assert distances[nearest] < 1e-5 and distances[second] > 1e-3
    return list(choices[nearest])


def assert_moments(draw, expected):
    assert set(draw.moments) == set(expected) and expected
    for name, values in expected.items():
        for found, value in zip(draw.moments[name], values, strict=True):
            assert found.shape == value.shape and found.dtype == np.float32
            scale = max(1.0, np.abs(value).max())
            np.testing.assert_allclose(found, value, atol=1e-5 * scale)


def assert_same_moments(one, other):
    assert set(one.moments) == set(other.moments)
    for name, values in one.moments.items():
        np.testing.assert_array_equal(values, other.moments[name])


@pytest.mark.parametrize("kind", SHAPES)
def test_moments_are_those_of_numpy_layer_by_layer(kind):
    model, x = network(kind), data(kind)
    predictor = calibrated(model, x)
    for draw in predictor.draws:
        expected = numpy_moments(model, x[chosen(draw, x)])
        assert list(expected) == ["norm0", "norm1", "norm2"]
        assert_moments(draw, expected)
        # Far from these are the unbiased variance and the moving averages.
        variance = expected["norm0"][1]
        assert np.abs(variance * BATCH / (BATCH - 1) - variance).min() > 0.01
        for name, values in draw.moments.items():
            moving = model.get_layer(name).moving_variance
            assert np.abs(values[1] - to_numpy(moving)).max() > 1e-2


@pytest.mark.parametrize("kind", SHAPES)
def test_draws_differ_and_members_with_them(kind):
    model, x = network(kind), data(kind)
    predictor = calibrated(model, x, num_draws=4)
    batches = [tuple(chosen(draw, x)) for draw in predictor.draws]
    assert len(set(batches)) == 4
    members = predictor.predict(x).members
    for one, other in itertools.combinations(members, 2):
        assert np.abs(one - other).max() > 1e-3
    assert predictor.predict(x).epistemic.max() > 1e-4


def test_every_example_can_be_drawn_and_none_twice():
    model, x = network(), data()
    predictor = calibrated(model, x, num_draws=24)
    counts = np.bincount(np.concatenate([chosen(d, x) for d in predictor.draws]))
    # Binomial of 24 and 1/3 for each: 8 on average; P(2 <= n <= 15) = 0.997.
    assert len(counts) == SIZE and 2 <= counts.min() and counts.max() <= 15


def test_the_seed_fixes_the_mini_batches():
    model, x = network(), data()
    first = calibrated(model, x, seed=3)
    keras.utils.set_random_seed(99)
    again = calibrated(model, x, seed=3)
    for one, other in zip(first.draws, again.draws, strict=True):
        assert_same_moments(one, other)
    np.testing.assert_array_equal(first.predict(x).members, again.predict(x).members)
    more = calibrated(model, x, seed=3, num_draws=5)  # begin with the same
    for one, other in zip(first.draws, more.draws[:3], strict=True):
        assert_same_moments(one, other)
    other = calibrated(model, x, seed=4)
    for one, two in zip(first.draws, other.draws, strict=True):
        assert np.abs(one.moments["norm0"][0] - two.moments["norm0"][0]).max() > 1e-3


def test_the_whole_array_as_mini_batch_makes_all_draws_the_same():
    model, x = network("1d"), data("1d")
    predictor = calibrated(model, x, batch_size=SIZE)
    for draw in predictor.draws:
        assert_moments(draw, numpy_moments(model, x))
    members = predictor.predict(x).members
    np.testing.assert_allclose(members, members[[0] * 3], atol=1e-5)
    once = PosteriorPredictor(model, num_draws=1)
    once.calibrate(x, batch_size=SIZE, verbose=0)
    np.testing.assert_allclose(members[:1], once.predict(x).members, atol=1e-5)


def test_a_draw_is_one_network_whatever_the_batches():
    model, x = network("2d"), data("2d")
    predictor = calibrated(model, x)
    members = predictor.predict(x, batch_size=SIZE).members
    for batch_size in (1, 5):
        found = predictor.predict(x, batch_size=batch_size).members
        np.testing.assert_allclose(found, members, atol=1e-6)


# Datasets.


class Parts:
    """Batches that can be read again, with labels to be ignored."""

    def __init__(self, x, cuts):
        self.parts = np.split(x, cuts)

    def __iter__(self):
        return ((part, np.zeros(len(part))) for part in self.parts)


def test_a_dataset_gives_its_batches_in_order_and_again():
    model, x = network(), data(size=14)
    # The one of 3 in the middle and the leftover of 3 are no batches of training.
    predictor = calibrated(model, Parts(x, [4, 7, 11]), num_draws=5)
    for draw, start in zip(predictor.draws, (0, 7, 0, 7, 0), strict=True):
        assert_moments(draw, numpy_moments(model, x[start : start + BATCH]))


def test_a_dataset_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    model, x = network(), data(size=10)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(BATCH)
    predictor = calibrated(model, dataset)
    for draw, start in zip(predictor.draws, (0, 4, 0), strict=True):
        assert_moments(draw, numpy_moments(model, x[start : start + BATCH]))


def test_a_dataset_that_shuffles_gives_other_batches_in_each_round():
    tf = pytest.importorskip("tensorflow")
    model, x = network(), data()
    dataset = tf.data.Dataset.from_tensor_slices(x).shuffle(SIZE, seed=1)
    predictor = calibrated(model, dataset.batch(BATCH), num_draws=6)
    batches = [tuple(chosen(draw, x)) for draw in predictor.draws]
    assert len(set(batches)) == 6
    for start in (0, 3):  # each round takes every example once
        assert sorted(sum(batches[start : start + 3], ())) == list(range(SIZE))


# State.


def test_the_model_keeps_its_weights_bit_for_bit(tmp_path):
    model, x = network("2d"), data("2d")
    before = [w.copy() for w in model.get_weights()]
    expected = to_numpy(model(x, training=False))
    predictor = calibrated(model, x)
    predictor.predict(x)
    predictor.materialize(1)
    predictor.save(tmp_path / "net.tfhyper")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(to_numpy(model(x, training=False)), expected)


def test_two_predictors_of_one_model_share_nothing():
    model, x = network(), data()
    first = calibrated(model, x, seed=0)
    members = first.predict(x).members
    moments = [dict(draw.moments) for draw in first.draws]
    second = predictor_of(model, seed=1, batch_size=6)
    assert not any(draw.moments for draw in second.draws)
    second.calibrate(3 * x + 1, verbose=0)
    assert np.abs(second.predict(x).members - members).max() > 1e-3
    for draw, before in zip(first.draws, moments, strict=True):
        assert_same_moments(draw, Draw(moments=before))
    np.testing.assert_array_equal(first.predict(x).members, members)


def test_two_models_share_nothing():
    # A list of layers that belonged to a class once mixed two models.
    one, two, x = network(), network(seed=8), data()
    first = calibrated(one, x)
    members = first.predict(x).members
    second = calibrated(two, x)
    for draw in second.draws:
        assert_moments(draw, numpy_moments(two, x[chosen(draw, x)]))
    np.testing.assert_array_equal(first.predict(x).members, members)
    two.set_weights([0 * w for w in two.get_weights()])
    np.testing.assert_array_equal(first.predict(x).members, members)


def test_calibration_draws_anew_from_other_data():
    # Statistics were once fixed for good by the first fit.
    model, x = network(), data()
    predictor = calibrated(model, x)
    other = data(seed=6)
    predictor.calibrate(other, verbose=0)
    for draw in predictor.draws:
        assert_moments(draw, numpy_moments(model, other[chosen(draw, other)]))


def test_a_materialized_draw_is_that_member():
    model, x = network("2d"), data("2d")
    predictor = calibrated(model, x)
    members = predictor.predict(x).members
    for i, member in enumerate(members):
        plain = predictor.materialize(i)
        probs = to_numpy(keras.ops.softmax(plain.predict(x, verbose=0)))
        np.testing.assert_allclose(probs, member, atol=1e-6)
        mean, _ = predictor.draws[i].moments["norm1"]
        moving = to_numpy(plain.get_layer("norm1").moving_mean)
        np.testing.assert_array_equal(moving, mean)


def test_batch_size_and_moments_survive_the_file(tmp_path):
    model, x = network("1d"), data("1d")
    model.trainable = False
    predictor = calibrated(model, x, seed=9)
    predictor.save(tmp_path / "net.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
    assert (loaded.batch_norm, loaded.batch_size) == ("minibatch", BATCH)
    for one, other in zip(loaded.draws, predictor.draws, strict=True):
        assert_same_moments(one, other)
    expected = predictor.predict(x).members
    np.testing.assert_array_equal(loaded.predict(x).members, expected)
    loaded.calibrate(x, verbose=0)
    np.testing.assert_allclose(loaded.predict(x).members, expected, atol=1e-6)


# Which norms.


def test_a_model_that_is_frozen_as_a_whole_has_all_its_norms_drawn():
    model, x = network(), data()
    model.trainable = False
    predictor = calibrated(model, x)
    model.trainable = True  # for NumPy's pass, which leaves frozen norms alone
    for draw in predictor.draws:
        assert_moments(draw, numpy_moments(model, x[chosen(draw, x)]))


def test_in_a_model_that_is_partly_frozen_only_the_trained_norms_are_drawn():
    model, x = network(), data()
    model.get_layer("norm1").trainable = False
    predictor = calibrated(model, x)
    for draw in predictor.draws:
        expected = numpy_moments(model, x[chosen(draw, x)])
        assert list(expected) == ["norm0", "norm2"]
        assert_moments(draw, expected)
    plain = predictor.materialize(0).get_layer("norm1")
    for found, value in zip(
        plain.get_weights(), model.get_layer("norm1").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, value)


def test_a_frozen_network_of_keras_applications():
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), classes=10
    )
    model.trainable = False
    before = [w.copy() for w in model.get_weights()]
    x = normal(8, 32, 32, 3)
    predictor = predictor_of(model, num_draws=2).calibrate(x, verbose=0)
    norms = [layer for layer in model.layers if isinstance(layer, BN)]
    for draw in predictor.draws:
        assert set(draw.moments) == {layer.name for layer in norms}
        assert len(draw.moments) == 52
    prediction = predictor.predict(x)
    assert predictor.outputs == "probabilities"
    np.testing.assert_allclose(prediction.mean.sum(-1), 1, rtol=1e-5)
    assert np.abs(np.subtract(*prediction.members)).max() > 1e-4
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


# With other random layers.


@pytest.mark.parametrize("name", ["hyper", "bayes"])
@pytest.mark.parametrize("kind", ["dense", "2d"])
def test_noise_and_mini_batch_are_both_in_a_draw(name, kind):
    options = {"mean_kernel": True} if name == "hyper" else {}
    model = convert(network(kind), make_kit(name, seed=1, **options))
    x = data(kind)
    predictor = calibrated(model, x)
    for draw in predictor.draws:
        plain = predictor.materialize(Draw(draw.noise))  # its kernels alone
        assert_moments(draw, numpy_moments(plain, x[chosen(draw, x)]))
    one, other = predictor.draws[:2]
    assert one.noise and all(np.any(one.noise[n] != other.noise[n]) for n in one.noise)
    assert chosen(one, x) != chosen(other, x)


def test_dropout_is_off_in_the_pass():
    inputs = keras.Input((5,))
    outputs = keras.layers.Dense(3)(BN(name="norm0")(layers.Dropout(0.9)(inputs)))
    x = data()
    for draw in calibrated(keras.Model(inputs, outputs), x).draws:
        examples = x[chosen(draw, x)]
        np.testing.assert_allclose(draw.moments["norm0"][0], examples.mean(0), 1e-5)


# Bad input.


def test_a_model_without_batch_norm_is_refused():
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)], name="plain")
    inputs = keras.Input((5,))
    held = keras.Model(inputs, keras.layers.Dense(3)(BN()(inputs, training=False)))
    for model in (plain, held):
        with pytest.raises(ValueError, match="needs a model with BatchNorm.*Received"):
            predictor_of(model)


@pytest.mark.parametrize("batch_size", [1, 0, -4, 1.5, True, "4"])
def test_bad_batch_sizes_are_refused(batch_size):
    message = "`batch_size` must be an integer of at least 2.*batch_size="
    with pytest.raises(ValueError, match=message):
        predictor_of(network(), batch_size=batch_size)


def test_batch_size_must_be_given():
    with pytest.raises(ValueError, match="`batch_size` must be given with"):
        predictor_of(network(), batch_size=None)


@pytest.mark.parametrize("batch_norm", ["reestimate", "moving_average"])
def test_batch_size_is_for_mini_batches(batch_norm):
    with pytest.raises(ValueError, match='is for `batch_norm="minibatch"`.*=4'):
        PosteriorPredictor(network(), batch_norm=batch_norm, batch_size=4)


def test_the_pass_has_no_other_batch_size():
    predictor, x = predictor_of(network()), data()
    with pytest.raises(ValueError, match="leave it out. Received: batch_size=4"):
        predictor.calibrate(x, batch_size=4, verbose=0)
    with pytest.raises(
        ValueError, match=r"Call `estimate_batch_norm\(training inputs\)` first"
    ):
        predictor.predict(x)


def test_the_mean_has_no_mini_batch():
    with pytest.raises(ValueError, match="`deterministic=True` needs one network"):
        predictor_of(network(), num_draws=None, deterministic=True)


def test_a_mini_batch_above_the_data_is_refused():
    predictor, x = predictor_of(network(), batch_size=SIZE + 1), data()
    message = "`batch_size` must not be above what `inputs` holds.*batch_size=13"
    with pytest.raises(ValueError, match=f"{message}, inputs of 12 examples"):
        predictor.calibrate(x, verbose=0)
    with pytest.raises(ValueError, match=rf"{message}, .* batches of \[2, 5\]"):
        predictor.calibrate(Parts(x, [5, 10]), verbose=0)
    assert not any(draw.moments for draw in predictor.draws)


def test_inputs_that_are_not_finite_are_refused():
    predictor, x = predictor_of(network()), data()
    x[3, 2] = np.nan
    for inputs in (x, Parts(x, [4, 8])):
        with pytest.raises(ValueError, match="`inputs` must be finite"):
            predictor.calibrate(inputs, verbose=0)
