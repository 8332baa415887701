"""Draws as named arrays, and as the key to one network only."""

import keras
import numpy as np
import pytest

from tfhyper import layers
from tfhyper.posterior import Draw, PointNetwork, PosteriorPredictor
from tfhyper.posterior.networks.draws import from_arrays, to_arrays


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert set(one.noise) == set(other.noise)
        assert set(one.moments) == set(other.moments)
        for name in other.noise:
            np.testing.assert_array_equal(one.noise[name], other.noise[name])
        for name in other.moments:
            np.testing.assert_array_equal(one.moments[name], other.moments[name])


def make_draw(seed):
    rng = np.random.default_rng(seed)
    return Draw(
        noise={"code": rng.normal(size=(1, 4)), "a/b/noise/c": rng.normal(size=2)},
        moments={
            "norm": (rng.normal(size=3), rng.uniform(size=3)),
            "mean/norm/0": (rng.normal(size=2), rng.uniform(size=2)),
        },
    )


def network(name="code", units=4):
    x = keras.Input((5,))
    code = layers.LatentCode(units, seed=0, name=name)(x)
    outputs = layers.HyperDense(3, hidden_units=8, name="dense")(x, code)
    return keras.Model(x, outputs)


def test_arrays_and_back():
    draws = [make_draw(i) for i in range(12)]
    assert_same(from_arrays(to_arrays(draws), 12), draws)


def test_arrays_through_a_file(tmp_path):
    draws = [make_draw(i) for i in range(3)]
    np.savez(tmp_path / "draws.npz", **to_arrays(draws))
    with np.load(tmp_path / "draws.npz", allow_pickle=False) as file:
        assert_same(from_arrays(dict(file), 3), draws)


def test_draws_of_a_plain_network_are_empty():
    draws = from_arrays(to_arrays([Draw(), Draw()]), 2)
    assert [draw.noise | draw.moments for draw in draws] == [{}, {}]
    assert draws[0].noise is not draws[1].noise


@pytest.mark.parametrize("noise", [{}, {"other": np.zeros((1, 4))}])
def test_a_draw_for_another_network_is_refused(noise):
    point = PointNetwork(network())
    with pytest.raises(ValueError, match=r"another network.*draws \['code'\]"):
        point.set(Draw(noise))


def test_moments_for_another_network_are_refused():
    draw = PointNetwork(network()).sample(0, 0)
    draw.moments["elsewhere"] = (np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="another network.*elsewhere"):
        PointNetwork(network()).set(draw)


def test_a_draw_goes_to_an_equal_network():
    model = network()
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    predictor = PosteriorPredictor(model, num_draws=1)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    logits = PosteriorPredictor(twin, seed=9).materialize(predictor.draws[0])(x)
    logits = keras.ops.convert_to_numpy(logits)
    expected = keras.ops.convert_to_numpy(predictor.materialize(0)(x))
    np.testing.assert_array_equal(logits, expected)
    assert logits.std() > 0
