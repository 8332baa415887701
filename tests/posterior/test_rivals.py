"""Defects that other Bayesian libraries shipped, one test for each."""

import keras
import numpy as np
import pytest

from tfhyper import layers
from tfhyper.posterior import Draw, PosteriorPredictor
from tfhyper.posterior.running.weight_cache import BoundNetwork

BN = keras.layers.BatchNormalization
numpy = keras.ops.convert_to_numpy
SHAPES = {"dense": (6,), "1d": (6, 2), "2d": (5, 4, 2), "3d": (4, 3, 2, 2)}
HYPER = {
    "dense": lambda **k: layers.HyperDense(3, **k),
    "1d": lambda **k: layers.HyperConv1D(3, 2, **k),
    "2d": lambda **k: layers.HyperConv2D(3, 2, **k),
    "2d_transpose": lambda **k: layers.HyperConv2DTranspose(3, 2, **k),
    "3d": lambda **k: layers.HyperConv3D(3, 2, **k),
}


def data(kind="dense", size=20, seed=0):
    shape = SHAPES[kind.removesuffix("_transpose")]
    rng = np.random.default_rng(seed)
    return rng.normal(1.0, 2.0, (size, *shape)).astype("float32")


def network(kind="dense", momentum=0.99):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPES[kind.removesuffix("_transpose")])
    x = HYPER[kind](hidden_units=16, seed=2, name="hyper")(inputs)
    x = keras.layers.Flatten()(BN(name="norm", momentum=momentum)(x))
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))


def calibrated(model, num_draws=3, kind="dense", **options):
    predictor = PosteriorPredictor(model, num_draws=num_draws, **options)
    return predictor.calibrate(data(kind), verbose=0)


def test_all_draws_of_one_batch_are_the_same_network():
    model, x = network(), data()
    members = calibrated(model).predict(x).members
    assert np.ptp(members, axis=0).max() > 1e-2  # epistemic part is not 0
    assert calibrated(model).predict(x).epistemic.min() > 1e-6


def test_draws_change_between_batches():
    predictor, x = calibrated(network()), data()
    same = np.repeat(x[:1], 20, axis=0)
    for member in predictor.predict(same, batch_size=3).members:
        np.testing.assert_allclose(member, member[[0] * 20], atol=1e-6)


def test_samples_are_one_dict_many_times():
    predictor = PosteriorPredictor(network(), num_draws=4)
    draws = predictor.draws
    assert len({id(draw) for draw in draws}) == 4
    assert len({id(draw.noise) for draw in draws}) == 4
    assert len({id(draw.moments) for draw in draws}) == 4
    assert len({draw.noise["hyper"].tobytes() for draw in draws}) == 4
    draws[0].noise["hyper"] = np.zeros_like(draws[0].noise["hyper"])
    assert all(np.abs(draw.noise["hyper"]).max() > 0 for draw in draws[1:])
    assert Draw().noise is not Draw().noise


def test_two_wrapped_models_share_state():
    one, two = network(), network()
    x = data()
    first = calibrated(one)
    before = first.predict(x).members
    second = PosteriorPredictor(two, num_draws=3)
    assert not any(draw.moments for draw in second.draws)
    second.calibrate(data(seed=1) * 5.0, verbose=0)
    two.set_weights([0 * w for w in two.get_weights()])
    np.testing.assert_array_equal(first.predict(x).members, before)


def test_batch_norm_statistics_use_the_unbiased_variance():
    # One step of training with momentum 0 shows the variance that Keras uses.
    model, x = network(momentum=0.0), data(size=4)
    predictor = PosteriorPredictor(model, num_draws=1).calibrate(x, verbose=0)
    kernel = predictor.materialize(0).get_layer("hyper").get_weights()[0]
    plain = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(3), BN(momentum=0.0)]
    )
    plain.layers[0].set_weights([kernel, np.zeros(3)])
    plain(x, training=True)
    mean, variance = predictor.draws[0].moments["norm"]
    np.testing.assert_allclose(numpy(plain.layers[1].moving_mean), mean, atol=1e-5)
    trained = numpy(plain.layers[1].moving_variance)
    np.testing.assert_allclose(trained, variance, rtol=1e-5)
    unbiased = variance * 4 / 3
    assert not np.allclose(unbiased, trained, rtol=0.1)


@pytest.mark.parametrize("kind", sorted(HYPER))
def test_only_two_dimensional_batch_norm_is_treated(kind):
    predictor = calibrated(network(kind), kind=kind)
    for draw in predictor.draws:
        mean, variance = draw.moments["norm"]
        assert mean.shape == variance.shape == (3,)
        assert np.abs(mean).max() > 1e-4 and np.abs(variance - 1).max() > 1e-4


def test_running_statistics_of_the_model_are_thrown_away():
    model = network()
    model(data(), training=True)
    before = model.get_weights()
    calibrated(model).predict(data())
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_statistics_are_fixed_for_all_draws_by_the_first_fit():
    predictor = calibrated(network())
    first = [draw.moments["norm"][0] for draw in predictor.draws]
    assert np.abs(first[0] - first[1]).max() > 1e-3
    predictor.calibrate(data(seed=3) * 4.0, verbose=0)
    for old, draw in zip(first, predictor.draws, strict=True):
        assert np.abs(draw.moments["norm"][0] - old).max() > 1e-3


@pytest.mark.parametrize("kind", sorted(HYPER))
def test_layers_do_not_survive_a_keras_file(kind, tmp_path):
    model, x = network(kind), data(kind)
    model(x)
    model.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras")
    assert loaded.get_layer("hyper").get_config() == (
        model.get_layer("hyper").get_config()
    )
    expected = numpy(model(x))
    np.testing.assert_array_equal(numpy(loaded(x)), expected)
    assert np.abs(numpy(model(x)) - expected).max() > 1e-4  # the next draw
    one, two = calibrated(model, kind=kind), calibrated(loaded, kind=kind)
    np.testing.assert_array_equal(one.predict(x).members, two.predict(x).members)


def test_the_batch_size_of_predict_is_ignored(monkeypatch):
    predictor, sizes = calibrated(network(), num_draws=2), []
    predict = BoundNetwork.__call__

    def counted(run, x, first):
        sizes.append(len(x))
        return predict(run, x, first)

    monkeypatch.setattr(BoundNetwork, "__call__", counted)
    predictor.predict(data(size=11), batch_size=4)
    assert sizes == [4, 4, 3] * 2


def test_prediction_mixes_in_the_statistics_of_the_test_batch():
    predictor, x = calibrated(network()), data()
    alone = predictor.predict(x[:1]).members
    among = predictor.predict(np.concatenate([x[:1], 100 * x[1:]])).members[:, :1]
    np.testing.assert_allclose(among, alone, atol=1e-6)


def test_dropout_in_the_model_stays_on_in_prediction():
    inputs = keras.Input((6,))
    x = keras.layers.Dropout(0.5)(layers.HyperDense(8, seed=0)(inputs))
    x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, keras.layers.Dense(4)(x))
    predictor = PosteriorPredictor(model, num_draws=2)
    first = predictor.predict(data()).members
    np.testing.assert_array_equal(predictor.predict(data()).members, first)


def test_uncertainty_is_the_same_far_from_the_data():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    options = {"mean_kernel": True, "deviation_scale": 0.5}
    x = layers.HyperDense(16, activation="relu", seed=1, **options)(inputs)
    model = keras.Model(inputs, layers.HyperDense(4, seed=2, **options)(x))
    predictor = PosteriorPredictor(model, num_draws=8)
    x = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    near, far = (predictor.predict(scale * x).epistemic for scale in (0.3, 5.0))
    assert far.mean() > 2 * near.mean() > 0


def test_mixed_precision_fails():
    inputs = keras.Input((6,))
    x = layers.HyperDense(8, seed=0, dtype="mixed_float16")(inputs)
    x = BN(dtype="mixed_float16")(x)
    model = keras.Model(inputs, keras.layers.Dense(4)(x))
    prediction = calibrated(model).predict(data())
    assert np.isfinite(prediction.mean).all() and prediction.epistemic.max() > 1e-6


def test_a_draw_is_tied_to_the_global_seed():
    model, x = network(), data()
    keras.utils.set_random_seed(1)
    first = calibrated(model).predict(x).members
    keras.utils.set_random_seed(2)
    np.testing.assert_array_equal(calibrated(model).predict(x).members, first)


def test_mean_entropy_is_reported_as_the_entropy_of_the_mean():
    prediction = calibrated(network()).predict(data())
    assert np.all(prediction.total > prediction.aleatoric)
    members = prediction.members.astype(np.float64)
    entropies = -(members * np.log(members)).sum(-1)
    np.testing.assert_allclose(prediction.aleatoric, entropies.mean(0), rtol=1e-6)
