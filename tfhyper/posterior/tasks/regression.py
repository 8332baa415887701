"""Regression: a mean for each target, and perhaps a variance."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import check_choice, check_number
from tfhyper.conformal import ConformalIntervals, ConformalRule
from tfhyper.metrics._checks import as_array, check_vector
from tfhyper.metrics.bounds import Score
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
    output_shapes,
)
from tfhyper.tensor_types import Structure, Tensor

# The least noise that `fit_noise` chooses, as a part of the variance of the targets.
_SMALLEST_NOISE = 1e-4


@dataclasses.dataclass(frozen=True, repr=False)
class RegressionPrediction(Shown):
    """Average over the draws of a regression, with its uncertainty.

    With m_t and v_t mean and variance of draw t, by the law of total variance,

        mean      = mean_t m_t
        aleatoric = mean_t v_t                    what the data leave open
        epistemic = mean_t (m_t - mean)^2         what the weights leave open
        variance  = aleatoric + epistemic

    Of several targets, (batch, ..., targets) as the network gives them, all that is
    (batch,) here has that shape, and each target is an answer of its own; `covariance`
    says how they go together.

    Attributes:
        mean: float64 of shape (batch,), in the unit of the targets.
        variance: float64 of shape (batch,), in its square, as the next two.
        aleatoric: float64 of shape (batch,).
        epistemic: float64 of shape (batch,).
        members: float32 of shape (draws, batch), m_t, or `None` if not kept.
        member_variance: float32 of shape (draws, batch), v_t, or `None`.
        rejection: `tfhyper.Rejection`, by which some answers are unknown, or `None`.
            That of the predictor, see `fit_rejection`; `reject` gives another.
        conformal: `tfhyper.conformal.ConformalIntervals`, by which there is a
            `conformal_interval`, or `None`. That of the predictor, see `fit_conformal`.

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
    conformal: ConformalIntervals | None = None

    example_axes: ClassVar[Mapping[str, int]] = {
        **Shown.example_axes,
        "member_variance": 1,
    }

    def _contents(self) -> str:
        return targets_in_words(self.mean.shape[1:])

    def _columns(self) -> dict[str, Sequence[str]]:
        return moments(self)

    def uncertainty(self, score: Part = "total") -> np.ndarray:
        """Returns one variance for each input and target, float64 (batch,).

        Args:
            score: `"total"`, which is `variance`, `"aleatoric"` or `"epistemic"`.

        Raises:
            ValueError: for another score.
        """
        check_choice("score", score, Task.uncertainties)
        return self.variance if score == "total" else getattr(self, score)

    @property
    def rejected(self) -> np.ndarray:
        """Whether an input is too uncertain to have an answer: bool (batch,).

        All are False without a `rejection`.
        """
        return is_rejected(self)

    def reject(self, threshold: float, score: Part = "total") -> "RegressionPrediction":
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
        check_choice("score", score, Task.uncertainties)
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
        checked = _check_targets("targets", targets, (None, *self.mean.shape[1:]))
        weights = positions.check_weights(sample_weight, checked.shape, False)
        sums = SelectiveSums()
        sums.add(*_losses(checked, self, weights, "targets"))
        return sums.scores("selective_rmse")

    def covariance(self) -> np.ndarray:
        """Returns how targets go together: float64 (batch, ..., targets, targets).

        mean_t (m_t - mean) (m_t - mean)^T, what the weights leave open, with the
        variances v_t, averaged, on the diagonal, which is `variance`: noise is not
        common to targets. Of one target, (batch,), it is (batch, 1, 1).

        Raises:
            ValueError: if the members were not kept.
        """
        members = kept(self.members).astype(np.float64)
        lead = self.mean.shape[:-1] if self.mean.ndim > 1 else self.mean.shape
        members = members.reshape(len(members), *lead, -1)
        away = members - members.mean(axis=0)
        found = np.einsum("t...i,t...j->...ij", away, away) / len(members)
        noise = self.aleatoric.reshape(*lead, -1)
        return found + noise[..., None] * np.eye(noise.shape[-1])

    @property
    def std(self) -> np.ndarray:
        """The square root of `variance`."""
        return np.sqrt(self.variance)

    def interval(self, level: float = 0.9) -> metrics.PredictiveInterval:
        """Returns the central interval of N(mean, variance).

        Args:
            level: float in (0, 1), the probability inside.
        """
        found = metrics.gaussian_interval(
            self.mean.reshape(-1), self.variance.reshape(-1), level
        )
        return metrics.PredictiveInterval(*(x.reshape(self.mean.shape) for x in found))

    @property
    def conformal_interval(self) -> metrics.PredictiveInterval:
        """The conformal interval of each target, in the shape of `mean`.

        By the predictor's `conformal`, see `fit_conformal`. They are there whatever
        is rejected.

        Raises:
            ValueError: if there is no such rule.
        """
        return interval_of(self)


class RegressionSum(MemberSum):
    """Adds up means and variances, one member at a time."""

    def __init__(self, keep_members: bool):
        self._moments = RunningMoments()
        self.members: list[tuple[np.ndarray, np.ndarray]] | None = (
            [] if keep_members else None
        )

    def add(self, *member: np.ndarray) -> None:
        """Adds one draw's means and variances, both (batch,) or (batch, ...)."""
        mean, variance = member
        self._moments.add(mean, variance)
        if self.members is not None:
            self.members.append((mean, variance))

    def result(self) -> RegressionPrediction:
        """Returns the prediction of the members added so far."""
        members = member_variance = None
        if self.members is not None:
            members, member_variance = map(np.stack, zip(*self.members, strict=True))
        return RegressionPrediction(
            members=members, member_variance=member_variance, **self._moments.result()
        )


class Regression(Task):
    """The task of a regression: a mean, and perhaps a variance, for each target.

    One number for each example, or several: a vector, an image, a sequence. Of
    (batch, 1) predictions, targets and weights have the shape (batch,), else the
    network's own.

    Args:
        model: a model whose output is (batch, ..., targets), or for
            `"mean_and_variance"` two of these, or one (batch, ..., 2 targets), the
            means first.
        outputs: `"mean"` or `"mean_and_variance"`.
        noise_variance: float >= 0, variance of the targets around the mean, for
            `"mean"`; or a sequence of these, one for each target of the last axis.

    Raises:
        ValueError: for another model or an argument out of range.
    """

    names = ("mean", "mean_and_variance")
    takes = ("noise_variance",)
    unit = "square of the targets' unit"
    conforms = ConformalIntervals.methods
    keeps_members = True

    def __init__(
        self,
        model: keras.Model,
        outputs: str = "mean",
        noise_variance: float | Sequence[float] = 0.0,
    ):
        self.name = outputs
        shapes = output_shapes(model)
        if not _fits(shapes, outputs):
            rule = {
                "mean": "one output (batch, ..., targets)",
                "mean_and_variance": "one output (batch, ..., 2 targets) or two "
                "(batch, ..., targets)",
            }[outputs]
            raise ValueError(
                f'`model` must have {rule} for `outputs="{outputs}"`. '
                f"Received: a model with outputs of the shapes {shapes}"
            )
        self._keys = _check_names(model, outputs)
        half = outputs != "mean" and len(shapes) == 1
        self.targets = shapes[0][-1] // 2 if half else shapes[0][-1]
        shape = (*shapes[0][:-1], self.targets)
        # One number for each example has no axis of targets.
        self._single = len(shape) == 2 and self.targets == 1
        self._shape = shape[:1] if self._single else shape
        self.noise_variance = _check_noise(noise_variance, self.targets)
        if np.any(self.noise_variance) and outputs == "mean_and_variance":
            raise ValueError(
                '`noise_variance` is for `outputs="mean"`: the network gives a '
                f"variance itself. Received: noise_variance={noise_variance!r}"
            )

    @classmethod
    def found_in(cls, evidence: output_kind.Evidence) -> tuple[str, bool] | None:
        """Returns "mean" for a loss of targets, but behind a softmax."""
        if evidence.columns is None or evidence.kind == output_kind.PROBABILITIES:
            return None
        return ("mean", True) if evidence.loss == output_kind.TARGETS else None

    def read(self, raw: Structure) -> Member:
        """Returns means and variances of a batch, (batch,) or (batch, ...) each."""
        parts = self._ordered(raw)
        if self.name == "mean":
            (mean,) = parts
            variance = np.broadcast_to(
                np.asarray(self.noise_variance, np.float32), mean.shape
            )
        else:
            mean, variance = parts if len(parts) == 2 else np.split(parts[0], 2, -1)
            if not (variance > 0).all():
                raise ValueError(
                    "The variance that the model gives must be above 0: end it in a "
                    f"softplus or exp. Received: a variance of {variance.min()}"
                )
        if self._single:
            return mean[..., 0], np.array(variance[..., 0])
        return mean, np.array(variance)

    def tensor(self, raw: Structure) -> Tensor:
        """Returns means, then variances, (batch, ..., 2 targets), as `read`."""
        parts = [in_float32(x) for x in self._ordered(raw)]
        if self.name == "mean":
            noise = np.broadcast_to(self.noise_variance, (self.targets,))
            parts.append(ops.zeros_like(parts[0]) + noise.astype("float32"))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def average(self, outputs: Sequence) -> list:
        """Returns mean and variance of networks' symbolic outputs."""
        members = ops.stack([self.tensor(x) for x in outputs])
        means, variances = self._halves(members)
        mean = ops.mean(means, axis=0)
        variance = ops.mean(ops.square(means - mean), axis=0)
        return [mean, variance + ops.mean(variances, axis=0)]

    def _ordered(self, raw: Structure) -> list:
        """Returns one output or two, the mean first."""
        if isinstance(raw, dict):
            return [raw[key] for key in self._keys or raw]
        return keras.tree.flatten(raw)

    def _halves(self, members: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the means and the variances of what `tensor` gave."""
        return members[..., : self.targets], members[..., self.targets :]

    def _parts(self, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns mean, aleatoric and epistemic variance of (batch, draws, ...)."""
        means, variances = self._halves(members)
        mean, aleatoric = ops.mean(means, axis=1), ops.mean(variances, axis=1)
        return mean, aleatoric, ops.mean(ops.square(means - mean[:, None]), axis=1)

    def new_sum(self, keep_members: bool) -> RegressionSum:
        """Returns what adds up the means and variances of draws."""
        return RegressionSum(keep_members)

    def member_of(self, prediction: RegressionPrediction, draw: int) -> Member:
        """Returns the means and variances of one draw."""
        members, variances = prediction.members, prediction.member_variance
        return kept(members)[draw], kept(variances)[draw]

    @property
    def has_likelihood(self) -> bool:
        """Whether the targets have noise, chosen or given by the network."""
        return self.name != "mean" or bool(np.all(np.asarray(self.noise_variance) > 0))

    def check_scores(self) -> None:
        """Raises ValueError if the targets have no noise, and so no likelihood."""
        if not self.has_likelihood:
            raise ValueError(
                "The likelihood of targets needs a noise variance above 0: call "
                "`fit_noise` with held-out data, or give `noise_variance`. "
                f"Received: noise_variance={self.noise_variance}"
            )

    def new_scores(self) -> "RegressionScores":
        """Returns what adds up rmse, crps, nll, coverage_90 and width_90."""
        return RegressionScores()

    def check_labels(self, targets: ArrayLike) -> np.ndarray:
        """Returns targets (examples, ...) in float64, of the shape of predictions.

        Raises:
            ValueError: for another shape, or targets that are not finite.
            TypeError: for targets that are no real numbers.
        """
        return _check_targets("y", targets, self._shape)

    def check_fits_noise(self) -> None:
        """Raises ValueError if the network gives a variance itself."""
        if self.name != "mean":
            super().check_fits_noise()

    def fit_noise(
        self,
        targets: np.ndarray,
        prediction: RegressionPrediction,
        weights: np.ndarray | None,
        score: Score,
        per_target: bool = False,
    ) -> None:
        """Sets `noise_variance` to what scores best with members that were kept.

        Raises:
            ValueError: if there is no noise at all.
        """
        positions.check_positions("y", targets, prediction.mean.shape)
        members = kept(prediction.members)
        columns = self.targets if per_target else 1
        shaped = None if weights is None else weights.reshape(-1, columns)
        found = [
            _best_noise(
                targets.reshape(-1, columns)[:, i],
                members.reshape(len(members), -1, columns)[..., i],
                None if shaped is None else shaped[:, i],
                score,
            )
            for i in range(columns)
        ]
        self.noise_variance = found if per_target else found[0]

    @property
    def conformal_columns(self) -> int:
        """How many targets there are."""
        return self.targets

    def check_conforms(self, method: str) -> None:
        """Raises ValueError for another method, or targets of a map or a sequence."""
        if len(self._shape) > 2:
            raise ValueError(
                "Conformal intervals are of examples: the positions of a map or a "
                "sequence are not independent of each other. "
                f"Received: a model with outputs of the shape {self._shape}"
            )
        super().check_conforms(method)

    def conformal_outputs(
        self, found: dict, rule: ConformalRule, xp: Any = ops
    ) -> dict[str, Any]:
        """Returns "lower" and "upper", of what a file gives."""
        return interval_outputs(found, rule, xp)

    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns mean and variances, as `RegressionPrediction` has them."""
        mean, aleatoric, epistemic = self._parts(members)
        found = {
            "mean": mean,
            "variance": aleatoric + epistemic,
            "aleatoric": aleatoric,
            "epistemic": epistemic,
        }
        if self._single:
            return {name: x[..., 0] for name, x in found.items()}
        return found

    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns means and variances of each draw, (batch, draws, ...) each."""
        means, variances = self._halves(members)
        if self._single:
            means, variances = means[..., 0], variances[..., 0]
        return {"members": means, "member_variance": variances}

    def expected_outputs(
        self, prediction: RegressionPrediction
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of a file, of a prediction."""
        return {
            "mean": prediction.mean,
            "variance": prediction.variance,
            "aleatoric": prediction.aleatoric,
            "epistemic": prediction.epistemic,
            "members": kept(prediction.members).swapaxes(0, 1),
            "member_variance": kept(prediction.member_variance).swapaxes(0, 1),
        }

    def output_scores(self, labels: ArrayLike, found: dict) -> dict[str, float]:
        """Returns the scores of the members that a file gave."""
        moments = (found[name] for name in ("members", "member_variance"))
        return metrics.regression_report(
            self.check_labels(labels).reshape(-1),
            *(_rows(x.swapaxes(0, 1)) for x in moments),
        )

    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Returns `RegressionPrediction.uncertainty(score)` from what a file gives."""
        return found["variance" if score == "total" else score]


class RegressionScores(Scores):
    """Adds up rmse, crps, nll, coverage_90 and width_90."""

    selective = "selective_rmse"

    def __init__(self) -> None:
        super().__init__()
        self._sums = metrics.RegressionScores()

    def add(
        self,
        targets: np.ndarray,
        prediction: RegressionPrediction,
        weights: np.ndarray | None,
    ) -> None:
        """Adds a part of the data."""
        positions.check_positions("y", targets, prediction.mean.shape)
        self._sums.update(
            targets.reshape(-1),
            _rows(kept(prediction.members)),
            _rows(kept(prediction.member_variance)),
            sample_weight=weights,
        )

    def losses(
        self,
        targets: np.ndarray,
        prediction: RegressionPrediction,
        weights: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns squared errors, which are rejected, and weights."""
        return _losses(targets, prediction, weights, "y")

    def scores(self) -> dict[str, float]:
        """Returns the scores of all parts."""
        return self._sums.result()


def _losses(
    targets: np.ndarray,
    prediction: RegressionPrediction,
    weights: np.ndarray | None,
    name: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    positions.check_positions(name, targets, prediction.mean.shape)
    errors = np.square(targets - prediction.mean)
    return errors.reshape(-1), prediction.rejected.reshape(-1), weights


def _check_names(model: keras.Model, outputs: str) -> list[str] | None:
    """Returns the names of outputs that have some, the mean's first, or `None`.

    Raises:
        ValueError: for two outputs whose names do not say which is which.
    """
    # A Sequential model has one, without a name.
    output = None if isinstance(model, keras.Sequential) else model.output
    if not isinstance(output, dict):
        return None
    if len(output) == 1:
        return list(output)
    if set(output) != {"mean", "variance"}:
        raise ValueError(
            f'`model` must call its two outputs "mean" and "variance" for `outputs='
            f'"{outputs}"`, or give them in a list in this order. '
            f"Received: a model with the outputs {sorted(output)}"
        )
    return ["mean", "variance"]


def _fits(shapes: list[tuple], outputs: str) -> bool:
    """Returns whether outputs of these shapes can be what `outputs` says."""
    if any(len(shape) < 2 or shape[-1] is None for shape in shapes):
        return False
    if outputs == "mean":
        return len(shapes) == 1
    if len(shapes) == 1:
        return shapes[0][-1] % 2 == 0
    return len(shapes) == 2 and shapes[0] == shapes[1]


def _check_noise(value: Any, targets: int) -> float | list[float]:
    """Returns one noise variance, or a list with one for each target."""
    if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) == 0:
        return check_number("noise_variance", value)
    found = [check_number("noise_variance", x) for x in value]
    if len(found) != targets:
        raise ValueError(
            f"`noise_variance` must be a number, or one for each of {targets} targets. "
            f"Received: noise_variance={value!r}"
        )
    return found


def _check_targets(name: str, targets: ArrayLike, shape: tuple) -> np.ndarray:
    """Returns finite float64 targets of a shape, whose axes may be `None`.

    One number for each example may come as (examples, 1), too.
    """
    array = as_array(name, targets)
    if len(shape) == 1:
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        return check_vector(name, array)
    fits = array.ndim == len(shape) and all(
        size in (None, found)
        for size, found in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not array.size:
        raise ValueError(
            f"`{name}` must have the shape {('examples', *shape[1:])}, a number for "
            f"each target. Received: {name}.shape={array.shape}"
        )
    return check_vector(name, array.reshape(-1)).reshape(array.shape)


def _rows(members: np.ndarray) -> np.ndarray:
    """Returns members (draws, ...) as (draws, rows)."""
    return members.reshape(len(members), -1)


def _best_noise(
    targets: np.ndarray,
    members: np.ndarray,
    weights: np.ndarray | None,
    score: Score,
) -> float:
    """Returns the noise variance that scores best.

    Raises:
        ValueError: if there is no noise at all.
    """
    found = metrics.fit_noise_variance(targets, members, score, sample_weight=weights)
    # Draws that scatter enough by themselves leave none, and no likelihood.
    found = max(found, _SMALLEST_NOISE * float(np.var(targets)))
    if found == 0:
        raise ValueError(
            "`y` must differ from the prediction, or between examples. Received: "
            f"y={targets[0]} throughout, which every draw predicts"
        )
    return found
