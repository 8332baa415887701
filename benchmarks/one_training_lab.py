"""Trainings and predictions of `one_training.py`, kept in a folder and taken up."""

import copy
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import foreign_inputs
import keras
import numpy as np
from one_training_data import Images, batches, flip_half, flipped, load_images
from one_training_rows import (
    DRAWINGS,
    FITTERS,
    KEEPERS,
    METHODS,
    Job,
    Row,
    Training,
)
from one_training_settings import SETTINGS, Setting

import tfhyper
from tfhyper import detection
from tfhyper import training as tfhyper_training
from tfhyper.whole_files import read_json, whole_file, write_json

# Draws whose distances are averaged, of each network.
DISTANCES = 4
# Images in a batch of predictions: it divides the numbers of images.
PREDICTED_AT_ONCE = 250


class OutOfTime(Exception):
    """The minutes given are over; what is done is kept."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lab:
    """Where networks are trained and predictions are kept.

    Attributes:
        name: key of `SETTINGS`.
        data_dir: folder of prepared TensorFlow Datasets.
        workdir: folder of the trainings, of this setting alone.
        verbose: of `model.fit`.
        deadline: of `time.monotonic`, when no epoch or prediction begins any more.
    """

    name: str
    data_dir: str | None
    workdir: str
    verbose: int = 2
    deadline: float = float("inf")

    @property
    def setting(self) -> Setting:
        """What the name stands for."""
        return SETTINGS[self.name]

    @functools.cached_property
    def images(self) -> Images:
        """The images of the setting."""
        return load_images(self.setting, self.data_dir)

    @functools.cached_property
    def _foreign(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        return foreign_inputs.make_foreign(
            self.images,
            self.setting.foreign_examples,
            self.setting.other,
            self.data_dir,
        )

    @property
    def foreign(self) -> dict[str, np.ndarray]:
        """Foreign images by their kinds."""
        return self._foreign[0]

    @property
    def missing(self) -> dict[str, str]:
        """Why a kind of foreign images is not there."""
        return self._foreign[1]

    def trained(self, training: Training) -> bool:
        """Whether a training is at its end."""
        last = f"checkpoint-{training.epochs:05d}.keras"
        return os.path.exists(os.path.join(self.workdir, training.name, last))

    def predicted(self, training: Training, drawing: str) -> bool:
        """Whether all predictions of a trained network's draws are kept."""
        return os.path.exists(self._file(training, drawing, "costs.json"))

    def train(self, training: Training) -> keras.Model:
        """Trains a network, takes it up where it was stopped, or reads it.

        Returns:
            The model; where weights were kept, the posterior of these.

        Raises:
            OutOfTime: before an epoch that would end after the deadline.
            tfhyper.training.WorkdirInUseError: if another process trains it.
        """
        x, setting = self.images.train[0], self.setting
        data = batches(setting, self.images, training.seed, self.data_dir)
        job = Job(
            setting,
            training,
            x.shape[1:],
            self.images.num_classes,
            len(x),
            data.steps_per_epoch,
        )
        workdir = self._workdir(training)
        callbacks = [_Clock(workdir.file("seconds.json"), self.check_time)]
        keeper = None
        if training.method in KEEPERS:
            keeper = KEEPERS[training.method](job, workdir.file("kept"))
            callbacks.append(keeper)
        print(f"== {training.name}", flush=True)
        model, _ = tfhyper_training.fit_in_workdir(
            workdir,
            lambda: METHODS[training.method](job),
            data,
            training.epochs,
            callbacks=callbacks,
            verbose=self.verbose,
        )
        return model if keeper is None else keeper.posterior(model)

    def check_time(self, seconds: float = 0.0) -> None:
        """Raises `OutOfTime` if what takes so many seconds would end too late."""
        if time.monotonic() + seconds > self.deadline:
            raise OutOfTime

    def _workdir(self, training: Training) -> tfhyper_training.Workdir:
        settings = {
            **dataclasses.asdict(training),
            **self.setting.of_training(),
            "backend": keras.backend.backend(),
        }
        return tfhyper_training.Workdir(
            os.path.join(self.workdir, training.name), settings
        )

    def predict(self, training: Training, drawing: str) -> None:
        """Keeps what the draws of a trained network predict of all images.

        Raises:
            OutOfTime: before a prediction, after the deadline.
            tfhyper.training.WorkdirInUseError: if another process is at it.
        """
        if self.predicted(training, drawing):
            return
        settings = {**dataclasses.asdict(training), **self.setting.of_prediction()}
        folder = tfhyper_training.Workdir(
            self._file(training, drawing, ""), {**settings, "drawing": drawing}
        )
        with folder.lock():
            print(f"-- {training.name}, {drawing}", flush=True)
            model = self.train(training)
            many = self._predictor(model, training, drawing, folder)
            costs = {}
            for name, predictor, x in self._predictions(many, training, drawing):
                path = folder.file(f"{name}.npy")
                if os.path.exists(path) and name != "test_flipped":
                    continue
                self.check_time()
                predictor.predict(x[:PREDICTED_AT_ONCE], PREDICTED_AT_ONCE)
                started = time.perf_counter()
                members = predictor.predict(x, PREDICTED_AT_ONCE).members
                if name == "test_flipped":
                    seconds = time.perf_counter() - started
                    costs = self._costs(predictor, seconds / len(x), folder)
                _keep(path, members)
            self._keep_distances(many, folder)
            write_json(folder.file("costs.json"), costs)

    def _predictor(
        self,
        model: keras.Model,
        training: Training,
        drawing: str,
        folder: tfhyper_training.Workdir,
    ) -> tfhyper.PosteriorPredictor:
        """Returns the predictor of all draws, with their moments of BatchNorm."""
        path, setting = folder.file("predictor.tfhyper"), self.setting
        if os.path.exists(path):
            return tfhyper.PosteriorPredictor.load(path)
        x = self.images.train[0][: setting.batch_norm_examples]
        x = flip_half(x, np.random.default_rng([training.seed, 1]))
        make = functools.partial(
            DRAWINGS[drawing], seed=training.seed, batch_size=setting.batch_size
        )
        if drawing in FITTERS:
            few = make(model, setting.main_draws)
            model = FITTERS[drawing](few, self.images.validation, x)
        made = make(model, setting.draws[-1])
        if made.batch_norm != "moving_average":
            size = None if made.batch_norm == "minibatch" else setting.batch_size
            made.estimate_batch_norm(x, size, verbose=0)
        made.save(path)
        return made

    def _predictions(
        self,
        many: tfhyper.PosteriorPredictor,
        training: Training,
        drawing: str,
    ) -> Iterator[tuple[str, tfhyper.PosteriorPredictor, np.ndarray]]:
        """Yields the names of predictions, who makes them, and of what."""
        setting = self.setting
        x_validation, x_test = self.images.validation[0], self.images.test[0]
        yield "validation", many, x_validation
        yield "test", many, x_test
        few = many
        if many.num_draws > setting.main_draws:
            few = DRAWINGS[drawing](
                many.model, setting.main_draws, training.seed, setting.batch_size
            )
            few.draws = many.draws[: setting.main_draws]
        yield "test_flipped", few, flipped(x_test)
        yield "validation_flipped", few, flipped(x_validation)
        for kind, images in self.foreign.items():
            yield kind, few, images

    def _costs(
        self,
        predictor: tfhyper.PosteriorPredictor,
        seconds: float,
        folder: tfhyper_training.Workdir,
    ) -> dict[str, Any]:
        path = folder.file("few.tfhyper")
        # A copy's model has no optimizer, whose state the file would hold.
        copy.deepcopy(predictor).save(path, overwrite=True)
        size = os.path.getsize(path)
        os.remove(path)
        return {
            "bytes": size,
            "forward_passes": predictor.num_draws,
            "predict_seconds_per_1000": 1000 * seconds,
            **predictor.parameters(),
        }

    def _keep_distances(
        self, predictor: tfhyper.PosteriorPredictor, folder: tfhyper_training.Workdir
    ) -> None:
        known = {"validation": self.images.validation[0], "test": self.images.test[0]}
        kinds = {**known, **self.foreign}
        if os.path.exists(folder.file(f"distance_{[*kinds][-1]}.npy")):
            return
        self.check_time()
        scorer = detection.Mahalanobis(num_draws=DISTANCES)
        scorer.fit(predictor, *self.images.train, verbose=0)
        for kind, images in kinds.items():
            _keep(folder.file(f"distance_{kind}.npy"), scorer.score(images, verbose=0))

    def members(self, row: Row, group: list[Training], name: str) -> np.ndarray:
        """Returns the probabilities (draws, examples, classes) that a row predicts.

        Args:
            row: the row.
            group: its trainings.
            name: `"test"`, `"validation"`, each also with `"_flipped"`, or a kind of
                foreign images.
        """
        parts = [np.load(self._file(x, row.drawing, f"{name}.npy")) for x in group]
        return np.concatenate(parts)

    def distance(self, row: Row, group: list[Training], name: str) -> np.ndarray:
        """Returns the mean of the Mahalanobis distances (examples,) of a row."""
        name = f"distance_{name}.npy"
        parts = [np.load(self._file(x, row.drawing, name)) for x in group]
        return np.mean(parts, axis=0)

    def costs(self, row: Row, group: list[Training]) -> dict[str, Any]:
        """Returns what a row costs: the sums over its trainings."""
        found = []
        for training in group:
            costs = read_json(self._file(training, row.drawing, "costs.json")) or {}
            path = os.path.join(self.workdir, training.name, "seconds.json")
            seconds = (read_json(path) or {"epochs": [float("nan")]})["epochs"]
            found.append({**costs, "train_seconds": float(np.sum(seconds))})
        return {key: sum(costs[key] for costs in found) for key in found[0]}

    def _file(self, training: Training, drawing: str, name: str) -> str:
        return os.path.join(self.workdir, f"{training.name}-{drawing}", name)


class _Clock(keras.callbacks.Callback):
    """Keeps the seconds of each epoch, and lets none begin that would end too late."""

    def __init__(self, path: str, check_time: Callable[[float], None]):
        super().__init__()
        self.path, self.check_time = path, check_time
        self.seconds: list[float] = (read_json(path) or {}).get("epochs", [])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seconds = self.seconds[:epoch]
        self.check_time(1.2 * self.seconds[-1] if self.seconds else 0.0)
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.seconds.append(time.perf_counter() - self.started)
        write_json(self.path, {"epochs": self.seconds})


def _keep(path: str, values: np.ndarray) -> None:
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.save(file, values)
