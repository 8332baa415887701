"""MAP estimation, ensembles of it, and two trainings of half the length."""

import keras

import tfhyper
from one_training_rows.row import Job, Row
from tfhyper import kits


def train_map(job: Job) -> keras.Model:
    """SGD with Nesterov momentum, its rate in steps, and weight decay."""
    return job.by_recipe(kits.deterministic())


def as_it_is(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """The network alone, with the moving averages of BatchNorm."""
    return tfhyper.PosteriorPredictor(model, 1, batch_norm="moving_average", seed=seed)


METHODS = {"map": train_map}
DRAWINGS = {"as_it_is": as_it_is}
ROWS = (
    Row("map", "MAP", "map", "as_it_is", random=False),
    Row(
        "half",
        "two trainings of half the length",
        "map",
        "as_it_is",
        networks=2,
        share=0.5,
        random=False,
    ),
    Row("two", "*two trainings*", "map", "as_it_is", networks=2, random=False),
    Row("three", "*three trainings*", "map", "as_it_is", networks=3, random=False),
    Row("four", "*four trainings*", "map", "as_it_is", networks=4, random=False),
)
