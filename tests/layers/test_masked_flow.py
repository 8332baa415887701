"""The masked RealNVP flow against its equations and a numerical Jacobian."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers import mnf
from tests.helpers.bayes import weights_of
from tests.helpers.layers import to_numpy
from tfhyper.layers.masked_flow import MaskedFlow

SIZE, STEPS = 5, 3


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    layer = keras.layers.Layer(dtype="float64")
    flow = MaskedFlow(layer, "flow", SIZE, STEPS, hidden_units=4)
    mnf.randomise(layer)
    return layer, flow


def noise(size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, SIZE)), rng.integers(0, 2, (STEPS, size, SIZE)) * 1.0


def run(flow, z, masks):
    return [to_numpy(x) for x in flow.forward(ops.array(z), ops.array(masks))]


def test_values_are_those_of_the_equations(flow):
    layer, flow = flow
    z, masks = noise(7)
    found = run(flow, z, masks)
    expected = mnf.flow(weights_of(layer), "flow", z, masks)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_log_determinant_is_that_of_the_numerical_jacobian(flow, seed):
    z, masks = noise(1, seed)
    step = 1e-3
    # 2 SIZE points around z, all with the masks of z.
    around = z + step * np.concatenate([np.eye(SIZE), -np.eye(SIZE)])
    masks = np.repeat(masks, 2 * SIZE, axis=1)
    outputs, log_det = run(flow[1], around, masks)
    jacobian = (outputs[:SIZE] - outputs[SIZE:]) / (2 * step)
    expected = np.linalg.slogdet(jacobian)[1]
    assert expected < -0.1
    # Central differences in float32 where a backend has nothing wider.
    assert log_det.mean() == pytest.approx(expected, abs=5e-3)


def test_what_a_mask_keeps_stays(flow):
    z, masks = noise(4)
    masks[:] = masks[0]
    found, _ = run(flow[1], z, masks)
    kept = masks[0] > 0
    np.testing.assert_allclose(found[kept], z[kept], rtol=1e-6)
    assert np.abs(found - z)[~kept].min() > 1e-6
    found, log_det = run(flow[1], z, np.ones_like(masks))
    np.testing.assert_allclose(found, z, rtol=1e-6)
    assert not log_det.any()


def test_no_steps_are_the_identity():
    flow = MaskedFlow(
        keras.layers.Layer(), "flow", SIZE, num_couplings=0, hidden_units=4
    )
    z = ops.ones((2, SIZE))
    found, log_det = flow.forward(z, ops.zeros((0, 2, SIZE)))
    np.testing.assert_array_equal(to_numpy(found), 1.0)
    np.testing.assert_array_equal(to_numpy(log_det), [0.0, 0.0])


def test_gates_of_any_size_have_finite_logarithms():
    layer = keras.layers.Layer()
    flow = MaskedFlow(layer, "flow", SIZE, num_couplings=1, hidden_units=4)
    for bias in (-200.0, 200.0):
        for variable in layer.trainable_weights:
            if variable.name == "flow_0_gate_bias":
                variable.assign(np.full(SIZE, bias))
        found, log_det = flow.forward(ops.ones((1, SIZE)), ops.zeros((1, 1, SIZE)))
        assert np.isfinite(to_numpy(found)).all()
        # No hidden units speak for a mask of zeros: the gate is that of the bias.
        np.testing.assert_allclose(to_numpy(log_det), SIZE * min(bias, 0), atol=1e-4)


def test_set_center_keeps_the_mean():
    layer = keras.layers.Layer()
    flow = MaskedFlow(layer, "flow", SIZE, num_couplings=2, hidden_units=4)
    mnf.randomise(layer)
    flow.set_center(1.0)
    z, masks = (x.astype("float32") for x in noise(1))
    # Opposite deviations from 1 stay opposite.
    up, down = (run(flow, x, masks[:2])[0] for x in (1 + z, 1 - z))
    np.testing.assert_allclose(up + down, 2.0, rtol=1e-5)
