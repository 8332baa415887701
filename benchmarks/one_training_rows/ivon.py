"""Learned noise on weights: of the plain network and of the hypernetwork."""

import keras
import numpy as np

import tfhyper
from one_training_rows.hyper import of_weights
from one_training_rows.row import Job, Method, Rate, Row
from tfhyper import kits, training

# Training images whose moments BatchNorm has while a width is chosen.
MOMENTS = 2000
# Name -> how the table calls it, the kit, and arguments of `Variational`.
FORMS: dict[str, tuple[str, str, dict]] = {
    "ivon": ("IVON", "deterministic", {}),
    "ivon_cold": ("IVON, temperature 1/2", "deterministic", {"temperature": 0.5}),
    "hyper_ivon": ("hypernetwork with IVON", "hyper", {}),
    "hyper_ivon_kernels": (
        "hypernetwork with IVON, noise on kernels alone",
        "hyper",
        {"generator_noise": False},
    ),
}


def around(kit: str, options: dict, rate: Rate | None = None) -> Method:
    """Returns the method with noise on the weights of a kit's network.

    Args:
        kit: key of `tfhyper.kits.KITS`.
        options: of `Variational`.
        rate: makes the schedule of a job; `None` for that of the recipe.
    """

    def train(job: Job) -> keras.Model:
        seed = {"seed": job.seed} if kit == "hyper" else {}
        model = tfhyper.Variational(
            job.network(kits.KITS[kit](**seed)),
            job.num_examples,
            weight_decay=job.setting.weight_decay,
            seed=job.seed,
            **options,
        )
        return training.compile_variational_recipe(
            model,
            job.epochs,
            job.steps_per_epoch,
            schedule=None if rate is None else rate(job),
        )

    return train


def at_the_mean(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """One network at the mean of the posterior, with moments of its own."""
    return tfhyper.PosteriorPredictor(model, deterministic=True, seed=seed)


def with_fitted_width(
    predictor: tfhyper.PosteriorPredictor,
    held_out: tuple[np.ndarray, np.ndarray],
    x: np.ndarray,
) -> keras.Model:
    """Returns the posterior of the width that held-out images have chosen."""
    return predictor.fit_width(*held_out, moments=x[:MOMENTS]).model


METHODS = {name: around(kit, options) for name, (_, kit, options) in FORMS.items()}
DRAWINGS = {"at_the_mean": at_the_mean, "of_fitted_width": of_weights}
FITTERS = {"of_fitted_width": with_fitted_width}
ROWS = (
    *(Row(name, title, name, "of_weights") for name, (title, *_) in FORMS.items()),
    *(
        Row(f"{name}_width", f"{FORMS[name][0]}, width fitted", name, "of_fitted_width")
        for name in ("ivon", "hyper_ivon", "hyper_ivon_kernels")
    ),
    Row("ivon_mean", "IVON, at its mean", "ivon", "at_the_mean", random=False),
)
