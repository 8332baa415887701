"""The distribution of a prediction: the mean of those that many draws give."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import (
    check_instance,
    check_integer,
    check_number,
    check_numbers,
    check_positive_integer,
)
from tfhyper.heads.family import Components, Family
from tfhyper.heads.head import Head
from tfhyper.metrics import PredictiveInterval

# So many numbers are looked at together.
_BLOCK = 2**20
# In standard deviations: how exact quantiles are, and where tails end.
_TOLERANCE = 1e-10
_TAIL = 1e3
# The probability beyond which the CRPS does not look at counts, and how many of them
# around the median it looks at one by one.
_COUNT_TAIL = 1e-8
_ONE_BY_ONE = 256


class DrawMixture:
    """The mixture of the distributions that the draws of a network give.

        p(y) = mean_t p_t(y)

    with p_t of draw t. Of several targets, log-densities and samples are joint, as the
    draws make targets depend on each other; distribution functions, quantiles,
    intervals and scores are those of each target by itself.

    Everything is computed in float64, by SciPy's distributions.

    Args:
        family: a `tfhyper.heads.Family` of numbers, or a head, whose family is meant.
        parameters: the outputs of a head, (draws, batch, ..., units).

    Attributes:
        family: the family.
        shape: (batch, ..., targets), of means, variances, quantiles and scores.

    Raises:
        TypeError: if `family` is none, or `parameters` hold no real numbers.
        ValueError: for `Categorical`, another shape, numbers that are not finite, or
            parameters out of their range, such as a scale that is not above 0.

    Example:

    >>> parameters = np.array([[[-1.0, 1.0]], [[1.0, 1.0]]])  # two draws, one example
    >>> mixture = tfhyper.heads.DrawMixture(tfhyper.heads.Normal(), parameters)
    >>> mixture.mean.item(), mixture.aleatoric.item(), mixture.epistemic.item()
    (0.0, 1.0, 1.0)
    >>> lower, upper = mixture.interval(0.9)
    >>> round(upper.item(), 3), round(mixture.log_prob([0.0]).item(), 4)
    (2.284, -1.4189)
    """

    def __init__(self, family: Family | Head, parameters: ArrayLike):
        rule = "a family or a head of `tfhyper.heads`"
        check_instance("family", family, (Family, Head), rule)
        self.family = family.family if isinstance(family, Head) else family
        array = self.family.check_parameters(parameters)
        if array.ndim < 3:
            raise ValueError(
                "`parameters` must have the axes (draws, batch, ..., units). "
                f"Received: parameters.shape={array.shape}"
            )
        parts = self.family.components(array)
        self.shape: tuple[int, ...] = (*array.shape[1:-1], self.family.targets)
        # Axes: components of a draw, draws, examples, targets.
        size = (-1, len(array), int(np.prod(array.shape[1:-1])), self.family.targets)
        weights = parts.weights.reshape(*size[:3], 1)
        arguments = {k: x.reshape(size) for k, x in parts.arguments.items()}
        self._draws = dataclasses.replace(parts, weights=weights, arguments=arguments)
        # Components of all draws are components of the prediction.
        self._all = dataclasses.replace(
            parts,
            weights=weights.reshape(-1, *weights.shape[2:]) / len(array),
            arguments={k: x.reshape(-1, *size[2:]) for k, x in arguments.items()},
        )

    @property
    def num_draws(self) -> int:
        """How many draws are mixed."""
        return self._draws.weights.shape[1]

    @functools.cached_property
    def _moments(self) -> tuple[np.ndarray, ...]:
        """Mean, aleatoric and epistemic variance, in the shape of a prediction."""
        parts = self._draws
        mean, variance = parts.distribution.stats(**parts.arguments, moments="mv")
        draw_mean = np.sum(parts.weights * mean, axis=0)
        apart = np.square(mean - draw_mean)
        draw_variance = np.sum(parts.weights * (variance + apart), axis=0)
        found = (
            draw_mean.mean(axis=0),
            draw_variance.mean(axis=0),
            draw_mean.var(axis=0),
        )
        return tuple(x.reshape(self.shape) for x in found)

    @property
    def mean(self) -> np.ndarray:
        """The mean over the draws of their means, (batch, ..., targets)."""
        return self._moments[0]

    @property
    def aleatoric(self) -> np.ndarray:
        """The mean over the draws of their variances: what the data leave open."""
        return self._moments[1]

    @property
    def epistemic(self) -> np.ndarray:
        """The variance over the draws of their means: what the weights leave open."""
        return self._moments[2]

    @property
    def variance(self) -> np.ndarray:
        """The variance, `aleatoric` + `epistemic`."""
        return self.aleatoric + self.epistemic

    @property
    def std(self) -> np.ndarray:
        """The square root of `variance`."""
        return np.sqrt(self.variance)

    def log_prob(self, targets: ArrayLike) -> np.ndarray:
        """Returns the log-density of each example's targets together, in nats.

            log mean_t prod_k p_t(y_k)

        Args:
            targets: (batch, ..., targets), or (batch, ...) if there is one.

        Returns:
            float64 (batch, ...); of counts log-probabilities.

        Raises:
            ValueError: for another shape, or targets out of the support.
            TypeError: if they are no real numbers.

        Example:

        >>> parameters = np.array([[[2.0]], [[3.0]]])
        >>> mixture = tfhyper.heads.DrawMixture(tfhyper.heads.Poisson(), parameters)
        >>> round(mixture.log_prob([0]).item(), 4)
        -2.3799
        """
        found = self._by_block(_log_prob, self._targets(targets))
        return found.reshape(self.shape[:-1])

    def cdf(self, values: ArrayLike) -> np.ndarray:
        """Returns the probability that a target is at most a value.

        Args:
            values: finite numbers (batch, ..., targets), what broadcasts to it, or
                (batch, ...) if there is one target.

        Returns:
            float64 (batch, ..., targets), within 0 ... 1.

        Raises:
            ValueError: for another shape, or values that are not finite.
            TypeError: if they are no real numbers.
        """
        array = check_numbers("values", values)
        if self.shape[-1] == 1 and array.shape == self.shape[:-1]:
            array = array[..., np.newaxis]
        try:
            array = np.broadcast_to(array, self.shape)
        except ValueError as error:
            raise ValueError(
                f"`values` must have the shape {self.shape}, or one that broadcasts to "
                f"it. Received: values.shape={array.shape}"
            ) from error
        return self._by_block(_cdf, array).reshape(self.shape)

    def quantile(self, level: float) -> np.ndarray:
        """Returns the values below which a target lies with some probability.

        They are found by bisection between the least and the largest quantile of the
        components, within 1e-10 standard deviations; counts are exact, the least k with
        P(y <= k) >= level.

        Args:
            level: float in (0, 1).

        Returns:
            float64 (batch, ..., targets).

        Raises:
            ValueError: for a level out of range.

        Example:

        >>> parameters = np.array([[[-1.0, 1.0]], [[1.0, 1.0]]])
        >>> mixture = tfhyper.heads.DrawMixture(tfhyper.heads.Normal(), parameters)
        >>> round(abs(mixture.quantile(0.5).item()), 6)
        0.0
        """
        level = check_number("level", level, positive=True, below=1)
        found = self._by_block(functools.partial(_quantile, level), self.std)
        return found.reshape(self.shape)

    def interval(self, level: float = 0.9) -> PredictiveInterval:
        """Returns central intervals: as much probability below as above.

        Args:
            level: float in (0, 1), the probability inside; of counts at least that.

        Returns:
            A `tfhyper.metrics.PredictiveInterval`, both ends (batch, ..., targets).

        Raises:
            ValueError: for a level out of range.
        """
        level = check_number("level", level, positive=True, below=1)
        tail = (1 - level) / 2
        return PredictiveInterval(self.quantile(tail), self.quantile(1 - tail))

    def sample(self, num_samples: int, seed: int | None = None) -> np.ndarray:
        """Returns samples of the targets: of a random draw, noise included.

        Args:
            num_samples: int > 0, for each example.
            seed: int, 0 <= seed < 2**31, or `None` for other ones each time.

        Returns:
            float64 (num_samples, batch, ..., targets).

        Raises:
            ValueError: for a number out of range.

        Example:

        >>> parameters = np.array([[[-1.0, 1.0]], [[1.0, 1.0]]])
        >>> mixture = tfhyper.heads.DrawMixture(tfhyper.heads.Normal(), parameters)
        >>> mixture.sample(1000, seed=0).shape
        (1000, 1, 1)
        """
        check_positive_integer("num_samples", num_samples)
        rng = np.random.default_rng(_check_seed(seed))
        ends = np.cumsum(self._all.weights, axis=0)
        u = rng.uniform(size=(num_samples, *ends.shape[1:])) * ends[-1]
        chosen = np.stack([np.sum(ends[:-1] <= x, axis=0) for x in u])
        arguments = {
            name: np.take_along_axis(
                x, np.broadcast_to(chosen, (num_samples, *x.shape[1:])), axis=0
            )
            for name, x in self._all.arguments.items()
        }
        size = (num_samples, *self.shape)
        arguments = {name: x.reshape(size) for name, x in arguments.items()}
        found = self._all.distribution.rvs(**arguments, size=size, random_state=rng)
        return np.asarray(found, np.float64)

    def pit(self, targets: ArrayLike, seed: int | None = None) -> np.ndarray:
        """Returns the probability integral transform: uniform where predictions hold.

        F(y); of counts F(y - 1) + u P(y) with u uniform (Czado et al., 2009).

        Args:
            targets: (batch, ..., targets), or (batch, ...) if there is one.
            seed: int, 0 <= seed < 2**31, of u, or `None` for another u each time.

        Returns:
            float64 (batch, ..., targets), within 0 ... 1.

        Raises:
            ValueError: for another shape, or targets out of the support.
            TypeError: if they are no real numbers.
        """
        seed = _check_seed(seed)
        array = self._targets(targets)
        found = self._by_block(_cdf, array)
        if _is_discrete(self._all):
            below = self._by_block(_cdf, array - 1)
            u = np.random.default_rng(seed).uniform(size=found.shape)
            found = below + u * (found - below)
        return found.reshape(self.shape)

    def crps(self, targets: ArrayLike) -> np.ndarray:
        """Returns the continuous ranked probability score of each target.

            integral (F(x) - [x >= y])^2 dx

        In closed form of normal and Laplace distributions. Of t-distributions by
        Gauss-Legendre integration, within 1e-5 standard deviations where the scales of
        the draws are alike, 2e-3 where they differ a thousandfold. Of counts by a sum,
        over all of them within 512 of the median, and over blocks of 1/256 of the
        distance where they are further away: a thousandth of the score at most.

        Args:
            targets: (batch, ..., targets), or (batch, ...) if there is one.

        Returns:
            float64 (batch, ..., targets), in the unit of the targets; the smaller the
            better.

        Raises:
            ValueError: for another shape, or targets out of the support.
            TypeError: if they are no real numbers.

        Example:

        >>> parameters = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])
        >>> mixture = tfhyper.heads.DrawMixture(tfhyper.heads.Normal(), parameters)
        >>> round(mixture.crps([0.0]).item(), 4)
        0.2337
        """
        from scipy import stats

        score: Callable[..., np.ndarray] = _crps_of_reals
        if self._all.distribution is stats.norm:
            score = functools.partial(_crps_of_pairs, _normal_distance)
        elif self._all.distribution is stats.laplace:
            score = functools.partial(_crps_of_pairs, _laplace_distance)
        elif _is_discrete(self._all):
            score = _crps_of_counts
        return self._by_block(score, self._targets(targets), self.std).reshape(
            self.shape
        )

    def _targets(self, targets: ArrayLike) -> np.ndarray:
        return self.family.check_targets(targets, self.shape[:-1])

    def _by_block(self, function: Callable, *arrays: np.ndarray) -> np.ndarray:
        """Returns function(components, *arrays), a few examples at a time.

        Args:
            function: takes components (components, examples, 1 or targets) and arrays
                (examples, targets).
            *arrays: each of the shape of a prediction.
        """
        flat = [x.reshape(-1, self.shape[-1]) for x in arrays]
        found = [
            function(_of_examples(self._all, rows), *(x[rows] for x in flat))
            for rows in self._rows()
        ]
        return np.concatenate(found)

    def _rows(self) -> Iterator[slice]:
        weights = self._all.weights
        step = max(1, _BLOCK // (len(weights) * self.shape[-1]))
        for start in range(0, weights.shape[1], step):
            yield slice(start, start + step)


def _of_examples(parts: Components, rows: slice | np.ndarray) -> Components:
    arguments = {name: x[:, rows] for name, x in parts.arguments.items()}
    return dataclasses.replace(
        parts, weights=parts.weights[:, rows], arguments=arguments
    )


def _is_discrete(parts: Components) -> bool:
    from scipy import stats

    return isinstance(parts.distribution, stats.rv_discrete)


def _check_seed(seed: Any) -> int | None:
    return None if seed is None else check_integer("seed", seed, 0, 2**31 - 1)


def _log_prob(parts: Components, y: np.ndarray) -> np.ndarray:
    name = "logpmf" if _is_discrete(parts) else "logpdf"
    logs = getattr(parts.distribution, name)(y, **parts.arguments)
    with np.errstate(divide="ignore"):  # a weight may be 0
        logs = logs.sum(axis=-1) + np.log(parts.weights[..., 0])
    return np.logaddexp.reduce(logs, axis=0)


def _cdf(parts: Components, x: np.ndarray) -> np.ndarray:
    found = np.sum(parts.weights * parts.distribution.cdf(x, **parts.arguments), axis=0)
    return np.clip(found, 0, 1)


def _quantile(level: float, parts: Components, std: np.ndarray) -> np.ndarray:
    ends = parts.distribution.ppf(level, **parts.arguments)
    low, high = ends.min(axis=0), ends.max(axis=0)
    if _is_discrete(parts):
        low = low - 1  # where less than the level lies
        while np.any(high - low > 1):
            middle = np.floor((low + high) / 2)
            enough = _cdf(parts, middle) >= level
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high
    while np.any(high - low > _TOLERANCE * std):
        middle = (low + high) / 2
        enough = _cdf(parts, middle) >= level
        narrower = np.where(enough, low, middle), np.where(enough, middle, high)
        if np.array_equal(narrower[0], low) and np.array_equal(narrower[1], high):
            break  # two neighbours of float64
        low, high = narrower
    return (low + high) / 2


def _crps_of_pairs(
    distance: Callable[..., np.ndarray],
    parts: Components,
    y: np.ndarray,
    std: np.ndarray,
) -> np.ndarray:
    """Returns E |x - y| - E |x - x'| / 2, component by component.

    Args:
        distance: E |x - x'| by the difference of locations, and by both scales.
        parts: components (components, examples, targets).
        y: targets (examples, targets).
        std: not needed.
    """
    loc, scale = parts.arguments["loc"], parts.arguments["scale"]
    found = np.sum(parts.weights * distance(y - loc, scale, 0 * scale), axis=0)
    for weight, mean, other in zip(parts.weights, loc, scale, strict=True):
        pairs = distance(mean - loc, scale, other)
        found -= weight * np.sum(parts.weights * pairs, axis=0) / 2
    return found


def _normal_distance(
    apart: np.ndarray, scale: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Returns E |x - x'| of two normal distributions (Grimit et al., 2006)."""
    from scipy import special

    both = np.hypot(scale, other)
    z = apart / both
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    return apart * special.erf(z / np.sqrt(2)) + 2 * both * density


def _laplace_distance(
    apart: np.ndarray, scale: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Returns E |x - x'| of two Laplace distributions.

    d + (b^3 exp(-d / b) - c^3 exp(-d / c)) / (b^2 - c^2), with d the distance.
    """
    apart, other = np.abs(apart), np.broadcast_to(other, scale.shape)
    alike = np.abs(scale - other) < 1e-5 * scale
    middle = (scale + other) / 2
    squares = np.where(alike, 1, np.square(scale) - np.square(other))
    far = scale**3 * np.exp(-apart / scale)
    far = far - other**3 * np.exp(-apart / np.where(other > 0, other, 1))
    near = (3 * middle + apart) / 2 * np.exp(-apart / middle)
    return apart + np.where(alike, near, far / squares)


def _crps_of_reals(parts: Components, y: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Returns the score by integrals of smooth functions from the median m on.

        int_{x<m} F^2 + int_{x>m} (1 - F)^2 + |y - m| - 2 int_m^y (1 - F)

    for y > m, and the mirror image for y < m.
    """
    middle = _quantile(0.5, parts, std)
    width = _quantile(0.75, parts, std) - _quantile(0.25, parts, std)
    step = np.maximum(width, 1e-6 * std)

    def tail(side: Any, power: int, length: np.ndarray) -> np.ndarray:
        # x = m + side * step * sinh(u): fine near m, and far at the end.
        end = np.arcsinh(length / step)
        total = np.zeros_like(y)
        for node, weight in _nodes():
            u = end * node
            far = _cdf(parts, middle + side * step * np.sinh(u))
            beyond = np.where(side > 0, 1 - far, far)
            total += weight * beyond**power * np.cosh(u)
        return total * end * step

    apart = np.abs(y - middle)
    both = tail(-1, 2, _TAIL * std) + tail(1, 2, _TAIL * std)
    return both + apart - 2 * tail(np.where(y > middle, 1, -1), 1, apart)


@functools.cache
def _nodes() -> list[tuple[float, float]]:
    """Returns nodes in 0 ... 1 and weights: 6 pieces of 16 nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    return [
        ((piece + (1 + node) / 2) / 6, weight / 12)
        for piece in range(6)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
    ]


def _crps_of_counts(parts: Components, y: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Returns the score by sums from the median m on, as `_crps_of_reals` integrals.

    sum_{k<m} F(k)^2 + sum_{k>=m} (1 - F(k))^2 + |y - m| - 2 sum_{m<=k<y} (1 - F(k))
    """
    middle = _quantile(0.5, parts, std)
    ends = _quantile(_COUNT_TAIL, parts, std), _quantile(1 - _COUNT_TAIL, parts, std)
    total = np.abs(y - middle)
    for side, end in zip((-1, 1), ends, strict=True):
        wanted = side * (end - middle)
        for start, size in _count_blocks():
            rows = np.any(wanted > start, axis=-1)
            if not rows.any():
                break
            # Below the median the first count is m - 1.
            at = middle[rows] + side * (start + (size - 1) // 2) - (side < 0)
            far = _cdf(_of_examples(parts, rows), at)
            beyond = 1 - far if side > 0 else far
            between = np.clip(side * (y - middle)[rows] - start, 0, size)
            total[rows] += size * np.square(beyond) - 2 * between * beyond
    return total


def _count_blocks() -> Iterator[tuple[int, int]]:
    """Yields first count and size of blocks: of one count, and longer ones far away."""
    start = 0
    while True:
        size = max(1, start // _ONE_BY_ONE)
        yield start, size
        start += size
