"""The factorised Gaussian posterior over variables of any layer."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfhyper.checks import check_number
from tfhyper.layers.chosen_variables import ChosenVariable
from tfhyper.layers.gaussian_weights import (
    INITIAL_SCALE,
    PRIOR_SCALE,
    GaussianArguments,
    GaussianWeights,
    Initializer,
    PriorMean,
)
from tfhyper.layers.noise import generator_of
from tfhyper.layers.seeds import derive_seed
from tfhyper.layers.variable_posterior import VariablePosterior
from tfhyper.layers.variational import KLTerm, VariationalLayer, check_kl_weight
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class GaussianPosterior(GaussianArguments, VariationalLayer, VariablePosterior):
    """Each chosen weight ~ N(mean, softplus(rho)^2), for itself: Bayes by Backprop.

    The means are the layer's own variables. The loss gains kl_weight * KL(q || p), in
    nats and summed over the chosen weights, once whatever the number of calls. Its
    weight, its schedules and its meaning are those of `tfhyper.layers.BayesDense`.
    The standard deviation at the start is `initial_scale` times sqrt(2 / fan_in), that
    of He's kernel, where fan_in is the product of all sizes of a kernel but the last,
    and the size of one embedding; a bias, gamma or beta has that of the kernel beside
    it. A call draws each variable once for the batch (and the whole sequence).

    Args:
        prior_scale: float > 0, of the prior N(0, prior_scale^2).
        prior: a `tfp.distributions` distribution in its place: see
            `tfhyper.layers.BayesConv2D`, as are the next ones.
        trainable_prior_scale: bool, whether the prior's scale is learned.
        prior_mean: `"zero"`, or `"weight"`: a fixed weight, for MOPED.
        kl_weight: float >= 0, factor of the KL divergence in the loss; `None`: 1 / N,
            found in training.
        initial_scale: float > 0, as above.
        rho_initializer: initializer of rho in place of `initial_scale`.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments.

    Raises:
        ValueError: for numbers out of range, or (when it is built) a prior of another
            shape.
        TypeError: for a prior that cannot be saved.
        ImportError: for a `prior` on a backend without TensorFlow Probability.

    Example:

    >>> posterior = tfhyper.layers.GaussianPosterior(kl_weight=1 / 60_000)
    >>> layer = tfhyper.layers.RandomVariables(keras.layers.GRU(4), posterior)
    >>> layer.build((None, 7, 3))
    >>> float(posterior.kl_divergence()) > 0
    True

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """

    def __init__(
        self,
        prior_scale: float = PRIOR_SCALE,
        prior: Any = None,
        trainable_prior_scale: bool = False,
        prior_mean: PriorMean = "zero",
        kl_weight: float | None = None,
        initial_scale: float = INITIAL_SCALE,
        rho_initializer: Initializer = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.set_gaussian(
            prior_scale, prior, trainable_prior_scale, prior_mean, rho_initializer
        )
        self.kl_weight = check_kl_weight(kl_weight)
        self.initial_scale = check_number("initial_scale", initial_scale, positive=True)

    def build_variables(self, chosen: Sequence[ChosenVariable]) -> None:
        """Makes rho and, where asked for, the fixed prior mean of each variable."""
        self.build_kl_factor()
        self.build_prior_scale()
        self._gaussians: list[GaussianWeights] = []
        for x in chosen:
            # The divergence of all is the regularizer of one that is trained.
            trained = x.variable.trainable and not any(
                weights.mean.trainable for weights in self._gaussians
            )
            weights = GaussianWeights(
                self,
                x.name,
                tuple(x.variable.shape),
                {"regularizer": KLTerm(self)} if trained else {},
                x.deviation,
                mean=x.variable,
            )
            # What is frozen does not learn, neither where it is nor how wide.
            weights.rho.trainable = x.variable.trainable
            self._gaussians.append(weights)

    @property
    def scales(self) -> list[Tensor]:
        """The standard deviations of the chosen weights, softplus(rho), in order."""
        return [weights.scale for weights in self._gaussians]

    def begin_call(self, inputs: Tensor, training: bool | None) -> Tensor:
        """Returns the noise of the next call; counts it and its examples."""
        self.count_examples(inputs, training)
        return super().begin_call(inputs, training)

    def values(self, noise: Tensor) -> list[Tensor]:
        """Returns mean + softplus(rho) eps of each chosen variable."""
        normal = generator_of(noise).normal
        return [weights.sample(normal) for weights in self._gaussians]

    def kl_divergence(self) -> Tensor:
        """Returns KL(q || p) in nats, summed over all chosen weights."""
        count = self.current_count(training=True)
        normal: Callable = generator_of(
            self.fresh_noise(derive_seed(self.seed, 1), count)
        ).normal
        terms = [weights.kl_divergence(normal) for weights in self._gaussians]
        return sum(terms[1:], terms[0])

    def set_moped(self, delta: float) -> None:
        """Takes prior means and posterior scales from the present means (MOPED).

        For one with `prior_mean="weight"`; see `tfhyper.convert`.

        Args:
            delta: float > 0, a scale over the size of its mean.
        """
        for weights in self._gaussians:
            weights.set_moped(delta)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the posterior."""
        return {
            **super().get_config(),
            **self.gaussian_config(),
            "kl_weight": self.kl_weight,
            "initial_scale": self.initial_scale,
        }
