"""Table III: ImageNet. It is one run, as the paper's is."""

import numpy as np
from paper_runs import Lab, Scale

from paper_tables.cells import Cell, needs_of, table_of_pairs
from paper_tables.kinds import MAP, pair
from paper_tables.table import Found, Need, Table
from tfhyper import metrics

ON = {"network": "ResNet-50", "dataset": "imagenet2012"}


def top_5_error(labels: np.ndarray, probs: np.ndarray) -> float:
    """Returns how often the label is not among the five most probable classes."""
    return metrics.top_k_error(labels, probs, 5)


def columns() -> dict[str, list[Cell]]:
    """Returns the cells by the number of classes that may be named."""
    hyper = {**ON, "prior": "uniform"}
    return {
        "top 1": [
            Cell("MAP", {**ON, **MAP}, pair(23.84), num_seeds=1),
            Cell("hypernetwork", hyper, pair(25.97, 25.87), num_seeds=1),
        ],
        "top 5": [
            Cell("MAP", {**ON, **MAP}, pair(7.06), metric=top_5_error, num_seeds=1),
            Cell(
                "hypernetwork",
                hyper,
                pair(8.17, 8.16),
                metric=top_5_error,
                num_seeds=1,
            ),
        ],
    }


def make(lab: Lab) -> Found:
    """Returns both errors."""
    return Found(*table_of_pairs(lab, columns()))


def needs(sizes: Scale) -> list[Need]:
    """Returns what it asks a `Lab` for."""
    return needs_of(columns()["top 1"], sizes)


TABLE = Table("Table III: ImageNet", make, needs)
