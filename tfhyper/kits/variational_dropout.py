"""Variational dropout: a learned rate for each weight (Molchanov et al., 2017)."""

import dataclasses
from collections.abc import Iterable

from tfhyper.kits.bayes import INITIAL_SCALE, bayes
from tfhyper.kits.kit import LayerKit, weight_of_kl
from tfhyper.layers import gaussian_kernel as defaults
from tfhyper.layers.chosen_variables import MATRICES
from tfhyper.layers.priors import LOG_UNIFORM


def variational_dropout(
    num_examples: int | None = None,
    *,
    estimator: defaults.Estimator = "local_reparameterization",
    initial_scale: float = INITIAL_SCALE,
    kernel_initializer: defaults.Initializer = None,
    variables: Iterable[str] = MATRICES,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit whose weights learn Gaussian dropout, each its own rate.

    A weight is mean (1 + sqrt(alpha) eps) with eps of N(0, 1), the noise of dropout of
    a rate p with alpha = p / (1 - p), and the prior is log-uniform. That is the
    posterior of `tfhyper.kits.bayes` with `prior="log_uniform"`: N(mean, sigma^2) with
    alpha = sigma^2 / mean^2, learned as mean and sigma, whose gradients vary less
    (Molchanov et al., section 4.2). All that takes its layers takes these.

    Each layer adds KL(q || p) / num_examples to the loss, by the approximation of
    equation 14 there, up to a constant; `tfhyper.training.KLSchedule` multiplies it,
    and networks need it: the paper lets it grow. alpha has no bound: a weight that the
    data do not need becomes noise around 0, and
    `tfhyper.pruning.prune(model, criterion="signal_to_noise", threshold=0.22)` takes
    those of log alpha > 3 out. (Kingma et al. hold alpha <= 1, and share it between
    the weights of a layer.)

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        estimator: `"local_reparameterization"`, that of the papers, or another one of
            `tfhyper.layers.BayesConv2D`.
        initial_scale: float > 0, sigma at the start, times sqrt(2 / fan_in): about
            sqrt(alpha) of weights of He's method.
        kernel_initializer: initializer of the means; `None`: the network's.
        variables: roles of the variables that `tfhyper.convert` makes random in layers
            that are neither convolutions nor dense layers, as for `tfhyper.kits.bayes`.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, for an unknown role or
            estimator, and as `tfhyper.layers.BayesConv2D`.

    Example:

    >>> kit = tfhyper.kits.variational_dropout(num_examples=50_000)
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> tfhyper.layers.variational_layers(model)[0].prior
    'log_uniform'

    Reference:
        Kingma, Salimans, Welling: Variational dropout and the local reparameterization
        trick, NeurIPS 2015. Molchanov, Ashukha, Vetrov: Variational dropout sparsifies
        deep neural networks, ICML 2017.
    """
    weight_of_kl("variational_dropout", num_examples)
    kit = bayes(
        num_examples,
        estimator=estimator,
        prior=LOG_UNIFORM,
        initial_scale=initial_scale,
        kernel_initializer=kernel_initializer,
        variables=variables,
        seed=seed,
    )
    return dataclasses.replace(kit, name="variational_dropout")
