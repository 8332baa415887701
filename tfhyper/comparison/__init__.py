"""Predictors side by side: one table of scores, of known, foreign and shifted inputs.

`evaluate`, which is `tfhyper.evaluate`, makes it, a `ComparisonTable`.
"""

from tfhyper.comparison.evaluating import evaluate
from tfhyper.comparison.table import ComparisonTable

__all__ = ["ComparisonTable", "evaluate"]
