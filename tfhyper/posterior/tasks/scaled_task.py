"""Tasks whose probabilities can be scaled: where that is, and what it does to parts."""

import abc
import copy
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfhyper.metrics.uncertainty import VarianceDecomposition
from tfhyper.posterior.tasks import positions
from tfhyper.posterior.tasks.task import Member, MemberSum, Task
from tfhyper.scaling.base import log_of
from tfhyper.scaling.calibration_data import CalibrationData
from tfhyper.scaling.registry import check_scaling
from tfhyper.tensor_types import Structure, Tensor

# Entropies, in nats, of which float32 does not tell the parts.
_ROOM = 1e-3


class ScaledTask(Task):
    """A task of probabilities, with the map that scales them.

    A scaling stands where the probabilities of a draw are read, or where those of all
    draws are averaged, see `tfhyper.scaling.Scaling`. The numbers of all else follow:

    - per draw, members are what scaled draws say, and mean, uncertainties and variance
      are those of these members, as without a scaling;
    - pooled, members stay what the draws said. The mean is scaled, `total` is its
      entropy, and the parts have the shares in it that they have without a scaling:
      aleatoric = total' aleatoric / total. So does the variance. A scaling says how
      much is left open, and nothing of how much of that more data would close.
    """

    # What adds up the probabilities of its draws.
    sum_type: ClassVar[type["ProbabilitySum"]]

    def new_sum(self, keep_members: bool) -> "ProbabilitySum":
        """Returns what adds up the probabilities of draws."""
        return self.sum_type(keep_members, self.ignore_class, self)

    @property
    @abc.abstractmethod
    def scaled_classes(self) -> int:
        """How many classes a scaling is for: 2 of a column of one."""

    @property
    def conformal_columns(self) -> int:
        """How many classes there are."""
        return self.scaled_classes

    @abc.abstractmethod
    def log_probabilities(self, raw: Structure, xp: Any) -> Tensor:
        """Returns logarithms of the probabilities of one draw (..., classes).

        Args:
            raw: what its network gave, an array or a tensor.
            xp: `numpy`, for float64, or `keras.ops`.
        """

    @abc.abstractmethod
    def with_classes(self, probs: Tensor, xp: Any) -> Tensor:
        """Returns probabilities with an axis of `scaled_classes`."""

    @abc.abstractmethod
    def without_classes(self, probs: Tensor) -> Tensor:
        """Returns the same as the network gives them."""

    @property
    def is_pooled(self) -> bool:
        """Whether the mean of the draws is scaled."""
        return self.scaling is not None and not self.scaling.per_draw

    def set_scaling(self, value: Any) -> None:
        """Takes a scaling, what a file holds of it, or `None`.

        Raises:
            TypeError: for another type.
            ValueError: for another number of classes.
        """
        found = check_scaling(value)
        if found is not None:
            self.check_fits_scaling()
            found.check_classes("scaling", self.scaled_classes)
        self.scaling = found

    def check_fits_scaling(self) -> None:
        """Raises ValueError if there is nothing to scale."""

    def check_decides(self) -> None:
        """Raises ValueError where few draws do not say what all of them would."""
        if self.is_pooled:
            raise ValueError(
                "`predict_anytime` decides by what single draws say, and needs a "
                "scaling with `per_draw=True`, or none. "
                f"Received: scaling={self.scaling!r:.80}"
            )

    def scaled_draw(self, raw: Structure, xp: Any) -> Tensor:
        """Returns the scaled probabilities of a draw, as the network gives them."""
        if self.scaling is None:
            raise ValueError("There is no scaling.")
        logs = self.log_probabilities(raw, xp)
        return self.without_classes(self.scaling.of_log_probabilities(logs, xp))

    def pooled(self, mean: Tensor, xp: Any = ops) -> Tensor:
        """Returns the mean of draws, scaled where a pooled scaling is."""
        if self.scaling is None or self.scaling.per_draw:
            return mean
        probs = self.with_classes(mean, xp)
        return self.without_classes(self.scaling.of_probabilities(probs, xp))

    def scaled_parts(
        self,
        mean: Tensor,
        aleatoric: Tensor,
        entropy: Callable[[Tensor], Tensor],
        xp: Any = ops,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns mean, total and aleatoric entropy, scaled where a pooled scaling is.

        Args:
            mean: of the probabilities of the draws.
            aleatoric: the mean of the entropies of the draws.
            entropy: gives the entropies of probabilities.
            xp: `numpy`, or `keras.ops`.
        """
        total = entropy(mean)
        if not self.is_pooled:
            return mean, total, aleatoric
        share = _share_of(aleatoric, total, xp)
        mean = self.pooled(mean, xp)
        total = entropy(mean)
        return mean, total, total * share


class ProbabilitySum(MemberSum):
    """Adds up the probabilities of draws, one at a time.

    So they need not all be kept.

    Args:
        keep_members: whether they are, nevertheless.
        ignore_class: the label that counts in no score, or `None`.
        task: whose scaling is for the mean; `None` for none.
    """

    # The prediction that comes of it.
    made: ClassVar[type]

    def __init__(
        self,
        keep_members: bool,
        ignore_class: int | None = None,
        task: ScaledTask | None = None,
    ):
        self.count, self._ignore_class, self._task = 0, ignore_class, task
        self.probs = self.squares = self.entropies = np.zeros(0)
        self.members: list[np.ndarray] | None = [] if keep_members else None

    @staticmethod
    @abc.abstractmethod
    def entropies_of(probs: np.ndarray) -> np.ndarray:
        """Returns entropies in nats of float64 probabilities."""

    def add(self, *member: np.ndarray) -> None:
        """Adds the probabilities of one draw, of shape (batch, ..., values)."""
        (probs,) = member
        wide = probs.astype(np.float64)
        entropies = self.entropies_of(wide)
        if not self.count:
            self.probs, self.squares = np.zeros((2, *wide.shape))
            self.entropies = np.zeros(entropies.shape)
        self.count += 1
        self.probs += wide
        self.squares += np.square(wide)
        self.entropies += entropies
        if self.members is not None:
            self.members.append(probs)

    def result(self) -> Any:
        """Returns the prediction of the draws added so far."""
        mean, squares = self.probs / self.count, self.squares / self.count
        aleatoric = self.entropies / self.count
        variance = VarianceDecomposition(
            total=mean * (1.0 - mean),
            aleatoric=mean - squares,
            epistemic=np.maximum(squares - np.square(mean), 0.0),
        )
        if self._task is not None and self._task.is_pooled:
            mean, total, aleatoric = self._task.scaled_parts(
                mean, aleatoric, self.entropies_of, np
            )
            variance = _scaled_variance(mean, variance)
        else:
            # The mean of one draw is that draw.
            total = aleatoric if self.count == 1 else self.entropies_of(mean)
        return self.made(
            mean=mean.astype(np.float32),
            total=total,
            aleatoric=aleatoric,
            # Both differences are below zero by rounding alone.
            epistemic=np.maximum(total - aleatoric, 0.0),
            variance=variance,
            members=None if self.members is None else np.stack(self.members),
            ignore_class=self._ignore_class,
            scaling=None if self._task is None else self._task.scaling,
        )


def _share_of(part: Tensor, total: Tensor, xp: Any) -> Tensor:
    """Returns which share of an entropy is aleatoric, in [0, 1].

    Entropies far below 0.001 nats count as aleatoric.
    """
    share = xp.divide(xp.add(part, _ROOM), xp.add(total, _ROOM))
    return xp.clip(share, 0.0, 1.0)


def _scaled_variance(
    mean: np.ndarray, before: VarianceDecomposition
) -> VarianceDecomposition:
    """Returns the variance of labels of a mean, in parts of the shares of before."""
    total = mean * (1.0 - mean)
    there = before.total > 0
    share = np.where(there, before.aleatoric / np.where(there, before.total, 1.0), 1.0)
    aleatoric = total * np.clip(share, 0.0, 1.0)
    return VarianceDecomposition(total, aleatoric, total - aleatoric)


def calibration_data(
    task: ScaledTask,
    found: Any,
    per_draw: bool,
    labels: np.ndarray,
    weights: np.ndarray | None,
) -> CalibrationData:
    """Returns what chooses a scaling.

    Args:
        task: the task.
        found: of `reader_for`'s reader.
        per_draw: whether each draw is to be scaled.
        labels: as `check_labels` returns them.
        weights: (rows,), or `None`.
    """
    if not per_draw:
        mean = task.with_classes(found.mean.astype(np.float64), np)
        found = log_of(mean, np)[..., None, :]
    # Of a column of one, a label has an axis that the draws' answers have not.
    labels = labels.reshape(found.shape[:-2])
    rows = positions.rows_that_count(labels, found, weights, task.ignore_class)
    values = np.moveaxis(np.asarray(rows.values, np.float64), 1, 0)
    return CalibrationData(values, np.asarray(rows.labels), rows.weights)


def reader_for(task: ScaledTask, per_draw: bool) -> "ScaledTask | LogMembers":
    """Returns what reads the draws of a task as they are without a scaling."""
    plain = copy.copy(task)
    plain.scaling = None
    return LogMembers(plain) if per_draw else plain


class LogMembers(MemberSum):
    """Keeps the log-probabilities of draws, for a scaling that is to be chosen.

    Stands for the task where data are run through the draws.

    Args:
        task: the task.
    """

    def __init__(self, task: ScaledTask):
        self._task, self._found = task, list[np.ndarray]()

    def read(self, raw: Structure) -> Member:
        """Returns the log-probabilities of one draw, unscaled."""
        self._task.read(raw)  # for its checks
        raw = keras.tree.map_structure(lambda x: np.asarray(x, np.float64), raw)
        return (self._task.log_probabilities(raw, np),)

    def new_sum(self, keep_members: bool) -> "LogMembers":
        """Returns this, which adds them up."""
        return self

    def add(self, *member: np.ndarray) -> None:
        """Adds one draw."""
        self._found.append(member[0])

    def result(self) -> np.ndarray:
        """Returns all draws, (..., draws, classes), the draws behind the positions."""
        return np.stack(self._found, axis=-2)
