# %% [markdown]
# # Several devices
#
# **You will** train one network on two devices, see that its weights are those of one
# device, and stop and resume a training.
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes with
# the package. The two devices are two halves of this machine's CPU: that shows that the
# result is right, not how fast it would be.

# %%
import json
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np

# %% [markdown]
# ## The training
#
# What differs between one device and two is one line: the strategy, under whose scope
# the model is made and compiled. `Trainer` is the loop over devices; `model.fit` works
# under `MirroredStrategy`, too. Each run is a process of its own, because a process
# divides its devices once, before anything else.

# %%
TRAINING = """
import json, sys
import keras, numpy as np, tensorflow as tf

devices = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
import tfhyper

names = [f"CPU:{i}" for i in range(devices)]
strategy = tf.distribute.MirroredStrategy(names)
keras.utils.set_random_seed(0)
(x, y), _ = tfhyper.data.load_arrays("fashion_mnist_small")
data = tf.data.Dataset.from_tensor_slices((x[:512], y[:512])).batch(64)
with strategy.scope():
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        tfhyper.layers.HyperConv2D(8, 3, strides=2, seed=0),
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.ReLU(),
        tfhyper.layers.HyperConv2D(16, 3, strides=2, activation="relu", seed=1),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ])
    tfhyper.training.compile_recipe(model, epochs=1, steps_per_epoch=8,
                                    learning_rate=0.02)
trainer = tfhyper.training.Trainer(model)
history = trainer.fit(data, epochs=1, steps_per_epoch=8, verbose=0)
weights = np.concatenate([np.ravel(x) for x in model.get_weights()])
np.save(f"weights_{devices}.npy", weights)
print(json.dumps({"replicas": strategy.num_replicas_in_sync,
                  "loss": history.history["loss"]}))
"""


def train(devices):
    """Returns what a training on so many devices printed, and its weights."""
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(devices)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told = json.loads(done.stdout.splitlines()[-1])
    return told, np.load(f"weights_{devices}.npy")


one, weights_of_one = train(1)
print("one device", one)

# %%
two, weights_of_two = train(2)
print("two devices", two)

# %% [markdown]
# ## The same weights, but for rounding
#
# Each batch of 64 was divided: 32 images on each device. Gradients were averaged,
# BatchNorm took its statistics over both, and both devices had the same draw of the
# weights.

# %%
fig, axes = plt.subplots(figsize=(4.2, 3.6), layout="constrained")
axes.plot(weights_of_one[::97], weights_of_two[::97], ".", markersize=3)
axes.axline((0, 0), slope=1, color="0.6", linewidth=1)
axes.set(xlabel="Weights, one device", ylabel="Weights, two devices")
plt.show()
difference = np.abs(weights_of_one - weights_of_two).max()
print("largest difference of a weight", difference)

# %% [markdown]
# ## Several machines, and trainings that are killed
#
# ```bash
# python examples/train.py --strategy=mirrored --workdir=runs/mirrored
# python examples/train.py --strategy=multi_worker --workdir=/shared/run
# ```
#
# The second line is started on each machine, with `TF_CONFIG` in its environment, as
# Kubernetes' training operator does (`examples/jobs/tfjob.yaml`). On a cluster of Ray,
# `examples/ray_train.py` trains by the same flags, and `examples/ray_predict.py`
# predicts what is too much for one machine by a predictor that was saved
# (`pip install "tfhyper[ray]"`).
#
# `tfhyper.training.fit_in_workdir` trains in a folder: stopped at any moment and called
# again, it ends with the weights that it would have had, bit for bit. What was measured
# is in [the results](../results/generated/what-a-training-step-costs).
#
# ## What this page claims
#
# Two replicas were at work, and after eight steps the weights differ by rounding alone.
#
# **If it does not work for you:** a batch that the replicas do not divide, or an
# optimizer that was made outside of the scope, is refused before training begins, by an
# error that says so.

# %%
assert (one["replicas"], two["replicas"]) == (1, 2)
assert difference < 1e-4
assert len(weights_of_one) > 1000 and np.abs(weights_of_one).max() > 0.1
