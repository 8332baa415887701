"""The page for keras.io: its format, and that it runs and keeps its word."""

import ast
import pathlib
import re

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "examples" / "keras_io" / "bayesian_neural_networks.py"
# As keras.io has it, in this order.
HEADER = ("Title", "Author", "Date created", "Last modified", "Description")
HEADER += ("Accelerator",)


def test_the_page_has_the_format_of_keras_io():
    source = PAGE.read_text()
    texts = [
        node.value.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    header, *cells = texts
    lines = header.strip().splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(HEADER)
    assert re.fullmatch(r"Accelerator: (None|GPU|TPU)", lines[-1])
    for line in lines[2:4]:
        assert re.fullmatch(r"[\w ]+: \d{4}/\d\d/\d\d", line)
    # Each text is a cell of its own, which begins and ends on lines of its own.
    assert all(cell.endswith("\n") for cell in cells)
    assert sum(cell.startswith("shell\npip install") for cell in cells) == 1
    assert cells[0].lstrip().startswith("## Introduction")
    assert source.index("KERAS_BACKEND") < source.index("import keras")


def test_the_page_runs_and_is_uncertain_where_it_should_be(tmp_path):
    env = {"WINE_QUALITY": "generated", "EPOCHS": "20"}
    said = run_python(PAGE, cwd=tmp_path, env=env, check=True).stdout
    few, many = map(float, re.findall(r"epistemic deviation (0\.\d+)", said))
    assert few > many > 0
    standard, *others = map(float, re.findall(r"RMSE (\d\.\d+)", said))
    assert len(others) == 3 and all(rmse < 1.5 * standard for rmse in others)
    (coverage,) = map(float, re.findall(r"([\d.]+) % of the scores", said))
    assert 85 < coverage <= 100
    sure, unsure = map(float, re.search(r"half ([\d.]+), .* ([\d.]+)", said).groups())
    assert sure < unsure
    here, far = map(float, re.search(r"here ([\d.]+), far out ([\d.]+)", said).groups())
    assert far > 2 * here
    assert (tmp_path / "wine.tfhyper").is_file()
