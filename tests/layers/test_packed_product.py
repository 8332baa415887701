"""Packed gradients against the outer products that they stand for."""

import keras
import numpy as np
import pytest
from keras import ops

from tfhyper.layers.packed_product import is_packed, unpacked

RNG = np.random.default_rng(0)
# Of three codes: h, and dL/dw.
H, KERNEL = (RNG.normal(size=(3, n)).astype("float32") for n in (4, 6))
WEIGHTS = np.zeros((4, 6), "float32")


def packed(h, *kernel_gradients):
    """[c h, c, sum dL/dw] of c gradients with one code."""
    count = len(kernel_gradients)
    parts = [count * h, [count], np.sum(kernel_gradients, 0)]
    return ops.convert_to_tensor(np.concatenate(parts), "float32")


def whole(gradient):
    return keras.ops.convert_to_numpy(gradient)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_sum_with_one_code_is_the_sum_of_outer_products(count):
    found = whole(unpacked(packed(H[0], *KERNEL[:count]), 4))
    expected = sum(np.outer(H[0], kernel) for kernel in KERNEL[:count])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_rows_of_several_codes_are_summed():
    rows = ops.stack([packed(h, kernel) for h, kernel in zip(H, KERNEL, strict=True)])
    np.testing.assert_allclose(whole(unpacked(rows, 4)), H.T @ KERNEL, rtol=1e-5)


def test_the_short_form_takes_the_rest_of_the_mean_kernel():
    short = ops.convert_to_tensor([*(2 * H[0]), 2.0], "float32")
    mean = ops.convert_to_tensor(KERNEL[1].reshape(2, 3))
    found = whole(unpacked(short, 4, mean))
    np.testing.assert_allclose(found, np.outer(H[0], KERNEL[1]), rtol=1e-5)


def test_packed_gradients_are_told_from_ordinary_ones():
    rows = ops.stack([packed(h, kernel) for h, kernel in zip(H, KERNEL, strict=True)])
    assert is_packed(packed(H[0], KERNEL[0]), WEIGHTS) and is_packed(rows, WEIGHTS)
    assert is_packed(H[0], WEIGHTS) and not is_packed(ops.zeros((4, 6)), WEIGHTS)


def test_a_gradient_of_unknown_size_is_an_ordinary_one():
    """That of a dense layer on maps, in a graph whose batches have no fixed size."""
    import types

    def shaped(*shape):
        return types.SimpleNamespace(shape=shape)

    assert not is_packed(shaped(None, 4), shaped(2, 4))
    assert is_packed(shaped(None, 9), shaped(2, 4))
    assert is_packed(shaped(None), shaped(2, 4))
