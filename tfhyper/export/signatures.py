"""What the signatures of an exported predictor give."""

from typing import Any

import tensorflow as tf

from tfhyper.conformal import ConformalRule
from tfhyper.posterior import Rejection
from tfhyper.posterior.tasks.task import Task


def summary(
    members: tf.Tensor,
    task: Task,
    rejection: Rejection | None,
    conformal: ConformalRule | None,
    foreign: tf.Tensor | None = None,
) -> dict[str, Any]:
    """Returns the averaged prediction of members, as the predictor gives it.

    Args:
        members: float32 tensor (batch, draws, values), of `EnsembleFunction`.
        task: the predictor's.
        rejection: the predictor's rule, `None` for no output `rejected`.
        conformal: the predictor's rule, `None` for no outputs of it.
        foreign: scores (batch,) of the predictor's scorer, or `None`.
    """
    found = task.averaged_outputs(members, argmax=lambda x: tf.argmax(x, axis=-1))
    if foreign is not None:
        found["foreign"] = foreign
    if conformal is not None:
        found.update(task.conformal_outputs(found, conformal))
    if rejection is not None:
        uncertainty = task.output_uncertainty(found, rejection.score)
        found["rejected"] = uncertainty > rejection.threshold
    return found
