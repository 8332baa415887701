"""Rebuilding the graph of a Keras model with other layers in it."""

from collections.abc import Callable

import keras


def rebuild(model: keras.Model, call: Callable) -> tuple[list, object]:
    """Walks a model's graph anew on fresh inputs, nested models included.

    Args:
        model: a functional or built Sequential model.
        call: `(operation, *args, **kwargs)`, called for each operation of the
            graph in order, with the arguments of the original call, the
            tensors among them replaced by those of the new graph. Returns the
            tensors that take the place of the operation's outputs. It must not
            call the original operation: that would tie it into both graphs.

    Returns:
        The new inputs, and the outputs, in the structure of `model`'s.

    Raises:
        TypeError: if the model's graph is not known, because it is a subclass
            with its own `call`, or is not built.
    """
    check_graph(model)
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
        model.input,
    )

    def visit(operation, *args, **kwargs):
        if isinstance(operation, keras.Sequential):
            (x,) = args
            for layer in operation.layers:
                x = visit(layer, x)
            return x
        if _is_functional(operation):
            return operation._run_through_graph(
                args[0], operation_fn=lambda op: op, call_fn=visit
            )
        return call(operation, *args, **kwargs)

    return inputs, visit(model, inputs)


def clone(operation):
    """Returns a fresh, unbuilt copy of a layer or operation."""
    return operation.__class__.from_config(operation.get_config())


def check_graph(model) -> None:
    """Raises TypeError unless `model` is functional or a built Sequential."""
    sequential = isinstance(model, keras.Sequential)
    if not sequential and not _is_functional(model):
        raise TypeError(
            "`model` must be a functional or Sequential Keras model, whose graph "
            f"is known. Received: model={model!r}. A subclassed model can be "
            "wrapped where its layers are called on keras.Input tensors: "
            "keras.Model(inputs, outputs)."
        )
    if not model.built:
        raise TypeError(
            "`model` must be built: give it a keras.Input or call it once. "
            f"Received: model={model!r}"
        )


def _is_functional(operation) -> bool:
    # `Functional`, the class of these models, has no public name; what is
    # needed of it is the walk that `keras.models.clone_model` makes.
    return isinstance(operation, keras.Model) and hasattr(
        operation, "_run_through_graph"
    )
