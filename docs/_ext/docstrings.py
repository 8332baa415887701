"""Docstrings as reStructuredText, and names in backticks as links.

The docstrings of tfhyper have Google's sections, and between these plain text with
single backticks, indented formulas and, here and there, a fence. Napoleon knows the
sections alone; what stands between them is put into reStructuredText before it.
"""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_HEADER = re.compile(r"^[A-Z][a-z]+( [a-z]+)?:$")
_NAMES = re.compile(r"^    [\w*]+(, [\w*]+)*,$")
_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"[\\*|]|_(?=\W|$)|(?<!\w)_(?=\w)")


def to_rest(lines: list[str]) -> list[str]:
    """Returns the lines of a docstring with their text escaped and code marked."""
    rest: list[str] = []
    text: list[str] = []  # consecutive lines of text, in which a `name` may wrap
    in_section = False
    lines = _joined_names([line.rstrip() for line in lines])

    def flush() -> None:
        if text:
            rest.extend(_escape("\n".join(text)).split("\n"))
            text.clear()

    i = 0
    while i < len(lines):
        line = lines[i]
        stripped = line.lstrip()
        indent = len(line) - len(stripped)
        if stripped.startswith("```"):
            flush()
            end = next(k for k in range(i + 1, len(lines)) if lines[k].strip() == "```")
            language = stripped.strip("`") or "text"
            rest += ["", " " * indent + f".. code-block:: {language}", ""]
            rest += ["   " + code for code in lines[i + 1 : end]] + [""]
            i = end + 1
            continue
        if stripped.startswith(">>> "):
            flush()
            while i < len(lines) and lines[i]:
                rest.append(lines[i])
                i += 1
            continue
        if line and not indent:
            in_section = bool(_HEADER.match(line))
        after_blank = i == 0 or not lines[i - 1]
        if indent >= 4 and not in_section and after_blank:
            flush()
            rest += [".. code-block:: text", ""]
            while i < len(lines) and (not lines[i] or lines[i].startswith("    ")):
                rest.append(lines[i])
                i += 1
            rest.append("")
            continue
        text.append(line)
        i += 1
    flush()
    return rest


def _joined_names(lines: list[str]) -> list[str]:
    """Returns the lines with `a, b,` and `    c: text` of a section in one line.

    Napoleon reads the names of arguments in one line only.
    """
    joined: list[str] = []
    for line in lines:
        deeper = line.startswith(" " * 8) and ": " in line
        if deeper and joined and _NAMES.match(joined[-1]):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _escape(text: str) -> str:
    parts = _CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2:  # in backticks; a name that wraps keeps its line end
            parts[i] = f"`{part}`"
        else:
            parts[i] = _SPECIAL.sub(lambda found: "\\" + found[0], part)
    return "".join(parts)


def _process(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = to_rest(lines)


class LinkNames(SphinxTransform):
    """Makes a link of each `name` in the text that is a public name of tfhyper."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Replaces literals by cross-references."""
        import reference

        targets = reference.link_targets()
        for literal in list(self.document.findall(nodes.literal)):
            parent = literal.parent
            if isinstance(parent, nodes.reference | addnodes.pending_xref):
                continue
            text = literal.astext()
            name = text.removesuffix("()")
            target = targets.get(name)
            if target is None and "." in name:
                owner, _, member = name.rpartition(".")
                if owner in targets and member.isidentifier():
                    target = f"{targets[owner]}.{member}"
            if target is None or self._is_on_its_own_page(target):
                continue
            link = addnodes.pending_xref(
                "",
                refdomain="py",
                reftype="obj",
                reftarget=target,
                refexplicit=True,
                refdoc=self.env.docname,
                refwarn=False,
            )
            parent.replace(literal, link)
            link += literal

    def _is_on_its_own_page(self, target: str) -> bool:
        return self.env.docname.endswith(f"/{target}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connects both."""
    # Before Napoleon, whose priority is 500.
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
