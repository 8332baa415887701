"""Networks that predict with the weights of a draw, without copying them in."""

import math
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import keras
import numpy as np
from keras import ops

from tfhyper.layers.fixed_noise import NoiseOfExamples
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.tensor_types import Structure, Tensor

# How many bytes of weights, those of all draws together, `DrawnWeights` keeps at most,
# and how many it makes at a time where there are more.
KEPT_BYTES = 2**30
_MADE_BYTES = 2**27
# Weights of fewer numbers are packed into one vector.
_SMALL = 2**12


class WithWeights(keras.Model):
    """A network that takes the weights of a draw as inputs.

    Compiled once for all draws.

    Args:
        network: a plain network.
        variables: those of its variables that draws fix.

    Attributes:
        network: the network.
    """

    def __init__(self, network: keras.Model, variables: Sequence[keras.Variable]):
        super().__init__(name=f"{network.name}_given", dtype="float32")
        # The network casts its inputs, as it does without.
        self.autocast = False
        self.built = True
        # Each input of a compiled network takes time: the small ones are one vector.
        self._drawn = list(map(id, variables))
        small = [
            v for v in variables if math.prod(v.shape) < _SMALL and v.dtype == "float32"
        ]
        self._packed = [(id(v), tuple(v.shape)) for v in small]
        # In a function, so that the network's variables are not those of the model:
        # JAX gives the memory of a model's variables away in prediction, and these may
        # be those of the user's. What is not drawn it has to be given too, as it
        # compiles the values of others into the network.
        rest = []
        if keras.backend.backend() == "jax":
            rest = [v for v in network.variables if id(v) not in set(self._drawn)]
        self._network, self._rest = lambda: network, lambda: rest

    @property
    def network(self) -> keras.Model:
        """The network."""
        return self._network()

    def takes(self, variables: Sequence[keras.Variable]) -> bool:
        """Whether these are the variables, in this order."""
        return self._drawn == list(map(id, variables))

    def pack(self, values: Sequence) -> list:
        """Returns the weights as `all_weights` takes them, from the variables'."""
        weights = dict(zip(self._drawn, values, strict=True))
        small = [ops.reshape(weights.pop(key), (-1,)) for key, _ in self._packed]
        return [*weights.values(), *([ops.concatenate(small)] if small else [])]

    def all_weights(self, packed: Sequence, rest: Sequence | None = None) -> list:
        """Returns the weights of a draw and the network's others, as its variables.

        Args:
            packed: those of the draw, as `pack` returns them.
            rest: those of `rest()`, or `None` for the present ones.
        """
        given, packed = {}, list(packed)
        if self._packed:
            sizes = [math.prod(shape) for _, shape in self._packed]
            vector, start = packed.pop(), 0
            for (key, shape), size in zip(self._packed, sizes, strict=True):
                given[key] = ops.reshape(vector[start : start + size], shape)
                start += size
        large = [key for key in self._drawn if key not in given]
        given.update(zip(large, packed, strict=True))
        rest = self.rest() if rest is None else rest
        given.update(zip(map(id, self._rest()), rest, strict=True))
        return [given.get(id(v), v.value) for v in self.network.variables]

    def rest(self) -> list:
        """Returns the present values of the variables that are given, but not drawn."""
        return [v.value for v in self._rest()]

    def call(self, inputs: Structure) -> Structure:
        """Returns the network's outputs for (inputs, first example, weights, rest)."""
        x, first, weights, rest = inputs
        return call_with(self.network, self.all_weights(weights, rest), x, first)


def call_with(
    network: keras.Model, weights: Sequence[Tensor], x: Structure, first: Tensor
) -> Structure:
    """Returns the outputs of a network for weights that are not its own.

    Args:
        network: a plain network. It is not changed.
        weights: one tensor for each of its `variables`.
        x: its inputs.
        first: integer scalar tensor, the place in the data of the first of them.
    """
    places = {id(layer.first_example) for layer in noisy_layers(network)}
    mapping = [
        (variable, ops.cast(first, "int32") if id(variable) in places else value)
        for variable, value in zip(network.variables, weights, strict=True)
    ]
    with keras.StatelessScope(mapping):
        return network(x, training=False)


def noisy_layers(network: keras.Model) -> list[NoiseOfExamples]:
    """Returns the layers of a network whose noise goes by the place in the data."""
    return [layer for layer in network.layers if isinstance(layer, NoiseOfExamples)]


class RunnableNetwork(Protocol):
    """A network of one draw, or of several at once, ready to predict.

    Attributes:
        count: how many draws it holds.
        by_place: whether what it gives for an input depends on its place in the data.
    """

    count: int
    by_place: bool

    def __call__(self, x: Structure, first: int = 0) -> Structure:
        """Returns the outputs for a batch, those of all examples for draw 0 first.

        Args:
            x: a batch of inputs, in the structure of the model's.
            first: the place of the first of them in the data.
        """


class BoundNetwork:
    """The network of one draw, ready to predict: a `RunnableNetwork`.

    Args:
        network: a `WithWeights`.
        weights: the draw's, as its `pack` gives them.

    Attributes:
        by_place: bool, whether what it gives for an input depends on its place in
            the data.
    """

    count = 1

    def __init__(self, network: WithWeights, weights: list):
        self._network, self._weights = network, weights
        self.by_place = bool(noisy_layers(network.network))

    def all_weights(self) -> list:
        """Returns the values of all the network's `variables` in this draw."""
        return self._network.all_weights(self._weights)

    def __call__(self, x: Structure, first: int = 0) -> Structure:
        """Returns the outputs for a batch whose first input has a place in the data."""
        inputs = x, np.int32(first), self._weights, self._network.rest()
        return self._network.predict_on_batch(inputs)


class DrawnWeights:
    """The weights of draws, made once and kept for the predictions to come.

    Those of all draws together are kept if they are not more than `KEPT_BYTES`;
    else they are made anew for each prediction, so many draws at a time as have
    `_MADE_BYTES`. They are forgotten when other draws, or other moments, come.

    Several threads may ask at once: one of them makes the weights.

    Args:
        point: the network that draws are given to. The model's weights must stay as
            they are, or `forget` be called.
        runs_as: a network of the same layers that is run in place of the point's
            `network`, such as one with other outputs; `None` for that one.
    """

    def __init__(self, point: PointNetwork, runs_as: keras.Model | None = None):
        self._point, self._bytes = point, point.drawn_bytes
        self._runs_as = point.network if runs_as is None else runs_as
        self._network: WithWeights | None = None
        self._network_for_moments: WithWeights | None = None
        self._lock = threading.RLock()
        self.forget()

    def forget(self) -> None:
        """Lets go of the weights."""
        with self._lock:
            self._runs: list[BoundNetwork] = []
            self._key: tuple | None = None

    def runs(self, draws: list[Draw]) -> Iterable[BoundNetwork]:
        """Returns a network for each draw.

        Args:
            draws: the draws.

        Raises:
            ValueError: if a draw was made for another network.
        """
        if not self.keeps(draws):
            return self._some_at_a_time(draws)
        key = draws_key(draws)
        with self._lock:
            if key != self._key:
                self.forget()
                self._runs, self._key = self._make(draws), key
            return self._runs

    def _some_at_a_time(self, draws: list[Draw]) -> Iterator[BoundNetwork]:
        count = max(1, _MADE_BYTES // self._bytes)
        for start in range(0, len(draws), count):
            yield from self._make(draws[start : start + count])

    def keeps(self, draws: list[Draw]) -> bool:
        """Whether the weights of so many draws are kept."""
        return len(draws) * self._bytes <= KEPT_BYTES

    def runs_for_moments(self, draws: list[Draw]) -> Iterator[BoundNetwork]:
        """Yields for each draw the network that gives the moments of its batches."""
        if not self._point.batch_norms:
            return
        for draw in draws:
            variables, (values,) = values_of_draws(self._point, [Draw(draw.noise)])
            if self._network_for_moments is None:
                self._network_for_moments = WithWeights(
                    self._point.moments_network, variables
                )
            network = self._network_for_moments
            yield BoundNetwork(network, network.pack(values))

    def _make(self, draws: list[Draw]) -> list[BoundNetwork]:
        variables, values = values_of_draws(self._point, draws)
        with self._lock:
            # Draws may bring moments where those before had none.
            if self._network is None or not self._network.takes(variables):
                self._network = WithWeights(self._runs_as, variables)
            network = self._network
        return [BoundNetwork(network, network.pack(one)) for one in values]


def values_of_draws(
    point: PointNetwork, draws: Sequence[Draw]
) -> tuple[list[keras.Variable], list[list]]:
    """Returns the variables of a network that draws fix, and each draw's values.

    Those that `set` would assign, but for the places of layers whose noise goes by
    the example (`start_at`), in copies of their own.

    Raises:
        ValueError: if a draw was made for another network.
    """
    for draw in draws:
        point.check_draw(draw)
    variables: list[keras.Variable] = []
    values: list[list[Tensor]] = [[] for _ in draws]
    for copy, weights in point.weights_of_draws(draws):
        place = copy.first_example if isinstance(copy, NoiseOfExamples) else None
        for i, variable in enumerate(point.drawn_variables(copy)):
            if variable is not place:
                variables.append(variable)
                for found, one in zip(values, weights, strict=True):
                    found.append(ops.copy(one[i]))
    names = {name for draw in draws for name in draw.moments}
    # Of a BatchNorm with drawn factors, the averages are among the weights of a draw.
    places = {id(variable): i for i, variable in enumerate(variables)}
    for name in [name for name in point.batch_norms if name in names]:
        norm = point.batch_norms[name]
        for i, variable in enumerate((norm.moving_mean, norm.moving_variance)):
            place = places.get(id(variable), len(variables))
            if place == len(variables):
                variables.append(variable)
                for found in values:
                    found.append(ops.copy(variable.value))
            for found, draw in zip(values, draws, strict=True):
                if name in draw.moments:
                    found[place] = ops.copy(draw.moments[name][i])
    return variables, values


def draws_key(draws: list[Draw]) -> tuple[int, int]:
    """Returns what other noise or other moments would change."""
    arrays: list[np.ndarray] = []
    for draw in draws:
        arrays.extend(draw.noise.values())
        for moments in draw.moments.values():
            arrays.extend(moments)
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    return len(draws), total
