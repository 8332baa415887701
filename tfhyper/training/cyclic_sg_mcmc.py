"""Stochastic gradient MCMC with a cyclical step size."""

import os
from typing import Any

import keras
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import (
    check_learning_rate,
    check_number,
    check_positive_integer,
    check_text,
)
from tfhyper.layers.seeds import StatelessSeed, check_seed
from tfhyper.tensor_types import Tensor
from tfhyper.training.cyclic_rates import CosineCycles
from tfhyper.training.keep_sets import KeepSets, check_cycles, cycle_epochs
from tfhyper.training.optimizers import CoupledDecay


class _Friction(keras.optimizers.Optimizer):
    """Descent with friction, and noise in the last part of each cycle."""

    friction: float
    noise_scale: float
    exploration: float
    cycle_steps: int
    seed: int

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self.velocities = [
            self.add_variable_from_reference(variable, name="velocity")
            for variable in variables
        ]

    def update_step(
        self, gradient: Tensor, variable: Tensor, learning_rate: Tensor
    ) -> None:
        index = keras_private.variable_index(self, variable)
        velocity = self.velocities[index]
        gradient = ops.cast(gradient, "float32")
        rate = ops.cast(learning_rate, "float32")
        step = ops.cast(self.iterations, "int32")
        # Another one for each variable and step, the same on all replicas.
        count = step * len(self.velocities) + index

        def noise() -> Tensor:
            seed = StatelessSeed(self.seed, count)
            normal = keras.random.normal(velocity.shape, dtype="float32", seed=seed)
            return ops.sqrt(2.0 * self.friction * rate * self.noise_scale) * normal

        place = ops.cast(step % self.cycle_steps, "float32") / self.cycle_steps
        moved = (1.0 - self.friction) * ops.cast(velocity, "float32")
        moved = moved - rate * gradient
        # Most steps of a cycle draw nothing.
        moved = moved + ops.cond(
            place >= self.exploration, noise, lambda: ops.zeros_like(moved)
        )
        self.assign(velocity, ops.cast(moved, velocity.dtype))
        self.assign_add(variable, ops.cast(moved, variable.dtype))


@keras.saving.register_keras_serializable("tfhyper")
class SGHMC(CoupledDecay, _Friction):
    """Stochastic gradient Hamiltonian Monte Carlo with a cyclical step size.

    With g the gradient of the mean loss and of the decay, a step is

        v = (1 - friction) v - rate g + s sqrt(2 friction rate T / N) e
        w = w + v,    e from N(0, I)

    where s is 0 in the first part of each cycle of the rate, which explores, and 1 in
    the rest, which samples (Zhang et al., 2020, algorithm 1, in the form of their code
    with momentum). At T = 1 its stationary distribution is, for small rates and exact
    gradients, the posterior of a mean negative log-likelihood of N examples with prior
    N(0, 1 / (N coupled_decay)). Colder is what the authors take for deep networks,
    T = 1/200 in the paper.

    Args:
        learning_rate: `CosineCycles`.
        num_examples: int > 0, N.
        temperature: float >= 0, T.
        friction: float in 0 < friction <= 1, one less the momentum.
        exploration: float in 0 <= exploration < 1, the part of a cycle without noise.
        coupled_decay: float >= 0, delta: the prior, see `CoupledDecaySGD`.
        no_decay: as for `CoupledDecaySGD`.
        no_decay_roles: likewise.
        role_decays: likewise.
        seed: int in 0 <= seed < 2**31 of the noise, `None` for a fresh one.
        **kwargs: other arguments of `keras.optimizers.Optimizer`.

    Raises:
        TypeError: for another learning rate.
        ValueError: for an argument out of range.

    Example:

    >>> rate = tfhyper.training.CosineCycles(0.1, steps=400, cycles=4)
    >>> optimizer = tfhyper.training.SGHMC(rate, num_examples=50_000, temperature=0.005)
    >>> optimizer.cycle_steps
    100

    Reference:
        Zhang, Li, Zhang, Chen, Wilson: Cyclical stochastic gradient MCMC for Bayesian
        deep learning, ICLR 2020.
    """

    def __init__(
        self,
        learning_rate: CosineCycles,
        num_examples: int,
        temperature: float = 1.0,
        friction: float = 0.1,
        exploration: float = 0.9,
        coupled_decay: float = 0.0,
        no_decay: tuple[str, ...] = (),
        no_decay_roles: tuple[str, ...] = (),
        role_decays: dict[str, float] | None = None,
        seed: int | None = None,
        name: str = "sghmc",
        **kwargs: Any,
    ):
        check_learning_rate(learning_rate)
        if not isinstance(learning_rate, CosineCycles):
            raise TypeError(
                "`learning_rate` must be a `tfhyper.training.CosineCycles`, in whose "
                f"cycles there is noise. Received: learning_rate={learning_rate!r}"
            )
        check_text("name", name)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.num_examples = check_positive_integer("num_examples", num_examples)
        self.temperature = check_number("temperature", temperature)
        self.friction = check_number("friction", friction, positive=True)
        if friction > 1:
            raise ValueError(
                f"`friction` must not be above 1. Received: friction={friction}"
            )
        self.exploration = check_number("exploration", exploration, below=1)
        self.noise_scale = self.temperature / self.num_examples
        self.cycle_steps = learning_rate.cycle_steps
        self.seed = check_seed(seed)
        self._set_decay(coupled_decay, no_decay, no_decay_roles, role_decays)

    def get_config(self) -> dict[str, Any]:
        """Returns what the optimizer can be made from."""
        names = ("num_examples", "temperature", "friction", "exploration", "seed")
        return {**super().get_config(), **{x: getattr(self, x) for x in names}}


class CyclicSGMCMC(KeepSets):
    """Keeps weights of the end of each cycle of `SGHMC`: samples of several modes.

    Args:
        cycles: int > 0, which divides the epochs.
        samples: int > 0, the last epochs of each cycle, whose weights are kept. Those
            of one cycle predict nearly the same.
        folder: where to keep them, see `KeepWeights`; `None` for memory.

    Raises:
        ValueError: for an argument out of range; at the start of training if the cycles
            do not fit the epochs, are no longer than the samples, if the rate has other
            cycles, or the optimizer adds no noise in the epochs of the samples.

    Example:

    >>> rate = tfhyper.training.CosineCycles(0.1, steps=6 * 7, cycles=2)
    >>> optimizer = tfhyper.training.SGHMC(
    ...     rate, num_examples=2000, temperature=0.005, exploration=0.6)
    >>> model.compile(optimizer, "sparse_categorical_crossentropy")
    >>> samples = tfhyper.training.CyclicSGMCMC(cycles=2)
    >>> history = model.fit(
    ...     x_train, y_train, batch_size=32, epochs=6, callbacks=[samples], verbose=0)
    >>> samples.posterior().num_sets
    2

    Reference:
        Zhang, Li, Zhang, Chen, Wilson: Cyclical stochastic gradient MCMC for Bayesian
        deep learning, ICLR 2020.
    """

    def __init__(
        self,
        cycles: int,
        samples: int = 1,
        folder: str | os.PathLike | None = None,
    ):
        super().__init__(folder)
        self.cycles = check_positive_integer("cycles", cycles)
        self.samples = check_positive_integer("samples", samples)

    def due(self, epochs: int) -> list[int]:
        """Returns the last epochs of each cycle."""
        length = cycle_epochs(epochs, self.cycles)
        if length < self.samples:
            raise ValueError(
                "`samples` must not be above the epochs of a cycle. Received: "
                f"samples={self.samples}, {length} epochs"
            )
        return [
            cycle * length - i
            for cycle in range(1, self.cycles + 1)
            for i in reversed(range(self.samples))
        ]

    def check_rate(
        self, rate: keras.optimizers.schedules.LearningRateSchedule | float, steps: int
    ) -> None:
        """Raises ValueError for other cycles, or an optimizer without noise."""
        check_cycles(self, rate, steps, self.cycles)
        optimizer = getattr(self.model.optimizer, "inner_optimizer", None)
        optimizer = optimizer or self.model.optimizer
        if not isinstance(optimizer, SGHMC):
            raise ValueError(
                "`optimizer` must be `tfhyper.training.SGHMC`, whose noise makes the "
                f"weights samples. Received: optimizer={type(optimizer).__name__}"
            )
        length = cycle_epochs(self.params["epochs"], self.cycles)
        quiet = 1 - (self.samples - 1) / length
        if optimizer.exploration >= quiet:
            raise ValueError(
                "`exploration` of the optimizer must end before the first sample of a "
                f"cycle, at {quiet:.3g} of it. Received: "
                f"exploration={optimizer.exploration}"
            )
