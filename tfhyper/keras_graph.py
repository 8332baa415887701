"""Rebuilding the graph of a Keras model with other layers in it."""

import tempfile
from collections.abc import Callable, Container, Iterator
from typing import Any, TypeAlias

import keras
from keras import ops

from tfhyper import alike, keras_private
from tfhyper.keras_private import is_functional, takes_training
from tfhyper.layers import lora
from tfhyper.layers.frozen import set_trainable_inside, trainable_inside
from tfhyper.layers.live_config import live_config
from tfhyper.layers.used_layer import UsedLayer, UsedOperation
from tfhyper.tensor_types import Structure

# What makes the copy of an operation, by its name.
Make: TypeAlias = Callable[[keras.Operation, str], Any]


def rebuild(
    model: keras.Model,
    call: Callable[..., Structure],
    begin: Callable[[Structure], Structure] | None = None,
) -> tuple[Structure, Structure]:
    """Walks a model's graph anew on fresh inputs, nested models included.

    Args:
        model: a functional or built Sequential model.
        call: `(operation, *args, **kwargs)`, called for each operation of the
            graph in order, with the arguments of the original call, the
            tensors among them replaced by those of the new graph, and `inputs`
            always the first of `args`. Returns the tensors that take the place
            of the operation's outputs. It must not call the original
            operation: that would tie it into both graphs.
        begin: what makes, of the new inputs, that which the graph begins with;
            `None` for the inputs themselves.

    Returns:
        The new inputs, and the outputs, in the structure of `model`'s.

    Raises:
        TypeError: if the model's graph is not known, because it is a subclass
            with its own `call`, or is not built.
    """
    check_graph(model)
    # A Sequential model that was never called has no `input`.
    sequential = isinstance(model, keras.Sequential)
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
        model.inputs[0] if sequential else model.input,
    )

    def visit(operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        training = kwargs.get("training")
        if not args and "inputs" in kwargs:
            args = (kwargs.pop("inputs"),)

        def visit_inner(inner: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
            # As in Keras, the mode that a model is called in is that of its layers.
            takes_mode = takes_training(inner) or is_functional(inner)
            if training is not None and takes_mode:
                kwargs["training"] = training
            return visit(inner, *args, **kwargs)

        if isinstance(operation, keras.Sequential):
            x = args[0]
            for layer in operation.layers:
                x = visit_inner(layer, x)
            return x
        if is_functional(operation):
            return keras_private.run_through_graph(operation, args[0], visit_inner)
        return call(operation, *args, **kwargs)

    return inputs, visit(model, inputs if begin is None else begin(inputs))


def rebuilt(model: keras.Model, call: Callable[..., Structure]) -> keras.Model:
    """Returns the model, by the same name, of a graph that `rebuild` walked anew.

    Args:
        model: as for `rebuild`, as is the next one.
        call: what is called for each operation.
    """
    return keras_private.model_of(*rebuild(model, call), name=model.name)


def tensors_of(model: keras.Model) -> set[int]:
    """Returns the ids of the tensors that the calls of a model's own graph give."""
    nodes = keras_private.graph_nodes(model)
    return {id(x) for node in nodes for x in node.output_tensors}


def clone(
    operation: keras.Operation, name: str | None = None
) -> keras.Operation | None:
    """Returns a fresh, unbuilt copy of a layer or operation, by another name.

    It is made from the config, and compared: what the config leaves out, such as an
    attribute that was set later, or tells by a name that is another function's, makes
    another layer of it.

    Returns:
        The copy, or `None` where none can be made that is the same.
    """
    layer = isinstance(operation, keras.Layer)
    try:
        config = live_config(operation) if layer else operation.get_config()
        if name is not None and "name" in config:
            config = {**config, "name": name}
        copy = _made_of(type(operation), config)
        if hasattr(copy, "load_assets"):  # a vocabulary that was adapted to data
            with tempfile.TemporaryDirectory() as folder:
                operation.save_assets(folder)
                copy.load_assets(folder)
        if not layer:
            return copy
        if not alike.are_alike(operation, copy):
            return None
        lora.carry(operation, copy)
        carry_trainable(operation, copy)
        return copy
    except Exception:  # A layer's config and constructor may raise anything.
        return None


def carry_trainable(layer: keras.Layer, copy: keras.Layer) -> None:
    """Freezes inside of a copy what is frozen inside of a layer.

    Args:
        layer: a built layer.
        copy: made from its config, which says whether the layer itself is frozen.
    """
    if wanted := trainable_inside(layer):
        if not copy.built:
            copy.build_from_config(layer.get_build_config() or {})
        set_trainable_inside(copy, wanted)


def remake(
    model: keras.Model, make: Make
) -> tuple[keras.Model, list[tuple[keras.Layer, keras.Layer]]]:
    """Returns an uncompiled model of other layers, nested models flat.

    Args:
        model: a functional or built Sequential model.
        make: as for `Copies`.

    Returns:
        The model, with weights as its layers start with, and the pairs (layer of
        `model`, what stands for it) in the order of the graph.
    """
    copies = Copies(make)
    copy = rebuilt(model, lambda x, *a, **k: copies.of(x)(*a, **k))
    pairs = [(x, new) for x, _, new in copies.made() if isinstance(x, keras.Layer)]
    if not model.trainable:
        copy.trainable = False  # of all layers, some of which may be on
        for layer, new in pairs:
            new.trainable = layer.trainable
    return copy, pairs


def duplicate(model: keras.Model) -> keras.Model:
    """Returns an uncompiled copy of a model, nested models flat.

    With its weights and the states of its random generators. A layer that cannot be
    copied is the same one in both.
    """
    copy, pairs = remake(model, copy_or_use)
    for layer, new in pairs:
        if not is_used(layer, new):
            for variable, old in zip(new.variables, layer.variables, strict=True):
                variable.assign(ops.convert_to_numpy(old))
            finalize(new)
    return copy


def check_saves(model: keras.Model) -> None:
    """Raises ValueError for a model that would come back from a file as another one.

    One with a layer whose config leaves something out, or names a function that is
    not found by that name.
    """
    for *_, layer in walk(model):
        try:
            copy = type(layer).from_config(layer.get_config())
            same, why = alike.are_alike(layer, copy), "another one comes out of it"
        except Exception as error:  # A layer's config and constructor may raise any.
            same, why = False, f"{type(error).__name__}: {str(error)[:200]}"
        if not same:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) cannot be saved: its "
                "config does not say all that it is. Register its functions by "
                "keras.saving.register_keras_serializable, and let `get_config` hold "
                f"what it does. Received: a layer whose config does not do ({why})"
            )


def renamed(layer: keras.Layer, name: str) -> keras.Layer:
    """Returns an unbuilt layer as another one, by another name."""
    return _made_of(type(layer), {**live_config(layer), "name": name})


def _made_of(cls: type[keras.Operation], config: dict[str, Any]) -> keras.Operation:
    """Returns what a class makes of a config, by the name that this says."""
    made = cls.from_config(config)
    made.name = config.get("name", made.name)  # some give themselves another
    return made


def copy_or_use(operation: keras.Operation, name: str) -> keras.Operation:
    """Returns a copy of a layer or operation by a name, or itself if there is none.

    Itself if it has the name: another one is that of a layer that uses it.
    """
    copy = clone(operation, name)
    if copy is None:
        copy = operation if operation.name == name else use(operation, name)
    return copy


def use(operation: keras.Operation, name: str) -> keras.Operation:
    """Returns what calls a layer or operation by a name, in a graph of its own."""
    kind = UsedLayer if isinstance(operation, keras.Layer) else UsedOperation
    return kind(operation, name=name)


def walk(
    model: keras.Model, parents: tuple[keras.Layer, ...] = ()
) -> Iterator[tuple[keras.Layer, ...]]:
    """Yields (nested models ..., layer) for each layer that is no nested model."""
    for layer in model.layers:
        line = (*parents, layer)
        if isinstance(layer, keras.Sequential) or is_functional(layer):
            yield from walk(layer, line)
        else:
            yield line


def free_name(name: str, taken: Container[str]) -> str:
    """Returns a name that is not taken: nested models come out flat."""
    while name in taken:
        name += "_"
    return name


class Copies:
    """What stands for the operations of a graph in a new one, each made once.

    Args:
        make: `(operation, name)`, returns what is to be called in its place. The
            name is the operation's own, unless another one has it.
    """

    def __init__(self, make: Make):
        self._make = make
        # id of an operation -> (operation, name, copy)
        self._made: dict[int, tuple[keras.Operation, str, keras.Operation]] = {}
        self._names: set[str] = set()

    def of(self, operation: keras.Operation) -> keras.Operation:
        """Returns the copy of an operation."""
        if id(operation) not in self._made:
            name = self.take_name(operation.name)
            self._made[id(operation)] = operation, name, self._make(operation, name)
        return self._made[id(operation)][-1]

    def take_name(self, name: str) -> str:
        """Returns a name that no copy has, and none will have."""
        name = free_name(name, self._names)
        self._names.add(name)
        return name

    def made(self) -> list[tuple[keras.Operation, str, keras.Operation]]:
        """Returns (operation, name, copy) of all, in the order of the graph."""
        return list(self._made.values())


def is_used(original: keras.Layer, copy: keras.Layer) -> bool:
    """Whether what stands for a layer in another graph is the layer itself."""
    return copy is original or isinstance(copy, UsedLayer)


def copy_weights(original: keras.Layer, copy: keras.Layer) -> None:
    """Gives a built copy of a layer the weights and other state of the original.

    What uses the original has them.
    """
    if is_used(original, copy):
        return
    copy.set_weights(original.get_weights())
    finalize(copy)


def finalize(layer: keras.Layer) -> None:
    """Lets a layer take note of the weights that it was given."""
    if hasattr(layer, "finalize_state"):  # keras.layers.Normalization
        layer.finalize_state()


def last_operation(model: keras.Operation) -> keras.Operation:
    """Returns the layer or operation that gives the only output of a model."""
    while True:
        if isinstance(model, keras.Sequential):
            last = model.layers[-1]
        elif is_functional(model):
            made_by = keras_private.history(model.outputs[0])
            if made_by is None:
                return model
            last = made_by.operation
        else:
            return model
        model = last


def layers_at_end(model: keras.Model) -> list[keras.Layer]:
    """Returns the layers whose outputs reach those of a model through no other weights.

    Going back from each output, the first layer with weights, if all between have one
    input. Nested models are looked into.
    """
    found: list[keras.Layer] = []

    def visit(tensor: keras.KerasTensor) -> None:
        made_by = keras_private.history(tensor)
        if made_by is None:
            return
        operation, node, _ = made_by
        if isinstance(operation, keras.Model):
            for output in operation.outputs:
                visit(output)
        elif getattr(operation, "weights", None):
            if all(operation is not layer for layer in found):
                found.append(operation)
        else:
            inputs = keras_private.inbound_nodes(operation)[node].input_tensors
            if len(inputs) == 1:
                visit(inputs[0])

    for output in model.outputs:
        visit(output)
    return found


def check_graph(model: Any, name: str = "model") -> None:
    """Raises TypeError unless `model` is functional or a built Sequential.

    Args:
        model: what was given.
        name: the argument's name.
    """
    sequential = isinstance(model, keras.Sequential)
    if not sequential and not is_functional(model):
        raise TypeError(
            f"`{name}` must be a functional or Sequential Keras model, whose graph "
            f"is known. Received: {name}={model!r}. A subclassed model can be "
            "wrapped where its layers are called on keras.Input tensors: "
            "keras.Model(inputs, outputs)."
        )
    if not model.built:
        raise TypeError(
            f"`{name}` must be built: give it a keras.Input or call it once. "
            f"Received: {name}={model!r}"
        )
