"""The example of maps: trains, goes on, predicts by draws, writes maps and scores."""

import json
import pathlib

import numpy as np
import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--train_examples=6", "--test_examples=3", "--epochs=1", "--draws=2"]
TINY += ["--depth=1", "--width=2", "--batch_size=3", "--shown=2"]


def segment(*flags):
    return run_python(ROOT / "examples" / "segment.py", *TINY, *flags)


@pytest.mark.parametrize("method", ["mcbn", "mc_dropout", "hyper", "bayes"])
def test_each_method_draws_and_leaves_its_maps(method, tmp_path):
    done = segment(f"--method={method}", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores.keys() == {"mean_iou", "error", "nll", "ece", "pavpu", "ause"}
    assert all(0 <= scores[x] <= 1 for x in ("mean_iou", "error", "ece", "pavpu"))
    assert f"{scores['nll']:.4f}" in done.stdout
    assert (tmp_path / "maps.png").stat().st_size > 10_000
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "predictor.tfhyper")
    assert predictor.num_draws == 2
    x = np.random.default_rng(0).normal(size=(2, 48, 48, 3)).astype("float32")
    found = predictor.predict(x)
    assert found.mean.shape == (2, 48, 48, 4) and found.epistemic.max() > 0


def test_a_run_goes_on_and_other_flags_are_refused(tmp_path):
    flags = ["--method=deterministic", "--balanced", f"--workdir={tmp_path}"]
    assert segment(*flags).returncode == 0
    again = segment(*flags)
    assert again.returncode == 0 and "resuming after 1 of 1 epochs" in again.stdout
    other = segment(*flags, "--width=3")
    assert other.returncode == 1 and "width" in other.stderr


def test_bad_flags_end_before_the_training(tmp_path):
    for flags, message in (
        (["--data=folder"], "--images and --masks"),
        (["--data=camvid"], "`data_dir` must be the folder of CamVid"),
        (["--draws=0"], "--draws must be positive"),
    ):
        done = segment(*flags, f"--workdir={tmp_path}")
        assert done.returncode == 1 and message in done.stderr
