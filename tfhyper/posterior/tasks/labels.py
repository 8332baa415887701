"""Labels each by itself: one, as of a spam filter, or several, as tags of an image."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import check_choice
from tfhyper.conformal import ConformalRule, ConformalSets
from tfhyper.metrics._checks import as_array, as_float_array, check_no_bools
from tfhyper.posterior.tasks import output_kind, positions
from tfhyper.posterior.tasks.classification import CLASS_UNCERTAINTIES
from tfhyper.posterior.tasks.conformity import set_outputs, sets_of
from tfhyper.posterior.tasks.rejection import (
    UNKNOWN,
    Rejection,
    SelectiveSums,
    Uncertainty,
    is_rejected,
)
from tfhyper.posterior.tasks.scaled_task import ProbabilitySum, ScaledTask
from tfhyper.posterior.tasks.shown import (
    Shown,
    label_or_unknown,
    means,
    numbers,
    places,
    positions_in_words,
    uncertainties,
)
from tfhyper.posterior.tasks.task import (
    Member,
    Scores,
    in_float32,
    kept,
    only,
    output_shapes,
)
from tfhyper.scaling import Scaling
from tfhyper.scaling.base import log_of, softplus
from tfhyper.tensor_types import Structure, Tensor

# Below it p log p is 0 in float32.
_TINY = 1e-30
# log 2, and what entropies of probabilities in float32 may be above it.
_LARGEST_ENTROPY = 0.6932
# How far out of [0, 1] probabilities may be: what half precision rounds.
_ROOM = 1e-3
# How near to 0 and 1 a scaling reads probabilities: float32 has few digits of 1 - p.
_NEAREST = 1e-6


@dataclasses.dataclass(frozen=True, repr=False)
class LabelsPrediction(Shown):
    """Average over draws of labels that are each 0 or 1, with its uncertainty.

    With p_t the probability of draw t that a label is 1, pbar the mean of these, and
    h(p) = -p log p - (1 - p) log (1 - p),

        total     = h(pbar)                       entropy, in nats, at most log 2
        aleatoric = mean_t h(p_t)                 what the data leave open
        epistemic = total - aleatoric             what the weights leave open

    label by label: several labels have an entropy each, and none in common. `variance`
    splits pbar (1 - pbar), the variance of the label, in the same way.

    Every array has the shape of what the network gives, (batch, labels) or (batch, ...,
    labels); of one label (batch, 1).

    Attributes:
        mean: float32, pbar.
        total: float64, in nats.
        aleatoric: float64, in nats.
        epistemic: float64, in nats: the mutual information of label and weights.
        variance: three float64 arrays.
        members: float32 (draws, ...), or `None` if they were not kept.
        rejection: `tfhyper.Rejection`, by which some labels are unknown, or `None`.
        ignore_class: the value that counts in no score, or `None`.
        scaling: the predictor's `tfhyper.scaling.Scaling`, or `None`. How the numbers
            come about with one, `Prediction` says.
        conformal: `tfhyper.conformal.ConformalSets`, by which there are `sets`, or
            `None`. That of the predictor, see `fit_conformal`.

    Example:

    >>> predictor = tfhyper.PosteriorPredictor(tagger, num_draws=4)
    >>> prediction = predictor.predict(np.zeros((5, 3)))
    >>> prediction.mean.shape, prediction.label.shape  # of two labels
    ((5, 2), (5, 2))
    >>> bool((prediction.label == (prediction.mean > 0.5)).all())
    True
    """

    mean: np.ndarray
    total: np.ndarray
    aleatoric: np.ndarray
    epistemic: np.ndarray
    variance: metrics.VarianceDecomposition
    members: np.ndarray | None = None
    rejection: Rejection | None = None
    ignore_class: int | None = None
    scaling: Scaling | None = None
    conformal: ConformalSets | None = None

    example_axes: ClassVar[Mapping[str, int]] = {**Shown.example_axes, "total": 0}

    def _contents(self) -> str:
        *lead, labels = self.mean.shape[1:]
        return f"{positions_in_words(lead)}{labels:,} label{'s' * (labels != 1)}"

    def _columns(self) -> dict[str, Sequence[str]]:
        parts = uncertainties(self, "nats")
        if self.mean.shape[1:] == (1,):
            likeliest = (self.mean[:, 0] > 0.5).astype(np.int64)
            label = list(map(label_or_unknown, likeliest, self.rejected[:, 0]))
            found: dict[str, Sequence[str]] = {"label": label}
            if self.conformal is not None:
                found["set"] = places(self.sets)
            return {**found, "probability of 1": means(self.mean), **parts}
        if self.mean.ndim == 2:
            found = {"labels": places(self.label == 1)}
            if self.rejection is not None:
                found["unknown"] = places(self.rejected)
            return {**found, "probabilities": numbers(self.mean), **parts}
        return {"fraction of 1": means(self.label == 1), **parts}

    def uncertainty(self, score: Uncertainty = "total") -> np.ndarray:
        """Returns one number for each label, float64, larger for less sure.

        Args:
            score: `"total"`, `"aleatoric"` or `"epistemic"`, nats; or `"confidence"`:
                the mean probability of the less likely value.

        Raises:
            ValueError: for another score.
        """
        check_choice("score", score, CLASS_UNCERTAINTIES)
        if score == "confidence":
            wide = self.mean.astype(np.float64)
            return np.minimum(wide, 1.0 - wide)
        return getattr(self, score)

    @property
    def rejected(self) -> np.ndarray:
        """Whether a label is too uncertain to be told: bool, of the shape of `mean`.

        All are False without a `rejection`.
        """
        return is_rejected(self)

    @property
    def label(self) -> np.ndarray:
        """1 where `mean` is above 1/2, else 0, and -1 where rejected: int64."""
        return self.labels_above(0.5)

    @property
    def sets(self) -> np.ndarray:
        """Which of 0 and 1 are in the conformal set of one label: bool (batch, 2).

        By the predictor's `conformal`, see `fit_conformal`. They are there whatever
        is rejected.

        Raises:
            ValueError: if there is no such rule.
        """
        return sets_of(self)

    def labels_above(self, threshold: ArrayLike) -> np.ndarray:
        """Returns 1 where `mean` is above a threshold, else 0, -1 where rejected.

        Args:
            threshold: float in 0 <= threshold <= 1, or one for each label of the last
                axis.

        Raises:
            ValueError: for a threshold out of range, or another number of them.
            TypeError: for what is no number.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(tagger, num_draws=4)
        >>> prediction = predictor.predict(np.zeros((5, 3)))
        >>> found = prediction.labels_above([0.5, 0.9])
        >>> bool((found[:, 1] == (prediction.mean[:, 1] > 0.9)).all())
        True
        """
        given = check_no_bools("threshold", as_array("threshold", threshold))
        found = as_float_array("threshold", given, np.float64)
        labels = self.mean.shape[-1]
        if found.shape not in ((), (labels,)) or not (
            np.all(found >= 0) and np.all(found <= 1)
        ):
            raise ValueError(
                f"`threshold` must be in 0 <= threshold <= 1, one or {labels} of "
                f"them. Received: threshold={threshold!r}"
            )
        above = (self.mean > found).astype(np.int64)
        return np.where(self.rejected, UNKNOWN, above)

    def reject(
        self, threshold: float, score: Uncertainty = "total"
    ) -> "LabelsPrediction":
        """Returns the same prediction, unknown where it is more uncertain than that.

        A label is rejected where `uncertainty(score) > threshold`. All else stays.

        Args:
            threshold: float >= 0, in the unit of the score: nats, at most log 2; with
                `"confidence"` a probability.
            score: as for `uncertainty`.

        Raises:
            ValueError: for a threshold that is not finite or out of this range, or
                another score.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(tagger, num_draws=4)
        >>> sure = predictor.predict(np.zeros((5, 3))).reject(0.5)
        >>> bool(((sure.label == -1) == (sure.total > 0.5)).all())
        True
        """
        rejection = Rejection(threshold, score)
        if score != "confidence" and rejection.threshold > _LARGEST_ENTROPY:
            raise ValueError(
                "`threshold` must be at most log 2 = 0.6931 nats: no entropy of a "
                f"label is above it. Received: threshold={threshold}"
            )
        return dataclasses.replace(self, rejection=rejection)

    def selective_scores(
        self, labels: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Returns how many labels are told, and how many of these are wrong.

        Args:
            labels: 0 or 1, of the shape of `mean`, or (batch,) of one label.
            sample_weight: weights (batch,), or of the shape of `mean`; or `None`.

        Returns:
            "coverage" and "selective_error", which is left out if none is told.

        Raises:
            ValueError: for labels of another shape or out of range.
            TypeError: for labels that are no integers.
        """
        found = _check_labels(labels, self.mean.shape, self.ignore_class, "labels")
        weights = positions.check_weights(sample_weight, found.shape, False)
        sums = SelectiveSums()
        sums.add(*_losses(found, self, weights, "labels"))
        return sums.scores("selective_error")


def _entropies(probs: np.ndarray) -> np.ndarray:
    """Returns h(p) in nats of each probability of a label."""
    from scipy.special import entr

    return entr(probs) + entr(1.0 - probs)


class LabelsSum(ProbabilitySum):
    """Adds up the probabilities of labels."""

    made = LabelsPrediction

    entropies_of = staticmethod(_entropies)


class Labels(ScaledTask):
    """The task of labels each by itself: a logit or a probability for each.

    A network with one column tells two classes apart; one with several gives tags, any
    number of which may be there.

    Args:
        model: a model whose output is (batch, ..., labels).
        outputs: `"label_logits"`, or `"label_probabilities"`, as a sigmoid gives.
        ignore_class: int besides 0 and 1, the value of a label that is not known; or
            `None`.
        scaling: a `Scaling`, the mapping that a file holds of it, or `None`.

    Raises:
        ValueError: for another model or an argument out of range.
    """

    names = ("label_logits", "label_probabilities")
    takes = ("ignore_class", "scaling")
    uncertainties = CLASS_UNCERTAINTIES
    sum_type = LabelsSum
    conforms = ConformalSets.methods
    decides = True

    def __init__(
        self,
        model: keras.Model,
        outputs: str = "label_logits",
        ignore_class: int | None = None,
        scaling: Any = None,
    ):
        shapes = output_shapes(model)
        if len(shapes) != 1 or len(shapes[0]) < 2 or shapes[0][-1] is None:
            raise ValueError(
                f'`model` must have one output (batch, ..., labels) for `outputs="'
                f'{outputs}"`. Received: a model with outputs of the shapes {shapes}'
            )
        self.name, self._shape = outputs, shapes[0]
        self.ignore_class = positions.check_ignored(ignore_class, 2)
        self.set_scaling(scaling)

    @property
    def scaled_classes(self) -> int:
        """Two: a column of one is that of the label 1."""
        return 2

    def check_fits_scaling(self) -> None:
        """Raises ValueError for several labels."""
        if self._shape[-1] != 1:
            raise ValueError(
                "A scaling is for classifiers: of classes, or of one label. "
                f"Received: outputs={self.name!r} of {self._shape[-1]} labels"
            )

    def log_probabilities(self, raw: Structure, xp: Any) -> Tensor:
        """Returns log-probabilities of a draw, see the base class."""
        values = only(raw)
        if self.name == "label_probabilities":
            return log_of(self.with_classes(values, xp), xp)
        parts = [
            xp.negative(softplus(xp.multiply(values, sign), xp)) for sign in (1.0, -1.0)
        ]
        return xp.concatenate(parts, axis=-1)

    def with_classes(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns the probabilities of 0 and of 1, (..., 2)."""
        probs = xp.clip(probs, _NEAREST, 1.0 - _NEAREST)
        return xp.concatenate([xp.subtract(1.0, probs), probs], axis=-1)

    def without_classes(self, probs: Tensor) -> Tensor:
        """Returns the probabilities of 1, (..., 1)."""
        return probs[..., 1:]

    @classmethod
    def found_in(cls, evidence: output_kind.Evidence) -> tuple[str, bool] | None:
        """Returns a name for columns of sigmoids, or a loss of labels."""
        if evidence.columns is None or evidence.kind is None:
            return None
        if evidence.kind == output_kind.SIGMOIDS:
            is_labels = evidence.loss in (None, output_kind.LABELS)
        else:
            is_labels = evidence.loss == output_kind.LABELS
        if not is_labels:
            return None
        logits = evidence.kind == output_kind.LOGITS
        return ("label_logits" if logits else "label_probabilities"), True

    def read(self, raw: Structure) -> Member:
        """Returns the probabilities (batch, ..., labels) of a batch, in a tuple.

        Raises:
            ValueError: for outputs that are no probabilities.
        """
        found = only(raw)
        if self.scaling is not None and self.scaling.per_draw:
            self._check_probabilities(found)
            scaled = self.scaled_draw(found.astype(np.float64), np)
            return (scaled.astype(np.float32),)
        if self.name == "label_logits":
            # As of `scipy.special.expit`, without a product that overflows.
            return ((0.5 * (1.0 + np.tanh(0.5 * found))).astype(np.float32),)
        self._check_probabilities(found)
        return (np.clip(found, 0.0, 1.0),)

    def _check_probabilities(self, found: np.ndarray) -> None:
        if self.name == "label_logits":
            return
        low, high = found.min(), found.max()
        if low < -_ROOM or high > 1 + _ROOM:
            raise ValueError(
                '`outputs="label_probabilities"` needs a model that gives '
                f"probabilities. Received: numbers from {low} to {high}"
            )

    def tensor(self, raw: Structure) -> Tensor:
        """Returns probabilities in float32, as `read`, of tensors."""
        found = in_float32(only(raw))
        if self.scaling is not None and self.scaling.per_draw:
            return self.scaled_draw(found, ops)
        return ops.sigmoid(found) if self.name == "label_logits" else found

    def average(self, outputs: Sequence) -> Structure:
        """Returns the mean probabilities of networks' symbolic outputs."""
        mean = ops.mean(ops.stack([self.tensor(x) for x in outputs]), axis=0)
        return self.pooled(mean)

    def check_labels(self, labels: ArrayLike) -> np.ndarray:
        """Returns 0 and 1 as integers, of the shape of the network's output.

        Raises:
            ValueError: for another shape, or labels other than 0 and 1.
            TypeError: for labels that are no numbers.
        """
        return _check_labels(labels, self._shape, self.ignore_class, "y")

    def new_scores(self) -> "LabelScores":
        """Returns what adds up the scores of `tfhyper.metrics.multilabel_report`."""
        return LabelScores(self)

    def choices(self, member: Member) -> np.ndarray:
        """Returns the probabilities of 0 and of 1 along a last axis."""
        return _two_classes(member[0])

    def of_choices(self, mean: np.ndarray) -> np.ndarray:
        """Returns the probabilities of 1."""
        return mean[..., 1]

    def check_conforms(self, method: str) -> None:
        """Raises ValueError for another method, several labels, or those of a map."""
        if len(self._shape) > 2 or self._shape[-1] != 1:
            raise ValueError(
                "Conformal sets are of classes, or of one label: several labels are "
                "not independent of each other. "
                f"Received: outputs={self.name!r} of the shape {self._shape}"
            )
        super().check_conforms(method)

    def conformal_outputs(
        self, found: dict, rule: ConformalRule, xp: Any = ops
    ) -> dict[str, Any]:
        """Returns "sets", bool (batch, 2), of what a file gives."""
        one = found["probabilities"]
        probs = xp.concatenate([xp.subtract(1.0, one), one], axis=-1)
        return set_outputs(probs, rule, xp)

    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns what `LabelsPrediction` has: probabilities, labels, uncertainties."""
        mean, total, aleatoric = self.scaled_parts(
            ops.mean(members, axis=1),
            ops.mean(_symbolic_entropies(members), axis=1),
            _symbolic_entropies,
        )
        return {
            "probabilities": mean,
            "label": ops.cast(mean > 0.5, "int64"),
            "total": total,
            "aleatoric": aleatoric,
            # Below zero by rounding alone.
            "epistemic": ops.maximum(total - aleatoric, 0.0),
        }

    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns the probabilities of each draw, (batch, draws, ..., labels)."""
        return {"members": members}

    def expected_outputs(self, prediction: LabelsPrediction) -> dict[str, np.ndarray]:
        """Returns the outputs of a file, but the labels, of a prediction."""
        return {
            "probabilities": prediction.mean,
            "total": prediction.total,
            "aleatoric": prediction.aleatoric,
            "epistemic": prediction.epistemic,
            "members": kept(prediction.members).swapaxes(0, 1),
        }

    def expected_decisions(self, found: dict) -> dict[str, np.ndarray]:
        """Returns the labels of the probabilities that a file gave."""
        return {"label": (found["probabilities"] > 0.5).astype(np.int64)}

    def output_scores(self, labels: ArrayLike, found: dict) -> dict[str, float]:
        """Returns the scores of the members that a file gave."""
        mean = self.pooled(found["members"].mean(axis=1, dtype=np.float64), np)
        return metrics.multilabel_report(
            self.check_labels(labels), mean, ignore_class=self.ignore_class
        )

    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Returns `LabelsPrediction.uncertainty(score)` from what a file gives."""
        if score == "confidence":
            mean = found["probabilities"]
            return ops.minimum(mean, 1.0 - mean)
        return found[score]


class LabelScores(Scores):
    """Adds up the scores of `tfhyper.metrics.multilabel_report`."""

    def __init__(self, task: Labels):
        super().__init__()
        self._sums = metrics.MultilabelScores(ignore_class=task.ignore_class)

    def add(
        self,
        labels: np.ndarray,
        prediction: LabelsPrediction,
        weights: np.ndarray | None,
    ) -> None:
        """Adds a part of the data."""
        mean = prediction.mean
        positions.check_positions("y", labels, mean.shape)
        count = mean.shape[-1]
        if weights is not None:
            weights = weights.reshape(-1, count)
        self._sums.update(
            labels.reshape(-1, count), mean.reshape(-1, count), sample_weight=weights
        )

    def losses(
        self,
        labels: np.ndarray,
        prediction: LabelsPrediction,
        weights: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns which labels are wrong, which are rejected, and weights."""
        return _losses(labels, prediction, weights, "y")

    def scores(self) -> dict[str, float]:
        """Returns the scores of all parts."""
        return self._sums.result()


def _losses(
    labels: np.ndarray,
    prediction: LabelsPrediction,
    weights: np.ndarray | None,
    name: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    said = np.stack([prediction.mean > 0.5, prediction.rejected], axis=-1)
    rows = positions.rows_that_count(
        labels, said, weights, prediction.ignore_class, name
    )
    label, rejected = rows.values.T
    return label != rows.labels, rejected, rows.weights


def _two_classes(probs: np.ndarray) -> np.ndarray:
    """Returns the probabilities of 0 and of 1 along a new last axis."""
    wide = np.asarray(probs, np.float64)
    return np.stack([1.0 - wide, wide], axis=-1)


def _symbolic_entropies(probs: Tensor) -> Tensor:
    """Returns h(p) in nats of each probability of a label, in float32."""
    other = 1.0 - probs
    return -(
        probs * ops.log(ops.maximum(probs, _TINY))
        + other * ops.log(ops.maximum(other, _TINY))
    )


def _check_labels(
    labels: ArrayLike, shape: tuple, ignore_class: int | None, name: str
) -> np.ndarray:
    """Returns int64 labels of the shape of the network's output.

    Args:
        labels: 0 and 1, bools or whole numbers; (examples,) too, of one label.
        shape: (batch, ..., labels), `None` for an axis of any size.
        ignore_class: the value that counts in no score, or `None`.
        name: the argument's name in error messages.
    """
    array = as_array(name, labels)
    if array.ndim == len(shape) - 1 and shape[-1] == 1:
        array = array[..., None]
    fits = len(array.shape) == len(shape) and all(
        size in (None, found)
        for size, found in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits or not array.size:
        raise ValueError(
            f"`{name}` must have the shape {('examples', *shape[1:])}, a 0 or a 1 for "
            f"each label. Received: {name}.shape={np.shape(labels)}"
        )
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    flat = array.reshape(-1)
    found = positions.check_class_labels(flat, 1, 2, ignore_class, name=name)
    return found.reshape(array.shape)
