"""Dropout layers that are off in prediction, as `MCDropout`, which is on."""

from typing import Any

import keras

from tfhyper.layers.dropout import Dropout
from tfhyper.layers.mc_dropout import MCDropout

# Class -> axes of its inputs, if it drops whole channels.
DROPOUTS = {
    Dropout: None,
    keras.layers.Dropout: None,
    keras.layers.SpatialDropout1D: 3,
    keras.layers.SpatialDropout2D: 4,
    keras.layers.SpatialDropout3D: 5,
}


def mask_shape(layer: keras.Layer) -> tuple[int | None, ...] | None:
    """Returns the `noise_shape` of `MCDropout` for a layer of `DROPOUTS`."""
    rank = DROPOUTS[type(layer)]
    if rank is None:
        return layer.noise_shape
    first = getattr(layer, "data_format", None) == "channels_first"
    return mask_of_channels(rank, first)


def mask_of_channels(rank: int, channels_first: bool) -> tuple[int | None, ...]:
    """Returns the `noise_shape` of one entry for each channel of each example.

    Args:
        rank: axes of the inputs, that of the examples among them.
        channels_first: where the channels are.
    """
    channels = 1 if channels_first else rank - 1
    return tuple(None if axis in (0, channels) else 1 for axis in range(rank))


def drops(layer: Any) -> bool:
    """Says whether a layer is one of `DROPOUTS` that drops anything in training."""
    return type(layer) in DROPOUTS and layer.rate > 0


def as_mc_dropout(layer: keras.Layer) -> MCDropout:
    """Returns an `MCDropout` of the rate, masks, name and dtype of a stock layer.

    Raises:
        ValueError: for a rate of 1, or masks that the examples of a batch share in
            part.
    """
    try:
        return MCDropout(
            layer.rate,
            mask_shape(layer),
            # The seed of the layer's own calls; a draw has another.
            seed=0,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    except ValueError as error:
        raise ValueError(f"Layer '{layer.name}' has no draws: {error}") from error
