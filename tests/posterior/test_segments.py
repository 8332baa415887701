"""Where the paths through a network meet."""

import keras
import pytest

from tfhyper.layers import HyperDense, LatentCode
from tfhyper.posterior.networks.segments import Calls


def dense(name):
    return keras.layers.Dense(3, name=name)


def chain(x):
    x = dense("a")(x)
    return HyperDense(3, name="b")(x)


def block(x):
    """A residual block, a ReLU that belongs to it, a layer of its own."""
    y = HyperDense(3, name="a")(x)
    x = keras.layers.Add()([x, y])
    x = keras.layers.ReLU()(x)
    return dense("b")(x)


def shared_code(x):
    """One code for two blocks does not make them one."""
    code = LatentCode(4)(x)
    for name in ("a", "b"):
        y = HyperDense(3, code_units=4, name=name)(x, code)
        x = keras.layers.Add()([x, y])
    return x


def long_skip(x):
    y = dense("a")(x)
    z = HyperDense(3, name="b")(y)
    z = keras.layers.Add()([y, z])
    z = dense("c")(z)
    return keras.layers.Add()([x, z])


def two_ends(x):
    x = HyperDense(3, name="a")(x)
    return [dense("b")(x), dense("c")(x)]


# (branches, draws, number of the call that ends it)
@pytest.mark.parametrize(
    "build, expected",
    [
        (chain, [(False, False, 0), (False, True, 1)]),
        (block, [(True, True, 2), (False, False, 2), (False, False, 3)]),
        (shared_code, [(True, True, 2), (True, True, 4)]),
        (long_skip, [(True, True, 4)]),
        (two_ends, [(False, True, 0), (True, False, None)]),
    ],
)
def test_segments(build, expected):
    inputs = keras.Input((3,))
    calls = Calls(keras.Model(inputs, build(inputs)))
    assert list(calls.segments()) == expected


def test_weights_that_are_drawn():
    inputs = keras.Input((3,))
    # Kernel and bias; the layers that are not drawn do not count.
    assert Calls(keras.Model(inputs, block(inputs))).drawn_weights == 12
