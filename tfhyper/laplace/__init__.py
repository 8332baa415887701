"""A Gaussian posterior of the last layer of a trained network, in closed form."""

from tfhyper.laplace.laplace import Laplace
from tfhyper.laplace.marginal_dense import MarginalDense
from tfhyper.laplace.predictor import LaplacePredictor

__all__ = ["Laplace", "LaplacePredictor", "MarginalDense"]
