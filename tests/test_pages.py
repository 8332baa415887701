"""The README and the manual: their code runs, and what they point at is there.

The code of a page runs from its first block to its last, as a reader would run it, but
on the first images alone: what it gives there means nothing.
"""

import os
import pathlib
import re

import keras
import pytest

import tfhyper

ROOT = pathlib.Path(tfhyper.__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs" / "manual").glob("*.md"))]
CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What needs data that no test has: it is compiled, and not run.
NEEDS_DATA = "# With CIFAR-10 prepared:"
FEW = 200


def blocks(path):
    return CODE.findall(path.read_text(encoding="utf-8"))


def name_of(path):
    return path.stem


@pytest.fixture
def few_images(monkeypatch, tmp_path):
    """The embedded images, the first few of them; the working folder is a new one."""
    load_arrays, load = tfhyper.data.load_arrays, tfhyper.data.load
    few = {"train_examples": FEW, "test_examples": FEW}
    monkeypatch.setattr(tfhyper.data, "load_arrays", lambda x: load_arrays(x, **few))
    monkeypatch.setattr(tfhyper.data, "load", lambda x: load(x, **few))
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)


def case(path):
    """A page; the code of the README runs every day."""
    marks = pytest.mark.everyday if path == README else ()
    return pytest.param(path, marks=marks, id=name_of(path))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("path", [case(p) for p in PAGES if blocks(p)])
def test_code_runs_from_the_first_block_to_the_last(path, few_images, capsys):
    names: dict = {}
    for i, block in enumerate(blocks(path)):
        code = compile(block, f"{path.name}, block {i + 1}", "exec")
        if not block.startswith(NEEDS_DATA):
            exec(code, names)
    assert "tfhyper" in names


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_and_pictures_lead_to_files(path):
    text = re.sub(r"`[^`]*`", "", path.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [x for x in links if not x.startswith(("http:", "https:"))]
    for link in local:
        assert (path.parent / link).exists(), link


def test_the_readme_is_a_page():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    (code,) = blocks(README)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 13  # twelve, and the import


def test_the_manual_names_its_pages():
    index = (ROOT / "docs" / "manual" / "index.md").read_text(encoding="utf-8")
    found = set(re.findall(r"\]\((\w[\w-]*\.md)\)", index))
    assert found == {p.name for p in PAGES if p != README} - {"index.md"}
    assert os.path.samefile(PAGES[0], README)
