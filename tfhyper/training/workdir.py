"""The folder of a training: settings, checkpoints, history."""

import contextlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from tfhyper.checks import (
    check_bool,
    check_instance,
    check_integer,
    check_path,
    check_positive_integer,
    check_text,
)
from tfhyper.saving.models import read_model
from tfhyper.training.checkpoints import find_fault, set_aside, sha256
from tfhyper.training.fast_generator import check_compiled
from tfhyper.training.folder_lock import folder_lock
from tfhyper.whole_files import (
    disk_is_full,
    read_json,
    whole_file,
    write_json,
)

_CHECKPOINT = re.compile(r"checkpoint-(\d{5})(?:-(\d{7}))?\.keras")
_CHECKSUMS = "checksums.json"
_METRICS = "metrics.json"
_LOCK = "training.lock"


class Checkpoint(NamedTuple):
    """A checkpoint: after so many epochs, and steps of the next one, at a path."""

    epoch: int
    path: str | None
    step: int = 0


def path_of(checkpoint: Checkpoint) -> str:
    """Returns the path of a checkpoint, or raises ValueError if it has none."""
    if checkpoint.path is None:
        raise ValueError(
            "`checkpoint` must be one that is saved. "
            f"Received: checkpoint={checkpoint!r}"
        )
    return checkpoint.path


class Workdir:
    """The folder of one training run.

    Holds `settings.json`, what the run was started with; `history.json`, the
    metrics of each epoch; `checkpoint-EEEEE.keras` after E epochs, model and
    optimizer, the last `keep` of them; `checkpoint-EEEEE-SSSSSSS.keras` after S steps
    more, where a run was told to end, with the state of its metrics in `metrics.json`;
    and `checksums.json`, their SHA-256. Every
    file is written under another name, brought to disk and then renamed, so that a
    kill leaves the old one or the new one. While a training is at work,
    `training.lock` names its process.

    Args:
        path: the folder, made if it is not there.
        settings: what another run must have the same to go on in this folder:
            names to JSON values.
        keep: int > 0, checkpoints to keep.
        chief: bool, whether this process writes: of the workers of one training,
            one does. With `False` the same is read and checked, and nothing is made,
            written, renamed or locked; the folder need not be there yet.

    Raises:
        ValueError: if the folder was made with other settings, a file of it
            cannot be read, is a link or holds values of other types, a file is in
            its place, or `keep` is out of range.
        OSError: if it is not there and cannot be made, or cannot be read.

    Example:

    >>> workdir = tfhyper.training.Workdir("runs/wrn", {"epochs": 20, "seed": 0})
    >>> tfhyper.training.Workdir("runs/wrn", {"epochs": 30, "seed": 0})
    Traceback (most recent call last):
    ValueError: ...
    """

    def __init__(
        self, path: str, settings: dict[str, Any], keep: int = 2, *, chief: bool = True
    ):
        self.path = check_path("path", path)
        self.keep = check_positive_integer("keep", keep)
        self.chief = check_bool("chief", chief)
        settings = _check_settings(settings)
        with workdir_access(self.path, "made or read"):
            if chief:
                os.makedirs(self.path, exist_ok=True)
            known = self._read("settings.json")
            if known is None and chief:
                self._write("settings.json", settings)
        if known is not None and known != settings:
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
        return os.path.join(self.path, check_path("name", name))

    def lock(self) -> contextlib.AbstractContextManager:
        """Returns a context in which no other training can be at work in the folder.

        The chief alone holds it. Where the file system has no locks it does nothing.

        Raises:
            WorkdirInUseError: if another training is at work; as the context begins.
        """
        return folder_lock(self.file(_LOCK)) if self.chief else contextlib.nullcontext()

    def check_writable(self) -> None:
        """Does nothing if checkpoints can be written, or this is not the chief.

        Raises:
            OSError: if no file can be made in the folder.
        """
        if self.chief:
            with workdir_access(self.path, "written"):
                tempfile.TemporaryFile(dir=self.path).close()

    def checkpoints(self) -> list[Checkpoint]:
        """Returns (epochs done, path, steps of the next) of all, oldest first."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            if self.chief:
                raise
            names = []  # the chief has not made it yet
        found = (_CHECKPOINT.fullmatch(name) for name in names)
        all_of_them = (
            Checkpoint(int(m[1]), self.file(m[0]), int(m[2] or 0)) for m in found if m
        )
        return sorted(all_of_them, key=lambda c: (c.epoch, c.step))

    def newest(self) -> Checkpoint:
        """Returns (epochs done, path, steps) of the newest checkpoint that is whole.

        (0, None, 0) if there is none yet. Newer ones that are torn, or were not written
        here, are named in a warning and, by the chief, renamed to `.torn`. Checkpoints
        older than `checksums.json` are judged by the checksums inside the zip file
        alone.

        Raises:
            ValueError: if there are checkpoints and none is whole. They are left in
                place, so that nothing starts again by itself.
        """
        while True:
            checkpoints = self.checkpoints()
            try:
                return self._newest(checkpoints)
            except FileNotFoundError:
                # Dropped by a run at work, or set aside by the chief.
                if self.checkpoints() == checkpoints:
                    raise

    def _newest(self, checkpoints: list[Checkpoint]) -> Checkpoint:
        faults: dict[str, str] = {}  # path -> what is wrong
        # Read after the names: a run at work lists a checkpoint before it is there.
        known = self._known_checksums()
        for checkpoint in reversed(checkpoints):
            path = path_of(checkpoint)
            fault = self._fault(path, known)
            if fault is None:
                for bad, what in faults.items():
                    now = set_aside(bad) if self.chief else bad
                    warnings.warn(
                        f"The checkpoint {bad} is not used: {what}. It is now {now}; "
                        f"{path} is used.",
                        stacklevel=3,
                    )
                return checkpoint
            faults[path] = fault
        if faults:
            raise ValueError(
                f"No checkpoint in {self.path} can be used: "
                + ", ".join(f"{bad}: {what}" for bad, what in faults.items())
                + f". Remove them to start again, or {_CHECKSUMS} to take what is "
                "not torn as it is."
            )
        return Checkpoint(0, None)

    def _fault(self, path: str, known: dict[str, str]) -> str | None:
        name = os.path.basename(path)
        if known and name not in known and name > min(known):
            return f"it is foreign ({_CHECKSUMS} does not list it)"
        return find_fault(path, known.get(name))

    def restore(self) -> tuple[keras.Model | None, Checkpoint]:
        """Returns the compiled model of the `newest` checkpoint, and which it is.

        No model if there is none yet.

        Raises:
            ValueError: if there are checkpoints and none is whole, or one is whole
                and cannot be loaded, as when a class of its layers is not imported,
                or it holds code: see `tfhyper.saving.load_model`. They are left in
                place.
        """
        checkpoint = self.newest()
        if checkpoint.path is None:
            return None, checkpoint
        try:
            return read_model(checkpoint.path, compile=True), checkpoint
        except Exception as error:
            raise ValueError(
                f"The checkpoint {checkpoint.path} is whole, but cannot be "
                f"loaded: {error}"
            ) from error

    def save(
        self,
        model: keras.Model,
        epoch: int,
        history: dict[str, list[float]],
        step: int = 0,
        metrics: list | None = None,
    ) -> None:
        """Writes the checkpoint after `epoch` epochs, and drops the oldest.

        With `step` it is one in the middle of the next epoch, and `metrics` are the
        values of the variables of its metrics, nested lists of numbers.

        Workers that are not the chief check the weights and write nothing.

        Raises:
            ValueError: if a weight, or a variable of the optimizer, is NaN or
                infinite; nothing is written.
            OSError: if writing fails, as on a full disk. What was there before is
                intact, and no half of a file is left.
        """
        check_compiled(model)
        check_integer("epoch", epoch, 0)
        check_instance("history", history, dict, "a dict of lists")
        for values in history.values():
            check_instance("history", values, list, "a dict of lists")
        check_integer("step", step, 0)
        if metrics is not None:
            check_instance("metrics", metrics, list, "a list of the metrics' values")
        when = f"epoch {epoch}" + f" and {step} steps" * (step > 0)
        slots = model.optimizer.variables if model.optimizer else []
        for weight in [*model.weights, *slots]:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                raise ValueError(
                    self.diverged(f"{weight.path} is not finite after {when}")
                )
        if not self.chief:
            return
        try:
            self._save(model, epoch, history, step, metrics)
        except Exception as error:
            full = disk_is_full(error)
            if not full and not isinstance(error, OSError):
                raise
            reason = "the disk is full" if full else error
            message = (
                f"{when.capitalize()} could not be saved in {self.path}: {reason}. "
                "What was saved before it is intact: another run goes on from there."
            )
            number = getattr(error, "errno", None)
            raise OSError(*([number] if number else []), message) from error

    def _save(
        self,
        model: keras.Model,
        epoch: int,
        history: dict[str, list[float]],
        step: int,
        metrics: list | None,
    ) -> None:
        self._write("history.json", history)
        name = f"checkpoint-{epoch:05d}" + f"-{step:07d}" * (step > 0) + ".keras"
        path = self.file(name)
        if step:
            self._write(_METRICS, {name: metrics})
        kept = {os.path.basename(path_of(old)) for old in self.checkpoints()}
        known = self._known_checksums()
        known = {name: value for name, value in known.items() if name in kept}
        with whole_file(path) as temporary:
            model.save(temporary)
            known[name] = sha256(temporary)
            # First, so that no checkpoint is there without its checksum.
            self._write(_CHECKSUMS, known)
        for old in self.checkpoints()[: -self.keep]:
            os.remove(path_of(old))

    def metrics(self, checkpoint: Checkpoint) -> list:
        """Returns what `save` was given as `metrics` in the middle of an epoch.

        Raises:
            ValueError: if they are not there.
        """
        rule = "a checkpoint of this folder in the middle of an epoch"
        check_instance("checkpoint", checkpoint, Checkpoint, rule)
        known = self._read(_METRICS) or {}
        name = os.path.basename(path_of(checkpoint))
        if name not in known:
            raise ValueError(
                f"{self.file(_METRICS)} does not hold the metrics of {name}. Remove "
                "that checkpoint to go on from the one before it."
            )
        state = known[name]
        if not isinstance(state, list):
            raise ValueError(f"{self.file(_METRICS)} holds no list of {name}.")
        waiting = [*state]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting.extend(value)
            else:
                _check_numbers(self.file(_METRICS), name, [value])
        return state

    def diverged(self, what: str) -> str:
        """Returns the message of a training that diverged; `what` says how."""
        check_text("what", what)
        return (
            f"Training diverged: {what}. The checkpoints before it are kept in "
            f"{self.path}. A lower learning rate may help."
        )

    def history(self, epochs: int) -> dict[str, list[float]]:
        """Returns the metrics of the first `epochs` epochs: name -> list.

        Raises:
            ValueError: if the file holds fewer.
        """
        check_integer("epochs", epochs, 0)
        known = self._read("history.json") or {}
        for name, values in known.items():
            _check_numbers(self.file("history.json"), name, values)
        if epochs and not (known and all(len(v) >= epochs for v in known.values())):
            raise ValueError(
                f"{self.file('history.json')} does not hold the metrics of the "
                f"{epochs} epochs that were trained. Received: `epochs`={epochs}"
            )
        return {name: values[:epochs] for name, values in known.items()}

    def _read(self, name: str) -> dict[str, Any] | None:
        return read_json(self.file(name))

    def _known_checksums(self) -> dict[str, str]:
        known = self._read(_CHECKSUMS) or {}
        for name, checksum in known.items():
            if not isinstance(checksum, str):
                raise ValueError(
                    f"{self.file(_CHECKSUMS)} must hold texts. Received: "
                    f"{name}={checksum!r:.80}"
                )
        return known

    def _write(self, name: str, value: dict[str, Any]) -> None:
        write_json(self.file(name), value)


def _check_numbers(path: str, name: str, values: Any) -> None:
    if not isinstance(values, list) or not all(type(x) in (int, float) for x in values):
        raise ValueError(
            f"{path} must hold lists of numbers. Received: {name}={values!r:.80}"
        )


def _check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns settings as JSON has them, which another run is compared with."""
    check_instance("settings", settings, dict, "a dict of JSON values")
    try:
        return json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"`settings` must hold JSON values, and finite numbers: {error}. "
            f"Received: settings={settings!r}"
        ) from error


@contextlib.contextmanager
def workdir_access(path: str, what: str) -> Iterator[None]:
    """Names `workdir` in the errors of the system; `what` could not be done to it."""
    received = f"Received: workdir={path!r}"
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        message = (
            "`workdir` must be a folder, or where one can be made; a file is there"
        )
        raise ValueError(f"{message}. {received}") from error
    except OSError as error:
        message = f"`workdir` cannot be {what}: {error.strerror}. {received}"
        raise OSError(error.errno, message) from error
