"""Every private name of Keras that this package uses, each behind one function.

What Keras does not promise may change with any of its versions: it is looked for here
alone, and `tests/test_keras_private.py` says of each name what it must give. "As in
3.0" means: the same in Keras 3.0.0, in 3.12.4, the oldest one that is allowed, and in
3.15.1.
"""

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state, masking, symbolic_scope

from tfhyper.tensor_types import Structure, Tensor

# Where Keras says that its own classes without a public name stand: in files, it
# writes them by these.
PRIVATE_MODULES = (
    "keras.src.applications.",
    "keras.src.backend.torch.optimizers.",  # where `keras.optimizers` has its classes
    "keras.src.models.functional",
    "keras.src.ops.",
)


# --- Layers ---------------------------------------------------------------------


def flatten_layers(
    layer: keras.Layer, *, include_self: bool = True
) -> list[keras.Layer]:
    """Returns a layer and those inside of it, at any depth, each once for its holder.

    Wraps `Layer._flatten_layers`, as in 3.0. (`Model.layers` has the first level
    alone, and a layer that is no model has no `layers`.)

    Args:
        layer: a layer or model.
        include_self: whether the layer itself comes first.
    """
    return layer._flatten_layers(include_self=include_self)


@contextlib.contextmanager
def deep_graphs() -> Iterator[None]:
    """Lets Keras make and read functional models of thousands of layers in a row.

    `Function` walks a graph by recursion, a call for each layer, as in 3.0, and Python
    ends it after a thousand: a kit that puts layers between others makes graphs that
    are deeper than the ones they are made of.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 10_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def model_of(
    inputs: Structure, outputs: Structure, name: str | None = None
) -> keras.Model:
    """Returns the functional model between tensors of a graph, however deep it is."""
    with deep_graphs():
        return keras.Model(inputs, outputs, name=name)


def takes_training(operation: keras.Operation) -> bool:
    """Whether `call` of a layer has an argument `training`; False of an operation.

    Wraps `Layer._call_has_training_arg`, as in 3.0.
    """
    return getattr(operation, "_call_has_training_arg", False)


def trained_by_nature(layer: keras.Layer) -> list[keras.Variable]:
    """Returns a layer's own variables that training changes, unless it is frozen.

    Those of layers inside of it are not among them. Wraps
    `Layer._trainable_variables`, as in 3.0.
    """
    return layer._trainable_variables


def take_call_arguments(layer: keras.Layer, signature: inspect.Signature) -> None:
    """Lets a layer be called with the arguments of another one, by their names.

    For one that hands on all that it is called with: of `call(*args, **kwargs)` Keras
    refuses tensors beside what is none, and has no names for masks. Sets
    `Layer._call_signature`, `call_signature_parameters`, `_call_has_training_arg`,
    `_call_has_mask_arg`, as in 3.0, and `_call_has_context_arg`, since 3.12 at the
    latest.

    Args:
        layer: the layer.
        signature: of the `call` that the arguments are of, without `self`.
    """
    names = list(signature.parameters)
    layer._call_signature = signature
    layer.call_signature_parameters = names
    layer._call_has_training_arg = "training" in names
    layer._call_has_mask_arg = "mask" in names
    context = getattr(layer, "_call_has_context_arg", None)
    if context is not None:
        context.update({name: name in names for name in context})


def causal_padding(layer: keras.layers.Conv1D) -> list[list[int]]:
    """Returns what a causal convolution pads its inputs by, as `keras.ops.pad` takes.

    Wraps `Conv1D._compute_causal_padding`, as in 3.0.
    """
    return layer._compute_causal_padding()


# --- Graphs ---------------------------------------------------------------------


def is_functional(model: keras.Model) -> bool:
    """Whether something is a model that `keras.Model(inputs, outputs)` makes.

    Its class, `Functional`, has no public name. It is told by `_run_through_graph`, as
    in 3.0. A `Sequential` model is none, though it may hold one.
    """
    return isinstance(model, keras.Model) and hasattr(model, "_run_through_graph")


def run_through_graph(
    model: keras.Model, inputs: Structure, call: Callable
) -> Structure:
    """Returns a functional model's outputs, each operation called by a function.

    Wraps `Functional._run_through_graph`, with the argument `call_fn` that
    `keras.models.clone_model` uses; 3.0 did not have it, 3.12 has.

    Args:
        model: a functional model.
        inputs: tensors in the structure of the model's.
        call: `(operation, *args, **kwargs)`, called in the order of the graph, with
            the arguments of the original call, its tensors replaced. Returns outputs.
    """
    return model._run_through_graph(inputs, operation_fn=lambda op: op, call_fn=call)


def history(tensor: Tensor) -> Any | None:
    """Returns what made a symbolic tensor, or `None` if there is no record of it.

    Wraps `KerasTensor._keras_history`, as in 3.0.

    Returns:
        A tuple (`operation`, `node_index`, `tensor_index`): what was called, which of
        its `inbound_nodes` the call is, and which of the call's outputs this is.
    """
    return getattr(tensor, "_keras_history", None)


def inbound_nodes(operation: keras.Operation) -> list:
    """Returns the calls of a layer or operation on symbolic tensors, in their order.

    Wraps `Operation._inbound_nodes`, as in 3.0.

    Returns:
        Nodes, with `operation`, `arguments` (`args` and `kwargs`), `input_tensors` and
        `outputs`.
    """
    return operation._inbound_nodes


def outbound_nodes(operation: keras.Operation) -> list:
    """Returns the calls, of whatever operation, that take what an operation gave.

    Wraps `Operation._outbound_nodes`, as in 3.0. Nodes as of `inbound_nodes`.
    """
    return operation._outbound_nodes


def graph_nodes(model: keras.Model) -> list:
    """Returns the calls that a model's own graph consists of, nested models closed.

    Wraps `Function._nodes_by_depth`, and `Sequential._functional`, the functional model
    that a built `Sequential` runs; both as in 3.0. Nodes as of `inbound_nodes`; none of
    a layer, or a model without a graph.
    """
    graph = getattr(model, "_functional", None) or model
    depths = getattr(graph, "_nodes_by_depth", {})
    return [node for depth in depths.values() for node in depth]


def function_name(operation: keras.Operation) -> str | None:
    """Returns "Softmax" of what `keras.ops.softmax` put into a graph, and so on.

    `None` if an operation is no function of `keras.ops`, whose classes have no public
    names: they stand in `keras.src.ops`, as in 3.0.
    """
    cls = type(operation)
    return cls.__name__ if cls.__module__.startswith("keras.src.ops") else None


# --- Calls in progress ----------------------------------------------------------


def outermost_model() -> keras.Model | None:
    """Returns the model whose call led to the layer at work.

    `None` if the layer was called by itself, and on JAX, where `fit` and `evaluate`
    call a model's layers without a record of the model. Wraps `entry_layer` of the
    global attribute "current_call_ctx" of `keras.src`, as in 3.0.
    """
    call = global_state.get_global_attribute("current_call_ctx")
    model = getattr(call, "entry_layer", None)
    return model if isinstance(model, keras.Model) else None


def rematerialized(layer: keras.Layer) -> str | None:
    """Returns the mode in which a layer's `call` runs a second time for its gradient.

    `None` if it runs once. Of `keras.RematScope`, which came with 3.9; reads
    `_remat_mode` of the layer.
    """
    scope = getattr(layer, "_remat_mode", None)
    if scope is None or scope.mode == "activations":  # of the activation alone
        return None
    if scope.mode == "list_of_layers" and layer.name not in scope.layer_names:
        return None
    return scope.mode


def only_shapes() -> bool:
    """Whether Keras calls a layer for the shapes of its outputs alone.

    Wraps `in_symbolic_scope` of `keras.src`; 3.0 did not have it, 3.12 has.
    """
    return symbolic_scope.in_symbolic_scope()


def mask_of(tensor: Tensor) -> Any | None:
    """Returns the mask that a tensor carries from layer to layer, or `None`.

    Wraps `get_keras_mask` of `keras.src`, since 3.12 at the latest: an attribute
    `_keras_mask` of the tensor, or a record beside it where the backend's tensors take
    no attributes.
    """
    return masking.get_keras_mask(tensor)


def set_mask(tensor: Tensor, mask: Any | None) -> None:
    """Lets a tensor carry a mask, or none. Wraps `set_keras_mask`; see `mask_of`."""
    masking.set_keras_mask(tensor, mask)


# --- Training and random numbers ------------------------------------------------


def build_for_training(model: keras.Model, batch: Any) -> None:
    """Makes the variables of a compiled model's loss, metrics and optimizer.

    Wraps `Trainer._symbolic_build(data_batch=...)`, which `fit` calls; as in 3.0 on
    JAX and torch, and on TensorFlow in 3.12.

    Args:
        model: a compiled model.
        batch: a batch, or specs with `shape` and `dtype` in its place.
    """
    model._symbolic_build(data_batch=batch)


def variable_index(optimizer: keras.Optimizer, variable: Any) -> int:
    """Returns the place of a variable among those that a built optimizer trains.

    Wraps `Optimizer._get_variable_index`, as in 3.0.

    Args:
        optimizer: a built optimizer.
        variable: what its `update_step` is given: the backend's own on TensorFlow.
    """
    return optimizer._get_variable_index(variable)


def trained_variable(optimizer: keras.Optimizer, variable: Any) -> keras.Variable:
    """Returns Keras' variable for one that an optimizer's `update_step` is given.

    Wraps `Optimizer._trainable_variables`, as in 3.0; arguments as `variable_index`.
    """
    return optimizer._trainable_variables[variable_index(optimizer, variable)]


def trained_variables(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """Returns the variables that a built optimizer trains, in their order.

    Wraps `Optimizer._trainable_variables`, as in 3.0.
    """
    return optimizer._trainable_variables


def share_initial_seed(
    generator: keras.random.SeedGenerator, other: keras.random.SeedGenerator
) -> None:
    """Gives a generator that hands on another one's seeds the seed it began with.

    Wraps `SeedGenerator._initial_seed`, as in 3.0, which `keras.random` asks for on
    torch. A subclass that does not call `SeedGenerator.__init__` lacks it.
    """
    generator._initial_seed = other._initial_seed
