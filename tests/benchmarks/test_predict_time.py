"""The benchmark of predictions over draws, at a tiny scale."""

import json
import pathlib

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_prints_ratios_and_draws_and_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "predict_time.py"),
        "--depth=10",
        "--width=1",
        "--size=8",
        "--draws=2",
        "--batches=1,40",
        "--rounds=2",
        "--warm_up=1",
        "--norivals",
        "--epochs=1",
        "--train_examples=256",
        "--test_examples=20",
        "--anytime_draws=2,3",
        f"--workdir={tmp_path / 'run'}",
        f"--output={tmp_path / 'result.json'}",
    ]
    ran = run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["draws"] == 2
    assert list(result["results"]) == ["1", "40"]
    for rows in result["results"].values():
        assert rows["plain Keras 3, compiled call"]["ratio"] == 1.0
        assert rows["plain Keras 3, predict"]["ratio"] > 1.0
        ours = rows["tfhyper"]
        low, high = ours["ratio_quartiles"]
        assert 0 < low <= ours["ratio"] <= high
        assert 0 < ours["against_predict"]["ratio"] < ours["ratio"]
        assert f"{ours['ratio']:.2f} ({low:.2f} - {high:.2f}) |" in ran.stdout
    assert list(result["anytime"]["results"]) == ["2", "3"]
    for draws, rows in result["anytime"]["results"].items():
        assert list(rows) == ["0.9", "0.99", "0.999"]
        for row in rows.values():
            # So few draws leave nothing to save.
            assert 2 <= row["mean_draws"] <= int(draws)
            assert 0.9 <= row["agreement"] <= 1
