"""Learned noise on weights: of the plain network and of the hypernetwork."""

import keras

import tfhyper
from one_training_rows.row import Job, Method, Rate, Row
from tfhyper import kits, training

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


METHODS = {name: around(kit, options) for name, (_, kit, options) in FORMS.items()}
DRAWINGS = {"at_the_mean": at_the_mean}
ROWS = (
    *(Row(name, title, name, "of_weights") for name, (title, *_) in FORMS.items()),
    Row("ivon_mean", "IVON, at its mean", "ivon", "at_the_mean", random=False),
)
