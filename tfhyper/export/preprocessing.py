"""What an exported model does with images before the network sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfhyper.checks import check_numbers
from tfhyper.tensor_types import Shape

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Images of bytes in, normalised as in training: (x / 255 - mean) / std.

    Args:
        mean: mean of each channel, the last axis of the images, in units of 0 to 1;
            or one number.
        std: standard deviation of each channel, likewise, above 0.

    Raises:
        ValueError: if they are not finite, not one number for each channel, of
            different lengths, or a deviation is not above 0.
        TypeError: if they are no numbers.

    Example:

    >>> spec = tfhyper.data.DATASETS["cifar10"]
    >>> preprocessing = tfhyper.export.Preprocessing(spec.mean, spec.std)
    >>> preprocessing.mean
    (0.4914, 0.4822, 0.4465)
    """

    mean: Sequence[float] | float
    std: Sequence[float] | float

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            array = check_numbers(name, value)
            if array.ndim > 1 or not array.size:
                raise ValueError(
                    f"`{name}` must be a number, or one for each channel. "
                    f"Received: {name}={value!r}"
                )
            object.__setattr__(self, name, tuple(np.atleast_1d(array).tolist()))
        if np.size(self.mean) != np.size(self.std):
            raise ValueError(
                "`mean` and `std` must have the same length. "
                f"Received: mean={self.mean}, std={self.std}"
            )
        if np.min(self.std) <= 0:
            raise ValueError(f"`std` must be above 0. Received: std={self.std}")

    def check_shape(self, shapes: list[Shape]) -> None:
        """Raises ValueError unless a network takes images that this is for."""
        channels = shapes[0][-1] if len(shapes) == 1 and shapes[0] else None
        if channels is None or np.size(self.mean) not in (1, channels):
            raise ValueError(
                "`preprocessing` must have a mean and a deviation for each channel "
                "of a network with one input. Received: "
                f"preprocessing={self}, inputs of the shapes {shapes}"
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns uint8 images, a tensor of TensorFlow, as normalised float32."""
        import tensorflow as tf

        # As `tfhyper.data` does it, to the last bit.
        images = tf.cast(images, tf.float32) / 255.0
        mean, std = (tf.constant(x, tf.float32) for x in (self.mean, self.std))
        return (images - mean) / std
