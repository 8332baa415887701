"""Distributions as outputs: the mixture, over draws, of what heads give."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import check_choice, naming
from tfhyper.conformal import ConformalIntervals, ConformalRule
from tfhyper.heads import DrawMixture, Family
from tfhyper.metrics._checks import RunningMean
from tfhyper.posterior.tasks import output_kind, positions
from tfhyper.posterior.tasks.conformity import interval_of, interval_outputs
from tfhyper.posterior.tasks.moments import RunningMoments
from tfhyper.posterior.tasks.rejection import (
    Part,
    Rejection,
    SelectiveSums,
    is_rejected,
)
from tfhyper.posterior.tasks.shown import Shown, moments, targets_in_words
from tfhyper.posterior.tasks.task import (
    Member,
    MemberSum,
    Scores,
    Task,
    in_float32,
    kept,
    only,
    output_shapes,
)
from tfhyper.tensor_types import Structure, Tensor


@dataclasses.dataclass(frozen=True, repr=False)
class DistributionPrediction(Shown):
    """What the draws of a network with a `tfhyper.heads` layer say together.

    The mixture p(y) = mean_t p_t(y) of the draws' distributions. By the law of total
    variance,

        mean      = mean_t m_t
        aleatoric = mean_t v_t                    what the data leave open
        epistemic = mean_t (m_t - mean)^2         what the weights leave open
        variance  = aleatoric + epistemic

    with m_t and v_t the moments of draw t. `mixture` has all else: log-densities,
    quantiles, samples, the CRPS.

    Attributes:
        family: the `tfhyper.heads.Family` that says what the parameters are.
        mean: float64 of shape (batch, ..., targets), in the unit of the targets.
        variance: float64 of that shape, in its square, as the next two.
        aleatoric: float64 of that shape.
        epistemic: float64 of that shape.
        members: float32 (draws, batch, ..., units), the parameters of each draw, or
            `None` if they were not kept.
        rejection: `tfhyper.Rejection`, by which some answers are unknown, or `None`.
        conformal: `tfhyper.conformal.ConformalIntervals`, by which there is a
            `conformal_interval`, or `None`. That of the predictor, see `fit_conformal`.

    Example:

    >>> predictor = tfhyper.PosteriorPredictor(heteroscedastic, num_draws=4)
    >>> prediction = predictor.predict(np.zeros((5, 3)))
    >>> low, high = prediction.interval(0.9)
    >>> bool((low < prediction.mean).all() and (prediction.mean < high).all())
    True
    >>> prediction.mixture.log_prob(np.zeros(5)).shape
    (5,)
    """

    family: Family
    mean: np.ndarray
    variance: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    members: np.ndarray | None = None
    rejection: Rejection | None = None
    conformal: ConformalIntervals | None = None

    def _contents(self) -> str:
        family = type(self.family).__name__
        return f"{targets_in_words(self.mean.shape[1:])}, {family} distributions"

    def _columns(self) -> dict[str, Sequence[str]]:
        return moments(self)

    @functools.cached_property
    def mixture(self) -> DrawMixture:
        """The `tfhyper.heads.DrawMixture` of the draws.

        Raises:
            ValueError: if the members were not kept.
        """
        return DrawMixture(self.family, kept(self.members))

    @property
    def std(self) -> np.ndarray:
        """The square root of `variance`."""
        return np.sqrt(self.variance)

    def interval(self, level: float = 0.9) -> metrics.PredictiveInterval:
        """Returns the central interval of the mixture, by its quantiles.

        Args:
            level: float in (0, 1), the probability inside.

        Raises:
            ValueError: for a level out of range, or if the members were not kept.
        """
        return self.mixture.interval(level)

    @property
    def conformal_interval(self) -> metrics.PredictiveInterval:
        """The conformal interval of each target, in the shape of `mean`.

        By the predictor's `conformal`, see `fit_conformal`. They are there whatever
        is rejected.

        Raises:
            ValueError: if there is no such rule, or with
                `"quantile"` if the members were not kept.
        """
        return interval_of(self)

    def uncertainty(self, score: Part = "total") -> np.ndarray:
        """Returns one variance for each target, float64 (batch, ..., targets).

        Args:
            score: `"total"`, which is `variance`, `"aleatoric"` or `"epistemic"`.

        Raises:
            ValueError: for another score.
        """
        check_choice("score", score, Task.uncertainties)
        return self.variance if score == "total" else getattr(self, score)

    @property
    def rejected(self) -> np.ndarray:
        """Whether a target is too uncertain to have an answer: bool.

        All are False without a `rejection`.
        """
        return is_rejected(self)

    def reject(
        self, threshold: float, score: Part = "total"
    ) -> "DistributionPrediction":
        """Returns the same prediction, unknown where its variance is above that.

        Args:
            threshold: float >= 0, in the square of the targets' unit.
            score: as for `uncertainty`.

        Raises:
            ValueError: for a threshold that is not finite or below 0, or another score.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(heteroscedastic, num_draws=4)
        >>> sure = predictor.predict(np.zeros((5, 3))).reject(2.0**2)
        >>> bool((sure.rejected == (sure.variance > 2.0**2)).all())
        True
        """
        check_choice("score", score, Task.uncertainties)
        return dataclasses.replace(self, rejection=Rejection(threshold, score))

    def selective_scores(
        self, targets: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Returns how many targets have an answer, and the error of these.

        Args:
            targets: (batch, ..., targets), or (batch, ...) if there is one.
            sample_weight: weights (batch,), or of the targets' shape; or `None`.

        Returns:
            "coverage" and "selective_rmse", which is left out if none has one.

        Raises:
            ValueError: for targets of another shape, or out of the support.
            TypeError: for targets that are no real numbers.
        """
        checked = self.family.check_targets(targets, self.mean.shape[:-1])
        weights = positions.check_weights(sample_weight, checked.shape, False)
        sums = SelectiveSums()
        sums.add(*_losses(checked, self, weights))
        return sums.scores("selective_rmse")


class DistributionSum(MemberSum):
    """Adds up the moments of draws, and keeps their parameters if that is asked for."""

    def __init__(self, family: Family, keep_members: bool):
        self._family, self._moments = family, RunningMoments()
        self._members: list[np.ndarray] | None = [] if keep_members else None

    def add(self, *member: np.ndarray) -> None:
        """Adds the parameters of one draw, (batch, ..., units)."""
        (parameters,) = member
        one = DrawMixture(self._family, parameters[np.newaxis])
        self._moments.add(one.mean, one.aleatoric)
        if self._members is not None:
            self._members.append(parameters)

    def result(self) -> DistributionPrediction:
        """Returns the prediction of the draws added so far."""
        members = None if self._members is None else np.stack(self._members)
        return DistributionPrediction(
            family=self._family, members=members, **self._moments.result()
        )


class Distribution(Task):
    """The task of a model that ends in a layer of `tfhyper.heads`.

    Args:
        model: a model whose output is that of a `tfhyper.heads.Head`.
        outputs: `"distribution"`.

    Raises:
        ValueError: for another model.
    """

    names = ("distribution",)
    unit = "square of the targets' unit"
    conforms = ConformalIntervals.methods
    keeps_members = True

    def __init__(self, model: keras.Model, outputs: str = "distribution"):
        self.name = outputs
        family = output_kind.evidence_of(model).family
        if family is None:
            raise ValueError(
                '`model` must end in a layer of `tfhyper.heads` for `outputs="'
                f'distribution"`. Received: a model with outputs of the shapes '
                f"{output_shapes(model)}"
            )
        self.family = family

    @classmethod
    def found_in(cls, evidence: output_kind.Evidence) -> tuple[str, bool] | None:
        """Returns "distribution" behind a head of numbers."""
        return None if evidence.family is None else ("distribution", True)

    def read(self, raw: Structure) -> Member:
        """Returns the parameters (batch, ..., units) of a batch, in a tuple.

        Raises:
            ValueError: for parameters out of their range.
        """
        found = only(raw)
        self.family.check_parameters(found)
        return (found,)

    def tensor(self, raw: Structure) -> Tensor:
        """Returns the parameters in float32, as `read`, of tensors."""
        return in_float32(only(raw))

    def average(self, outputs: Sequence) -> list:
        """Returns mean and variance of networks' symbolic outputs."""
        found = self._moments(ops.stack([self.tensor(x) for x in outputs]), axis=0)
        return [found["mean"], found["variance"]]

    def _moments(self, members: Tensor, axis: int) -> dict[str, Tensor]:
        """Returns the moments of the mixture of draws along an axis."""
        means = self.family.mean(members)
        mean = ops.mean(means, axis=axis, keepdims=True)
        epistemic = ops.mean(ops.square(means - mean), axis=axis)
        aleatoric = ops.mean(self.family.variance(members), axis=axis)
        return {
            "mean": ops.squeeze(mean, axis=axis),
            "variance": aleatoric + epistemic,
            "aleatoric": aleatoric,
            "epistemic": epistemic,
        }

    def new_sum(self, keep_members: bool) -> DistributionSum:
        """Returns what adds up the moments of draws."""
        return DistributionSum(self.family, keep_members)

    def new_scores(self) -> "DistributionScores":
        """Returns what adds up rmse, crps, nll, coverage_90 and width_90."""
        return DistributionScores()

    def check_labels(self, targets: ArrayLike) -> np.ndarray:
        """Returns targets (examples, ..., targets) in float64.

        Raises:
            ValueError: for another shape, or targets out of the support.
            TypeError: for targets that are no real numbers.
        """
        array = np.asarray(targets)
        axes = len(self.shapes[0]) - 1
        with naming("y", "targets that the distribution can have"):
            return self.family.check_targets(array, array.shape[:axes])

    @property
    def conformal_columns(self) -> int:
        """How many targets there are."""
        return self.family.targets

    def check_conforms(self, method: str) -> None:
        """Raises ValueError for another method, or targets of a map or a sequence."""
        if len(self.shapes[0]) > 2:
            raise ValueError(
                "Conformal intervals are of examples: the positions of a map or a "
                "sequence are not independent of each other. "
                f"Received: a model with outputs of the shape {self.shapes[0]}"
            )
        super().check_conforms(method)

    def check_exports(self, rule: ConformalRule) -> None:
        """Raises ValueError for quantiles of the mixture, which no file has."""
        if rule.method == "quantile":
            raise ValueError(
                '`conformal` must be of "split" or "normalized" to be exported: a file '
                "gives the moments of a head's distributions, and not the quantiles of "
                "their mixture. Received: a rule of "
                f"method={rule.method!r}"
            )

    def conformal_outputs(
        self, found: dict, rule: ConformalRule, xp: Any = ops
    ) -> dict[str, Any]:
        """Returns "lower" and "upper", of what a file gives."""
        return interval_outputs(found, rule, xp)

    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns mean and variances, as `DistributionPrediction` has them."""
        return self._moments(members, axis=1)

    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns the parameters of each draw, (batch, draws, ..., units)."""
        return {"members": members}

    def expected_outputs(
        self, prediction: DistributionPrediction
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of a file, of a prediction."""
        return {
            "mean": prediction.mean,
            "variance": prediction.variance,
            "aleatoric": prediction.aleatoric,
            "epistemic": prediction.epistemic,
            "members": kept(prediction.members).swapaxes(0, 1),
        }

    def output_scores(self, labels: ArrayLike, found: dict) -> dict[str, float]:
        """Returns the scores of the members that a file gave."""
        total = self.new_sum(keep_members=True)
        for member in found["members"].swapaxes(0, 1):
            total.add(member)
        scores = self.new_scores()
        scores.update(self.check_labels(labels), total.result(), None)
        return scores.result()

    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Returns `DistributionPrediction.uncertainty(score)` of what a file gives."""
        return found["variance" if score == "total" else score]


class DistributionScores(Scores):
    """Adds up rmse, crps, nll, coverage_90 and width_90.

    All but the likelihood, which is that of an example's targets together, are means
    over targets.
    """

    selective = "selective_rmse"

    def __init__(self) -> None:
        super().__init__()
        self._squares, self._crps, self._logs = (RunningMean() for _ in range(3))
        self._inside, self._width = RunningMean(), RunningMean()

    def add(
        self,
        targets: np.ndarray,
        prediction: DistributionPrediction,
        weights: np.ndarray | None,
    ) -> None:
        """Adds a part of the data."""
        positions.check_positions("y", targets, prediction.mean.shape)
        mixture = prediction.mixture
        low, high = mixture.interval(0.9)
        for sums, values in (
            (self._squares, np.square(targets - prediction.mean)),
            (self._crps, mixture.crps(targets)),
            (self._inside, (low <= targets) & (targets <= high)),
            (self._width, high - low),
        ):
            sums.add(np.asarray(values, np.float64).reshape(-1), weights)
        of_examples = None
        if weights is not None:
            of_examples = weights.reshape(-1, targets.shape[-1]).mean(axis=-1)
        self._logs.add(mixture.log_prob(targets).reshape(-1), of_examples)

    def losses(
        self,
        targets: np.ndarray,
        prediction: DistributionPrediction,
        weights: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns squared errors, which are rejected, and weights."""
        return _losses(targets, prediction, weights)

    def scores(self) -> dict[str, float]:
        """Returns the scores of all parts."""
        return {
            "rmse": float(np.sqrt(self._squares.result())),
            "crps": self._crps.result(),
            "nll": -self._logs.result(),
            "coverage_90": self._inside.result(),
            "width_90": self._width.result(),
        }


def _losses(
    targets: np.ndarray,
    prediction: DistributionPrediction,
    weights: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    errors = np.square(targets - prediction.mean)
    return errors.reshape(-1), prediction.rejected.reshape(-1), weights
