"""Table II: SVHN."""

from paper_runs import Scale

from paper_tables.by_size import table_by_size
from paper_tables.cells import Cell
from paper_tables.kinds import MAP, pair

ON = {"network": "WRN-16-4", "dataset": "svhn_cropped"}


def cells(sizes: Scale) -> list[Cell]:
    """Returns MAP and two priors."""
    return [
        Cell("MAP", {**ON, **MAP}, pair(1.90)),
        Cell("hypernetwork, U(0,1)", {**ON, "prior": "uniform"}, pair(1.93, 1.93)),
        Cell("hypernetwork, N(0,1)", {**ON, "prior": "normal"}, pair(1.90, 1.80)),
    ]


TABLE = table_by_size("Table II: SVHN", cells, "WRN-16-4 on SVHN")
