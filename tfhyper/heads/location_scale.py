"""Distributions with a location and a scale, independent from target to target."""

import abc
from typing import Any

from keras import ops

from tfhyper.checks import check_choice, check_number
from tfhyper.heads.family import RealFamily
from tfhyper.heads.parameters import (
    POSITIVE_LINKS,
    Parameter,
    Positive,
    PositiveLink,
    Real,
)
from tfhyper.tensor_types import Tensor


class LocationScale(RealFamily):
    """A family of loc + scale * e, with e of a standard distribution.

    Layout of the last axis: the locations of all targets, then their scales, then what
    a subclass adds.

    Args:
        targets: int > 0, how many targets there are.
        min_scale: float > 0, the least scale, in the unit of the targets.
        scale_link: `"softplus"`, min_scale + softplus(raw), or `"exp"`,
            min_scale + exp(raw) with raw kept within -20 ... 20.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> isinstance(tfhyper.heads.StudentT(), tfhyper.heads.LocationScale)
    True
    """

    def __init__(
        self,
        targets: int = 1,
        min_scale: float = 1e-3,
        scale_link: PositiveLink = "softplus",
    ):
        super().__init__(targets)
        self.min_scale = check_number("min_scale", min_scale, positive=True)
        self.scale_link = check_choice("scale_link", scale_link, POSITIVE_LINKS)

    @property
    def layout(self) -> tuple[Parameter, ...]:
        """The locations, the scales."""
        scale = Positive(self.min_scale, self.scale_link)
        return (
            Parameter("loc", self.targets, Real()),
            Parameter("scale", self.targets, scale),
        )

    @abc.abstractmethod
    def standard_log_prob(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns the log-density of e at z; `shape` has a subclass's parameters."""

    @abc.abstractmethod
    def standard_crps(self, z: Tensor, **shape: Tensor) -> Tensor:
        """Returns the CRPS of e at z."""

    @abc.abstractmethod
    def standard_variance(self, **shape: Tensor) -> Tensor | float:
        """Returns the variance of e."""

    @abc.abstractmethod
    def standard_sample(
        self, size: tuple, dtype: str, seed: Any, **shape: Tensor
    ) -> Tensor:
        """Returns samples of e, of a shape (samples, ..., targets)."""

    def target_log_prob(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the log-density of each target, in nats.

        Args:
            targets: tensor (..., targets).
            parameters: tensor (..., units).

        Returns:
            Tensor (..., targets).
        """
        loc, scale, shape = self._parts(parameters)
        z = (targets - loc) / scale
        return self.standard_log_prob(z, **shape) - ops.log(scale)

    def log_prob(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the sum of `target_log_prob` over the targets, (...)."""
        return ops.sum(self.target_log_prob(targets, parameters), axis=-1)

    def crps(self, targets: Tensor, parameters: Tensor) -> Tensor:
        """Returns the score in closed form, (...)."""
        loc, scale, shape = self._parts(parameters)
        z = (targets - loc) / scale
        return ops.sum(scale * self.standard_crps(z, **shape), axis=-1)

    def mean(self, parameters: Tensor) -> Tensor:
        """Returns the locations, (..., targets)."""
        return self.split(parameters)["loc"]

    def variance(self, parameters: Tensor) -> Tensor:
        """Returns the variances, (..., targets)."""
        _, scale, shape = self._parts(parameters)
        return ops.square(scale) * self.standard_variance(**shape)

    def sample(self, parameters: Tensor, num_samples: int, seed: Any = None) -> Tensor:
        """Returns samples (samples, ..., targets); see `RealFamily.sample`."""
        loc, scale, shape = self._parts(parameters)
        size = (num_samples, *ops.shape(loc))
        dtype = ops.convert_to_tensor(loc).dtype
        e = self.standard_sample(size, dtype, seed, **shape)
        return loc + scale * e

    def _parts(self, parameters: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        shape = self.split(ops.convert_to_tensor(parameters))
        return shape.pop("loc"), shape.pop("scale"), shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that the family can be made from."""
        return {
            **super().get_config(),
            "min_scale": self.min_scale,
            "scale_link": self.scale_link,
        }
