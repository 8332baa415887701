"""Regression: a mean for each example, and perhaps a variance."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import check_choice, check_number
from tfhyper.metrics._checks import check_sample_weight, check_vector, weighted_mean
from tfhyper.metrics.bounds import Score
from tfhyper.posterior.tasks.rejection import Part, Rejection, is_rejected
from tfhyper.posterior.tasks.task import (
    MemberSum,
    Task,
    finite,
    in_float32,
    kept,
    output_shapes,
)
from tfhyper.tensor_types import Structure, Tensor

# The least noise that `fit_noise` chooses, as a part of the variance of the targets.
_SMALLEST_NOISE = 1e-4


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

    def uncertainty(self, score: Part = "total") -> np.ndarray:
        """Returns one variance for each input, float64 (batch,).

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


class RegressionSum(MemberSum):
    """Adds up means and variances, one member at a time."""

    def __init__(self, keep_members: bool):
        self.count = 0
        self.first = self.shift = self.squares = self.noise = np.zeros(0)
        self.members: list[tuple[np.ndarray, np.ndarray]] | None = (
            [] if keep_members else None
        )

    def add(self, *member: np.ndarray) -> None:
        """Adds one draw's means and variances, each of shape (batch,)."""
        mean, variance = member
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


class Regression(Task):
    """The task of a regression: a mean, and perhaps a variance, for each example.

    Args:
        model: a model whose output is (batch, 1), or for `"mean_and_variance"`
            two of these, or one (batch, 2).
        outputs: `"mean"` or `"mean_and_variance"`.
        noise_variance: float >= 0, variance of the targets around the mean, for
            `"mean"`.

    Raises:
        ValueError: for another model or an argument out of range.
    """

    names = ("mean", "mean_and_variance")
    takes = ("noise_variance",)
    unit = "square of the targets' unit"
    keeps_members = True

    def __init__(
        self, model: keras.Model, outputs: str = "mean", noise_variance: float = 0.0
    ):
        self.name = outputs
        shapes = output_shapes(model)
        allowed = [[1]] if outputs == "mean" else [[2], [1, 1]]
        if [shape[-1] for shape in shapes] not in allowed or any(
            len(shape) != 2 for shape in shapes
        ):
            rule = {
                "mean": "one output (batch, 1)",
                "mean_and_variance": "one output (batch, 2) or two (batch, 1)",
            }[outputs]
            raise ValueError(
                f'`model` must have {rule} for `outputs="{outputs}"`. '
                f"Received: a model with outputs of the shapes {shapes}"
            )
        self._keys = _check_names(model, outputs)
        self.noise_variance = check_number("noise_variance", noise_variance)
        if noise_variance and outputs == "mean_and_variance":
            raise ValueError(
                '`noise_variance` is for `outputs="mean"`: the network gives a '
                f"variance itself. Received: noise_variance={noise_variance!r}"
            )

    def read(self, raw: Structure) -> tuple[np.ndarray, ...]:
        """Returns means and variances of a batch, each (batch,)."""
        if self.name == "mean":
            (mean,) = finite(raw).T
            return mean, np.full_like(mean, self.noise_variance)
        mean, variance = finite(np.concatenate(self._ordered(raw), -1)).T
        if not (variance > 0).all():
            raise ValueError(
                "The variance that the model gives must be above 0: end it in a "
                f"softplus or exp. Received: a variance of {variance.min()}"
            )
        return mean, variance

    def tensor(self, raw: Structure) -> Tensor:
        """Returns mean and variance (batch, 2) in float32, as `read`, of tensors."""
        parts = [in_float32(x) for x in self._ordered(raw)]
        if self.name == "mean":
            parts.append(ops.full_like(parts[0], self.noise_variance))
        return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)

    def average(self, outputs: Sequence) -> list:
        """Returns mean and variance, each (batch, 1), of networks' symbolic outputs."""
        members = ops.stack([self.tensor(x) for x in outputs])  # (draws, batch, 2)
        means, variances = members[..., :1], members[..., 1:]
        mean = ops.mean(means, axis=0)
        variance = ops.mean(ops.square(means - mean), axis=0)
        return [mean, variance + ops.mean(variances, axis=0)]

    def _ordered(self, raw: Structure) -> list:
        """Returns one output or two, the mean first."""
        if isinstance(raw, dict):
            return [raw[key] for key in self._keys or raw]
        return keras.tree.flatten(raw)

    def new_sum(self, keep_members: bool) -> RegressionSum:
        """Returns what adds up the means and variances of draws."""
        return RegressionSum(keep_members)

    @property
    def has_likelihood(self) -> bool:
        """Whether the targets have noise, chosen or given by the network."""
        return self.name != "mean" or self.noise_variance > 0

    def check_scores(self) -> None:
        """Raises ValueError if the targets have no noise, and so no likelihood."""
        if not self.has_likelihood:
            raise ValueError(
                "The likelihood of targets needs a noise variance above 0: call "
                "`fit_noise` with held-out data, or give `noise_variance`. "
                f"Received: noise_variance={self.noise_variance}"
            )

    def report(
        self,
        targets: np.ndarray,
        prediction: RegressionPrediction,
        weights: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Returns rmse, crps, nll, coverage_90 and width_90 of a prediction."""
        return metrics.regression_report(
            targets,
            kept(prediction.members),
            kept(prediction.member_variance),
            sample_weight=weights,
        )

    def check_labels(self, targets: ArrayLike) -> np.ndarray:
        """Returns targets (examples,) in float64, of that shape or (examples, 1).

        Raises:
            ValueError: for another shape, or targets that are not finite.
            TypeError: for targets that are no real numbers.
        """
        targets = np.asarray(targets)
        if targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]
        return check_vector("y", targets)

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
    ) -> None:
        """Sets `noise_variance` to what scores best with members that were kept.

        Raises:
            ValueError: if there is no noise at all.
        """
        found = metrics.fit_noise_variance(
            targets, kept(prediction.members), score, sample_weight=weights
        )
        # Draws that scatter enough by themselves leave none, and no likelihood.
        found = max(found, _SMALLEST_NOISE * float(np.var(targets)))
        if found == 0:
            raise ValueError(
                "`y` must differ from the prediction, or between examples. Received: "
                f"y={targets[0]} throughout, which every draw predicts"
            )
        self.noise_variance = found

    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns mean and variances, as `RegressionPrediction` has them."""
        mean = ops.mean(members, axis=1)
        spread = ops.square(members[..., 0] - mean[:, None, 0])
        epistemic = ops.mean(spread, axis=1)
        return {
            "mean": mean[:, 0],
            "variance": mean[:, 1] + epistemic,
            "aleatoric": mean[:, 1],
            "epistemic": epistemic,
        }

    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns mean and variance of each draw, each (batch, draws)."""
        return {"members": members[..., 0], "member_variance": members[..., 1]}

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
        return metrics.regression_report(labels, *(x.swapaxes(0, 1) for x in moments))

    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Returns `RegressionPrediction.uncertainty(score)` from what a file gives."""
        return found["variance" if score == "total" else score]


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
