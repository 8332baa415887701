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


def test_every_cell_has_all_seeds_and_the_grid_is_scored_on_held_out_images(tmp_path):
    code = """
import sys
import numpy as np
sys.path.insert(0, "benchmarks")
import dropins, tfhyper
dropins.FLAGS(["dropins.py", "--validation"])
(x, y), (x_held, y_held) = dropins.load_split()
(x_all, y_all), _ = tfhyper.data.load_arrays("fashion_mnist_small")
assert x.shape == (8000, 28, 28, 1) and x_held.shape == (2000, 28, 28, 1)
np.testing.assert_allclose(np.concatenate([x, x_held]), x_all, atol=1e-6)
np.testing.assert_array_equal(np.concatenate([y, y_held]), y_all)
assert len(dropins.grid_cells()) == 25 and dropins.FLAGS.seeds == 3
"""
    run_python("-c", code, check=True)
