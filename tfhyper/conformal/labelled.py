"""What a predictor says of calibration data, with their labels."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tfhyper.checks import check_instance


@runtime_checkable
class Labelling(Protocol):
    """What is asked of a predictor; parts above this one have it."""

    task: Any

    def predict_labelled(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Yields labels, predictions and weights of parts of data."""


def predict_labelled(
    predictor: Any,
    method: str,
    x: Any,
    y: Any,
    batch_size: int,
    verbose: Any,
    keep_members: bool = False,
) -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
    """Yields labels, predictions, and which of the examples count, part by part.

    Args:
        predictor: a `PosteriorPredictor` or a `DeepEnsemble`.
        method: what is to be fitted.
        x: inputs or a dataset, as for the predictor's `evaluate`, as the next.
        y: labels.
        batch_size: examples of a batch.
        verbose: whether there is a bar.
        keep_members: whether predictions need what each draw says.

    Raises:
        TypeError: for something that is no predictor.
        ValueError: if the method is not for its task; if there are weights that say
            more than which examples count; and as `evaluate`.
    """
    rule = "a PosteriorPredictor or a DeepEnsemble"
    check_instance("predictor", predictor, Labelling, rule)
    predictor.task.check_conforms(method)
    for labels, prediction, weights in predictor.predict_labelled(
        x, y, batch_size, verbose, keep_members=keep_members
    ):
        counts = np.ones(len(labels), bool)
        if weights is not None:
            of_examples = weights.reshape(len(labels), -1).min(axis=1)
            counts = of_examples > 0
            if len(np.unique(of_examples[counts])) > 1:
                raise ValueError(
                    "`sample_weight` must be 0 for examples that are left out, and "
                    "the same number for all others: examples that count differently "
                    "have no such guarantee. Received: weights from "
                    f"{of_examples[counts].min()} to {of_examples.max()}"
                )
        yield labels, prediction, counts
