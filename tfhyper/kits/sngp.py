"""Spectral normalization and a Gaussian process at the end: SNGP (Liu et al., 2020)."""

from typing import Any

import keras

from tfhyper import layers
from tfhyper.kits.kit import LayerKit, conv2d, counterpart, dense, seed_at, through
from tfhyper.layers import random_feature_gaussian_process as defaults
from tfhyper.layers.live_config import live_config
from tfhyper.layers.one_pass import MEAN_FIELD_FACTOR
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.spectral_kernel import POWER_ITERATIONS

LAYERS = (
    layers.SpectralConv1D,
    layers.SpectralConv2D,
    layers.SpectralConv3D,
    layers.SpectralDense,
)
# That of the wide residual networks of the paper, not that of the single layers.
NORM_BOUND = 6.0


def sngp(
    num_examples: int | None = None,
    *,
    norm_bound: float = NORM_BOUND,
    power_iterations: int = POWER_ITERATIONS,
    num_features: int = defaults.NUM_FEATURES,
    length_scale: float | None = None,
    amplitude: float = defaults.AMPLITUDE,
    ridge: float = defaults.RIDGE,
    normalize_inputs: bool = True,
    covariance: defaults.Covariance = defaults.COVARIANCE,
    momentum: float | None = None,
    inference: defaults.Inference = defaults.INFERENCE,
    mean_field_factor: float = MEAN_FIELD_FACTOR,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit of spectral-normalised neural Gaussian processes.

    Convolutions and hidden dense layers have kernels of bounded norm, so that a
    residual network keeps apart inputs that are far from each other; the layer of the
    logits is a Gaussian process of random features, whose variance grows away from the
    training data. One training, and one pass predicts: a call of the trained model
    gives mean-field logits. Its `tfhyper.PosteriorPredictor` averages over draws of the
    last layer, and has an epistemic uncertainty; with `inference="mean_field"` it is
    one network with the mean-field logits, whose uncertainty is all in `total`.

    Transposed convolutions, and BatchNorm, are plain: the paper's networks have the
    latter too.

    Args:
        num_examples: int > 0, the number of training examples, for the prior of the
            last layer's weights in the loss, or `None` for none: weight decay then
            stands for it.
        norm_bound: float > 0, c of all kernels. 6 is the paper's for wide residual
            networks; where nothing else bounds the norm, 0.95.
        power_iterations: int > 0, see `tfhyper.layers.SpectralDense`.
        num_features: int > 0, these and the next are described in
            `tfhyper.layers.RandomFeatureGaussianProcess`.
        length_scale: float > 0, or `None`.
        amplitude: float > 0.
        ridge: float > 0.
        normalize_inputs: bool.
        covariance: `"shared"` or `"per_class"`.
        momentum: float in 0 < momentum < 1, or `None`.
        inference: `"draws"` or `"mean_field"`.
        mean_field_factor: float >= 0.
        seed: int in 0 <= seed < 2**31 from which the random features are drawn, or
            `None` for a fresh one.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> kit = tfhyper.kits.sngp(num_features=64)
    >>> model = tfhyper.models.wide_resnet(10, 1, kit=kit)
    >>> type(model.get_layer("logits")).__name__
    'RandomFeatureGaussianProcess'

    Reference:
        Liu et al.: Simple and principled uncertainty estimation with deterministic
        deep learning via distance awareness, NeurIPS 2020.
    """
    seed = check_seed(seed)
    bounded: dict[str, Any] = {
        "norm_bound": norm_bound,
        "power_iterations": power_iterations,
    }
    options: dict[str, Any] = {
        "num_features": num_features,
        "length_scale": length_scale,
        "amplitude": amplitude,
        "ridge": ridge,
        "normalize_inputs": normalize_inputs,
        "covariance": covariance,
        "momentum": momentum,
        "num_examples": num_examples,
        "inference": inference,
        "mean_field_factor": mean_field_factor,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.SpectralDense(1, **bounded)
    layers.RandomFeatureGaussianProcess(1, **options)

    def replace(layer: keras.Layer, path: str) -> keras.Layer:
        return counterpart(layer, LAYERS).from_config({**live_config(layer), **bounded})

    def replace_head(layer: keras.Layer, path: str) -> keras.Layer:
        return layers.RandomFeatureGaussianProcess(
            layer.units,
            **options,
            activation=layer.activation,
            seed=seed_at(seed, path),
            name=layer.name,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
        )

    return LayerKit(
        name="sngp",
        conv=through(replace, conv2d),
        stem=through(replace, conv2d),
        dense=through(replace, dense),
        head=through(replace_head, dense),
        replace=replace,
        replaces=tuple(cls.point_class for cls in LAYERS),
        replace_head=replace_head,
        heads=(keras.layers.Dense,),
    )
