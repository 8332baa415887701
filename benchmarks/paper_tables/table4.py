"""Table IV: methods of regularization."""

from paper_runs import Scale

from paper_tables.by_size import table_by_size
from paper_tables.cells import Cell, Ensemble
from paper_tables.kinds import BY_PRIOR, MAP, MLE, pair


def cells(sizes: Scale) -> list[Cell]:
    """Returns two ensembles and two hypernetworks."""
    return [
        Ensemble("Ensemble-MLE", MLE, pair(6.05, 4.75)),
        Ensemble("Ensemble-MAP", MAP, pair(4.23, 3.14)),
        Cell(
            "Bayesian hypernetwork",
            {"kit": "bayesian_hypernet"},
            pair("failed", "failed"),
        ),
        Cell("hypernetwork, N(0,1)", {}, BY_PRIOR["normal"]),
    ]


TABLE = table_by_size(
    "Table IV: methods of regularization", cells, "Methods of regularization"
)
