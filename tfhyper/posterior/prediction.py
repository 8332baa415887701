"""What an ensemble says of a batch, and how sure it is."""

import dataclasses

import numpy as np

from tfhyper import metrics


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Average over draws, with its uncertainty.

    With p_t the class probabilities of draw t, and pbar their mean,

        total     = H[pbar]                       entropy, in nats
        aleatoric = mean_t H[p_t]                 what the data leave open
        epistemic = total - aleatoric             what the weights leave open

    and `variance` splits the variance of the one-hot label, class by class, in
    the same way (see `tfhyper.metrics.variance_decomposition`); `covariance()`
    gives the whole matrices.

    Attributes:
        mean: float32 of shape (batch, classes), pbar.
        total: float64 of shape (batch,), in nats.
        aleatoric: float64 of shape (batch,), in nats.
        epistemic: float64 of shape (batch,), in nats: the mutual information of
            label and weights.
        variance: three float64 arrays of shape (batch, classes).
        members: float32 of shape (draws, batch, classes), or `None` if they
            were not kept.

    Example:

    >>> prediction = predictor.predict(x_test)
    >>> least_sure = prediction.epistemic.argsort()[::-1]
    """

    mean: np.ndarray
    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    variance: metrics.VarianceDecomposition
    members: np.ndarray | None = None

    def covariance(self) -> metrics.CovarianceDecomposition:
        """Returns the label's covariance, split as the variance is.

        Three float64 arrays of shape (batch, classes, classes), whose diagonals
        are `variance` (see `tfhyper.metrics.covariance_decomposition`).

        Raises:
            ValueError: if the members were not kept.
        """
        if self.members is None:
            raise ValueError(
                "`covariance` needs the members: call `predict` with "
                "`keep_members=True`. Received: a prediction without members"
            )
        return metrics.covariance_decomposition(self.members)


class PredictionSum:
    """Adds up members, one at a time, so that they need not all be kept."""

    def __init__(self, keep_members: bool):
        self.count = 0
        self.probs = 0.0
        self.squares = 0.0
        self.entropies = 0.0
        self.members = [] if keep_members else None

    def add(self, probs: np.ndarray) -> None:
        """Adds the probabilities of one draw, of shape (batch, classes)."""
        wide = probs.astype(np.float64)
        self.count += 1
        self.probs += wide
        self.squares += np.square(wide)
        self.entropies += metrics.predictive_entropy(wide[None])
        if self.members is not None:
            self.members.append(probs)

    def result(self) -> Prediction:
        """Returns the prediction of the members added so far."""
        mean = self.probs / self.count
        squares = self.squares / self.count
        total = metrics.predictive_entropy(mean[None])
        aleatoric = self.entropies / self.count
        return Prediction(
            mean=mean.astype(np.float32),
            total=total,
            aleatoric=aleatoric,
            # Both differences are below zero by rounding alone.
            epistemic=np.maximum(total - aleatoric, 0.0),
            variance=metrics.VarianceDecomposition(
                total=mean * (1.0 - mean),
                aleatoric=mean - squares,
                epistemic=np.maximum(squares - np.square(mean), 0.0),
            ),
            members=None if self.members is None else np.stack(self.members),
        )
