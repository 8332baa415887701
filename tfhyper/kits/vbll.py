"""A last layer with a Gaussian posterior: VBLL (Harrison et al., 2024)."""

from typing import Any

import keras

from tfhyper import layers
from tfhyper.kits.kit import LayerKit, dense, seed_at, through, weight_of_kl
from tfhyper.layers import last_layer_posterior as defaults
from tfhyper.layers.live_config import live_config
from tfhyper.layers.one_pass import MEAN_FIELD_FACTOR
from tfhyper.layers.seeds import check_seed


def vbll(
    num_examples: int | None = None,
    *,
    covariance: defaults.CovarianceForm = defaults.COVARIANCE_FORM,
    rank: int = defaults.RANK,
    prior_scale: float = defaults.PRIOR_SCALE,
    noise_scale: float | None = None,
    noise_prior_scale: float | None = None,
    noise_dof: float = defaults.NOISE_DOF,
    initial_scale: float = defaults.INITIAL_SCALE,
    mean_field_factor: float = MEAN_FIELD_FACTOR,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit whose last layer is variational: the classifier alone.

    All other layers are plain. The last layer adds to the loss what makes the
    cross-entropy of its outputs a bound of the expected one, KL(q || p) / num_examples
    and its noise's prior, in one pass and without draws;
    `tfhyper.training.KLSchedule` multiplies the latter two. One pass predicts: a call
    of the trained model gives mean-field logits, and draws of its
    `tfhyper.PosteriorPredictor` differ in the last layer.

    For numbers put `tfhyper.heads.VBLLRegression` at the end of a network.

    Args:
        num_examples: int > 0, the number of training examples. Must be given.
        covariance: `"dense"`, `"diagonal"` or `"low_rank"`, this and the next are
            described in `tfhyper.layers.VBLLDense`. Dense ones hold the square of the
            features' number for each class.
        rank: int > 0.
        prior_scale: float > 0.
        noise_scale: float >= 0, or `None` for a learned one.
        noise_prior_scale: float > 0, or `None` for 1.
        noise_dof: float >= 0.
        initial_scale: float > 0.
        mean_field_factor: float >= 0.
        seed: int in 0 <= seed < 2**31 from which the layer's seed is derived, or
            `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, and as
            `tfhyper.layers.VBLLDense`.

    Example:

    >>> kit = tfhyper.kits.vbll(num_examples=50_000)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    >>> [layer.name for layer in tfhyper.layers.variational_layers(model)]
    ['logits']

    Reference:
        Harrison, Willes, Snoek: Variational Bayesian last layers, ICLR 2024.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "covariance": covariance,
        "rank": rank,
        "prior_scale": prior_scale,
        "noise_scale": noise_scale,
        "noise_prior_scale": noise_prior_scale,
        "noise_dof": noise_dof,
        "kl_weight": weight_of_kl("vbll", num_examples),
        "initial_scale": initial_scale,
        "mean_field_factor": mean_field_factor,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.VBLLDense(1, **options)

    def replace_head(layer: keras.Layer, path: str) -> keras.Layer:
        return layers.VBLLDense.from_config(
            {
                **live_config(layer),
                # The prior takes the place of a regularizer.
                "kernel_regularizer": None,
                "seed": seed_at(seed, path),
                **options,
            }
        )

    return LayerKit(
        name="vbll",
        head=through(replace_head, dense),
        replace_head=replace_head,
        heads=(keras.layers.Dense,),
    )
