"""Checks of the arguments that every format has."""

import os
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import keras

from tfhyper.checks import check_bool
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.posterior.base_predictor import BasePredictor

# What a file holds of a draw: what its kernels are made of, or the kernels.
Form: TypeAlias = Literal["generator", "materialized"]
FORMS: tuple[Form, ...] = get_args(Form)


def check_predictor(predictor: Any, preprocessing: Any) -> None:
    """Raises an error unless they can be exported here.

    Raises:
        TypeError: for another type.
        RuntimeError: if Keras runs on another backend.
    """
    if not isinstance(predictor, BasePredictor):
        raise TypeError(
            "`predictor` must be a PosteriorPredictor or a DeepEnsemble. "
            f"Received: predictor={predictor!r}"
        )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            "A SavedModel is made by Keras on TensorFlow: save the predictor, and "
            "load and export it where KERAS_BACKEND=tensorflow. "
            f'Received: the backend "{keras.backend.backend()}"'
        )
    if preprocessing is not None and not isinstance(preprocessing, Preprocessing):
        raise TypeError(
            "`preprocessing` must be a tfhyper.export.Preprocessing. "
            f"Received: preprocessing={preprocessing!r}"
        )


def check_free(
    path: str, overwrite: bool, replaceable: Callable[[str], bool], kind: str
) -> None:
    """Raises FileExistsError if something is at a path that may not go.

    Args:
        path: the path.
        overwrite: whether what is there may be replaced.
        replaceable: says of a path, no link, whether it is what may be.
        kind: what that is, in words.
    """
    check_bool("overwrite", overwrite)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(
            f"`path` must be free, or give overwrite=True. Received: path={path!r}"
        )
    if os.path.islink(path) or not replaceable(path):
        raise FileExistsError(
            f"`path` must be free or, with overwrite=True, {kind}: nothing else is "
            f"replaced. Received: path={path!r}"
        )
