"""One training against several on tables, at a tiny scale."""

import json
import pathlib
import sys

import numpy as np
import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import one_training_regression as regression  # noqa: E402

from tfhyper import data  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = 50 + 10 * X[:, 0] + RNG.normal(size=60)


@pytest.mark.parametrize("name", ["map", "ivon"])
def test_a_network_begins_anew_for_each_training(name):
    rows = data.split_rows(60, 1)
    part = regression.protocol.Part.of(data.Table(X, Y), *rows)
    trainings = regression.Trainings(60, 4)
    first, other, again = (
        trainings.members(regression.METHODS[name], part, 0.05, seed)
        for seed in (1, 2, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert abs(first - other).max() > 0.01
    # The line is there to be found; a constant has an RMSE of 10.
    assert np.sqrt(np.mean((first.mean(0) - part.y_test) ** 2)) < 5


def test_all_methods_are_scored_kept_and_printed(tmp_path):
    np.savetxt(tmp_path / "line.txt", np.column_stack([X, Y]))
    run = [
        str(ROOT / "benchmarks" / "one_training_uci.py"),
        f"--data_dir={tmp_path}",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        "--splits=1",
        "--epochs=2",
        "--draws=4",
    ]
    first = run_python(*run, check=True)
    result = json.loads((tmp_path / "result.json").read_text())["results"]["line"]
    assert list(result) == ["map", "four", "mc_dropout", "mcbn", "ivon", "hyper_ivon"]
    assert all(0 < found["rmse"]["mean"] < 30 for found in result.values()), result
    cell = json.loads((tmp_path / "runs" / "line-1.json").read_text())
    assert cell["noise"] > 0
    kept = cell["methods"]["ivon"]["crps"]
    assert result["ivon"]["crps"]["mean"] == pytest.approx(kept["crps"])
    again = run_python(*run, check=True)
    (row,) = (x for x in first.stdout.splitlines() if "| IVON |" in x)
    assert row in again.stdout
