"""Tables of errors by the number N of draws that are averaged, with their curves."""

from collections.abc import Callable

from paper_runs import Lab, Scale
from report import markdown_table

from paper_tables.cells import CORNER, Cell, error_text, json_of, needs_of
from paper_tables.table import Found, Table
from tfhyper import analysis


def table_by_size(
    title: str, cells: Callable[[Scale], list[Cell]], figure_title: str
) -> Table:
    """Returns the table whose rows are cells and whose columns are N.

    Args:
        title: of the table.
        cells: called with a scale, returns those of its rows.
        figure_title: of its figure.
    """

    def make(lab: Lab) -> Found:
        return by_size(lab, cells(lab.sizes), figure_title)

    return Table(title, make, lambda sizes: needs_of(cells(sizes), sizes))


def by_size(lab: Lab, cells: list[Cell], title: str) -> Found:
    """Returns the errors by N of some cells, the paper's beside them."""
    errors = {cell.title: cell.errors(lab) for cell in cells}
    there = {name: found for name, found in errors.items() if found}
    sizes = {size for cell in cells for size in cell.published}
    sizes.update(int(n) for found in there.values() for n in found.curve.sizes)
    columns = sorted(sizes or {1})
    rows = [
        [
            cell.title,
            *(
                error_text(errors[cell.title], n, cell.published.get(n))
                for n in columns
            ),
        ]
        for cell in cells
    ]
    figure = None
    if there:
        curves = {name: found.curve for name, found in there.items()}
        figure = analysis.error_curve_plot(curves, title)
    return Found(
        markdown_table([CORNER.format("error %"), *(f"x{n}" for n in columns)], rows),
        {cell.title: json_of(errors[cell.title], cell) for cell in cells},
        figure,
    )
