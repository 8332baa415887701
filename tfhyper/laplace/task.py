"""Regression whose networks know their own epistemic variance."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfhyper.metrics.bounds import Score
from tfhyper.posterior.tasks.registry import prepared
from tfhyper.posterior.tasks.regression import (
    Regression,
    RegressionPrediction,
    RegressionSum,
)
from tfhyper.posterior.tasks.task import Member, in_float32, kept, only
from tfhyper.tensor_types import Structure, Tensor


class MarginalRegression(Regression):
    """The task of networks that give a mean and what the weights leave open of it.

    Each gives (batch, ..., 2 targets): m_t, then e_t, the variance of the mean by the
    weights that it averages over itself. With the noise v of the targets

        mean      = mean_t m_t
        aleatoric = v
        epistemic = mean_t e_t + mean_t (m_t - mean)^2

    and a member is N(m_t, v + e_t).

    Args:
        model: the model of the means.
        noise_variance: v, as for `Regression`.
    """

    def __init__(
        self, model: keras.Model, noise_variance: float | Sequence[float] = 0.0
    ):
        super().__init__(model, "mean", noise_variance)
        prepared(self, model)

    def read(self, raw: Structure) -> Member:
        """Returns means, noise and epistemic variances, each (batch,) or more."""
        mean, epistemic = np.split(only(raw), 2, axis=-1)
        noise = np.asarray(self.noise_variance, np.float32)
        found = mean, np.array(np.broadcast_to(noise, mean.shape)), epistemic
        return tuple(x[..., 0] for x in found) if self._single else found

    def tensor(self, raw: Structure) -> Tensor:
        """Returns means, noise and epistemic variances, (batch, ..., 3 targets)."""
        mean, epistemic = ops.split(in_float32(only(raw)), 2, axis=-1)
        noise = np.broadcast_to(self.noise_variance, (self.targets,))
        noise = ops.zeros_like(mean) + noise.astype("float32")
        return ops.concatenate([mean, noise, epistemic], axis=-1)

    def average(self, outputs: Sequence) -> list:
        """Returns mean and variance of networks' symbolic outputs."""
        members = ops.stack([self.tensor(x) for x in outputs], axis=1)
        mean, noise, epistemic = self._parts(members)
        return [mean, noise + epistemic]

    def _halves(self, members: Tensor) -> tuple[Tensor, Tensor]:
        """Returns means and variances of what `tensor` gave."""
        means, noise, within = ops.split(members, 3, axis=-1)
        return means, noise + within

    def _parts(self, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns mean, aleatoric and epistemic variance of (batch, draws, ...)."""
        means, noise, within = ops.split(members, 3, axis=-1)
        mean = ops.mean(means, axis=1)
        between = ops.mean(ops.square(means - mean[:, None]), axis=1)
        return mean, ops.mean(noise, axis=1), ops.mean(within, axis=1) + between

    def new_sum(self, keep_members: bool) -> "MarginalSum":
        """Returns what adds up the moments of draws."""
        return MarginalSum(keep_members)

    def member_of(self, prediction: RegressionPrediction, draw: int) -> Member:
        """Returns mean, noise and epistemic variance of one draw."""
        means, variances = kept(prediction.members), kept(prediction.member_variance)
        noise = np.broadcast_to(
            np.asarray(self.noise_variance, np.float32), means[draw].shape
        )
        return means[draw], noise, variances[draw] - noise

    def check_fits_noise(self) -> None:
        """Raises ValueError: the posterior depends on the noise."""
        raise ValueError(
            "`fit_noise` would choose a noise that the posterior was not made with: "
            "choose it by `Laplace.fit_prior_precision`, or give "
            "`Laplace(noise_variance=...)`. Received: a LaplacePredictor"
        )

    def fit_noise(
        self,
        targets: np.ndarray,
        prediction: RegressionPrediction,
        weights: np.ndarray | None,
        score: Score,
        per_target: bool = False,
    ) -> None:
        """Raises ValueError, see `check_fits_noise`."""
        self.check_fits_noise()


class MarginalSum(RegressionSum):
    """Adds up means, noise and epistemic variances, one draw at a time."""

    def __init__(self, keep_members: bool):
        super().__init__(keep_members)
        self._count, self._within = 0, np.zeros(())

    def add(self, *member: np.ndarray) -> None:
        """Adds what `MarginalRegression.read` returns of one draw."""
        mean, noise, within = member
        self._moments.add(mean, noise)
        self._count += 1
        self._within = self._within + within.astype(np.float64)
        if self.members is not None:
            self.members.append((mean, noise + within))

    def result(self) -> RegressionPrediction:
        """Returns the prediction of the draws added so far."""
        found = super().result()
        epistemic = found.epistemic + self._within / self._count
        return dataclasses.replace(
            found, epistemic=epistemic, variance=found.aleatoric + epistemic
        )
