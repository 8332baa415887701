"""Figure 9: pairs of weights of one block, all-in-one."""

from paper_tables.scatter import Row, scatter_table

TABLE = scatter_table(
    "Figure 9: pairs of weights of a block",
    [
        # Section 5.6: "approximately 0.15 on average", and the mean of the other.
        Row("N(0,1)", {"prior": "normal"}, 0.15),
        Row("U(0,1)", {"prior": "uniform"}, 0.979),
    ],
    "within",
)
