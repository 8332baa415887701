"""Smaller networks: weights set to zero, whole filters taken out, what it costs."""

from tfhyper.pruning.comparison import BeforeAfter, LayerRow, PruningReport, report
from tfhyper.pruning.filters import filters_that_stay, prune_filters
from tfhyper.pruning.weights import prune

__all__ = [
    "BeforeAfter",
    "LayerRow",
    "PruningReport",
    "filters_that_stay",
    "prune",
    "prune_filters",
    "report",
]
