"""A Gaussian posterior of all weights of a model, learned in one training."""

from tfhyper.variational.ivon import IVON
from tfhyper.variational.model import Variational
from tfhyper.variational.weight_noise import WeightNoise

__all__ = ["IVON", "Variational", "WeightNoise"]
