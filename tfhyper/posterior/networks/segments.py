"""Where the paths through a network meet: the ends of its residual blocks."""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import keras

from tfhyper.posterior.networks.point_network import PointNetwork, drawn_variables
from tfhyper.tensor_types import Structure

# A part of a network between points that all paths meet in: whether it branches,
# whether a layer in it draws, and the number of the call that ends it.
Segment: TypeAlias = tuple[bool, bool, int | None]
# A call: its number, whether it draws, the operation, its inputs and outputs.
Call: TypeAlias = tuple[
    int, bool, keras.Operation, list[keras.KerasTensor], list[keras.KerasTensor]
]


class Calls:
    """The calls of a network's operations, and how one feeds another.

    Args:
        model: a functional or built Sequential model.
        **options: as for `PointNetwork`.

    Attributes:
        drawn_weights: how many weights the layers that draw have in one draw.
    """

    def __init__(self, model: keras.Model, **options: Any):
        self.model = model
        recorder = _Recorder(model, **options)
        self._calls = recorder.calls
        self.drawn_weights = sum(
            math.prod(variable.shape)
            for original, layer in recorder.pairs()
            if recorder.draws(original)
            for variable in drawn_variables(layer)
        )
        made_by = {id(x): -1 for x in recorder.network.inputs}
        last_use = {-1: -1}
        for number, (*_, inputs, outputs) in enumerate(self._calls):
            made_by.update((id(x), number) for x in outputs)
            for x in inputs:
                if id(x) in made_by:
                    last_use[made_by[id(x)]] = number
        for x in recorder.network.outputs:
            last_use[made_by[id(x)]] = len(self._calls)
        # A call that no path goes around: nothing before it is used after it.
        self._cuts, furthest = [], last_use[-1]
        for number in range(len(self._calls)):
            if furthest <= number:
                self._cuts.append(number)
            furthest = max(furthest, last_use.get(number, number))

    def segments(self) -> Iterator[Segment]:
        """Yields the parts of the network between points that all paths meet in.

        For each (whether it branches, whether a layer in it draws, the number of
        the call that ends it). The number is that of the calls in `graph.rebuild`;
        `None` for a part that ends in several outputs. Operations without weights
        that alone follow a part, such as the ReLU after a sum, belong to it.
        """
        first = 0
        for cut in self._cuts:
            draws = any(call[1] for call in self._calls[first : cut + 1])
            yield cut > first, draws, self._calls[self._extended(cut)][0]
            first = cut + 1
        if first < len(self._calls):
            yield True, any(call[1] for call in self._calls[first:]), None

    def _extended(self, cut: int) -> int:
        while cut + 1 in self._cuts:
            _, draws, operation, *_ = self._calls[cut + 1]
            if draws or getattr(operation, "weights", []):
                break
            cut += 1
        return cut


class _Recorder(PointNetwork):
    """Notes (number, whether it draws, operation, inputs, outputs) of each call."""

    def __init__(self, model: keras.Model, **options: Any):
        self.calls: list[Call] = []
        self._number = -1
        super().__init__(model, **options, own=False)

    def _call(self, operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        self._number += 1
        outputs = super()._call(operation, *args, **kwargs)
        if not any(id(x) in self._codes for x in keras.tree.flatten(outputs)):
            stands_for = self.stand_ins.known(operation)
            tensors = [
                x
                for x in keras.tree.flatten((args, kwargs))
                if isinstance(x, keras.KerasTensor)
            ]
            call = self._number, self.draws(stands_for), operation, tensors
            self.calls.append((*call, keras.tree.flatten(outputs)))
        return outputs
