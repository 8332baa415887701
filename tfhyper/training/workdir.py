"""A training in a folder: settings, checkpoints, history; resumed by itself."""

import json
import os
import re
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfhyper.checks import check_positive_integer

_CHECKPOINT = re.compile(r"checkpoint-(\d{5})\.keras")


class Workdir:
    """The folder of one training run.

    Holds `settings.json`, what the run was started with; `history.json`, the
    metrics of each epoch; and `checkpoint-EEEEE.keras` after E epochs, model
    and optimizer, the last `keep` of them. Every file is written under another
    name and then renamed, so that a kill leaves the old one or the new one.

    Args:
        path: the folder, made if it is not there.
        settings: what another run must have the same to go on in this folder:
            names to JSON values.
        keep: int > 0, checkpoints to keep.

    Raises:
        ValueError: if the folder was made with other settings, a file of it
            cannot be read, or `keep` is out of range.

    Example:

    >>> workdir = tfhyper.training.Workdir("runs/wrn", {"epochs": 20, "seed": 0})
    """

    def __init__(self, path: str, settings: dict, keep: int = 2):
        self.path = os.fspath(path)
        self.keep = check_positive_integer("keep", keep)
        settings = json.loads(json.dumps(settings))
        os.makedirs(self.path, exist_ok=True)
        known = self._read("settings.json")
        if known is None:
            self._write("settings.json", settings)
        elif known != settings:
            different = sorted(
                name
                for name in {*known, *settings}
                if known.get(name) != settings.get(name)
            )
            changes = ", ".join(
                f"{n} was {known.get(n)!r}, now {settings.get(n)!r}" for n in different
            )
            raise ValueError(
                "`workdir` was made with other settings; nothing in it is touched. "
                f"Choose another folder. Received: workdir={self.path!r}, {changes}"
            )

    def file(self, name: str) -> str:
        """Returns the path of a file of the folder."""
        return os.path.join(self.path, name)

    def checkpoints(self) -> list[tuple[int, str]]:
        """Returns (epochs done, path) of the checkpoints, oldest first."""
        found = (_CHECKPOINT.fullmatch(name) for name in os.listdir(self.path))
        return sorted((int(m[1]), self.file(m[0])) for m in found if m)

    def restore(self) -> tuple[keras.Model | None, int]:
        """Returns the newest checkpoint's compiled model and its epochs.

        (None, 0) if there is none yet.

        Raises:
            ValueError: if the file is torn; it is left in place.
        """
        checkpoints = self.checkpoints()
        if not checkpoints:
            return None, 0
        epoch, path = checkpoints[-1]
        try:
            return keras.saving.load_model(path), epoch
        except Exception as error:
            older = [older for _, older in checkpoints[:-1]]
            way_out = f"resume from {older[-1]}" if older else "start again"
            raise ValueError(
                f"The checkpoint {path} cannot be read: {error}. Remove it to "
                f"{way_out}."
            ) from error

    def save(self, model: keras.Model, epoch: int, history: dict) -> None:
        """Writes the checkpoint after `epoch` epochs, and drops the oldest."""
        self._write("history.json", history)
        path = self.file(f"checkpoint-{epoch:05d}.keras")
        temporary = self.file(".saving.keras")
        model.save(temporary)
        os.replace(temporary, path)
        for _, old in self.checkpoints()[: -self.keep]:
            os.remove(old)

    def history(self, epochs: int) -> dict:
        """Returns the metrics of the first `epochs` epochs: name -> list.

        Raises:
            ValueError: if the file holds fewer.
        """
        known = self._read("history.json") or {}
        if epochs and not (known and all(len(v) >= epochs for v in known.values())):
            raise ValueError(
                f"{self.file('history.json')} does not hold the metrics of the "
                f"{epochs} epochs that were trained."
            )
        return {name: values[:epochs] for name, values in known.items()}

    def _read(self, name):
        try:
            with open(self.file(name)) as file:
                value = json.load(file)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self.file(name)} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{self.file(name)} is not a JSON object.")
        return value

    def _write(self, name, value):
        temporary = self.file(f".{name}")
        with open(temporary, "w") as file:
            json.dump(value, file, indent=2)
        os.replace(temporary, self.file(name))


class _SaveEachEpoch(keras.callbacks.Callback):
    """Saves after each epoch; stops a training that diverged."""

    def __init__(self, workdir: Workdir, history: dict):
        super().__init__()
        self.workdir = workdir
        self.history = history

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not np.isfinite(logs["loss"]):
            raise ValueError(
                f"Training diverged: the loss of epoch {epoch + 1} is {logs['loss']}. "
                f"The checkpoint before it is kept in {self.workdir.path}. A lower "
                "learning rate may help."
            )
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        self.workdir.save(self.model, epoch + 1, self.history)


def fit_in_workdir(
    workdir: Workdir,
    build: Callable[[], keras.Model],
    data,
    epochs: int,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 1,
) -> tuple[keras.Model, dict]:
    """Trains with `model.fit`, from the newest checkpoint of a folder.

    A run that was killed and started again ends with the weights it would have
    had: codes and optimizer are in the checkpoint, and the order of the data is
    a function of seed and epoch.

    Args:
        workdir: the folder.
        build: returns a compiled model, for a run that starts.
        data: has `train_from(epoch)`, a dataset from that epoch on, and
            `steps_per_epoch`, as what `tfhyper.data.load` returns.
        epochs: int > 0, all the epochs of the training.
        callbacks: more Keras callbacks.
        verbose: as in `model.fit`.

    Returns:
        The model, and the metrics of all epochs: name -> list.

    Raises:
        ValueError: if the newest checkpoint is torn, or training diverges.

    Example:

    >>> workdir = tfhyper.training.Workdir("runs/wrn", {"epochs": 20})
    >>> model, history = tfhyper.training.fit_in_workdir(workdir, build, data, 20)
    """
    model, start = workdir.restore()
    if model is None:
        model = build()
    elif verbose:
        print(f"resuming after {start} of {epochs} epochs from {workdir.path}")
    history = workdir.history(start)
    if start < epochs:
        model.fit(
            data.train_from(start),
            steps_per_epoch=data.steps_per_epoch,
            initial_epoch=start,
            epochs=epochs,
            # Saved last: with the logs that the others add.
            callbacks=[*callbacks, _SaveEachEpoch(workdir, history)],
            shuffle=False,  # the dataset has its own order
            verbose=verbose,
        )
    return model, history
