"""The curve of MCBN's draws, at a tiny scale."""

import json
import pathlib

import numpy as np

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_writes_its_json_and_its_figure(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "mcbn_draws.py"),
        "--dataset=fashion_mnist_small",
        "--depth=8",
        "--epochs=1",
        "--train_examples=64",
        "--test_examples=40",
        "--draws=3",
        "--draw_sizes=8",
        "--seeds=2",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        f"--figure={tmp_path / 'figure.png'}",
    ]
    ran = run_python(*command, check=True)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    result = json.loads((tmp_path / "result.json").read_text())
    (seeds,) = result["results"].values()
    assert len(seeds) == 2
    for found in seeds:
        curve = found["log_likelihood"]
        assert curve["sizes"] == [1, 2, 3]
        # All draws together are one group, whose PLL is minus its NLL.
        assert abs(curve["median"][-1] + found["report"]["nll"]) < 1e-6
    last = [found["log_likelihood"]["median"][-1] for found in seeds]
    assert f"{np.mean(last):.4f} ± {np.std(last, ddof=1):.4f}" in ran.stdout
