"""The example of texts: both questions, both networks, each method."""

import json
import pathlib

import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--languages=de,fr", "--foreign=fi,hu", "--epochs=1", "--draws=2", "--width=4"]
TINY += ["--train_examples=40", "--test_examples=20", "--batch_size=32", "--length=24"]


def text(*flags):
    return run_python(ROOT / "examples" / "text.py", *TINY, *flags)


@pytest.mark.parametrize(
    "flags",
    [
        ("--task=languages", "--method=mc_dropout"),
        ("--task=languages", "--method=variational", "--network=transformer"),
        ("--task=dates", "--method=bayes"),
        ("--task=dates", "--method=mc_dropout", "--network=transformer"),
    ],
    ids=["names-dropout", "names-noise", "dates-bayes", "dates-dropout"],
)
def test_each_method_draws_and_leaves_its_picture(flags, tmp_path):
    done = text(*flags, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert 0 <= scores["error"] <= 1 and 0 <= scores["foreign_auroc_epistemic"] <= 1
    assert f"{scores['nll']:.4f}" in done.stdout
    assert (tmp_path / "texts.png").stat().st_size > 10_000
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "predictor.tfhyper")
    alphabet = json.loads((tmp_path / "alphabet.json").read_text())["alphabet"]
    x = tfhyper.data.encode_texts(["3. April 2022", "3.4."], alphabet, 24)
    found = predictor.predict(x)
    labels = (2,) if "--task=languages" in flags else (24, 5)
    assert found.mean.shape == (2, *labels)
    assert found.epistemic[x[:, 0] > 0].max() > 0


def test_a_run_goes_on_and_other_flags_are_refused(tmp_path):
    flags = ["--method=deterministic", f"--workdir={tmp_path}"]
    assert text(*flags).returncode == 0
    again = text(*flags)
    assert again.returncode == 0 and "resuming after 1 of 1 epochs" in again.stdout
    other = text(*flags, "--width=8")
    assert other.returncode == 1 and "width" in other.stderr
    bad = text("--draws=0", f"--workdir={tmp_path}")
    assert bad.returncode == 1 and "--draws must be positive" in bad.stderr
