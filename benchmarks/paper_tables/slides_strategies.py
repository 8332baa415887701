"""The slides' table of strategies and priors, for WRN-28-4 and WRN-28-10.

All-in-one is averaged over N networks and block-wise over N residual blocks in
parallel, as section 3.4 of the paper says; the slides do not say it.
"""

from paper_runs import Lab, Scale

from paper_tables.cells import Cell, needs_of, table_of_pairs
from paper_tables.kinds import (
    BY_STRATEGY,
    FORMS,
    MAP,
    MAP_ERRORS,
    MLE,
    MLE_ERRORS,
    PRIOR_TITLES,
    options_of,
)
from paper_tables.table import Found, Need, Table

NETWORKS = ("WRN-28-4", "WRN-28-10")


def cells(network: str) -> list[Cell]:
    """Returns the rows of one network."""
    points = [
        Cell("MLE", {"network": network, **MLE}, MLE_ERRORS[network]),
        Cell("MAP", {"network": network, **MAP}, MAP_ERRORS[network]),
    ]
    return points + [
        Cell(
            f"{sharing}, {PRIOR_TITLES[prior]}",
            options_of(network, sharing=sharing, prior=prior),
            BY_STRATEGY[network, sharing, prior],
            # Branching is the mean over draws.
            form=None if sharing == "all_in_one" else FORMS[sharing],
        )
        for sharing in ("all_in_one", "block_wise")
        for prior in ("normal", "uniform")
    ]


def make(lab: Lab) -> Found:
    """Returns x1 and the largest N of both networks."""
    columns = {network: cells(network) for network in NETWORKS}
    return Found(*table_of_pairs(lab, columns))


def needs(sizes: Scale) -> list[Need]:
    """Returns what it asks a `Lab` for."""
    return [n for network in NETWORKS for n in needs_of(cells(network), sizes)]


TABLE = Table("Slides: strategies and priors", make, needs)
