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


def sum_to_one(probs: np.ndarray) -> np.ndarray:
    """Returns class probabilities that sum to one.

    Those of half precision do so within its rounding, which is too far for scores.
    """
    return probs / probs.sum(-1, keepdims=True, dtype=np.float64)


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
        self.entropies += metrics.predictive_entropy(sum_to_one(wide)[None])
        if self.members is not None:
            self.members.append(probs)

    def result(self) -> Prediction:
        """Returns the prediction of the members added so far."""
        mean = self.probs / self.count
        squares = self.squares / self.count
        total = metrics.predictive_entropy(sum_to_one(mean)[None])
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


@dataclasses.dataclass(frozen=True)
class RegressionPrediction:
    """Average over the draws of a regression, with its uncertainty.

    With m_t and v_t mean and variance of draw t, by the law of total variance,

        mean      = mean_t m_t
        aleatoric = mean_t v_t                    what the data leave open
        epistemic = mean_t (m_t - mean)^2         what the weights leave open
        variance  = aleatoric + epistemic

    Attributes:
        mean: float64 of shape (batch,), in the unit of the targets.
        variance: float64 of shape (batch,), in its square, as the next two.
        aleatoric: float64 of shape (batch,).
        epistemic: float64 of shape (batch,).
        members: float32 of shape (draws, batch), m_t, or `None` if not kept.
        member_variance: float32 of shape (draws, batch), v_t, or `None`.

    Example:

    >>> prediction = predictor.predict(x_test)
    >>> low, high = prediction.interval(0.95)
    """

    mean: np.ndarray
    variance: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    members: np.ndarray | None = None
    member_variance: np.ndarray | None = None

    @property
    def std(self) -> np.ndarray:
        """The square root of `variance`."""
        return np.sqrt(self.variance)

    def interval(self, level: float = 0.9) -> metrics.PredictiveInterval:
        """Returns the central interval of N(mean, variance).

        Args:
            level: float in (0, 1), the probability inside.
        """
        return metrics.gaussian_interval(self.mean, self.variance, level)


class RegressionSum:
    """Adds up means and variances, one member at a time."""

    def __init__(self, keep_members: bool):
        self.count = 0
        self.members = [] if keep_members else None

    def add(self, mean: np.ndarray, variance: np.ndarray) -> None:
        """Adds one draw's means and variances, each of shape (batch,)."""
        wide = mean.astype(np.float64)
        if not self.count:
            # Differences from the first member, so that squares do not cancel.
            self.first = wide
            self.shift, self.squares, self.noise = np.zeros((3, len(wide)))
        self.count += 1
        self.shift += wide - self.first
        self.squares += np.square(wide - self.first)
        self.noise += variance
        if self.members is not None:
            self.members.append((mean, variance))

    def result(self) -> RegressionPrediction:
        """Returns the prediction of the members added so far."""
        shift = self.shift / self.count
        epistemic = np.maximum(self.squares / self.count - np.square(shift), 0.0)
        aleatoric = self.noise / self.count
        members = member_variance = None
        if self.members is not None:
            members, member_variance = map(np.stack, zip(*self.members, strict=True))
        return RegressionPrediction(
            mean=self.first + shift,
            variance=aleatoric + epistemic,
            aleatoric=aleatoric,
            epistemic=epistemic,
            members=members,
            member_variance=member_variance,
        )
