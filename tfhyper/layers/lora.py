"""Low-rank adapters (LoRA) of layers inside of others, which no config tells."""

import functools
from typing import Any, NamedTuple

import keras

from tfhyper import keras_private


class Adapter(NamedTuple):
    """That a layer inside of another one has low-rank factors.

    Attributes:
        place: its number among the layers inside of the other one, itself number 0.
        rank: of the factors.
        alpha: the factors count alpha / rank.
        trainable: whether the layer is trained; its kernel is not.
    """

    place: int
    rank: int
    alpha: float
    trainable: bool


def adapters_of(layer: keras.Layer) -> list[Adapter]:
    """Returns the low-rank adapters that a layer has, its own and those inside."""
    return [
        Adapter(i, inner.lora_rank, inner.lora_alpha, inner.trainable)
        for i, inner in enumerate(keras_private.flatten_layers(layer))
        if getattr(inner, "lora_enabled", False)
    ]


def enable(layer: keras.Layer, adapters: list[Adapter]) -> None:
    """Gives a built layer the adapters of another one, where it does not have them.

    Args:
        layer: made from the other one's config, which tells those of `Dense`,
            `EinsumDense` and `Embedding` themselves, and not of what holds these.
        adapters: what `adapters_of` says of the other one.
    """
    inside = keras_private.flatten_layers(layer)
    for adapter in adapters:
        inner = inside[adapter.place]
        if not inner.lora_enabled:
            # First, as it would thaw the kernel.
            inner.trainable = adapter.trainable
            inner.enable_lora(adapter.rank, lora_alpha=adapter.alpha)
        # Which Keras 3.15 forgets of a config's.
        inner.lora_alpha = adapter.alpha


def carry(layer: keras.Layer, copy: keras.Layer) -> None:
    """Builds a copy of a layer that has adapters, and gives it these.

    Args:
        layer: a built layer.
        copy: made from its config, and not called yet.
    """
    if adapters := adapters_of(layer):
        if not copy.built:  # some build themselves
            copy.build_from_config(layer.get_build_config() or {})
        enable(copy, adapters)


def store_apart(layer: keras.Layer) -> None:
    """Lets files keep the factors of a layer's adapters beside its kernels.

    Keras adds A B to the kernel when it writes a file, and gives back factors that are
    0: the same network, and another posterior over A and B.
    """
    for inner in keras_private.flatten_layers(layer):
        if getattr(inner, "lora_enabled", False):
            inner.save_own_variables = functools.partial(_save_apart, inner)
            inner.load_own_variables = functools.partial(_load_apart, inner)


def _save_apart(layer: keras.Layer, store: Any) -> None:
    for i, variable in enumerate(layer.variables):
        store[str(i)] = variable


def _load_apart(layer: keras.Layer, store: Any) -> None:
    if len(store.keys()) != len(layer.variables):
        raise ValueError(
            f"Layer '{layer.name}' must have {len(layer.variables)} variables in a "
            f"file, of its low-rank factors too. Received: {len(store.keys())}"
        )
    for i, variable in enumerate(layer.variables):
        variable.assign(store[str(i)])
