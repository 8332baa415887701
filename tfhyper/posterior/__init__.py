"""Draws of a network, ensembles of networks, and predictors that average."""

from tfhyper.posterior.anytime import AnytimePrediction
from tfhyper.posterior.deep_ensemble import DeepEnsemble
from tfhyper.posterior.draws import Draw
from tfhyper.posterior.point_network import PointNetwork
from tfhyper.posterior.prediction import Prediction, RegressionPrediction
from tfhyper.posterior.predictor import PosteriorPredictor
from tfhyper.posterior.rejection import Rejection

__all__ = [
    "AnytimePrediction",
    "DeepEnsemble",
    "Draw",
    "PointNetwork",
    "PosteriorPredictor",
    "Prediction",
    "RegressionPrediction",
    "Rejection",
]
