"""Figure 6: strategies, each averaged by its form (section 3.4); and U(0,1) beside it.

The published numbers are the slides', which do not say how block-wise is averaged.
"""

from paper_runs import Scale

from paper_tables.by_size import table_by_size
from paper_tables.cells import Cell
from paper_tables.kinds import BY_STRATEGY, FORMS, PRIOR_TITLES


def cells(sizes: Scale) -> list[Cell]:
    """Returns the strategies under both priors."""
    return [
        Cell(
            f"{PRIOR_TITLES[prior]}, {sharing}, {form}",
            {"prior": prior, "sharing": sharing},
            BY_STRATEGY.get(("WRN-28-4", sharing, prior), {}),
            form=form,
        )
        for prior in ("normal", "uniform")
        for sharing, form in FORMS.items()
    ]


TABLE = table_by_size(
    "Figure 6: strategies and forms of averaging",
    cells,
    "Strategies and forms of averaging",
)
