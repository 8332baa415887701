"""Builds the site, runs its guides, and checks what came out. No network is needed.

    python docs/build.py            # docs/_build/html
    python docs/build.py --quick    # without running guides, only what changed

Warnings are errors. Then: every link inside of the site leads to a page and an anchor,
nothing is loaded from elsewhere, every public name of tfhyper has its place in the
inventory, and every guide ran. `pip install -e ".[docs]"` has what it needs.
"""

import argparse
import html.parser
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
HTML = DOCS / "_build" / "html"
# Where a page could load something from while it is read.
_LOADS = {"script": "src", "img": "src", "iframe": "src", "link": "href"}


class Page(html.parser.HTMLParser):
    """The links, the anchors and the title of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = []
        self.feed(text)
        found = re.search(r"<h1>(.*?)<a class=\"headerlink\"", text, re.DOTALL)
        self.title = re.sub(r"<[^>]+>", "", found[1]) if found else ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what a tag leads to, loads and is called."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[x] for x in ("id", "name") if x in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in _LOADS and _LOADS[tag] in given:
            self.loaded.append(given[_LOADS[tag]])


def run_sphinx(quick: bool) -> None:
    """Builds the pages."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    environment = dict(os.environ)
    if quick:
        environment["TFHYPER_DOCS_EXECUTION"] = "off"
    else:
        # All of them, whatever an earlier build has left: a guide that is not outdated
        # by its text may be so by the library.
        shutil.rmtree(DOCS / "_build", ignore_errors=True)
        command += ["-j", "2"]
    subprocess.run([*command, str(DOCS), str(HTML)], check=True, env=environment)


def read_pages() -> dict[str, Page]:
    """Returns the pages by their path below the site's root."""
    return {
        path.relative_to(HTML).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(HTML.rglob("*.html"))
        if path.relative_to(HTML).parts[0] != "_static"  # the theme's own
    }


def broken_links(pages: dict[str, Page]) -> Iterator[str]:
    """Yields the links inside of the site that lead nowhere."""
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = urllib.parse.unquote(parts.path)
            target = os.path.normpath(Path(name).parent / path) if path else name
            if not (HTML / target).exists():
                yield f"{name}: {link}"
            elif parts.fragment and target in pages:
                anchor = urllib.parse.unquote(parts.fragment)
                if anchor not in pages[target].anchors:
                    yield f"{name}: {link} (no such anchor)"


def foreign_parts(pages: dict[str, Page]) -> Iterator[str]:
    """Yields what pages would load from another place."""
    for name, page in pages.items():
        for address in page.loaded:
            if urllib.parse.urlsplit(address).netloc:
                yield f"{name}: {address}"


def missing_names() -> Iterator[str]:
    """Yields the public names that the inventory of the site does not have."""
    from sphinx.util.inventory import InventoryFile

    import tfhyper

    content = (HTML / "objects.inv").read_bytes()
    inventory = InventoryFile.loads(content, uri="")
    known = {x for kind in inventory.data for x in inventory.data[kind]}
    for name in tfhyper.__all__:
        value = getattr(tfhyper, name)
        if name == "__version__":
            continue
        if inspect.ismodule(value):
            module = importlib.import_module(f"tfhyper.{name}")
            wanted = [f"tfhyper.{name}"]
            wanted += [f"tfhyper.{name}.{inner}" for inner in module.__all__]
        else:
            wanted = [f"tfhyper.{name}"]
        yield from (x for x in wanted if x not in known)


def guides_that_did_not_run() -> Iterator[str]:
    """Yields the guides without an output on their page."""
    for path in sorted((DOCS / "guides").glob("*.guide.py")):
        name = path.name.removesuffix(".guide.py")
        text = (HTML / "guides" / f"{name}.html").read_text(encoding="utf-8")
        if "cell_output" not in text or "<img" not in text:
            yield path.name


def write_llms_txt(pages: dict[str, Page]) -> None:
    """Writes a list of the pages, one a line, for programs that read it."""
    lines = ["# tfhyper", "", "> Bayesian neural networks for Keras 3.", ""]
    left_out = ("genindex.html", "search.html", "py-modindex.html")
    for name, page in pages.items():
        if page.title and name not in left_out:
            lines.append(f"- [{page.title}]({name})")
    (HTML / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Builds and checks; returns the exit code."""
    parser = argparse.ArgumentParser(description="Builds the site and checks it.")
    parser.add_argument(
        "--quick", action="store_true", help="run no guide, read only what changed"
    )
    quick = parser.parse_args().quick
    sys.path.insert(0, str(DOCS.parent))
    try:
        run_sphinx(quick)
    except subprocess.CalledProcessError as error:
        return error.returncode
    pages = read_pages()
    write_llms_txt(pages)
    checks = {
        "links that lead nowhere": list(broken_links(pages)),
        "loaded from elsewhere": list(foreign_parts(pages)),
        "public names without a place": list(missing_names()),
        "guides that did not run": [] if quick else list(guides_that_did_not_run()),
    }
    for what, found in checks.items():
        print(f"{what}: {len(found)}")
        for line in found[:50]:
            print(f"  {line}")
    print(f"{len(pages)} pages in {HTML}")
    return int(any(checks.values()))


if __name__ == "__main__":
    sys.exit(main())
