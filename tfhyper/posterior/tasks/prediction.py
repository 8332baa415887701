"""What an ensemble says of a batch, and how sure it is."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import check_choice
from tfhyper.metrics._checks import (
    SUM_TOLERANCE,
    check_sample_weight,
    check_vector,
    weighted_mean,
)
from tfhyper.posterior.tasks.rejection import (
    CLASS_SCORES,
    REGRESSION_SCORES,
    UNKNOWN,
    Rejection,
)

# How far above log(classes) an entropy may be: probabilities that sum to nearly one.
_ENTROPY_ROOM = 1e-3


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
        rejection: `tfhyper.Rejection`, by which some labels are unknown, or `None`.
            That of the predictor, see `fit_rejection`; `reject` gives another.

    Example:

    >>> prediction = predictor.predict(x_test)
    >>> least_sure = prediction.epistemic.argsort()[::-1]
    >>> label = prediction.reject(0.9).label  # -1 where `total` is above 0.9 nats
    >>> bool(((label == -1) == (prediction.total > 0.9)).all())
    True
    """

    mean: np.ndarray
    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    variance: metrics.VarianceDecomposition
    members: np.ndarray | None = None
    rejection: Rejection | None = None

    def uncertainty(self, score: str = "total") -> np.ndarray:
        """Returns one number for each input, float64 (batch,), larger for less sure.

        Args:
            score: `"total"`, `"aleatoric"` or `"epistemic"`, nats; or `"confidence"`:
                1 less the largest of the mean probabilities.

        Raises:
            ValueError: for another score.
        """
        check_choice("score", score, CLASS_SCORES)
        if score == "confidence":
            return 1.0 - self.mean.max(axis=-1).astype(np.float64)
        return getattr(self, score)

    @property
    def rejected(self) -> np.ndarray:
        """Whether an input is too uncertain to have a label: bool (batch,).

        All are False without a `rejection`.
        """
        return _rejected(self)

    @property
    def label(self) -> np.ndarray:
        """The class of the largest mean probability, -1 if rejected: int64 (batch,).

        -1 stands for *unknown*: do not look it up in a list of names, whose last one
        Python would give.
        """
        label = self.mean.argmax(axis=-1).astype(np.int64)
        return np.where(self.rejected, UNKNOWN, label)

    def reject(self, threshold: float, score: str = "total") -> "Prediction":
        """Returns the same prediction, unknown where it is more uncertain than that.

        An input is rejected where `uncertainty(score) > threshold`; `label` is -1
        there, and `rejected` True. All else stays, so that it can be seen what would
        have been said. Choose the threshold on validation data, by
        `tfhyper.metrics.rejection_threshold`, or let a predictor's `fit_rejection` do
        it for all its predictions.

        Args:
            threshold: float >= 0, in the unit of the score: nats, at most log(classes);
                with `"confidence"` a probability.
            score: as for `uncertainty`.

        Raises:
            ValueError: for a threshold that is not finite or out of this range, or
                another score.

        Example:

        >>> sure = predictor.predict(x_test).reject(0.9)
        >>> bool((sure.rejected == (sure.total > 0.9)).all())
        True
        >>> coverage = sure.selective_scores(y_test)["coverage"]
        >>> bool(np.isclose(coverage, 1 - sure.rejected.mean()))
        True
        """
        rejection = Rejection(threshold, score)
        largest = np.log(self.mean.shape[-1])
        if score != "confidence" and threshold > largest * (1 + _ENTROPY_ROOM):
            raise ValueError(
                f"`threshold` must be at most log(classes) = {largest:.4f} nats: no "
                f"entropy is above it. Received: threshold={threshold}"
            )
        return dataclasses.replace(self, rejection=rejection)

    def selective_scores(
        self, labels: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Returns how many inputs have a label, and how many of these are wrong.

        See `tfhyper.metrics.selective_report`: "coverage" and "selective_error".

        Args:
            labels: integers of shape (batch,).
            sample_weight: weights (batch,), finite and >= 0, or `None`.

        Raises:
            ValueError: for labels of another shape or out of range.
            TypeError: for labels that are no integers.
        """
        return metrics.selective_report(
            labels, sum_to_one(self.mean), self.rejected, sample_weight=sample_weight
        )

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
    sums = probs.sum(-1, keepdims=True, dtype=np.float64)
    return probs if np.abs(sums - 1).max() <= SUM_TOLERANCE else probs / sums


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
        rejection: `tfhyper.Rejection`, by which some answers are unknown, or `None`.
            That of the predictor, see `fit_rejection`; `reject` gives another.

    Example:

    >>> predictor = tfhyper.PosteriorPredictor(regression, outputs="mean")
    >>> prediction = predictor.predict(np.zeros((5, 3)))
    >>> low, high = prediction.interval(0.95)
    >>> bool((low < prediction.mean).all() and (prediction.mean < high).all())
    True
    """

    mean: np.ndarray
    variance: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    members: np.ndarray | None = None
    member_variance: np.ndarray | None = None
    rejection: Rejection | None = None

    def uncertainty(self, score: str = "total") -> np.ndarray:
        """Returns one variance for each input, float64 (batch,).

        Args:
            score: `"total"`, which is `variance`, `"aleatoric"` or `"epistemic"`.

        Raises:
            ValueError: for another score.
        """
        check_choice("score", score, REGRESSION_SCORES)
        return self.variance if score == "total" else getattr(self, score)

    @property
    def rejected(self) -> np.ndarray:
        """Whether an input is too uncertain to have an answer: bool (batch,).

        All are False without a `rejection`.
        """
        return _rejected(self)

    def reject(self, threshold: float, score: str = "total") -> "RegressionPrediction":
        """Returns the same prediction, unknown where its variance is above that.

        An input is rejected where `uncertainty(score) > threshold`. `mean` stays as it
        is: look at `rejected`.

        Args:
            threshold: float >= 0, in the square of the targets' unit: for a standard
                deviation, its square.
            score: as for `uncertainty`.

        Raises:
            ValueError: for a threshold that is not finite or below 0, or another score.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(regression, outputs="mean")
        >>> sure = predictor.predict(np.zeros((5, 3))).reject(2.0**2)
        >>> bool((sure.rejected == (sure.variance > 2.0**2)).all())
        True
        """
        check_choice("score", score, REGRESSION_SCORES)
        return dataclasses.replace(self, rejection=Rejection(threshold, score))

    def selective_scores(
        self, targets: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Returns how many inputs have an answer, and the error of these.

        Args:
            targets: finite numbers of shape (batch,).
            sample_weight: weights (batch,), finite and >= 0, or `None`.

        Returns:
            "coverage", the fraction that is kept, and "selective_rmse", that of the
            kept, in the unit of the targets; left out if none is kept.

        Raises:
            ValueError: for targets of another shape, or not finite.
            TypeError: for targets that are no real numbers.
        """
        targets = check_vector("targets", targets, len(self.mean))
        kept = ~self.rejected
        weights = check_sample_weight(sample_weight, len(targets))
        if weights is None:
            weights = np.ones(len(targets))
        scores = {"coverage": weighted_mean(kept, weights)}
        if scores["coverage"]:
            scores["selective_rmse"] = metrics.rmse(
                targets[kept], self.mean[kept], sample_weight=weights[kept]
            )
        return scores

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


def _rejected(prediction) -> np.ndarray:
    if prediction.rejection is None:
        return np.zeros(len(prediction.mean), bool)
    score = prediction.rejection.score
    return prediction.rejection.rejects(prediction.uncertainty(score))
