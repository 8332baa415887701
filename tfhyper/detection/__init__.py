"""Foreign inputs: scores of how unlike the training data an input is.

A scorer is fitted to a predictor (or a Keras model) and, where it needs them, to its
training data; it is never shown foreign inputs. All give larger scores for inputs that
are more foreign:

- of probabilities: `MaxProbability`, `Entropy`, and of several draws
  `MutualInformation` and `Disagreement`
- of logits: `MaxLogit`, `Energy`
- of the last features: `Mahalanobis`, `RelativeMahalanobis`, `NearestNeighbours`,
  `FeatureDensity`
- of both: `ViM`, `ReAct`

`DDU` is a prediction whose epistemic uncertainty is the density of features. `table`
compares scorers on inputs that are near and far. A predictor's `fit_rejection` takes a
scorer, by which its predictions are *unknown*.
"""

from tfhyper.detection.ddu import DDU, DDUPrediction
from tfhyper.detection.disagreement import Disagreement
from tfhyper.detection.energy import Energy
from tfhyper.detection.entropy import Entropy
from tfhyper.detection.feature_density import FeatureDensity
from tfhyper.detection.mahalanobis import Mahalanobis
from tfhyper.detection.max_logit import MaxLogit
from tfhyper.detection.max_probability import MaxProbability
from tfhyper.detection.mutual_information import MutualInformation
from tfhyper.detection.nearest_neighbours import NearestNeighbours
from tfhyper.detection.react import ReAct
from tfhyper.detection.registry import SCORERS, load
from tfhyper.detection.relative_mahalanobis import RelativeMahalanobis
from tfhyper.detection.scorer import Scorer
from tfhyper.detection.tables import DetectionTable, table
from tfhyper.detection.vim import ViM

__all__ = [
    "DDU",
    "SCORERS",
    "DDUPrediction",
    "DetectionTable",
    "Disagreement",
    "Energy",
    "Entropy",
    "FeatureDensity",
    "Mahalanobis",
    "MaxLogit",
    "MaxProbability",
    "MutualInformation",
    "NearestNeighbours",
    "ReAct",
    "RelativeMahalanobis",
    "Scorer",
    "ViM",
    "load",
    "table",
]
