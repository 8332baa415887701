"""Layers with random weights: a Keras operation plus a posterior over its kernel.

A posterior has one name in front of its layers, one of its class, which says what the
kernel is, and one of its kit, which is that of the paper:

    layers        class of the posterior    kit of `tfhyper.kits`
    Hyper*        GeneratedKernel           hyper               Ukai et al., 2019
    Bayes*        GaussianKernel            bayes               Blundell et al., 2015
    BayesHyper*   FlowKernel                bayesian_hypernet   Krueger et al., 2017
    MNF*          MultiplicativeKernel      mnf                 Louizos, Welling, 2017
    RankOne*      RankOneKernel             rank_one            Wen et al., 2020
    StaticHyper*  (none: draws nothing)     static_hypernet     Ha et al., 2016
    VBLLDense     LastLayerPosterior        vbll                Harrison et al., 2024
    Spectral*     SpectralKernel (no draw)  sngp                Liu et al., 2020

Of any other layer, such as LSTM or MultiHeadAttention, `RandomVariables` draws chosen
variables by a `VariablePosterior`, such as `GaussianPosterior`, `GeneratedPosterior` or
`BernoulliPosterior`, DropConnect; or `SubspacePosterior`, whose layers have the
coordinates of one `SubspacePoint`: the kit `subspace`, Wortsman et al., 2021.

Of `sngp` the last layer is `RandomFeatureGaussianProcess`.

The operations are in `operations`. Of dropout, `Dropout` draws in training alone,
`MCDropout` in prediction too, and `stock_dropout` makes the latter of Keras' layers.
`ConcreteDropout` learns its rate; variational dropout is the prior `"log_uniform"` of
the layers Bayes*.
`Augment` draws how the inputs are seen, in `views`: `Flip`, `Shift` and others.
`MaxUnpooling2D`, `PixelShuffle` and `BicubicUpsampling2D` draw nothing: networks of
maps and pictures have them, and Keras does not.
"""

from tfhyper.layers.augment import Augment
from tfhyper.layers.bayes_conv1d import BayesConv1D
from tfhyper.layers.bayes_conv2d import BayesConv2D
from tfhyper.layers.bayes_conv2d_transpose import BayesConv2DTranspose
from tfhyper.layers.bayes_conv3d import BayesConv3D
from tfhyper.layers.bayes_dense import BayesDense
from tfhyper.layers.bayes_depthwise_conv2d import BayesDepthwiseConv2D
from tfhyper.layers.bayes_hyper_conv2d import BayesHyperConv2D
from tfhyper.layers.bayes_hyper_dense import BayesHyperDense
from tfhyper.layers.bernoulli_posterior import BernoulliPosterior
from tfhyper.layers.bicubic_upsampling2d import BicubicUpsampling2D
from tfhyper.layers.concrete_dropout import ConcreteDropout
from tfhyper.layers.dropout import Dropout
from tfhyper.layers.gaussian_posterior import GaussianPosterior
from tfhyper.layers.generated_posterior import GeneratedPosterior
from tfhyper.layers.hyper_conv1d import HyperConv1D
from tfhyper.layers.hyper_conv2d import HyperConv2D
from tfhyper.layers.hyper_conv2d_transpose import HyperConv2DTranspose
from tfhyper.layers.hyper_conv3d import HyperConv3D
from tfhyper.layers.hyper_dense import HyperDense
from tfhyper.layers.hyper_depthwise_conv2d import HyperDepthwiseConv2D
from tfhyper.layers.kernel_generator import KernelGenerator
from tfhyper.layers.latent_code import LatentCode
from tfhyper.layers.max_unpooling2d import MaxUnpooling2D
from tfhyper.layers.mc_dropout import MCDropout
from tfhyper.layers.mnf_conv2d import MNFConv2D
from tfhyper.layers.mnf_dense import MNFDense
from tfhyper.layers.moving_averages import MovingAveragesWarning
from tfhyper.layers.noise import NoiseKind
from tfhyper.layers.pixel_shuffle import PixelShuffle
from tfhyper.layers.priors import scale_mixture
from tfhyper.layers.random_feature_gaussian_process import (
    RandomFeatureGaussianProcess,
)
from tfhyper.layers.random_variables import RandomVariables
from tfhyper.layers.rank_one_conv1d import RankOneConv1D
from tfhyper.layers.rank_one_conv2d import RankOneConv2D
from tfhyper.layers.rank_one_conv3d import RankOneConv3D
from tfhyper.layers.rank_one_dense import RankOneDense
from tfhyper.layers.roles import give_role, role_of
from tfhyper.layers.spectral_constraint import SpectralConstraint
from tfhyper.layers.spectral_conv1d import SpectralConv1D
from tfhyper.layers.spectral_conv2d import SpectralConv2D
from tfhyper.layers.spectral_conv3d import SpectralConv3D
from tfhyper.layers.spectral_dense import SpectralDense
from tfhyper.layers.static_hyper_conv2d import StaticHyperConv2D
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.layers.subspace_point import SubspacePoint
from tfhyper.layers.subspace_posterior import SubspacePosterior
from tfhyper.layers.variable_posterior import VariablePosterior
from tfhyper.layers.variational import VariationalLayer, variational_layers
from tfhyper.layers.vbll_dense import VBLLDense
from tfhyper.layers.views import Flip, Shift

__all__ = [
    "Augment",
    "BayesConv1D",
    "BayesConv2D",
    "BayesConv2DTranspose",
    "BayesConv3D",
    "BayesDense",
    "BayesDepthwiseConv2D",
    "BayesHyperConv2D",
    "BayesHyperDense",
    "BernoulliPosterior",
    "BicubicUpsampling2D",
    "ConcreteDropout",
    "Dropout",
    "Flip",
    "GaussianPosterior",
    "GeneratedPosterior",
    "HyperConv1D",
    "HyperConv2D",
    "HyperConv2DTranspose",
    "HyperConv3D",
    "HyperDense",
    "HyperDepthwiseConv2D",
    "KernelGenerator",
    "LatentCode",
    "MCDropout",
    "MNFConv2D",
    "MNFDense",
    "MaxUnpooling2D",
    "MovingAveragesWarning",
    "NoiseKind",
    "PixelShuffle",
    "RandomFeatureGaussianProcess",
    "RandomVariables",
    "RankOneConv1D",
    "RankOneConv2D",
    "RankOneConv3D",
    "RankOneDense",
    "Shift",
    "SpectralConstraint",
    "SpectralConv1D",
    "SpectralConv2D",
    "SpectralConv3D",
    "SpectralDense",
    "StaticHyperConv2D",
    "StochasticLayer",
    "SubspacePoint",
    "SubspacePosterior",
    "VBLLDense",
    "VariablePosterior",
    "VariationalLayer",
    "give_role",
    "role_of",
    "scale_mixture",
    "variational_layers",
]
