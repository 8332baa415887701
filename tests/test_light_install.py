"""The light install: Keras, JAX and NumPy are enough to train, predict and keep.

As after `pip install keras jax scipy` and `pip install --no-deps tfhyper`:
docs/install.md says so.
"""

from tests.helpers.processes import run_python

# All else that the package asks for, and the other backend.
CODE = """
import sys
for name in (
    "tensorflow", "tensorflow_probability", "tensorflow_datasets", "tf_keras",
    "sklearn", "importlib_resources", "matplotlib", "torch",
):
    sys.modules[name] = None

import keras, numpy as np, tfhyper
from tfhyper.cli import main

x = np.random.default_rng(0).normal(size=(64, 6, 6, 1)).astype("float32")
y = np.arange(64) % 3
for kit in ("hyper", "bayes", "mc_dropout"):
    options = {"num_examples": 64} if kit == "bayes" else {}
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Dense(3)]
    layers.insert(1, keras.layers.GlobalAveragePooling2D())
    plain = keras.Sequential([keras.Input((6, 6, 1)), *layers])
    model = tfhyper.convert(plain, tfhyper.kits.KITS[kit](**options))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=1, verbose=0)
    predictor = tfhyper.PosteriorPredictor(model, num_draws=3, seed=0)
    prediction = predictor.predict(x)
    predictor.fit_rejection(x, coverage=0.5)
    scores = predictor.evaluate(x, y)
    path = f"{kit}.tfhyper"
    predictor.save(path)
    again = tfhyper.PosteriorPredictor.load(path).predict(x)
    np.testing.assert_allclose(again.members, prediction.members, atol=1e-6)
    assert np.ptp(prediction.members, axis=0).max() > 1e-4, kit
    assert np.isfinite(list(scores.values())).all()
    assert main(["info", path]) == 0
"""


def test_predictions_need_keras_jax_and_scipy_alone(tmp_path):
    env = {"KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    run_python("-c", CODE, cwd=tmp_path, fresh=True, env=env, check=True)
