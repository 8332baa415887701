"""The benchmark of exported files, at a tiny scale."""

import json
import pathlib

import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_prints_ratios_and_writes_its_json(tmp_path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed")
    command = [
        str(ROOT / "benchmarks" / "export_time.py"),
        "--depth=10",
        "--width=1",
        "--epochs=1",
        "--batch_size=32",
        "--train_examples=64",
        "--test_examples=16",
        "--draws=2",
        "--images=8",
        "--batches=1,3",
        "--rounds=2",
        "--warm_up=1",
        "--only=onnx",
        "--weights=float32,int8",
        "--nocpp",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
    ]
    process = run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["draws"] == 2
    files = [
        "SavedModel, generator",
        "SavedModel, materialized",
        "onnx, float32",
        "onnx, int8",
    ]
    assert list(result["results"]) == files
    for name, row in result["results"].items():
        assert row["parity"] < (0.3 if name.endswith("int8") else 1e-5)
        assert row["bytes"] > 0 and row["load_seconds"] > 0
    assert result["results"]["onnx, int8"]["scores"]["file"]["nll"] > 0
    assert list(result["latency"]) == ["1", "3"]
    for found in result["latency"].values():
        assert list(found) == ["plain Keras", *files]
        assert found["plain Keras"]["ratio"] == 1.0
        for row in found.values():
            low, high = row["ratio_quartiles"]
            assert 0 < low <= row["ratio"] <= high
    assert "| onnx, float32 |" in process.stdout
