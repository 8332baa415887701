"""The scorers by their names, and how a predictor finds them."""

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfhyper.checks import check_choice, check_path
from tfhyper.detection import files
from tfhyper.detection.disagreement import Disagreement
from tfhyper.detection.energy import Energy
from tfhyper.detection.entropy import Entropy
from tfhyper.detection.feature_density import FeatureDensity
from tfhyper.detection.mahalanobis import Mahalanobis
from tfhyper.detection.max_logit import MaxLogit
from tfhyper.detection.max_probability import MaxProbability
from tfhyper.detection.mutual_information import MutualInformation
from tfhyper.detection.nearest_neighbours import NearestNeighbours
from tfhyper.detection.networks import as_predictor
from tfhyper.detection.react import ReAct
from tfhyper.detection.relative_mahalanobis import RelativeMahalanobis
from tfhyper.detection.scorer import Scorer
from tfhyper.detection.vim import ViM
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.saving.models import describe

# Name of a scorer -> its class.
SCORERS: dict[str, type[Scorer]] = {
    kind.name: kind
    for kind in (
        MaxProbability,
        MaxLogit,
        Energy,
        Entropy,
        MutualInformation,
        Disagreement,
        Mahalanobis,
        RelativeMahalanobis,
        NearestNeighbours,
        ViM,
        ReAct,
        FeatureDensity,
    )
}


def load(path: str, predictor: BasePredictor | keras.Model) -> Scorer:
    """Returns the fitted scorer that `Scorer.save` wrote, for the same predictor.

    Args:
        path: the file.
        predictor: the predictor that it was fitted to, or one that was loaded from its
            file: of the same draws and weights.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is torn, not one of `save`, or of another predictor.
        TypeError: for what is no predictor.

    Example:

    >>> scorer = tfhyper.detection.Mahalanobis().fit(predictor, x_train, y_train)
    >>> scorer.save("mahalanobis.npz")
    >>> again = tfhyper.detection.load("mahalanobis.npz", predictor)
    >>> bool(np.allclose(again.score(x_test), scorer.score(x_test)))
    True
    """
    path = check_path("path", path)
    made = as_predictor(predictor)
    if not os.path.exists(path):
        raise FileNotFoundError(
            "`path` must be a file that `Scorer.save` wrote. "
            f"Received: path={path!r}, where there is none"
        )
    try:
        with open(path, "rb") as file:
            return restored(made, *files.from_file(file))
    except Exception as error:  # zipfile, numpy: each has its own.
        raise ValueError(
            "`path` must be a whole file written by Scorer.save, for this predictor. "
            f"Received: path={path!r} ({describe(error)})"
        ) from error


def restored(
    predictor: BasePredictor, about: Any, arrays: Mapping[str, np.ndarray]
) -> Scorer:
    """Returns the scorer that `Scorer.state` speaks of, for a predictor.

    Raises:
        ValueError: if it is of another predictor, or names what there is not.
        TypeError: for arguments that the scorer does not have.
    """
    files.check_about(about)
    check_choice("scorer", about["scorer"], SCORERS)
    scorer = SCORERS[about["scorer"]](**about["arguments"])
    scorer.take_state(predictor, about, arrays)
    return scorer


def scorer_for(
    predictor: BasePredictor, score: str | Scorer, name: str = "score"
) -> Scorer:
    """Returns a scorer that is fitted to a predictor, from one or from its name.

    Args:
        predictor: the predictor.
        score: a fitted scorer, or the name of one that needs no training data.
        name: the argument's name, for errors.

    Raises:
        ValueError: for another name; for a scorer that is not fitted, or fitted to
            another predictor.
    """
    if isinstance(score, Scorer):
        if score.predictor is not predictor:
            raise ValueError(
                f"`{name}` must be a scorer that was fitted to this predictor. "
                f"Received: {name}={score!r}, fitted to "
                f"{'none' if score.predictor is None else 'another'}"
            )
        score.check_current()
        return score
    check_choice(name, score, SCORERS)
    kind = SCORERS[score]
    if kind.needs_training_data:
        raise ValueError(
            f"`{name}` must be a fitted scorer, tfhyper.detection.{kind.__name__}()"
            ".fit(predictor, x_train, y_train), where it needs training data. "
            f"Received: {name}={score!r}"
        )
    return kind().fit(predictor)
