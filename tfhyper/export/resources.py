"""What a traced function needs besides variables: look-up tables, files, Python."""

from collections.abc import Iterable, Sequence

import keras
import tensorflow as tf
from tensorflow.saved_model.experimental import TrackableResource
from tensorflow.types.experimental import ConcreteFunction

# What is called back in the process that traced, and in no other.
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
# How the types of operations on text and on tables begin.
_TEXT = (
    "AsString DecodeRaw LookupTable MutableHashTable RegexFullMatch RegexReplace "
    "StaticRegex String Substr Unicode"
).split()


def operations_of(function: ConcreteFunction) -> set[str]:
    """Returns the types of the operations of a concrete function."""
    graph = function.graph.as_graph_def()
    nodes = [graph.node, *(x.node_def for x in graph.library.function)]
    return {node.op for part in nodes for node in part}


def check_operations(functions: Iterable[ConcreteFunction]) -> None:
    """Raises ValueError for functions that call back into Python."""
    for function in functions:
        if found := _PYTHON & operations_of(function):
            raise ValueError(
                "`predictor` must have a model of operations of TensorFlow: a file "
                "holds no Python, which a tf.py_function or tf.numpy_function calls. "
                f"Received: a model with {sorted(found)}"
            )


def operations_on_text(operations: Iterable[str]) -> list[str]:
    """Returns those types of operations that work on text or on look-up tables."""
    return sorted(x for x in operations if x.startswith(tuple(_TEXT)))


def captured_resources(
    functions: Iterable[ConcreteFunction], networks: Sequence[keras.Model]
) -> list[TrackableResource]:
    """Returns the tables and other resources that functions read, variables left out.

    A SavedModel holds them with what they are made of, such as files, if something in
    it has them as an attribute.

    Args:
        functions: concrete functions.
        networks: models whose layers have the resources as attributes.

    Raises:
        ValueError: for a resource that no layer has.
    """
    owners = {}
    for network in networks:
        for found in tf.train.TrackableView(network).descendants():
            if isinstance(found, TrackableResource):
                owners[id(found.resource_handle)] = found
    resources = {}
    for function in functions:
        variables = {id(variable.handle) for variable in function.variables}
        for tensor in function.captured_inputs:
            if tensor.dtype != tf.resource or id(tensor) in variables:
                continue
            if id(tensor) not in owners:
                raise ValueError(
                    "`predictor` must have a model whose layers have what they read, "
                    "such as look-up tables, as their attributes: a file holds nothing "
                    "else. Received: a model that reads a resource of no layer, as a "
                    "Lambda does that uses a table. Write a layer that makes it in "
                    "`__init__`"
                )
            resources[id(tensor)] = owners[id(tensor)]
    return list(resources.values())
