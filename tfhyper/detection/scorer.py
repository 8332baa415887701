"""What a scorer of foreign inputs is: fitted to known ones, larger for foreign ones."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import Verbose, check_number, check_reading
from tfhyper.detection import files
from tfhyper.detection.networks import as_predictor, classifier_of
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.running import loop
from tfhyper.posterior.running.batches import Batch, Batches, Part, in_parts
from tfhyper.posterior.tasks.classification import sum_to_one
from tfhyper.posterior.tasks.foreign_scores import GraphOfMembers, ScoreGraph
from tfhyper.tensor_types import Structure, Tensor

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

# How many numbers of a draw are held at once where inputs are scored.
_PART = 2**23


class Scorer(abc.ABC):
    """A score of inputs, larger for those that are foreign to the training data.

    `fit` binds it to a predictor and, where a scorer needs them, takes training data;
    `score` gives a number for each input; `threshold` is the score that so many known
    inputs exceed. No foreign input is needed for any of it: look at how many of a kind
    that you expect are found, and choose nothing by them.

    Of a predictor that averages over draws, scores of logits and of features are the
    means of the draws' scores,

        s(x) = 1/N sum_n s_n(x),

    each by the network of one draw, with what was fitted to the features of that draw:
    the features of two draws are other functions, of which no mean says anything.
    Scores of probabilities are of all draws together.

    A scorer is a dataclass of its arguments. It is bound to the draws that it was
    fitted to: after `estimate_batch_norm` or more training fit it again.

    Attributes:
        name: the scorer's name in `SCORERS`.
        needs_training_data: whether `fit` needs `x_train`.
        needs_labels: whether `fit` needs labels.
        predictor: the predictor that it is fitted to, or `None`.

    Example:

    >>> scorer = tfhyper.detection.Entropy().fit(predictor)
    >>> isinstance(scorer, tfhyper.detection.Scorer)
    True
    >>> scorer.score(x_test).shape
    (2000,)
    """

    name: ClassVar[str]
    needs_training_data: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    # How far float32 takes a score, relative to the largest.
    rounding: ClassVar[float] = 1e-5

    predictor: BasePredictor | None = None

    def fit(
        self,
        predictor: BasePredictor | keras.Model,
        x_train: Structure | None = None,
        y_train: ArrayLike | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
    ) -> Self:
        """Fits the scorer to known inputs, those of the training.

        Args:
            predictor: a `tfhyper.PosteriorPredictor` or `tfhyper.DeepEnsemble` that
                gives (batch, classes); or a Keras model whose layers do not draw.
            x_train: training inputs as an array, or a dataset of inputs or of (inputs,
                labels), read once for each draw; `None` where the scorer needs none.
                Sample weights are not used.
            y_train: labels, where `x_train` is an array and the scorer needs some, as
                for `evaluate`. Those of `ignore_class` are left out.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Returns:
            The scorer.

        Raises:
            TypeError: for what is no predictor and no model.
            ValueError: for a predictor of something else than one class for each
                input; for training inputs or labels that are missing, not finite, or
                not what the model takes; for too few of them (each class says which);
                for a network without the features or logits that are needed.
        """
        check_reading(batch_size, verbose)
        made = as_predictor(predictor)
        self._check_predictor(made)
        data = None
        if x_train is not None:
            data = Batches("x_train", x_train, batch_size, made.source.inputs)
        elif self.needs_training_data:
            raise ValueError(
                f"`x_train` must hold training inputs: {type(self).__name__} is fitted "
                "to them. Received: x_train=None"
            )
        elif y_train is not None:
            raise ValueError("`y_train` needs inputs `x_train`. Received: x_train=None")
        self._fit(made, data, y_train, verbose)
        self.predictor = made
        return self

    def _check_predictor(self, predictor: BasePredictor) -> None:
        """Raises ValueError if a classifier does not give what the scorer needs."""

    @abc.abstractmethod
    def _fit(
        self,
        predictor: BasePredictor,
        data: Batches | None,
        y_train: ArrayLike | None,
        verbose: Verbose,
    ) -> None:
        """Takes what it needs of a predictor and training data."""

    def score(
        self, x: Structure, batch_size: int = 128, verbose: Verbose = "auto"
    ) -> np.ndarray:
        """Returns a score for each input, float64 (examples,), larger for foreign.

        Args:
            x: inputs, an array or a dataset of batches, with or without labels. It is
                read once.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: if the scorer is not fitted, or was fitted to other draws than
                the predictor has now; if `x` is empty, not finite or not what the
                model takes.
        """
        predictor = self.fitted()
        check_reading(batch_size, verbose)
        data = Batches("x", x, batch_size, predictor.source.inputs)
        return self.of(data, verbose)

    def threshold(
        self,
        x_val: Structure,
        false_positive_rate: float = 0.05,
        batch_size: int = 128,
        verbose: Verbose = "auto",
    ) -> float:
        """Returns the score above which an input is taken for foreign.

        That which at most a fraction `false_positive_rate` of known inputs exceeds,
        `tfhyper.metrics.rejection_threshold` with a coverage of 1 less this rate. What
        fraction of foreign inputs exceeds it, no known input tells.

        Args:
            x_val: known inputs that trained nothing, as for `score`.
            false_positive_rate: float in 0 <= rate < 1, of known inputs that are taken
                for foreign.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: as `score`, or for a rate out of range.
        """
        rate = check_number("false_positive_rate", false_positive_rate, below=1.0)
        predictor = self.fitted()
        check_reading(batch_size, verbose)
        data = Batches("x_val", x_val, batch_size, predictor.source.inputs)
        scores = self.of(data, verbose)
        return metrics.rejection_threshold(scores, coverage=1.0 - rate)

    def save(self, path: str, overwrite: bool = False) -> None:
        """Writes the fitted scorer into one file, without its predictor.

        `tfhyper.detection.load` reads it, for the same predictor. A scorer of a
        predictor (`fit_rejection`) is saved with that.

        Args:
            path: where to, best ending in `.npz`.
            overwrite: bool, replace a file that is there.

        Raises:
            FileExistsError: if there is a file and `overwrite` is not set.
            ValueError: if the scorer is not fitted.
        """
        self.fitted()
        files.save(path, *self.state(), overwrite)

    def config(self) -> dict[str, Any]:
        """Returns the scorer's arguments by their names, as JSON values."""
        # Each subclass is a dataclass.
        return dataclasses.asdict(self)  # type: ignore[call-overload]  # above

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns name and arguments as JSON values, and the arrays of the fit."""
        about = {"format": files.FORMAT, "scorer": self.name}
        return {**about, "arguments": self.config()}, {}

    def take_state(
        self,
        predictor: BasePredictor,
        about: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        """Takes what `state` gave, for a predictor with the same draws.

        Raises:
            ValueError: if it is of another predictor, or has not the arrays that the
                scorer needs.
        """
        if arrays:
            raise ValueError(f"it has arrays that {self.name} does not have")
        self._check_predictor(predictor)
        self.predictor = predictor

    def fitted(self) -> BasePredictor:
        """Returns the predictor that it is fitted to.

        Raises:
            ValueError: if it is not fitted.
        """
        if self.predictor is None:
            raise ValueError(
                f"The scorer must be fitted: call `fit`. Received: {self!r}, which is "
                "not"
            )
        return self.predictor

    def of(self, data: Batches | Part, verbose: Verbose = 0) -> np.ndarray:
        """Returns the scores of data as predictors read them, float64 (examples,)."""
        self.check_current()
        if isinstance(data, Part):
            return self._of_part(data)
        count = data.num_examples if data.fixed else None
        bar = loop.ProgressBar("score", count, verbose, "example")
        found, done = [], 0
        for part in in_parts(data, self._numbers, _PART):
            found.append(self._of_part(part))
            done += part.num_examples
            bar.update(done, finalize=done == count)
        return np.concatenate(found)

    def check_current(self) -> None:
        """Raises ValueError if it is not fitted, or its predictor has changed."""
        self.fitted()

    @abc.abstractmethod
    def graph(self) -> ScoreGraph:
        """Returns the scorer in operations on tensors, as exported files hold it.

        Raises:
            ValueError: if it is not fitted, or its predictor has changed.
        """

    @abc.abstractmethod
    def _numbers(self, batch: Batch) -> int:
        """Returns how many numbers of a batch are held at once."""

    @abc.abstractmethod
    def _of_part(self, part: Part) -> np.ndarray:
        """Returns the scores of some batches, float64 (examples,)."""


class ProbabilityScorer(Scorer):
    """Base class of scores that the draws' probabilities alone give.

    A `scaling` per draw is applied to them, and one of their mean is not.
    """

    # The fewest draws of which it says anything.
    least_draws: ClassVar[int] = 1

    @staticmethod
    @abc.abstractmethod
    def of_members(members: ArrayLike) -> np.ndarray:
        """Returns the scores of probabilities (draws, examples, classes).

        Args:
            members: probabilities of each draw, whose rows sum to one.

        Returns:
            Scores, float64 (examples,).
        """

    @staticmethod
    @abc.abstractmethod
    def of_tensors(members: Tensor) -> Tensor:
        """Returns the same of a tensor, in the operations of `keras.ops`."""

    def graph(self) -> ScoreGraph:
        """Returns the scorer in operations on tensors, see the base class."""
        self.check_current()
        return GraphOfMembers(self.of_tensors)

    def _check_predictor(self, predictor: BasePredictor) -> None:
        """Raises ValueError where too few networks predict."""
        if predictor.num_networks < self.least_draws:
            raise ValueError(
                f"`predictor` must have {self.least_draws} draws or more, each a "
                f"network of its own: of one {self.name} is 0 throughout. Received: "
                f"num_draws={predictor.num_draws}, in {predictor.num_networks} network"
            )

    def _fit(
        self,
        predictor: BasePredictor,
        data: Batches | None,
        y_train: ArrayLike | None,
        verbose: Verbose,
    ) -> None:
        """Needs nothing."""

    def _numbers(self, batch: Batch) -> int:
        """Returns how many probabilities of a batch there are."""
        predictor = self.fitted()
        return batch.count * classifier_of(predictor).classes * predictor.num_networks

    def _of_part(self, part: Part) -> np.ndarray:
        """Returns the scores of some batches, float64 (examples,)."""
        predictor = self.fitted()
        runs, count = predictor.source.runs(part), predictor.num_networks
        prediction, *_ = loop.predict(runs, count, part, predictor.task, True)
        return self.of_members(sum_to_one(prediction.members))
