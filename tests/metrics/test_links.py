"""The normalised softplus against its formula and its limits."""

import numpy as np
import pytest
from scipy.special import softmax

from tfhyper import metrics

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_formula(dtype):
    logits = (RNG.normal(size=(3, 50, 4)) * 8).astype(dtype)
    softplus = np.log1p(np.exp(logits.astype(np.float64)))
    expected = softplus / softplus.sum(axis=-1, keepdims=True)
    found = metrics.normalized_softplus(logits)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_large_logits_count_by_themselves():
    logits = [[3000.0, 1000.0], [1e308 / 2, 1e308 / 2], [5000.0, -5000.0]]
    expected = [[0.75, 0.25], [0.5, 0.5], [1.0, 0.0]]
    np.testing.assert_allclose(metrics.normalized_softplus(logits), expected)


@pytest.mark.parametrize("shift", [-50, -700, -1e4])
def test_is_the_softmax_far_below_zero(shift):
    logits = RNG.normal(size=(20, 5)) + shift
    np.testing.assert_allclose(metrics.normalized_softplus(logits), softmax(logits, -1))


def test_is_smooth_where_the_logarithm_becomes_linear():
    # Around -40 softplus(l) = exp(l) to rounding: beside a constant, p is so too.
    logits = np.linspace(-41, -39, 201)
    found = metrics.normalized_softplus(np.stack([logits, 0 * logits], axis=-1))
    np.testing.assert_allclose(found[:, 0], np.exp(logits) / np.log(2), rtol=1e-12)


@pytest.mark.parametrize(
    "logits, message",
    [
        (3.0, r"`logits` must have the axes \(..., classes\).*\(\)"),
        (np.zeros((2, 0)), r"`logits` must have the axes.*\(2, 0\)"),
        ([[np.nan, 1.0]], "`logits` must be finite"),
        ([[-np.inf, 1.0]], "`logits` must be finite"),
    ],
)
def test_bad_logits_are_named(logits, message):
    with pytest.raises(ValueError, match=message):
        metrics.normalized_softplus(logits)


def test_strings_are_no_logits():
    with pytest.raises(TypeError, match="`logits` must hold real numbers"):
        metrics.normalized_softplus([["a", "b"]])
