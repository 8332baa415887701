"""Augmentation as a part of a draw: each draw sees the inputs in a way of its own."""

import itertools
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_bool, check_instance, check_positive_integer
from tfhyper.layers.fixed_noise import FixedNoise, generator_states
from tfhyper.layers.noise import MEAN, NoiseKind, keys_of
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.layers.views import Flip, Shift
from tfhyper.tensor_types import Shape, Tensor

# What makes other inputs of inputs; `None` for the inputs themselves.
View: TypeAlias = keras.layers.Layer | Callable[[Tensor], Tensor] | None
_KINDS = keras.Layer | Callable | NoneType


@keras.saving.register_keras_serializable("tfhyper")
class Augment(StochasticLayer, keras.layers.Layer):
    """The inputs as a draw sees them: in one of several views.

    Draw number i sees view i modulo the number of views, so that all views are seen
    equally often: of 16 draws with the views of `flips`, eight see the images and eight
    their mirror images. The mean over draws is then one over weights and views,

        p(y | x) = 1/N sum_n p(y | view_n(x), w_n)

    which costs no more than the draws. It is what `tfhyper.PosteriorPredictor` puts in
    front of a network for its argument `augment`. A direct call changes nothing:
    training has an augmentation of its own, in its data. So does the posterior's mean.

    Args:
        views: sequence of views: `None`, the inputs as they are; a Keras layer without
            weights; or a function of the inputs, registered with Keras
            (`keras.saving.register_keras_serializable`) if predictors are to be saved.
            Each gives tensors of the shape of the inputs. A layer that draws, such as
            `keras.layers.RandomRotation`, is called as in training, with one noise in
            a draw, the same for all examples.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        What the views take.

    Output shape:
        That of the input.

    Raises:
        TypeError: for a view that is none.
        ValueError: for no views, a layer with weights, or a view that changes the shape
            of inputs.

    Example:

    >>> augment = tfhyper.layers.Augment.flips()
    >>> predictor = tfhyper.PosteriorPredictor(model, num_draws=16, augment=augment)
    >>> [int(draw.noise[augment.name][0, 0]) for draw in predictor.draws[:4]]
    [0, 1, 0, 1]
    """

    noise_kind = NoiseKind.KEY

    def __init__(self, views: Sequence[View], **kwargs: Any):
        super().__init__(**kwargs)
        self.views = _check_views(views)
        self.supports_masking = True

    @classmethod
    def flips(cls) -> "Augment":
        """Returns that of images and their mirror images.

        Example:

        >>> len(tfhyper.layers.Augment.flips().views)
        2
        """
        return cls([None, Flip()])

    @classmethod
    def shifts(cls, pixels: int, flips: bool = False) -> "Augment":
        """Returns that of images as they are, and moved up, down, left and right.

        Args:
            pixels: int > 0, how far.
            flips: bool, True for mirror images beside each of the five.

        Example:

        >>> len(tfhyper.layers.Augment.shifts(2, flips=True).views)
        10
        """
        pixels = check_positive_integer("pixels", pixels)
        check_bool("flips", flips)
        steps = [(-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels)]
        views: list[View] = [None, *(Shift(*step) for step in steps)]
        if flips:
            views.append(Flip())
            views += [keras.Sequential([Flip(), Shift(*step)]) for step in steps]
        return cls(views)

    @property
    def draws(self) -> bool:
        """Whether a view draws, so that there are more draws than views."""
        return any(self._counts)

    @property
    def is_random(self) -> bool:
        """Whether one draw sees other inputs than another."""
        return len(self.views) > 1 or self.draws

    @property
    def distinct_draws(self) -> int | None:
        """The number of views, if these are all that draws differ in."""
        return None if self.draws else len(self.views)

    @property
    def _counts(self) -> list[int]:
        """How many generators each view has."""
        return [len(generator_states(view)) for view in self.views]

    @property
    def _noise_shape(self) -> tuple[int, int]:
        # What view it is, and the states of the generators of all views.
        return 1 + sum(self._counts), 2

    def build(self, input_shape: Shape) -> None:
        spec = keras.KerasTensor((2, *input_shape[1:]), dtype=self.compute_dtype)
        for i, view in enumerate(self.views):
            seen = view(spec)
            if tuple(seen.shape) != tuple(spec.shape):
                raise ValueError(
                    "`views` must keep the shape of the inputs. Received: "
                    f"views[{i}], which makes {tuple(seen.shape)} of "
                    f"{tuple(spec.shape)}"
                )
            if view.weights:
                raise ValueError(
                    "`views` must have no weights, which nothing would train. "
                    f"Received: views[{i}], '{view.name}' ({type(view).__name__})"
                )

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the number of a draw's view, and states for its generators."""
        noise = np.full(self._noise_shape, -1, "int64")
        noise[0] = index % len(self.views), 0
        states = np.random.default_rng(seed).integers(0, 2**31, noise[1:].shape)
        seen = self._owners() == noise[0, 0]
        noise[1:][seen] = states[seen]
        return noise

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        view = ops.cast(index, "int32") % len(self.views)
        first, count = ops.cast(seed, "int32"), ops.cast(count, "int32")
        rows = [ops.stack([view, ops.zeros_like(view)])]
        owners = self._owners()
        for i, owner in enumerate(owners.tolist()):
            state = ops.stack([first, count * len(owners) + i])
            rows.append(ops.where(view == owner, state, -ops.ones_like(state)))
        return ops.stack(rows)

    def _owners(self) -> np.ndarray:
        """Returns, for each generator of the views, the number of its view."""
        return np.repeat(np.arange(len(self.views)), self._counts)

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise of the inputs as they are."""
        return MEAN

    def point_layer(self) -> keras.Layer:
        return FixedView(self.views, name=self.name, dtype=self.dtype_policy)

    def point_weights(self, noise: Tensor) -> list:
        keys = keys_of(noise, self._noise_shape)
        ends = np.cumsum([1, *self._counts])
        states = [keys[start:end] for start, end in itertools.pairwise(ends.tolist())]
        return [keys[0, 0], *(x for x in states if x.shape[0])]

    def get_config(self) -> dict[str, Any]:
        views = [keras.saving.serialize_keras_object(view) for view in self.views]
        return {**super().get_config(), "views": views}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Augment":
        return cls(**_with_views(config))


@keras.saving.register_keras_serializable("tfhyper")
class FixedView(keras.layers.Layer):
    """The inputs in the view of one draw: what `Augment` becomes in it.

    Args:
        views: sequence of Keras layers without weights, built ones if they draw.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Attributes:
        view: scalar variable, the number of the view; below zero: none of them.

    Input shape:
        What the views take.

    Output shape:
        That of the input.
    """

    def __init__(self, views: Sequence[keras.layers.Layer], **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.view = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="none",
            name="view",
        )
        self.views = [
            FixedNoise(x, training=True) if generator_states(x) else x for x in views
        ]

    def call(self, inputs: Tensor) -> Tensor:
        outputs = inputs
        # All of them: next to a network, a view costs nothing.
        for i, view in enumerate(self.views):
            if not isinstance(view, keras.layers.Identity):
                seen = ops.cast(view(inputs), inputs.dtype)
                outputs = ops.where(ops.equal(self.view, i), seen, outputs)
        return outputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        layers = [x.layer if isinstance(x, FixedNoise) else x for x in self.views]
        views = [keras.saving.serialize_keras_object(layer) for layer in layers]
        return {**super().get_config(), "views": views}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FixedView":
        return cls(**_with_views(config))


def _with_views(config: dict[str, Any]) -> dict[str, Any]:
    views = map(keras.saving.deserialize_keras_object, config["views"])
    return {**config, "views": list(views)}


def _check_views(views: Sequence[View]) -> list[keras.layers.Layer]:
    """Returns views as layers."""
    check_instance("views", views, list | tuple, "a sequence of views")
    if not views:
        raise ValueError("`views` must not be empty. Received: views=[]")
    rule = "None, a Keras layer or a function of the inputs"
    return [_layer_of(check_instance("views", x, _KINDS, rule)) for x in views]


def _layer_of(view: View) -> keras.layers.Layer:
    if view is None:
        return keras.layers.Identity()
    return view if isinstance(view, keras.Layer) else keras.layers.Lambda(view)
