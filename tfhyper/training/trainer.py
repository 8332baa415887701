"""A training loop on one device, several, or several machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import keras
import numpy as np

from tfhyper import keras_private
from tfhyper.checks import (
    check_bool,
    check_choice,
    check_function,
    check_instance,
    check_integer,
    check_positive_integer,
    check_verbose,
)
from tfhyper.divergence import DivergedError
from tfhyper.layers.variational import EpochBegin
from tfhyper.tensor_types import Structure
from tfhyper.training import fast_generator as fast
from tfhyper.training.kl import KLSchedule
from tfhyper.training.strategies import check_strategy, is_chief, lost_workers
from tfhyper.training.unpacking import plain
from tfhyper.training.weight_sets import step_of_parts

if TYPE_CHECKING:
    import tensorflow as tf

BatchNormForm: TypeAlias = Literal["synchronized", "per_replica"]
BATCH_NORMS: tuple[BatchNormForm, ...] = get_args(BatchNormForm)


def check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raises TypeError unless they are a sequence of Keras callbacks."""
    rule = "a sequence of Keras callbacks"
    for callback in check_instance("callbacks", callbacks, list | tuple, rule):
        check_instance("callbacks", callback, keras.callbacks.Callback, rule)


class Trainer:
    """Trains a compiled model as `model.fit` does, on all replicas of its strategy.

    Several steps are one compiled loop, around which a plain one calls callbacks. Each
    batch is divided evenly between the replicas. With one weight set and synchronised
    BatchNorm the weights are those of one device with the same batches, but for
    rounding, on any number of replicas and machines.

    A generated network draws one weight set for a batch, the same on all replicas. Ukai
    et al. (2019, section 3.1) write the objective for N draws w_n of a step and train
    with N = 1. `weight_sets=S` has S of them: it splits the part of a replica into S,
    each with a draw of its own, and the loss is the mean over the parts. Its
    expectation is that of N = 1 and its gradient has less noise, at the price of
    generating S times; an example goes through one network, so that the mean over n is
    of log p(y | x, w_n), not inside the logarithm. With `per_replica_draws` each
    replica has others. Noise that belongs to examples (flipout, local
    reparameterization, MC dropout) always differs between replicas.

    Args:
        model: compiled; on several replicas made and compiled in the scope of
            `tfhyper.training.make_strategy`.
        weight_sets: int > 0, draws of each replica in a step.
        per_replica_draws: bool, other draws on each replica.
        batch_norm: `"synchronized"`: moments of the whole batch; or `"per_replica"`:
            of a replica's part, and saved are the moving averages of the first. Sets
            `synchronized` of the model's BatchNorm layers, on several replicas. With
            `weight_sets` they are moments of the parts.
        steps_per_call: int > 0, steps in a compiled loop; callbacks see its last.
        fast_generator: bool, train generators without their whole gradients where that
            is exact: `tfhyper.training.use_fast_generator`. Draws that differ between
            replicas, whose gradients cannot be summed packed, are not.

    Attributes:
        why_not_fast: sentences, why the fast generator is not in use; empty if it is.

    Raises:
        TypeError: if the model is none of Keras.
        ValueError: for an argument out of range; on another backend than TensorFlow;
            for a model or an optimizer made outside of the strategy's scope,
            `jit_compile=True` on several CPUs, gradient accumulation or a
            `LossScaleOptimizer` on several replicas, or a `keras.distribution`, which
            TensorFlow ignores.

    Example:

    >>> strategy = tfhyper.training.make_strategy("mirrored")
    >>> with strategy.scope():
    ...     model = tfhyper.models.lenet5(input_shape=(28, 28, 1), kit="hyper")
    ...     model = tfhyper.training.compile_recipe(model, 2, steps_per_epoch=4)
    >>> data = tfhyper.data.load("fashion_mnist_small", train_examples=512)
    >>> trainer = tfhyper.training.Trainer(model)
    >>> history = trainer.fit(
    ...     data.train_from(0), epochs=2, steps_per_epoch=4, verbose=0
    ... )
    >>> len(history.history["loss"])
    2
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        weight_sets: int = 1,
        per_replica_draws: bool = False,
        batch_norm: BatchNormForm = "synchronized",
        steps_per_call: int = 10,
        fast_generator: bool = True,
    ):
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "`Trainer` is for the TensorFlow backend; use `model.fit` on others. "
                f"Received: keras.backend.backend()={keras.backend.backend()!r}"
            )
        fast.check_compiled(model)
        self.model = model
        self.strategy = model.distribute_strategy
        self.weight_sets = check_positive_integer("weight_sets", weight_sets)
        self.per_replica_draws = check_bool("per_replica_draws", per_replica_draws)
        check_bool("fast_generator", fast_generator)
        self.batch_norm = check_choice("batch_norm", batch_norm, BATCH_NORMS)
        self.steps_per_call = check_positive_integer("steps_per_call", steps_per_call)
        with self.strategy.scope():
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
        check_strategy(model)
        if self.num_replicas > 1:
            for layer in keras_private.flatten_layers(model):
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = batch_norm == "synchronized"
        self.why_not_fast = self._why_not_fast(fast_generator)
        if self.why_not_fast:
            self._optimizer = plain(model.optimizer)
        else:
            self._optimizer = fast.fast_optimizer(model, self.weight_sets)

        # Not at the top: tfhyper is imported without TensorFlow.
        from tfhyper.training import replicas

        self._replicas = replicas
        step = type(model).train_step.__get__(model)
        if self.weight_sets > 1:
            step = step_of_parts(model, self.weight_sets)
        self._train = replicas.train_loop(model, step, self.per_replica_draws)
        self._test = replicas.test_step(model)

    @property
    def num_replicas(self) -> int:
        """How many devices train together, those of all workers counted."""
        return self.strategy.num_replicas_in_sync

    def _why_not_fast(self, fast_generator: bool) -> list[str]:
        reasons = fast.why_not(self.model)
        if not fast_generator:
            reasons.append("it is switched off")
        if self.per_replica_draws and self.num_replicas > 1:
            reasons.append("the replicas have different codes")
        return reasons

    def fit(
        self,
        dataset: tf.data.Dataset,
        *,
        epochs: int,
        steps_per_epoch: int,
        initial_epoch: int = 0,
        initial_step: int = 0,
        initial_metrics: list | None = None,
        validation_data: tf.data.Dataset | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int = 1,
        after_call: Callable[[int, int], None] | None = None,
    ) -> keras.callbacks.History:
        """Trains for some epochs.

        Args:
            dataset: batches, `(x, y)` or `(x, y, sample_weight)`, of the whole of a
                step: what all replicas of all workers train on together. It begins
                with the first batch to train on and goes through all epochs. Each
                worker reads all of it and keeps its part.
            epochs: int > 0, all the epochs of the training.
            steps_per_epoch: int > 0, batches in an epoch.
            initial_epoch: int >= 0, epochs that were trained before.
            initial_step: int >= 0, steps of the first epoch that were trained before.
            initial_metrics: what `metrics_state` gave after those steps; `None`: the
                metrics of that epoch are of the steps to come.
            validation_data: batches to evaluate the model on after each epoch, for
                logs that begin with `val_`; those of one draw and of BatchNorm's moving
                averages, so judge a generated network by the callback
                `PosteriorValidation` instead.
            callbacks: Keras callbacks. `KLSchedule` and its kin set their factor for
                each step. The others are called before the first and after the last
                step of each compiled loop.
            verbose: as in `model.fit`. Workers but the chief are silent.
            after_call: called with the epoch and its steps done after each compiled
                loop, in the main thread of each worker.

        Returns:
            The metrics of each epoch, as `model.fit` returns them.

        Raises:
            TypeError: if the data are no `tf.data.Dataset`.
            ValueError: for an argument out of range; for `validation_data` without
                batches or known to have no end; for a batch that the replicas do
                not divide evenly, before it is trained on; if a loss is NaN or
                infinite, with the step; or if the dataset ends too early.
            RuntimeError: if another worker dies, some seconds after.
        """
        epochs = check_positive_integer("epochs", epochs)
        steps = check_positive_integer("steps_per_epoch", steps_per_epoch)
        check_integer("initial_epoch", initial_epoch, 0, epochs)
        check_integer("initial_step", initial_step, 0, steps - 1)
        self._replicas.check_dataset("dataset", dataset)
        if validation_data is not None:
            self._replicas.check_dataset("validation_data", validation_data, True)
        check_callbacks(callbacks)
        check_verbose(verbose)
        if after_call is not None:
            check_function("after_call", after_call)
        model = self.model
        verbose = verbose if is_chief(self.strategy) else 0
        if verbose == "auto":
            verbose = 1
        schedules = [c for c in callbacks if isinstance(c, KLSchedule)]
        told = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )
        with self.strategy.scope():
            # Makes the variables of loss and metrics, as `model.fit` does on replicas.
            keras_private.build_for_training(model, dataset.element_spec)
        if initial_metrics is not None:
            self._check_metrics(initial_metrics)
        parts = self.num_replicas * self.weight_sets
        with lost_workers():
            iterator = iter(self._replicas.distribute(self.strategy, dataset, parts))
            model.stop_training = False
            told.on_train_begin()
            for epoch in range(initial_epoch, epochs):
                step = initial_step if epoch == initial_epoch else 0
                self._reset_metrics(step)
                if step and initial_metrics is not None:
                    self._set_metrics(initial_metrics)
                told.on_epoch_begin(epoch)
                logs = {}
                for step, end in self._calls(step, steps):
                    told.on_train_batch_begin(step)
                    factors = [
                        schedule.factor(epoch, i, steps)
                        for schedule in schedules[-1:]
                        for i in range(step, end)
                    ]
                    losses = self._run(iterator, end - step, factors, epoch, step)
                    self._check_finite(losses, epoch, step)
                    logs = self._logs()
                    told.on_train_batch_end(end - 1, logs)
                    if after_call is not None:
                        after_call(epoch, end)
                if validation_data is not None:
                    found = self._evaluate("validation_data", validation_data)
                    logs = {**logs, **{f"val_{name}": v for name, v in found.items()}}
                told.on_epoch_end(epoch, logs)
                if model.stop_training:
                    break
            with self.strategy.scope():
                # Averages take the place of the weights, where the optimizer has them.
                model.optimizer.finalize_variable_values(model.trainable_weights)
        told.on_train_end(logs)
        return model.history

    def evaluate(self, dataset: tf.data.Dataset) -> dict[str, float]:
        """Returns the metrics of the model on a dataset's batches: name -> float.

        Batches of any size; the metrics of training are reset.

        Raises:
            TypeError: if it is no `tf.data.Dataset`.
            ValueError: if it has no batches, or is known to have no end. One that
                does not say how many it has (`cardinality`) is read to its end.
        """
        self._replicas.check_dataset("dataset", dataset, finite=True)
        return self._evaluate("dataset", dataset)

    def _evaluate(self, name: str, dataset: tf.data.Dataset) -> dict[str, float]:
        self.model.reset_metrics()
        empty = True
        for batch in self._replicas.distribute(self.strategy, dataset):
            self._test(batch)
            empty = False
        if empty:
            raise ValueError(f"`{name}` must have batches. Received: {name} with none")
        return self._logs()

    def _calls(self, step: int, steps: int) -> Iterator[tuple[int, int]]:
        """Yields the first step of each compiled loop of an epoch, and its end."""
        while step < steps and not self.model.stop_training:
            end = min(step + self.steps_per_call, steps)
            yield step, end
            step = end

    def _run(
        self,
        iterator: Iterator[Structure],
        steps: int,
        factors: list[float],
        epoch: int,
        step: int,
    ) -> np.ndarray:
        import tensorflow as tf

        inputs: tuple = iterator, tf.constant(steps)
        if factors:
            inputs = *inputs, tf.constant(factors, "float32")
        try:
            with fast.training_with(self.model, self._optimizer):
                return self._train(*inputs).numpy()
        except (StopIteration, tf.errors.OutOfRangeError) as error:
            raise ValueError(
                "`dataset` must have batches for all epochs (`repeat` it). Received: "
                f"one that ends in epoch {epoch + 1}, after step {step}"
            ) from error
        except tf.errors.InvalidArgumentError as error:
            if self._replicas.UNEVEN in str(error):
                raise ValueError(
                    f"Each batch must be divided evenly by {self.num_replicas} "
                    f"replicas x {self.weight_sets} weight sets, so that each example "
                    "counts the same. Received: one that is not, in epoch "
                    f"{epoch + 1} after step {step}"
                ) from error
            raise

    def _check_finite(self, losses: np.ndarray, epoch: int, step: int) -> None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise DivergedError(
                f"the loss is {losses[bad[0]]} at step {step + bad[0] + 1} of epoch "
                f"{epoch + 1}"
            )

    def metrics_state(self) -> list:
        """Returns the values of the metrics' variables, over all replicas, as lists."""
        values = map(keras.ops.convert_to_numpy, self.model.metrics_variables)
        return [value.tolist() for value in values]

    def _check_metrics(self, state: list) -> None:
        shapes = [tuple(v.shape) for v in self.model.metrics_variables]
        try:
            fits = [np.asarray(x, "float64").shape for x in list(state)] == shapes
        except (TypeError, ValueError):  # text, say
            fits = False
        if not fits:
            raise ValueError(
                "`initial_metrics` must be what `metrics_state` gave. "
                f"Received: initial_metrics={state!r}"
            )

    def _reset_metrics(self, step: int) -> None:
        for metric in self.model.metrics:
            # No epoch begins in the middle of one: its count of examples goes on.
            if not step or not isinstance(metric, EpochBegin):
                metric.reset_state()

    def _set_metrics(self, state: list) -> None:
        with self.strategy.scope():
            for variable, value in zip(
                self.model.metrics_variables, state, strict=True
            ):
                variable.assign(np.asarray(value, variable.dtype))

    def _logs(self) -> dict[str, float]:
        """Returns the metrics so far, of all replicas together."""
        values = self.model.get_metrics_result()
        return {name: float(value) for name, value in values.items()}
