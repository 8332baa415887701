"""N draws in a step of training (section 3.1), at equal cost.

The paper's objective is of N draws, its experiments have N = 1. Here a step with N
draws gives each of them its part of the batch (`weight_sets` of
`tfhyper.training.Trainer`): examples, steps and gradients are as many as with one draw,
and only the generators, 0.2 per cent of the work, run N times. In expectation the loss
is that of N = 1, with less noise; BatchNorm's moments are those of the parts.
"""

from paper_runs import Scale

from paper_tables.by_size import table_by_size
from paper_tables.cells import Cell
from paper_tables.kinds import BY_PRIOR, PRIOR_TITLES

DRAWS = (1, 2, 4)


def cells(sizes: Scale) -> list[Cell]:
    """Returns the numbers of draws under two priors."""
    return [
        Cell(
            f"{PRIOR_TITLES[prior]}, {draws} a step",
            {"prior": prior, "weight_sets": draws},
            BY_PRIOR[prior] if draws == 1 else {},
        )
        for prior in ("normal", "uniform")
        for draws in DRAWS
    ]


TABLE = table_by_size(
    "Section 3.1: N draws a step, at equal cost", cells, "Draws in a step of training"
)
