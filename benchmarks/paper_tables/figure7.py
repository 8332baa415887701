"""Figure 7: priors of the codes. The published numbers are the slides'."""

from paper_runs import Scale

from paper_tables.by_size import table_by_size
from paper_tables.cells import Cell
from paper_tables.kinds import BY_PRIOR, MAP, MAP_ERRORS, PRIOR_TITLES


def cells(sizes: Scale) -> list[Cell]:
    """Returns the priors, and MAP."""
    return [
        *(
            Cell(title, {"prior": prior}, BY_PRIOR[prior])
            for prior, title in PRIOR_TITLES.items()
        ),
        Cell("MAP", MAP, MAP_ERRORS["WRN-28-4"]),
    ]


TABLE = table_by_size("Figure 7: priors", cells, "Priors of the codes")
