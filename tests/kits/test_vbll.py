"""The kit of variational Bayesian last layers."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.layers import to_numpy
from tfhyper import PosteriorPredictor, convert, kits, layers, models, training

SIZE = 5
X = np.random.default_rng(0).normal(size=(24, SIZE)).astype("float32")


def trained(head=None):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE,))
    x = keras.layers.Dense(8, activation="relu", name="hidden")(inputs)
    x = keras.layers.Embedding(4, 2)(ops.cast(x > 0, "int32")) if head else x
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


def test_the_last_layer_alone_is_another():
    options = {"covariance": "low_rank", "rank": 2, "prior_scale": 0.5}
    kit = kits.vbll(50, noise_dof=2.0, **options)
    model = models.lenet5(kit=kit, width_multiplier=0.5)
    plain = models.lenet5(width_multiplier=0.5)
    different = {
        layer.name
        for layer in plain.layers
        if type(model.get_layer(layer.name)) is not type(layer)
    }
    assert different == {"logits"}
    head = model.get_layer("logits")
    assert type(head) is layers.VBLLDense and head.kl_weight == 1 / 50
    config = head.get_config()
    assert {name: config[name] for name in options} == options
    assert head.noise_dof == 2.0


def test_the_divergence_is_divided_by_the_number_of_examples_once():
    kit = kits.vbll(40, noise_scale=0.3)
    model = convert(trained(), kit)
    (loss,) = model.losses
    kl = float(to_numpy(training.kl_divergence(model)))
    assert float(to_numpy(loss)) == pytest.approx(kl / 40, rel=1e-6)


def test_a_trained_network_predicts_the_same_at_the_mean():
    model = trained()
    copy = convert(model, kits.vbll(40, noise_scale=0.0))
    predictor = PosteriorPredictor(copy, outputs="logits", deterministic=True)
    expected = to_numpy(ops.softmax(model(X)))
    np.testing.assert_allclose(predictor.predict(X).mean, expected, atol=1e-5)
    # Other layers are left as they are, whatever they are.
    assert (
        type(convert(trained(head=True), kits.vbll(40)).layers[-1]) is layers.VBLLDense
    )


def test_it_learns():
    model = convert(trained(), kits.vbll(24))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(0.05), loss, metrics=["accuracy"], jit_compile=False
    )
    history = model.fit(X, y, epochs=40, batch_size=24, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > 0.8
    prediction = PosteriorPredictor(model, 8).predict(X)
    assert (prediction.epistemic > 0).all()
    schedule = training.KLSchedule(0.0)
    model.fit(X, y, callbacks=[schedule], verbose=0)
    head = model.get_layer("logits")
    assert float(to_numpy(head.weighted_kl())) == 0


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((), {}, "`num_examples` must be given"),
        ((0,), {}, "`num_examples` must be a positive integer.*=0"),
        ((5,), {"covariance": "shared"}, "`covariance` must be one of.*'shared'"),
        ((5,), {"rank": 0}, "`rank` must be a positive integer.*=0"),
        ((5,), {"prior_scale": 0}, "`prior_scale` must be a finite number > 0"),
        ((5,), {"seed": 1.5}, "`seed` must be"),
    ],
)
def test_errors_name_argument_rule_and_value(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        kits.vbll(*arguments, **options)
