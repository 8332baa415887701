"""Callbacks whose sets of weights are the draws."""

import os

import keras
import numpy as np

from tfhyper.checks import check_positive_integer
from tfhyper.training.cyclic_rates import CosineCycles, GeometricRate
from tfhyper.training.keep_weights import KeepWeights
from tfhyper.variational import KeptWeights


class KeepSets(KeepWeights):
    """What callbacks have in common that keep each set by itself."""

    def reset(self) -> None:
        """Forgets what was taken."""
        self.sets: list[list[np.ndarray]] = []

    def take(self, weights: list[np.ndarray]) -> None:
        """Takes the weights of one more of the epochs."""
        self.sets.append(weights)

    def posterior(self, model: keras.Model | None = None) -> KeptWeights:
        """Returns the `tfhyper.KeptWeights` of the sets.

        Args:
            model: the model that they are of; `None` for the one that was trained.

        Raises:
            ValueError: if the training has not come to its end, if there is no model,
                or for one of another architecture.
        """
        return KeptWeights(self.whole(model), self.sets)


class Snapshots(KeepSets):
    """Keeps the weights at the end of each cycle of the rate: snapshot ensembles.

    The rate falls along a cosine to zero M times (`CosineCycles`); each time training
    leaves the minimum that it has come to for another one. The weights at the ends of
    the cycles are M networks for the price of one training, less good each than one
    that had all of it (Huang et al., 2017).

    Args:
        cycles: int > 0, M, which divides the epochs.
        last: int in 1 <= last <= cycles, how many to keep, the last ones; `None` for
            all.
        folder: where to keep them, see `KeepWeights`; `None` for memory.

    Raises:
        ValueError: for an argument out of range; at the start of training if the cycles
            do not fit the epochs, or the rate has other cycles.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(),
    ...     keras.layers.Dense(10, activation="softmax")])
    >>> rate = tfhyper.training.CosineCycles(0.1, steps=6 * 7, cycles=3)
    >>> model.compile(
    ...     keras.optimizers.SGD(rate, 0.9), "sparse_categorical_crossentropy")
    >>> snapshots = tfhyper.training.Snapshots(cycles=3)
    >>> history = model.fit(
    ...     x_train, y_train, batch_size=32, epochs=6, callbacks=[snapshots], verbose=0)
    >>> predictor = tfhyper.PosteriorPredictor(snapshots.posterior())
    >>> predictor = predictor.estimate_batch_norm(x_train, verbose=0)
    >>> predictor.num_draws
    3

    Reference:
        Huang et al.: Snapshot ensembles: train 1, get M for free, ICLR 2017.
    """

    def __init__(
        self,
        cycles: int,
        last: int | None = None,
        folder: str | os.PathLike | None = None,
    ):
        super().__init__(folder)
        self.cycles = check_positive_integer("cycles", cycles)
        self.last = cycles if last is None else check_positive_integer("last", last)
        if self.last > cycles:
            raise ValueError(
                f"`last` must not be above `cycles`. Received: last={last}, "
                f"cycles={cycles}"
            )

    def due(self, epochs: int) -> list[int]:
        """Returns the last epochs of the cycles."""
        length = cycle_epochs(epochs, self.cycles)
        first = self.cycles - self.last + 1
        return [cycle * length for cycle in range(first, self.cycles + 1)]

    def check_rate(
        self, rate: keras.optimizers.schedules.LearningRateSchedule | float, steps: int
    ) -> None:
        """Raises ValueError for a rate that has other cycles."""
        check_cycles(self, rate, steps, self.cycles)


class FastGeometric(KeepSets):
    """Keeps weights in the middle of short cycles: fast geometric ensembling.

    After most of a training the rate goes up and down by a little, in cycles of a few
    epochs (`GeometricRate`); the weights where it is lowest are networks near to each
    other that differ more than those of single steps (Garipov et al., 2018).

    Args:
        start: int > 0, the epochs before the first cycle.
        cycle_epochs: int > 1, even, the epochs of a cycle.
        folder: where to keep them, see `KeepWeights`; `None` for memory.

    Raises:
        ValueError: for an argument out of range; at the start of training if there is
            no whole cycle, or the rate has other cycles.

    Example:

    >>> rate = tfhyper.training.GeometricRate(
    ...     0.1, start=4 * 7, cycle_steps=2 * 7, high=0.05, low=0.01)
    >>> keep = tfhyper.training.FastGeometric(start=4, cycle_epochs=2)
    >>> keep.due(epochs=10)
    [5, 7, 9]

    Reference:
        Garipov et al.: Loss surfaces, mode connectivity, and fast ensembling of DNNs,
        NeurIPS 2018.
    """

    def __init__(
        self,
        start: int,
        cycle_epochs: int = 2,
        folder: str | os.PathLike | None = None,
    ):
        super().__init__(folder)
        self.start = check_positive_integer("start", start)
        self.cycle_epochs = check_positive_integer("cycle_epochs", cycle_epochs)
        if cycle_epochs % 2:
            raise ValueError(
                "`cycle_epochs` must be even: weights are kept in the middle. "
                f"Received: cycle_epochs={cycle_epochs}"
            )

    def due(self, epochs: int) -> list[int]:
        """Returns the epochs in the middle of the cycles."""
        half = self.cycle_epochs // 2
        found = list(range(self.start + half, epochs + 1, self.cycle_epochs))
        if not found:
            raise ValueError(
                "`start` must leave epochs for a cycle. Received: "
                f"start={self.start}, epochs={epochs}"
            )
        return found

    def check_rate(
        self, rate: keras.optimizers.schedules.LearningRateSchedule | float, steps: int
    ) -> None:
        """Raises ValueError for a rate that has other cycles."""
        per_epoch = steps // self.params["epochs"]
        wanted = self.start * per_epoch, self.cycle_epochs * per_epoch
        if isinstance(rate, GeometricRate):
            if (rate.start, rate.cycle_steps) == wanted:
                return
            found = f"GeometricRate(start={rate.start}, cycle_steps={rate.cycle_steps})"
        else:
            found = described(rate)
        raise ValueError(
            "`learning_rate` of the optimizer must be tfhyper.training.GeometricRate("
            f"..., start={wanted[0]}, cycle_steps={wanted[1]}), whose cycles "
            f"`FastGeometric` keeps weights of. Received: {found}"
        )


def cycle_epochs(epochs: int, cycles: int) -> int:
    """Returns the epochs of a cycle, or raises ValueError if there is a remainder."""
    if epochs % cycles:
        raise ValueError(
            "`cycles` must divide the epochs. "
            f"Received: cycles={cycles}, epochs={epochs}"
        )
    return epochs // cycles


def check_cycles(
    callback: KeepWeights,
    rate: keras.optimizers.schedules.LearningRateSchedule | float,
    steps: int,
    cycles: int,
) -> None:
    """Raises ValueError unless a rate is `CosineCycles` of the steps and cycles."""
    if isinstance(rate, CosineCycles):
        if (rate.steps, rate.cycles) == (steps, cycles):
            return
        found = f"CosineCycles(steps={rate.steps}, cycles={rate.cycles})"
    else:
        found = described(rate)
    raise ValueError(
        "`learning_rate` of the optimizer must be tfhyper.training.CosineCycles(..., "
        f"steps={steps}, cycles={cycles}), at whose ends `{type(callback).__name__}` "
        f"keeps weights. Received: {found}"
    )


def described(rate: keras.optimizers.schedules.LearningRateSchedule | float) -> str:
    """Returns what a learning rate is, in words."""
    return type(rate).__name__ if callable(rate) else f"the rate {rate:.3g}"
