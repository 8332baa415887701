"""Section 5.6: correlations of pairs of weights, U(0,1), by decay of theta."""

import dataclasses

from paper_runs import Lab, Run, Scale
from report import markdown_table

from paper_tables.cells import CORNER, cell_text, there
from paper_tables.kinds import SHARING
from paper_tables.table import Found, Need, Table
from tfhyper import analysis

# Within a block, and across blocks.
PUBLISHED = {
    "all_in_one": (0.979, 0.943),
    "block_wise": (0.970, 0.007),
    "layer_wise": (0.364, 0.008),
}


def trainings(sizes: Scale) -> dict[str, list[Run]]:
    """Returns the trainings of each strategy and decay of theta, by their names."""
    found = {}
    for decay, epochs in [(None, None), *sizes.generator_decays]:
        for sharing in SHARING:
            run = Run(
                prior="uniform", sharing=sharing, generator_decay=decay, epochs=epochs
            )
            more = (
                "" if decay is None else f", decay of theta {decay:g}, {epochs} epochs"
            )
            found[f"{sharing}{more}"] = [
                dataclasses.replace(run, seed=seed) for seed in sizes.sharing_seeds
            ]
    return found


def correlation_of(lab: Lab, run: Run) -> analysis.WeightCorrelation:
    """Returns the correlations of a training's weights."""
    return analysis.weight_correlation(
        lab.model(run), num_draws=lab.sizes.weight_draws, seed=run.seed
    )


def make(lab: Lab) -> Found:
    """Returns mean |r| within and across blocks, and histograms of the first seed."""
    rows, results, first = [], {}, {}
    for name, runs in trainings(lab.sizes).items():
        found = there(runs, lambda run: correlation_of(lab, run))
        within, across = PUBLISHED[runs[0].sharing]
        rows.append(
            [
                name,
                cell_text([one.within for one in found], within, 3),
                cell_text([one.across for one in found], across, 3),
            ]
        )
        results[name] = {
            "seeds": [[one.within, one.across] for one in found],
            "published": [within, across],
            "noise_floor": found[0].noise_floor if found else None,
        }
        if found:
            # Short, as the title of a panel.
            decay = runs[0].generator_decay
            more = "" if decay is None else f", decay {decay:g}"
            first[f"{runs[0].sharing}{more}"] = found[0]
    figure = None
    if first:
        title = "Correlations of pairs of weights"
        figure = analysis.correlation_plot(first, title=title)
    header = [CORNER.format("mean |r|, U(0,1)"), "within a block", "across blocks"]
    return Found(markdown_table(header, rows), results, figure)


def needs(sizes: Scale) -> list[Need]:
    """Returns what it asks a `Lab` for."""
    by_sharing = trainings(sizes).values()
    return [Need(run, "model") for runs in by_sharing for run in runs]


TABLE = Table("Section 5.6: correlations", make, needs)
