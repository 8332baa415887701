"""RealNVP flows: the formulas, the density, and TFP's bijectors."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.layers import BACKEND, normal, to_numpy
from tfhyper.layers.priors import probability_library
from tfhyper.layers.real_nvp_flow import RealNVPFlow

SHAPES = [(1, 4, 3), (2, 2, 1), (5, 1, 4), (5, 2, 3), (6, 5, 2), (3, 0, 2)]
needs_tfp = pytest.mark.skipif(
    probability_library() is None, reason="no TFP for this backend"
)


def make_flow(units, num_couplings, hidden_units):
    """Returns a flow in float64 whose weights are far from the identity's."""
    layer = keras.layers.Layer(dtype="float64")
    flow = RealNVPFlow(layer, "flow", units, num_couplings, hidden_units)
    for i, weight in enumerate(layer.weights):
        weight.assign(0.7 * normal(*weight.shape, seed=i))
    return flow, layer


def numpy_forward(flow, z):
    log_det = np.zeros(z.shape[:-1])
    half = z.shape[-1] // 2
    z = z.copy()
    for i, weights in enumerate(flow.couplings):
        hidden, hidden_bias, output, output_bias = map(to_numpy, weights)
        first, last = slice(half), slice(half, None)
        kept, changed = (first, last) if i % 2 == 0 else (last, first)
        raw = np.tanh(z[..., kept] @ hidden + hidden_bias) @ output + output_bias
        shift, log_scale = np.split(raw, 2, axis=-1)
        log_scale = np.tanh(log_scale)
        z[..., changed] = z[..., changed] * np.exp(log_scale) + shift
        log_det += log_scale.sum(axis=-1)
    return z, log_det


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_is_that_of_the_formulas(shape):
    flow, _ = make_flow(*shape)
    z = normal(3, 2, shape[0], dtype="float64")
    found = flow.forward(ops.convert_to_tensor(z))
    for value, expected in zip(found, numpy_forward(flow, z), strict=True):
        assert to_numpy(value).shape == expected.shape
        np.testing.assert_allclose(to_numpy(value), expected, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_log_det_is_that_of_the_numerical_jacobian(shape):
    flow, _ = make_flow(*shape)
    z, step = normal(4, shape[0], dtype="float64"), 1e-4
    steps = step * np.eye(shape[0])
    ahead, behind = (
        to_numpy(flow.forward(ops.convert_to_tensor(z[:, None] + sign * steps))[0])
        for sign in (1, -1)
    )
    # Row i of a Jacobian: by component i of z.
    jacobians = (ahead - behind).astype("float64") / (2 * step)
    expected = np.linalg.slogdet(jacobians)[1]
    found = to_numpy(flow.forward(ops.convert_to_tensor(z))[1])
    # JAX and some operations of Torch work in float32.
    tolerance = 1e-6 if BACKEND == "tensorflow" else 2e-2
    np.testing.assert_allclose(found, expected, atol=tolerance)


@needs_tfp
@pytest.mark.parametrize("shape", SHAPES)
def test_density_is_that_of_tfp(shape):
    tfd = probability_library().distributions
    flow, layer = make_flow(*shape)
    z = ops.cast(normal(7, shape[0]), layer.dtype)
    base = tfd.MultivariateNormalDiag(ops.zeros_like(z[0]), ops.ones_like(z[0]))
    x, log_det = flow.forward(z)
    # By the inverse, of numbers it has not seen.
    density = tfd.TransformedDistribution(base, flow.bijector())
    expected = to_numpy(density.log_prob(ops.convert_to_tensor(to_numpy(x).copy())))
    squares = np.square(to_numpy(z)).sum(-1)
    base = -0.5 * (squares + shape[0] * np.log(2 * np.pi))
    np.testing.assert_allclose(base - to_numpy(log_det), expected, atol=1e-5, rtol=1e-5)


def test_flow_starts_near_the_identity_and_keeps_zero():
    layer = keras.layers.Layer()
    flow = RealNVPFlow(layer, "flow", 6)
    assert len(layer.trainable_weights) == 4 * 4
    z = normal(20, 6)
    x, log_det = flow.forward(ops.convert_to_tensor(z))
    np.testing.assert_allclose(to_numpy(x), z, atol=0.5)
    assert 0 < np.abs(to_numpy(x) - z).max()
    assert 0 < np.abs(to_numpy(log_det)).max() < 0.5
    x, _ = flow.forward(ops.zeros((1, 6)))
    np.testing.assert_array_equal(to_numpy(x), 0)


@pytest.mark.parametrize("num_couplings", [1, 2, 4])
def test_from_two_couplings_on_every_component_changes(num_couplings):
    flow, layer = make_flow(5, num_couplings, 3)
    z = normal(1, 5)
    moved = to_numpy(flow.forward(ops.cast(z, layer.dtype))[0]) != z
    assert moved.all() == (num_couplings >= 2)
    assert moved[0, 2:].all()


@pytest.mark.parametrize(
    "name, value", [("units", 0), ("num_couplings", -1), ("hidden_units", 1.5)]
)
def test_bad_arguments(name, value):
    options = {"units": 3, "num_couplings": 2, "hidden_units": 4, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be .*{name}={value}"):
        RealNVPFlow(keras.layers.Layer(), "flow", **options)
