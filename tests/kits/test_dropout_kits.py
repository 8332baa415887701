"""Kits of dropout: of whole channels, of learned rates, and what they leave alone."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops

import tfhyper
from tests.helpers.kits import make_kit
from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor, kits, models
from tfhyper.layers import ConcreteDropout, MCDropout, variational_layers

SHAPE = (8, 8, 3)


def network(kit, **options):
    return models.wide_resnet(10, 1, input_shape=SHAPE, kit=kit, **options)


def dropouts_of(model):
    return {x.name: x for x in model.layers if isinstance(x, MCDropout)}


# Whole channels.


def channels_alone():
    """A layer that gives each channel of its inputs."""
    return L.DepthwiseConv1D(1, use_bias=False, depthwise_initializer="ones")


def test_channels_are_dropped_as_a_whole():
    kit = kits.mc_dropout(0.5, unit="filter")
    for name, layer in dropouts_of(network(kit, dropout=0.3)).items():
        of_vectors = name == "logits_mc_dropout"
        expected = (None, None) if of_vectors else (None, 1, 1, None)
        assert layer.noise_shape == expected
    conv = channels_alone()
    y = to_numpy(kit.replace(conv, "conv")(np.ones((20, 7, 5), "float32")))
    assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    rows = y[:, 0]
    assert np.ptp(rows, axis=0).min() > 0 and len(np.unique(rows, axis=0)) > 10


def test_channels_that_come_first_are_channels():
    kit = kits.mc_dropout(0.5, unit="filter")
    inputs = keras.Input((4, 6, 6))
    x = L.Conv2D(4, 3, data_format="channels_first", name="a")(inputs)
    conv = L.Conv2D(4, 3, data_format="channels_first", name="b")
    model = keras.Model(inputs, kit.replace(conv, "b")(x))
    (layer,) = dropouts_of(model).values()
    assert layer.noise_shape == (None, None, 1, 1)


def test_a_shared_layer_has_one_mask_of_channels():
    inputs = keras.Input((6, 4))
    drop, conv = L.Dropout(0.5), L.Conv1D(4, 1)
    x = conv(drop(conv(drop(inputs))))
    model = tfhyper.convert(keras.Model(inputs, x), kits.mc_dropout(unit="filter"))
    (layer,) = dropouts_of(model).values()
    assert layer.noise_shape == (None, 1, None) and layer.rate == 0.5
    own = keras.Model(inputs, L.Dropout(0.5, noise_shape=(None, 6, 1))(inputs))
    model = tfhyper.convert(own, kits.mc_dropout(unit="filter"))
    (layer,) = dropouts_of(model).values()
    assert layer.noise_shape == (None, 6, 1)


def test_draws_of_channels_have_the_moments_of_the_mask():
    # Logits of a linear network: variance sum over channels of (x w)^2 p / (1 - p).
    keras.utils.set_random_seed(0)
    first = channels_alone()
    plain = keras.Sequential([keras.Input((5, 8)), first, L.Conv1D(1, 5)])
    kit = kits.mc_dropout(0.4, unit="filter", seed=1)
    model = tfhyper.convert(plain, kit)
    x = normal(3, 5, 8)
    predictor = PosteriorPredictor(model, 300, outputs="mean", seed=2)
    members = predictor.predict(x).members.reshape(300, 3)
    kernel = to_numpy(plain.layers[1].kernel)[..., 0]
    parts = np.einsum("btc,tc->bc", x, kernel)
    variance = np.sum(np.square(parts), axis=1) * 0.4 / 0.6
    scores = (members.mean(0) - parts.sum(1)) / np.sqrt(variance / 300)
    assert np.abs(scores).max() < 4
    # Standard error of a variance of 300 draws: sqrt(2 / 300) = 0.08.
    np.testing.assert_allclose(members.var(0), variance, rtol=0.35)


# Learned rates.


def test_concrete_dropout_is_in_every_layer_but_the_stem():
    model = network(kits.concrete_dropout(1000, initial_rate=0.2), dropout=0.3)
    drawn = {x.name: x for x in model.layers if isinstance(x, ConcreteDropout)}
    assert "stem" not in drawn and "logits" in drawn and len(drawn) == 9
    assert type(model.get_layer("stem")) is L.Conv2D
    for layer in drawn.values():
        assert float(layer.rate) == pytest.approx(0.2)
        assert layer.kl_weight == 1 / 1000
    assert len({x.seed for x in drawn.values()}) == len(drawn)
    # The network's own dropout gives way.
    assert type(model.get_layer("stage1_block1_dropout")) is L.Identity
    assert len(variational_layers(model)) == len(model.losses) == 9


def test_concrete_dropout_learns_by_the_schedule_of_the_kl():
    keras.utils.set_random_seed(0)
    model = network(kits.concrete_dropout(16, seed=1), num_classes=3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, run_eagerly=True)
    warmup = tfhyper.training.LinearKLWarmup(epochs=2)
    data = normal(16, *SHAPE), np.arange(16) % 3
    model.fit(*data, batch_size=8, epochs=2, verbose=0, callbacks=[warmup])
    rates = [float(x.rate) for x in variational_layers(model)]
    assert np.isfinite(rates).all() and np.ptp(rates) > 0
    assert float(variational_layers(model)[0].kl_factor) == 1


def test_conversion_keeps_weights_and_drops_regularizers():
    keras.utils.set_random_seed(0)
    plain = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(3, 2, kernel_regularizer="l2", name="stem"),
            L.DepthwiseConv2D(2, depthwise_regularizer="l2"),
            L.SeparableConv2D(4, 2),
            L.SpatialDropout2D(0.3),
            L.Flatten(),
            L.Dense(3, kernel_regularizer="l2", bias_regularizer="l2"),
        ]
    )
    x = normal(4, 6, 6, 2)
    model = tfhyper.convert(plain, kits.concrete_dropout(10))
    drawn = [x for x in model.layers if isinstance(x, ConcreteDropout)]
    assert [type(x.layer) for x in drawn] == [
        L.DepthwiseConv2D,
        L.SeparableConv2D,
        L.Dense,
    ]
    # Those of the stem and of a bias stay, beside three divergences.
    assert len(model.losses) == 5
    found = PosteriorPredictor(model, deterministic=True).predict(x).mean
    np.testing.assert_allclose(found, to_numpy(ops.softmax(plain(x))), atol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: kits.mc_dropout(unit="channel"),
            "`unit` must be one of.*unit='channel'",
        ),
        (lambda: kits.mc_dropout(1.0, unit="filter"), "`rate` must be in 0 <= rate"),
        (kits.concrete_dropout, r"kits.concrete_dropout\(num_examples=len"),
        (lambda: kits.concrete_dropout(0), "`num_examples` must be a positive"),
        (lambda: kits.concrete_dropout(9, initial_rate=1), "`initial_rate` must be"),
        (lambda: kits.concrete_dropout(9, temperature=-1), "`temperature` must be"),
        (lambda: kits.concrete_dropout(9, prior_scale=0), "`prior_scale` must be"),
        (lambda: kits.concrete_dropout(9, seed="a"), "`seed` must be an integer"),
    ],
    ids=list("abcdefgh"),
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kit", ["concrete_dropout", "drop_connect"])
def test_features_of_the_classifier_are_found_inside(kit):
    keras.utils.set_random_seed(0)
    plain = keras.Sequential(
        [keras.Input((6,)), L.Dense(5, activation="relu"), L.Dense(3, name="logits")]
    )
    model = tfhyper.convert(plain, make_kit(kit, seed=1))
    x = normal(30, 6)
    predictor = PosteriorPredictor(model, 2)
    scorer = tfhyper.detection.Mahalanobis(num_draws=2)
    scores = scorer.fit(predictor, x, np.arange(30) % 3).score(x[:4])
    assert scores.shape == (4,) and np.isfinite(scores).all()
    if kit == "concrete_dropout":
        # Its features are those before the mask: no logits are made of them.
        with pytest.raises(ValueError, match="whose last Dense layer gives something"):
            tfhyper.detection.ViM(num_draws=2).fit(predictor, x, np.arange(30) % 3)
