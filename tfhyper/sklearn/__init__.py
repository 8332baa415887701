"""Bayesian networks as estimators of scikit-learn.

`Classifier` and `Regressor` train a Keras network and average over its draws, behind
`fit`, `predict` and `predict_proba`; `from_predictor` gives a predictor that is there
already the same face. So pipelines, cross-validation and searches take them, and MAPIE
makes their predictions conformal. `Quantile` and `Spread` are what MAPIE's quantile
and normalised scores ask for.

scikit-learn is imported when this part is.
"""

from tfhyper.sklearn.classifier import Classifier
from tfhyper.sklearn.parts import Quantile, Spread
from tfhyper.sklearn.regressor import Regressor

__all__ = ["Classifier", "Quantile", "Regressor", "Spread"]
