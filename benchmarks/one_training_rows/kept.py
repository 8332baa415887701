"""Weights kept along one training: snapshots, averages, SWAG, cyclical sampling."""

import keras

import tfhyper
from one_training_rows import ivon
from one_training_rows.row import Drawing, Job, Method, Rate, Row
from tfhyper import kits, training
from tfhyper.variational.kept_weights import Coefficients

CYCLES = 4
# Of the epochs, before weights are averaged or cycles are short.
START = 0.75
# The rate that keeps weights moving, and the lowest of short cycles.
HIGH, LOW = 0.05, 0.01
RANK = 10


def cosine_cycles(job: Job) -> training.CosineCycles:
    """Cycles from 0.1 to 0."""
    return training.CosineCycles(0.1, job.epochs * job.steps_per_epoch, _cycles(job))


def _cycles(job: Job) -> int:
    return min(CYCLES, job.epochs)


def _start(job: Job) -> int:
    return max(1, round(START * job.epochs))


def geometric(job: Job) -> training.GeometricRate:
    """Short cycles at the end, of two epochs."""
    steps = job.steps_per_epoch
    return training.GeometricRate(0.1, _start(job) * steps, 2 * steps, HIGH, LOW)


def averaging(job: Job) -> training.AveragingRate:
    """A rate that stays high at the end."""
    return training.AveragingRate(0.1, _start(job) * job.steps_per_epoch, HIGH)


def with_rate(rate: Rate, kit: str = "deterministic") -> Method:
    """Returns the method of MAP with another rate, of a kit's network."""

    def train(job: Job) -> keras.Model:
        seed = {"seed": job.seed} if kit == "hyper" else {}
        return job.by_recipe(kits.KITS[kit](**seed), rate(job))

    return train


def sampled(job: Job) -> keras.Model:
    """SGHMC with cosine cycles, noise in the last quarter, temperature 1/200."""
    model = job.network(kits.deterministic())
    optimizer = training.SGHMC(
        cosine_cycles(job),
        job.num_examples,
        temperature=0.005,
        exploration=0.75,
        coupled_decay=job.setting.weight_decay,
        seed=job.seed,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def noise_cycles(job: Job) -> training.CosineCycles:
    """Cycles of IVON's rate, from the first curvature, `Variational`'s default."""
    return training.CosineCycles(0.5, job.epochs * job.steps_per_epoch, _cycles(job))


def snapshots(job: Job, folder: str) -> training.Snapshots:
    """Keeps the end of each cycle."""
    return training.Snapshots(_cycles(job), folder=folder)


def with_codes(coefficients: Coefficients) -> Drawing:
    """Returns what draws between or about the sets: codes of a linear hypernetwork."""

    def draw(
        model: keras.Model, draws: int, seed: int, batch_size: int
    ) -> tfhyper.PosteriorPredictor:
        return tfhyper.PosteriorPredictor(
            model.with_coefficients(coefficients), draws, seed=seed
        )

    return draw


def of_sets(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """Each set of weights once, with moments of BatchNorm of its own."""
    return tfhyper.PosteriorPredictor(model, seed=seed)


METHODS = {
    "snapshots": with_rate(cosine_cycles),
    "hyper_snapshots": with_rate(cosine_cycles, "hyper"),
    "fge": with_rate(geometric),
    "swa": with_rate(averaging),
    "swag": with_rate(averaging),
    "csgmcmc": sampled,
    "ivon_cycles": ivon.around("deterministic", {}, noise_cycles),
    "hyper_ivon_cycles": ivon.around("hyper", {}, noise_cycles),
}
KEEPERS = {
    "snapshots": snapshots,
    "hyper_snapshots": snapshots,
    "fge": lambda job, folder: training.FastGeometric(_start(job), 2, folder),
    "swa": lambda job, folder: training.WeightAverage(START, folder=folder),
    "swag": lambda job, folder: training.SWAG(
        min(RANK, job.epochs - _start(job)), START, folder=folder
    ),
    "csgmcmc": lambda job, folder: training.CyclicSGMCMC(_cycles(job), folder=folder),
    "ivon_cycles": snapshots,
    "hyper_ivon_cycles": snapshots,
}
# How the table calls draws from a linear hypernetwork whose columns are the sets.
CODES: dict[Coefficients, str] = {
    "dirichlet": "weighted means of them",
    "gaussian": "Gaussian codes about them",
}
CODED = {
    "snapshots": "four snapshots",
    "hyper_snapshots": "hypernetwork, four snapshots",
    "ivon_cycles": "IVON in four cycles",
}
DRAWINGS = {"of_sets": of_sets, **{name: with_codes(name) for name in CODES}}
ROWS = (
    Row(
        "snapshots",
        "four snapshots",
        "snapshots",
        "of_sets",
        random=False,
    ),
    Row(
        "hyper_snapshots",
        "hypernetwork, four snapshots",
        "hyper_snapshots",
        "of_weights",
    ),
    Row("fge", "fast geometric", "fge", "of_sets", random=False),
    Row("swa", "SWA", "swa", "of_sets", random=False),
    Row("swag", "SWAG", "swag", "of_weights"),
    Row(
        "csgmcmc",
        "cyclical SG-MCMC",
        "csgmcmc",
        "of_sets",
        random=False,
    ),
    Row("ivon_cycles", "IVON in four cycles", "ivon_cycles", "of_weights"),
    Row(
        "hyper_ivon_cycles",
        "hypernetwork with IVON in four cycles",
        "hyper_ivon_cycles",
        "of_weights",
    ),
    *(
        Row(f"{method}_{code}", f"{title}, {codes}", method, code)
        for method, title in CODED.items()
        for code, codes in CODES.items()
    ),
)
