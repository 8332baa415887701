"""Scatter plots of two weights over the draws, and what their pairs have in common."""

import dataclasses
from typing import Any, Literal

import numpy as np
from paper_runs import Lab, Run, Scale
from report import markdown_table

from paper_tables.cells import CORNER, EMPTY, Published, cell_text, there
from paper_tables.table import Found, Need, Table
from tfhyper import analysis

PAIRS = 3  # in the figure
DOTS = 1000  # of each, as in the paper


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of training.

    Attributes:
        title: what it is.
        options: of `Run`, all but the seed.
        published: the paper's mean |r| of many pairs.
    """

    title: str
    options: dict[str, Any]
    published: Published = None

    def runs(self, sizes: Scale) -> list[Run]:
        """Returns the trainings."""
        return [Run(**self.options, seed=seed) for seed in sizes.sharing_seeds]


def scatter_table(
    title: str, rows: list[Row], where: Literal["within", "across"]
) -> Table:
    """Returns the figure of some pairs of each row, and mean |r| over many.

    Args:
        title: of the figure.
        rows: the kinds of trainings.
        where: whether the two weights are of one block, or of two.
    """

    def make(lab: Lab) -> Found:
        return found(lab, rows, where)

    def needs(sizes: Scale) -> list[Need]:
        return [Need(run, "model") for row in rows for run in row.runs(sizes)]

    return Table(title, make, needs)


def found(lab: Lab, rows: list[Row], where: Literal["within", "across"]) -> Found:
    """Returns the pairs of the first seed that is there, and mean |r| of all seeds."""
    lines, results, samples = [], {}, {}
    for row in rows:
        seeds = there(row.runs(lab.sizes), lambda run: weights_of(lab, run, where))
        means = [correlation for correlation, _ in seeds]
        pairs = {}
        if seeds:
            samples[row.title] = first = seeds[0][1]
            names = [", ".join(both) for both in first.names]
            pairs = dict(zip(names, correlations(first), strict=True))
        texts = [f"{r:.2f}" for r in pairs.values()]
        mean = cell_text(means, row.published, 3)
        lines.append([row.title, mean, ", ".join(texts) or EMPTY])
        results[row.title] = {
            "mean": means,
            "published": row.published,
            "pairs": pairs,
            "draws": min(DOTS, lab.sizes.weight_draws),
        }
    header = [
        CORNER.format(f"pairs {where} blocks"),
        "mean |r| of 1,000 pairs",
        "r of the pairs drawn",
    ]
    return Found(markdown_table(header, lines), results, draw(samples))


def weights_of(
    lab: Lab, run: Run, where: Literal["within", "across"]
) -> tuple[float, analysis.WeightPairs]:
    """Returns mean |r| of many pairs, and the draws of a few."""
    model = lab.model(run)
    draws = min(DOTS, lab.sizes.weight_draws)
    many = analysis.weight_correlation(model, num_draws=draws, seed=run.seed)
    few = analysis.weight_pairs(
        model, num_pairs=PAIRS, num_draws=draws, where=where, seed=run.seed
    )
    return getattr(many, where), few


def correlations(pairs: analysis.WeightPairs) -> list[float]:
    """Returns the correlation of each pair."""
    both = np.moveaxis(pairs.samples, 1, 0)  # (pairs, draws, 2)
    return [float(np.corrcoef(one.T)[0, 1]) for one in both]


def draw(samples: dict[str, analysis.WeightPairs]) -> Any:
    """Returns the figure, a row for each kind of training; `None` of none."""
    from matplotlib.figure import Figure

    if not samples:
        return None
    figure = Figure(figsize=(4 * PAIRS, 3 * len(samples)), layout="constrained")
    parts = figure.subfigures(len(samples), PAIRS, squeeze=False)
    for row, (title, pairs) in zip(parts, samples.items(), strict=True):
        for i, part in enumerate(row):
            analysis.weight_pair_plot(
                *pairs.samples[:, i].T, pairs.names[i], title=title, figure=part
            )
    return figure
