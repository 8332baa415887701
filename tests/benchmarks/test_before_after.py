"""The benchmark of two versions, of this one against itself."""

import json
import pathlib

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_versions_take_turns_and_its_json_is_written(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "before_after.py"),
        f"--before={ROOT}",
        "--depth=10",
        "--width=1",
        "--steps=1",
        "--warm_up=0",
        "--rounds=1",
        "--nomemory",
        f"--output={tmp_path / 'result.json'}",
    ]
    process = run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["parts"]) == 5
    for part, row in result["parts"].items():
        low, high = row["ratio_quartiles"]
        assert low == row["ratio"] == high > 0
        assert f"| {part} | {row['ratio']:.3f} |" in process.stdout


def test_a_version_before_has_to_be_given():
    command = str(ROOT / "benchmarks" / "before_after.py")
    process = run_python(command)
    assert process.returncode != 0
    assert "--before must be a checkout" in process.stdout + process.stderr
