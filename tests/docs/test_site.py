"""What is cheap to know of the site: its guides, its groups, its links to files.

`python docs/build.py` builds it, runs the guides and checks every link.
"""

import ast
import importlib
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.guide.py"))
# What is made of the repository's files, the manual too, is not here.
PAGES = sorted(
    x for x in DOCS.rglob("*.md") if not {"generated", "manual"} & set(x.parts)
)


def cells(path):
    """The kind and the lines of each cell of a percent script."""
    parts = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.M)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


def test_there_is_a_guide_for_each_number():
    assert [int(x.name[:2]) for x in GUIDES] == list(range(1, len(GUIDES) + 1))
    assert len(GUIDES) >= 13


@pytest.mark.parametrize("path", GUIDES, ids=lambda x: x.name)
def test_a_guide_says_its_time_and_data_and_ends_in_what_holds_its_claim(path):
    found = cells(path)
    kind, opening = found[0]
    assert kind == " [markdown]" and opening.startswith("# # ")
    assert "*Time:*" in opening and "*Data:*" in opening
    for kind, text in found:
        if kind == " [markdown]":
            assert all(line.startswith("#") for line in text.split("\n") if line)
        else:
            ast.parse(text)
    kind, claims = found[-2]
    assert kind == " [markdown]" and "## What this page claims" in claims
    kind, last = found[-1]
    checks = [x for x in ast.walk(ast.parse(last)) if isinstance(x, ast.Assert)]
    assert kind == "" and checks
    assert "plt.show()" in path.read_text() or "\nfigure\n" in path.read_text()


def test_the_list_of_guides_has_each_once():
    text = (DOCS / "guides" / "index.md").read_text(encoding="utf-8")
    for path in GUIDES:
        name = path.name.removesuffix(".guide.py")
        assert len(re.findall(rf"^{name}$", text, re.M)) == 1


def test_pages_lead_to_pages_that_are_there():
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        made = set(importlib.import_module("repository_pages").pages())
        groups = importlib.import_module("reference").GROUPS
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    made |= {f"api/generated/{file}" for _, file, *_ in groups}
    made.add("api/generated/packages")
    for path in [*PAGES, *GUIDES]:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#:\s]+)[^)\s]*\)", text):
            target = (path.parent / target).resolve().relative_to(DOCS.resolve())
            known = [DOCS / f"{target}{x}" for x in (".md", ".guide.py", "")]
            assert str(target) in made or any(x.is_file() for x in known), (
                path,
                target,
            )


def test_code_on_pages_is_python():
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.M):
            ast.parse(block)


def test_files_that_pages_name_are_there():
    for path in [*PAGES, *GUIDES]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"\b(?:benchmarks|examples|docs)/[\w/]+\.\w+", text):
            assert (ROOT / name).exists() or "NAME" in name, (path.name, name)


def test_every_public_name_has_one_place_in_the_reference():
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        reference = importlib.import_module("reference")
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    assert reference.missing() == []
    assert reference.unknown() == []
    assert reference.aliases()["tfhyper.posterior.Prediction"] == "tfhyper.Prediction"
