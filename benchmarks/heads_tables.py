"""Tables of what the heads of distributions scored: medians over splits."""

from collections.abc import Sequence

import numpy as np
from heads_regression import ROWS
from report import markdown_table

# Of each score: how it is called, its factor and its digits.
SCORES = {
    "nll": ("NLL, nats", 1.0, 3),
    "crps": ("CRPS", 1.0, 3),
    "coverage_90": ("coverage at 90 %, in %", 100.0, 1),
}
# Scores by table, row and name, one for each split.
Found = dict[str, dict[str, dict[str, list[float]]]]


def markdown(found: Found) -> str:
    """Returns a Markdown table of each score, the tables side by side."""
    return "\n\n".join(f"{SCORES[key][0]}:\n\n{_one(found, key)}" for key in SCORES)


def wins(found: Found, row: str, key: str) -> tuple[int, int]:
    """Returns on how many splits a row is below that with one noise, and of how many.

    Both have as many draws, and the same splits.
    """
    other = "homoscedastic_draws" if ROWS[row].random else "homoscedastic"
    pairs = [
        pair
        for rows in found.values()
        if row in rows and other in rows
        for pair in zip(rows[row][key], rows[other][key], strict=True)
    ]
    return sum(mine < theirs for mine, theirs in pairs), len(pairs)


def _one(found: Found, key: str) -> str:
    counts = key != "coverage_90"
    rows = []
    for name, row in ROWS.items():
        if not any(name in of_table for of_table in found.values()):
            continue
        cells = [
            _cell(of_table.get(name, {}).get(key), key) for of_table in found.values()
        ]
        if counts:
            below, of = wins(found, name, key)
            same = row.output == "homoscedastic"
            cells.append("-" if same else f"{below} of {of}")
        rows.append([row.title, "yes" if row.random else "", *cells])
    more = ["below one noise"] if counts else []
    return markdown_table(["output", "draws", *found, *more], rows)


def _cell(values: Sequence[float] | None, key: str) -> str:
    """Returns "median ± deviation", "median" of one split, "-" of none."""
    if not values:
        return "-"
    _, factor, digits = SCORES[key]
    numbers = factor * np.asarray(values)
    text = f"{np.median(numbers):.{digits}f}"
    if len(numbers) > 1:
        text += f" ± {numbers.std(ddof=1):.{digits}f}"
    return text
