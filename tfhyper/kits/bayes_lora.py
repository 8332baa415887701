"""Gaussian posteriors over low-rank adapters alone: Bayesian LoRA."""

import functools
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from tfhyper import layers
from tfhyper.checks import check_choice, check_instance
from tfhyper.kits.bayes import INITIAL_SCALE
from tfhyper.kits.kit import LayerKit, drawn_by, weight_of_kl
from tfhyper.layers import gaussian_weights as defaults
from tfhyper.layers.seeds import check_seed

Factor: TypeAlias = Literal["a", "b"]
FACTORS: tuple[Factor, ...] = ("a", "b")


def bayes_lora(
    num_examples: int | None = None,
    *,
    factors: Factor | Iterable[Factor] = FACTORS,
    prior_scale: float = defaults.PRIOR_SCALE,
    initial_scale: float = INITIAL_SCALE,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit that draws the low-rank factors of adapted layers, and no others.

    For `tfhyper.convert`, of a network of which layers were adapted by `enable_lora`
    (Hu et al., 2022): `Dense`, `EinsumDense` and `Embedding`, by themselves or inside
    of others, as `backbone.enable_lora(rank)` of KerasHub does it. Such a layer has

        W + alpha / rank A B,    A (inputs, rank), B (rank, outputs)

    with W frozen. A and B get a Gaussian posterior whose means are the adapters as they
    are: rank (inputs + outputs) random numbers in place of inputs times outputs, so
    that a draw of a large network is small. All other layers are kept as they are, W
    too, which may be quantized to int8 or float8. Files of the converted network have A
    and B beside W, which Keras' own add up.

    Each layer adds KL(q || p) / num_examples to the loss. A fresh B is 0: the noise of
    A does nothing then, and that of B, initial_scale sqrt(2 / rank) for each weight,
    makes kernels that are about initial_scale sqrt(2) He's away from W.

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        factors: `"a"`, `"b"` or both. (Wang et al., 2024, draw A alone.)
        prior_scale: float > 0, of the prior N(0, prior_scale^2).
        initial_scale: float > 0, of the posterior, times sqrt(2 / fan_in), where
            fan_in is `inputs` for A and `rank` for B.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, for other factors, or
            numbers out of range.

    Example:

    >>> dense = keras.layers.Dense(8, name="adapted")
    >>> network = keras.Sequential([keras.Input((4,)), dense, keras.layers.Dense(2)])
    >>> dense.enable_lora(rank=2)
    >>> kit = tfhyper.kits.bayes_lora(num_examples=1000)
    >>> bayesian = tfhyper.convert(network, kit)
    >>> [x.path for x in bayesian.get_layer("adapted").posterior.chosen]
    ['lora_kernel_a', 'lora_kernel_b']

    Reference:
        Hu et al.: LoRA: Low-rank adaptation of large language models, ICLR 2022. Wang
        et al.: BLoB: Bayesian low-rank adaptation by backpropagation for large language
        models, NeurIPS 2024.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "prior_scale": prior_scale,
        "initial_scale": initial_scale,
        "kl_weight": weight_of_kl("bayes_lora", num_examples),
    }
    # Bad arguments are refused here, at the door, not when a network is converted.
    layers.GaussianPosterior(**options)
    parts = [factors] if isinstance(factors, str) else factors
    parts = list(check_instance("factors", parts, Iterable, '"a", "b" or both'))
    if not parts:
        raise ValueError(f'`factors` must be "a", "b" or both. Received: {factors!r}')
    roles = tuple(f"lora_{check_choice('factors', x, FACTORS)}" for x in parts)

    posterior = functools.partial(layers.GaussianPosterior, **options)
    wrap = drawn_by(posterior, roles, seed)
    return LayerKit(name="bayes_lora", wrap=wrap, wraps=roles)
