"""Learned noise on all weights: of the plain network and of the hypernetwork."""

import keras

import tfhyper
from one_training_rows.row import Job, Method, Row
from tfhyper import kits, training


def around(kit: str) -> Method:
    """Returns the method with noise on all weights of a kit's network."""

    def train(job: Job) -> keras.Model:
        options = {"seed": job.seed} if kit == "hyper" else {}
        model = tfhyper.Variational(
            job.network(kits.KITS[kit](**options)),
            job.num_examples,
            weight_decay=job.setting.weight_decay,
            seed=job.seed,
        )
        return training.compile_variational_recipe(
            model, job.epochs, job.steps_per_epoch
        )

    return train


def at_the_mean(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """One network at the mean of the posterior, with moments of its own."""
    return tfhyper.PosteriorPredictor(model, deterministic=True, seed=seed)


METHODS = {"ivon": around("deterministic"), "hyper_ivon": around("hyper")}
DRAWINGS = {"at_the_mean": at_the_mean}
ROWS = (
    Row("ivon", "IVON", "ivon", "of_weights"),
    Row("ivon_mean", "IVON, at its mean", "ivon", "at_the_mean", random=False),
    Row("hyper_ivon", "hypernetwork with IVON", "hyper_ivon", "of_weights"),
)
