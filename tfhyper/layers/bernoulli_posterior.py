"""DropConnect: each weight is dropped, or is larger (Wan et al., 2013)."""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_number
from tfhyper.layers.noise import generator_of, is_mean
from tfhyper.layers.variable_posterior import VariablePosterior
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class BernoulliPosterior(VariablePosterior):
    """Each chosen weight = m mean / (1 - rate), with a mask m: DropConnect.

        m = 0 with probability rate, else 1, for each weight by itself

    The means are the layer's own variables, and the mean over draws is theirs: with
    variance mean^2 rate / (1 - rate). In training and in prediction a call draws one
    mask for the batch (and the whole sequence), where Wan et al. draw one for each
    example. It has no prior and adds nothing to the loss: a regularizer of a chosen
    variable acts on what is drawn. At the posterior's mean nothing is dropped.

    Args:
        rate: float in 0 <= rate < 1, the probability of dropping a weight.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments.

    Raises:
        ValueError: for a rate or a seed out of its range.

    Example:

    >>> posterior = tfhyper.layers.BernoulliPosterior(0.2)
    >>> layer = tfhyper.layers.RandomVariables(keras.layers.LSTM(4), posterior)
    >>> layer(keras.ops.ones((2, 5, 3))).shape
    (2, 4)

    Reference:
        Wan et al.: Regularization of neural networks using DropConnect, ICML 2013.
        Mobiny et al.: DropConnect is effective in modeling uncertainty of Bayesian
        deep networks, Scientific Reports 11, 2021 (draws in prediction).
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.rate = check_number("rate", rate, below=1)

    def values(self, noise: Tensor) -> list[Tensor]:
        """Returns m mean / (1 - rate) of each chosen variable."""
        means = [ops.convert_to_tensor(x.variable) for x in self.chosen]
        if is_mean(noise):
            return means
        uniform = generator_of(noise).uniform
        return [
            # Not a product: what is dropped may be infinite.
            ops.where(
                uniform(tuple(mean.shape)) >= self.rate,
                mean / (1.0 - self.rate),
                ops.zeros_like(mean),
            )
            for mean in means
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the posterior."""
        return {**super().get_config(), "rate": self.rate}
