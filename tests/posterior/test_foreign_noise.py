"""Layers that draw and are not known: drawn once a draw, or refused by name."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops

from tests.helpers.many_models import AlwaysOn, Sampling
from tfhyper import DeepEnsemble, PosteriorPredictor
from tfhyper.layers.fixed_noise import FixedNoise

X = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")


def network(*layers):
    keras.utils.set_random_seed(3)
    dense = L.Dense(8, activation="relu")
    return keras.Sequential([keras.Input((6,)), dense, *layers, L.Dense(3)])


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Inside(L.Layer):
    """A user's layer around others, one of which draws."""

    def __init__(self):
        super().__init__()
        self.first, self.drop = L.Dense(8), AlwaysOn(0.4)

    def build(self, shape):
        self.first.build(shape)

    def call(self, inputs):
        return self.drop(self.first(inputs))


class Scaling(L.Layer):
    """A user's layer that draws factors."""

    def __init__(self):
        super().__init__()
        self.generator = keras.random.SeedGenerator(2)

    def call(self, inputs):
        return inputs * keras.random.uniform(ops.shape(inputs), seed=self.generator)


DRAWN = {
    "always on": lambda: AlwaysOn(0.5),
    "sampling": Sampling,
    "inside": Inside,
    "scaling": Scaling,
}


@pytest.mark.parametrize("name", DRAWN)
def test_noise_is_the_draws_own_and_the_same_at_each_batch(name):
    model = network(DRAWN[name]())
    before = [np.array(x) for x in model.get_weights()]
    predictor = PosteriorPredictor(model, num_draws=4)
    assert predictor.num_draws == 4
    found = predictor.predict(X).members
    for one in range(4):
        for other in range(one):
            assert np.abs(found[one] - found[other]).max() > 1e-3
    np.testing.assert_array_equal(predictor.predict(X).members, found)
    split = predictor.predict(X, batch_size=7).members
    np.testing.assert_allclose(split, found, atol=1e-6)
    alone = predictor.predict(X[11:12]).members
    np.testing.assert_allclose(alone[:, 0], found[:, 11], atol=1e-6)
    again = PosteriorPredictor(model, num_draws=4).predict(X).members
    np.testing.assert_allclose(again, found, atol=1e-6)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_the_mean_over_draws_is_that_of_calls_of_the_model():
    model = network(AlwaysOn(0.5))
    calls = softmax(np.stack([model(X, training=False) for _ in range(400)]))
    found = PosteriorPredictor(model, num_draws=400).predict(X, keep_members=True)
    # Two means over 400 draws, each with a standard error of its own.
    errors = np.sqrt(2) * calls.std(0) / np.sqrt(400)
    assert (np.abs(found.mean - calls.mean(0)) < 5 * errors + 1e-3).all()
    np.testing.assert_allclose(found.members.std(0), calls.std(0), atol=0.08)


class FromNumPy(L.Layer):
    def call(self, inputs):
        return inputs + np.random.normal()


class FromKeras(L.Layer):
    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs))


@pytest.mark.parametrize("kind", [FromNumPy, FromKeras])
def test_noise_that_no_draw_can_fix_is_refused_by_name(kind):
    model = network(kind(name="noisy"))
    with pytest.raises(ValueError, match="Layer 'noisy'.*SeedGenerator"):
        PosteriorPredictor(model)
    with pytest.raises(ValueError, match="Layer 'noisy'.*SeedGenerator"):
        DeepEnsemble([model])


def test_layers_of_users_that_draw_nothing_in_prediction_are_as_they_are():
    class Quiet(L.Dropout):
        pass

    model = network(Quiet(0.5), L.GaussianNoise(0.3))
    predictor = PosteriorPredictor(model)
    assert predictor.num_draws == 1
    expected = softmax(model.predict(X, verbose=0))
    np.testing.assert_allclose(predictor.predict(X).mean, expected, atol=1e-6)


def test_augmentation_in_the_model_is_off_in_prediction():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            L.RandomFlip(),
            L.RandomTranslation(0.2, 0.2),
            L.Flatten(),
            L.Dense(3),
        ]
    )
    x = np.random.default_rng(0).normal(size=(9, 8, 8, 1)).astype("float32")
    expected = softmax(model.predict(x, verbose=0))
    found = PosteriorPredictor(model).predict(x).mean
    np.testing.assert_allclose(found, expected, atol=1e-6)


ATTENTION = {
    "multi_head": lambda: L.MultiHeadAttention(2, 3, dropout=0.4, seed=1),
    "grouped": lambda: L.GroupQueryAttention(3, 4, 2, dropout=0.4, seed=1),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_has_for_all_examples_the_mask_of_one(name):
    layer, rng = ATTENTION[name](), np.random.default_rng(0)
    # So many that oneDNN, where it is on, does what it does to large products.
    x = rng.normal(size=(128, 5, 4)).astype("float32")
    mask = rng.random((128, 5, 5)) > 0.2
    layer(x, x, attention_mask=mask)
    fixed = FixedNoise(layer, training=True)
    fixed.states.assign([[5, 9]])
    found = ops.convert_to_numpy(fixed(x, x, attention_mask=mask))
    for i in (0, 1, 127):
        one = slice(i, i + 1)
        expected = fixed(x[one], x[one], attention_mask=mask[one])
        expected = ops.convert_to_numpy(expected)
        np.testing.assert_allclose(found[one], expected, atol=2e-6)
    without = ops.convert_to_numpy(layer(x, x, attention_mask=mask))
    assert np.abs(found - without).max() > 0.1
    fixed.states.assign([[-1, -1]])
    off = ops.convert_to_numpy(fixed(x, x, attention_mask=mask))
    np.testing.assert_array_equal(off, without)


def test_products_within_a_layer_that_draws_are_right_for_many_examples():
    class Noisy(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.EinsumDense("abc,cde->abde", (None, 2, 3))
            self.noise = Sampling()

        def call(self, x):
            return ops.sum(self.noise(self.dense(x)), (2, 3))

    keras.utils.set_random_seed(1)
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, L.Dense(3)(Noisy()(inputs)))
    x = np.random.default_rng(0).normal(size=(128, 5, 4)).astype("float32")
    predictor = PosteriorPredictor(model, num_draws=2, outputs="logits")
    found = predictor.predict(x).members
    few = predictor.predict(x[:4]).members
    np.testing.assert_allclose(found[:, :4], few, atol=1e-6)
