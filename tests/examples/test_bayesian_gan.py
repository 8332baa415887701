"""The example of a Bayesian GAN: trains, goes on, scores samples, writes pictures."""

import json
import pathlib

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--train_examples=60", "--test_examples=20", "--epochs=1", "--batch_size=30"]
TINY += ["--width=2", "--latent_dim=3", "--draws=2", "--samples=10"]
TINY += ["--classifier_epochs=1"]


def example(*flags):
    return run_python(ROOT / "examples" / "bayesian_gan.py", *TINY, *flags)


def test_it_scores_draws_and_goes_on(tmp_path):
    flags = ["--method=hyper", "--labels=10", f"--workdir={tmp_path}"]
    done = example(*flags)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["between_draws"] > 0 and scores["epistemic"]["real"] > 0
    assert 0 <= scores["error"] <= 1 and 0 <= scores["error_of_labels_alone"] <= 1
    for name in ("samples.png", "uncertainty.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    found = tfhyper.PosteriorPredictor.load(tmp_path / "discriminator.tfhyper")
    assert found.num_draws == 2
    again = example(*flags)
    assert again.returncode == 0 and "resuming after 1 of 1 epochs" in again.stdout
    other = example(*flags, "--width=3")
    assert other.returncode == 1 and "width" in other.stderr


def test_labels_that_are_not_there_end_it_before_the_training(tmp_path):
    done = example("--method=deterministic", "--labels=15", f"--workdir={tmp_path}")
    assert done.returncode == 1 and "--labels must be a multiple" in done.stderr
