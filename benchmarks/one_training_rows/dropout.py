"""MC dropout, at test too: of numbers, channels and weights, and of learned rates."""

import keras

import tfhyper
from one_training_rows.row import Job, Method, Row
from tfhyper import kits
from tfhyper.kits.mc_dropout import Unit

RATES = (0.1, 0.05)
# Of channels and of weights.
RATE = 0.1


def with_rate(rate: float, unit: Unit = "element") -> Method:
    """Returns the method with a rate of dropout before all convolutions."""

    def train(job: Job) -> keras.Model:
        return job.by_recipe(kits.mc_dropout(rate, unit=unit, seed=job.seed))

    return train


def with_dropped_weights(job: Job) -> keras.Model:
    """Returns the network with masks on its kernels: DropConnect."""
    return job.by_recipe(kits.drop_connect(RATE, seed=job.seed))


def with_learned_rates(job: Job) -> keras.Model:
    """Returns the network with a learned rate before each convolution."""
    return job.by_recipe(kits.concrete_dropout(job.num_examples, seed=job.seed))


def with_learned_noise(job: Job) -> keras.Model:
    """Returns the network with a learned rate of Gaussian dropout for each weight."""
    return job.by_recipe(kits.variational_dropout(job.num_examples, seed=job.seed))


def masks(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """Draws of the masks, BatchNorm with its moving averages."""
    return tfhyper.PosteriorPredictor(
        model, draws, batch_norm="moving_average", seed=seed
    )


_NAMES = {f"mc_dropout_{rate:g}": rate for rate in RATES}
METHODS: dict[str, Method] = {
    **{name: with_rate(rate) for name, rate in _NAMES.items()},
    "filter_dropout": with_rate(RATE, "filter"),
    "drop_connect": with_dropped_weights,
    "concrete_dropout": with_learned_rates,
    "variational_dropout": with_learned_noise,
}
DRAWINGS = {"masks": masks}
ROWS = tuple(
    Row(name, title, name, drawing)
    for name, title, drawing in (
        *((name, f"MC dropout, {rate:g}", "masks") for name, rate in _NAMES.items()),
        ("filter_dropout", f"MC dropout of channels, {RATE:g}", "masks"),
        ("drop_connect", f"DropConnect, {RATE:g}", "of_weights"),
        ("concrete_dropout", "Concrete dropout", "masks"),
        ("variational_dropout", "variational dropout", "of_weights"),
    )
)
