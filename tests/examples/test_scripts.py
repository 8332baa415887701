"""The example scripts, run as a newcomer runs them."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import tfhyper

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--train_examples=256", "--test_examples=100", "--draws=3", "--epochs=2"]


def run_script(name, *flags):
    """Runs a script of examples/; returns the finished process."""
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "train"
    process = run_script("train.py", f"--workdir={workdir}", *TINY)
    assert process.returncode == 0, process.stderr
    return workdir, process.stdout


def printed_scores(output, name):
    """Returns error (a fraction) and NLL of a row of the printed table."""
    (row,) = (line for line in output.splitlines() if line.split()[:1] == [name])
    _, error, nll, *_ = row.split()
    return float(error) / 100, float(nll)


def test_training_prints_the_scores_of_one_draw_and_of_all(trained):
    workdir, output = trained
    predictor = tfhyper.PosteriorPredictor.load(workdir / "predictor.tfhyper")
    data = tfhyper.data.load("fashion_mnist_small", test_examples=100)
    labels = np.concatenate([y for _, y in data.test])
    members = predictor.predict(data.test).members
    expected_nll = -np.log(members.mean(0)[np.arange(100), labels]).mean()
    expected_error = (members.mean(0).argmax(-1) != labels).mean()
    error, nll = printed_scores(output, "x3")
    np.testing.assert_allclose(error, expected_error, atol=1e-4)
    np.testing.assert_allclose(nll, expected_nll, atol=2e-4)
    singles = [-np.log(m[np.arange(100), labels]).mean() for m in members]
    np.testing.assert_allclose(
        printed_scores(output, "x1")[1], np.median(singles), atol=2e-4
    )


def test_training_leaves_scores_and_pictures(trained):
    workdir, output = trained
    for name in ("reliability.png", "examples.png"):
        assert (workdir / name).read_bytes().startswith(b"\x89PNG")
        assert str(workdir / name) in output
    scores = json.loads((workdir / "scores.json").read_text())
    assert set(scores) == {"x1", "x3"}
    assert 0 < scores["x3"]["error"] < 1


def test_a_finished_training_is_not_trained_again(trained):
    workdir, output = trained
    before = (workdir / "checkpoint-00002.keras").read_bytes()
    process = run_script("train.py", f"--workdir={workdir}", *TINY)
    assert process.returncode == 0, process.stderr
    assert "resuming after 2 of 2 epochs" in process.stdout
    assert (workdir / "checkpoint-00002.keras").read_bytes() == before
    assert printed_scores(process.stdout, "x3") == printed_scores(output, "x3")


def test_other_flags_in_the_same_workdir_are_refused(trained):
    workdir, _ = trained
    before = {path.name: path.read_bytes() for path in workdir.iterdir()}
    process = run_script("train.py", f"--workdir={workdir}", *TINY, "--prior=normal")
    assert process.returncode != 0
    assert "prior was 'uniform', now 'normal'" in process.stderr
    assert "Traceback" not in process.stderr
    assert {path.name: path.read_bytes() for path in workdir.iterdir()} == before


def test_evaluate_takes_other_numbers_of_draws(trained):
    workdir, _ = trained
    process = run_script(
        "evaluate.py",
        f"--workdir={workdir}",
        "--draws=2",
        "--calibration_examples=128",
    )
    assert process.returncode == 0, process.stderr
    assert 0 < printed_scores(process.stdout, "x2")[0] < 1


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--draws=0", "--draws must be positive. Received: --draws=0"),
        ("--depth=11", "`depth` must be 6 n + 4"),
        ("--code_units=-1", "`code_units` must be a positive integer"),
        ("--dataset=cifar11", "Did you mean"),
        ("--epochs=0", "`epochs` must be a positive integer"),
        ("--weight_decay=-1", "`coupled_decay` must be"),
    ],
)
def test_bad_flags_end_with_a_message_and_leave_no_workdir(tmp_path, flag, message):
    process = run_script("train.py", f"--workdir={tmp_path / 'new'}", flag)
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "new").exists()


def test_evaluate_needs_a_workdir(tmp_path):
    process = run_script("evaluate.py", f"--workdir={tmp_path}")
    assert process.returncode != 0
    assert "--workdir must be a folder of examples/train.py" in process.stderr
