"""Weights kept along one training: in memory, or in a folder as they come."""

import itertools
import os
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfhyper.checks import check_instance, check_path
from tfhyper.divergence import DivergedError
from tfhyper.saving.arrays import plain_array, read_arrays
from tfhyper.variational import WeightPosterior
from tfhyper.whole_files import read_json, whole_file, write_json

_ABOUT = "kept.json"


class KeepWeights(keras.callbacks.Callback):
    """Keeps the weights of a model at the ends of some epochs of its training.

    What all such callbacks have in common; a subclass says which epochs (`due`), what
    the rate must be (`check_rate`), and what posterior comes of the weights
    (`posterior`). The weights are those of `model.get_weights()`.

    With a folder each set is there, whole, before the next epoch begins, and a training
    that goes on from a checkpoint, such as that of
    `tfhyper.training.fit_in_workdir`, goes on with the sets of before. Without one they
    are in memory, and end with the process.

    Args:
        folder: where to keep them, a folder of their own, which is made if it is not
            there; `None` for memory.

    Raises:
        TypeError: if `folder` is no path.

    Example:

    >>> keep = tfhyper.training.Snapshots(cycles=2)
    >>> isinstance(keep, tfhyper.training.KeepWeights), keep.due(epochs=6)
    (True, [3, 6])
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        super().__init__()
        self.folder = None if folder is None else check_path("folder", folder)
        # Numbers of the epochs whose weights were taken, and of those that are due.
        self.taken: list[int] = []
        self._plan: list[int] = []
        self._began = False

    def due(self, epochs: int) -> list[int]:
        """Returns the numbers of the epochs, from 1 on, behind which weights are kept.

        Args:
            epochs: int > 0, all the epochs of the training.

        Raises:
            ValueError: if the arguments do not fit so many.
        """
        raise NotImplementedError

    def check_rate(
        self, rate: keras.optimizers.schedules.LearningRateSchedule | float, steps: int
    ) -> None:
        """Raises ValueError for a learning rate that is at odds with what is kept.

        Args:
            rate: the optimizer's.
            steps: int > 0, of all epochs.
        """

    def reset(self) -> None:
        """Forgets what was taken."""
        raise NotImplementedError

    def take(self, weights: list[np.ndarray]) -> None:
        """Takes the weights of one more of the epochs."""
        raise NotImplementedError

    def posterior(self, model: keras.Model | None = None) -> WeightPosterior:
        """Returns the posterior that comes of the weights that were kept.

        Args:
            model: the model that they are of; `None` for the one that was trained. A
                training that was at its end already, in another process, trained none.

        Raises:
            ValueError: if the training has not come to its end, if there is no model,
                or for one of another architecture.
        """
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that rate, epochs and folder fit, before the first step."""
        epochs, steps = self.params["epochs"], self.params.get("steps")
        self._plan = self.due(epochs)
        if steps is not None:
            self.check_rate(rate_of(self.model), epochs * steps)
        self._began = False
        if self.folder is not None:
            os.makedirs(self.folder, exist_ok=True)
            about = self._about(self.model)
            known = read_json(os.path.join(self.folder, _ABOUT))
            if known is not None and known != about:
                different = [key for key in about if known.get(key) != about[key]]
                raise ValueError(
                    "`folder` must be that of the same training, or an empty one. "
                    f"Received: folder={self.folder!r}, with other {different}"
                )
            write_json(os.path.join(self.folder, _ABOUT), about)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes up, in the first epoch of a run, what was kept of those before."""
        if self._began:
            return
        self._began = True
        before = [number for number in self._plan if number <= epoch]
        if self.folder is None and self.taken == before and epoch:
            return
        if self.folder is None and before:
            raise ValueError(
                f"`folder` must be given to {type(self).__name__} for a training that "
                f"goes on. Received: folder=None, and a training from epoch {epoch + 1}"
            )
        self._begin_with(before)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights, if it is their turn."""
        number = epoch + 1
        if number not in self._plan:
            return
        weights = [plain_array(x) for x in self.model.get_weights()]
        for variable, array in zip(self.model.weights, weights, strict=True):
            if not np.isfinite(array).all():
                raise DivergedError(
                    f"'{variable.path}' holds NaN or infinite values after epoch "
                    f"{number}"
                )
        if self.folder is not None:
            named: dict[str, Any] = {str(i): x for i, x in enumerate(weights)}
            with whole_file(self._path(number)) as path, open(path, "wb") as file:
                np.savez(file, **named)
        self._take(number, weights)

    def _begin_with(self, numbers: Iterable[int]) -> None:
        """Takes anew what the folder holds of some epochs, in their order."""
        self.reset()
        self.taken = []
        for number in numbers:
            self._take(number, self._read(number))

    def _take(self, number: int, weights: list[np.ndarray]) -> None:
        self.take(weights)
        self.taken.append(number)

    def whole(self, model: keras.Model | None) -> keras.Model:
        """Returns the model, with all that was due taken; or raises ValueError."""
        model = self.model if model is None else model
        if model is None:
            raise ValueError(
                "`model` must be given where none was trained in this process. "
                "Received: model=None"
            )
        check_instance("model", model, keras.Model, "a Keras model")
        if not self._plan and self.folder is not None:
            self._read_all(model)
        if not self._plan or self.taken != self._plan:
            raise ValueError(
                f"The training must come to its end first: `{type(self).__name__}` has "
                f"the weights of {len(self.taken)} of {len(self._plan)} epochs. "
                f"Received: those of epochs {self.taken}"
            )
        return model

    def _read_all(self, model: keras.Model) -> None:
        """Takes what a folder holds, of a training that ended in another process."""
        known = read_json(os.path.join(str(self.folder), _ABOUT)) or {}
        plan = known.get("epochs")
        if not isinstance(plan, list) or not all(type(x) is int for x in plan):
            raise ValueError(
                "`folder` must hold the weights of a training. "
                f"Received: folder={self.folder!r}"
            )
        self._plan = plan
        if known != self._about(model):
            self._plan = []
            raise ValueError(
                "`model` must be the one whose weights were kept, by a callback with "
                f"the same arguments. Received: folder={self.folder!r}, "
                f"model={model.name!r}"
            )
        # Up to the first that is not there: `whole` tells of the others.
        self._begin_with(
            itertools.takewhile(lambda x: os.path.exists(self._path(x)), plan)
        )

    def _about(self, model: keras.Model) -> dict[str, Any]:
        return {
            "kept_by": type(self).__name__,
            "epochs": self._plan,
            "shapes": [list(variable.shape) for variable in model.weights],
        }

    def _path(self, number: int) -> str:
        return os.path.join(str(self.folder), f"epoch-{number:05d}.npz")

    def _read(self, number: int) -> list[np.ndarray]:
        path = self._path(number)
        try:
            with open(path, "rb") as file:
                found = read_arrays(file)
            return [found[str(i)] for i in range(len(found))]
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"`folder` must hold the weights of epoch {number}, which were kept "
                f"before. Received: {path!r} ({error})"
            ) from error


def rate_of(
    model: keras.Model,
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Returns the schedule of a model's learning rate, or the rate."""
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        return keras.optimizers.schedules.deserialize(rate)
    return rate
