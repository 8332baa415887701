"""The benchmark of step times, at a tiny scale."""

import json
import pathlib

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_prints_ratios_and_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "step_time.py"),
        "--depth=10",
        "--width=1",
        "--size=8",
        "--batch_size=4",
        "--rounds=3",
        "--warm_up=1",
        "--norivals",
        "--only=hypernetwork, ",
        "--only=tfhyper, reparameterization",
        f"--output={tmp_path / 'result.json'}",
    ]
    process = run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["rounds"] == 3
    found = result["results"]
    assert found.pop("plain Keras 3")["ratio"] == 1.0
    assert list(found) == [
        "hypernetwork, ordinary path",
        "hypernetwork, fast generator",
        "tfhyper, reparameterization",
    ]
    for name, row in found.items():
        low, high = row["ratio_quartiles"]
        assert 0 < low <= row["ratio"] <= high
        assert row["against"] == "plain Keras 3"
        speed = 4 / row["seconds"]
        assert row["images_per_second"] == speed
        line = f"| {name} | {row['seconds']:.3f} | {speed:.0f} | {row['ratio']:.2f} |"
        assert line in process.stdout
