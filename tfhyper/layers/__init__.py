"""Layers with random weights: a Keras operation plus a posterior over its kernel."""

from tfhyper.layers.dropout import Dropout
from tfhyper.layers.hyper_conv1d import HyperConv1D
from tfhyper.layers.hyper_conv2d import HyperConv2D
from tfhyper.layers.hyper_conv2d_transpose import HyperConv2DTranspose
from tfhyper.layers.hyper_conv3d import HyperConv3D
from tfhyper.layers.hyper_dense import HyperDense
from tfhyper.layers.latent_code import LatentCode
from tfhyper.layers.stochastic import StochasticLayer

__all__ = [
    "Dropout",
    "HyperConv1D",
    "HyperConv2D",
    "HyperConv2DTranspose",
    "HyperConv3D",
    "HyperDense",
    "LatentCode",
    "StochasticLayer",
]
