"""The table of the drop-ins, at a tiny scale."""

import json
import pathlib

import numpy as np

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_runs_resumes_and_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "dropins.py"),
        "--train_examples=200",
        "--test_examples=150",
        "--epochs=1",
        "--seeds=2",
        "--draws=2",
        "--only=Dense-plain,Dense-Hyper",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
    ]

    def run(*more):
        return run_python(*command, *more, check=True).stdout

    first = run()
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["results"]) == {"Dense-plain", "Dense-Hyper"}
    for scores in result["results"].values():
        assert len(scores) == 2  # seeds
        assert {"call", "x2"} <= scores[0].keys()
    errors = [s["x2"]["error"] for s in result["results"]["Dense-Hyper"]]
    (row,) = (r for r in first.splitlines() if r.startswith("| Dense | HyperDense"))
    assert f"{np.mean(errors):.3f} ± {np.std(errors, ddof=1) / 2**0.5:.3f}" in row
    assert "== Dense-Hyper, seed 1" in first
    again = run()
    assert "==" not in again and row in again
