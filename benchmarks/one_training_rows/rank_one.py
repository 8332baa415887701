"""One kernel times rank-one factors by member: BatchEnsemble and rank-1 BNNs.

Of points there are as many draws as members: those beyond are the same ones again.
"""

import keras

from one_training_rows.row import Job, Method, Row
from tfhyper import kits
from tfhyper.layers.rank_one_factors import FactorPosterior

MEMBERS = 4
# Posterior of the factors, and how the table calls it.
FORMS: dict[FactorPosterior, str] = {
    "point": f"rank-one factors of {MEMBERS} members (BatchEnsemble)",
    "gaussian": f"Gaussian rank-one factors of {MEMBERS} members",
}


def with_posterior(posterior: FactorPosterior) -> Method:
    """Returns the method with factors of a posterior."""

    def train(job: Job) -> keras.Model:
        kit = kits.rank_one(posterior, MEMBERS, job.num_examples, seed=job.seed)
        return job.by_recipe(kit)

    return train


METHODS = {f"rank_one_{name}": with_posterior(name) for name in FORMS}
DRAWINGS: dict = {}
ROWS = tuple(
    Row(f"rank_one_{name}", title, f"rank_one_{name}", "of_weights")
    for name, title in FORMS.items()
)
