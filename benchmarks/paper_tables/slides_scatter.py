"""The slides' pairs of weights of two blocks, all-in-one and block-wise.

The slides do not name the prior. The means stand in section 5.6 of the paper, for
U(0,1).
"""

from paper_tables.kinds import PRIOR_TITLES
from paper_tables.scatter import Row, scatter_table

PUBLISHED = {("all_in_one", "uniform"): 0.943, ("block_wise", "uniform"): 0.007}

TABLE = scatter_table(
    "Slides: pairs of weights across blocks",
    [
        Row(
            f"{sharing}, {PRIOR_TITLES[prior]}",
            {"sharing": sharing, "prior": prior},
            PUBLISHED.get((sharing, prior)),
        )
        for prior in ("uniform", "normal")
        for sharing in ("all_in_one", "block_wise")
    ],
    "across",
)
