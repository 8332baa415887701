"""Text that every part shares."""

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as a table: the first column to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
