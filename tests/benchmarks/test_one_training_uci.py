"""One training against several on tables, at a tiny scale."""

import json
import pathlib

import numpy as np
import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_all_methods_are_scored_kept_and_printed(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = 50 + 10 * x[:, 0] + rng.normal(size=60)
    np.savetxt(tmp_path / "line.txt", np.column_stack([x, y]))
    run = [
        str(ROOT / "benchmarks" / "one_training_uci.py"),
        f"--data_dir={tmp_path}",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        "--splits=1",
        "--epochs=20",
        "--draws=4",
    ]
    first = run_python(*run, check=True)
    result = json.loads((tmp_path / "result.json").read_text())["results"]["line"]
    assert list(result) == ["map", "four", "mc_dropout", "mcbn", "ivon", "hyper_ivon"]
    # The line is there to be found; a constant has an RMSE of 10.
    assert all(0 < found["rmse"]["mean"] < 8 for found in result.values()), result
    cell = json.loads((tmp_path / "runs" / "line-1.json").read_text())
    assert 0 < cell["noise"] < 1
    kept = cell["methods"]["ivon"]["crps"]
    assert result["ivon"]["crps"]["mean"] == pytest.approx(kept["crps"])
    again = run_python(*run, check=True)
    (row,) = (x for x in first.stdout.splitlines() if "| IVON |" in x)
    assert row in again.stdout
