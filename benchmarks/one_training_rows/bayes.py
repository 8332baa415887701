"""Bayes by Backprop, by its own estimators, the KL divergence at its full weight."""

import keras

from one_training_rows.row import Job, Method, Row
from tfhyper import kits
from tfhyper.layers.gaussian_kernel import Estimator

ESTIMATORS: tuple[Estimator, ...] = (
    "reparameterization",
    "local_reparameterization",
    "flipout",
)


def with_estimator(estimator: Estimator) -> Method:
    """Returns the method with one of the estimators."""

    def train(job: Job) -> keras.Model:
        kit = kits.bayes(job.num_examples, estimator=estimator, seed=job.seed)
        return job.by_recipe(kit)

    return train


METHODS = {f"bayes_{name}": with_estimator(name) for name in ESTIMATORS}
DRAWINGS: dict = {}
ROWS = tuple(
    Row(
        f"bayes_{name}",
        f"Bayes by Backprop, {name.replace('_', ' ')}",
        f"bayes_{name}",
        "of_weights",
    )
    for name in ESTIMATORS
)
