"""What is frozen inside of a layer and what is not, which no config tells."""

from typing import TypeAlias

import keras

from tfhyper import keras_private

# Number among the layers inside of another one, itself number 0 -> `trainable`.
Trainable: TypeAlias = dict[int, bool]


def trainable_inside(layer: keras.Layer) -> Trainable:
    """Returns `trainable` of those inside of a layer where it is not the layer's."""
    inside = keras_private.flatten_layers(layer)
    return {
        i: inner.trainable
        for i, inner in enumerate(inside)
        if inner.trainable != layer.trainable
    }


def set_trainable_inside(layer: keras.Layer, wanted: Trainable) -> None:
    """Freezes and thaws those inside of a built layer.

    Args:
        layer: made from the config of another one.
        wanted: what `trainable_inside` says of the other one.
    """
    inside = list(keras_private.flatten_layers(layer))
    for place, trainable in wanted.items():
        # Not where nothing changes: it would thaw the kernel beside an adapter.
        if inside[place].trainable != trainable:
            inside[place].trainable = trainable
