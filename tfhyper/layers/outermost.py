"""Which model the call in progress began with."""

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.symbolic_scope import in_symbolic_scope


def outermost_model() -> keras.Model | None:
    """Returns the model whose call led to the layer at work.

    `None` if the layer was called by itself, and on JAX, where `fit` and `evaluate`
    call a model's layers without a record of the model.
    """
    call = global_state.get_global_attribute("current_call_ctx")
    model = getattr(call, "entry_layer", None)
    return model if isinstance(model, keras.Model) else None


def only_shapes() -> bool:
    """Says whether Keras calls a layer for the shapes of its outputs alone."""
    return in_symbolic_scope()
