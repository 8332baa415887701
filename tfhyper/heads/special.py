"""Functions of gamma functions and of Student's t, in `keras.ops`, exact in float32.

`keras.ops` has no gamma function. What densities need of it are differences, which lose
every digit in float32 if both terms are large: they are taken here in closed form.
"""

import math

import numpy as np
from keras import ops

from tfhyper.tensor_types import Tensor

LOG_SQRT_2PI = math.log(2 * math.pi) / 2
_SHIFT = 8  # from where on the series is exact in float32
# Beyond as many standard deviations nothing is left of a bell in float32.
_BELL_END = 8.0
_NODES, _WEIGHTS = (part.tolist() for part in np.polynomial.legendre.leggauss(32))


def stirling_error(x: Tensor) -> Tensor:
    """Returns what Stirling's formula lacks, for x > 0.

        log gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2)

    by its series, 1 / (12 x) - ..., of x + 8, and the difference of neighbours,
    (x + 1/2) log(1 + 1/x) - 1, eight times.
    """
    total = ops.zeros_like(x)
    for _ in range(_SHIFT):
        total = total + ((x + 0.5) * ops.log1p(1 / x) - 1)
        x = x + 1
    inverse = 1 / x
    square = ops.square(inverse)
    series = 1 / 12 - square * (1 / 360 - square * (1 / 1260))
    return total + inverse * series


def log_count_constant(count: Tensor) -> Tensor:
    """Returns log(count!) - count log(count) + count, for count >= 0."""
    some = count > 0
    safe = ops.where(some, count, ops.ones_like(count))
    first = ops.where(some, safe * ops.log1p(1 / safe), ops.zeros_like(count))
    return stirling_error(count + 1) + first + ops.log1p(count) / 2 - 1 + LOG_SQRT_2PI


def log_near_one(value: Tensor, apart: Tensor) -> Tensor:
    """Returns log(value), for value > 0, exact near 1 too.

    Args:
        value: tensor.
        apart: value - 1, which the caller knows more exactly.
    """
    near = apart > -0.5
    zeros = ops.zeros_like(value)
    return ops.where(
        near,
        ops.log1p(ops.where(near, apart, zeros)),
        ops.log(ops.where(near, zeros + 1, value)),
    )


def poisson_distance(count: Tensor, mean: Tensor) -> Tensor:
    """Returns count log(count / mean) - (count - mean), 0 at count = mean > 0.

    It is what a Poisson distribution loses to that with the count for its mean.
    """
    some = count > 0
    safe = ops.where(some, count, mean)
    log = log_near_one(safe / mean, (safe - mean) / mean)
    return count * log - (count - mean)


def negative_binomial_distance(count: Tensor, mean: Tensor, total: Tensor) -> Tensor:
    """Returns the same of a negative binomial distribution; that for a total of inf.

    count log(count (total + mean) / (mean (total + count))) +
    total log((total + mean) / (total + count))
    """
    some = count > 0
    safe = ops.where(some, count, mean)
    both = total + mean
    first = log_near_one(
        (1 + total / safe) / (1 + total / mean),
        total / safe * ((mean - safe) / both),
    )
    second = log_near_one((total + count) / both, (count - mean) / both)
    return -count * first - total * second


def log_gamma_half_step(x: Tensor) -> Tensor:
    """Returns log gamma(x + 1/2) - log gamma(x), for x > 0."""
    stirling = (x - 0.5) * ops.log1p(0.5 / x) + ops.log(x + 0.5) / 2 - 0.5
    return stirling + ops.where(
        x > 1e3, -1 / (24 * ops.square(x)), stirling_error(x + 0.5) - stirling_error(x)
    )


def log_t_peak(df: Tensor) -> Tensor:
    """Returns the log-density of Student's t at 0."""
    return log_gamma_half_step(df / 2) - ops.log(df * math.pi) / 2


def t_two_sided(z: Tensor, df: Tensor) -> Tensor:
    """Returns 2 F(z) - 1 of Student's t with df > 1, within 1e-6 or so.

    With z = sqrt(df) tan(angle) it is an integral of cos(angle)^(df - 1), of 32 nodes
    of Gauss and Legendre.
    """
    root = ops.sqrt(df)
    angle = ops.minimum(ops.arctan(ops.abs(z) / root), _BELL_END / root)
    total = ops.zeros_like(angle)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        at = angle * ((1 + node) / 2)
        total = total + weight * ops.exp((df - 1) * ops.log(ops.cos(at)))
    area = ops.exp(log_t_peak(df)) * root * angle * total
    return ops.sign(z) * ops.minimum(area, ops.ones_like(area))


def mean_distance(mean: Tensor, scale: Tensor) -> Tensor:
    """Returns E |X| of X of N(mean, scale^2)."""
    z = mean / scale
    density = ops.exp(-ops.square(z) / 2 - LOG_SQRT_2PI)
    return mean * ops.erf(z / math.sqrt(2)) + 2 * scale * density
