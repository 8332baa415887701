"""The benchmark of peak memory, at a tiny scale."""

import json
import pathlib

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_measures_each_system_in_a_process_and_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "memory.py"),
        "--depth=10",
        "--width=1",
        "--size=8",
        "--batch_size=4",
        "--steps=1",
        "--repeats=1",
        "--norivals",
        "--only=hypernetwork, fast generator",
        f"--output={tmp_path / 'result.json'}",
    ]
    process = run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    found = result["results"]
    assert list(found) == ["plain Keras 3", "hypernetwork, fast generator"]
    plain, fast = found.values()
    assert plain["generator"] == 0
    # 3x3 convolutions of 16, 32 and 64 channels, two each, and two 1x1 shortcuts.
    first = 16 * 16 * 9 * 2
    second = 16 * 32 * 9 + 32 * 32 * 9 + 16 * 32
    third = 32 * 64 * 9 + 64 * 64 * 9 + 32 * 64
    kernels, convolutions = first + second + third, 8
    assert fast["generator"] == 4 * 32 * (kernels + 32 * convolutions)
    for row in found.values():
        assert 0 < row["steps"] <= row["all"]
        low, high = row["steps_range"]
        assert low == row["steps"] == high
    more = fast["steps"] - plain["steps"]
    assert fast["more_than_plain"] == more
    assert fast["within_bound"] == (more <= 2.2 * fast["generator"])
    assert "| hypernetwork, fast generator |" in process.stdout
