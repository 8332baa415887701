"""Kernels from hypernetworks: the default, and the paper's own form."""

import keras

import tfhyper
from one_training_rows.row import Job, Method, Row
from tfhyper import kits

# Arguments of `kits.hyper`, and how the table calls them.
FORMS: dict[str, tuple[str, dict]] = {
    "hyper": ("hypernetwork, default", {}),
    "hyper_paper": (
        "hypernetwork, the paper's U(0,1)",
        {"mean_kernel": False, "prior": "uniform"},
    ),
    "hyper_paper_normal": (
        "hypernetwork, the paper's N(0,1)",
        {"mean_kernel": False, "prior": "normal"},
    ),
}


def with_options(options: dict) -> Method:
    """Returns the method with arguments of `kits.hyper`."""

    def train(job: Job) -> keras.Model:
        return job.by_recipe(kits.hyper(**options, seed=job.seed))

    return train


def of_weights(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """Draws of the weights, each with moments of BatchNorm of its own."""
    return tfhyper.PosteriorPredictor(model, draws, seed=seed)


METHODS = {name: with_options(options) for name, (_, options) in FORMS.items()}
DRAWINGS = {"of_weights": of_weights}
ROWS = tuple(Row(name, title, name, "of_weights") for name, (title, _) in FORMS.items())
