"""The memory of evaluating maps, of a few small ones."""

import json

from tests.helpers.processes import run_python


def test_measures_both_numbers_of_draws(tmp_path):
    output = tmp_path / "memory.json"
    sizes = ["--maps=3", "--height=6", "--width=5", "--classes=3", "--batch_size=2"]
    more = ["--draws=2", "--rounds=1", f"--output={output}"]
    run_python("benchmarks/maps_memory.py", *sizes, *more, check=True, fresh=True)
    found = json.loads(output.read_text())
    assert [row["draws"] for row in found["rows"]] == [1, 2]
    assert all(row["peak"] >= row["before"] > 50 for row in found["rows"])
    assert found["ratio"] == found["median_peaks"]["2"] / found["median_peaks"]["1"]
