"""The benchmark behind the figure of uncertainties, at a tiny scale."""

import json
import pathlib

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_writes_its_json_and_its_figure(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "uncertainty.py"),
        "--sizes=40,80",
        "--test_examples=30",
        "--steps=4",
        "--points=50",
        "--draws=3",
        f"--output={tmp_path / 'result.json'}",
        f"--figure={tmp_path / 'new' / 'figure.png'}",
    ]
    ran = run_python(*command, check=True)
    figure = (tmp_path / "new" / "figure.png").read_bytes()
    assert figure.startswith(b"\x89PNG\r\n\x1a\n")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["draws"] == 3 and "--sizes=40,80" in result["command"]
    assert set(result["results"]) == {"40", "80"}
    scores = result["results"]["80"]
    uncertainty = scores["uncertainty"]
    assert set(uncertainty) == {"test", "rotated", "inverted", "noise"}
    assert all(0 <= part["epistemic"] <= 1.1 for part in uncertainty.values())
    test = uncertainty["test"]
    (row,) = (line for line in ran.stdout.splitlines() if line.startswith("| 80 |"))
    assert f"{test['epistemic']:.3f} / {test['aleatoric']:.3f}" in row
    assert scores["kl_per_example"] < scores["negative_bound"]
