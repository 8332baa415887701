"""MCDropout: its masks in NumPy, their statistics, and what a draw fixes."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.layers import to_numpy
from tests.helpers.masks import INFERENCE, expected_words
from tfhyper import Draw, PosteriorPredictor
from tfhyper.layers import MCDropout
from tfhyper.layers.masks import keep_mask


def masks(seed, count, examples, positions, rate, first=0):
    key = ops.convert_to_tensor(np.array([seed, count], "int32"))
    first = ops.convert_to_tensor(np.int32(first))
    return to_numpy(keep_mask(key, first, examples, positions, rate))


def expected_masks(seed, count, examples, positions, rate, first=0):
    return expected_words(seed, count, examples, positions, first) >= rate * 2**32


def apply(layer, x, noise, first=0):
    """The layer's output in the draw of a noise."""
    point = layer.point_layer()
    point.build(x.shape)
    for variable, value in zip(point.weights, layer.point_weights(noise), strict=True):
        variable.assign(value)
    point.first_example.assign(first)
    return to_numpy(point(x))


def network(rate=0.4, **options):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            MCDropout(rate, name="drop", **{"seed": 3, **options}),
            keras.layers.Flatten(),
            MCDropout(rate, name="again", seed=4),
            keras.layers.Dense(3),
        ]
    )


def images(size=20):
    return np.random.default_rng(0).normal(size=(size, 6, 6, 2)).astype("float32")


@pytest.mark.parametrize(
    "seed, count, first, rate",
    [(0, 0, 0, 0.5), (2**31 - 1, INFERENCE, 0, 0.1), (7, 3, 1000, 0.9), (1, 1, 5, 0.0)],
)
def test_masks_are_the_formula(seed, count, first, rate):
    found = masks(seed, count, 9, 50, rate, first)
    np.testing.assert_array_equal(
        found, expected_masks(seed, count, 9, 50, rate, first)
    )


def assert_independent(z):
    """No two rows of standardised values correlate more than by chance."""
    rows, size = z.shape
    scores = (z @ z.T / np.sqrt(size))[np.triu_indices(rows, 1)]
    # Standard normal for independent rows, if not quite independent of each other.
    assert np.std(scores) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(scores)) < 5 / np.sqrt(len(scores))
    assert np.abs(scores).max() < 6


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_masks_drop_at_the_rate_and_independently(rate):
    stats = pytest.importorskip("scipy.stats")
    kept = masks(11, 0, 400, 1000, rate)
    assert stats.binomtest(int((~kept).sum()), kept.size, rate).pvalue > 1e-3
    z = (kept - (1 - rate)) / np.sqrt(rate * (1 - rate))
    assert_independent(z)  # examples
    assert_independent(z.T[:400])  # positions
    # Numbers kept of each example and at each position are binomial: the sum of
    # their squared scores is chi-squared.
    for axis in (0, 1):
        scores = z.sum(axis=axis) / np.sqrt(z.shape[axis])
        chance = stats.chi2(len(scores)).cdf(np.sum(scores**2))
        assert 1e-3 < chance < 1 - 1e-3
    # Three and four values together, neighbours in examples and in positions.
    for product in (
        z[2:] * z[1:-1] * z[:-2],
        z[:, 2:] * z[:, 1:-1] * z[:, :-2],
        z[1:, 1:] * z[1:, :-1] * z[:-1, 1:] * z[:-1, :-1],
        z[200:, 500:] * z[200:, :500] * z[:200, 500:] * z[:200, :500],
    ):
        assert abs(product.mean()) < 4.5 / np.sqrt(product.size)


def test_masks_of_neighbouring_seeds_and_counts_are_independent():
    keys = [(seed, count) for seed in range(10) for count in range(10)]
    keys += [(3, INFERENCE + i) for i in range(10)]
    drawn = [masks(*key, 20, 200, 0.5).ravel() for key in keys]
    assert_independent(np.array(drawn) * 2.0 - 1)


def test_keras_checks_of_a_layer():
    TestCase().run_layer_test(
        MCDropout,
        {"rate": 0.3, "seed": 3, "noise_shape": (None, 1)},
        input_shape=(2, 3),
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=1,
        expected_num_seed_generators=0,
        supports_masking=True,
        run_training_check=False,
    )


@pytest.mark.parametrize("training", [False, True])
def test_calls_draw_masks_of_seed_and_count(training):
    layer = MCDropout(0.25, seed=5)
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    for i in range(3):
        found = to_numpy(layer(x, training=training))
        kept = expected_masks(5, i + (0 if training else INFERENCE), 4, 15, 0.25)
        expected = np.where(kept.reshape(x.shape), x / 0.75, 0)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert to_numpy(layer.draws).tolist() == ([3, 0] if training else [0, 3])


def test_masks_go_on_after_a_reload(tmp_path):
    model, x = network(), images()
    first = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    following = model.predict(x, verbose=0)
    np.testing.assert_array_equal(copy.predict(x, verbose=0), following)
    assert not np.array_equal(first, following)


def test_gradient_is_the_mask():
    layer = keras.layers.Dense(5, use_bias=False)
    model = keras.Sequential([keras.Input((4,)), layer, MCDropout(0.5, seed=1)])
    before = to_numpy(layer.kernel)
    model.compile(keras.optimizers.SGD(1.0), lambda y, p: ops.sum(p, axis=-1))
    model.train_on_batch(np.ones((1, 4), "float32"), np.zeros((1, 5)))
    kept = expected_masks(1, 0, 1, 5, 0.5)
    change = before - to_numpy(layer.kernel)
    np.testing.assert_allclose(change, np.tile(2.0 * kept, (4, 1)), atol=1e-6)


@pytest.mark.parametrize(
    "noise_shape, axes, different",
    [
        ((None, 1, 1, None), (1, 2), 16),
        ((1, None, None, None), (0,), 1),
        ((None, 1, 1, 1), (1, 2, 3), 2),
    ],
)
def test_noise_shape(noise_shape, axes, different):
    layer = MCDropout(0.5, noise_shape=noise_shape, seed=2)
    x = np.ones((16, 3, 5, 32), "float32")
    y = apply(layer, x, layer.sample_noise(3), first=4)
    same = np.broadcast_to(y.max(axes, keepdims=True), x.shape)
    np.testing.assert_array_equal(y, same)
    assert set(np.unique(y)) == {0.0, 2.0}
    assert len(np.unique(y.reshape(16, -1), axis=0)) == different
    rest = apply(layer, x[5:], layer.sample_noise(3), first=9)
    np.testing.assert_array_equal(rest, y[5:])


def test_a_network_of_any_size():
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, MCDropout(0.5, seed=2)(inputs))
    for size in (3, 5):
        y = model.predict(np.ones((2, size, 4, 2), "float32"), verbose=0)
        count = INFERENCE + (0 if size == 3 else 1)
        kept = expected_masks(2, count, 2, size * 8, 0.5)
        np.testing.assert_array_equal(y.reshape(2, -1), 2.0 * kept)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(dtype):
    y = MCDropout(0.5, seed=2, dtype=dtype)(np.ones((4, 50), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
    y = to_numpy(ops.cast(y, "float32"))
    np.testing.assert_array_equal(y, 2.0 * expected_masks(2, INFERENCE, 4, 50, 0.5))


def test_what_is_dropped_may_be_infinite():
    y = to_numpy(MCDropout(0.5, seed=2)(np.full((2, 50), np.inf, "float32")))
    assert set(np.unique(y)) == {0, np.inf}


# In a draw.


def test_one_draw_is_the_model_with_those_masks():
    model, x = network(), images()
    expected = to_numpy(ops.softmax(model.predict(x, batch_size=20, verbose=0)))
    seeds = {"drop": 3, "again": 4}
    noise = {name: np.array([seed, INFERENCE]) for name, seed in seeds.items()}
    predictor = PosteriorPredictor(model, num_draws=1)
    predictor.draws = [Draw(noise)]
    members = predictor.predict(x, batch_size=7).members
    np.testing.assert_allclose(members[0], expected, atol=1e-6)


def test_prediction_does_not_depend_on_the_batches(tmp_path):
    model, x = network(), images()
    predictor = PosteriorPredictor(model, num_draws=3, seed=1)
    members = predictor.predict(x, batch_size=128).members
    for batch_size in (1, 7):
        found = predictor.predict(x, batch_size=batch_size).members
        np.testing.assert_allclose(found, members, atol=1e-6)
    found = predictor.predict(Parts(x, (3, 11))).members
    np.testing.assert_allclose(found, members, atol=1e-6)
    predictor.save(tmp_path / "predictor.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "predictor.tfhyper")
    np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)


class Parts:
    """Batches of unequal sizes."""

    def __init__(self, x, cuts):
        self.parts = np.split(x, cuts)

    def __iter__(self):
        return iter(self.parts)


def test_examples_and_draws_have_masks_of_their_own():
    x = np.tile(images(1), (20, 1, 1, 1))  # all the same
    members = PosteriorPredictor(network(), num_draws=4).predict(x).members
    assert len(np.unique(members.reshape(-1, 3), axis=0)) == 80


def test_batch_norm_of_a_draw_sees_its_masks():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((50,)),
            MCDropout(0.5, name="drop", seed=3),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(1, 1, size=(30, 50)).astype("float32")
    predictor = PosteriorPredictor(model, num_draws=2)
    for batch_size in (30, 7):
        predictor.calibrate(x, batch_size=batch_size, verbose=0)
        for draw in predictor.draws:
            kept = expected_masks(*map(int, draw.noise["drop"]), 30, 50, 0.5)
            mean, variance = draw.moments["norm"]
            np.testing.assert_allclose(mean, (2 * x * kept).mean(0), atol=1e-5)
            np.testing.assert_allclose(variance, (2 * x * kept).var(0), rtol=1e-4)


def test_materialized_network_keeps_the_masks_of_the_first_examples(tmp_path):
    model, x = network(), images()
    predictor = PosteriorPredictor(model, num_draws=2)
    predictor.predict(x, batch_size=7)
    plain = predictor.materialize(1)
    plain.save(tmp_path / "plain.keras")
    copy = keras.saving.load_model(tmp_path / "plain.keras")
    expected = predictor.predict(x).members[1]
    for one in (plain, copy):
        found = to_numpy(ops.softmax(one.predict(x, verbose=0)))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    half = to_numpy(ops.softmax(plain.predict(x[:10], batch_size=5, verbose=0)))
    np.testing.assert_allclose(half[:5], expected[:5], atol=1e-6)
    assert np.abs(half[5:] - expected[5:10]).max() > 1e-3


def test_nothing_is_dropped_at_the_mean():
    model, x = network(), images()
    plain = keras.Sequential(
        [keras.Input((6, 6, 2))]
        + [
            type(layer).from_config(layer.get_config())
            for layer in model.layers
            if not isinstance(layer, MCDropout)
        ]
    )
    plain.set_weights([w for w in model.get_weights() if w.dtype == "float32"])
    predictor = PosteriorPredictor(model, deterministic=True)
    expected = to_numpy(ops.softmax(plain.predict(x, verbose=0)))
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-6)


def test_inside_of_another_layer_it_is_out_of_reach():
    inputs = keras.Input((4, 5))
    x = keras.layers.TimeDistributed(MCDropout(0.5, name="drop"))(inputs)
    x = keras.layers.Dense(3)(keras.layers.Flatten()(x))
    with pytest.raises(ValueError, match="Layer 'drop' draws inside of layer"):
        PosteriorPredictor(keras.Model(inputs, x))


def test_config_holds_the_seed_that_was_chosen():
    layer = MCDropout(0.2, noise_shape=[None, 1], name="drop")
    config = layer.get_config()
    assert 0 <= config["seed"] < 2**31
    assert config["seed"] != MCDropout(0.2).get_config()["seed"]
    copy = MCDropout.from_config(config)
    assert copy.get_config() == config
    assert (copy.rate, copy.noise_shape, copy.name) == (0.2, (None, 1), "drop")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rate": 1.0}, "`rate` must be in 0 <= rate < 1.*rate=1.0"),
        ({"rate": -0.1}, "`rate` must be in 0 <= rate < 1.*rate=-0.1"),
        ({"rate": "high"}, "`rate` must be in 0 <= rate < 1.*rate='high'"),
        (
            {"noise_shape": (4, None)},
            r"`noise_shape` must begin with None.*\(4, None\)",
        ),
        ({"noise_shape": ()}, r"`noise_shape` must begin with None.*\(\)"),
        ({"noise_shape": (None, 0)}, "`noise_shape` must be a positive integer.*=0"),
        ({"seed": -1}, "`seed` must be an integer.*seed=-1"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        MCDropout(**{"rate": 0.5, **options})


def test_noise_shape_of_another_rank():
    with pytest.raises(ValueError, match=r"one entry for each axis.*\(2, 3, 4\)"):
        MCDropout(0.5, noise_shape=(None, 1))(np.ones((2, 3, 4), "float32"))
