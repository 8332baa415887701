"""What the configuration in a `.keras` file may name: layers and functions, no code."""

import inspect
import sys
from typing import Any

import keras

from tfhyper.keras_private import PRIVATE_MODULES

# What Keras itself makes of a configuration, and keeps calling nothing.
_KINDS = (
    keras.Initializer,
    keras.Loss,
    keras.Metric,
    keras.Operation,  # layers, models, and the operations of keras.ops
    keras.Optimizer,
    keras.Quantizer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.dtype_policies.DTypePolicy,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.random.SeedGenerator,
)
# They call functions of the file, or read other files that run.
_CODE = ("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper")
_NOT_ALLOWED = tuple(
    getattr(keras.layers, name) for name in _CODE if hasattr(keras.layers, name)
)
# Where Keras looks for functions that it writes by their last names alone.
_BUILTINS = {
    "keras.activations",
    "keras.constraints",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.regularizers",
}
_FUNCTIONS = _BUILTINS | {"keras.ops", "keras.ops.image", "keras.ops.linalg"}
_FUNCTIONS |= {"keras.ops.nn", "keras.ops.numpy"}
_NOT_OF_TENSORS = {"deserialize", "get", "serialize"}
# Values that Keras writes in this way; "__lambda__" and "__typespec__" are left out.
_VALUES = {
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
}
# The vocabulary of a layer is in its configuration or in a file beside it. A string
# names a file of the machine that reads.
_PATHS = {"idf_weights", "vocabulary"}
# What is done or kept that often while a model is made, and how often at most. What
# makes variables larger is found out by their shapes.
_COUNTS = {
    "chain_depth": 2**10,
    "indices_or_sections": 2**12,
    "num": 2**12,
    "num_chains": 2**10,
    "num_classes": 2**20,
    "num_flows": 2**10,
    "num_oov_indices": 2**20,
    "num_ops": 2**10,
    "num_splits": 2**12,
    "num_thresholds": 2**16,
    "power_iterations": 2**12,
    "rank": 2**3,
}


def check_config(config: Any) -> None:
    """Raises ValueError unless all that a model's configuration names is allowed.

    Keras finds what a configuration names by itself, in any of its modules and
    those of some other packages. Allowed are here: Keras' own classes of layers,
    models, operations, initializers, regularizers, constraints, data types,
    optimizers, schedules, losses and metrics; its functions of tensors; and what
    was registered by `keras.saving.register_keras_serializable`, as tfhyper's
    layers are, or is in a `keras.saving.CustomObjectScope`. Layers that run code of
    the file are not: `Lambda`, and those that wrap code of a backend. What
    `keras.config.enable_unsafe_deserialization` says is not asked.

    Args:
        config: what `config.json` of a `.keras` file holds.

    Raises:
        ValueError: naming what is not allowed, for values of a wrong kind too.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ValueError("the configuration is not one of a model")
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if "class_name" in value:
                _check_object(value)
            _check_entries(value)
            waiting.extend(value.values())


def _check_object(config: dict[str, Any]) -> None:
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    inner = config.get("config")
    if not all(x is None or isinstance(x, str) for x in (name, module, registered)):
        raise ValueError(f"a class is named by {name!r:.80}, not by a string")
    if name in _VALUES:
        _check_value(name, inner)
        return
    if name in ("function", "__lambda__"):
        _check_function(name, module, inner)
    else:
        _check_class(name, module, config.get("registered_name", name), inner)


def _check_value(name: str, inner: Any) -> None:
    if not isinstance(inner, dict):
        raise ValueError(f"{name} holds {inner!r:.80}")
    if "dtype" in inner:
        try:
            keras.utils.standardize_dtype(inner["dtype"])
        except Exception as error:  # of any class, for what is no string
            raise ValueError(f"{name} has the type {inner['dtype']!r:.80}") from error


def _check_class(name: str, module: str | None, registered: str, inner: Any) -> None:
    # As Keras does: what is registered comes first, and by that name alone.
    found = keras.saving.get_registered_object(registered)
    if found is None:
        found = _look_up(module, name)
        kinds = (object,) if module == "keras.quantizers" else _KINDS
        if not inspect.isclass(found) or not issubclass(found, kinds):
            raise ValueError(
                f"class {module}.{name} is not one of Keras' that a model may hold, "
                "nor registered by `keras.saving.register_keras_serializable`"
            )
    if inspect.isclass(found) and issubclass(found, _NOT_ALLOWED):
        raise ValueError(f"{name} runs code of the file: such layers are not read")
    if inner is not None and not isinstance(inner, dict):
        raise ValueError(f"{name} has the configuration {inner!r:.80}")


def _check_function(name: str, module: str | None, inner: Any) -> None:
    if name == "__lambda__" or not isinstance(inner, str):
        raise ValueError("a Python lambda is code of the file: it is not read")
    if keras.saving.get_registered_object(inner) is not None:
        return
    modules = _BUILTINS if module == "builtins" else {module} & _FUNCTIONS
    known = any(
        inner not in _NOT_OF_TENSORS and inspect.isfunction(_look_up(module, inner))
        for module in modules
    )
    suffix = f">{inner}"
    if module == "builtins" and not known:
        known = any(x.endswith(suffix) for x in keras.saving.get_custom_objects())
    if not known:
        raise ValueError(
            f"function {module}.{inner} is not one of Keras' functions of tensors, "
            "nor registered by `keras.saving.register_keras_serializable`"
        )


def _look_up(module: str | None, name: str) -> Any:
    """Returns what Keras would take, `None` if there is nothing; imports nothing."""
    if not isinstance(module, str) or module.split(".")[0] != "keras":
        return None
    if module.startswith("keras.src") and not module.startswith(PRIVATE_MODULES):
        return None
    return getattr(sys.modules.get(module), name, None)


def _check_entries(config: dict[str, Any]) -> None:
    for name in _PATHS & config.keys():
        if isinstance(config[name], str):
            raise ValueError(f"`{name}` names the file {config[name]!r:.80}")
    for name in _COUNTS.keys() & config.keys():
        count = config[name]
        if isinstance(count, int | float) and count > _COUNTS[name]:
            raise ValueError(f"`{name}` is {count}, more than {_COUNTS[name]}")
    nodes = config.get("inbound_nodes")
    if nodes is not None:
        _check_nodes(nodes)


def _check_nodes(nodes: Any) -> None:
    """Layers are called with tensors that stand for others: nothing is computed."""
    for node in nodes if isinstance(nodes, list) else [nodes]:
        if not isinstance(node, dict) or not _is_symbolic(node):
            raise ValueError("a layer is called without the output of another")


def _is_symbolic(node: dict[str, Any]) -> bool:
    waiting = [node.get("args"), node.get("kwargs")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                return True
            if "class_name" not in value:
                waiting.extend(value.values())
    return False
