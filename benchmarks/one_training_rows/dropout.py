"""MC dropout: dropout before all convolutions and the classifier, at test too."""

import keras

import tfhyper
from one_training_rows.row import Job, Method, Row
from tfhyper import kits

RATES = (0.1, 0.05)


def with_rate(rate: float) -> Method:
    """Returns the method with a rate of dropout."""

    def train(job: Job) -> keras.Model:
        return job.by_recipe(kits.mc_dropout(rate, seed=job.seed))

    return train


def masks(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """Draws of the masks, BatchNorm with its moving averages."""
    return tfhyper.PosteriorPredictor(
        model, draws, batch_norm="moving_average", seed=seed
    )


_NAMES = {f"mc_dropout_{rate:g}": rate for rate in RATES}
METHODS = {name: with_rate(rate) for name, rate in _NAMES.items()}
DRAWINGS = {"masks": masks}
ROWS = tuple(
    Row(name, f"MC dropout, {rate:g}", name, "masks") for name, rate in _NAMES.items()
)
