"""The example of series: windows, intervals of draws and conformal ones."""

import json
import pathlib

import numpy as np
import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--epochs=1", "--draws=2", "--width=4", "--history=5", "--horizon=2"]
DAYS = ["--held_out_days=60", "--test_days=40", "--year=0"]


def forecast(*flags):
    return run_python(ROOT / "examples" / "forecast.py", *TINY, *flags)


@pytest.mark.parametrize("method", ["mc_dropout", "variational", "bayes"])
def test_each_method_forecasts_a_table(method, tmp_path):
    rng = np.random.default_rng(0)
    series = np.cumsum(rng.normal(size=(300, 1)), axis=0)
    table = np.column_stack([rng.normal(size=300), series])
    np.savetxt(tmp_path / "table.txt", table)
    flags = [
        f"--table={tmp_path / 'table.txt'}",
        *DAYS,
        f"--workdir={tmp_path / 'run'}",
    ]
    done = forecast(*flags, f"--method={method}")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    for name in ("draws", "conformal"):
        by_day = scores[name]["coverage_by_day"]
        assert len(by_day) == 2
        assert scores[name]["coverage"] == pytest.approx(np.mean(by_day))
    assert "39 test windows" in done.stdout
    assert (tmp_path / "run" / "forecasts.png").stat().st_size > 10_000
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "run" / "predictor.tfhyper")
    found = predictor.predict(rng.normal(size=(3, 5, 2)).astype("float32"))
    assert found.mean.shape == (3, 2) and found.epistemic.max() > 0
    assert found.conformal_interval.upper.shape == (3, 2)


def test_the_weather_of_seattle(tmp_path):
    done = forecast("--method=deterministic", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    # A year of which the last day is the end of a window.
    assert "364 test windows" in done.stdout
    again = forecast("--method=deterministic", f"--workdir={tmp_path}")
    assert again.returncode == 0 and "resuming" in again.stdout
    for flags, message in (
        (["--history=400"], "--history and --horizon must leave windows"),
        (["--horizon=0"], "--horizon must be positive"),
        (["--epochs=2"], "epochs"),
    ):
        bad = forecast(*flags, "--method=deterministic", f"--workdir={tmp_path}")
        assert bad.returncode == 1 and message in bad.stderr
