"""What a lent GPU is asked, on a CPU with tiny sizes: JAX, and no TensorFlow."""

import json
import pathlib

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
# What a lent machine does not have.
BLOCKED = """
import runpy, sys
for name in ("tensorflow", "tensorflow_probability", "tensorflow_datasets"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SMALL = [
    "--networks=10-1",
    "--units=4",
    "--size=8",
    "--batch_size=16",
    "--rounds=3",
    "--steps=2",
    "--draws=3",
    "--images=40",
    "--matmul=64",
    "--train_examples=64",
    "--max_epochs=2",
]


def gpu_hour(path, *arguments):
    script = ROOT / "benchmarks" / "gpu_hour.py"
    command = [script, *SMALL, f"--output={path}", *arguments]
    # Most of the time is the compiler's.
    env = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = run_python("-c", BLOCKED, *command, fresh=True, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(path.read_text()), done.stdout


def test_all_parts_without_tensorflow(tmp_path):
    options = ["--minutes=7.5", "--train_minutes=0.2", "--precisions=float32"]
    found, printed = gpu_hour(tmp_path / "found.json", *options)
    assert found["seconds"] < 450 and not found["left_out"], found["left_out"]
    parts = found["parts"]
    product = parts["matrix product, float32"]
    assert product["operations_per_second"] > 0 and product["published"] is None
    steps = parts["steps of WRN-10-1, float32"]
    plain, hyper = steps["plain"], steps["hypernetwork"]
    assert plain["ratio"] == plain["memory_to_plain"] == 1.0
    assert hyper["parameters"] > plain["parameters"] == 77850
    assert hyper["operations"] > plain["operations"]
    assert hyper["memory"] > plain["memory"] > 12 * plain["parameters"]
    for row in (plain, hyper):
        rate = row["operations"] / row["seconds"]
        assert row["operations_per_second"] == rate
        assert row["of_matrix_product"] == rate / product["operations_per_second"]
        low, high = row["ratio_quartiles"]
        assert 0 < low <= row["ratio"] <= high
    assert found["operations_per_second"] == {
        "WRN-10-1": plain["operations_per_second"]
    }
    assert parts["x3 of WRN-10-1, float32"]["ratio"] > 0
    epochs = parts["epochs of WRN-10-1, float32"]
    rates = [epoch["rate"] for epoch in epochs["epochs"]]
    assert rates == [0.1, 0.1]
    assert epochs["epochs"][0]["loss"] < 3.0
    assert set(epochs["test_error"]) == {"x1", "x3"}
    assert "steps of WRN-10-1, float32, hypernetwork" in printed


def test_at_the_end_of_the_time_there_is_a_file(tmp_path):
    options = ["--minutes=0.2", "--train_minutes=0", "--precisions=bfloat16"]
    found, _ = gpu_hour(tmp_path / "found.json", *options)
    assert found["seconds"] < 12 and found["left_out"]
    assert "matrix product, bfloat16" in found["parts"]
