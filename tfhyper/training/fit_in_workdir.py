"""A training in a folder, resumed by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np

from tfhyper.checks import (
    check_function,
    check_instance,
    check_positive_integer,
    check_verbose,
)
from tfhyper.divergence import DivergedError
from tfhyper.training import strategies
from tfhyper.training.sigterm import SigtermStop
from tfhyper.training.trainer import Trainer, check_callbacks
from tfhyper.training.workdir import Checkpoint, Workdir

if TYPE_CHECKING:
    import tensorflow as tf


class TrainingData(Protocol):
    """What is trained on, as `tfhyper.data.load` returns it."""

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""

    def train_from(self, epoch: int) -> tf.data.Dataset:
        """Returns the batches from an epoch on."""


def fit_in_workdir(
    workdir: Workdir,
    build: Callable[[], keras.Model],
    data: TrainingData,
    epochs: int,
    *,
    strategy: tf.distribute.Strategy | None = None,
    keep: int | None = None,
    save_every: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 1,
    **trainer_options: Any,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Trains from the newest checkpoint of a folder, and saves each epoch.

    A run that was killed and started again ends with the weights it would have
    had: codes and optimizer are in the checkpoint, and the order of the data is
    a function of seed and epoch.

    So does one that got SIGTERM. It saves after the steps at work, in the middle of
    the epoch, and ends with exit code 143 (`SystemExit`), on all workers if one of them
    got it. On several replicas the metrics of that epoch go on but for rounding. The
    handler is set in the main thread only, unless SIGTERM is ignored, and the one
    before it is put back.

    A loss that is NaN or infinite ends the training at its step; no checkpoint with
    such weights is written.

    On TensorFlow it trains with `tfhyper.training.Trainer`. On other backends it trains
    with `model.fit`, on one device, and a run that gets SIGTERM goes on from the last
    epoch that was saved.

    Args:
        workdir: the folder. Of several workers the chief has one with `chief=True`, and
            all have the same path.
        build: returns a compiled model, for a run that starts. It is called in the
            scope of the strategy.
        data: has `train_from(epoch)`, a dataset from that epoch on, and
            `steps_per_epoch`, as what `tfhyper.data.load` returns. Batches are those of
            all replicas together.
        epochs: int > 0, all the epochs of the training.
        strategy: from `tfhyper.training.make_strategy`; `None`: one device.
        keep: int > 0, checkpoints to keep from now on; `None`: as the folder has it.
        save_every: int > 0, epochs from one checkpoint to the next, where saving a
            large model takes as long as training it; what was killed goes on from the
            last of them. The last epoch is always saved.
        callbacks: more Keras callbacks.
        verbose: as in `model.fit`.
        **trainer_options: more arguments of `tfhyper.training.Trainer`.

    Returns:
        The model, and the metrics of all epochs: name -> list.

    Raises:
        TypeError: if `build` is no function, or `data` not what it must be.
        ValueError: if training diverges, with the step and the epoch; if there are
            checkpoints and none can be used; if the replicas do not divide the
            batches evenly; or for an argument out of range.
        WorkdirInUseError: if another training is at work in the folder.
        OSError: if the folder cannot be written, before the first step; or if an
            epoch cannot be saved, as on a full disk.
        RuntimeError: if another worker dies, some seconds after.
        SystemExit: after SIGTERM.

    Example:

    >>> workdir = tfhyper.training.Workdir("runs/lenet", {"epochs": 2})
    >>> model, history = tfhyper.training.fit_in_workdir(
    ...     workdir, build, data, 2, verbose=0
    ... )
    >>> len(history["loss"])
    2
    """
    check_instance("workdir", workdir, Workdir, "a `tfhyper.training.Workdir`")
    strategies.check_is_strategy(strategy)
    check_callbacks(callbacks)
    check_verbose(verbose)
    if keep is not None:
        workdir.keep = check_positive_integer("keep", keep)
    check_positive_integer("epochs", epochs)
    check_positive_integer("save_every", save_every)
    check_function("build", build)
    _check_data(data)
    strategies.check_no_keras_distribution()
    if keras.backend.backend() == "tensorflow":
        run: _Run | _DistributedRun
        run = distributed = _DistributedRun(workdir, strategy, trainer_options)
        sets = trainer_options.get("weight_sets", 1)
        strategies.check_batches(distributed.strategy, data, sets)
    else:
        run = _Run(workdir, strategy, trainer_options)
    message = f"stopped by SIGTERM; {workdir.path} goes on from its newest checkpoint"
    with workdir.lock(), run.guard(), SigtermStop(message) as stop:
        model, start = run.restore()
        if model is None:
            model = run.build(build)
        elif verbose and workdir.chief:
            steps = f" and {start.step} steps" * (start.step > 0)
            done = f"{start.epoch} of {epochs} epochs{steps}"
            print(f"resuming after {done} from {workdir.path}")
        history = workdir.history(start.epoch)
        if start.epoch < epochs:
            workdir.check_writable()
            # Saved last: with the logs that the others add.
            saving = _SaveEpochs(workdir, history, save_every, epochs, stop)
            run.fit(model, data, epochs, start, callbacks, verbose, saving, stop)
    return model, history


def _check_data(data: Any) -> None:
    if not callable(getattr(data, "train_from", None)):
        raise TypeError(
            "`data` must have `train_from(epoch)`, a dataset from that epoch on, and "
            "`steps_per_epoch`, as what `tfhyper.data.load` returns. "
            f"Received: data={data!r:.200}"
        )
    # Without it an epoch of data without an end would have none.
    steps = getattr(data, "steps_per_epoch", None)
    check_positive_integer("data.steps_per_epoch", steps)


class _Run:
    """With `model.fit`, on one device."""

    guard = staticmethod(contextlib.nullcontext)

    def __init__(
        self,
        workdir: Workdir,
        strategy: tf.distribute.Strategy | None,
        options: dict[str, Any],
    ):
        self.workdir = workdir
        if strategy is not None or options:
            raise ValueError(
                "`strategy` and options of Trainer need the TensorFlow backend. "
                f"Received: strategy={strategy}, {options} on the backend "
                f"{keras.backend.backend()!r}"
            )

    def restore(self) -> tuple[keras.Model | None, Checkpoint]:
        return self.workdir.restore()

    def build(self, build: Callable[[], keras.Model]) -> keras.Model:
        return build()

    def fit(
        self,
        model: keras.Model,
        data: TrainingData,
        epochs: int,
        start: Checkpoint,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: int,
        saving: _SaveEpochs,
        stop: SigtermStop,
    ) -> None:
        model.fit(
            data.train_from(start.epoch),
            steps_per_epoch=data.steps_per_epoch,
            initial_epoch=start.epoch,
            epochs=epochs,
            callbacks=[_StopBetweenSteps(self.workdir, stop), *callbacks, saving],
            shuffle=False,  # the dataset has its own order
            verbose=verbose,
        )


class _DistributedRun:
    """With `Trainer`, on one device or several."""

    guard = staticmethod(strategies.lost_workers)

    def __init__(
        self,
        workdir: Workdir,
        strategy: tf.distribute.Strategy | None,
        options: dict[str, Any],
    ):
        self.workdir, self.options = workdir, options
        self.strategy = strategy or strategies.make_strategy("none")
        if workdir.chief != strategies.is_chief(self.strategy):
            raise ValueError(
                "`workdir.chief` must be that of the process among the workers: "
                "Workdir(..., chief=tfhyper.training.is_chief(strategy)). Received: "
                f"workdir.chief={workdir.chief}"
            )

    def restore(self) -> tuple[keras.Model | None, Checkpoint]:
        # The chief first, which sets torn checkpoints aside; the others must find the
        # same: a number for it goes from one to all.
        found = self.workdir.newest() if self.workdir.chief else Checkpoint(0, None)
        total = strategies.sum_over_workers(self.strategy, [found.epoch, found.step])
        mine = self.workdir.newest()
        if [mine.epoch, mine.step] != total:
            raise ValueError(
                "`workdir` must be one folder that all workers see. Received: "
                f"{self.workdir.path!r}, where this worker finds {mine.path} and the "
                f"chief a checkpoint after {total[0]} epochs and {total[1]} steps"
            )
        with self.strategy.scope():
            return self.workdir.restore()

    def build(self, build: Callable[[], keras.Model]) -> keras.Model:
        with self.strategy.scope():
            return build()

    def fit(
        self,
        model: keras.Model,
        data: TrainingData,
        epochs: int,
        start: Checkpoint,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose: int,
        saving: _SaveEpochs,
        stop: SigtermStop,
    ) -> None:
        trainer = Trainer(model, **self.options)
        dataset = data.train_from(start.epoch)
        state = None
        if start.step:
            dataset = dataset.skip(start.step)
            state = self.workdir.metrics(start)

        def after_call(epoch: int, step: int) -> None:
            signals = strategies.sum_over_workers(self.strategy, [int(stop.requested)])
            if not signals[0]:
                return
            if step == data.steps_per_epoch:
                saving.ends = True  # with the epoch, whose metrics come next
                return
            state = trainer.metrics_state()
            self.workdir.save(model, epoch, saving.history, step, state)
            stop.requested = True
            stop.check()

        try:
            trainer.fit(
                dataset,
                epochs=epochs,
                steps_per_epoch=data.steps_per_epoch,
                initial_epoch=start.epoch,
                initial_step=start.step,
                initial_metrics=state,
                callbacks=[*callbacks, saving],
                verbose=verbose,
                after_call=after_call,
            )
        except DivergedError as error:
            raise ValueError(self.workdir.diverged(error.what)) from error
        strategies.sum_over_workers(self.strategy, [0])  # until the chief has saved


class _SaveEpochs(keras.callbacks.Callback):
    """Saves after epochs, and ends the process there if that was agreed on.

    Attributes:
        ends: set by all workers alike, in the last steps of an epoch.
    """

    def __init__(
        self,
        workdir: Workdir,
        history: dict[str, list[float]],
        every: int,
        epochs: int,
        stop: SigtermStop,
    ):
        super().__init__()
        self.workdir = workdir
        self.history = history
        self.every, self.epochs, self.stop = every, epochs, stop
        self.ends = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)
        done = epoch + 1
        # A callback may have ended the training here.
        last = done == self.epochs or self.model.stop_training
        if done % self.every == 0 or last or self.ends:
            self.workdir.save(self.model, done, self.history)
        if self.ends:
            self.stop.requested = True
            self.stop.check()


class _StopBetweenSteps(keras.callbacks.Callback):
    """Ends `model.fit` between steps if asked to, or if the loss is bad."""

    # Keras hands over the logs in other threads, and does not wait for the device
    # to know the loss of each step.
    async_safe = True

    def __init__(self, workdir: Workdir, stop: SigtermStop):
        super().__init__()
        self.workdir = workdir
        self.stop = stop
        self.bad: dict[int, float] = {}  # step of this epoch -> loss

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._check_loss()
        self.stop.check()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        loss = (logs or {}).get("loss", 0.0)
        # The mean of the epoch so far, which stays bad: no step is missed.
        if not np.isfinite(loss):
            self.bad[batch + 1] = loss

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check_loss()

    def _check_loss(self) -> None:
        if self.bad:
            step = min(self.bad)
            what = f"the loss is {self.bad[step]} at step {step} of epoch "
            raise ValueError(self.workdir.diverged(f"{what}{self.epoch + 1}"))
