"""The benchmark behind the README's table, at a tiny scale."""

import json
import pathlib

import numpy as np

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_runs_resumes_and_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "regularization.py"),
        "--dataset=fashion_mnist_small",
        "--data_note=embedded",
        "--train_examples=256",
        "--test_examples=200",
        "--width=1",
        "--epochs=1",
        "--draws=3",
        "--singles=2",
        "--only=map,normal_mean",
        "--seeds=2",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
    ]
    first = run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["seed"] == 0
    assert "--width=1" in result["command"]
    assert set(result["results"]) == {"map", "normal_mean"}
    hyper, second = result["results"]["normal_mean"]
    assert set(hyper["reestimate"]) == {"x1", "x3", "faults_of_four"}
    assert sum(hyper["reestimate"]["faults_of_four"]) == 200
    assert set(hyper["pass_sizes"]) == {"128"}
    nll = [one["reestimate"]["x3"]["nll"] for one in (hyper, second)]
    assert nll[0] != nll[1]
    (row,) = (r for r in first.stdout.splitlines() if r.startswith("| mean kernel"))
    assert f"{np.mean(nll):.3f} ± {np.std(nll, ddof=1):.3f}" in row

    again = run_python(*command, check=True)
    assert "== MAP" in first.stdout and "== MAP" not in again.stdout
    assert row in again.stdout


def test_scores_images_that_are_held_out_of_the_training(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "regularization.py"),
        "--dataset=fashion_mnist_small",
        "--train_examples=128",
        "--validation_examples=70",
        "--test_examples=10",
        "--width=1",
        "--epochs=1",
        "--draws=4",
        "--only=uniform",
        "--seeds=1",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
    ]
    run_python(*command, check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["validation_examples"] == 70
    (scores,) = result["results"]["uniform"]
    assert sum(scores["reestimate"]["faults_of_four"]) == 70
