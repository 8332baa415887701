"""The benchmark of the server, at a tiny scale."""

import json
import pathlib

import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_every_answer_is_judged(tmp_path):
    pytest.importorskip("mlserver", reason='pip install -e ".[serve]" gives the server')
    command = [
        str(ROOT / "benchmarks" / "serve_load.py"),
        *("--requests=60", "--malformed=0.3", "--http_clients=2", "--grpc_clients=1"),
        *("--draws=2", "--epochs=1", "--train_examples=128", "--attack=100"),
        f"--output={tmp_path / 'load.json'}",
        f"--figure={tmp_path / 'load.png'}",
    ]
    process = run_python(*command, check=True)
    found = json.loads((tmp_path / "load.json").read_text())
    good, malformed = found["good"], found["malformed"]
    assert good["requests"] + malformed["requests"] == 60
    assert good["answered"] == good["requests"] == sum(good["statuses"].values())
    assert malformed["refused"] == malformed["requests"] > 5
    assert good["largest_difference"] < 1e-5
    attacked = found["attack"]
    assert attacked["requests"] == 100 and attacked["unexpected"] == []
    assert sum(sum(x.values()) for x in attacked["statuses"].values()) == 100
    sizes = attacked["memory_mib"]
    assert 100 < sizes["idle"] < sizes["most"] < 1.5 * sizes["idle"]
    assert found["latency_ms"].keys() == {"HTTP", "gRPC"}
    for values in found["latency_ms"].values():
        assert 0 < values["p50"] <= values["p90"] <= values["p99"] <= values["max"]
    assert 100 < found["memory_mib"]["at_the_end"] < 10_000
    assert (tmp_path / "load.png").stat().st_size > 5000
    assert "| HTTP |" in process.stdout
