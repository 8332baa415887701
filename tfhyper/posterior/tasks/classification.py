"""Classification: class probabilities, of examples, tokens, pixels or voxels."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import check_choice
from tfhyper.conformal import ConformalRule, ConformalSets
from tfhyper.metrics._checks import SUM_TOLERANCE, sum_tolerance
from tfhyper.metrics.uncertainty import entropy_of_one, sum_to_one
from tfhyper.posterior.tasks import output_kind, positions
from tfhyper.posterior.tasks.conformity import set_outputs, sets_of
from tfhyper.posterior.tasks.rejection import (
    FOREIGN,
    UNKNOWN,
    Foreign,
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
    places,
    positions_in_words,
    shares,
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
from tfhyper.scaling.base import log_of, log_softmax, softplus
from tfhyper.tensor_types import Structure, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# How far above log(classes) an entropy may be: probabilities that sum to nearly one.
_ENTROPY_ROOM = 1e-3
# Below it p log p is 0 in float32.
_TINY = 1e-30
# What a prediction can be rejected by.
CLASS_UNCERTAINTIES: tuple[Uncertainty, ...] = get_args(Uncertainty)

Link: TypeAlias = Literal["softmax", "normalized_softplus"]
# Link -> what its softmax is of, of logits: arrays, or tensors with `keras.ops`.
_LOG_LINKS: dict[Link, Callable[[Tensor, Any], Tensor]] = {
    "softmax": lambda x, xp: x,
    # The softmax of log softplus(l), which is l itself far below zero: as in `metrics`.
    "normalized_softplus": lambda x, xp: xp.where(
        x < -15.0, x, xp.log(softplus(xp.maximum(x, -15.0), xp))
    ),
}
# Link -> the function of logits that gives the class probabilities, in NumPy.
LINKS: dict[Link, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": lambda logits: ops.convert_to_numpy(ops.softmax(logits)),
    "normalized_softplus": metrics.normalized_softplus,
}


@dataclasses.dataclass(frozen=True, repr=False)
class Prediction(Shown):
    """Average over draws, with its uncertainty.

    With p_t the class probabilities of draw t, and pbar their mean,

        total     = H[pbar]                       entropy, in nats
        aleatoric = mean_t H[p_t]                 what the data leave open
        epistemic = total - aleatoric             what the weights leave open

    and `variance` splits the variance of the one-hot label, class by class, in
    the same way (see `tfhyper.metrics.variance_decomposition`); `covariance()`
    gives the whole matrices.

    Of a predictor with a `scaling` per draw, p_t are the scaled probabilities. With one
    of the mean, g, `members` are unscaled p_t and `mean` is g(pbar); `total` is
    H[g(pbar)], and the parts have those shares in it that they have in H[pbar]:
    aleatoric = total (mean_t H[p_t] + r) / (H[pbar] + r), where r = 0.001 nats keeps
    the rounding of almost certain predictions out. The variance of each class is split
    by its shares, too.

    Where a network gives (batch, ..., classes), a class for each token or pixel, all
    that is (batch,) here is (batch, ...), and each position is an input of its own.

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
        ignore_class: the label that counts in no score, or `None`.
        scaling: the predictor's `tfhyper.scaling.Scaling`, or `None`.
        conformal: `tfhyper.conformal.ConformalSets`, by which there are `sets`, or
            `None`. That of the predictor, see `fit_conformal`.
        foreign: float64 (batch,), the scores of the predictor's `scorer`, larger for
            inputs that are more foreign; `None` where it has none.

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
    ignore_class: int | None = None
    scaling: Scaling | None = None
    conformal: ConformalSets | None = None
    foreign: np.ndarray | None = None

    example_axes: ClassVar[Mapping[str, int]] = {
        **Shown.example_axes,
        "total": 0,
        "foreign": 0,
    }

    def _contents(self) -> str:
        *lead, classes = self.mean.shape[1:]
        return f"{positions_in_words(lead)}{classes:,} classes"

    def _columns(self) -> dict[str, Sequence[str]]:
        likeliest, rejected = self.mean.argmax(axis=-1), self.rejected
        if self.mean.ndim == 2:
            label = list(map(label_or_unknown, likeliest, rejected))
        else:
            label = [shares(x) for x in self.label]
        found: dict[str, Sequence[str]] = {"label": label}
        if self.conformal is not None:
            found["set"] = places(self.sets)
        found["probability"] = means(self.mean.max(axis=-1))
        found |= uncertainties(self, "nats")
        if self.foreign is not None:
            found["foreign"] = means(self.foreign)
        return found

    def uncertainty(self, score: Uncertainty | Foreign = "total") -> np.ndarray:
        """Returns one number for each input, float64 (batch,), larger for less sure.

        Args:
            score: `"total"`, `"aleatoric"` or `"epistemic"`, nats; or `"confidence"`:
                1 less the largest of the mean probabilities; or `"foreign"`: what the
                predictor's `scorer` gives.

        Raises:
            ValueError: for another score, or "foreign" of a predictor without a scorer.
        """
        check_choice("score", score, (*CLASS_UNCERTAINTIES, FOREIGN))
        if score == FOREIGN:
            if self.foreign is None:
                raise ValueError(
                    '`score` must be another than "foreign" for a prediction of a '
                    "predictor without a `scorer`. "
                    f"Received: score={score!r}"
                )
            return self.foreign
        if score == "confidence":
            return 1.0 - self.mean.max(axis=-1).astype(np.float64)
        return getattr(self, score)

    @property
    def rejected(self) -> np.ndarray:
        """Whether an input is too uncertain to have a label: bool (batch,).

        All are False without a `rejection`.
        """
        return is_rejected(self)

    @property
    def label(self) -> np.ndarray:
        """The class of the largest mean probability, -1 if rejected: int64 (batch,).

        -1 stands for *unknown*: do not look it up in a list of names, whose last one
        Python would give.
        """
        label = self.mean.argmax(axis=-1).astype(np.int64)
        return np.where(self.rejected, UNKNOWN, label)

    @property
    def sets(self) -> np.ndarray:
        """Which classes are in the conformal set of an input: bool (batch, classes).

        By the predictor's `conformal`, see `fit_conformal`. They are there whatever
        is rejected.

        Raises:
            ValueError: if there is no such rule.
        """
        return sets_of(self)

    def reject(
        self, threshold: float, score: Uncertainty | Foreign = "total"
    ) -> "Self":
        """Returns the same prediction, unknown where it is more uncertain than that.

        An input is rejected where `uncertainty(score) > threshold`; `label` is -1
        there, and `rejected` True. All else stays, so that it can be seen what would
        have been said. Choose the threshold on validation data, by
        `tfhyper.metrics.rejection_threshold`, or let a predictor's `fit_rejection` do
        it for all its predictions.

        Args:
            threshold: float >= 0, in the unit of the score: nats, at most log(classes);
                with `"confidence"` a probability; with `"foreign"` any finite number.
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
        if score == FOREIGN:
            self.uncertainty(score)  # is there, or says that it is not
        elif score != "confidence" and threshold > largest * (1 + _ENTROPY_ROOM):
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
            sample_weight: weights (batch,), finite and >= 0, or `None`. Of labels
                with more axes one for each example, or one for each label.

        Raises:
            ValueError: for labels of another shape or out of range.
            TypeError: for labels that are no integers.
        """
        checked = positions.check_class_labels(
            labels, self.total.ndim, self.mean.shape[-1], self.ignore_class, "labels"
        )
        weights = positions.check_weights(sample_weight, checked.shape, False)
        sums = SelectiveSums()
        sums.add(*_losses(checked, self, weights, "labels"))
        return sums.scores("selective_error")

    def covariance(self) -> metrics.CovarianceDecomposition:
        """Returns the label's covariance, split as the variance is.

        Three float64 arrays of shape (batch, classes, classes), whose diagonals
        are `variance` (see `tfhyper.metrics.covariance_decomposition`).

        Raises:
            ValueError: if the members were not kept, or the mean of them is scaled.
        """
        if self.scaling is not None and not self.scaling.per_draw:
            raise ValueError(
                "`covariance` is that of members, and needs a scaling with "
                "`per_draw=True`, or none. Received: a prediction with the mean scaled"
            )
        if self.members is None:
            raise ValueError(
                "`covariance` needs the members: call `predict` with "
                "`keep_members=True`. Received: a prediction without members"
            )
        draws, *lead, classes = self.members.shape
        found = metrics.covariance_decomposition(
            self.members.reshape(draws, -1, classes)
        )
        return metrics.CovarianceDecomposition(
            *(part.reshape(*lead, classes, classes) for part in found)
        )


class PredictionSum(ProbabilitySum):
    """Adds up the probabilities of classes."""

    made = Prediction
    entropies_of = staticmethod(entropy_of_one)


class Classification(ScaledTask):
    """The task of a classifier: logits or probabilities, (batch, ..., classes).

    One class of several, for each example, or for each position of it: the tokens of a
    text, the pixels of an image.

    Args:
        model: the model, for what its graph and its loss say of its outputs.
        outputs: `"logits"` or `"probabilities"`.
        link: a name of `LINKS`.
        ignore_class: int, the label that counts in no score, which is no class; or
            `None`, for that of the loss that the model was compiled with.
        scaling: a `Scaling`, the mapping that a file holds of it, or `None`.

    Attributes:
        known: bool, whether it is certain what the model gives. What neither its graph
            nor its loss tells, the first numbers may, see `make_task`.

    Raises:
        ValueError: for another model, or a link that does not go with it.
    """

    names = ("logits", "probabilities")
    takes = ("link", "ignore_class", "scaling")
    uncertainties = CLASS_UNCERTAINTIES
    sum_type = PredictionSum
    conforms = ConformalSets.methods

    link: Link
    decides = True
    # The axes of what the network gives.
    rank = 2

    def __init__(
        self,
        model: keras.Model,
        outputs: str = "logits",
        link: Link = "softmax",
        ignore_class: int | None = None,
        scaling: Any = None,
    ):
        shapes = output_shapes(model)
        if len(shapes) != 1 or len(shapes[0]) < 2 or shapes[0][-1] in (None, 1):
            raise ValueError(
                "`model` must have one output, (batch, ..., classes) with two classes "
                'or more; for a regression give `outputs="mean"` or '
                '"mean_and_variance", for labels each by itself "label_logits" or '
                '"label_probabilities". '
                f"Received: a model with outputs of the shapes {shapes}"
            )
        self.rank, self.classes = len(shapes[0]), shapes[0][-1]
        self.name = outputs
        self.link = check_choice("link", link, LINKS)
        if outputs == "probabilities" and link != "softmax":
            raise ValueError(
                '`link` must be "softmax" where the model gives probabilities: it is '
                f"for logits. Received: link={link!r}"
            )
        if ignore_class is None:
            ignore_class = output_kind.evidence_of(model).ignore_class
        self.ignore_class = positions.check_ignored(ignore_class, self.classes)
        self.set_scaling(scaling)

    @property
    def scaled_classes(self) -> int:
        """How many classes there are."""
        return self.classes

    def log_probabilities(self, raw: Structure, xp: Any) -> Tensor:
        """Returns log-probabilities of a draw, see the base class."""
        if self.name == "probabilities":
            return log_of(only(raw), xp)
        return log_softmax(_LOG_LINKS[self.link](only(raw), xp), xp)

    def with_classes(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns probabilities, which have that axis."""
        return probs

    def without_classes(self, probs: Tensor) -> Tensor:
        """Returns probabilities, as the network gives them."""
        return probs

    @classmethod
    def found_in(cls, evidence: output_kind.Evidence) -> tuple[str, bool] | None:
        """Returns "logits" or "probabilities" for two columns or more.

        Columns without a softmax and a loss may be other things, and are taken for
        logits. Where an unknown layer made them, that is not certain.
        """
        if evidence.columns in (None, 1) or evidence.kind == output_kind.SIGMOIDS:
            return None
        return evidence.kind or "logits", evidence.kind is not None

    def read(self, raw: Structure) -> tuple[np.ndarray, ...]:
        """Returns the probabilities (batch, ..., classes) of a batch, in a tuple.

        Raises:
            ValueError: for probabilities that are none, and logits that may be
                probabilities where nothing says which.
        """
        (given,) = keras.tree.flatten(raw)
        found = given
        if self.name == "logits":
            if not self.known and not _why_not_probabilities(found):
                raise ValueError(
                    '`outputs` must be given, "logits" or "probabilities": the rows '
                    "that the model gives are not negative and sum to one, and neither "
                    "its graph nor its loss says what they are. Received: outputs=None"
                )
            self.known = True
            found = LINKS[self.link](found).astype(np.float32)
        elif reason := _why_not_probabilities(found):
            raise ValueError(
                '`outputs="probabilities"` needs a model whose rows are not negative '
                f"and sum to one. Received: {reason}"
            )
        if self.scaling is not None and self.scaling.per_draw:
            found = self.scaled_draw(given.astype(np.float64), np)
            found = found.astype(np.float32)
        return (found,)

    def tensor(self, raw: Structure) -> Tensor:
        """Returns probabilities in float32, as `read`, of tensors."""
        if not self.known:
            raise ValueError(
                '`outputs` must be given, "logits" or "probabilities": neither the '
                "model's graph nor its loss says it. Received: outputs=None"
            )
        probs = in_float32(only(raw))
        if self.scaling is not None and self.scaling.per_draw:
            return self.scaled_draw(probs, ops)
        if self.name == "logits":
            return ops.softmax(_LOG_LINKS[self.link](probs, ops))
        return probs

    def average(self, outputs: Sequence) -> Structure:
        """Returns the mean probabilities of networks' symbolic outputs."""
        mean = ops.mean(ops.stack([self.tensor(x) for x in outputs]), axis=0)
        return self.pooled(mean)

    def new_scores(self) -> "ClassScores":
        """Returns what adds up error, nll, brier and ece, of maps mean_iou too."""
        return ClassScores(self)

    def check_labels(self, labels: ArrayLike) -> np.ndarray:
        """Returns labels as integers (examples, ...), of any form that Keras' have.

        Raises:
            ValueError: for another shape, or labels out of range or not whole.
            TypeError: for labels that are no numbers.
        """
        return positions.check_class_labels(
            labels, self.rank - 1, self.classes, self.ignore_class
        )

    def choices(self, member: Member) -> np.ndarray:
        """Returns the probabilities of the classes."""
        return sum_to_one(member[0])

    def check_conforms(self, method: str) -> None:
        """Raises ValueError for another method, or a class for each position."""
        if self.rank > 2:
            raise ValueError(
                "Conformal sets are of examples: the positions of a map or a text are "
                "not independent of each other. See "
                "`tfhyper.conformal.map_probabilities` for the risk of whole maps. "
                f"Received: a model with {self.rank} axes of outputs"
            )
        super().check_conforms(method)

    def conformal_outputs(
        self, found: dict, rule: ConformalRule, xp: Any = ops
    ) -> dict[str, Any]:
        """Returns "sets", bool (batch, classes), of what a file gives."""
        return set_outputs(found["probabilities"], rule, xp)

    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns probabilities, class and uncertainties, as `Prediction` has them."""
        mean, total, aleatoric = self.scaled_parts(
            ops.mean(members, axis=1), ops.mean(entropy_of(members), axis=1), entropy_of
        )
        return {
            "probabilities": mean,
            "class": argmax(mean),
            "total": total,
            "aleatoric": aleatoric,
            # Below zero by rounding alone.
            "epistemic": ops.maximum(total - aleatoric, 0.0),
        }

    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns the probabilities of each draw, (batch, draws, ..., classes)."""
        return {"members": members}

    def expected_outputs(self, prediction: Prediction) -> dict[str, np.ndarray]:
        """Returns the outputs of a file, but the class, of a prediction."""
        return {
            "probabilities": prediction.mean,
            "total": prediction.total,
            "aleatoric": prediction.aleatoric,
            "epistemic": prediction.epistemic,
            "members": kept(prediction.members).swapaxes(0, 1),
        }

    def expected_decisions(self, found: dict) -> dict[str, np.ndarray]:
        """Returns the class of the largest probability that a file gave."""
        return {"class": found["probabilities"].argmax(-1)}

    def output_scores(self, labels: ArrayLike, found: dict) -> dict[str, float]:
        """Returns the scores of the members that a file gave."""
        mean = self.pooled(found["members"].mean(axis=1, dtype=np.float64), np)
        checked = self.check_labels(labels)
        rows = positions.rows_that_count(checked, mean, None, self.ignore_class)
        return metrics.classification_report(rows.labels, rows.values)

    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Returns `Prediction.uncertainty(score)` from what a file gives."""
        if score == "confidence":
            return 1.0 - ops.max(found["probabilities"], axis=-1)
        return found[score]


class ClassScores(Scores):
    """Adds up error, nll, brier and ece; of maps the intersection over union, too."""

    def __init__(self, task: Classification):
        super().__init__()
        self._ignore_class, self._classes = task.ignore_class, task.classes
        self._sums = metrics.ClassificationScores()
        # Of pixels and voxels, counts of (label, prediction).
        self._matrix: np.ndarray | None = None
        if task.rank > 3:
            self._matrix = np.zeros((task.classes, task.classes))

    def add(
        self, labels: np.ndarray, prediction: Prediction, weights: np.ndarray | None
    ) -> None:
        """Adds a part of the data."""
        mean = sum_to_one(prediction.mean)
        rows = positions.rows_that_count(labels, mean, weights, self._ignore_class)
        if not len(rows.labels) or (weights is not None and not np.any(rows.weights)):
            return
        self._sums.update(rows.labels, rows.values, rows.weights)
        if self._matrix is not None:
            self._matrix = self._matrix + metrics.confusion_matrix(
                rows.labels,
                rows.values.argmax(-1),
                self._classes,
                sample_weight=rows.weights,
            )

    def losses(
        self, labels: np.ndarray, prediction: Prediction, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns which labels are wrong, which are rejected, and weights."""
        return _losses(labels, prediction, weights, "y")

    def scores(self) -> dict[str, float]:
        """Returns the scores of all parts."""
        found = self._sums.result()
        if self._matrix is not None:
            found["mean_iou"] = metrics.segmentation_report(self._matrix)["mean_iou"]
        return found


def _losses(
    labels: np.ndarray,
    prediction: Prediction,
    weights: np.ndarray | None,
    name: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    said = np.stack([prediction.mean.argmax(-1), prediction.rejected], axis=-1)
    rows = positions.rows_that_count(
        labels, said, weights, prediction.ignore_class, name
    )
    label, rejected = rows.values.T
    return label != rows.labels, rejected.astype(bool), rows.weights


def entropy_of(probs: Tensor) -> Tensor:
    """Returns entropies in nats of tensors (..., classes), in float32."""
    return -ops.sum(probs * ops.log(ops.maximum(probs, _TINY)), axis=-1)


def _why_not_probabilities(rows: np.ndarray) -> str | None:
    """Returns what of rows is not as in probabilities, `None` if nothing is."""
    if rows.min() < 0:
        return f"a value of {rows.min()}"
    sums = rows.sum(-1, dtype=np.float64).reshape(-1)
    worst = sums[np.abs(sums - 1).argmax()]
    # More room for what was rounded to half precision.
    if abs(worst - 1) > SUM_TOLERANCE and abs(worst - 1) > sum_tolerance(rows):
        return f"a row that sums to {worst}"
    return None
