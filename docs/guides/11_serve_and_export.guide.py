# %% [markdown]
# # Save, export and serve
#
# **You will** write a Bayesian ensemble to one file for Python, and to one folder that
# needs neither tfhyper nor Keras; load both; and see that they say the same.
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes
# with the package.

# %%
import json
import logging
import pathlib
import shutil
import subprocess
import sys
import time

import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper

logging.getLogger("tensorflow").setLevel("ERROR")
keras.utils.set_random_seed(0)
(x_train, y_train), (x_test, y_test) = tfhyper.data.load_arrays("fashion_mnist_small")
spec = tfhyper.data.DATASETS["fashion_mnist_small"]
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        tfhyper.layers.HyperConv2D(16, 3, strides=2, activation="relu"),
        tfhyper.layers.HyperConv2D(32, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ]
)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x_train[:5000], y_train[:5000], batch_size=64, epochs=4, verbose=0)
predictor = tfhyper.PosteriorPredictor(model, num_draws=16)
predictor.fit_rejection(x_test[:1250], coverage=0.9)
x = x_test[1250:1506]
prediction = predictor.predict(x)

# %% [markdown]
# ## A file for Python
#
# `.tfhyper` holds the model, the draws, the settings and the rule for *unknown*. It is
# data: loading it runs no code of the file's own. **The draws are in the file**: it
# gives the same numbers tomorrow, on another machine, and on JAX or torch.

# %%
folder = pathlib.Path("served")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()
predictor.save(folder / "fashion.tfhyper")
loaded = tfhyper.PosteriorPredictor.load(folder / "fashion.tfhyper")
from_file = loaded.predict(x)
print("largest difference", np.abs(from_file.mean - prediction.mean).max())

# %% [markdown]
# A single draw is a plain Keras model, `predictor.materialize(0)`, and the trained
# model itself is saved by `model.save("model.keras")`: that holds the *posterior*, of
# which other draws can be made.
#
# ## A folder for servers
#
# The SavedModel has the draws, the average, both uncertainties and the rule inside.
# With `preprocessing` it takes images as bytes, 0 to 255.

# %%
tfhyper.export.saved_model(
    predictor,
    str(folder / "fashion" / "1"),
    preprocessing=tfhyper.export.Preprocessing(spec.mean, spec.std),
    class_names=spec.class_names,
)
sizes = {
    "fashion.tfhyper": (folder / "fashion.tfhyper").stat().st_size,
    "SavedModel": sum(p.stat().st_size for p in (folder / "fashion").rglob("*")),
}
print({name: f"{size / 1e6:.2f} MB" for name, size in sizes.items()})

# %% [markdown]
# Load it in a fresh process that cannot import Keras or tfhyper:

# %%
raw = np.clip(
    np.round((x * np.reshape(spec.std, -1) + np.reshape(spec.mean, -1)) * 255), 0, 255
).astype("uint8")
np.save(folder / "images.npy", raw)
SERVE = """
import json, sys

sys.modules["keras"] = sys.modules["tfhyper"] = None  # importing them is an error
import numpy as np
import tensorflow as tf

serve = tf.saved_model.load("served/fashion/1").signatures["serving_default"]
found = serve(inputs=tf.constant(np.load("served/images.npy")))
np.savez("served/found.npz", **{name: x.numpy() for name, x in found.items()})
print(json.dumps(sorted(found)))
"""
done = subprocess.run(
    [sys.executable, "-c", SERVE], capture_output=True, text=True, check=True
)
told = json.loads(done.stdout.splitlines()[-1])
print(told)
served = np.load(folder / "found.npz")
difference = np.abs(served["probabilities"] - prediction.mean).max()
print("largest difference of a probability", difference)

# %%
fig, axes = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
axes.scatter(prediction.epistemic, served["epistemic"], s=8)
axes.axline((0, 0), slope=1, color="0.6", linewidth=1)
axes.set(xlabel="Epistemic, predictor", ylabel="Epistemic, SavedModel")
plt.show()

# %% [markdown]
# ## What it costs
#
# Sixteen draws against sixteen calls of Keras' `predict`, on a batch of 32.


# %%
def seconds(function, repeats=20):
    """Returns the median time of a call."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return np.median(times[2:])


plain = predictor.materialize(0)
batch = x[:32]
ours = seconds(lambda: predictor.predict(batch))
theirs = 16 * seconds(lambda: plain.predict(batch, verbose=0))
print(f"16 draws {1e3 * ours:.1f} ms, 16 times Keras' predict {1e3 * theirs:.1f} ms")

# %% [markdown]
# ## On from here
#
# - TensorFlow Serving takes the folder `served/fashion` as it is.
# - [The server of the examples](generated/server) speaks the Open Inference Protocol,
#   by HTTP and gRPC; [its page](generated/page) shows each draw as a dot.
# - `tfhyper.export.onnx`, `litert` and `openvino` write files of other runtimes, each
#   of which is run beside the predictor before it is kept.
# - A SavedModel is a program: serve your own. See [which files may be
#   trusted](../how/files).
#
# ## What this page claims
#
# The file gives the same numbers; the SavedModel gives them, too, but for the rounding
# of pixels to bytes and of float32, without Keras and tfhyper in its process; and it
# keeps to the rule.

# %%
np.testing.assert_allclose(from_file.mean, prediction.mean, atol=1e-6)
assert {"probabilities", "epistemic", "rejected"} <= set(told)
assert difference < 1e-4
same = served["rejected"] == prediction.rejected
assert same.mean() > 0.99
