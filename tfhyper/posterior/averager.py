"""What averages over draws: its settings, its networks, predictions and files."""

import abc
import copy
import dataclasses
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import keras

from tfhyper import keras_graph, keras_private
from tfhyper.checks import (
    Verbose,
    check_bool,
    check_choice,
    check_integer,
    check_reading,
    check_verbose,
)
from tfhyper.conformal import ConformalRule
from tfhyper.conformal.registry import check_conformal
from tfhyper.layers import Augment
from tfhyper.posterior import archive
from tfhyper.posterior.draw_source import DrawSource
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running import loop
from tfhyper.posterior.running.batch_norm_statistics import BatchNormMoments
from tfhyper.posterior.running.batches import Batch, Batches, Part, in_parts
from tfhyper.posterior.running.weight_cache import RunnableNetwork
from tfhyper.posterior.tasks import foreign_scores
from tfhyper.posterior.tasks.foreign_scores import ForeignScorer, ScorerState
from tfhyper.posterior.tasks.registry import option_values
from tfhyper.posterior.tasks.rejection import FOREIGN, Rejection, check_rejection
from tfhyper.posterior.tasks.task import Task
from tfhyper.scaling import CalibrationWarning, Scaling
from tfhyper.tensor_types import Structure
from tfhyper.variational.weight_posterior import duplicate

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


# How many numbers of a draw are held at once where predictions are scored.
_PART = 2**23


class Averager(abc.ABC):
    """Averages over a source of draws, for a task, without knowing any labels.

    `BasePredictor` adds what labels are for.

    Args:
        source: what is averaged over.
        task: what the networks' outputs mean.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
        conformal: `tfhyper.conformal.ConformalRule`, by which predictions have sets or
            intervals, or `None`.

    Attributes:
        source: the `DrawSource`.
        task: the `Task`.
    """

    # Name of the class in the files that `save` writes.
    kind: ClassVar[str]

    _rejection: Rejection | None = None
    _conformal: ConformalRule | None = None
    _scorer: ForeignScorer | None = None

    def __init__(
        self,
        source: DrawSource,
        task: Task,
        rejection: Rejection | None,
        conformal: ConformalRule | None = None,
    ):
        self.source, self.task = source, task
        self.rejection = rejection
        self.conformal = conformal

    @classmethod
    @abc.abstractmethod
    def of_models(
        cls, models: Sequence[keras.Model | str], settings: dict[str, Any]
    ) -> "Self":
        """Returns a predictor of models, with `settings` as the property gives them."""

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments besides the models, by their names: JSON values."""
        task = self.task
        found = {
            **self.draw_settings(),
            # What is not certain yet is for the file's reader to find out, too.
            "outputs": task.name if task.known else None,
            **option_values(task),
            "rejection": None,
            "conformal": None,
        }
        if self.rejection is not None:
            found["rejection"] = dataclasses.asdict(self.rejection)
        if self.conformal is not None:
            found["conformal"] = self.conformal.to_json()
        return found

    def draw_settings(self) -> dict[str, Any]:
        """Returns the arguments of the source, by this class's names: JSON values."""
        return self.source.settings.to_json()

    @property
    def num_draws(self) -> int:
        """How many draws are averaged over."""
        return self.source.num_draws

    @property
    def num_networks(self) -> int:
        """How many networks predict: 1 if one holds all the draws."""
        return len(self.source.draws)

    @property
    def outputs(self) -> str | dict[str, str | None]:
        """What the model gives: see the argument."""
        return self.task.name

    @property
    def link(self) -> str:
        """How logits become probabilities: see the argument."""
        return self.task.option("link")

    @property
    def noise_variance(self) -> float | Sequence[float]:
        """Variance of the targets around the mean: see the argument."""
        return self.task.option("noise_variance")

    @property
    def ignore_class(self) -> int | None:
        """The label that counts in no score: see the argument."""
        return self.task.option("ignore_class")

    @property
    def scaling(self) -> Scaling | dict[str, Scaling | None] | None:
        """What scales the probabilities: see the argument. It can be set."""
        return self.task.scalings

    @scaling.setter
    def scaling(self, value: Scaling | Mapping[str, Any] | None) -> None:
        before = self.settings["scaling"]
        self.task.set_scaling(value)
        if self.settings["scaling"] == before:
            return
        self._drop_conformal("another scaling")
        if self.rejection is not None:
            warnings.warn(
                "The `rejection` was chosen for predictions with another scaling: "
                "choose it anew by `fit_rejection`, or set it to None",
                CalibrationWarning,
                stacklevel=2,
            )

    @property
    def batch_norm(self) -> BatchNormMoments:
        """Where a draw's BatchNorm moments come from: see the argument."""
        return self.source.settings.batch_norm

    @property
    def batch_size(self) -> int | None:
        """Examples of a mini-batch of `batch_norm="minibatch"`, else `None`."""
        return self.source.settings.batch_size

    @property
    def seed(self) -> int:
        """What the draws are made from: see the argument."""
        return self.source.settings.seed

    @property
    def deterministic(self) -> bool:
        """Whether there is one network, at the posterior's mean."""
        return self.source.settings.deterministic

    @property
    def augment(self) -> Augment | None:
        """How draws see the inputs: see the argument."""
        return self.source.settings.augment

    @property
    def dropout(self) -> str:
        """Whether dropout draws: "off" or "sample"."""
        return self.source.settings.dropout

    def runs(self) -> Iterable[RunnableNetwork]:
        """Returns the networks of the draws in their order, ready to predict.

        A `RunnableNetwork` is called with a batch of inputs, and the place of the first
        of them in the data, and returns what the network gives.

        Raises:
            ValueError: if `estimate_batch_norm` is due, or the model has other weights.
        """
        return self.source.runs()

    def networks(self) -> list[tuple[PointNetwork, Draw]]:
        """Returns the networks, each as a draw and what it is to be given to.

        Raises:
            ValueError: as `runs`.
        """
        return self.source.networks()

    def estimate_batch_norm(
        self, inputs: Structure, batch_size: int | None = None, verbose: Verbose = 1
    ) -> "Self":
        """Gives each draw the BatchNorm moments of a pass over training inputs.

        Layer by layer, as in training: a layer sees inputs that the layers
        before it normalised by the same batch. The moments of the pass are
        those of all its examples together, and of `"minibatch"` those of the
        draw's own mini-batch.

        Args:
            inputs: training inputs, a subset of them, or a `tf.data.Dataset` of
                batches (labels are ignored), best as training saw them, with its
                augmentation. It is read once for each draw. With `"minibatch"`
                each draw takes a random mini-batch of an array, or the next
                batch of a dataset, whose batches must have the predictor's
                `batch_size`.
            batch_size: int > 0, for arrays; best that of training. 128 if left
                out. Not with `"minibatch"`.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Returns:
            The predictor.

        Raises:
            ValueError: if `inputs` is empty or not finite, or too few for a
                mini-batch; if the moments come out not finite; or with
                `batch_norm="moving_average"`. All draws have the moments that they
                had before then.

        Example:

        >>> ensemble = tfhyper.DeepEnsemble(paths, batch_norm="reestimate")
        >>> ensemble = ensemble.estimate_batch_norm(x_train, verbose=0)
        >>> ensemble.predict(x_test).mean.shape
        (2000, 10)
        """
        check_verbose(verbose)
        self.source.estimate_batch_norm(inputs, batch_size, verbose)
        self._drop_conformal("other moments of BatchNorm")
        return self

    def calibrate(
        self, inputs: Structure, batch_size: int | None = None, verbose: Verbose = 1
    ) -> "Self":
        """Is the name of before for `estimate_batch_norm`, and does the same.

        Elsewhere "to calibrate" is to scale probabilities. The name goes with the
        version after the next.
        """
        return self.estimate_batch_norm(inputs, batch_size, verbose)

    def materialize(self, draw: int = 0) -> keras.Model:
        """Returns a plain Keras model with the weights of one draw.

        Args:
            draw: int, the index of one of the networks.

        Raises:
            ValueError: if `draw` is out of range, or if `estimate_batch_norm` is due.
        """
        return self.source.materialize(
            check_integer("draw", draw, 0, self.num_networks - 1)
        )

    def materialize_average(self) -> keras.Model:
        """Returns one plain Keras model that gives the averaged prediction.

        All the networks of the draws side by side, and the mean of what they give:
        probabilities of classes or labels in float32, or of a regression a list of
        mean and variance, in the network's shape, and of several outputs a dict of
        these. It needs nothing of tfhyper to load, but where dropout draws (see
        `materialize`) or a head gives a distribution. It rejects nothing.

        Raises:
            ValueError: if `estimate_batch_norm` is due.

        Example:

        >>> predictor = tfhyper.PosteriorPredictor(
        ...     residual, num_draws=4, averaging="widening"
        ... ).estimate_batch_norm(x_train, verbose=0)
        >>> model = predictor.materialize_average()
        >>> model.save("average.keras")
        >>> keras.saving.load_model("average.keras").predict(x_test, verbose=0).shape
        (2000, 10)
        """
        networks = [self.materialize(i) for i in range(self.num_networks)]
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
            networks[0].input,
        )
        for i, network in enumerate(networks):
            network.name = f"draw{i}"
        outputs = self.task.average([network(inputs) for network in networks])
        return keras_private.model_of(inputs, outputs, "average")

    def predict(
        self,
        x: Structure,
        batch_size: int = 128,
        keep_members: bool | None = None,
        verbose: Verbose = "auto",
    ) -> Any:
        """Returns the mean over the draws, and its uncertainty.

        A `Prediction` of a classifier, a `LabelsPrediction` of labels each by itself, a
        `RegressionPrediction` of a regression, in the shape of what the network gives;
        a `DistributionPrediction` behind a head, `Predictions` of several outputs. With
        a `rejection`, it says what is unknown, and with a `conformal` rule it has
        `sets` or a `conformal_interval`.

        The draws' kernels are generated once and kept for the next call, if those of
        all draws are not above 1 GiB (of one model, in a `DeepEnsemble`). Then
        one draw after another predicts as a plain network does, and no more than
        one draw's activations are in memory.

        For few inputs a `PosteriorPredictor` has a second form, in which all draws
        predict together, their activations in memory at once: on TensorFlow for up to
        16 inputs in a batch and on JAX for one, after 64 batches of that size, if the
        N networks are not above 48 MiB, with some ten times that in memory; on Torch
        for up to 8, after 4. It is built once, which takes seconds, and again when
        draws or moments change. The numbers are the same up to rounding.

        Args:
            x: inputs, an array or a `tf.data.Dataset` of batches, with or
                without labels. A dataset is read once for each draw and must
                give the same examples in the same order each time.
            batch_size: int > 0, for arrays.
            keep_members: bool, keep the N predictions: draws x examples x
                classes x 4 bytes. `None` to keep them if they are not above 1 GiB, and
                to print that they are not kept.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: if `x` is empty, not finite or comes in another order
                for another draw; if `estimate_batch_norm` is due; or if a draw's output
                is not finite.
        """
        _check_members(keep_members)
        check_reading(batch_size, verbose)
        data = Batches("x", x, batch_size, self.source.inputs)
        prediction, *_ = self._predict(data, keep_members, verbose)
        return self._with_rules(self._scored(prediction, data, self._scorer))

    def predict_batches(
        self,
        x: Structure,
        batch_size: int = 128,
        keep_members: bool | None = None,
        verbose: Verbose = "auto",
    ) -> Iterator[Any]:
        """Yields predictions batch by batch, for what is too large to be held at once.

        What `predict` returns of each batch. All draws predict a batch before the next
        is read: `x` is read once, and may be different when it is read again. Where the
        kernels of all draws are above 1 GiB, they are made anew for each batch, and of
        a `DeepEnsemble` of paths the files are read anew: take large batches then.

        Args:
            x: as for `predict`.
            batch_size: int > 0, for arrays.
            keep_members: as for `predict`, of each batch.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: as `predict`.

        Example:

        >>> unsure = [
        ...     int((part.total > 0.9).sum())
        ...     for part in predictor.predict_batches(x_test, batch_size=500)
        ... ]
        >>> len(unsure)  # of 2000 images
        4
        """
        _check_members(keep_members)
        check_reading(batch_size, verbose)
        data = Batches("x", x, batch_size, self.source.inputs)
        parts = self._in_parts(data, keep_members, verbose, "predict", most=0)
        return (self._with_rules(prediction) for prediction, *_ in parts)

    @property
    def rejection(self) -> Rejection | None:
        """The rule by which predictions are unknown, or `None`: see the argument.

        It can be set.
        """
        return self._rejection

    @rejection.setter
    def rejection(self, value: Rejection | None) -> None:
        value = check_rejection(value)
        if value is not None:
            self._check_score(value.score)
        self._rejection = value

    @property
    def conformal(self) -> ConformalRule | None:
        """The rule by which there are sets or intervals, or `None`: see the argument.

        It can be set.
        """
        return self._conformal

    @conformal.setter
    def conformal(self, value: ConformalRule | None) -> None:
        rule = check_conformal(value)
        if rule is not None:
            self.task.check_conforms(rule.method)
            columns, known = len(rule.thresholds[0]), self.task.conformal_columns
            if columns not in (1, known):
                raise ValueError(
                    f"`conformal` must have one threshold, or {known}, one for each "
                    f"class or target. Received: {columns} thresholds"
                )
        self._conformal = rule

    def _drop_conformal(self, what: str) -> None:
        """Sets `conformal` to `None` and warns, if there is one.

        Its guarantee is one of the predictions that chose its threshold.

        Args:
            what: what predictions have from now on, in words.
        """
        if self._conformal is None:
            return
        self._conformal = None
        warnings.warn(
            f"Predictions have {what} than those that chose `conformal`, which holds "
            "for these alone and is None from now on: choose it anew by "
            "`fit_conformal`",
            CalibrationWarning,
            stacklevel=3,
        )

    @property
    def scorer(self) -> ForeignScorer | None:
        """What scores how foreign inputs are, a `tfhyper.detection.Scorer`, or `None`.

        Predictions have its scores then, `prediction.foreign`, for which the data go
        through the networks once more; a `rejection` may be by them, and files of
        `save` hold it. `fit_rejection` sets it. It can be set, of a classifier of one
        class for each input: to a fitted scorer, or the name of one that needs no
        training data.
        """
        return self._scorer

    @scorer.setter
    def scorer(self, value: Any) -> None:
        if self._rejection is not None and self._rejection.score == FOREIGN:
            raise ValueError(
                "`scorer` cannot change under a `rejection` by its scores: set the "
                f"`rejection` to None first. Received: {self._rejection!r}"
            )
        if value is not None:
            value = foreign_scores.scorer_for(self, value, "scorer")
        self._scorer = value

    def _scored(
        self, prediction: Any, data: Batches | Part, scorer: ForeignScorer | None
    ) -> Any:
        """Returns a prediction with the scores of a scorer, if there is one."""
        if scorer is None:
            return prediction
        return dataclasses.replace(prediction, foreign=scorer.of(data))

    def _check_score(self, score: str) -> None:
        """Raises ValueError for a score that these networks do not have."""
        if score == FOREIGN:
            if self._scorer is None:
                raise ValueError(
                    '`score` must be another than "foreign" where there is no '
                    "`scorer`: set one of `tfhyper.detection` first. "
                    f"Received: score={score!r}, scorer=None"
                )
            return
        if not self.task.uncertainties:
            raise ValueError(
                "A rejection needs a model with one output. "
                f"Received: outputs={self.outputs!r}"
            )
        check_choice("score", score, self.task.uncertainties)
        if score == "epistemic" and self.num_networks == 1:
            raise ValueError(
                '`score` must be another than "epistemic", which is 0 throughout for '
                "one network, also for one that holds all draws. "
                f"Received: score={score!r}, num_draws={self.num_draws}"
            )

    def _with_rules(self, prediction: Any) -> Any:
        """Returns a prediction with the rules that there are."""
        if self.conformal is not None:
            prediction = dataclasses.replace(prediction, conformal=self.conformal)
        if self.rejection is None:
            return prediction
        return prediction.reject(self.rejection.threshold, self.rejection.score)

    def _in_parts(
        self,
        data: Batches,
        keep_members: bool | None,
        verbose: Verbose,
        what: str,
        most: int = _PART,
        scorer: ForeignScorer | None = None,
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Yields the predictions of data part by part, with labels and weights.

        Args:
            data: the data, read once.
            keep_members: as for `predict`, of each part.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            what: what is done, for the bar.
            most: how many numbers a draw may give for a part; 0 for single batches.
            scorer: in place of the predictor's own.
        """
        if keep_members:
            most //= self.num_draws
        count = data.num_examples if data.fixed else None
        bar = loop.ProgressBar(what, count, verbose, "example")
        done = 0
        for part in in_parts(data, self._numbers, most):
            runs = self.source.runs(part)
            prediction, labels, weights = loop.predict(
                runs, self.num_networks, part, self.task, keep_members
            )
            yield (
                self._scored(prediction, part, scorer or self._scorer),
                labels,
                weights,
            )
            done += part.num_examples
            bar.update(done, finalize=done == count)

    def _numbers(self, batch: Batch) -> int:
        """Returns how many numbers one draw gives for a batch."""
        # Axes of any size are those of the inputs, as of pixels.
        largest = max(
            math.prod(x.shape[1:-1]) for x in keras.tree.flatten(batch.inputs)
        )
        return batch.count * sum(
            math.prod(size or 1 for size in shape[1:])
            * (largest if None in shape[1:] else 1)
            for shape in self.task.shapes
        )

    def _predict(
        self,
        data: Batches,
        keep_members: bool | None,
        verbose: Verbose,
        reader: loop.Reader | None = None,
    ) -> tuple[Any, Any, Any]:
        """Returns the prediction, and what the data brought: labels and weights.

        `reader` stands for the task, where something else is to be read.
        """
        runs, count = self.source.runs(data), self.num_networks
        reader = reader or self.task
        return loop.predict(runs, count, data, reader, keep_members, verbose)

    def __getstate__(self) -> dict[str, Any]:
        # Locks and compiled functions stay: they are made anew.
        models = self.source.held_models()
        for model in models:
            if not isinstance(model, str):
                keras_graph.check_saves(model)  # Keras pickles a model as it saves it
        draws = self.source.draws
        scorer = None if self._scorer is None else self._scorer.state()
        return {
            "models": models,
            "settings": self.settings,
            "draws": draws,
            "scorer": scorer,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        made = self._made_of(state["models"], state["settings"], state["draws"])
        self.__dict__.update(made.__dict__)
        self._take_scorer(state["settings"], state.get("scorer"))

    def __deepcopy__(self, memo: dict) -> "Self":
        models = [
            model if isinstance(model, str) else duplicate(model)
            for model in self.source.held_models()
        ]
        draws = copy.deepcopy(self.source.draws, memo)
        copied = self._made_of(models, self.settings, draws)
        state = None if self._scorer is None else self._scorer.state()
        copied._take_scorer(self.settings, copy.deepcopy(state, memo))
        return copied

    @classmethod
    def _made_of(
        cls,
        models: Sequence[keras.Model | str],
        settings: dict[str, Any],
        draws: list[Draw],
    ) -> "Self":
        """Returns a predictor of models and draws, but for scores of foreign inputs."""
        rejection = settings.get("rejection")
        if rejection and rejection["score"] == FOREIGN:
            settings = {**settings, "rejection": None}
        made = cls.of_models(models, settings)
        made.source.set_draws(draws)
        return made

    def _take_scorer(self, settings: dict[str, Any], state: ScorerState | None) -> None:
        """Takes the scorer of a copy or a file, and the rule that is by its scores."""
        if state is not None:
            self._scorer = foreign_scores.restored(self, *state)
        rejection = check_rejection(settings.get("rejection"))
        if rejection is not None and rejection.score == FOREIGN:
            self.rejection = rejection

    def save(self, path: str, overwrite: bool = False) -> None:
        """Writes the models, their draws and the settings into one file.

        The file is written whole or not at all. It stands by itself: models that
        were given as paths are in it.

        Args:
            path: where to, best ending in `.tfhyper`.
            overwrite: bool, replace a file that is there.

        Raises:
            FileExistsError: if there is a file and `overwrite` is not set.
            ValueError: if a model was trained since its weights were taken, or has a
                layer whose config does not say all of it: a function that is not
                registered, a `Lambda`.
        """
        models, draws = self.source.models(), self.source.draws
        count = len(self.source.held_models())
        scorer = None if self._scorer is None else self._scorer.state()
        archive.save(
            path, self.kind, models, count, draws, self.settings, overwrite, scorer
        )

    @classmethod
    def load(cls, path: str) -> "Self":
        """Returns the predictor that `save` wrote: same draws, same predictions.

        All models are held in memory.

        Raises:
            FileNotFoundError: if there is no file.
            ValueError: if it is torn, or not one of `save`.
        """
        models, draws, settings, scorer = archive.load(path, cls.kind)
        try:
            predictor = cls._made_of(models, settings, draws)
            predictor._take_scorer(settings, scorer)
        except Exception as error:  # Each backend has its own, for other shapes.
            raise archive.broken(path, cls.kind, error) from error
        return predictor


def _check_members(keep_members: Any) -> None:
    if keep_members is not None:
        check_bool("keep_members", keep_members)
