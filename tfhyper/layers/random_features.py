"""Random Fourier features: a kernel of Gaussian processes as a product."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.tensor_types import Shape, Tensor

_EPSILON = 1e-5


class RandomFeatures(keras.layers.Layer):
    """Part of a layer whose inputs h become features of a Gaussian kernel.

        phi(h) = amplitude sqrt(2 / D) cos(h W / length_scale + b)

    with W of N(0, 1) and b of U(0, 2 pi), both fixed, so that phi(h) . phi(h') is, up
    to an error of about amplitude^2 / sqrt(D), the kernel

        amplitude^2 exp(-|h - h'|^2 / (2 length_scale^2))

    (Rahimi and Recht, 2007). With `normalize_inputs` h is normalised first as by
    `keras.layers.LayerNormalization`, with a trained scale and shift.

    Everything is in the policy's variable dtype, whatever its compute dtype.
    """

    num_features: int
    length_scale: float | None
    amplitude: float
    normalize_inputs: bool

    def build_features(self, input_shape: Shape, trainable: bool = True) -> None:
        """Makes the variables; those of W and b are zero until they are drawn."""
        size = input_shape[-1]
        options: dict[str, Any] = {"autocast": False}
        if self.normalize_inputs:
            self.norm_scale, self.norm_shift = (
                self.add_weight(
                    shape=(size,),
                    initializer=value,
                    trainable=trainable,
                    name=f"norm_{name}",
                    **options,
                )
                for name, value in (("scale", "ones"), ("shift", "zeros"))
            )
        self.frequencies = self.add_weight(
            shape=(size, self.num_features),
            initializer="zeros",
            trainable=False,
            name="frequencies",
            **options,
        )
        self.phases = self.add_weight(
            shape=(self.num_features,),
            initializer="zeros",
            trainable=False,
            name="phases",
            **options,
        )

    def draw_features(self, seed: int) -> None:
        """Draws W and b, the same on all backends."""
        rng = np.random.default_rng(seed)
        self.frequencies.assign(rng.standard_normal(self.frequencies.shape, "float32"))
        phases = 2 * math.pi * rng.random(self.phases.shape, "float32")
        self.phases.assign(phases)

    @property
    def feature_variables(self) -> list[keras.Variable]:
        """The variables above, in the order in which they are made."""
        norm = [self.norm_scale, self.norm_shift] if self.normalize_inputs else []
        return [*norm, self.frequencies, self.phases]

    def features(self, inputs: Tensor) -> Tensor:
        """Returns phi, (batch, ..., num_features), of inputs (batch, ..., size)."""
        x = ops.cast(inputs, self.variable_dtype)
        if self.normalize_inputs:
            x = x - ops.mean(x, axis=-1, keepdims=True)
            variance = ops.mean(ops.square(x), axis=-1, keepdims=True)
            x = x / ops.sqrt(variance + _EPSILON)
            x = x * self.norm_scale + self.norm_shift
        length = self.length_scale
        if length is None:
            length = math.sqrt(self.frequencies.shape[0])
        angles = ops.matmul(x, self.frequencies) / length + self.phases
        return self.amplitude * math.sqrt(2.0 / self.num_features) * ops.cos(angles)
