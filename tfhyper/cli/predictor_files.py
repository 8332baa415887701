"""Predictors of every kind, by their files."""

import os

from tfhyper.laplace import LaplacePredictor
from tfhyper.posterior import DeepEnsemble, PosteriorPredictor
from tfhyper.posterior.base_predictor import BasePredictor

KINDS = (PosteriorPredictor, DeepEnsemble, LaplacePredictor)


def load_predictor(path: str) -> BasePredictor:
    """Returns the predictor of a file, of whichever kind it is.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of a predictor, with what each kind says of it.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"The file of a predictor must be there. Received: {path}"
        )
    reasons = []
    for kind in KINDS:
        try:
            return kind.load(path)
        except ValueError as error:
            reasons.append(f"{kind.__name__}: {error}")
    raise ValueError(
        f"{path} must be the file of a predictor. Received: {'; '.join(reasons)}"
    )
