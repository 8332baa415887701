"""Networks that predict with the weights of a draw, without copying them in."""

import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

from tfhyper.layers import StochasticLayer
from tfhyper.posterior.batches import checksum
from tfhyper.posterior.draws import Draw
from tfhyper.posterior.point_network import PointNetwork

# Of the weights of all draws, in bytes: what `Kept` keeps at most, and what it makes
# at a time where they are more.
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
    """

    def __init__(self, network: keras.Model, variables: Sequence[keras.Variable]):
        super().__init__(name=f"{network.name}_given", dtype="float32")
        # The network casts its inputs, as it does without.
        self.autocast = False
        self.network = network
        self.built = True
        # Each input of a compiled network takes time: the small ones are one vector.
        small = [v for v in variables if math.prod(v.shape) < _SMALL]
        self._packed = [(id(v), tuple(v.shape)) for v in small if v.dtype == "float32"]
        self._ids = list(map(id, variables))

    def takes(self, variables: Sequence[keras.Variable]) -> bool:
        """Whether these are the variables, in this order."""
        return self._ids == list(map(id, variables))

    def pack(self, values: Sequence) -> list:
        """Returns the weights as `call` takes them, from those of the variables."""
        weights = dict(zip(self._ids, values, strict=True))
        small = [ops.reshape(weights.pop(key), (-1,)) for key, _ in self._packed]
        return [*weights.values(), *([ops.concatenate(small)] if small else [])]

    def all_weights(self, packed: Sequence) -> list:
        """Returns the weights of a draw and the network's others, as its variables."""
        given, packed = {}, list(packed)
        if self._packed:
            ends = np.cumsum([math.prod(shape) for _, shape in self._packed])
            parts = ops.split(packed.pop(), ends[:-1].tolist())
            for (key, shape), part in zip(self._packed, parts, strict=True):
                given[key] = part if len(shape) == 1 else ops.reshape(part, shape)
        large = [key for key in self._ids if key not in given]
        given.update(zip(large, packed, strict=True))
        return [given.get(id(v), v.value) for v in self.network.variables]

    def call(self, inputs):
        """Returns the network's outputs for (its inputs, first example, weights)."""
        x, first, weights = inputs
        return call_with(self.network, self.all_weights(weights), x, first)


def call_with(network: keras.Model, weights: Sequence, x, first):
    """Returns the outputs of a network for weights that are not its own.

    Args:
        network: a plain network. It is not changed.
        weights: one tensor for each of its `variables`.
        x: its inputs.
        first: integer scalar tensor, the place in the data of the first of them.
    """
    places = {
        id(layer.first_example)
        for layer in network.layers
        if hasattr(layer, "first_example")
    }
    mapping = [
        (variable, ops.cast(first, "int32") if id(variable) in places else value)
        for variable, value in zip(network.variables, weights, strict=True)
    ]
    with keras.StatelessScope(mapping):
        return network(x, training=False)


class Run:
    """The network of one draw, ready to predict.

    Args:
        network: a `WithWeights`.
        weights: the draw's, as its `pack` gives them.

    Attributes:
        by_place: bool, whether what it gives for an input depends on its place in
            the data.
    """

    def __init__(self, network: WithWeights, weights: list):
        self._network, self._weights = network, weights
        self.by_place = any(
            hasattr(layer, "first_example") for layer in network.network.layers
        )

    def all_weights(self) -> list:
        """Returns the values of all the network's `variables` in this draw."""
        return self._network.all_weights(self._weights)

    def __call__(self, x, first: int = 0):
        """Returns the outputs for a batch whose first input has a place in the data."""
        inputs = x, np.int32(first), self._weights
        return self._network.predict_on_batch(inputs)


class Kept:
    """The weights of draws, made once and kept for the predictions to come.

    Those of all draws together are kept if they are not more than `KEPT_BYTES`;
    else they are made anew for each prediction, so many draws at a time as have
    `_MADE_BYTES`. They are forgotten when other draws, or other moments, come.

    Args:
        point: the network that draws are given to. Its other weights must stay as
            they are, or `forget` be called.
    """

    def __init__(self, point: PointNetwork):
        self._point, self._network = point, None
        self.forget()

    def forget(self) -> None:
        """Lets go of the weights."""
        self._values = self._key = None

    def runs(self, draws: list[Draw]) -> Iterator[Run]:
        """Yields a network for each draw.

        Raises:
            ValueError: if a draw was made for another network.
        """
        if self.keeps(draws):
            for values in self.values(draws):
                yield Run(self._network, values)
            return
        count = max(1, _MADE_BYTES // drawn_bytes(self._point))
        for start in range(0, len(draws), count):
            for values in self._make(draws[start : start + count]):
                yield Run(self._network, values)

    def keeps(self, draws: list[Draw]) -> bool:
        """Whether the weights of so many draws are kept."""
        return len(draws) * drawn_bytes(self._point) <= KEPT_BYTES

    def values(self, draws: list[Draw]) -> list[list]:
        """Returns each draw's weights, packed."""
        key = draws_key(draws)
        if key != self._key:
            self._values = None
            self._values, self._key = self._make(draws), key
        return self._values

    def _make(self, draws):
        variables, values = values_of_draws(self._point, draws)
        # Draws may bring moments where those before had none.
        if self._network is None or not self._network.takes(variables):
            self._network = WithWeights(self._point.network, variables)
        return list(map(self._network.pack, values))


def drawn_bytes(point: PointNetwork) -> int:
    """Returns the bytes of the weights of one draw, in float32."""
    layers = [
        copy
        for original, copy in point._pairs()
        if isinstance(original, StochasticLayer)
    ]
    return 4 * sum(x.count_params() for x in (*layers, *point.batch_norms.values()))


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
    variables, values = [], [[] for _ in draws]
    for copy, weights in point.weights_of_draws(draws):
        for i, variable in enumerate(copy.weights):
            if variable is not getattr(copy, "first_example", None):
                variables.append(variable)
                for found, one in zip(values, weights, strict=True):
                    found.append(ops.copy(one[i]))
    names = {name for draw in draws for name in draw.moments}
    for name in [name for name in point.batch_norms if name in names]:
        norm = point.batch_norms[name]
        own = norm.moving_mean, norm.moving_variance
        variables.extend(own)
        for found, draw in zip(values, draws, strict=True):
            found.extend(map(ops.copy, draw.moments.get(name, own)))
    return variables, values


def draws_key(draws: list[Draw]) -> tuple[int, int]:
    """Returns what other noise or other moments would change."""
    arrays = []
    for draw in draws:
        arrays.extend(draw.noise.values())
        for moments in draw.moments.values():
            arrays.extend(moments)
    return len(draws), checksum(arrays)
