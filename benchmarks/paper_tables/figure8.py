"""Figure 8: hidden units, and as many of the code. Its numbers are not printed."""

import numpy as np
from paper_runs import Lab, Run, Scale
from report import markdown_table

from paper_tables.cells import CORNER, Cell, cell_text, pooled, there
from paper_tables.kinds import PRIOR_TITLES
from paper_tables.table import Found, Need, Table
from tfhyper import analysis


def lines(sizes: Scale) -> dict[str, dict[int, list[Run]]]:
    """Returns, for each network and prior, the trainings by their units."""
    return {
        f"{network}, {PRIOR_TITLES[prior]}": {
            units: [
                Run(network, prior=prior, units=units, seed=seed)
                for seed in sizes.unit_seeds
            ]
            for units in sizes.units
        }
        for network in ("WRN-28-4", "WRN-28-1")
        if network in sizes.networks
        for prior in ("uniform", "normal")
    }


def errors_of(lab: Lab, runs: list[Run]) -> np.ndarray:
    """Returns the errors of x1 and of the average, (seeds that are there, 2)."""
    found = pooled(there(runs, lambda run: Cell("").curve(lab, run)))
    return np.empty((0, 2)) if found is None else found.by_seed[:, [0, -1]]


def make(lab: Lab) -> Found:
    """Returns both errors by units, and their figure."""
    rows, results, drawn = [], {}, {}
    for line, by_units in lines(lab.sizes).items():
        errors = {units: errors_of(lab, runs) for units, runs in by_units.items()}
        for i, name in enumerate(("x1", "average")):
            title = f"{line}, {name}"
            values = {units: found[:, i] for units, found in errors.items()}
            rows.append([title, *(cell_text(100 * v) for v in values.values())])
            results[title] = {str(units): v.tolist() for units, v in values.items()}
            there_are = {units: v for units, v in values.items() if len(v)}
            if there_are:
                # As many seeds as each of them has.
                seeds = min(map(len, there_are.values()))
                shown = np.array([v[:seeds] for v in there_are.values()]).T
                drawn[title] = (np.array(list(there_are)), shown)
    header = [
        CORNER.format("error %"),
        *(f"{units} units" for units in lab.sizes.units),
    ]
    figure = None
    if drawn:
        figure = analysis.hidden_units_plot(drawn, "Units of the hypernetworks")
    return Found(markdown_table(header, rows), results, figure)


def needs(sizes: Scale) -> list[Need]:
    """Returns what it asks a `Lab` for."""
    by_line = lines(sizes).values()
    every = [runs for by_units in by_line for runs in by_units.values()]
    return [Need(run) for runs in every for run in runs]


TABLE = Table("Figure 8: hidden units", make, needs)
