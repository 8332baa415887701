"""Networks on a line, a curve or a simplex of weights, and their midpoints alone."""

import keras

import tfhyper
from one_training_rows.row import Job, Method, Row
from tfhyper import kits
from tfhyper.layers.subspaces import SubspaceKind

# The kinds, and how the table calls them.
FORMS: dict[SubspaceKind, str] = {
    "line": "line of networks",
    "curve": "curve of networks",
    "simplex": "simplex of three networks",
}


def of_kind(kind: SubspaceKind) -> Method:
    """Returns the method of a kind of subspace, with the paper's cosine term."""

    def train(job: Job) -> keras.Model:
        return job.by_recipe(kits.subspace(kind, seed=job.seed))

    return train


def midpoint(
    model: keras.Model, draws: int, seed: int, batch_size: int
) -> tfhyper.PosteriorPredictor:
    """The network in the middle, with moments of BatchNorm of its own."""
    return tfhyper.PosteriorPredictor(model, deterministic=True, seed=seed)


METHODS = {f"subspace_{kind}": of_kind(kind) for kind in FORMS}
DRAWINGS = {"midpoint": midpoint}
ROWS = tuple(
    row
    for kind, title in FORMS.items()
    for row in (
        Row(f"subspace_{kind}", title, f"subspace_{kind}", "of_weights"),
        Row(
            f"midpoint_{kind}",
            f"midpoint of the {title.partition(' ')[0]}",
            f"subspace_{kind}",
            "midpoint",
            random=False,
        ),
    )
)
