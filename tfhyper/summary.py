"""What an object shows of itself: a short table, as text and in a notebook."""

import abc
import dataclasses
import html
from collections.abc import Sequence

from tfhyper.text import align, markdown_table

# Colours are those of the page around, so that dark pages stay readable.
_TABLE = "border-collapse:collapse;margin:.3em 0"
_CELL = "padding:.15em .7em;text-align:{side};white-space:nowrap"
_LINE = ";border-bottom:1px solid;border-color:color-mix(in srgb,currentColor 35%,"
_LINE += "transparent)"


@dataclasses.dataclass(frozen=True)
class Summary:
    """A short table with words above and below it.

    Args:
        title: what the object is, in one line; may be empty.
        head: the headings of the columns, the first of which names the rows; may be
            empty, where there is no table.
        rows: the cells of each row, as many as headings.
        notes: lines below the table.
        parts: further summaries below that, each with a name.
    """

    title: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    parts: Sequence[tuple[str, "Summary"]] = ()

    def text(self) -> str:
        """Returns the summary as lines of text."""
        lines = [self.title] if self.title else []
        if self.head:
            lines.append(align([self.head, *self.rows]))
        lines.extend(self.notes)
        for name, part in self.parts:
            lines.append(f"\n{name}: {part.text()}")
        return "\n".join(lines)

    def markdown(self) -> str:
        """Returns the table in Markdown, its notes below it, and then its parts."""
        found = []
        if self.head:
            found.append(markdown_table(self.head, self.rows, "---:"))
        if self.notes:
            found.append("; ".join(self.notes))
        found += [f"{name}\n\n{part.markdown()}" for name, part in self.parts]
        return "\n\n".join(found)

    def html(self) -> str:
        """Returns the summary as HTML, without scripts, colours or anything loaded."""
        return f"<div>{self._inside()}</div>"

    def _inside(self) -> str:
        found = [f"<div><b>{html.escape(self.title)}</b></div>"] if self.title else []
        if self.head:
            head = _row(self.head, "th", _LINE)
            rows = "".join(_row(row, "td") for row in self.rows)
            found.append(
                f'<table style="{_TABLE}"><thead>{head}</thead>'
                f"<tbody>{rows}</tbody></table>"
            )
        for note in self.notes:
            found.append(f"<div><small>{html.escape(note)}</small></div>")
        for name, part in self.parts:
            found.append(
                f'<div style="margin-top:.7em"><i>{html.escape(name)}</i></div>'
                f"{part._inside()}"
            )
        return "".join(found)


def _row(cells: Sequence[str], tag: str, line: str = "") -> str:
    shown = []
    for place, cell in enumerate(cells):
        style = _CELL.format(side="right" if place else "left") + line
        shown.append(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>')
    return f"<tr>{''.join(shown)}</tr>"


class Summarized(abc.ABC):
    """What shows a short table of itself, at a prompt and in a notebook."""

    @abc.abstractmethod
    def to_summary(self) -> Summary:
        """Returns what is shown."""

    def __repr__(self) -> str:
        return self.to_summary().text()

    def _repr_html_(self) -> str:
        """Returns what notebooks show."""
        return self.to_summary().html()
