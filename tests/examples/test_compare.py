"""Methods and files side by side, as a newcomer compares them."""

import json
import pathlib

import pytest

from tests.helpers.processes import run_python

SCRIPT = pathlib.Path(__file__).parents[2] / "examples" / "compare.py"
TINY = [
    "--methods=map,mcbn",
    "--train_examples=200",
    "--validation_examples=50",
    "--test_examples=40",
    "--corrupted_examples=4",
    "--severities=5",
    "--epochs=1",
    "--batch_size=50",
    "--draws=2",
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "compare"
    process = run_python(SCRIPT, f"--workdir={workdir}", *TINY)
    assert process.returncode == 0, process.stderr
    return workdir, process.stdout


def test_table_page_and_figure_are_there(compared):
    workdir, output = compared
    numbers = json.loads((workdir / "table.json").read_text())
    assert list(numbers["scores"]) == ["map", "mcbn"]
    assert numbers["counts"] == {"test": 40, "noise": 40, "shuffled": 40}
    assert len(numbers["shifted"]["map"]) == 15
    assert set(numbers["scores"]["map"]) >= {"error", "nll", "nll_scaled", "aurc"}
    # Both are of one training.
    seconds = [numbers["costs"][name]["train_seconds"] for name in ("map", "mcbn")]
    assert seconds[0] == seconds[1] > 0
    assert (workdir / "table.md").read_text().splitlines()[2] in output
    assert (workdir / "comparison.png").read_bytes().startswith(b"\x89PNG")
    page = (workdir / "index.html").read_text()
    assert "<table" in page and 'src="comparison.png"' in page


def test_what_is_trained_is_not_trained_again_and_files_stand_beside(compared):
    workdir, _ = compared
    before = (workdir / "map-0" / "seconds.json").read_bytes()
    scores = json.loads((workdir / "table.json").read_text())["scores"]
    model = workdir / "map-0" / "checkpoint-00001.keras"
    flags = [*TINY[1:], "--methods=map", f"--predictors=file={model}"]
    process = run_python(SCRIPT, f"--workdir={workdir}", *flags)
    assert process.returncode == 0, process.stderr
    assert "resuming after 1 of 1 epochs" in process.stdout
    assert (workdir / "map-0" / "seconds.json").read_bytes() == before
    again = json.loads((workdir / "table.json").read_text())["scores"]
    assert again["map"] == scores["map"] == again["file"]


@pytest.mark.parametrize(
    "flag",
    ["--methods=magic", "--predictors=nothing", "--seeds=x", "--severities=6"],
)
def test_bad_flags_end_before_any_training(flag, tmp_path):
    process = run_python(SCRIPT, f"--workdir={tmp_path / 'new'}", flag)
    assert process.returncode == 1
    assert f"error: {flag.partition('=')[0]}" in process.stderr
    assert not (tmp_path / "new").exists()
