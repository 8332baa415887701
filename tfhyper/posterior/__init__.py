"""Draws of a network, and the predictor that averages over them."""

from tfhyper.posterior.draws import Draw
from tfhyper.posterior.point_network import PointNetwork
from tfhyper.posterior.prediction import Prediction, RegressionPrediction
from tfhyper.posterior.predictor import PosteriorPredictor

__all__ = [
    "Draw",
    "PointNetwork",
    "PosteriorPredictor",
    "Prediction",
    "RegressionPrediction",
]
