"""Arguments of a layer, with its own functions in place of their names.

A config names a function, and Keras finds another one by that name, or none: a user's
`relu` comes back as Keras', a function of TensorFlow as an error. What is made of a
layer that is at hand takes the functions themselves.
"""

import functools
import types
from typing import Any

import keras

_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
)


def own_functions(layer: Any) -> dict[str, Any]:
    """Returns the public attributes of a layer that are functions, by their names.

    A layer as an activation counts: it is called as a function is. Methods, and what
    Keras wraps around them, do not.
    """
    return {
        name: value
        for name, value in vars(layer).items()
        if not name.startswith("_")
        and not hasattr(type(layer), name)
        and (
            isinstance(value, _FUNCTIONS)
            or (name.endswith("activation") and isinstance(value, keras.Layer))
        )
    }


def live_config(
    layer: keras.Layer, cls: type[keras.Layer] | None = None
) -> dict[str, Any]:
    """Returns the config of a layer, its functions as the objects that they are.

    Args:
        layer: the layer.
        cls: a class among its bases, whose arguments are wanted: its own by default.

    Example:

    >>> layer = keras.layers.Dense(4, activation=tf.nn.swish)
    >>> live_config(layer)["activation"] is tf.nn.swish
    True
    """
    cls = cls or type(layer)
    functions = own_functions(layer)
    if not functions:
        return cls.get_config(layer)
    # Not the layer itself, whose config Keras may not be able to write.
    nameable = object.__new__(type(layer))
    linear = keras.activations.linear
    nameable.__dict__.update(vars(layer) | dict.fromkeys(functions, linear))
    config = cls.get_config(nameable)
    return config | {name: functions[name] for name in functions if name in config}


def layer_inside(config: dict[str, Any]) -> keras.Layer:
    """Returns the layer inside of another one, of the config of that.

    If it comes back built, its variables have the paths that they had there.

    Args:
        config: with the `layer`, as Keras writes it, and the `name` of the other one.
    """
    with keras.name_scope(config.get("name") or "layer"):
        return keras.saving.deserialize_keras_object(config["layer"])
