"""The tables and figures of Ukai et al. (2019), each from trainings of a `Lab`.

A table is a module with a `TABLE`, and a line here. Its cells hold ours, the spread
over the seeds and the published number; one whose trainings are missing is empty.
"""

import os

from paper_tables import (
    complexity,
    correlations,
    draws_a_step,
    figure6,
    figure7,
    figure8,
    figure9,
    slides_priors,
    slides_scatter,
    slides_strategies,
    table1,
    table2,
    table3,
    table4,
    table5,
)
from paper_tables.table import Found, Table

__all__ = ["TABLES", "Found", "Table", "figure_path"]

TABLES: dict[str, Table] = {
    "table1": table1.TABLE,
    "table2": table2.TABLE,
    "table3": table3.TABLE,
    "table4": table4.TABLE,
    "table5": table5.TABLE,
    "figure6": figure6.TABLE,
    "figure7": figure7.TABLE,
    "figure8": figure8.TABLE,
    "figure9": figure9.TABLE,
    "complexity": complexity.TABLE,
    "correlations": correlations.TABLE,
    "slides_strategies": slides_strategies.TABLE,
    "slides_priors": slides_priors.TABLE,
    "slides_scatter": slides_scatter.TABLE,
    "draws_a_step": draws_a_step.TABLE,
}


def figure_path(folder: str, scale: str, name: str) -> str:
    """Returns where the figure of a table goes."""
    return os.path.join(folder, f"paper_{scale}_{name}.png")
