"""Learning rates of trainings that pass several good sets of weights."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class CosineCycles(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that falls along a cosine, again and again.

        rate(t) = learning_rate / 2 (cos(pi (t mod L) / L) + 1),    L = ceil(steps / M)

    for t = 0, 1, ... steps and M cycles (Huang et al., 2017, equation 2).

    Args:
        learning_rate: float > 0, with which each cycle begins.
        steps: int > 0, of the whole training.
        cycles: int > 0, M.

    Raises:
        ValueError: for an argument out of range, or fewer steps than cycles.

    Example:

    >>> rate = tfhyper.training.CosineCycles(0.1, steps=100, cycles=4)
    >>> [round(float(rate(t)), 4) for t in (0, 12, 24, 25)]
    [0.1, 0.0531, 0.0004, 0.1]

    Reference:
        Huang et al.: Snapshot ensembles: train 1, get M for free, ICLR 2017.
    """

    def __init__(self, learning_rate: float, steps: int, cycles: int):
        super().__init__()
        self.learning_rate = check_number("learning_rate", learning_rate, positive=True)
        self.steps = check_positive_integer("steps", steps)
        self.cycles = check_positive_integer("cycles", cycles)
        if cycles > steps:
            raise ValueError(
                "`cycles` must not be above `steps`. "
                f"Received: cycles={cycles}, steps={steps}"
            )

    @property
    def cycle_steps(self) -> int:
        """How many steps a cycle has."""
        return -(-self.steps // self.cycles)

    def __call__(self, step: Tensor) -> Tensor:
        """Returns the rate of a step, from 0 on."""
        place = ops.cast(step, "int32") % self.cycle_steps
        part = ops.cast(place, "float32") / self.cycle_steps
        return 0.5 * self.learning_rate * (ops.cos(np.pi * part) + 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = ("learning_rate", "steps", "cycles")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("tfhyper")
class GeometricRate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate for fast geometric ensembling: one fall, then short cycles.

    It falls along a cosine from `learning_rate` to `high` over the first steps, and
    from step `start` on it goes from `high` to `low` and back, linearly, in cycles of
    `cycle_steps`: with p = ((t - start) mod L + 1) / L,

        rate(t) = (1 - 2p) high + 2p low            for p <= 1/2
                  (2 - 2p) low + (2p - 1) high      for p > 1/2

    (Garipov et al., 2018, section 4, whose first part has the steps of its network's
    study). The rate is lowest in the middle of a cycle, where weights are kept.

    Args:
        learning_rate: float > 0, the first rate.
        start: int > 0, the first step of the cycles.
        cycle_steps: int > 1, even, L.
        high: float > 0.
        low: float > 0, below `high`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> rate = tfhyper.training.GeometricRate(0.1, start=100, cycle_steps=4)
    >>> [round(float(rate(t)), 4) for t in (0, 99, 100, 101, 102, 103)]
    [0.1, 0.05, 0.03, 0.01, 0.03, 0.05]

    Reference:
        Garipov et al.: Loss surfaces, mode connectivity, and fast ensembling of DNNs,
        NeurIPS 2018.
    """

    def __init__(
        self,
        learning_rate: float,
        start: int,
        cycle_steps: int,
        high: float = 0.05,
        low: float = 0.01,
    ):
        super().__init__()
        self.learning_rate = check_number("learning_rate", learning_rate, positive=True)
        self.start = check_positive_integer("start", start)
        self.cycle_steps = check_positive_integer("cycle_steps", cycle_steps)
        if cycle_steps % 2:
            raise ValueError(
                "`cycle_steps` must be even: weights are kept in the middle. "
                f"Received: cycle_steps={cycle_steps}"
            )
        self.high = check_number("high", high, positive=True)
        self.low = check_number("low", low, positive=True)
        if low >= high:
            raise ValueError(
                f"`low` must be below `high`. Received: low={low}, high={high}"
            )

    def __call__(self, step: Tensor) -> Tensor:
        """Returns the rate of a step, from 0 on."""
        step = ops.cast(step, "int32")
        done = ops.minimum(ops.cast(step, "float32") / self.start, 1.0)
        first = self.high + 0.5 * (self.learning_rate - self.high) * (
            ops.cos(np.pi * done) + 1.0
        )
        place = ops.cast((step - self.start) % self.cycle_steps + 1, "float32")
        part = place / self.cycle_steps
        cycle = self.low + (self.high - self.low) * ops.abs(1.0 - 2.0 * part)
        return ops.where(step < self.start, first, cycle)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = ("learning_rate", "start", "cycle_steps", "high", "low")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("tfhyper")
class AveragingRate(keras.optimizers.schedules.LearningRateSchedule):
    """A rate for averaging weights: it falls to one that then stays, above zero.

    As the authors' code of SWA and SWAG has it: `learning_rate` for the first half of
    the steps before `start`, then linearly to `final`, at 0.9 of them, which stays.

    Args:
        learning_rate: float > 0, the first rate.
        start: int > 0, the step from which weights are averaged.
        final: float > 0, not above `learning_rate`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> rate = tfhyper.training.AveragingRate(0.1, start=100, final=0.05)
    >>> [round(float(rate(t)), 4) for t in (0, 50, 70, 90, 500)]
    [0.1, 0.1, 0.075, 0.05, 0.05]

    Reference:
        Izmailov et al.: Averaging weights leads to wider optima and better
        generalization, UAI 2018.
    """

    def __init__(self, learning_rate: float, start: int, final: float = 0.05):
        super().__init__()
        self.learning_rate = check_number("learning_rate", learning_rate, positive=True)
        self.start = check_positive_integer("start", start)
        self.final = check_number("final", final, positive=True)
        if final > learning_rate:
            raise ValueError(
                "`final` must not be above `learning_rate`. "
                f"Received: final={final}, learning_rate={learning_rate}"
            )

    def __call__(self, step: Tensor) -> Tensor:
        """Returns the rate of a step, from 0 on."""
        done = (ops.cast(step, "float32") / self.start - 0.5) / 0.4
        part = ops.clip(done, 0.0, 1.0)
        return self.learning_rate + (self.final - self.learning_rate) * part

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        names = ("learning_rate", "start", "final")
        return {name: getattr(self, name) for name in names}
