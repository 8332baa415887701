"""What a task has to answer: the meaning of a network's outputs."""

import abc
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.conformal import ConformalRule
from tfhyper.metrics.bounds import Score
from tfhyper.posterior.tasks import positions
from tfhyper.posterior.tasks.conformity import ConformalSums
from tfhyper.posterior.tasks.output_kind import Evidence
from tfhyper.posterior.tasks.padding import Padding
from tfhyper.posterior.tasks.rejection import SelectiveSums
from tfhyper.scaling import Scaling
from tfhyper.tensor_types import Structure, Tensor

# A number for each example and draw: arrays (examples, ...) of one draw.
Member = tuple[np.ndarray, ...]


class MemberSum(abc.ABC):
    """Adds up what the draws say, one draw at a time, so that not all are kept."""

    @abc.abstractmethod
    def add(self, *member: np.ndarray) -> None:
        """Adds one draw's answer, as `Task.read` returns it, of all examples."""

    @abc.abstractmethod
    def result(self) -> Any:
        """Returns the prediction of the draws added so far."""


class Scores(abc.ABC):
    """Adds up the scores of predictions, so that data come in parts.

    With a rejection in the predictions, the fraction that is kept and its loss too;
    with a conformal rule how often it covers, and how large sets or intervals are.
    """

    # What the mean loss of what is kept is called, see `SelectiveSums.scores`.
    selective: ClassVar[str] = "selective_error"

    def __init__(self) -> None:
        self._selective: SelectiveSums | None = None
        self._conformal: ConformalSums | None = None

    def update(
        self, labels: np.ndarray, prediction: Any, weights: np.ndarray | None
    ) -> None:
        """Adds a part of the data.

        Args:
            labels: as `Task.check_labels` returns them.
            prediction: of `Task.new_sum`, with its members if `keeps_members`.
            weights: (rows,), one for each label, or `None`.

        Raises:
            ValueError: if labels and prediction do not fit.
        """
        self.add(labels, prediction, weights)
        if prediction.rejection is not None:
            self._selective = self._selective or SelectiveSums()
            self._selective.add(*self.losses(labels, prediction, weights))
        rule = getattr(prediction, "conformal", None)  # which not every task has
        if rule is not None:
            self._conformal = self._conformal or ConformalSums(rule)
            self._conformal.add(labels, prediction, weights)

    @abc.abstractmethod
    def add(
        self, labels: np.ndarray, prediction: Any, weights: np.ndarray | None
    ) -> None:
        """Adds to the scores of all predictions; arguments as of `update`."""

    @abc.abstractmethod
    def losses(
        self, labels: np.ndarray, prediction: Any, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns losses, whether they are rejected, and weights, each (rows,)."""

    @abc.abstractmethod
    def scores(self) -> dict[str, float]:
        """Returns the scores of all predictions."""

    def result(self) -> dict[str, float]:
        """Returns the scores of all parts so far.

        Raises:
            ValueError: if no label counted.
        """
        found = self.scores()
        if all(math.isnan(score) for score in found.values()):
            raise ValueError(
                "`y` must hold labels that count. Received: labels that are all "
                "ignored, or have a `sample_weight` of 0"
            )
        if self._selective is not None:
            found.update(self._selective.scores(self.selective))
        if self._conformal is not None:
            found.update(self._conformal.scores())
        return found


class Task(abc.ABC):
    """What the outputs of a network mean, and what is done with many of them.

    A predictor asks its task for everything that depends on it: how a batch of
    outputs is read, how draws are added up, what labels look like, which scores there
    are and what a file of `tfhyper.export` gives. A new kind of output is a subclass
    in a file of its own, and a line in `tasks.registry`.

    Attributes:
        names: the values of a predictor's argument `outputs` that mean this task.
        takes: the names of a predictor's arguments that are for this task alone, such
            as `link`. Each is an attribute of the task, and has its default here.
        uncertainties: the names that `prediction.uncertainty` knows.
        unit: the unit of these, in words.
        decides: whether a prediction is a decision: a label, which can be wrong.
        conforms: the methods of conformal prediction that are for it.
        keeps_members: whether scores need the answer of each draw.
        name: the value of `outputs` that it is.
        known: whether it is certain what the network gives; `False` until the first
            numbers tell.
    """

    names: ClassVar[tuple[str, ...]]
    takes: ClassVar[tuple[str, ...]] = ()
    uncertainties: ClassVar[tuple[str, ...]] = ("total", "aleatoric", "epistemic")
    unit: ClassVar[str] = "nats"
    decides: ClassVar[bool] = False
    conforms: ClassVar[tuple[str, ...]] = ()
    keeps_members: ClassVar[bool] = False

    name: str
    known: bool = True
    # The shapes of the model's outputs.
    shapes: tuple[tuple[int | None, ...], ...] = ()
    # Which answers are to padding; `None` where no model was looked at.
    padding: Padding | None = None

    # Defaults of what only some tasks take, see `registry`.
    link: str = "softmax"
    noise_variance: float | Sequence[float] = 0.0
    ignore_class: int | None = None
    scaling: Scaling | None = None

    @classmethod
    def found_in(cls, evidence: Evidence) -> tuple[str, bool] | None:
        """Returns the one of `names` that a model's graph and loss speak for.

        Args:
            evidence: what they say.

        Returns:
            The name, and whether it is certain; `None` where they do not speak for
            this task.
        """
        return None

    @abc.abstractmethod
    def read(self, raw: Structure) -> Member:
        """Returns the answer of one draw for a batch, from what its network gave.

        Args:
            raw: the network's outputs, in its structure: finite float32 arrays, see
                `tfhyper.posterior.running.loop.finite_outputs`.

        Returns:
            Arrays (batch, ...), always as many.

        Raises:
            ValueError: for outputs that are not what they should be.
        """

    @abc.abstractmethod
    def tensor(self, raw: Structure) -> Tensor:
        """Returns the answer of `read` as one float32 tensor (batch, values).

        Args:
            raw: the network's outputs, tensors or symbolic ones.
        """

    @abc.abstractmethod
    def average(self, outputs: Sequence) -> Structure:
        """Returns the averaged prediction as outputs of a plain Keras model.

        Args:
            outputs: the symbolic outputs of each draw's network.
        """

    @abc.abstractmethod
    def new_sum(self, keep_members: bool) -> MemberSum:
        """Returns what adds up the draws.

        Args:
            keep_members: whether the prediction is to hold each draw's answer.
        """

    def member_of(self, prediction: Any, draw: int) -> Member:
        """Returns what one draw said, as `read` gave it.

        Raises:
            ValueError: if the members were not kept.
        """
        return (kept(prediction.members)[draw],)

    @abc.abstractmethod
    def check_labels(self, labels: ArrayLike) -> np.ndarray:
        """Returns labels (examples, ...) in the form that `report` takes.

        Raises:
            ValueError: for another shape, or labels out of range.
            TypeError: for labels of another type.
        """

    @abc.abstractmethod
    def new_scores(self) -> "Scores":
        """Returns what adds up the scores of predictions, part by part of the data."""

    @property
    def has_likelihood(self) -> bool:
        """Whether a prediction says how likely every label is, as scores need it."""
        return True

    def choices(self, member: Member) -> np.ndarray:
        """Returns the probabilities of what is decided between, along the last axis.

        Args:
            member: one draw's answer for a batch, of `read`, of a task that decides.
        """
        return member[0]

    def check_decides(self) -> None:
        """Raises ValueError for a task that decides nothing."""
        if not self.decides:
            raise ValueError(
                "`predict_anytime` is for classifiers: a regression decides nothing. "
                f"Received: outputs={self.name!r}"
            )

    def of_choices(self, mean: np.ndarray) -> np.ndarray:
        """Returns a mean of `choices` as a prediction's `mean`."""
        return mean

    def option(self, name: str) -> Any:
        """Returns what it was made with, by an option's name: a JSON value."""
        value = getattr(self, name)
        return value.to_json() if isinstance(value, Scaling) else value

    def arrange_labels(self, labels: Structure) -> Structure:
        """Returns labels as arrays (examples, ...), as `check_labels` takes them.

        Raises:
            ValueError: for labels that are no array.
        """
        return as_labels(labels)

    def weigh(
        self,
    ) -> Callable[[Structure, np.ndarray | None], np.ndarray | None] | None:
        """Returns what weighs a batch, `Padding.weigh`, where there is padding.

        Raises:
            ValueError: if no weights can be made that fit all outputs.
        """
        return self.padding.weigh if self.padding else None

    def label_shape(self, labels: Any) -> tuple[int, ...]:
        """Returns the shape that weights of checked labels may have."""
        return labels.shape

    def rejection_data(
        self,
        prediction: Any,
        score: str,
        labels: np.ndarray | None,
        weights: np.ndarray | None,
        decided: bool,
    ) -> dict[str, np.ndarray | None]:
        """Returns what `tfhyper.metrics.rejection_threshold` takes of a prediction.

        Args:
            prediction: what `new_sum` gave.
            score: one of `uncertainties`.
            labels: as `check_labels` returns them, or `None`.
            weights: (rows,), as of `positions.check_weights`, or `None`.
            decided: whether it takes labels, and what is said of them.
        """
        uncertainty = prediction.uncertainty(score)
        if labels is None:
            return {"uncertainty": uncertainty.reshape(-1), "sample_weight": weights}
        said = uncertainty[..., None]
        if decided:
            said = np.concatenate([said, self.choices((prediction.mean,))], axis=-1)
        rows = positions.rows_that_count(labels, said, weights, self.ignore_class)
        found = {"uncertainty": rows.values[:, 0], "sample_weight": rows.weights}
        if decided:
            found.update(labels=rows.labels, probs=rows.values[:, 1:])
        return found

    def check_scores(self) -> None:
        """Raises ValueError if there are no scores yet."""

    def fit_noise(
        self,
        targets: np.ndarray,
        prediction: Any,
        weights: np.ndarray | None,
        score: Score,
        per_target: bool = False,
    ) -> None:
        """Chooses `noise_variance` by held-out data, one or one for each target.

        Raises:
            ValueError: for a task that has none.
        """
        self.check_fits_noise()

    def check_fits_noise(self) -> None:
        """Raises ValueError unless `fit_noise` has something to choose."""
        raise ValueError(
            '`fit_noise` needs a predictor with `outputs="mean"`. '
            f"Received: outputs={self.name!r}"
        )

    def set_scaling(self, value: Any) -> None:
        """Takes a `Scaling` of its probabilities, or `None`.

        Raises:
            ValueError: for a task that has no probabilities.
            TypeError: for what is no scaling.
        """
        if value is not None:
            self.check_fits_scaling()

    @property
    def scalings(self) -> Any:
        """The scaling; of several outputs a dict of these, by their names."""
        return self.scaling

    @property
    def rounding(self) -> float:
        """How far files may differ from the predictor, by what a scaling does."""
        return 0.0 if self.scaling is None else self.scaling.rounding

    def check_fits_scaling(self) -> None:
        """Raises ValueError unless there are probabilities to scale."""
        raise ValueError(
            "A scaling is for classifiers: of classes, or of one label. "
            f"Received: outputs={self.name!r}"
        )

    def check_conforms(self, method: str) -> None:
        """Raises ValueError unless a method of conformal prediction is for it.

        Args:
            method: a name of `tfhyper.conformal`.
        """
        if not isinstance(method, str) or method not in self.conforms:
            raise ValueError(
                f"`method` or `score` must be one of {list(self.conforms)} for these "
                f"outputs. Received: {method!r}, outputs={self.name!r}"
                if self.conforms
                else "Conformal prediction is for classes, one label or numbers, of a "
                f"model with one output. Received: outputs={self.name!r}"
            )

    @property
    def conformal_columns(self) -> int:
        """How many classes or targets a conformal rule may tell apart."""
        return 1

    def check_exports(self, rule: ConformalRule) -> None:
        """Raises ValueError unless a file can give what a conformal rule says."""

    def conformal_outputs(
        self, found: dict, rule: ConformalRule, xp: Any = ops
    ) -> dict[str, Any]:
        """Returns what a conformal rule makes of what a file gives, by name.

        Args:
            found: its outputs by name, tensors or arrays.
            rule: one that is for this task.
            xp: `keras.ops`, or `numpy` for arrays.
        """
        raise TypeError("There is no conformal rule for this task.")

    @abc.abstractmethod
    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns what a file gives of the averaged prediction, by name.

        Args:
            members: float32 tensor (batch, draws, values), of `tensor`.
            argmax: function of a tensor that gives the place of the largest value
                along the last axis. (That of Keras has operations that some runtimes
                lack.)
        """

    @abc.abstractmethod
    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns what a file gives of each draw, by name; `members` as above."""

    @abc.abstractmethod
    def expected_outputs(self, prediction: Any) -> dict[str, np.ndarray]:
        """Returns what a file must give for a prediction that kept its members.

        All numbers of `averaged_outputs` and `member_outputs`, without the decisions.
        """

    def expected_decisions(self, found: dict) -> dict[str, np.ndarray]:
        """Returns the decisions that follow from the numbers that a file gave."""
        return {}

    @abc.abstractmethod
    def output_scores(self, labels: ArrayLike, found: dict) -> dict[str, float]:
        """Returns the scores of what a file gave, by name, for labels."""

    @abc.abstractmethod
    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Returns `prediction.uncertainty(score)` from what a file gives.

        Args:
            found: its outputs by name, tensors or arrays.
            score: one of `uncertainties`.
        """


def as_labels(labels: Structure) -> np.ndarray:
    """Returns tensors and nested lists of labels as an array.

    Raises:
        ValueError: if they are of different lengths along an axis.
    """
    try:
        if ops.is_tensor(labels):
            return ops.convert_to_numpy(labels)
        return np.asarray(labels)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "`y` must be an array, of the same size along each axis. "
            f"Received: y of type {type(labels).__name__} ({error})"
        ) from error


def kept(members: np.ndarray | None) -> np.ndarray:
    """Returns the members of a prediction that kept them.

    Raises:
        ValueError: if there are none.
    """
    if members is None:
        raise ValueError(
            "The prediction must have members: call `predict` with "
            "`keep_members=True`. Received: a prediction without members"
        )
    return members


def only(raw: Structure) -> Tensor:
    """Returns the only output of a network, whatever it stands in."""
    (output,) = keras.tree.flatten(raw)
    return output


def in_float32(raw: Structure) -> Tensor:
    """Returns a tensor or symbolic tensor in float32."""
    return keras.layers.Activation("linear", dtype="float32")(raw)


def output_shapes(model: keras.Model) -> list[tuple]:
    """Returns the shapes of a model's outputs, in their order."""
    return [tuple(output.shape) for output in model.outputs]
