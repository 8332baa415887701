"""Dropout that is on in prediction too: MC dropout (Gal and Ghahramani, 2016)."""

import math
from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_instance, check_integer, check_number
from tfhyper.layers.masks import keep_mask
from tfhyper.layers.masks_of_examples import FixedMasksOfExamples, MasksOfExamples
from tfhyper.layers.noise import keys_of
from tfhyper.layers.seeds import check_seed
from tfhyper.tensor_types import Shape, Tensor


class MaskedDropout(keras.layers.Layer):
    """Common part of the layers below: rate, shape of the masks, the product."""

    def __init__(self, rate: float, noise_shape: Shape | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = check_number("rate", rate, below=1)
        self.noise_shape = _check_noise_shape(noise_shape)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        shape = self.noise_shape
        if shape is not None and len(shape) != len(input_shape):
            raise ValueError(
                "`noise_shape` must have one entry for each axis of the inputs. "
                f"Received: noise_shape={shape}, inputs.shape={tuple(input_shape)}"
            )

    def drop(self, inputs: Tensor, key: Tensor, first: Tensor) -> Tensor:
        """Returns mask * inputs / (1 - rate), the mask that of a key.

        Args:
            inputs: float tensor (batch, ...).
            key: int32 tensor (2,), seed and count. A negative seed: no dropout.
            first: integer scalar tensor, number of the batch's first example.
        """
        shape = ops.shape(inputs)
        if self.noise_shape is not None:
            both = zip(self.noise_shape, shape, strict=True)
            shape = tuple(size if one is None else one for one, size in both)
            if self.noise_shape[0] == 1:
                first = ops.zeros_like(first)
        positions = math.prod(shape[1:])
        keep = keep_mask(key, first, shape[0], positions, self.rate)
        keep = ops.logical_or(ops.reshape(keep, shape), key[0] < 0)
        scale = ops.where(key[0] < 0, 1.0, 1.0 / (1.0 - self.rate))
        kept = inputs * ops.cast(scale, inputs.dtype)
        # Not a product: what is dropped may be infinite.
        return ops.where(keep, kept, ops.zeros_like(kept))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rate": self.rate,
            "noise_shape": self.noise_shape,
        }


@keras.saving.register_keras_serializable("tfhyper")
class MCDropout(MasksOfExamples, MaskedDropout):
    """Dropout in training and in prediction: each draw has masks of its own.

        y = m x / (1 - rate),    m = 0 with probability rate, else 1

    A network with dropout before its weight layers, on at prediction, averages
    over draws of an approximate posterior. A direct call draws masks anew, one
    for each example, as a function of (seed, count) that goes on after a reload,
    like the codes of `tfhyper.layers.LatentCode`. In a draw of
    `tfhyper.PosteriorPredictor` the mask is a function of the draw and of the
    example's place in the data, so that a prediction does not depend on how the
    data are split into batches. At the posterior's mean nothing is dropped (the
    weight scaling rule).

    Args:
        rate: float in 0 <= rate < 1, the probability of dropping a value.
        noise_shape: shape of the mask, one entry for each axis of the inputs:
            `None` for the size of the inputs, 1 for one mask along the axis. The
            first is `None`, or 1 for the same mask for all examples. `None` for
            a mask of the shape of the inputs.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one, which the
            config then holds.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Input shape:
        `(batch, ...)`, floats.

    Output shape:
        That of the input.

    Call arguments:
        inputs: the tensor.
        training: bool, which of the two counts to use and advance.

    Raises:
        ValueError: for a rate, shape or seed out of range.

    Example:

    >>> layer = tfhyper.layers.MCDropout(0.1)
    >>> layer(keras.ops.ones((2, 5))).shape
    (2, 5)

    Reference:
        Gal, Ghahramani: Dropout as a Bayesian approximation, ICML 2016.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Shape | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(rate, noise_shape, **kwargs)
        self.seed = check_seed(seed)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.build_counter()

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.drop(inputs, self.next_key(training), ops.zeros((), "int32"))

    def point_layer(self) -> keras.Layer:
        return FixedDropout.from_config(MaskedDropout.get_config(self))

    def point_weights(self, noise: Tensor) -> list:
        return [keys_of(noise), ops.zeros((), "int32")]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("tfhyper")
class FixedDropout(FixedMasksOfExamples, MaskedDropout):
    """Dropout with the masks of one draw: what `MCDropout` becomes in it.

    Args:
        rate: as `MCDropout`, as are the next.
        noise_shape: shape of the mask.
        **kwargs: `keras.layers.Layer` arguments such as `name`.
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.build_masks()

    def call(self, inputs: Tensor) -> Tensor:
        return self.drop(inputs, *self.masks())


def _check_noise_shape(noise_shape: Any) -> Shape | None:
    if noise_shape is None:
        return None
    check_instance("noise_shape", noise_shape, (tuple, list), "a shape")
    shape = tuple(noise_shape)
    if not shape or shape[0] not in (None, 1):
        raise ValueError(
            "`noise_shape` must begin with None, a mask for each example, or with 1, "
            f"one for all. Received: noise_shape={noise_shape}"
        )
    for size in shape:
        if size is not None:
            check_integer("noise_shape", size, 1)
    return shape
