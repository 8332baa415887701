"""Posteriors of all weights of a model, learned or kept in one training."""

from tfhyper.variational.ivon import IVON
from tfhyper.variational.kept_weights import KeptWeights
from tfhyper.variational.model import Variational
from tfhyper.variational.swag_posterior import SWAGPosterior
from tfhyper.variational.weight_noise import WeightNoise
from tfhyper.variational.weight_posterior import WeightPosterior

__all__ = [
    "IVON",
    "KeptWeights",
    "SWAGPosterior",
    "Variational",
    "WeightNoise",
    "WeightPosterior",
]
