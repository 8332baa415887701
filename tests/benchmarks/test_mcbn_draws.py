"""The curve of MCBN's draws, at a tiny scale."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_writes_its_json_and_its_figure(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "mcbn_draws.py"),
        "--dataset=fashion_mnist_small",
        "--depth=8",
        "--epochs=1",
        "--train_examples=64",
        "--test_examples=40",
        "--draws=3",
        "--draw_sizes=8",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        f"--figure={tmp_path / 'figure.png'}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    result = json.loads((tmp_path / "result.json").read_text())
    (found,) = result["results"].values()
    curve = found["log_likelihood"]
    assert curve["sizes"] == [1, 2, 3]
    # All draws together are one group, whose PLL is minus its NLL.
    assert abs(curve["median"][-1] + found["report"]["nll"]) < 1e-6
    assert f"{curve['median'][-1]:.4f}" in ran.stdout
