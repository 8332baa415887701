"""The paper's trainings on JAX: without TensorFlow, in bfloat16, side by side."""

import pathlib

import pytest

from tests.helpers.processes import run_python

pytest.importorskip("jax")

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = """
import sys
for name in ("tensorflow", "tensorflow_probability", "tensorflow_datasets"):
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
    networks={"WRN-28-4": ("lenet5", {})},
    epochs=2, train_examples=48, test_examples=20, seeds=(0, 1), draws=2)
lab = paper_runs.Lab(
    "tiny", None, folder + "/alone", batch_size=20, verbose=0, jit_compile=True)
packed = dataclasses.replace(lab, workdir=folder + "/packed")

run = paper_runs.Run(dataset="fashion_mnist_small", prior="uniform", units=4)
runs = [dataclasses.replace(run, seed=seed) for seed in (0, 1)]

def compare(run):
    # Alone it is trained by `model.fit`; sums are taken in another order.
    mine, theirs = packed.model(run), lab.model(run)
    for values in (lambda m: m.weights, lambda m: m.optimizer.variables):
        for one, same in zip(values(mine), values(theirs), strict=True):
            np.testing.assert_allclose(
                np.asarray(one), np.asarray(same), rtol=5e-3, atol=5e-3,
                err_msg=one.path)
    seeds = [[x.get_config().get("seed") for x in m.layers] for m in (mine, theirs)]
    assert seeds[0] == seeds[1]
    histories = [x.folder(run).history(2) for x in (lab, packed)]
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(
            histories[0][name], histories[1][name], rtol=1e-3, err_msg=name)

# Stopped after the first epoch, and taken up by what a shard calls.
calls = []

def stop():
    calls.append(1)
    if len(calls) == 2:
        raise KeyboardInterrupt

try:
    paper_packs.train_together(dataclasses.replace(packed, check=stop), runs)
except KeyboardInterrupt:
    pass
assert [packed.epochs_done(one) for one in runs] == [1, 1]
work = [[paper_shards.Work(one, ("correlations",), ()) for one in runs]]
claims = Claims(folder + "/claims", 60.0)
assert paper_shards.do_all(packed, work, [], claims) == {}
compare(runs[1])
losses = [packed.folder(one).history(2)["loss"] for one in runs]
assert np.abs(np.subtract(*losses)).min() > 1e-2  # not one training twice

# In bfloat16, which is told apart; and draws of it.
small = runs[1]
low = dataclasses.replace(lab, precision="bfloat16")
try:
    low.model(small)
except ValueError as error:
    assert "precision was None, now 'bfloat16'" in str(error), error
else:
    raise AssertionError("a folder of float32 was taken for one of bfloat16")
low = dataclasses.replace(low, workdir=folder + "/low")
model = low.model(small)
assert model.layers[-1].dtype_policy.name == "mixed_bfloat16"
assert keras.config.dtype_policy().name == "float32"
assert model.trainable_variables[0].dtype == "float32"
members = low.members(small)
assert members.shape == (2, 20, 10) and np.isfinite(members).all()
assert np.abs(members[0] - members[1]).max() > 1e-4
print("all well")
"""


def test_trainings_without_tensorflow_alone_and_side_by_side(tmp_path):
    done = run_python(
        "-c",
        SCRIPT,
        tmp_path,
        ROOT / "benchmarks",
        fresh=True,
        env={"KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        check=True,
    )
    assert done.stdout.rstrip().endswith("all well")
