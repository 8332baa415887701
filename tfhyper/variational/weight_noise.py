"""The noise of all weights of a model, and its learned scale."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_number, check_positive_integer
from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.noise import MEAN, generator_of
from tfhyper.layers.roles import POSTERIOR, give_role
from tfhyper.layers.seeded_noise import SeededNoise
from tfhyper.layers.seeds import StatelessSeed, check_seed
from tfhyper.tensor_types import Tensor
from tfhyper.variational.weight_posterior import NoiseOfWeights


@keras.saving.register_keras_serializable("tfhyper")
class WeightNoise(DrawCounter, SeededNoise, NoiseOfWeights, keras.layers.Layer):
    """Gaussian noise of many weights at once, each with a scale of its own.

    The weights of a draw are w = m + sigma eps, with m their means, eps from N(0, 1)
    and, all of it weight by weight,

        sigma^2 = 1 / (effective_sample_size (h + weight_decay)).

    h, the `curvature`, is a trainable variable: the gradient of a loss with respect to
    it is that of the reparameterization w = m + sigma(h) eps. Weights and noise are
    one vector here, in the order of the model's variables.

    Noise in training is a function of (`seed`, count); the count is a weight of the
    layer, so that a saved and reloaded training goes on as it would have.

    Args:
        size: int > 0, the number of weights.
        effective_sample_size: float > 0, lambda.
        weight_decay: float > 0, delta.
        initial_curvature: float > 0, with which h begins.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> noise = tfhyper.variational.WeightNoise(3, 50.0, 0.5, 1.5, seed=0)
    >>> noise.build()
    >>> [round(float(x), 4) for x in noise.scale()]
    [0.1, 0.1, 0.1]
    """

    def __init__(
        self,
        size: int,
        effective_sample_size: float,
        weight_decay: float,
        initial_curvature: float,
        seed: int | None = None,
        **kwargs: Any,
    ):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.size = check_positive_integer("size", size)
        self.effective_sample_size = check_number(
            "effective_sample_size", effective_sample_size, positive=True
        )
        # The prior's precision over lambda: without it some weights have no scale.
        self.weight_decay = check_number("weight_decay", weight_decay, positive=True)
        self.initial_curvature = check_number(
            "initial_curvature", initial_curvature, positive=True
        )
        self.seed = check_seed(seed)
        self._places: Callable[[], list[tuple[keras.Variable, int, int]]] = list

    def build(self, input_shape: Any = None) -> None:
        """Makes the curvature, and the count of the draws."""
        self.curvature = self.add_weight(
            shape=(self.size,),
            initializer=keras.initializers.Constant(self.initial_curvature),
            autocast=False,
            name="curvature",
        )
        give_role(POSTERIOR, [self.curvature])
        # An optimizer finds the noise by the variable.
        self.curvature.tfhyper_weight_noise = self
        self.build_counter()
        self.built = True

    def scale(self) -> Tensor:
        """Returns sigma, the deviation of each weight: float32, (size,)."""
        precision = ops.add(self.curvature, self.weight_decay)
        return ops.rsqrt(self.effective_sample_size * precision)

    def training_noise(self, count: Tensor) -> Tensor:
        """Returns eps of draw number `count` in training: float32, (size,)."""
        seed = StatelessSeed(self.seed, count)
        return keras.random.normal((self.size,), dtype="float32", seed=seed)

    def next_deviation(self) -> Tensor:
        """Returns sigma eps of the next draw in training, and counts it as made."""
        return self.scale() * self.training_noise(self.next_count(training=True))

    def deviation_of(self, noise: Tensor) -> Tensor:
        """Returns sigma eps of the noise of a draw: float32, (size,)."""
        return self.scale() * generator_of(noise).normal((self.size,))

    def belong_to(self, means: Sequence[keras.Variable]) -> None:
        """Tells whose the noise is: the variables of the means, in its order.

        Args:
            means: variables of `size` numbers together.

        Raises:
            ValueError: if they have another number.
        """
        ends = np.cumsum([0, *(int(np.prod(x.shape)) for x in means)]).tolist()
        if ends[-1] != self.size:
            raise ValueError(
                f"`means` must have {self.size} numbers together. Received: "
                f"{ends[-1]} in {len(means)} variables"
            )
        places = list(zip(means, ends[:-1], ends[1:], strict=True))
        # In a function: a layer's variables are its own.
        self._places = lambda: places

    def place_of(self, mean: keras.Variable) -> tuple[int, int] | None:
        """Returns where in the vector the noise of a mean begins and ends, if any."""
        for variable, start, end in self._places():
            if variable is mean:
                return start, end
        return None

    @property
    def variables_drawn(self) -> list[keras.Variable]:
        """The variables that a draw gives other values: the means."""
        return self.means

    def weights_of(self, noise: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each mean with its weight in the draw of a noise."""
        return self.drawn(self.deviation_of(noise))

    @property
    def means(self) -> list[keras.Variable]:
        """The means of the weights that have noise, in its order."""
        return [mean for mean, _, _ in self._places()]

    def split(self, vector: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each mean with its part of a vector of all weights, in its shape.

        Args:
            vector: (size,).
        """
        ends = [end for _, _, end in self._places()]
        parts = ops.split(vector, ends[:-1])
        return [
            (mean, ops.reshape(part, mean.shape))
            for mean, part in zip(self.means, parts, strict=True)
        ]

    def drawn(self, deviation: Tensor) -> list[tuple[keras.Variable, Tensor]]:
        """Returns each mean with the weights of a draw, mean + deviation.

        Args:
            deviation: (size,), as of `next_deviation`.
        """
        return [
            (mean, ops.add(mean, ops.cast(part, mean.dtype)))
            for mean, part in self.split(deviation)
        ]

    def sampled_curvature(self, gradient: Tensor, curvature: Tensor) -> Tensor:
        """Returns an estimate of the loss's curvature from a gradient with noise.

            lambda (h + delta) (w - m) dL/dw  =  -2 lambda (h + delta)^2 dL/dh,

        as w = m + sigma(h) eps has dw/dh = -(w - m) / (2 (h + delta)). The mean of
        gradients of several draws gives the mean of their products, not the product
        of means.

        Args:
            gradient: dL/dh, (size,).
            curvature: h, (size,).
        """
        precision = ops.add(curvature, self.weight_decay)
        return -2 * self.effective_sample_size * ops.square(precision) * gradient

    def mean_noise(self) -> np.ndarray | None:
        """Returns the noise of the mean: none."""
        return MEAN

    def get_config(self) -> dict[str, Any]:
        """Returns what the layer can be made from."""
        config = super().get_config()
        del config["dtype"]
        return {
            **config,
            "size": self.size,
            "effective_sample_size": self.effective_sample_size,
            "weight_decay": self.weight_decay,
            "initial_curvature": self.initial_curvature,
            "seed": self.seed,
        }


def noise_of(variable: keras.Variable) -> WeightNoise | None:
    """Returns the noise of which a variable is the curvature, if it is one."""
    return getattr(variable, "tfhyper_weight_noise", None)
