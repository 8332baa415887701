"""Several outputs, each with a task of its own and a prediction under its name."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper import keras_private
from tfhyper.metrics.bounds import Score
from tfhyper.posterior.tasks.positions import check_weights
from tfhyper.posterior.tasks.shown import plot
from tfhyper.posterior.tasks.task import (
    Member,
    MemberSum,
    Scores,
    Task,
    as_labels,
)
from tfhyper.summary import Summarized, Summary
from tfhyper.tensor_types import Structure, Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Makes the task of a model with one output, by its name and what is said of it.
MakeTask = Callable[[keras.Model, str, str | None], Task]


class Predictions(Summarized, Mapping[str, Any]):
    """The predictions of several outputs, by the model's own names of these.

    Args:
        found: name of an output -> its prediction.

    Example:

    >>> predictor = tfhyper.PosteriorPredictor(two_headed, num_draws=4)
    >>> predictor.outputs
    {'kind': 'probabilities', 'size': 'mean'}
    >>> prediction = predictor.predict(np.zeros((5, 3)))
    >>> prediction["kind"].epistemic.shape, prediction["size"].mean.shape
    ((5,), (5,))
    """

    # A rule of rejection, or a conformal one, is that of one output.
    rejection = conformal = None

    def __init__(self, found: dict[str, Any]):
        self._found = dict(found)

    def __getitem__(self, name: str) -> Any:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def to_summary(self) -> Summary:
        """Returns what is shown: the table of each output."""
        parts = []
        for name, found in self.items():
            known = isinstance(found, Summarized)
            parts.append((name, found.to_summary() if known else Summary(repr(found))))
        return Summary(f"Predictions of {len(self)} outputs", parts=parts)

    def plot(
        self,
        example: int = 0,
        image: Any = None,
        names: Any = None,
        title: str | None = None,
        figure: "Figure | SubFigure | None" = None,
    ) -> "Figure | SubFigure":
        """Draws what is predicted of one example, one output under the other.

        See `tfhyper.analysis.prediction_plot`, whose arguments these are; `names` is a
        dict from outputs to names.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(two_headed, num_draws=4)
        >>> figure = predictor.predict(np.zeros((5, 3))).plot(2)
        >>> len(figure.subfigs)
        2
        """
        return plot(self, example, image, names, title, figure)


class PredictionsSum(MemberSum):
    """Adds up the draws of each output."""

    def __init__(self, sums: dict[str, MemberSum], widths: dict[str, int]):
        self._sums, self._widths = sums, widths

    def add(self, *member: np.ndarray) -> None:
        """Adds one draw's answers of all outputs, one after another."""
        start = 0
        for name, found in self._sums.items():
            stop = start + self._widths[name]
            found.add(*member[start:stop])
            start = stop

    def result(self) -> Predictions:
        """Returns the predictions of the draws added so far."""
        return Predictions({name: x.result() for name, x in self._sums.items()})


class SeveralScores(Scores):
    """Adds up the scores of each output; their names begin with the output's."""

    def __init__(self, scores: dict[str, Scores]):
        super().__init__()
        self._scores = scores

    def update(
        self, labels: Any, prediction: Predictions, weights: np.ndarray | None
    ) -> None:
        """Adds a part of the data; weights are those of the examples."""
        for name, scores in self._scores.items():
            of_output = check_weights(weights, np.shape(labels[name]))
            scores.update(labels[name], prediction[name], of_output)

    add = update

    def losses(
        self, labels: Any, prediction: Predictions, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Is not called: there is no rule for several outputs."""
        raise TypeError("Several outputs have no rejection in common.")

    def scores(self) -> dict[str, float]:
        """Returns the scores of all outputs, as "size_rmse" of the output "size"."""
        return {
            f"{name}_{score}": value
            for name, scores in self._scores.items()
            for score, value in scores.result().items()
        }


class Several(Task):
    """The task of a model with several outputs: a task for each.

    Args:
        model: a model whose outputs are a list or a dict.
        outputs: name of an output -> one of the names of a task, or `None` for what
            the model's graph and loss speak for; or a list of these, in the order of
            the model's outputs. `None` for all of them.
        make: makes the task of one output.

    Attributes:
        tasks: name of an output -> its task.

    Raises:
        ValueError: for names that are not the model's, and as the tasks.
    """

    names = ()
    uncertainties = ()

    def __init__(self, model: keras.Model, outputs: Any, make: MakeTask):
        names = output_names(model)
        told = _by_name(outputs, names)
        self.tasks: dict[str, Task] = {}
        for i, name in enumerate(names):
            try:
                self.tasks[name] = make(
                    _with_one_output(model, i, name), name, told[name]
                )
            except ValueError as error:
                raise ValueError(f"Of the output {name!r}: {error}") from error
        self._is_dict = isinstance(model.output, dict)
        self._order = list(model.output) if self._is_dict else names
        # How many arrays `read` gives of each output.
        self._widths: dict[str, int] = {}
        # The numbers of each output in what `tensor` gives, and their shape.
        self._sizes: dict[str, int] = {}
        self._places: dict[str, tuple[int, ...]] = {}

    @property
    def name(  # type: ignore[override]  # as settings hold it
        self,
    ) -> dict[str, str | None]:
        """The name of each output's task; `None` for what is not certain yet."""
        return {
            name: task.name if task.known else None for name, task in self.tasks.items()
        }

    @property
    def keeps_members(self) -> bool:  # type: ignore[override]  # of any output
        """Whether the scores of an output need the answers of each draw."""
        return any(task.keeps_members for task in self.tasks.values())

    def member_of(self, prediction: Predictions, draw: int) -> Member:
        """Returns what one draw said of all outputs, one after another."""
        parts = (x.member_of(prediction[k], draw) for k, x in self.tasks.items())
        return tuple(array for part in parts for array in part)

    @property
    def has_likelihood(self) -> bool:
        """Whether every output has one."""
        return all(task.has_likelihood for task in self.tasks.values())

    def weigh(self) -> None:
        """Raises ValueError if an output has a mask of its own."""
        if masked := [name for name, task in self.tasks.items() if task.padding]:
            raise ValueError(
                "A model with several outputs must have none with a mask of Keras, by "
                "which each output would count examples of its own: make a predictor "
                "of a model with that output alone. "
                f"Received: a model with masks of {masked}"
            )

    def check_scores(self) -> None:
        """Raises ValueError if an output has no scores yet, or a mask of its own."""
        self.weigh()
        for task in self.tasks.values():
            task.check_scores()

    def option(self, name: str) -> Any:
        """Returns what the outputs were made with, by their names."""
        return {output: task.option(name) for output, task in self.tasks.items()}

    def _parts(self, raw: Structure) -> list[tuple[Task, str, Any]]:
        """Returns each task, the name of its output, and what the network gave."""
        found = raw if isinstance(raw, dict) else dict(zip(self._order, raw))
        return [(task, name, found[name]) for name, task in self.tasks.items()]

    def read(self, raw: Structure) -> Member:
        """Returns the answers of all outputs, one after another."""
        answers: list[np.ndarray] = []
        for task, name, part in self._parts(raw):
            member = task.read(part)
            self._widths[name] = len(member)
            answers.extend(member)
        return tuple(answers)

    def tensor(self, raw: Structure) -> Tensor:
        """Returns the answers of all outputs side by side, (batch, values).

        Raises:
            ValueError: for an output with an axis of any size, besides the batch.
        """
        columns = []
        for task, name, part in self._parts(raw):
            found = task.tensor(part)
            shape = tuple(found.shape[1:])
            if None in shape:
                raise ValueError(
                    "A file of several outputs needs a model whose outputs have axes "
                    f"of a known size. Received: the output {name!r} of shape "
                    f"{tuple(found.shape)}"
                )
            self._places[name], self._sizes[name] = shape, math.prod(shape)
            columns.append(ops.reshape(found, (-1, math.prod(shape))))
        return ops.concatenate(columns, axis=-1)

    def average(self, outputs: Sequence) -> Structure:
        """Returns the averaged prediction of each output, by its name."""
        parts = [self._parts(raw) for raw in outputs]
        return {
            name: task.average([draw[i][2] for draw in parts])
            for i, (task, name, _) in enumerate(parts[0])
        }

    def new_sum(self, keep_members: bool) -> PredictionsSum:
        """Returns what adds up the draws of each output."""
        sums = {name: task.new_sum(keep_members) for name, task in self.tasks.items()}
        return PredictionsSum(sums, self._widths)

    def new_scores(self) -> SeveralScores:
        """Returns what adds up the scores of each output."""
        return SeveralScores({name: x.new_scores() for name, x in self.tasks.items()})

    def arrange_labels(self, labels: Structure) -> dict[str, Any]:
        """Returns labels by the names of the outputs.

        Args:
            labels: a dict by these names, or a list in their order.

        Raises:
            ValueError: for other names, or another number of them.
        """
        if isinstance(labels, Mapping):
            found = dict(labels)
        elif isinstance(labels, list | tuple) and len(labels) == len(self._order):
            found = dict(zip(self._order, labels, strict=True))
        else:
            found = {}
        if set(found) != set(self.tasks):
            raise ValueError(
                f"`y` must hold labels of each of the outputs {list(self.tasks)}: a "
                f"dict, or a list in their order. Received: y of type "
                f"{type(labels).__name__}"
                + (f" with {list(labels)}" if isinstance(labels, Mapping) else "")
            )
        return {name: as_labels(x) for name, x in found.items()}

    def check_labels(  # type: ignore[override]  # by their names
        self, labels: Any
    ) -> dict[str, np.ndarray]:
        """Returns the labels of each output, as its task takes them."""
        return {name: x.check_labels(labels[name]) for name, x in self.tasks.items()}

    def label_shape(self, labels: Any) -> tuple[int, ...]:
        """Returns the shape of weights that are those of the examples."""
        return (len(next(iter(labels.values()))),)

    def check_decides(self) -> None:
        """Raises ValueError: outputs that decide are asked for one by one."""
        raise ValueError(
            "`predict_anytime` is for models with one output. "
            f"Received: outputs={self.name!r}"
        )

    def set_scaling(self, value: Any) -> None:
        """Takes the scalings of some outputs, by their names, or `None` for no one.

        Raises:
            TypeError: for what is no dict of these.
            ValueError: for other names, and as the tasks.
        """
        given = {} if value is None else value
        if not isinstance(given, Mapping) or not set(given) <= set(self.tasks):
            raise TypeError(
                "`scaling` must be a dict with names of the model's outputs, "
                f"{list(self.tasks)}, or None. Received: scaling={value!r:.80}"
            )
        for name, task in self.tasks.items():
            task.set_scaling(given.get(name))

    @property
    def scalings(self) -> dict[str, Any]:
        """The scalings of the outputs, by their names."""
        return {name: task.scaling for name, task in self.tasks.items()}

    @property
    def rounding(self) -> float:
        """The largest of the outputs'."""
        return max(task.rounding for task in self.tasks.values())

    def check_fits_scaling(self) -> None:
        """Raises ValueError: outputs are scaled one by one."""
        raise ValueError(
            "`fit_scaling` is for models with one output: choose each one's with a "
            "predictor of that output, and give all in `scaling`. "
            f"Received: outputs={self.name!r}"
        )

    def check_fits_noise(self) -> None:
        """Raises ValueError unless an output has noise to choose."""
        if not self._with_noise():
            next(iter(self.tasks.values())).check_fits_noise()

    def _with_noise(self) -> list[str]:
        found = []
        for name, task in self.tasks.items():
            try:
                task.check_fits_noise()
            except ValueError:
                continue
            found.append(name)
        return found

    def fit_noise(
        self,
        targets: Any,
        prediction: Predictions,
        weights: np.ndarray | None,
        score: Score,
        per_target: bool = False,
    ) -> None:
        """Chooses the noise of each output that has some, by its own targets."""
        for name in self._with_noise():
            of_output = check_weights(weights, np.shape(targets[name]))
            self.tasks[name].fit_noise(
                targets[name], prediction[name], of_output, score, per_target
            )

    def _members(self, members: Tensor) -> list[tuple[Task, str, Tensor]]:
        """Returns each task, the name of its output, and what `tensor` gave of it."""
        found, start = [], 0
        for name, task in self.tasks.items():
            stop = start + self._sizes[name]
            part = members[:, :, start:stop]
            shape = (-1, members.shape[1], *self._places[name])
            found.append((task, name, ops.reshape(part, shape)))
            start = stop
        return found

    def averaged_outputs(self, members: Tensor, argmax: Callable) -> dict[str, Any]:
        """Returns what a file gives of each output; the names begin with its name."""
        return {
            f"{name}_{key}": value
            for task, name, part in self._members(members)
            for key, value in task.averaged_outputs(part, argmax).items()
        }

    def member_outputs(self, members: Tensor) -> dict[str, Any]:
        """Returns what a file gives of each draw; the names begin with an output's."""
        return {
            f"{name}_{key}": value
            for task, name, part in self._members(members)
            for key, value in task.member_outputs(part).items()
        }

    def expected_outputs(self, prediction: Predictions) -> dict[str, np.ndarray]:
        """Returns the outputs of a file, of a prediction."""
        return {
            f"{name}_{key}": value
            for name, task in self.tasks.items()
            for key, value in task.expected_outputs(prediction[name]).items()
        }

    def expected_decisions(self, found: dict) -> dict[str, np.ndarray]:
        """Returns the decisions that follow from the numbers that a file gave."""
        return {
            f"{name}_{key}": value
            for name, task in self.tasks.items()
            for key, value in task.expected_decisions(_of(name, found)).items()
        }

    def output_scores(self, labels: ArrayLike, found: dict) -> dict[str, float]:
        """Returns the scores of what a file gave, for labels of each output."""
        by_name = self.arrange_labels(labels)
        return {
            f"{name}_{key}": value
            for name, task in self.tasks.items()
            for key, value in task.output_scores(
                by_name[name], _of(name, found)
            ).items()
        }

    def output_uncertainty(self, found: dict, score: str) -> Tensor:
        """Is not called: there is no rule for several outputs."""
        raise TypeError("Several outputs have no uncertainty in common.")


def output_names(model: keras.Model) -> list[str]:
    """Returns the names of a model's outputs: its dict's keys, or Keras' names."""
    if isinstance(model.output, dict):
        return list(model.output)
    return list(model.output_names)


def _by_name(outputs: Any, names: Sequence[str]) -> dict[str, str | None]:
    """Returns what is said of each output."""
    if outputs is None:
        return dict.fromkeys(names)
    if isinstance(outputs, Mapping) and set(outputs) <= set(names):
        return {name: outputs.get(name) for name in names}
    if isinstance(outputs, list | tuple) and len(outputs) == len(names):
        return dict(zip(names, outputs, strict=True))
    raise ValueError(
        f"`outputs` must be a dict with names of the model's outputs, {list(names)}, "
        f"or a list with an entry for each. Received: outputs={outputs!r}"
    )


def _with_one_output(model: keras.Model, index: int, name: str) -> keras.Model:
    """Returns a model of one of the outputs, compiled with its loss."""
    output = model.output
    output = output[name] if isinstance(output, dict) else output[index]
    found = keras_private.model_of(model.inputs, output)
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        loss = loss.get(name)
    elif isinstance(loss, list | tuple):
        loss = loss[index] if len(loss) == len(model.outputs) else None
    if loss is not None:
        found.compile(loss=loss)
    return found


def _of(name: str, found: dict) -> dict:
    """Returns what is of one output, by names without its own."""
    start = f"{name}_"
    return {
        key.removeprefix(start): x for key, x in found.items() if key.startswith(start)
    }
