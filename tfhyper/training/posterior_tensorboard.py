"""What uncertainty does while a network is trained, for TensorBoard."""

import functools
import os
from typing import Any

import numpy as np
from keras import ops

from tfhyper import metrics
from tfhyper.checks import check_path
from tfhyper.layers import variational_layers
from tfhyper.posterior import (
    DistributionPrediction,
    PosteriorPredictor,
    RegressionPrediction,
)
from tfhyper.posterior.tasks.several import Several
from tfhyper.posterior.tasks.task import Task
from tfhyper.tensor_types import Structure
from tfhyper.training.event_files import EventFile
from tfhyper.training.kl import kl_divergence
from tfhyper.training.posterior_validation import PosteriorValidation

_BINS, _RELIABILITY_BINS = 30, 10
# So many numbers of a part of the data a histogram is made of, evenly spread.
_MOST = 2**16


class PosteriorTensorBoard(PosteriorValidation):
    """Validates as `PosteriorValidation`, and shows the uncertainty in TensorBoard.

    At the end of epochs a small predictor predicts the validation data once; the logs
    gain its scores, and an event file in `log_dir` gains:

        posterior/epistemic, total     histograms of the uncertainties: nats, of a
                                       regression variances
        posterior/reliability          of what decides: the fraction that is right (the
                                       height), by confidence; the diagonal is right
        posterior/confidence           how many are how confident
        posterior/overconfidence       mean confidence - accuracy
        posterior/pit                  of a regression: where targets fall in their
                                       predicted distributions; even is right
        mean/NAME, draw/NAME           scores of the averaged prediction, and what one
                                       draw scores by itself, the mean over the draws
        train/kl                       KL(q || p) in nats, of a model that has one
        train/NAME                     the other logs: loss, nll, accuracy ...

    What to look at. The distance of `draw/nll` to `mean/nll` is what averaging brings:
    where both are the same, the draws are copies of each other, and the epistemic
    histogram stands at 0. That histogram narrows as the network learns what the data
    tell. `overconfidence` that grows while `mean/error` still falls is overfitting: the
    KL counts too little, or training is too long. `train/kl` that falls to almost
    nothing while `train/nll` stays is a posterior that became the prior: the KL counts
    too much (see `KLSchedule`). Of several outputs each has its name in front.

    It writes with TensorBoard's own package, without TensorFlow, under any backend. A
    training that is resumed writes a file beside the first, and takes its place from
    the epoch on that it goes on with (`initial_epoch` of `fit`, or the epoch of
    `tfhyper.training.fit_in_workdir`).

    Args:
        log_dir: folder for the event file. Then `tensorboard --logdir=LOG_DIR`.
        validation_data: as for `PosteriorValidation`, as all others.
        train_inputs: training inputs for BatchNorm's statistics.
        num_draws: int > 0, draws to average over.
        every: int > 0: at the end of each so many epochs.
        batch_size: int > 0, of arrays.
        seed: int in 0 <= seed < 2**31, or `None`.
        **options: further arguments of `tfhyper.PosteriorPredictor`.

    Raises:
        ImportError: when training begins, if TensorBoard is not installed:
            `pip install tfhyper[tensorboard]`.
        ValueError: as `PosteriorValidation`.
        TypeError: as `PosteriorValidation`, and for a `log_dir` that is no path.

    Example:

    >>> board = tfhyper.training.PosteriorTensorBoard(
    ...     "logs", (x_val, y_val), x_train[:100]
    ... )
    >>> history = model.fit(x_train, y_train, callbacks=[board], verbose=0)
    >>> "val_nll" in history.history
    True
    """

    def __init__(
        self,
        log_dir: str | os.PathLike,
        validation_data: Any,
        train_inputs: Structure,
        *,
        num_draws: int = 4,
        every: int = 1,
        batch_size: int = 128,
        seed: int | None = 0,
        **options: Any,
    ):
        super().__init__(
            validation_data,
            train_inputs,
            num_draws=num_draws,
            every=every,
            batch_size=batch_size,
            seed=seed,
            **options,
        )
        self.log_dir = check_path("log_dir", log_dir)
        self._file: EventFile | None = None
        self._watch: _Watch | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Opens the file, at the first epoch of this training."""
        if self._file is None:
            self._file = EventFile(self.log_dir, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the scores to the logs, and writes what was found."""
        if logs is None or self._file is None:
            return
        of_training = dict(logs)
        super().on_epoch_end(epoch, logs)
        for name, value in of_training.items():
            self._file.scalar(f"train/{name}", value, epoch)
        if variational_layers(self.model) and "kl" not in of_training:
            kl = float(ops.convert_to_numpy(kl_divergence(self.model)))
            self._file.scalar("train/kl", kl, epoch)
        if self._watch is not None:
            self._watch.write(self._file, epoch)
            self._watch = None
        self._file.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def evaluate(
        self, predictor: PosteriorPredictor, x: Any, y: Any
    ) -> dict[str, float]:
        """Returns the scores, and keeps what is to be written."""
        self._watch = _Watch(predictor.task)
        for labels, prediction, weights in predictor.predict_labelled(
            x, y, batch_size=self.batch_size, verbose=0, keep_members=True
        ):
            self._watch.add(labels, prediction, weights, predictor.num_networks)
        return self._watch.scores.result()


class _Watch:
    """Adds up scores of the mean and of draws, and what the histograms are made of."""

    def __init__(self, task: Task):
        self._task, self.scores = task, task.new_scores()
        self._of_draws: list[Any] = []
        # A part for each output.
        outputs = task.tasks if isinstance(task, Several) else {"": task}
        self._outputs = {name: _Output(x) for name, x in outputs.items()}

    def add(
        self, labels: Any, prediction: Any, weights: np.ndarray | None, draws: int
    ) -> None:
        """Adds a part of the data, whose members are kept."""
        self.scores.update(labels, prediction, weights)
        if draws > 1 and not self._of_draws:
            self._of_draws = [self._task.new_scores() for _ in range(draws)]
        for draw, scores in enumerate(self._of_draws):
            alone = self._task.new_sum(keep_members=True)
            alone.add(*self._task.member_of(prediction, draw))
            scores.update(labels, alone.result(), weights)
        for name, output in self._outputs.items():
            if name:
                output.add(labels[name], prediction[name], None)
            else:
                output.add(labels, prediction, weights)

    def write(self, file: EventFile, step: int) -> None:
        """Writes what was found of all data."""
        found = self.scores.result()
        for name, value in found.items():
            file.scalar(f"mean/{name}", value, step)
        of_draws = [scores.result() for scores in self._of_draws]
        for name in found if of_draws else ():
            values = [scores[name] for scores in of_draws if name in scores]
            if values:
                file.scalar(f"draw/{name}", float(np.mean(values)), step)
        for name, output in self._outputs.items():
            output.write(file, f"{name}/posterior" if name else "posterior", step)


class _Output:
    """Adds up what the histograms of one output are made of."""

    def __init__(self, task: Task):
        self._task = task
        self._uncertainty: dict[str, list] = {"epistemic": [], "total": []}
        self._pit: list[np.ndarray] = []
        # Of bins of confidence: counts, and the sums of confidence and of the right.
        self._bins = np.zeros((3, _RELIABILITY_BINS))

    def add(self, labels: Any, prediction: Any, weights: np.ndarray | None) -> None:
        for score, values in self._uncertainty.items():
            values.append(_some(prediction.uncertainty(score)))
        if not self._task.decides:
            self._pit.append(_some(_pit(prediction, labels)))
            return
        # With labels there are labels and probabilities, of what counts.
        rows: dict[str, Any] = {
            **self._task.rejection_data(prediction, "total", labels, weights, True)
        }
        if not len(rows["labels"]):
            return
        curve = metrics.reliability_curve(
            rows["labels"],
            rows["probs"] / rows["probs"].sum(axis=-1, keepdims=True),
            _RELIABILITY_BINS,
            sample_weight=rows["sample_weight"],
        )
        self._bins += [
            curve.counts,
            curve.counts * curve.confidence,
            curve.counts * curve.accuracy,
        ]

    def write(self, file: EventFile, name: str, step: int) -> None:
        unit = self._task.unit
        for score, values in self._uncertainty.items():
            numbers = np.concatenate(values)
            top = float(numbers.max()) or 1.0
            heights, edges = np.histogram(numbers, _BINS, (0.0, top))
            words = f"How {score} the uncertainty of validation data is, {unit}."
            file.histogram(f"{name}/{score}", edges, heights, step, words)
        if not self._task.decides:
            heights, edges = np.histogram(np.concatenate(self._pit), 10, (0.0, 1.0))
            words = "Where targets fall in what is predicted of them: even is right."
            file.histogram(f"{name}/pit", edges, heights, step, words)
            return
        counts, confidence, right = self._bins
        edges = np.linspace(0.0, 1.0, _RELIABILITY_BINS + 1)
        words = "How many predictions are so confident."
        file.histogram(f"{name}/confidence", edges, counts, step, words)
        heights = right / np.where(counts > 0, counts, 1)
        words = "The fraction that is right, by confidence: the diagonal is right."
        file.histogram(f"{name}/reliability", edges, heights, step, words)
        over = (confidence.sum() - right.sum()) / counts.sum()
        file.scalar(f"{name}/overconfidence", over, step)


def _some(values: np.ndarray) -> np.ndarray:
    """Returns numbers as they are, or some of them, evenly spread."""
    flat = np.asarray(values, np.float32).reshape(-1)
    return flat[:: -(-flat.size // _MOST) or 1]


@functools.singledispatch
def _pit(prediction: Any, targets: np.ndarray) -> np.ndarray:
    """Returns where targets fall in their predicted distributions, from 0 to 1."""
    raise TypeError(f"A {type(prediction).__name__} has no distribution of targets.")


@_pit.register
def _(prediction: RegressionPrediction, targets: np.ndarray) -> np.ndarray:
    means, variances = prediction.members, prediction.member_variance
    told = (np.asarray(means), np.asarray(variances))
    rows = (x.reshape(len(x), -1) for x in told)
    return metrics.pit_mixture(targets.reshape(-1), *rows)


@_pit.register
def _(prediction: DistributionPrediction, targets: np.ndarray) -> np.ndarray:
    return prediction.mixture.pit(targets, seed=0)
