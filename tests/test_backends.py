"""The same code on every backend that is installed, and files that go between them."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.heads import FAMILIES, values_of
from tests.helpers.processes import run_python

ROOT = pathlib.Path(tfhyper.__file__).parent.parent

# Runs in a process of its own: a process has one backend.
SCRIPT = """
import sys

import keras
import numpy as np

import tfhyper

folder, backend = sys.argv[1:]
assert keras.backend.backend() == backend
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(16, 8, 8, 3)).astype("float32")
y = rng.integers(0, 4, size=16)

kit = tfhyper.kits.hyper("block_wise", code_units=4, hidden_units=6, seed=1)
model = tfhyper.models.wide_resnet(
    10, 1, num_classes=4, input_shape=(8, 8, 3), kit=kit, dropout=0.2
)
tfhyper.training.compile_recipe(model, epochs=1, steps_per_epoch=4)
before = [np.array(w) for w in model.get_weights()]
history = model.fit(x, y, batch_size=4, epochs=1, verbose=0).history
assert np.isfinite(history["loss"]).all()
for weight, old in zip(model.weights, before, strict=True):
    new = keras.ops.convert_to_numpy(weight)
    assert np.isfinite(new).all(), weight.path
    assert not np.array_equal(new, old), weight.path

# A layer with a bias, too: every draw has the same.
inputs = keras.Input((5,))
layer = tfhyper.layers.HyperDense(3, bias_initializer="ones")
dense = keras.Model(inputs, layer(inputs))
few = tfhyper.PosteriorPredictor(dense, num_draws=3).predict(x[:, 0, :5, 0])
assert len(np.unique(few.members)) > 100
assert dense.predict(x[:, 0, :5, 0], verbose=0).shape == (16, 3)

# With an optimizer in the file: on Torch it is a class of that backend.
dense.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
dense.fit(x[:, 0, :5, 0], y % 3, verbose=0)
compiled = tfhyper.PosteriorPredictor(dense, num_draws=2)
compiled.save(folder + "/compiled.tfhyper")
again = tfhyper.PosteriorPredictor.load(folder + "/compiled.tfhyper")
np.testing.assert_allclose(
    again.predict(x[:, 0, :5, 0]).members,
    compiled.predict(x[:, 0, :5, 0]).members,
    atol=1e-6,
)

predictor = tfhyper.PosteriorPredictor(model, num_draws=3, seed=2)
predictor.calibrate(x, batch_size=8, verbose=0)
prediction = predictor.predict(x)
members = prediction.members
assert members.shape == (3, 16, 4)
np.testing.assert_allclose(members.sum(axis=-1), 1, atol=1e-5)
np.testing.assert_allclose(prediction.mean, members.mean(axis=0), atol=1e-6)
for i in range(3):
    plain = predictor.materialize(i)
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    found = keras.ops.softmax(plain.predict(x, verbose=0))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), members[i], atol=1e-5
    )
    for j in range(i):
        assert np.abs(members[i] - members[j]).max() > 1e-4

# Half of the draws see mirror images.
flips = tfhyper.layers.Augment.flips()
both = tfhyper.PosteriorPredictor(model, num_draws=2, seed=2, augment=flips)
both.estimate_batch_norm(x, batch_size=8, verbose=0)
for i, seen in enumerate((x, np.ascontiguousarray(x[:, :, ::-1]))):
    draw = tfhyper.Draw(
        {k: v for k, v in both.draws[i].noise.items() if k != flips.name},
        both.draws[i].moments,
    )
    found = keras.ops.softmax(predictor.materialize(draw)(seen))
    np.testing.assert_allclose(
        both.predict(x).members[i], keras.ops.convert_to_numpy(found), atol=1e-5
    )

# Distributions as outputs: what families make of the same numbers, and a fit.
from tests.helpers.heads import FAMILIES, values_of

found = {name: values_of(name) for name in FAMILIES}
np.savez(
    folder + "/heads.npz",
    **{f"{name}/{key}": x for name, parts in found.items() for key, x in parts.items()},
)
head = tfhyper.heads.NormalHead()
inputs = keras.Input((5,))
bayes = keras.Model(inputs, head(tfhyper.layers.BayesDense(2, kl_weight=0.1)(inputs)))
bayes.compile("adam", tfhyper.heads.CRPS(head, num_samples=4, seed=0))
history = bayes.fit(x[:, 0, :5, 0], y, epochs=2, verbose=0).history
assert np.isfinite(history["loss"]).all()

# A scorer of foreign inputs, fitted to the features of these draws.
scorer = tfhyper.detection.Mahalanobis(num_draws=2, shrinkage=None)
predictor.scorer = scorer.fit(predictor, x, y)
scores = scorer.score(x)

predictor.save(folder + "/predictor.tfhyper")
loaded = tfhyper.PosteriorPredictor.load(folder + "/predictor.tfhyper")
np.testing.assert_allclose(loaded.predict(x).members, members, atol=1e-6)
np.testing.assert_allclose(loaded.predict(x).foreign, scores, rtol=1e-3, atol=1e-3)

# Draws of the saved network are its weights at these codes: the same everywhere.
model.save(folder + "/model.keras")
predictor.materialize(0).save(folder + "/plain.keras")
noise = predictor.draws[0].noise
np.savez(folder + "/noise.npz", **noise)
np.savez(folder + "/saved.npz", x=x, members=members, scores=scores)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_backend_and_its_files(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    words = ("-c", SCRIPT, tmp_path, backend)
    run_python(*words, env={"KERAS_BACKEND": backend}, fresh=True, check=True)

    # From here on: the backend of this process reads what that one wrote.
    with np.load(tmp_path / "saved.npz") as saved:
        x, members, scores = saved["x"], saved["members"], saved["scores"]
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "predictor.tfhyper")
    np.testing.assert_allclose(predictor.predict(x).members, members, atol=1e-5)
    np.testing.assert_allclose(predictor.scorer.score(x), scores, rtol=5e-3, atol=1e-3)

    with np.load(tmp_path / "heads.npz") as saved_heads:
        for name in FAMILIES:
            for key, expected in values_of(name).items():
                found = saved_heads[f"{name}/{key}"]
                np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)

    plain = keras.saving.load_model(tmp_path / "plain.keras")
    found = keras.ops.convert_to_numpy(keras.ops.softmax(plain.predict(x, verbose=0)))
    np.testing.assert_allclose(found, members[0], atol=1e-5)

    # The model's own file, with the codes of the first draw.
    model = keras.saving.load_model(tmp_path / "model.keras")
    with np.load(tmp_path / "noise.npz") as noise:
        draw = tfhyper.Draw(dict(noise), predictor.draws[0].moments)
    assert sum(name.startswith("code_") for name in draw.noise) == 3
    assert len(draw.moments) == 7
    point = tfhyper.posterior.PointNetwork(model)
    point.set(draw)
    found = point.network.predict(x, verbose=0)
    found = keras.ops.convert_to_numpy(keras.ops.softmax(found))
    np.testing.assert_allclose(found, members[0], atol=1e-5)


# Recurrent layers, embeddings and attention, whose variables are random.
TOKENS_SCRIPT = """
import sys

import keras
import numpy as np

import tfhyper

folder, backend = sys.argv[1:]
assert keras.backend.backend() == backend
keras.utils.set_random_seed(0)
inputs = keras.Input((5,), dtype="int32")
x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
x = keras.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
x = keras.layers.LSTM(3, dropout=0.2, seed=1)(x)
plain = keras.Model(inputs, keras.layers.Dense(3)(x))
tokens = np.random.default_rng(0).integers(0, 9, (8, 5))
kit = tfhyper.kits.bayes(8, initial_scale=0.5, seed=1)
model = tfhyper.convert(plain, kit)
predictor = tfhyper.PosteriorPredictor(model, 2, seed=2)
members = predictor.predict(tokens).members
assert np.abs(members[0] - members[1]).max() > 1e-3
found = keras.ops.softmax(predictor.materialize(0).predict(tokens, verbose=0))
np.testing.assert_allclose(keras.ops.convert_to_numpy(found), members[0], atol=1e-5)
predictor.save(folder + "/tokens.tfhyper")

before = [np.array(w) for w in model.get_weights()]
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss)
history = model.fit(tokens, tokens[:, 0] % 3, batch_size=4, verbose=0).history
assert np.isfinite(history["loss"]).all()
for variable, old in zip(model.weights, before, strict=True):
    new = keras.ops.convert_to_numpy(variable)
    assert np.isfinite(new).all(), variable.path
    # That which multiplies a divergence is set by schedules.
    assert variable.name == "kl_factor" or not np.array_equal(new, old), variable.path
np.savez(folder + "/tokens.npz", x=tokens, members=members)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_random_variables_of_any_layer_and_their_files(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    words = ("-c", TOKENS_SCRIPT, tmp_path, backend)
    run_python(*words, env={"KERAS_BACKEND": backend}, fresh=True, check=True)
    # The draws of a file are the same on the backend of this process.
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "tokens.tfhyper")
    with np.load(tmp_path / "tokens.npz") as saved:
        found = predictor.predict(saved["x"]).members
        np.testing.assert_allclose(found, saved["members"], atol=1e-5)


def test_a_backend_is_installed():
    installed = ("tensorflow", "jax", "torch")
    assert any(importlib.util.find_spec(name) for name in installed)
    assert keras.backend.backend() in installed
