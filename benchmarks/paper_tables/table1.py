"""Table I: CNNs on CIFAR-10."""

from paper_runs import Scale

from paper_tables.by_size import table_by_size
from paper_tables.cells import Cell
from paper_tables.kinds import MAP, options_of, pair

PUBLISHED = {
    "WRN-28-10": (pair(3.90), pair(3.76, 3.73)),
    "ResNeXt-29-8x64d": (pair(4.03), pair(3.92, 3.91)),
    "PyramidNet-110-48": (pair(4.59), pair(4.64, 4.61)),
}


def cells(sizes: Scale) -> list[Cell]:
    """Returns MAP and the hypernetwork of each network."""
    found = []
    for network, (point, hyper) in PUBLISHED.items():
        options = options_of(network, prior="uniform")
        found += [
            Cell(f"{network}, MAP", {"network": network, **MAP}, point),
            Cell(f"{network}, hypernetwork", options, hyper),
        ]
    return found


TABLE = table_by_size("Table I: CNNs on CIFAR-10", cells, "CNNs on CIFAR-10")
