"""A training in a folder, resumed by itself."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfhyper.checks import check_positive_integer
from tfhyper.training.sigterm import SigtermStop
from tfhyper.training.workdir import Workdir


class _SaveEachEpoch(keras.callbacks.Callback):
    """Saves after each epoch; stops between steps if asked to, or if diverged."""

    # Keras hands over the logs in other threads, and does not wait for the device
    # to know the loss of each step.
    async_safe = True

    def __init__(self, workdir: Workdir, history: dict, stop: SigtermStop):
        super().__init__()
        self.workdir = workdir
        self.history = history
        self.stop = stop
        self.bad = {}  # step of this epoch -> loss

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._check_loss()
        self.stop.check()

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss", 0.0)
        # The mean of the epoch so far, which stays bad: no step is missed.
        if not np.isfinite(loss):
            self.bad[batch + 1] = loss

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self._check_loss()
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        self.workdir.save(self.model, epoch + 1, self.history)
        self.stop.check()

    def _check_loss(self):
        if self.bad:
            step = min(self.bad)
            what = f"the loss is {self.bad[step]} at step {step} of epoch "
            raise ValueError(self.workdir.diverged(f"{what}{self.epoch + 1}"))


def fit_in_workdir(
    workdir: Workdir,
    build: Callable[[], keras.Model],
    data,
    epochs: int,
    *,
    keep: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 1,
) -> tuple[keras.Model, dict]:
    """Trains with `model.fit`, from the newest checkpoint of a folder.

    A run that was killed and started again ends with the weights it would have
    had: codes and optimizer are in the checkpoint, and the order of the data is
    a function of seed and epoch.

    So does one that got SIGTERM. It ends after the step at work, with exit code 143
    (`SystemExit`), or after saving if that step was the epoch's last. A part of an
    epoch is not saved: callbacks and metrics could not go on in its middle bit by
    bit. The handler is set in the main thread only, unless SIGTERM is ignored, and
    the one before it is put back.

    A loss that is NaN or infinite ends the training at its step; no checkpoint with
    such weights is written.

    Args:
        workdir: the folder.
        build: returns a compiled model, for a run that starts.
        data: has `train_from(epoch)`, a dataset from that epoch on, and
            `steps_per_epoch`, as what `tfhyper.data.load` returns.
        epochs: int > 0, all the epochs of the training.
        keep: int > 0, checkpoints to keep from now on; `None`: as the folder has it.
        callbacks: more Keras callbacks.
        verbose: as in `model.fit`.

    Returns:
        The model, and the metrics of all epochs: name -> list.

    Raises:
        ValueError: if training diverges, with the step and the epoch; if there are
            checkpoints and none can be used; or if `keep` is out of range.
        WorkdirInUseError: if another training is at work in the folder.
        OSError: if the folder cannot be written, before the first step; or if an
            epoch cannot be saved, as on a full disk.
        SystemExit: after SIGTERM.

    Example:

    >>> workdir = tfhyper.training.Workdir("runs/wrn", {"epochs": 20})
    >>> model, history = tfhyper.training.fit_in_workdir(workdir, build, data, 20)
    """
    if keep is not None:
        workdir.keep = check_positive_integer("keep", keep)
    message = f"stopped by SIGTERM; {workdir.path} goes on from its newest checkpoint"
    with workdir.lock(), SigtermStop(message) as stop:
        model, start = workdir.restore()
        if model is None:
            model = build()
        elif verbose:
            print(f"resuming after {start} of {epochs} epochs from {workdir.path}")
        history = workdir.history(start)
        if start < epochs:
            workdir.check_writable()
            model.fit(
                data.train_from(start),
                steps_per_epoch=data.steps_per_epoch,
                initial_epoch=start,
                epochs=epochs,
                # Saved last: with the logs that the others add.
                callbacks=[*callbacks, _SaveEachEpoch(workdir, history, stop)],
                shuffle=False,  # the dataset has its own order
                verbose=verbose,
            )
    return model, history
