"""The slides' table of priors: WRN-28-4, all-in-one."""

from paper_runs import Lab, Scale

from paper_tables.cells import Cell, needs_of, table_of_pairs
from paper_tables.kinds import BY_PRIOR, PRIOR_TITLES
from paper_tables.table import Found, Need, Table


def cells() -> list[Cell]:
    """Returns the priors in the slides' order."""
    order = ("uniform", "symmetric_uniform", "normal", "half_normal")
    return [
        Cell(PRIOR_TITLES[prior], {"prior": prior}, BY_PRIOR[prior]) for prior in order
    ]


def make(lab: Lab) -> Found:
    """Returns x1 and the largest N."""
    text, results = table_of_pairs(lab, {"": cells()})
    return Found(text, results[""])


def needs(sizes: Scale) -> list[Need]:
    """Returns what it asks a `Lab` for."""
    return needs_of(cells(), sizes)


TABLE = Table("Slides: priors", make, needs)
