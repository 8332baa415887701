"""The layers that a skeleton is filled with."""

import dataclasses
import zlib
from collections.abc import Callable

import keras

from tfhyper.checks import (
    check_function,
    check_instance,
    check_positive_integer,
    check_text,
)
from tfhyper.layers import Dropout
from tfhyper.layers.live_config import live_config
from tfhyper.layers.seeds import derive_seed


def layer_name(path: str) -> str:
    """Returns a path as a layer name: Keras refuses slashes."""
    return path.replace("/", "_")


# What the convolutions of residual networks have in common.
CONV_OPTIONS = {
    "padding": "same",
    "use_bias": False,
    "kernel_initializer": "he_normal",
}


def conv2d(filters, kernel_size, *, name, **options):
    """Convolution of residual networks: same padding, no bias, He's method."""
    return keras.layers.Conv2D(
        filters, kernel_size, name=layer_name(name), **{**CONV_OPTIONS, **options}
    )


def dense(units, *, name):
    """The classification layer."""
    return keras.layers.Dense(
        units, kernel_initializer="he_normal", name=layer_name(name)
    )


def keep(layer, path):
    """Returns the layer as it is."""
    return layer


def through(replace, maker):
    """Returns `maker`, its layers gone through `replace(layer, path)`."""

    def make(*args, name, **options):
        return replace(maker(*args, name=name, **options), name)

    return make


def counterpart(layer, classes):
    """Returns the one of `classes` that stands for a stock layer's class."""
    return next(cls for cls in classes if cls.point_class is type(layer))


def weight_of_kl(kit, num_examples):
    """Returns 1 / num_examples, for the KL divergence in the loss of one example.

    Raises:
        ValueError: if `num_examples` is missing or not a positive integer.
    """
    if num_examples is None:
        raise ValueError(
            "`num_examples` must be given: the KL divergence is divided by the "
            f"number of training examples. Write kit=tfhyper.kits.{kit}("
            f'num_examples=len(x_train)) in place of kit="{kit}". '
            "Received: num_examples=None"
        )
    return 1.0 / check_positive_integer("num_examples", num_examples)


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
        conv: `(filters, kernel_size, *, name, **options)`, the convolutions
            inside the residual blocks. Options are those of
            `keras.layers.Conv2D`, `CONV_OPTIONS` unless others are given.
        stem: the same, for the convolutions outside of them.
        dense: `(units, *, name)`.
        norm: `(*, name)`.
        dropout: `(rate, *, name)`.
        replace: `(layer, path)`, returns what takes the place of a stock layer
            of the kinds in `replaces`: something to call on a tensor, whose
            layer has the name of the stock one. For `tfhyper.convert`.
        replaces: the classes of stock layers that `replace` takes.
        open: called once for each network, returns the fields that hold state
            of that network, such as the codes its layers share.

    Raises:
        TypeError: for a field of another kind.

    Example:

    >>> def norm(*, name):
    ...     name = tfhyper.kits.kit.layer_name(name)
    ...     return keras.layers.LayerNormalization(name=name)
    >>> kit = dataclasses.replace(tfhyper.kits.hyper(), norm=norm)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    >>> sum(isinstance(x, keras.layers.LayerNormalization) for x in model.layers)
    7
    """

    name: str = "deterministic"
    conv: Callable = conv2d
    stem: Callable = conv2d
    dense: Callable = dense
    norm: Callable = batch_norm
    dropout: Callable = dropout
    replace: Callable = keep
    replaces: tuple[type, ...] = ()
    open: Callable[[], dict] = dict

    def __post_init__(self):
        check_text("name", self.name)
        for name in ("conv", "stem", "dense", "norm", "dropout", "replace", "open"):
            check_function(name, getattr(self, name))
        rule = "a tuple of classes of layers"
        for kind in check_instance("replaces", self.replaces, tuple, rule):
            check_instance("replaces", kind, type, rule)

    def for_network(self) -> "LayerKit":
        """Returns the kit with fresh state for one network."""
        return dataclasses.replace(self, **self.open())


def variational_kit(name, classes, options, seed) -> LayerKit:
    """Returns the kit that gives every kernel a posterior of its own.

    Args:
        name: of the kit.
        classes: layers with a `point_class`, which they stand for.
        options: their arguments, besides those of the stock layers.
        seed: int, from which the seeds of all layers are derived.
    """

    def replace(layer, path):
        cls = counterpart(layer, classes)
        return cls.from_config(
            {
                **live_config(layer),
                # The prior takes the place of a regularizer.
                f"{cls.kernel_argument}_regularizer": None,
                "seed": derive_seed(seed, zlib.crc32(path.encode())),
                **options,
            }
        )

    return LayerKit(
        name=name,
        conv=through(replace, conv2d),
        stem=through(replace, conv2d),
        dense=through(replace, dense),
        replace=replace,
        replaces=tuple(cls.point_class for cls in classes),
    )
