"""The benchmark of LeNet-5 and AlexNet, at a tiny scale."""

import json
import pathlib

import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


def test_trains_prunes_resumes_and_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "bayesian_cnn.py"),
        "--dataset=fashion_mnist_small",
        "--data_note=embedded",
        "--train_examples=256",
        "--test_examples=100",
        "--lenet5_epochs=1",
        "--draws=3",
        "--singles=2",
        "--only=lenet5,lenet5_half_bayes",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
    ]
    outputs = []
    for _ in range(2):
        process = run_python(*command, check=True)
        outputs.append(process.stdout)
    result = json.loads((tmp_path / "result.json").read_text())
    plain, bayes = (result["results"][n] for n in ("lenet5", "lenet5_half_bayes"))
    assert plain["parameters"] == 61_706
    assert set(plain["pruned"]) == {"magnitude"}
    assert "x3" not in plain and plain["epistemic_nats"] == pytest.approx(0, abs=1e-7)
    assert set(bayes["pruned"]) == {"magnitude", "signal_to_noise"}
    assert bayes["epistemic_nats"] > 0 and bayes["epistemic_trace"] > 0
    for found in bayes["pruned"].values():
        weights = found["weights"]
        assert weights["after"] == pytest.approx(0.5 * weights["before"], abs=1)
    row = f"| {100 * bayes['x3']['error']:.1f} / {bayes['x3']['nll']:.3f} /"
    assert all(row in output for output in outputs)
    assert "== LeNet-5" in outputs[0] and "== LeNet-5" not in outputs[1]
