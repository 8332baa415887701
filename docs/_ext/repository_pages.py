"""Pages that are files of the repository, or sections of them: one source, no copy.

Written anew at each build into folders named `generated`, which Git ignores. Links
between files of the repository become links between pages of the site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

# Pages that are whole files: page -> file. One that is not there is left out.
FILES = {
    "guides/generated/from-tfp-layers": "examples/from-tfp-layers.md",
    **{
        f"how/generated/manual-{path.stem}": f"docs/manual/{path.name}"
        for path in sorted((DOCS / "manual").glob("*.md"))
    },
    "guides/generated/server": "examples/serve/README.md",
    "guides/generated/page": "examples/serve/page/README.md",
    "guides/generated/cpp": "examples/serve/cpp/README.md",
    "project/generated/changelog": "CHANGELOG.md",
    "project/generated/conduct": "CODE_OF_CONDUCT.md",
    "project/generated/contributing": "CONTRIBUTING.md",
    "project/generated/security": "SECURITY.md",
    "results/generated/jobs": "benchmarks/jobs/README.md",
}
# Each section of this file is a page of the results.
RESULTS = "benchmarks/README.md"
# The words of the project, a section of this file.
WORDS = ("how/generated/words", "CONTRIBUTING.md", "Words", "Glossary")
CITATION = ("project/generated/citing", "CITATION.cff")

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def slug(title: str) -> str:
    """Returns the anchor that GitHub and MyST give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Yields the title and the text of each part that begins with `## `.

    What stands before the first has the title of the file.
    """
    blank = _FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    starts = [found.start() for found in re.finditer(r"^#{1,2} ", blank, re.MULTILINE)]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        heading, _, body = text[start:end].partition("\n")
        yield heading.lstrip("# "), body.strip() + "\n"


def result_pages() -> dict[str, tuple[str, str]]:
    """Returns the title and the text of the pages made of the benchmarks' file."""
    text = (ROOT / RESULTS).read_text(encoding="utf-8")
    return {
        f"results/generated/{slug(title)}": (title, body)
        for title, body in sections(text)
    }


def pages() -> dict[str, str]:
    """Returns the text of each page that is made of files of the repository."""
    made: dict[str, str] = {}
    for page, name in FILES.items():
        if (ROOT / name).exists():
            text = (ROOT / name).read_text(encoding="utf-8")
            made[page] = relinked(text, name, page)
    for page, (title, body) in result_pages().items():
        made[page] = relinked(f"# {title}\n\n{body}", RESULTS, page)
    page, name, title, heading = WORDS
    found = dict(sections((ROOT / name).read_text(encoding="utf-8")))
    made[page] = relinked(f"# {heading}\n\n{found[title]}", name, page)
    page, name = CITATION
    if (ROOT / name).exists():
        text = (ROOT / name).read_text(encoding="utf-8")
        made[page] = f"# Citing\n\n`{name}` has:\n\n```yaml\n{text}```\n"
    return made


def relinked(text: str, name: str, page: str) -> str:
    """Returns a text of the file `name` with its links made for the page `page`."""
    places = {file: made for made, file in FILES.items()}
    places["README.md"] = "index"

    def link(found: re.Match[str]) -> str:
        image, label, target = found.groups()
        if re.match(r"[a-z]+:", target):
            return found[0]
        path, _, anchor = target.partition("#")
        if not path:
            path = Path(name).name
        path = os.path.normpath(Path(name).parent / path)
        if path == RESULTS:
            place = f"results/generated/{anchor or 'benchmarks'}"
            return f"[{label}](/{place}.md)"
        if path in places:
            return f"[{label}](/{places[path]}.md{'#' * bool(anchor)}{anchor})"
        file = ROOT / path
        if file.is_file() and (image or file.suffix not in (".py", ".md")):
            here = os.path.relpath(file, (DOCS / page).parent)
            return f"{image}[{label}]({here})"
        # Of files and folders that the site has no page of, the name.
        return label if "`" in label else f"{label} (`{path}`)"

    parts = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    for i in range(0, len(parts), 2):
        parts[i] = _LINK.sub(link, parts[i])
    return "".join(parts)


def write_pages(texts: dict[str, str], suffix: str) -> None:
    """Writes pages, those that changed; deletes others in their folders."""
    folders: dict[Path, set[Path]] = {}
    for page, text in texts.items():
        path = DOCS / f"{page}{suffix}"
        folders.setdefault(path.parent, set()).add(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for folder, wanted in folders.items():
        for path in set(folder.glob(f"*{suffix}")) - wanted:
            path.unlink()


def _write(app: Sphinx) -> None:
    write_pages(pages(), ".md")


def setup(app: Sphinx) -> dict[str, Any]:
    """Writes the pages before Sphinx looks for them."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
