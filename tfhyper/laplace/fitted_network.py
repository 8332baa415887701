"""The last layer of one network, and what its training data say of it."""

import math

import numpy as np

from tfhyper.laplace.curvature import Curvature
from tfhyper.laplace.likelihoods import Likelihood


class FittedNetwork:
    """The curvature around a last layer, and the likelihood there.

    Args:
        curvature: H, of no data yet.
        mean: w*, float64 (rows, outputs).
        likelihood: that of the labels.

    Attributes:
        curvature: H of all data so far.
        mean: as given.
        loss: the sum of the losses, see `Likelihood.losses`.
        weight: how many examples there are.
        classes: the labels that came, where they are classes.
    """

    def __init__(self, curvature: Curvature, mean: np.ndarray, likelihood: Likelihood):
        self.curvature, self.mean, self._likelihood = curvature, mean, likelihood
        self.loss = self.weight = 0.0
        self.classes: set[int] = set()

    def add(
        self, features: np.ndarray, labels: np.ndarray, weights: np.ndarray
    ) -> None:
        """Adds rows of `Likelihood.rows`, features with the 1 of a bias."""
        outputs, of_row = features @ self.mean, weights.mean(axis=1)
        losses = self._likelihood.losses(outputs, labels).reshape(len(labels), -1)
        self.loss += float((losses * weights).sum())
        self.weight += float(of_row.sum())
        hessian = self._likelihood.hessian(outputs, weights, of_row)
        self.curvature.add(features, hessian)
        if self._likelihood.decides:
            counted = np.broadcast_to(weights > 0, losses.shape).reshape(labels.shape)
            self.classes |= set(np.unique(labels[counted]).tolist())

    def check(self) -> None:
        """Raises ValueError if the data say nothing of a last layer."""
        check_weight(self.weight)
        if self._likelihood.decides and len(self.classes) < 2:
            raise ValueError(
                "`y` must hold two classes or more: one alone says nothing of where "
                f"they part. Received: y={min(self.classes)} throughout"
            )

    def log_evidence(self, scale: float, prior: np.ndarray, noise: float) -> float:
        """Returns the Laplace approximation of the log marginal likelihood.

        Args:
            scale: as of `Curvature.log_det`.
            prior: (rows,), the prior precision of the weights in each row.
            noise: the noise variance of targets.
        """
        outputs = self.mean.shape[1]
        found = -scale * self.loss
        if not self._likelihood.decides:
            found -= 0.5 * self.weight * outputs * math.log(2 * math.pi * noise)
        ratio = self.curvature.log_det(scale, prior) - outputs * np.log(prior).sum()
        scatter = (prior[:, None] * np.square(self.mean)).sum()
        return float(found - 0.5 * (ratio + scatter))


def check_weight(weight: float) -> None:
    """Raises ValueError if the weights of all labels sum to nothing."""
    if not weight:
        raise ValueError(
            "`y` must hold labels that count. Received: labels that are all ignored, "
            "or have a `sample_weight` of 0"
        )
