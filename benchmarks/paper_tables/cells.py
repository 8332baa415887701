"""The cells of tables: ours, its spread over the seeds, and the published number."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from paper_runs import Lab, MissingRun, Run, Scale
from report import markdown_table

from paper_tables.table import Need
from tfhyper import analysis

SIZES = (1, 2, 4, 8, 16)
# The largest N of the paper, whose numbers stand beside our largest.
PUBLISHED_SIZE = 16
EMPTY = "-"
# What the corner of a table says of its cells.
CORNER = "{}: median ± deviation over seeds [paper]"

T = TypeVar("T")
Published = float | str | None


@dataclasses.dataclass(frozen=True)
class Errors:
    """Errors by N of one kind of training.

    Attributes:
        curve: of all seeds: the median of their medians, and all scores.
        by_seed: `(seeds, sizes)`, the median over the groups of draws of each seed;
            one row of networks that were trained apart.
    """

    curve: analysis.ErrorCurve
    by_seed: np.ndarray

    def at(self, size: int) -> np.ndarray:
        """Returns the error of each seed with N = size, none if there is no such N."""
        places = np.flatnonzero(self.curve.sizes == size)
        return self.by_seed[:, places[0]] if len(places) else np.empty(0)

    def as_dict(self) -> dict[str, Any]:
        """Returns it for the JSON."""
        return {
            "sizes": self.curve.sizes.tolist(),
            "median": self.curve.median.tolist(),
            "by_seed": self.by_seed.tolist(),
            "scores": self.curve.scores.tolist(),
        }


@dataclasses.dataclass(frozen=True)
class Cell:
    """One kind of training, and what the paper says of it.

    Attributes:
        title: of its row.
        options: of `Run`, all but the seed.
        published: N -> the paper's error in per cent, or its word for it.
        form: how N draws are averaged inside of a network; `None`: by N networks.
        metric: of `analysis.error_curve`.
        num_seeds: how many of the scale's seeds; `None`: all.
    """

    title: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    published: dict[int, Published] = dataclasses.field(default_factory=dict)
    form: str | None = None
    metric: str | Callable[..., float] = "error"
    num_seeds: int | None = None

    def runs(self, sizes: Scale) -> list[Run]:
        """Returns the trainings behind it."""
        seeds = sizes.seeds if self.form is None else sizes.sharing_seeds
        return [Run(**self.options, seed=seed) for seed in seeds[: self.num_seeds]]

    def needs(self, sizes: Scale) -> list[Need]:
        """Returns what it asks a `Lab` for."""
        method: Literal["members", "form_curve"] = "members"
        if self.form is not None:
            method = "form_curve"
        return [Need(run, method, self.form) for run in self.runs(sizes)]

    def errors(self, lab: Lab) -> Errors | None:
        """Returns the errors by N, or `None` if no seed is there."""
        return pooled(there(self.runs(lab.sizes), lambda run: self.curve(lab, run)))

    def curve(self, lab: Lab, run: Run) -> analysis.ErrorCurve:
        if self.form is not None:
            return lab.form_curve(run, self.form)
        members = lab.members(run)
        return analysis.error_curve(
            lab.labels(run),
            members,
            self.metric,
            sizes=[n for n in SIZES if n <= len(members)],
            repeats=min(lab.sizes.groups, len(members)),
        )


@dataclasses.dataclass(frozen=True)
class Ensemble(Cell):
    """Networks that were trained apart: N of them are averaged."""

    def runs(self, sizes: Scale) -> list[Run]:
        """Returns the trainings of the networks."""
        return [Run(**self.options, seed=seed) for seed in range(sizes.members)]

    def errors(self, lab: Lab) -> Errors | None:
        """Returns the errors by N of the networks that are there."""
        runs = self.runs(lab.sizes)
        members = there(runs, lambda run: lab.members(run)[:1])
        if not members:
            return None
        curve = analysis.error_curve(
            lab.labels(runs[0]), np.concatenate(members), self.metric
        )
        return Errors(curve, curve.median[np.newaxis])


def there(runs: Iterable[Run], compute: Callable[[Run], T]) -> list[T]:
    """Returns what is computed of some trainings, those left out that are missing."""
    found = []
    for run in runs:
        try:
            found.append(compute(run))
        except MissingRun:
            continue
    return found


def pooled(curves: Sequence[analysis.ErrorCurve]) -> Errors | None:
    """Returns the curves of several trainings as one, `None` of none."""
    if not curves:
        return None
    by_seed = np.array([curve.median for curve in curves])
    scores = np.concatenate([curve.scores for curve in curves])
    first = curves[0]
    median = np.median(by_seed, axis=0)
    return Errors(
        analysis.ErrorCurve(first.sizes, median, scores, first.label), by_seed
    )


def cell_text(
    values: Iterable[float], published: Published = None, digits: int = 2
) -> str:
    """Returns "median ± deviation [published]".

    Args:
        values: of the seeds. The deviation is their standard deviation (n - 1) and
            stands there if there are several; without any seed the cell is empty.
        published: the paper's number, or `None`.
        digits: behind the point.
    """
    values = np.asarray(list(values), float)
    text = EMPTY
    if len(values):
        text = f"{np.median(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    if published is not None:
        number = published if isinstance(published, str) else f"{published:.{digits}f}"
        text += f" [{number}]"
    return text


def error_text(errors: Errors | None, size: int, published: Published = None) -> str:
    """Returns the cell of an error in per cent with N = size."""
    values = np.empty(0) if errors is None else errors.at(size)
    return cell_text(100 * values, published)


def pair_texts(errors: Errors | None, cell: Cell, size: int) -> list[str]:
    """Returns the cells of x1 and of the largest N, which says its N unless `size`."""
    texts = [error_text(errors, 1, cell.published.get(1))]
    last = size if errors is None else int(errors.curve.sizes[-1])
    if last == 1:
        return [*texts, cell_text([], cell.published.get(PUBLISHED_SIZE))]
    text = error_text(errors, last, cell.published.get(PUBLISHED_SIZE))
    return [*texts, text if last == size else f"x{last}: {text}"]


def largest_size(sizes: Scale) -> int:
    """Returns the largest N of the draws of a scale."""
    return max(n for n in SIZES if n <= sizes.draws)


def table_of_pairs(lab: Lab, columns: dict[str, list[Cell]]) -> tuple[str, dict]:
    """Returns x1 and the largest N of each cell, the columns beside each other.

    Args:
        lab: where the trainings are.
        columns: title -> cells, the titles of whose rows are the same.

    Returns:
        The table in Markdown and, by column and row, the errors for the JSON.
    """
    size = largest_size(lab.sizes)
    rows: dict[str, list[str]] = {}
    results: dict[str, dict] = {}
    header = [CORNER.format("error %")]
    for title, cells in columns.items():
        prefix = f"{title}, " if title else ""
        header += [f"{prefix}x1", f"{prefix}x{size}"]
        for cell in cells:
            errors = cell.errors(lab)
            rows.setdefault(cell.title, []).extend(pair_texts(errors, cell, size))
            results.setdefault(title, {})[cell.title] = json_of(errors, cell)
    text = markdown_table(header, [[row, *texts] for row, texts in rows.items()])
    return text, results


def json_of(errors: Errors | None, cell: Cell) -> dict[str, Any]:
    """Returns what is found and published of a cell, for the JSON."""
    published = {str(size): value for size, value in cell.published.items()}
    return {**(errors.as_dict() if errors else {}), "published": published}


def needs_of(cells: Iterable[Cell], sizes: Scale) -> list[Need]:
    """Returns what some cells ask a `Lab` for."""
    return [need for cell in cells for need in cell.needs(sizes)]
