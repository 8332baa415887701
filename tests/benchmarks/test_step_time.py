"""The benchmark of step times, at a tiny scale."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_prints_ratios_and_writes_its_json(tmp_path):
    command = [
        sys.executable,
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
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.returncode == 0, process.stderr
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
