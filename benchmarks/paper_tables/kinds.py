"""The kinds of trainings that several tables compare, and the paper's words for them.

The published numbers are errors in per cent on all of CIFAR-10: of x1, and of x16 where
the authors average. "slides" are those of the authors' talk (appendix).
"""

from typing import Any

from paper_tables.cells import Published

MAP: dict[str, Any] = {"kit": "deterministic"}
MLE: dict[str, Any] = {"kit": "deterministic", "weight_decay": 0.0}
SHARING = ("all_in_one", "block_wise", "layer_wise")
# Section 3.4: how each strategy is averaged.
FORMS = dict(zip(SHARING, ("branching", "parallelizing", "widening"), strict=True))
PRIOR_TITLES = {
    "normal": "N(0,1)",
    "symmetric_uniform": "U(-1,1)",
    "uniform": "U(0,1)",
    "half_normal": "|N(0,1)|",
}
# Section 4.3: of the codes and of the hidden layer.
UNITS = {"WRN-28-10": 16, "ResNeXt-29-8x64d": 16, "PyramidNet-110-48": 32}


def pair(x1: Published, x16: Published = None) -> dict[int, Published]:
    """Returns what is published of x1 and of x16."""
    return {1: x1} if x16 is None else {1: x1, 16: x16}


# WRN-28-4 by prior, all-in-one: slides.
BY_PRIOR = {
    "normal": pair(4.65, 4.06),
    "symmetric_uniform": pair(4.74, 4.22),
    "uniform": pair(4.21, 4.19),
    "half_normal": pair(4.64, 4.58),
}
# By network, strategy and prior: slides.
BY_STRATEGY = {
    ("WRN-28-4", "all_in_one", "normal"): pair(4.65, 4.06),
    ("WRN-28-4", "all_in_one", "uniform"): pair(4.21, 4.19),
    ("WRN-28-4", "block_wise", "normal"): pair(4.70, 4.03),
    ("WRN-28-4", "block_wise", "uniform"): pair(4.34, 4.34),
    ("WRN-28-10", "all_in_one", "normal"): pair(4.13, 3.79),
    ("WRN-28-10", "all_in_one", "uniform"): pair(3.76, 3.73),
    ("WRN-28-10", "block_wise", "normal"): pair(4.42, 3.85),
    ("WRN-28-10", "block_wise", "uniform"): pair(4.02, 3.97),
}
MLE_ERRORS = {"WRN-28-4": pair(6.05), "WRN-28-10": pair(5.49)}
MAP_ERRORS = {"WRN-28-4": pair(4.23), "WRN-28-10": pair(3.90)}


def options_of(network: str, **more: Any) -> dict[str, Any]:
    """Returns the options of a hypernetwork's training, its units as section 4.3."""
    units = {"units": UNITS[network]} if network in UNITS else {}
    return {"network": network, **units, **more}
