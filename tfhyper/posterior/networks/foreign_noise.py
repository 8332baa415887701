"""Layers that draw without being a `StochasticLayer`: of Keras, or of a user.

Two kinds. Keras' dropout, off in prediction, that a predictor is asked to draw
(`dropout="sample"`), in a layer of its own or inside of attention and recurrent
layers. And layers of other classes that draw in prediction. What draws from Keras'
`SeedGenerator`s is drawn with states of theirs; what draws from anywhere else cannot
be fixed, and is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import alike, keras_private
from tfhyper.layers import Dropout, RandomVariables, StochasticLayer
from tfhyper.layers.fixed_noise import (
    LayerNoise,
    NoiseAndWeights,
    generator_states,
)
from tfhyper.layers.stock_dropout import DROPOUTS, as_mc_dropout, drops
from tfhyper.tensor_types import Structure, Tensor

# What drops values, and where its rates are.
_RATES = {
    **dict.fromkeys(DROPOUTS, ("rate",)),
    keras.layers.AlphaDropout: ("rate",),
    keras.layers.GaussianDropout: ("rate",),
    # Those with heads have a layer for it inside.
    keras.layers.AdditiveAttention: ("dropout",),
    keras.layers.Attention: ("dropout",),
    keras.layers.SimpleRNNCell: ("dropout", "recurrent_dropout"),
    keras.layers.GRUCell: ("dropout", "recurrent_dropout"),
    keras.layers.LSTMCell: ("dropout", "recurrent_dropout"),
    keras.layers.ConvLSTM1D: ("dropout", "recurrent_dropout"),
    keras.layers.ConvLSTM2D: ("dropout", "recurrent_dropout"),
    keras.layers.ConvLSTM3D: ("dropout", "recurrent_dropout"),
}
# The examples and the unknown sizes of the inputs that layers are tried out with.
_EXAMPLES, _SIZE = 4, 8


class StandIns:
    """What stands for layers that draw and are no `StochasticLayer`.

    Args:
        sample_dropout: bool, make dropout draw that is off in prediction.

    Attributes:
        sampled: names of the layers whose dropout draws.
        switched_on: names of layers with dropout that are called with
            `training=True`. Keras' own `predict` takes no notice of it.
    """

    def __init__(self, sample_dropout: bool):
        self._sample_dropout = sample_dropout
        # id of an operation -> (operation, what stands for it)
        self._found: dict[int, tuple[keras.Operation, keras.Operation]] = {}
        self.sampled: list[str] = []
        self.switched_on: list[str] = []

    def of(
        self, operation: keras.Operation, args: tuple, kwargs: dict[str, Any]
    ) -> keras.Operation:
        """Returns what stands for an operation: itself, or a `StochasticLayer`.

        Args:
            operation: of the graph.
            args: those of its call, tensors of a graph among them.
            kwargs: as `args`.

        Raises:
            ValueError: for a layer whose noise a draw cannot fix.
        """
        if not isinstance(operation, keras.Layer):
            return operation
        if id(operation) not in self._found:
            found = self._find(operation, args, kwargs)
            self._found[id(operation)] = operation, found
        return self._found[id(operation)][-1]

    def known(self, operation: keras.Operation) -> keras.Operation:
        """Returns what stands for an operation that was called before."""
        return self._found.get(id(operation), (None, operation))[-1]

    def is_sampled(self, layer: keras.Layer) -> bool:
        """Whether a layer by itself, not those inside, has dropout that is to draw."""
        return self._sample_dropout and _drops(layer)

    def _find(
        self, layer: keras.Layer, args: tuple, kwargs: dict[str, Any]
    ) -> keras.Layer:
        if isinstance(layer, RandomVariables):
            return self._find_random(layer, args, kwargs)
        if isinstance(layer, StochasticLayer) and not isinstance(layer, Dropout):
            return layer
        known = alike.is_known(layer)
        if not known or alike.has_foreign_functions(layer):
            # What has a `StochasticLayer` inside is refused elsewhere.
            is_random = _is_random_inside(layer)
            found = layer if is_random else _try_out(layer, args, kwargs)
            if found is not layer or not known:
                return found
            # A layer of Keras, whose functions draw nothing: its dropout may.
        if not _drops_inside(layer):
            return layer
        if not self._is_to_draw(layer, kwargs):
            return layer
        if drops(layer):
            return as_mc_dropout(layer)
        _check_dropout_inside(layer, args, kwargs)
        return LayerNoise(layer, True)

    def _is_to_draw(self, layer: keras.Layer, kwargs: dict[str, Any]) -> bool:
        """Whether the dropout that a layer has is to draw; notes the layer."""
        if kwargs.get("training") is True:
            self.switched_on.append(layer.name)
        if self._sample_dropout:
            self.sampled.append(layer.name)
        return self._sample_dropout

    def _find_random(
        self, layer: RandomVariables, args: tuple, kwargs: dict[str, Any]
    ) -> keras.Layer:
        """Returns what stands for a layer with random variables."""
        inner = layer.layer
        if not (_drops_inside(inner) and self._is_to_draw(layer, kwargs)):
            return layer
        if kwargs.get("code") is not None:
            raise ValueError(
                f"Layer '{layer.name}' ({type(inner).__name__}) has dropout inside, "
                "which cannot be drawn beside a code that layers share: use "
                'tfhyper.kits.hyper("layer_wise"), or `dropout="off"`. '
                "Received: a layer that is called with `code`"
            )
        _check_dropout_inside(inner, args, kwargs)
        return NoiseAndWeights(layer, True)


def _drops(layer: keras.Layer) -> bool:
    if isinstance(layer, Dropout):
        return layer.rate > 0
    return any(getattr(layer, name, 0) for name in _RATES.get(type(layer), ()))


def _drops_inside(layer: keras.Layer) -> bool:
    return any(map(_drops, keras_private.flatten_layers(layer)))


def _is_random_inside(layer: keras.Layer) -> bool:
    """Whether a `StochasticLayer` is inside of a layer."""
    inner = keras_private.flatten_layers(layer, include_self=False)
    return any(isinstance(x, StochasticLayer) for x in inner)


def _check_dropout_inside(
    layer: keras.Layer, args: tuple, kwargs: dict[str, Any]
) -> None:
    """Raises ValueError for a layer whose dropout inside cannot draw."""
    _check_no_norm_inside(layer)
    if keras.backend.backend() == "torch":
        _check_seeded(layer, args, kwargs)


def _check_no_norm_inside(layer: keras.Layer) -> None:
    for inner in keras_private.flatten_layers(layer, include_self=False):
        if isinstance(inner, keras.layers.BatchNormalization) and inner.trainable:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) has both dropout that "
                f"is to draw and the BatchNorm layer '{inner.name}' inside, which "
                "would normalise each example by itself. Make it a functional model, "
                "keras.Model(inputs, outputs), or freeze the BatchNorm layer."
            )


def _check_seeded(layer: keras.Layer, args: tuple, kwargs: dict[str, Any]) -> None:
    """Raises ValueError if Keras draws a layer's masks from no generator.

    On Torch it does so where a layer was given no seed.
    """
    args, kwargs = keras.tree.map_structure(_made_up, (args, kwargs))
    kwargs["training"] = True
    states = generator_states(layer)
    once, again = (
        _call_from(states, 1, lambda: layer(*args, **kwargs)) for _ in range(2)
    )
    if not _equal(once, again):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) must be given a `seed` to "
            "draw its dropout on Torch, where Keras takes it from no generator "
            "otherwise. Received: a layer without a seed"
        )


def _try_out(layer: keras.Layer, args: tuple, kwargs: dict[str, Any]) -> keras.Layer:
    """Calls a layer on made-up inputs, and returns what stands for it."""
    try:
        args, kwargs = keras.tree.map_structure(_made_up, (args, kwargs))
        call = _caller(layer, args, kwargs)
        once, again = call(), call()
    except Exception:
        # A layer may take only inputs of a kind that cannot be guessed: it counts as
        # one that does not draw.
        return layer
    if _equal(once, again):
        return layer
    states = generator_states(layer)
    first, same, other = (_call_from(states, i, call) for i in (1, 1, 2))
    if _equal(first, same) and not _equal(first, other):
        return LayerNoise(layer, None)
    raise ValueError(
        f"Layer '{layer.name}' ({type(layer).__name__}) draws in prediction from "
        "something that a draw cannot fix: two calls differ. Let it draw from a "
        "keras.random.SeedGenerator that is an attribute of the layer, use "
        "tfhyper.layers.MCDropout, or switch its noise off where training=False."
    )


def _made_up(x: Structure) -> Any:
    if not isinstance(x, keras.KerasTensor):
        return x
    # An unknown first size is that of the batch.
    shape = [
        size or (_SIZE if axis else _EXAMPLES) for axis, size in enumerate(x.shape)
    ]
    generator = np.random.default_rng(len(shape))
    is_float = "float" in x.dtype
    array: np.ndarray = (
        generator.standard_normal(shape)
        if is_float
        else generator.integers(0, 2, shape)
    )
    return ops.cast(ops.convert_to_tensor(array), x.dtype)


def _caller(
    layer: keras.Layer, args: tuple, kwargs: dict[str, Any]
) -> Callable[[], Structure]:
    """Returns a function that calls a layer as a model does in prediction."""
    if keras_private.takes_training(layer):
        kwargs = {**kwargs, "training": False}
    return lambda: layer(*args, **kwargs)


def _call_from(
    states: Sequence[keras.Variable], number: int, call: Callable[[], Structure]
) -> Structure:
    """Returns what a call gives from states of the generators, and changes nothing."""
    # What draws from Keras' own generator goes on with other numbers.
    keras.random.uniform((1,))
    mapping = [
        (x, ops.cast(ops.full(x.shape, number + i), x.dtype))
        for i, x in enumerate(states)
    ]
    with keras.StatelessScope(state_mapping=mapping):
        return call()


def _equal(outputs: Structure, others: Structure) -> bool:
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(others), strict=True)
    return all(
        np.allclose(
            _in_float64(x), _in_float64(y), rtol=1e-3, atol=1e-6, equal_nan=True
        )
        for x, y in pairs
    )


def _in_float64(x: Tensor) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x), "float64")
