"""The layers that a skeleton is filled with."""

import dataclasses
from collections.abc import Callable

import keras

from tfhyper.layers import Dropout


def layer_name(path: str) -> str:
    """Returns a path as a layer name: Keras refuses slashes."""
    return path.replace("/", "_")


# What the convolutions of residual networks have in common.
CONV_OPTIONS = {
    "padding": "same",
    "use_bias": False,
    "kernel_initializer": "he_normal",
}


def conv2d(filters, kernel_size, *, strides=1, groups=1, name):
    """Convolution of residual networks: same padding, no bias, He's method."""
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        groups=groups,
        name=layer_name(name),
        **CONV_OPTIONS,
    )


def dense(units, *, name):
    """The classification layer."""
    return keras.layers.Dense(
        units, kernel_initializer="he_normal", name=layer_name(name)
    )


def batch_norm(*, name):
    """BatchNorm as in the reference code of wide residual networks."""
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, name=layer_name(name)
    )


def dropout(rate, *, name):
    """Dropout, on in training only."""
    return Dropout(rate, name=layer_name(name))


@dataclasses.dataclass(frozen=True)
class LayerKit:
    """Makers of the layers of a network; a skeleton names none itself.

    Each maker returns something to call on a tensor. Names are paths,
    `stage1_block2/conv1`, whose parts tell a strategy what belongs together; a
    maker names its layer `layer_name(path)`. To mix kits, replace a field.

    Attributes:
        name: name of the kit, for tables and files.
        conv: `(filters, kernel_size, *, strides, groups, name)`, the
            convolutions inside the residual blocks.
        stem: the same, for the convolutions outside of them.
        dense: `(units, *, name)`.
        norm: `(*, name)`.
        dropout: `(rate, *, name)`.
        open: called once for each network, returns the fields that hold state
            of that network, such as the codes its layers share.

    Example:

    >>> kit = dataclasses.replace(tfhyper.kits.hyper(), norm=my_norm)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    """

    name: str = "deterministic"
    conv: Callable = conv2d
    stem: Callable = conv2d
    dense: Callable = dense
    norm: Callable = batch_norm
    dropout: Callable = dropout
    open: Callable[[], dict] = dict

    def for_network(self) -> "LayerKit":
        """Returns the kit with fresh state for one network."""
        return dataclasses.replace(self, **self.open())
