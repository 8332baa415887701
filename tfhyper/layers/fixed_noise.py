"""Layers with random generators of their own, and what a draw makes of them.

A layer of Keras or of a user that draws takes its noise from `SeedGenerator`s. A draw
fixes their states, so that the layer has one noise: the same for every example and at
every call. (Masks that differ from example to example, by the place in the data, are
those of `tfhyper.layers.MCDropout`.)
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.layers.noise import MEAN, NoiseKind, is_mean, keys_of
from tfhyper.layers.random_variables import RandomVariables
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.layers.used_layer import signature_of
from tfhyper.tensor_types import Structure, Tensor

# What is less than this a float32 holds, too.
_WHOLE_NUMBERS = 2**24
_CELLS = (keras.layers.GRUCell, keras.layers.LSTMCell, keras.layers.SimpleRNNCell)
# Their scores, on which dropout acts, are (examples, heads, queries, keys), of inputs
# (examples, positions, channels).
_ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
_SEQUENCES = ("query", "value", "key")


class NoiseOfExamples:
    """Part of a plain layer with a draw's noise, that of each example another one.

    Attributes:
        first_example: scalar variable, the place in the data of a batch's first
            example, which the predictor sets.
    """

    first_example: keras.Variable


def generator_states(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the states of the random generators of a layer and those inside of it."""
    others = {id(x) for x in (*layer.weights, *layer.metrics_variables)}
    return [x for x in layer.variables if id(x) not in others]


@keras.saving.register_keras_serializable("tfhyper")
class FixedNoise(keras.layers.Layer):
    """A layer with one noise: that which its generators give from fixed states.

    The layer is called on one example after another, or on all at once as if it were,
    always from the same states: so an output depends on nothing but its own example.

    Args:
        layer: a built layer, which is used as it is.
        training: the mode that it is called in, `None` for that of this layer.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        states: variable (generators, 2). Below zero: no noise, `training=False`.

    Input shape:
        As `layer`, the examples first. An argument without a batch of its own, whose
        first axis has another size, is given to every example.

    Output shape:
        As `layer`.
    """

    def __init__(self, layer: keras.Layer, training: bool | None = None, **kwargs: Any):
        policy = {"dtype": layer.dtype_policy, "autocast": layer.autocast}
        super().__init__(**{**policy, **kwargs})
        self.layer, self.mode = layer, training
        self.supports_masking = True
        keras_private.take_call_arguments(self, signature_of(layer))
        self.states = self.add_weight(
            shape=(len(generator_states(layer)), 2),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="none",
            name="states",
        )
        self.built = True

    @property
    def drawn_variables(self) -> list[keras.Variable]:
        """The variables that a draw fixes."""
        # Of another layer's noise the weights are that layer's, which are not drawn.
        return [self.states]

    def call(self, *args: Any, **kwargs: Any) -> Tensor:
        """Returns what the layer returns, with its noise."""
        # The mode in a graph's call is not that of the graph's own call, which counts.
        kwargs.pop("training", None)
        if self.mode is None:
            return self._call_each(args, kwargs)
        tensors = [x for x in keras.tree.flatten((args, kwargs)) if ops.is_tensor(x)]
        masks = [keras_private.mask_of(x) for x in tensors]

        def masked(call: Callable[..., Structure], training: bool) -> Structure:
            # Attention takes the masks off its inputs, which both ways have.
            for x, mask in zip(tensors, masks, strict=True):
                keras_private.set_mask(x, mask)
            return call(args, {**kwargs, "training": training})

        return ops.cond(
            self.states[0, 0] < 0,
            lambda: masked(self._call_fixed, False),
            lambda: masked(self._call_each, self.mode),
        )

    def _call_each(self, args: tuple, kwargs: dict[str, Any]) -> Structure:
        if (recurrent := _recurrent_layers(self.layer)) is not None:
            # One example's masks go for all: that is as fast as without dropout.
            return self._call_fixed(args, kwargs, recurrent)
        leaves = keras.tree.flatten((args, kwargs))
        examples = next(x for x in leaves if ops.is_tensor(x)).shape[0]
        tensors = [i for i, x in enumerate(leaves) if ops.is_tensor(x)]
        batched = [
            i
            for i in tensors
            if len(leaves[i].shape) and leaves[i].shape[0] == examples
        ]
        sequences = [x for x in args if ops.is_tensor(x)]
        sequences += [x for name, x in kwargs.items() if name in _SEQUENCES]
        attends = type(self.layer) in _ATTENTION
        if attends and all(len(x.shape) == 3 for x in sequences if x is not None):
            with _one_mask(self.layer):
                return self._call_fixed(args, kwargs)
        masks = {i: keras_private.mask_of(leaves[i]) for i in batched}
        masked = [i for i in batched if masks[i] is not None]

        def call_one(parts: list[Tensor]) -> Structure:
            rows = list(leaves)
            for i, part in zip(batched, parts[: len(batched)], strict=True):
                rows[i] = ops.expand_dims(part, 0)
            for i, part in zip(masked, parts[len(batched) :], strict=True):
                keras_private.set_mask(rows[i], ops.expand_dims(part, 0))
            args_of_one, kwargs_of_one = keras.tree.pack_sequence_as(
                (args, kwargs), rows
            )
            outputs = self._call_fixed(args_of_one, kwargs_of_one)
            return keras.tree.map_structure(lambda x: ops.squeeze(x, 0), outputs)

        parts = [leaves[i] for i in batched] + [masks[i] for i in masked]
        return _map_examples(self.layer, call_one, parts)

    def _call_fixed(
        self,
        args: tuple,
        kwargs: dict[str, Any],
        recurrent: Sequence[keras.layers.RNN] = (),
    ) -> Structure:
        """Calls the layer with its generators in the states.

        Args:
            args: of the call.
            kwargs: of the call.
            recurrent: layers whose masks are those of one example.
        """
        states = generator_states(self.layer)
        # A scope sees nothing of the one around it.
        values = {id(x): (x, x.value) for x in self.layer.variables}
        for i, state in enumerate(states):
            values[id(state)] = state, ops.cast(self.states[i], state.dtype)
        with keras.StatelessScope(state_mapping=list(values.values())):
            for layer in recurrent:
                _draw_masks(layer, args[0])
            return self.layer(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the specifications of the layer's outputs."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, inputs: Structure, previous_mask: Structure) -> Any:
        """Returns the layer's mask."""
        if not self.layer.supports_masking:
            return None
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "training": self.mode}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FixedNoise":
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        return cls(layer, **config)


@keras.saving.register_keras_serializable("tfhyper")
class FixedNoiseAndWeights(FixedNoise):
    """A layer of one draw, as `FixedNoise`, whose weights are of that draw, too."""

    @property
    def drawn_variables(self) -> list[keras.Variable]:
        """The variables that a draw fixes: the states, and the layer's weights."""
        return [self.states, *self.layer.weights]


def _recurrent_layers(layer: keras.Layer) -> list[keras.layers.RNN] | None:
    """Returns the recurrent layers of a layer that is nothing else, or `None`."""
    if isinstance(layer, keras.layers.Bidirectional):
        parts = [layer.forward_layer, layer.backward_layer]
    else:
        parts = [layer]
    known = all(
        isinstance(part, keras.layers.RNN)
        and all(isinstance(cell, _CELLS) for cell in _cells(part))
        for part in parts
    )
    return parts if known else None


def _cells(layer: keras.layers.RNN) -> list[keras.Layer]:
    stacked = isinstance(layer.cell, keras.layers.StackedRNNCells)
    return layer.cell.cells if stacked else [layer.cell]


def _draw_masks(layer: keras.layers.RNN, sequences: Tensor) -> None:
    """Draws the masks of a recurrent layer's cells, as a batch of one example has them.

    The cells keep them for the layer's next call, which lets go of them.
    """
    step = sequences[:1, 0]
    for cell in _cells(layer):
        (state, *_) = keras.tree.flatten(cell.get_initial_state(batch_size=1))
        cell.get_dropout_mask(step)
        cell.get_recurrent_dropout_mask(ops.cast(state, step.dtype))
        step = ops.ones((1, cell.output_size), step.dtype)


@contextlib.contextmanager
def _one_mask(layer: keras.Layer) -> Iterator[None]:
    """Has attention draw one mask for all examples, that which one example has."""
    dropouts = [
        inner
        for inner in keras_private.flatten_layers(layer)
        if isinstance(inner, keras.layers.Dropout)
    ]
    shapes = [dropout.noise_shape for dropout in dropouts]
    try:
        for dropout in dropouts:
            dropout.noise_shape = (1, None, None, None)
        yield
    finally:
        for dropout, shape in zip(dropouts, shapes, strict=True):
            dropout.noise_shape = shape


def _map_examples(
    layer: keras.Layer,
    function: Callable[[list[Tensor]], Structure],
    parts: list[Tensor],
) -> Structure:
    """Returns what a function gives for each example, put together again."""
    backend = keras.backend.backend()
    if backend == "torch":  # which draws nothing in its vectorised map
        found = [function([x[i] for x in parts]) for i in range(parts[0].shape[0])]
        return keras.tree.map_structure(lambda *x: ops.stack(x), *found)
    inner = keras_private.flatten_layers(layer)
    if backend == "tensorflow" and any(isinstance(x, _UNMAPPED) for x in inner):
        return ops.map(function, parts)
    return ops.vectorized_map(function, parts)


# What TensorFlow's vectorised map fails with: loops, and products of (examples, 1, n,
# m) with a matrix, by which oneDNN writes where it must not.
_UNMAPPED = (keras.layers.RNN, keras.layers.EinsumDense)


class LayerNoise(StochasticLayer):
    """A layer that is no `StochasticLayer`, and draws from generators of its own.

    What stands for it in a draw is `FixedNoise`. The layer is used, not changed.

    Args:
        layer: a built layer.
        training: the mode in which it draws: True for one that is off in prediction,
            `None` for one that is on.
    """

    noise_kind = NoiseKind.KEY

    def __init__(self, layer: keras.Layer, training: bool | None):
        self.layer, self.mode, self.name = layer, training, layer.name
        self._count = len(generator_states(layer))

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the states of a draw's generators, (generators, 2)."""
        return np.random.default_rng(seed).integers(0, 2**31, (self._count, 2))

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns states as `sample_noise`, in tensors."""
        first = ops.cast(seed, "int32")
        second = ops.cast(count, "int32") * self._count
        return ops.stack([ops.stack([first, second + i]) for i in range(self._count)])

    def mean_noise(self) -> np.ndarray | None:
        """Returns no states: what is off in prediction is off at the mean."""
        return MEAN if self.mode else None

    def point_layer(
        self, layer: keras.Layer | None = None, **kwargs: Any
    ) -> keras.Layer:
        """Returns the `FixedNoise` of the layer, or of a copy of it."""
        kwargs = {"name": self.name, **kwargs}
        return FixedNoise(layer or self.layer, self.mode, **kwargs)

    def point_weights(self, noise: Tensor) -> list:
        """Returns the states, below zero at the mean: no noise."""
        return [keys_of(noise, (self._count, 2))]


class NoiseAndWeights(LayerNoise):
    """A `RandomVariables` whose layer draws from generators of its own, too.

    The noise holds both, as one vector: that of the weights, then the states, whole
    numbers below 2^24, which every type of numbers holds.

    Args:
        drawn: the built layer with random variables.
        training: as of `LayerNoise`.
    """

    def __init__(self, drawn: RandomVariables, training: bool | None):
        super().__init__(drawn.layer, training)
        self.drawn, self.name = drawn, drawn.name
        self.noise_kind = drawn.noise_kind

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the noise of the weights, and states."""
        weights = self.drawn.sample_noise(seed, index, ensemble_seed)
        states = super().sample_noise(seed, index, ensemble_seed) % _WHOLE_NUMBERS
        return np.concatenate([weights.ravel(), states.ravel().astype(weights.dtype)])

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns noise as `sample_noise`, in tensors."""
        weights = self.drawn.fresh_noise(seed, count, index)
        states = super().fresh_noise(seed, count, index) % _WHOLE_NUMBERS
        flat = ops.reshape(weights, (-1,))
        return ops.concatenate([flat, ops.cast(ops.reshape(states, (-1,)), flat.dtype)])

    def mean_noise(self) -> np.ndarray | None:
        """Returns that of the weights, if no noise is that of the layer."""
        return self.drawn.mean_noise() if self.mode else None

    def point_layer(
        self, layer: keras.Layer | None = None, **kwargs: Any
    ) -> keras.Layer:
        """Returns the `FixedNoiseAndWeights` of a copy of the layer."""
        if layer is None:
            layer = self.drawn.point_layer()
            layer.build_from_config(self.layer.get_build_config() or {})
        kwargs = {"name": self.name, **kwargs}
        return FixedNoiseAndWeights(layer, self.mode, **kwargs)

    def point_weights(self, noise: Tensor) -> list:
        """Returns the states, and the weights of the layer."""
        if is_mean(noise):
            return [*super().point_weights(noise), *self.drawn.point_weights(noise)]
        weights, states = noise[: -2 * self._count], noise[-2 * self._count :]
        if self.noise_kind is NoiseKind.CODE:
            weights = ops.reshape(weights, (1, -1))
        states = ops.reshape(states, (self._count, 2))
        return [*super().point_weights(states), *self.drawn.point_weights(weights)]
