"""Draws of a network, ensembles of networks, and predictors that average."""

from tfhyper.posterior.deep_ensemble import DeepEnsemble
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.predictor import PosteriorPredictor
from tfhyper.posterior.running.anytime import AnytimePrediction
from tfhyper.posterior.tasks.classification import Prediction
from tfhyper.posterior.tasks.distribution import DistributionPrediction
from tfhyper.posterior.tasks.labels import LabelsPrediction
from tfhyper.posterior.tasks.regression import RegressionPrediction
from tfhyper.posterior.tasks.rejection import Rejection
from tfhyper.posterior.tasks.several import Predictions
from tfhyper.posterior.tiles import predict_tiles

__all__ = [
    "AnytimePrediction",
    "DeepEnsemble",
    "DistributionPrediction",
    "Draw",
    "PointNetwork",
    "PosteriorPredictor",
    "LabelsPrediction",
    "Prediction",
    "Predictions",
    "RegressionPrediction",
    "Rejection",
    "predict_tiles",
]
