"""Text that every part shares."""

from collections.abc import Sequence


def markdown_table(
    head: Sequence[object], rows: Sequence[Sequence[object]], side: str = "---"
) -> str:
    """Returns a table in Markdown.

    Args:
        head: the headings.
        rows: the cells of each row, as many as headings.
        side: the line below all headings but the first, "---:" for numbers.
    """
    lines = [head, ["---", *[side] * (len(head) - 1)], *rows]
    cells = [[str(cell).replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


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
