"""Distributions of counts: 0, 1, 2 ..."""

import abc
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import check_choice, check_number
from tfhyper.heads.family import Components, Family
from tfhyper.heads.parameters import (
    POSITIVE_LINKS,
    Parameter,
    Positive,
    PositiveLink,
)
from tfhyper.heads.special import (
    log_count_constant,
    negative_binomial_distance,
    poisson_distance,
    stirling_error,
)
from tfhyper.tensor_types import Tensor

# As many counts the CRPS in tensors looks at.
_MAX_COUNT = 1000


class CountFamily(Family):
    """A family of counts, independent from target to target, by their mean.

    Targets in tensors are not looked at: one below 0 counts as 0, so that the loss of a
    masked example is finite. `check_targets` refuses them by name.

    Args:
        targets: int > 0, how many targets there are.
        min_mean: float > 0, the least mean.
        mean_link: `"softplus"`, min_mean + softplus(raw), or `"exp"`,
            min_mean + exp(raw) with raw kept within -20 ... 20.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> isinstance(tfhyper.heads.Poisson(), tfhyper.heads.CountFamily)
    True
    """

    def __init__(
        self,
        targets: int = 1,
        min_mean: float = 1e-6,
        mean_link: PositiveLink = "softplus",
    ):
        super().__init__(targets)
        self.min_mean = check_number("min_mean", min_mean, positive=True)
        self.mean_link = check_choice("mean_link", mean_link, POSITIVE_LINKS)

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The means."""
        constraint = Positive(self.min_mean, self.mean_link)
        return (Parameter("mean", self.targets, constraint),)

    @abc.abstractmethod
    def count_log_prob(self, counts: Tensor, **parts: Tensor) -> Tensor:
        """Returns log-probabilities of counts >= 0, of parameters by name."""

    def log_prob(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the sum of log-probabilities over the targets, (...)."""
        parts = self.split(ops.convert_to_tensor(parameters))
        counts = ops.maximum(ops.cast(targets, parts["mean"].dtype), 0)
        return ops.sum(self.count_log_prob(counts, **parts), axis=-1)

    def crps(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns sum_{k < 1000} (F(k) - [k >= target])^2, summed over the targets.

        Counts from 1000 on are left out: scale such targets, or take a real family.
        """
        parts = self.split(ops.convert_to_tensor(parameters))
        dtype = parts["mean"].dtype
        counts = ops.arange(_MAX_COUNT, dtype=dtype)
        parts = {name: ops.expand_dims(x, -1) for name, x in parts.items()}
        logs = self.count_log_prob(counts, **parts)
        cdf = ops.minimum(ops.cumsum(ops.exp(logs), axis=-1), 1)
        above = ops.cast(counts >= ops.expand_dims(targets, -1), dtype)
        return ops.sum(ops.square(cdf - above), axis=(-2, -1))

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the means, (..., targets)."""
        return self.split(parameters)["mean"]

    def check_targets(
        self, targets: ArrayLike, leading: tuple[int, ...] | None = None
    ) -> np.ndarray:
        """Returns targets in float64; see `Family.check_targets`."""
        array = super().check_targets(targets, leading)
        bad = array[(array < 0) | (array != np.floor(array))]
        if bad.size:
            raise ValueError(
                "`targets` must be counts, whole numbers of at least 0. "
                f"Received: targets with the value {bad[0]}"
            )
        return array

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that the family can be made from."""
        return {
            **super().get_config(),
            "min_mean": self.min_mean,
            "mean_link": self.mean_link,
        }


@keras.saving.register_keras_serializable("tfhyper")
class Poisson(CountFamily):
    """Independent Poisson distributions, whose variance is their mean.

    Layout of the last axis: `mean` of all targets.

    Args:
        targets: int > 0, how many targets there are.
        min_mean: float > 0, the least mean.
        mean_link: `"softplus"` or `"exp"`; see `tfhyper.heads.CountFamily`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.Poisson()
    >>> round(float(family.log_prob(np.zeros((1, 1)), np.full((1, 1), 2.5))[0]), 4)
    -2.5
    """

    def count_log_prob(self, counts: Tensor, **parts: Tensor) -> Tensor:
        """Returns counts log(mean) - mean - log(counts!)."""
        # By the saddle point (Loader, 2000), so that large counts keep their digits.
        return -poisson_distance(counts, parts["mean"]) - log_count_constant(counts)

    def variance(self, parameters: Tensor) -> Tensor:
        """Returns the means, (..., targets)."""
        return self.mean(parameters)

    def components(self, parameters: np.ndarray) -> Components:
        """Returns `scipy.stats.poisson`."""
        from scipy import stats

        weights = np.ones((1, *parameters.shape[:-1], 1))
        arguments = {"mu": self.split(parameters)["mean"][np.newaxis]}
        return Components(weights, stats.poisson, arguments)


@keras.saving.register_keras_serializable("tfhyper")
class NegativeBinomial(CountFamily):
    """Independent negative binomial distributions: counts that scatter more.

    Layout of the last axis: `mean` of all targets, then their `total_count`, > 0, with
    which the variance is mean + mean^2 / total_count. total_count = 0.001 +
    softplus(raw).

    Args:
        targets: int > 0, how many targets there are.
        min_mean: float > 0, the least mean.
        mean_link: `"softplus"` or `"exp"`; see `tfhyper.heads.CountFamily`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> family = tfhyper.heads.NegativeBinomial()
    >>> float(family.variance(np.array([[2.0, 4.0]], "float32"))[0, 0])
    3.0
    """

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The means, the numbers of failures until which successes count."""
        return (*super().layout, Parameter("total_count", self.targets, Positive(1e-3)))

    def count_log_prob(self, counts: Tensor, **parts: Tensor) -> Tensor:
        """Returns log-probabilities, as of Poisson where `total_count` is large."""
        mean, total = parts["mean"], parts["total_count"]
        return (
            -negative_binomial_distance(counts, mean, total)
            - log_count_constant(counts)
            - ops.log1p(counts / total) / 2
            + (stirling_error(counts + total) - stirling_error(total))
        )

    def variance(self, parameters: Tensor) -> Tensor:
        """Returns mean + mean^2 / total_count, (..., targets)."""
        parts = self.split(ops.convert_to_tensor(parameters))
        mean = parts["mean"]
        return mean + ops.square(mean) / parts["total_count"]

    def components(self, parameters: np.ndarray) -> Components:
        """Returns `scipy.stats.nbinom`."""
        from scipy import stats

        parts = self.split(parameters)
        mean, total = parts["mean"][np.newaxis], parts["total_count"][np.newaxis]
        weights = np.ones((1, *parameters.shape[:-1], 1))
        arguments = {"n": total, "p": total / (total + mean)}
        return Components(weights, stats.nbinom, arguments)
