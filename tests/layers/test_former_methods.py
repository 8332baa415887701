"""Layers that users wrote for the version before draw what they drew, and say so."""

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper.layers import NoiseKind, StochasticLayer
from tfhyper.layers.seeds import derive_seed


def former_scale():
    """Returns a class with the methods of the version before."""

    class Scale(StochasticLayer, keras.layers.Layer):
        """Multiplies by a number that a draw fixes."""

        def call(self, inputs):
            return inputs

        def sample_noise(self, seed):
            return np.random.default_rng(seed).standard_normal((1,), "float32")

        def fresh_noise(self, seed, count):
            return (seed, count)

        def point_layer(self):
            return keras.layers.Dense(1, use_bias=False)

        def point_weights(self, noise):
            return [np.reshape(noise, (1, 1))]

    return Scale


def test_a_former_layer_warns_once_and_draws_what_it_drew():
    with pytest.warns(DeprecationWarning) as found:
        scale = former_scale()
    assert [x.filename for x in found] == [__file__] * 2
    assert "Scale: `sample_noise` must take (seed, index" in str(found[0].message)
    assert "Scale: `fresh_noise` must take (seed, count" in str(found[1].message)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, scale(name="scale")(inputs))
    predictor = tfhyper.PosteriorPredictor(model, 3, seed=9, outputs="mean")
    generators = [np.random.default_rng(derive_seed(9, i, 0)) for i in range(3)]
    numbers = [x.standard_normal((1,), "float32") for x in generators]
    x = np.array([[1.0], [-2.0]], "float32")
    members = predictor.predict(x).members
    np.testing.assert_allclose(members.reshape(3, 2), np.outer(numbers, x), rtol=1e-5)
    assert scale().is_random
    assert scale().fresh_noise(1, 2, 3) == (1, 2)


def test_a_former_layer_that_draws_nothing_is_not_random():
    with pytest.warns(DeprecationWarning):

        class Nothing(StochasticLayer, keras.layers.Layer):
            def sample_noise(self, seed):
                return np.zeros((0,), "float32")

    assert not Nothing().is_random


def test_the_former_attribute_of_seeds_is_a_kind_of_noise():
    with pytest.warns(DeprecationWarning, match=r"tfhyper\.layers\.NoiseKind\.SEED"):

        class Seeded(StochasticLayer):
            noise_is_seed = True

    assert Seeded.noise_kind is NoiseKind.SEED


def test_layers_of_today_cause_no_warning(recwarn):
    class Today(StochasticLayer, keras.layers.Layer):
        def sample_noise(self, seed, index=0, ensemble_seed=0):
            return np.array([index])

    class Catching(StochasticLayer, keras.layers.Layer):
        def sample_noise(self, seed, *draw):
            return np.array(draw)

    assert not recwarn.list
    np.testing.assert_array_equal(Catching().sample_noise(1, 2, 3), [2, 3])
    assert Today().sample_noise(1, 2)[0] == 2
