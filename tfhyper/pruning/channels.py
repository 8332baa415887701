"""Which layers of a network can lose filters, and which layers read their channels."""

from typing import Any

import keras

from tfhyper import keras_graph
from tfhyper.channelwise import (
    is_channelwise,
    is_channelwise_noise,
    is_elementwise,
)
from tfhyper.layers import priors
from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.pruning import kernels
from tfhyper.tensor_types import Structure, Tensor

_SUMMING = kernels.FORWARD + kernels.TRANSPOSED


class Channels:
    """Follows the channels of each layer with filters to the layers that read them.

    A layer's filters can go if every path from it runs through layers that act
    on each channel by itself, and ends in a convolution or dense layer, which
    sums over them. Channels are the last axis; behind a Flatten, position j of
    it belongs to channel j mod (number of channels).

    Args:
        model: a functional or built Sequential model.
        keep: set of names of layers that keep their filters.

    Attributes:
        layers: list of the layers with filters, in the order of the graph.
        stays: id of one of them -> why its filters stay.
        sources: id of a layer that sums over channels, or a BatchNorm -> the one
            of `layers` whose channels come in, or `None`.
    """

    def __init__(self, model: keras.Model, keep: set[str]):
        self.layers: list[keras.Layer] = []
        self.stays: dict[int, str] = {}
        self.sources: dict[int, keras.Layer | None] = {}
        self._keep = keep
        # id of a tensor -> (tensor, layer whose channels it has)
        self._origins: dict[int, tuple[Tensor, keras.Layer | None]] = {}
        _, outputs = keras_graph.rebuild(model, self._call)
        for output in keras.tree.flatten(outputs):
            self._hold(self._origin(output), "its channels are an output of the model")

    def _origin(self, tensor: Tensor) -> keras.Layer | None:
        return self._origins.get(id(tensor), (None, None))[1]

    def _hold(self, layer: keras.Layer | None, reason: str) -> None:
        if layer is not None:
            self.stays.setdefault(id(layer), reason)

    def _call(self, operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        origins = [self._origin(x) for x in keras.tree.flatten((args, kwargs))]
        # Shapes alone: nothing is computed, and the operation joins no other graph.
        outputs = operation.compute_output_spec(*args, **kwargs)
        if kernels.has_kernel(operation) and operation not in self.layers:
            self._add(operation)
        if _sums_channels(operation):
            self._read(operation, origins[0])
            origin = operation
        elif _acts_by_channel(operation, args, kwargs):
            if isinstance(operation, keras.layers.BatchNormalization):
                self._read(operation, origins[0])
            origin = origins[0]
        else:
            kind = type(operation).__name__
            for layer in origins:
                self._hold(layer, f"its channels go to '{operation.name}' ({kind})")
            origin = None
        for output in keras.tree.flatten(outputs):
            self._origins[id(output)] = (output, origin)
        return outputs

    def _add(self, layer: keras.Layer) -> None:
        self.layers.append(layer)
        if layer.name in self._keep:
            self._hold(layer, "it is in `keep`")
        elif not _sums_channels(layer):
            self._hold(
                layer, "it is depthwise, grouped, channels first, or of an unknown kind"
            )
        elif not is_elementwise(layer.activation):
            self._hold(layer, "its activation may mix channels")

    def _read(self, reader: keras.Layer, source: keras.Layer | None) -> None:
        known = self.sources.setdefault(id(reader), source)
        if known is not source:
            for layer in (known, source):
                self._hold(layer, f"'{reader.name}' reads other channels, too")


def _sums_channels(operation: keras.Operation) -> bool:
    """Tells whether a layer sums over its input's channels, by its kernel alone."""
    if isinstance(operation, GaussianKernel):
        known = isinstance(operation, _SUMMING) and _is_same_for_all(operation.prior)
    else:
        known = type(operation) in _SUMMING
    return known and _is_last(operation) and getattr(operation, "groups", 1) == 1


def _is_same_for_all(prior: Any) -> bool:
    # A prior of one weight's own would have to be sliced, too.
    if not isinstance(prior, dict):
        return True
    prior = priors.deserialize(prior)
    return not tuple(prior.batch_shape) and not tuple(prior.event_shape)


def _acts_by_channel(
    operation: keras.Operation, args: tuple, kwargs: dict[str, Any]
) -> bool:
    tensors = [
        x
        for x in keras.tree.flatten((args, kwargs))
        if isinstance(x, keras.KerasTensor)
    ]
    if len(tensors) != 1 or len(keras.tree.flatten(args)) != 1:
        return False
    if type(operation) is keras.layers.Flatten:
        return _is_last(operation)
    by_channel = is_channelwise(operation, -1, [tensors[0].shape])
    return by_channel or is_channelwise_noise(operation)


def _is_last(operation: keras.Operation) -> bool:
    return getattr(operation, "data_format", None) in (None, "channels_last")
