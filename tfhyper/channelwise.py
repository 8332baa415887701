"""Which layers act on each channel by itself: the one table, and a closed one.

What is not in it may do anything with its channels: subclasses, lambdas, functions
of a user or of a backend, and what Keras will add.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfhyper.layers import Dropout, MCDropout
from tfhyper.tensor_types import Shape

_ELEMENTWISE_ACTIVATIONS = (
    "celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish "
    "hard_tanh leaky_relu linear log_sigmoid mish relu relu6 selu sigmoid silu "
    "soft_shrink softplus softsign sparse_plus sparse_sigmoid squareplus swish tanh "
    "tanh_shrink"
).split()
# Class -> its arguments that have to be single numbers: arrays may go by the channel.
_ELEMENTWISE = {
    keras.layers.ELU: ("alpha",),
    keras.layers.Identity: (),
    keras.layers.LeakyReLU: ("negative_slope",),
    keras.layers.ReLU: ("max_value", "negative_slope", "threshold"),
    keras.layers.Rescaling: ("scale", "offset"),
}
_MERGING = {
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
}
# Layers that act on the positions of each channel. Those without a `data_format` have
# the channels last.
_SPATIAL = {
    getattr(keras.layers, f"{name}{rank}D")
    for name in (
        "AveragePooling",
        "Cropping",
        "GlobalAveragePooling",
        "GlobalMaxPooling",
        "MaxPooling",
        "UpSampling",
        "ZeroPadding",
    )
    for rank in (1, 2, 3)
}
_NOISE = {
    Dropout,
    MCDropout,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
}


def is_elementwise(activation: Any) -> bool:
    """Whether an activation is known to act on each number by itself.

    Args:
        activation: the `activation` of a layer: a function of
            `keras.activations`, or anything else; `None` does nothing.
    """
    return activation is None or any(activation is known for known in _known())


def _known() -> list[Callable]:
    # Another version of Keras may lack some of them.
    found = (getattr(keras.activations, x, None) for x in _ELEMENTWISE_ACTIVATIONS)
    return [function for function in found if function is not None]


def is_channelwise(
    operation: keras.Operation, axis: int, shapes: Sequence[Shape]
) -> bool:
    """Whether each channel of the outputs comes from that channel of the inputs.

    Then a layer may be called on several tensors that are concatenated along the
    axis, in place of one after the other. BatchNorm, the one layer here with
    weights, has them for each channel.

    Args:
        operation: a layer or operation of a graph.
        axis: the axis of the channels, from 0 or from the end.
        shapes: of the tensors that it is called on, with the batch.

    Example:

    >>> is_channelwise(keras.layers.ReLU(), -1, [(None, 8, 8, 16)])
    True
    """
    kind, rank = type(operation), len(shapes[0])
    if kind is keras.layers.Activation:
        return is_elementwise(operation.activation)
    if kind in _ELEMENTWISE:
        return all(np.ndim(getattr(operation, x)) == 0 for x in _ELEMENTWISE[kind])
    if kind in _MERGING:
        # Nothing is broadcast along the axis.
        sizes = {(len(shape), shape[axis]) for shape in shapes if -1 <= axis < rank}
        return len(sizes) == 1 and (rank, None) not in sizes
    if kind in _SPATIAL:
        first = getattr(operation, "data_format", None) == "channels_first"
        return axis % rank == (1 if first else rank - 1)
    if kind is keras.layers.BatchNormalization:
        return operation.axis % rank == axis % rank
    return False


def is_channelwise_noise(operation: keras.Operation) -> bool:
    """Whether a layer is in prediction the identity, or drops numbers or channels.

    In training its noise is independent of the channels' places, or one number for
    each channel.

    Args:
        operation: a layer or operation of a graph, with channels last.
    """
    first = getattr(operation, "data_format", None) == "channels_first"
    plain = getattr(operation, "noise_shape", None) is None
    return type(operation) in _NOISE and plain and not first
