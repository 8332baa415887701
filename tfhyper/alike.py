"""Whether a layer that was made from another one's config is the same."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.layers.live_config import live_config, own_functions

# What every layer has, and Keras keeps for itself. The last is the mark of a layer that
# was made with arguments by place, which a copy from its config is not.
_OF_ALL_LAYERS = frozenset(vars(keras.layers.Layer())) | {"_auto_config_error_args"}

# What of a config a copy is given besides: see `keras_graph.clone`.
_CARRIED = ("name", "trainable", "lora_rank", "lora_alpha")

# Functions of `keras.ops`, and those of `keras.activations` that do the same: a config
# has their name alone. (Of `gelu` the two do not.)
_TWINS = {
    (getattr(ops, name), getattr(keras.activations, name))
    for name in ("relu", "sigmoid", "silu", "softmax", "softplus", "tanh")
}


def is_known(layer: Any) -> bool:
    """Whether a layer and those inside of it are of Keras or of this package.

    Their configs say all that they are, but for functions, and their behaviour is
    known.
    """
    layers = keras_private.flatten_layers(layer)
    return all(_is_known_class(type(x)) for x in layers)


def has_foreign_functions(layer: Any) -> bool:
    """Whether a layer, or one inside of it, calls a function that is not Keras'."""
    return any(
        not _is_known_class(value)
        for inner in keras_private.flatten_layers(layer)
        for value in own_functions(inner).values()
        if not isinstance(value, keras.Layer)
    )


def are_alike(layer: keras.Layer, copy: keras.Layer) -> bool:
    """Whether a copy of a layer from its config does what the layer does.

    Functions must be the same objects, throughout. Of classes that are neither Keras'
    nor this package's, every attribute must have an equal value.
    """
    foreign = not _is_known_class(type(layer))
    if foreign:
        _build_as(layer, copy)
    layers = keras_private.flatten_layers(layer)
    copies = keras_private.flatten_layers(copy)
    # A layer that makes others when it is built has more.
    if not all(map(_is_same_layer, layers, copies)):
        return False
    # What a class of somebody else's made of Keras' layers, its config may not tell.
    return not foreign or all(map(_has_same_config, layers, copies))


def _build_as(layer: keras.Layer, copy: keras.Layer) -> None:
    """Builds a copy: attributes and configs may come from the shapes of a call."""
    if not copy.built and type(copy).build is not keras.Layer.build:
        copy.build_from_config(layer.get_build_config() or {})
    # Those inside of a layer without a `build` are built when it is called.
    layers = keras_private.flatten_layers(layer, include_self=False)
    copies = keras_private.flatten_layers(copy, include_self=False)
    with keras.name_scope(copy.name):
        for inner, again in zip(layers, copies, strict=False):
            if inner.built and not again.built and type(inner) is type(again):
                again.build_from_config(inner.get_build_config() or {})


def _is_known_class(cls: Any) -> bool:
    module = getattr(cls, "__module__", None) or ""
    return module.split(".")[0] in ("keras", "tfhyper")


def _is_same_layer(layer: keras.Layer, copy: keras.Layer) -> bool:
    if type(layer) is not type(copy):
        return False
    if _is_known_class(type(layer)):
        ours = own_functions(copy)
        return all(
            value is ours.get(name) or (value, ours.get(name)) in _TWINS
            for name, value in own_functions(layer).items()
        )
    theirs = {
        name: value
        for name, value in vars(layer).items()
        # The latter are what TensorFlow tracks.
        if name not in _OF_ALL_LAYERS and not name.startswith("_self_")
    }
    return all(_is_same(value, vars(copy).get(k)) for k, value in theirs.items())


def _has_same_config(layer: keras.Layer, copy: keras.Layer) -> bool:
    """Whether two layers of Keras, with none inside, have the same arguments."""
    inside = keras_private.flatten_layers(layer, include_self=False)
    if inside or not _is_known_class(type(layer)):
        return True
    configs = [live_config(x) for x in (layer, copy)]
    for config in configs:
        for name in _CARRIED:
            config.pop(name, None)
    return configs[0] == configs[1]


def _is_same(value: Any, other: Any) -> bool:
    if value is other or isinstance(value, keras.Variable):
        return True  # variables are copied
    if isinstance(value, keras.Layer):
        return type(value) is type(other)  # and they are compared by themselves
    if isinstance(value, keras.random.SeedGenerator):
        return type(value) is type(other)
    if isinstance(value, dict):
        same_keys = isinstance(other, dict) and value.keys() == other.keys()
        return same_keys and all(_is_same(x, other[key]) for key, x in value.items())
    if isinstance(value, list | tuple):
        same_size = isinstance(other, list | tuple) and len(value) == len(other)
        return same_size and all(map(_is_same, value, other))
    if type(value) is not type(other):
        return False
    if isinstance(value, np.ndarray) or ops.is_tensor(value):
        return np.array_equal(*map(ops.convert_to_numpy, (value, other)))
    if isinstance(value, bool | int | float | complex | str | bytes | set | frozenset):
        return value == other
    if hasattr(value, "get_config"):  # initializers, regularizers, policies
        return value.get_config() == other.get_config()
    return False
