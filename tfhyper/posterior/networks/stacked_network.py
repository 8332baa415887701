"""Networks that hold N draws of their random layers side by side."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from tfhyper.channelwise import is_channelwise, is_elementwise
from tfhyper.layers import StochasticLayer
from tfhyper.layers.live_config import live_config
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.networks.segments import Calls
from tfhyper.posterior.networks.stacked_tensor import (
    StackedTensor,
    join,
    wide_copy,
    widen,
)
from tfhyper.tensor_types import Structure, Tensor

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)

# What makes the weights of one layer, of the weights of those of all draws.
Arrange: TypeAlias = Callable[[Iterator[list[Tensor]]], list[Tensor]]


@dataclasses.dataclass
class _StandIn:
    """What stands for one operation.

    Attributes:
        original: the operation.
        layers: one layer that holds all copies, or a layer for each copy.
        arrange: of a random layer that became one layer: called with the weights
            of all draws, returns its weights.
    """

    original: keras.Operation
    layers: list[keras.Layer]
    arrange: Arrange | None = None


class StackedNetwork(PointNetwork):
    """A plain network that averages over draws inside of itself.

    From its first random layer on, a part of the network has N times the channels:
    copy i of a tensor is in the channels i C ... (i + 1) C - 1. BatchNorm's affine
    parameters are repeated, and layers that do not draw treat each copy alike. At
    the end of the part stands the mean of the copies. A subclass says where parts
    end (`ends`) and whether a random layer mixes the copies (`mixes`).

    Grouped, depthwise and transposed convolutions, and random layers without a
    kernel, never mix: copy i has draw i.

    Args:
        model: a functional or built Sequential model.
        num_draws: int > 1, N.
        **options: as for `PointNetwork`.

    Raises:
        ValueError: as `PointNetwork`, or if no layer draws, or nothing can be
            averaged.
    """

    averaging = ""  # the form's name
    mixes = False

    def __init__(self, model: keras.Model, num_draws: int, **options: Any):
        self.num_copies = num_draws
        # (id of an operation, how it is called) -> _StandIn
        self._made: dict[tuple[int, str], _StandIn] = {}
        calls = Calls(model, **options)
        self._ends = self.ends(calls)
        self._check_memory(calls.drawn_weights * self.noise_count)
        self._number = -1
        # Its layers have other sizes, or other moments for each copy.
        super().__init__(model, **options, own=True)

    @classmethod
    def ends(cls, calls: "Calls") -> set[int]:
        """Returns the numbers of the calls whose outputs are averaged."""
        raise NotImplementedError

    def _check_memory(self, weights: int) -> None:
        # Held twice for a moment: as drawn, and in the network. In float32.
        needed, available = 2 * 4 * weights, available_memory()
        if available is not None and needed > available:
            raise ValueError(
                f'`num_draws` is too large for `averaging="{self.averaging}"`: its '
                f"{weights:,} drawn weights need {needed / 2**30:.1f} GiB, and "
                f"{available / 2**30:.1f} GiB are free. "
                f"Received: num_draws={self.num_copies}"
            )

    @property
    def noise_count(self) -> int:
        """Draws of each random layer: N, or N^2 where copies are mixed."""
        return self.num_copies ** (2 if self.mixes else 1)

    def sample(self, seed: int, index: int) -> Draw:
        """Returns draw number `index`: the noise of N, or N^2, draws stacked."""
        first = index * self.noise_count
        draws = [
            super(StackedNetwork, self).sample(seed, first + i)
            for i in range(self.noise_count)
        ]
        names = draws[0].noise
        return Draw({n: np.stack([draw.noise[n] for draw in draws]) for n in names})

    def fresh(self, seed: Tensor, index: Tensor) -> Draw:
        """As `sample`, in tensors: lists of the noise of N, or N^2, draws."""
        first = index * self.noise_count
        draws = [
            super(StackedNetwork, self).fresh(seed, first + i)
            for i in range(self.noise_count)
        ]
        return Draw({n: [draw.noise[n] for draw in draws] for n in draws[0].noise})

    def _call(self, operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        self._number += 1
        outputs = super()._call(operation, *args, **kwargs)
        if self._number in self._ends:
            outputs = self._mean(outputs, self._name(operation, "mean"))
        return outputs

    def _finish(self, outputs: Structure) -> Structure:
        return keras.tree.map_structure(
            lambda x: self._mean(x, self._copies.take_name("mean")), outputs
        )

    def _mean(self, x: Tensor | StackedTensor, name: str) -> Tensor:
        return x.mean(name) if isinstance(x, StackedTensor) else x

    def _call_fixed(
        self, operation: keras.Operation, *args: Any, **kwargs: Any
    ) -> Structure:
        leaves = keras.tree.flatten((args, kwargs))
        wide = next((x for x in leaves if isinstance(x, StackedTensor)), None)
        if wide is None:
            return super()._call_fixed(operation, *args, **kwargs)
        if not _takes_wide(operation, args, kwargs):
            return self._call_each(operation, wide.axis, args, kwargs)
        made = self._make(
            operation,
            "together",
            lambda name: [wide_copy(type(operation), live_config(operation), name)],
        )
        (layer,) = made.layers
        if kwargs.get("training") is False:
            self._held.add(id(layer))
        name = self._name(operation, "wide")
        # Arguments by name, such as a mask, are the same for all copies.
        args = keras.tree.map_structure(
            lambda x: (
                widen(x, wide.copies, wide.axis, name).tensor
                if isinstance(x, StackedTensor | keras.KerasTensor)
                else x
            ),
            args,
        )
        return StackedTensor(layer(*args, **kwargs), wide.copies, wide.axis)

    def _call_noise(
        self, operation: keras.Operation, args: tuple, kwargs: dict[str, Any]
    ) -> Structure:
        leaves = keras.tree.flatten((args, kwargs))
        axis = next((x.axis for x in leaves if isinstance(x, StackedTensor)), -1)
        return self._call_each(operation, axis, args, kwargs)

    def _call_each(
        self,
        operation: keras.Operation,
        axis: int,
        args: Sequence,
        kwargs: dict[str, Any],
    ) -> Structure:
        """Calls a layer of its own on each copy, and joins what they give."""
        count = self.num_copies
        made = self._make(
            operation,
            "each",
            lambda name: [
                self._copy(operation, self._copies.take_name(f"{name}_{i}"))
                for i in range(count)
            ],
        )
        outputs = []
        for i, layer in enumerate(made.layers):
            if kwargs.get("training") is False:
                self._held.add(id(layer))
            own_args, own_kwargs = keras.tree.map_structure(
                lambda x, i=i: x.split()[i] if isinstance(x, StackedTensor) else x,
                (args, kwargs),
            )
            outputs.append(layer(*own_args, **own_kwargs))
        return keras.tree.map_structure(
            lambda *parts: join(list(parts), axis, self._name(operation, "join")),
            *outputs,
        )

    def _call_drawn(
        self, operation: StochasticLayer, args: tuple, kwargs: dict[str, Any]
    ) -> Structure:
        leaves = keras.tree.flatten((args, kwargs))
        wide = next((x for x in leaves if isinstance(x, StackedTensor)), None)
        if not self.draws(operation) and wide is None:
            return super()._call_drawn(operation, args, kwargs)
        if operation.takes_all_arguments:
            axis = -1 if wide is None else wide.axis
            return self._call_each(operation, axis, args, kwargs)
        (inputs,) = args
        point = operation.point_layer()
        axis = getattr(operation, "channel_axis", -1)
        if isinstance(inputs, StackedTensor):
            axis = inputs.axis
        arrange, changes = self._arrangement(point, inputs)
        if arrange is None:
            return self._call_each(operation, axis, [inputs], {})
        if "groups" in changes or type(point) is keras.layers.DepthwiseConv2D:
            inputs = widen(inputs, self.num_copies, axis, self._name(operation, "wide"))
        config = {**live_config(point), **changes}
        activation = getattr(point, "activation", None)
        together = is_elementwise(activation)
        if not together:
            config["activation"] = None
        made = self._make(
            operation,
            "together" if isinstance(inputs, StackedTensor) else "first",
            lambda name: [wide_copy(type(point), config, name)],
            arrange,
        )
        x = inputs.tensor if isinstance(inputs, StackedTensor) else inputs
        outputs = StackedTensor(made.layers[0](x), self.num_copies, axis)
        if together or activation is None:
            return outputs
        return self._activate(operation, activation, outputs)

    def _activate(
        self,
        operation: StochasticLayer,
        activation: Callable[[Tensor], Tensor],
        outputs: StackedTensor,
    ) -> StackedTensor:
        """Calls an activation that may mix channels on one copy after another."""
        layer = keras.layers.Activation(
            activation,
            name=self._name(operation, "activation"),
            dtype=operation.dtype_policy,
        )
        name = self._name(operation, "join")
        return join([layer(x) for x in outputs.split()], outputs.axis, name)

    def _arrangement(
        self, point: keras.Layer, inputs: Tensor | StackedTensor
    ) -> tuple[Arrange | None, dict[str, int]]:
        """Returns how the kernels of all draws are one, and the layer's arguments.

        `None` where there has to be a layer for each copy.
        """
        count, wide = self.num_copies, isinstance(inputs, StackedTensor)
        first = getattr(point, "data_format", None) == "channels_first"
        if wide and not inputs.is_along(1 if first else -1):
            return None, {}
        if type(point) in _CONVOLUTIONS:
            filters = {"filters": count * point.filters}
            if not wide and point.groups == 1:
                return functools.partial(_side_by_side, -1, count), filters
            if self.mixes and point.groups == 1:
                return functools.partial(_mixing, count), filters
            groups = {"groups": count * point.groups}
            return functools.partial(_side_by_side, -1, count), {**filters, **groups}
        if type(point) is keras.layers.DepthwiseConv2D:
            return functools.partial(_side_by_side, -2, count), {}
        if type(point) is keras.layers.Dense and (self.mixes or not wide):
            arrange = functools.partial(_mixing, count)
            if not wide:
                arrange = functools.partial(_side_by_side, -1, count)
            return arrange, {"units": count * point.units}
        return None, {}

    def _make(
        self,
        operation: keras.Operation,
        how: str,
        make: Callable[[str], list[keras.Layer]],
        arrange: Arrange | None = None,
    ) -> _StandIn:
        """Returns what `make(name)` made for calls of one kind of an operation."""
        key = id(operation), how
        if key not in self._made:
            name = self._name(operation)
            self._made[key] = _StandIn(operation, make(name), arrange)
        return self._made[key]

    def _name(self, operation: keras.Operation, suffix: str | None = None) -> str:
        name = operation.name if suffix is None else f"{operation.name}_{suffix}"
        return self._copies.take_name(name)

    def pairs(self) -> Iterator[tuple]:
        """Yields operations and each layer that stands for them."""
        yield from super().pairs()
        for made in self._made.values():
            for layer in made.layers:
                yield made.original, layer

    def repeats(self) -> Iterator[tuple]:
        """Yields variables of copies of what does not draw, and of the first copy."""
        for made in self._made.values():
            first, *others = made.layers
            if not isinstance(made.original, StochasticLayer):
                for layer in others:
                    for pair in zip(layer.weights, first.weights, strict=True):
                        if pair[0] is not pair[1]:  # of a layer that is used
                            yield pair

    def _copy_layer_weights(self, original: keras.Layer, copy: keras.Layer) -> None:
        if [w.shape for w in original.weights] == [w.shape for w in copy.weights]:
            super()._copy_layer_weights(original, copy)
        else:  # a BatchNorm of all copies
            times = self.num_copies
            copy.set_weights([np.tile(w, times) for w in original.get_weights()])

    def weights_of_draws(
        self, draws: Sequence[Draw]
    ) -> Iterator[tuple[keras.Layer, list[list]]]:
        """Yields layers of `network` and their weights: a draw holds all of them."""
        for layers in zip(*map(self._wide_weights, draws), strict=True):
            yield layers[0][0], [weights for _, weights in layers]

    def _wide_weights(self, draw: Draw) -> Iterator[tuple[keras.Layer, list[Tensor]]]:
        for original, copy in super().pairs():
            if isinstance(original, StochasticLayer):  # one that does not draw
                noise = draw.noise[self._sources[id(original)]]
                (weights,) = self._weights_of(original, noise[:1])
                yield copy, weights
        for made in self._made.values():
            if not isinstance(made.original, StochasticLayer):
                continue
            noise = draw.noise[self._sources[id(made.original)]]
            if len(noise) != self.noise_count:
                raise ValueError(
                    "The draw was made for another network: it holds noise of "
                    f"{len(noise)} draws, the network takes {self.noise_count}."
                )
            each = iter(self._weights_of(made.original, noise))
            if made.arrange is None:
                yield from zip(made.layers, each, strict=False)
            else:
                yield made.layers[0], made.arrange(each)


def _takes_wide(operation: keras.Operation, args: Structure, kwargs: Structure) -> bool:
    """Whether one call of a layer does with all copies what N calls do with each."""
    tensors = keras.tree.flatten(args)
    if not all(isinstance(x, StackedTensor | keras.KerasTensor) for x in tensors):
        return False  # a number, or an array, for all copies
    if any(
        isinstance(x, StackedTensor | keras.KerasTensor)
        for x in keras.tree.flatten(kwargs)
    ):
        return False
    axes = {x.axis for x in tensors if isinstance(x, StackedTensor)}
    (axis, *others) = axes
    return not others and is_channelwise(operation, axis, [x.shape for x in tensors])


def _side_by_side(
    axis: int, count: int, weights: Iterator[list[Tensor]]
) -> list[Tensor]:
    """Returns a kernel (..., N C) of N kernels, copy i by draw i, and the bias."""
    kernels, *biases = zip(*[next(weights) for _ in range(count)], strict=True)
    joined = [ops.concatenate(bias, axis=0) for bias in biases]
    return [ops.concatenate(kernels, axis=axis), *joined]


def _mixing(count: int, weights: Iterator[list[Tensor]]) -> list[Tensor]:
    """Returns a kernel (..., N C, N C') of N^2, output j = mean_i W_ij x_i + b_ij."""
    rows: list[Tensor] = []
    sums: list[Tensor] = []
    for _ in range(count):
        kernel, *bias = _side_by_side(-1, count, weights)
        sums = [a + b for a, b in zip(sums, bias, strict=True)] if rows else bias
        rows.append(kernel)
    return [ops.concatenate(rows, axis=-2) / count, *[b / count for b in sums]]


def available_memory() -> int | None:
    """Returns the bytes of memory that are free, `None` if that is not known."""
    try:
        with open("/proc/meminfo") as file:
            sizes = dict(line.split(":", 1) for line in file)
        return 1024 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None
