"""Monte Carlo Batch Normalization of the networks that MAP trained."""

import keras

import tfhyper
from one_training_rows.row import Row


def mini_batches(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """Draws whose BatchNorm has the moments of one training batch each."""
    return tfhyper.PosteriorPredictor(
        model, draws, batch_norm="minibatch", batch_size=batch_size, seed=seed
    )


METHODS: dict = {}
DRAWINGS = {"mini_batches": mini_batches}
ROWS = (Row("mcbn", "MCBN, of MAP", "map", "mini_batches"),)
