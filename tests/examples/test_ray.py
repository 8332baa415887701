"""The examples of Ray: what two local workers do is what one process does."""

import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run_ray(name, *flags):
    """Runs an example in a process that is not forked: Ray starts threads and more."""
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(EXAMPLES / name), *flags]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_two_workers_predict_what_one_process_does(tmp_path):
    import pandas

    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    layer = tfhyper.layers.BayesDense(3, kl_weight=0.1)
    predictor = tfhyper.PosteriorPredictor(
        keras.Sequential([keras.Input((4,)), layer]), num_draws=3
    )
    path, inputs = tmp_path / "predictor.tfhyper", tmp_path / "inputs"
    predictor.save(path)
    inputs.mkdir()
    x = {f"{i}.npy": rng.normal(size=(5 + i, 4)).astype("float32") for i in range(3)}
    for name, array in x.items():
        np.save(inputs / name, array)
    flags = [
        f"--predictor={path}",
        f"--inputs={inputs}",
        f"--output={tmp_path / 'out'}",
    ]
    done = run_ray("ray_predict.py", *flags, "--batch_size=4")
    assert done.returncode == 0, done.stderr
    assert "18 examples of 3 files" in done.stdout
    found = pandas.read_parquet(tmp_path / "out")
    assert len(found) == 18
    for name, array in x.items():
        rows = found[found["file"] == name].sort_values("row")
        assert rows["row"].tolist() == list(range(len(array)))
        expected = predictor.predict(array)
        np.testing.assert_allclose(np.stack(rows["mean"]), expected.mean, atol=1e-6)
        np.testing.assert_allclose(rows["epistemic"], expected.epistemic, atol=1e-6)
        assert rows["label"].tolist() == expected.label.tolist()
    again = run_ray("ray_predict.py", *flags)
    assert again.returncode == 1 and "--output must not be there yet" in again.stderr


def test_two_workers_train_what_two_devices_do(tmp_path):
    flags = ["--train_examples=128", "--test_examples=32", "--epochs=1", "--draws=2"]
    flags += ["--width=1", "--batch_size=64", "--calibration_examples=64"]
    workdirs = [tmp_path / "ray", tmp_path / "mirrored"]
    of_ray = [*flags, "--workers=2", f"--workdir={workdirs[0]}"]
    done = run_ray("ray_train.py", *of_ray)
    assert done.returncode == 0, done.stderr
    devices = ["--strategy=mirrored", "--logical_devices=2"]
    done = run_python(
        EXAMPLES / "train.py", *flags, *devices, f"--workdir={workdirs[1]}"
    )
    assert done.returncode == 0, done.stderr
    ray, mirrored = (
        json.loads((folder / "history.json").read_text()) for folder in workdirs
    )
    assert ray["loss"] == pytest.approx(mirrored["loss"], rel=1e-4)
    refused = run_ray("ray_train.py", "--strategy=none", *of_ray)
    assert refused.returncode == 1 and "--strategy must be left out" in refused.stderr


def test_the_job_of_the_training_operator_names_flags_that_there_are():
    text = (EXAMPLES / "jobs" / "tfjob.yaml").read_text()
    given = re.findall(r"- --(\w+)=", text)
    told = run_python(EXAMPLES / "train.py", "--help").stdout
    assert len(given) == 8 and "strategy" in given
    for name in given:
        assert f"  --{name}:" in told
