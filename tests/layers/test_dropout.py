"""Dropout: Keras' own, but its masks go on after a reload."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from tfhyper.layers import Dropout

X = np.ones((4, 50), np.float32)


def masks(model, count=3):
    return np.stack(
        [ops.convert_to_numpy(model(X, training=True)) for _ in range(count)]
    )


def model_with(layer):
    return keras.Sequential([keras.Input((50,)), layer])


def test_keras_checks_of_a_layer():
    TestCase().run_layer_test(
        Dropout,
        {"rate": 0.3, "seed": 3, "noise_shape": (2, 1)},
        input_shape=(2, 3),
        call_kwargs={"training": True},
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        expected_num_non_trainable_variables=1,
        expected_num_seed_generators=1,
        supports_masking=True,
        assert_built_after_instantiation=False,
    )


def test_drops_as_keras_does():
    np.testing.assert_array_equal(
        masks(Dropout(0.3, seed=7)), masks(keras.layers.Dropout(0.3, seed=7))
    )
    found = masks(Dropout(0.3, seed=7), 20)
    np.testing.assert_allclose(np.unique(found), [0, 1 / 0.7], rtol=1e-6)
    assert np.mean(found == 0) == pytest.approx(0.3, abs=0.04)
    layer = Dropout(0.3, seed=7)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(X)), X)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(X, training=False)), X)


@pytest.mark.parametrize("seed", [7, None])
def test_masks_go_on_after_saving(tmp_path, seed):
    model = model_with(Dropout(0.5, seed=seed))
    first = masks(model)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    following = masks(model)
    np.testing.assert_array_equal(masks(copy), following)
    assert not np.array_equal(first, following)


def test_masks_go_on_after_loading_weights(tmp_path):
    model = model_with(Dropout(0.5, seed=7))
    masks(model)
    model.save_weights(tmp_path / "model.weights.h5")
    copy = model_with(Dropout(0.5, seed=7))
    copy.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(masks(copy), masks(model))


def test_stock_masks_do_not_go_on(tmp_path):
    # What the layer is there for: the day this fails, it can go.
    model = model_with(keras.layers.Dropout(0.5, seed=7))
    first = masks(model)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    found = masks(copy)
    np.testing.assert_array_equal(found, first)
    assert not np.array_equal(found, masks(model))


def test_resumed_training_equals_an_uninterrupted_one(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(8, 5)).astype("float32"), np.arange(8) % 3
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(6, activation="relu"),
            Dropout(0.5, seed=2),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(*data, **options)
    model.save(tmp_path / "model.keras")
    model.fit(*data, **options)
    copy = keras.saving.load_model(tmp_path / "model.keras")
    copy.fit(*data, **options)
    for expected, found in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_rate_zero_has_no_state_to_save(tmp_path):
    model = model_with(Dropout(0.0))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(masks(copy, 1)[0], X)


def test_config_holds_the_seed_that_was_chosen():
    layer = Dropout(0.2, name="drop")
    config = layer.get_config()
    assert 0 <= config["seed"] < 2**31
    copy = Dropout.from_config(config)
    assert copy.get_config() == config
    np.testing.assert_array_equal(masks(copy), masks(layer))


def test_a_draw_turns_it_into_the_stock_layer():
    layer = Dropout(0.2, seed=3, name="drop")
    assert layer.sample_noise(5).size == 0
    point = layer.point_layer()
    assert type(point) is keras.layers.Dropout
    assert (point.rate, point.name) == (0.2, "drop")
    assert layer.point_weights(layer.sample_noise(5)) == []


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_rate_out_of_range(rate):
    with pytest.raises(ValueError, match=f"`rate`.*between 0 and 1.*rate={rate}"):
        Dropout(rate)


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"`seed` must be an integer.*seed={seed}"):
        Dropout(0.5, seed=seed)
