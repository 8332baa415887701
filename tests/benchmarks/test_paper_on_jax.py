"""The paper's trainings on JAX: without TensorFlow, in bfloat16, side by side."""

import pathlib

import pytest

from tests.helpers.processes import run_python

pytest.importorskip("jax")

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = """
import json, sys
for name in ("tensorflow", "tensorflow_probability", "tensorflow_datasets", "torch"):
    sys.modules[name] = None
folder, benchmarks = sys.argv[1:]
sys.path.insert(0, benchmarks)

import dataclasses
import keras
import numpy as np
import paper_packs, paper_runs, paper_scales, paper_shards
from paper_claims import Claims

assert keras.backend.backend() == "jax"
paper_scales.SCALES["tiny"] = paper_scales.Scale(
    networks={"WRN-28-4": ("wide_resnet", {"depth": 10, "width": 1})},
    epochs=3, train_examples=48, test_examples=20, seeds=(0, 1), draws=2)
lab = paper_runs.Lab("tiny", None, folder + "/alone", batch_size=20, verbose=0)
run = paper_runs.Run(dataset="fashion_mnist_small", prior="uniform", units=4)
runs = [dataclasses.replace(run, seed=seed) for seed in (0, 1)]

# Alone, by `model.fit`.
alone = [lab.model(one) for one in runs]
members = lab.members(runs[1])
assert members.shape == (2, 20, 10)

# Two seeds side by side, stopped after the second epoch and taken up again.
packed = dataclasses.replace(lab, workdir=folder + "/packed")
calls = []

def stop():
    calls.append(1)
    if len(calls) == 3:
        raise KeyboardInterrupt

try:
    paper_packs.train_together(dataclasses.replace(packed, check=stop), runs)
except KeyboardInterrupt:
    pass
assert [packed.epochs_done(one) for one in runs] == [2, 2]
work = [[paper_shards.Work(one, ("table1",)) for one in runs]]
claims = Claims(folder + "/claims", 60.0)
assert paper_shards.do_all(packed, work, [], claims) == {}
for one, model in zip(runs, alone):
    other = packed.model(one)
    assert len(other.weights) == len(model.weights)
    for mine, theirs in zip(other.weights, model.weights):
        np.testing.assert_allclose(
            mine.numpy() if hasattr(mine, "numpy") else np.asarray(mine),
            np.asarray(theirs), rtol=2e-3, atol=2e-3, err_msg=mine.path)
    for mine, theirs in zip(other.optimizer.variables, model.optimizer.variables):
        np.testing.assert_allclose(
            np.asarray(mine), np.asarray(theirs), rtol=5e-3, atol=5e-3,
            err_msg=mine.path)
    texts = [m.get_config() for m in (other, model)]
    assert json.dumps(texts[0], default=str) == json.dumps(texts[1], default=str)
    histories = [x.folder(one).history(3) for x in (lab, packed)]
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(
            histories[0][name], histories[1][name], rtol=1e-3, err_msg=name)
np.testing.assert_allclose(packed.members(runs[1]), members, atol=2e-3)
weights = [np.asarray(packed.model(one).weights[0]) for one in runs]
assert np.abs(weights[0] - weights[1]).max() > 1e-2  # not one training twice

# In bfloat16, which is told apart.
low = dataclasses.replace(lab, precision="bfloat16")
try:
    low.model(runs[0])
except ValueError as error:
    assert "precision was None, now 'bfloat16'" in str(error), error
else:
    raise AssertionError("a folder of float32 was taken for one of bfloat16")
low = dataclasses.replace(low, workdir=folder + "/low")
model = low.model(runs[0])
assert model.layers[3].dtype_policy.name == "mixed_bfloat16"
assert keras.config.dtype_policy().name == "float32"
assert model.trainable_variables[0].dtype == "float32"
assert np.isfinite(low.members(runs[0])).all()
print("all well")
"""


def test_trainings_without_tensorflow_alone_and_side_by_side(tmp_path):
    done = run_python(
        "-c",
        SCRIPT,
        tmp_path,
        ROOT / "benchmarks",
        fresh=True,
        env={"KERAS_BACKEND": "jax"},
        check=True,
    )
    assert done.stdout.rstrip().endswith("all well")
