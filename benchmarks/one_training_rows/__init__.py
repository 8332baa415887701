"""The rows of `one_training.py`: a method is one file, and a line here.

A file says how a network is trained (`METHODS`, name -> function from a `Job` to a
compiled model), how its draws are made (`DRAWINGS`, name -> function from the trained
model to a predictor), and which rows of the table come of them (`ROWS`). A method whose
draws are weights of several epochs says what keeps these (`KEEPERS`); where held-out
images choose something of the draws, `FITTERS` says how, by the name of the drawing.
"""

from one_training_rows import (
    bayes,
    dropout,
    hyper,
    ivon,
    kept,
    mcbn,
    plain,
    rank_one,
    subspace,
)
from one_training_rows.row import (
    Drawing,
    Fitter,
    Job,
    Keeper,
    Method,
    Row,
    Training,
)

__all__ = [
    "DRAWINGS",
    "FITTERS",
    "KEEPERS",
    "METHODS",
    "ROWS",
    "Drawing",
    "Fitter",
    "Job",
    "Keeper",
    "Method",
    "Row",
    "Training",
]

_FILES = (plain, dropout, mcbn, bayes, hyper, ivon, kept, rank_one, subspace)

METHODS: dict[str, Method] = {k: v for x in _FILES for k, v in x.METHODS.items()}
DRAWINGS: dict[str, Drawing] = {k: v for x in _FILES for k, v in x.DRAWINGS.items()}
KEEPERS: dict[str, Keeper] = {
    k: v for x in _FILES for k, v in getattr(x, "KEEPERS", {}).items()
}
FITTERS: dict[str, Fitter] = {
    k: v for x in _FILES for k, v in getattr(x, "FITTERS", {}).items()
}
ROWS: dict[str, Row] = {row.name: row for x in _FILES for row in x.ROWS}
