"""Heads of distributions on tables, at a tiny scale."""

import json
import pathlib
import sys

import numpy as np
import pytest
import scipy.stats

import tfhyper
from tests.helpers.processes import run_python
from tfhyper import data

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import heads_regression as regression  # noqa: E402
import heads_tables  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = 50 + 10 * X[:, 0] + RNG.normal(size=60)


def test_scores_of_standardised_targets_are_those_in_their_own_unit():
    loc, scale, std = RNG.normal(size=20), RNG.uniform(0.5, 2, 20), 7.0
    targets = RNG.normal(size=20)
    family = tfhyper.heads.Normal()

    def scores(factor):
        parameters = factor * np.stack([loc, scale], -1)[np.newaxis]
        mixture = tfhyper.heads.DrawMixture(family, parameters)
        low, high = (x[:, 0] for x in mixture.interval(0.9))
        y = factor * targets
        return {
            "rmse": np.sqrt(np.mean((mixture.mean[:, 0] - y) ** 2)),
            "nll": -np.mean(scipy.stats.norm.logpdf(y, factor * loc, factor * scale)),
            "crps": mixture.crps(y).mean(),
            "coverage_90": np.mean((low <= y) & (y <= high)),
            "width_90": np.mean(high - low),
        }

    assert regression.in_unit(scores(1.0), std) == pytest.approx(scores(std))


def test_rows_are_standardised_by_those_to_learn_from_and_none_is_in_two_parts():
    rows = regression.Rows.of(data.Table(X, Y), split=1, width=5)
    parts = rows.train, rows.validation, rows.test
    assert [len(y) for _, y in parts] == [38, 10, 12]
    x, y = rows.train
    np.testing.assert_allclose(x[:, :3].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)
    assert all(x.shape[1] == 5 and not x[:, 3:].any() for x, _ in parts)
    every = np.sort(np.concatenate([y for _, y in parts])) * rows.std
    np.testing.assert_allclose(np.diff(every), np.diff(np.sort(Y)), atol=1e-4)


def test_tables_have_medians_and_count_the_splits_below_one_noise():
    def scores(*nll):
        return {"nll": list(nll), "crps": list(nll), "coverage_90": [0.9] * len(nll)}

    found = {
        "a": {"homoscedastic": scores(1, 2, 3), "normal": scores(0, 3, 2.5)},
        "b": {"homoscedastic": scores(1, 1, 1), "normal_draws": scores(0, 0, 0)},
    }
    assert heads_tables.wins(found, "normal", "nll") == (2, 3)
    lines = heads_tables.markdown(found).splitlines()
    (one, *_) = (line for line in lines if line.startswith("| normal |  |"))
    assert one == "| normal |  | 2.500 ± 1.607 | - | 2 of 3 |"
    assert "| normal | yes | - | 90.0 ± 0.0 |" in lines


def test_heads_find_the_noise_of_each_table_side_by_side():
    rng = np.random.default_rng(1)
    parts = []
    for count, unit in ((2000, 1.0), (1500, 100.0)):
        x = rng.uniform(-1, 1, (count, 1))
        noise = np.exp(2 * x[:, 0] - 1)
        y = unit * (3 * x[:, 0] + noise * rng.normal(size=count))
        parts.append(regression.Rows.of(data.Table(x, y), split=1, width=1))
    settings = regression.Settings(steps=400)
    found = regression.Network(regression.ROWS["normal"], 1, settings).scores(parts)
    for scores, unit in zip(found, (1.0, 100.0), strict=True):
        # The truth has 0.42 and 0.96, the best constant noise 1.38.
        assert 0.2 < scores["nll"] - np.log(unit) < 0.7, found
        assert 0.84 < scores["coverage_90"] < 0.96
        assert 0.7 < scores["rmse"] / unit < 1.25
        assert scores["steps"] in range(20, 401, 20)


def test_runs_resumes_and_writes_its_json(tmp_path):
    np.savetxt(tmp_path / "line.txt", np.column_stack([X, Y]))
    np.savetxt(tmp_path / "other.txt", np.column_stack([X[:55, :2], 3 * Y[:55]]))
    run = [
        str(ROOT / "benchmarks" / "heads_uci.py"),
        f"--data_dir={tmp_path}",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        "--rows=homoscedastic_draws",
        "--splits=2",
        "--steps=20",
        "--draws=3",
    ]
    first = run_python(*run, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["tables"] == ["line", "other"]
    path = tmp_path / "runs" / "homoscedastic_draws.json"
    cell = json.loads(path.read_text())
    for table, factor in (("line", 1), ("other", 3)):
        scores = result["results"][table]["homoscedastic_draws"]
        assert scores == cell["tables"][table]
        assert len(scores["nll"]) == 2
        # Of targets with a deviation of 10 or 30.
        crps, rmse = np.array(scores["crps"]), np.array(scores["rmse"])
        assert (0 < crps).all() and (crps < rmse).all()
        assert (rmse < 30 * factor).all()
    cell["tables"]["line"]["crps"] = [123.0, 123.0]
    path.write_text(json.dumps(cell))
    again = run_python(*run, check=True)
    assert "123.000 ± 0.000" in again.stdout and "123.000" not in first.stdout
