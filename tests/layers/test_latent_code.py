"""LatentCode: its four distributions, its two counts, and what a reload keeps."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tfhyper.layers import LatentCode

PRIORS = ("normal", "uniform", "symmetric_uniform", "half_normal")
X = np.zeros((2, 3), np.float32)

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs the TensorFlow backend"
)


def draw(layer, count, training=False):
    codes = [layer(X, training=training) for _ in range(count)]
    return np.concatenate([ops.convert_to_numpy(code) for code in codes])


def code_model(**options):
    x = keras.Input((3,))
    return keras.Model(x, LatentCode(4, **options)(x))


def assert_uncorrelated(a, b):
    # Of n independent pairs the correlation has deviation 1 / sqrt(n).
    assert a.size > 20_000
    correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
    assert abs(correlation) < 4.5 / np.sqrt(a.size)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("training", [False, True])
def test_components_follow_the_prior(prior, training):
    stats = pytest.importorskip("scipy.stats")
    expected = {
        "normal": stats.norm(),
        "uniform": stats.uniform(),
        "symmetric_uniform": stats.uniform(-1, 2),
        "half_normal": stats.halfnorm(),
    }
    codes = draw(LatentCode(64, prior, seed=11), 320, training)
    assert codes.size > 20_000
    assert stats.kstest(codes.ravel(), expected[prior].cdf).pvalue > 1e-3
    # Each component over the draws, each draw over its components: one test in
    # a thousand fails by chance.
    each = [stats.kstest(c, expected[prior].cdf).pvalue for c in [*codes, *codes.T]]
    assert np.mean(np.array(each) < 1e-3) < 0.01
    for other in set(PRIORS) - {prior}:
        assert stats.kstest(codes.ravel(), expected[other].cdf).pvalue < 1e-10


@pytest.mark.parametrize("prior", PRIORS)
def test_successive_draws_do_not_correlate(prior):
    codes = draw(LatentCode(64, prior, seed=3), 340)
    for lag in (1, 2, 3):
        assert_uncorrelated(codes[lag:], codes[:-lag])


def test_neighbouring_seeds_and_the_two_streams_do_not_correlate():
    codes = [draw(LatentCode(64, seed=seed), 340) for seed in (7, 8)]
    training = draw(LatentCode(64, seed=7), 340, training=True)
    for other in (codes[1], training):
        assert_uncorrelated(codes[0], other)
        assert_uncorrelated(codes[0][1:], other[:-1])
        assert_uncorrelated(codes[0][:-1], other[1:])


@pytest.mark.parametrize("training", [False, True])
def test_each_call_draws_anew_and_a_seed_fixes_the_sequence(training):
    codes = draw(LatentCode(4, seed=5), 6, training)
    assert len(np.unique(codes, axis=0)) == 6
    np.testing.assert_array_equal(codes, draw(LatentCode(4, seed=5), 6, training))
    assert not np.array_equal(codes, draw(LatentCode(4, seed=6), 6, training))


def test_calls_outside_training_do_not_change_training():
    expected = draw(LatentCode(4, seed=5), 4, training=True)
    layer = LatentCode(4, seed=5)
    found = []
    for i in range(4):
        draw(layer, i + 1)
        found.append(draw(layer, 1, training=True))
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert ops.convert_to_numpy(layer.draws).tolist() == [4, 10]
    inference = draw(LatentCode(4, seed=5), 11)[-1:]
    np.testing.assert_array_equal(draw(layer, 1), inference)


def test_a_call_that_does_not_say_is_no_training():
    found = ops.convert_to_numpy(LatentCode(4, seed=5)(X))
    np.testing.assert_array_equal(found, draw(LatentCode(4, seed=5), 1))


def used_model():
    model = code_model(seed=5)
    draw(model, 3, training=True)
    draw(model, 2)
    return model


def assert_goes_on(model, copy):
    for training in (True, False):
        expected = draw(model, 3, training)
        np.testing.assert_array_equal(draw(copy, 3, training), expected)
        assert not np.array_equal(expected, draw(code_model(seed=5), 3, training))


@pytest.mark.parametrize("seed", [5, None])
def test_sequence_goes_on_after_saving(tmp_path, seed):
    model = code_model(seed=seed)
    draw(model, 3, training=True)
    draw(model, 2)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    for training in (True, False):
        np.testing.assert_array_equal(draw(copy, 3, training), draw(model, 3, training))


def test_sequence_goes_on_after_loading_weights(tmp_path):
    model = used_model()
    model.save_weights(tmp_path / "model.weights.h5")
    copy = code_model(seed=5)
    copy.load_weights(tmp_path / "model.weights.h5")
    assert_goes_on(model, copy)


@needs_tensorflow
def test_sequence_goes_on_after_a_checkpoint(tmp_path):
    import tensorflow as tf

    model = used_model()
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    copy = code_model(seed=5)
    tf.train.Checkpoint(model=copy).restore(path).assert_existing_objects_matched()
    assert_goes_on(model, copy)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_codes_are_float32_under_any_policy(policy):
    expected = draw(LatentCode(4, seed=5), 2)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer = LatentCode(4, seed=5)
        symbolic = layer(keras.Input((3,)))
        found = layer(X)
    finally:
        keras.config.set_dtype_policy(before)
    assert (symbolic.shape, symbolic.dtype) == ((1, 4), "float32")
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected[:1])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "float32"])
def test_any_tensor_will_do_as_input(dtype):
    images = np.ones((2, 8, 8, 3), dtype)
    code = LatentCode(4, seed=5)(images)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(code), draw(LatentCode(4, seed=5), 1)
    )
    inputs = keras.Input((8, 8, 3), dtype=dtype)
    model = keras.Model(inputs, LatentCode(4, seed=5)(inputs))
    assert model(images).shape == (1, 4)


@pytest.mark.parametrize("prior", PRIORS)
def test_keras_checks_of_a_layer(prior):
    TestCase().run_layer_test(
        LatentCode,
        {"units": 5, "prior": prior, "seed": 3},
        input_shape=(2, 3),
        expected_output_shape=(1, 5),
        expected_output_dtype="float32",
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=1,
        expected_num_seed_generators=0,
        run_training_check=False,
    )


def test_config_holds_the_seed_that_was_chosen():
    layer = LatentCode(6, "half_normal", name="z")
    config = layer.get_config()
    assert 0 <= config["seed"] < 2**31
    assert config["seed"] != LatentCode(6).get_config()["seed"]
    copy = LatentCode.from_config(config)
    assert copy.get_config() == config
    assert (copy.units, copy.prior, copy.name) == (6, "half_normal", "z")
    np.testing.assert_array_equal(draw(copy, 3), draw(layer, 3))


@needs_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("prior", PRIORS)
def test_draws_inside_a_tf_function(prior, jit_compile):
    import tensorflow as tf

    def compiled_draws():
        layer = LatentCode(64, prior, seed=5)
        layer.build((2, 3))
        call = tf.function(lambda: layer(X, training=True), jit_compile=jit_compile)
        codes = np.concatenate([call().numpy() for _ in range(5)])
        np.testing.assert_array_equal(layer.draws.numpy(), [5, 0])
        return codes

    codes = compiled_draws()
    assert len(np.unique(codes, axis=0)) == 5
    np.testing.assert_array_equal(compiled_draws(), codes)
    expected = draw(LatentCode(64, prior, seed=5), 5, training=True)
    if jit_compile:
        # XLA has a random generator of its own: other numbers, same distribution.
        stats = pytest.importorskip("scipy.stats")
        assert stats.ks_2samp(codes.ravel(), expected.ravel()).pvalue > 1e-3
    else:
        np.testing.assert_array_equal(codes, expected)


def test_compiled_training_counts_its_steps():
    x = keras.Input((3,))
    y = keras.layers.Dense(4)(x) + LatentCode(4, seed=5)(x)
    model = keras.Model(x, y)
    model.compile("sgd", "mse")
    data = np.zeros((6, 3), np.float32), np.zeros((6, 4), np.float32)
    model.fit(*data, batch_size=2, epochs=2, verbose=0)
    model.evaluate(*data, batch_size=3, verbose=0)
    layer = next(layer for layer in model.layers if isinstance(layer, LatentCode))
    assert ops.convert_to_numpy(layer.draws).tolist() == [6, 2]


@pytest.mark.parametrize("prior", PRIORS)
def test_noise_of_a_draw_is_a_function_of_its_seed(prior):
    layer = LatentCode(4, prior, seed=5)
    noise = layer.sample_noise(17)
    assert (noise.shape, noise.dtype) == ((1, 4), np.float32)
    draw(layer, 2)
    np.testing.assert_array_equal(layer.sample_noise(17), noise)
    np.testing.assert_array_equal(LatentCode(4, prior).sample_noise(17), noise)
    assert not np.array_equal(layer.sample_noise(18), noise)
    assert layer.point_layer() is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"units": 0}, "`units` must be a positive integer.*units=0"),
        ({"units": -2}, "`units` must be a positive integer.*units=-2"),
        ({"units": 2.5}, "`units` must be a positive integer.*units=2.5"),
        ({"units": True}, "`units` must be a positive integer.*units=True"),
        ({"prior": "gauss"}, "`prior` must be one of .*half_normal.*prior='gauss'"),
        ({"seed": -1}, "`seed` must be an integer from 0 to 2147483647.*seed=-1"),
        ({"seed": 2**31}, "`seed` must be an integer from 0.*seed=2147483648"),
        ({"seed": 1.5}, "`seed` must be an integer from 0.*seed=1.5"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        LatentCode(**options)
