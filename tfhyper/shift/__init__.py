"""Shifted inputs: test data made worse in named ways and degrees, with known labels.

`corrupt` does to images one of the 15 kinds of `CORRUPTIONS` (noise, blur, weather,
digital) at one of five severities, and `shift_table` shifts the columns or the rows of
a table of numbers. `corruptions` and `table_shifts` are all of them at once, as
`tfhyper.evaluate` takes them. Only NumPy and SciPy are needed; JPEG needs Pillow too.
"""

from tfhyper.shift.corruptions import corrupt, corruptions
from tfhyper.shift.registry import CORRUPTIONS, Corruption
from tfhyper.shift.tables import TABLE_SHIFTS, shift_table, table_shifts

__all__ = [
    "CORRUPTIONS",
    "TABLE_SHIFTS",
    "Corruption",
    "corrupt",
    "corruptions",
    "shift_table",
    "table_shifts",
]
