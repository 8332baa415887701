# %% [markdown]
# # Several networks of one training
#
# **You have** time for one training. **You will** keep weights at several of its
# moments, average over them, put learned noise around each, and fit a Gaussian to
# those of the end (SWAG).
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes with
# the package. One seed, a small network: a demonstration, not a benchmark.

# %%
import os
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper
from tfhyper import metrics, training

(x_train, y_train), (x_test, y_test) = tfhyper.data.load_arrays("fashion_mnist_small")
x_train, y_train = x_train[:3000], y_train[:3000]
EPOCHS, BATCH, CYCLES = 18, 50, 3
STEPS = len(x_train) // BATCH


def network():
    """Returns a small convolutional network of plain Keras layers."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, strides=2, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


# %% [markdown]
# ## Snapshots
#
# The rate falls along a cosine to zero, and again, and again. At the end of each fall
# the network is in a minimum, which the next one leaves. `Snapshots` keeps the weights
# there, in a folder, whole files as they come: a training that is killed goes on.

# %%
rate = training.CosineCycles(0.1, steps=EPOCHS * STEPS, cycles=CYCLES)
plt.figure(figsize=(5, 2))
plt.plot([float(rate(t)) for t in range(EPOCHS * STEPS)])
plt.xlabel("step")
plt.ylabel("learning rate")
plt.tight_layout()
plt.show()

# %%
plt.close("all")
folder = tempfile.mkdtemp()
model = training.compile_recipe(network(), EPOCHS, STEPS, schedule=rate)
snapshots = training.Snapshots(CYCLES, folder=os.path.join(folder, "kept"))
options = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
model.fit(x_train, y_train, callbacks=[snapshots], **options)
print(sorted(os.listdir(snapshots.folder)))

# %% [markdown]
# ## They are draws
#
# `posterior()` is the model with its sets of weights, and a predictor of it has a draw
# for each: scores, files, exports and servers are those of any other. BatchNorm's
# moving averages are of the last epoch, so each set gets moments of its own.

# %%
predictor = tfhyper.PosteriorPredictor(snapshots.posterior())
predictor.estimate_batch_norm(x_train, verbose=0)
found = predictor.predict(x_test)


def scores(probabilities):
    """Returns error and NLL."""
    return (
        metrics.error(y_test, probabilities),
        metrics.negative_log_likelihood(y_test, probabilities),
    )


for name, probabilities in [
    *((f"snapshot {i + 1}", member) for i, member in enumerate(found.members)),
    ("their mean", found.mean),
]:
    print("{}: error {:.3f}, NLL {:.3f}".format(name, *scores(probabilities)))

# %% [markdown]
# ## One network at the mean of the weights
#
# Stochastic weight averaging (SWA) averages the weights and not the predictions. That
# is for weights of one minimum, which a rate that stays high moves about in;
# snapshots lie apart, and the mean of their weights may be no good network.
# `WeightAverage` and `SWAG` go with such a rate. SWAG also has the spread: a Gaussian
# with a variance for each weight and a few directions in which they moved together.

# %%
high = training.AveragingRate(0.1, start=STEPS * EPOCHS // 2, final=0.05)
averaged = training.compile_recipe(network(), EPOCHS, STEPS, schedule=high)
swag = training.SWAG(rank=4, start=0.5)
averaged.fit(x_train, y_train, callbacks=[swag], **options)
gaussian = tfhyper.PosteriorPredictor(swag.posterior(), num_draws=8)
gaussian.estimate_batch_norm(x_train, verbose=0)
middle = tfhyper.PosteriorPredictor(swag.posterior(), deterministic=True)
middle.estimate_batch_norm(x_train, verbose=0)
for name, predicted in [
    ("SWA", middle.predict(x_test)),
    ("SWAG", gaussian.predict(x_test)),
]:
    print("{}: error {:.3f}, NLL {:.3f}".format(name, *scores(predicted.mean)))

# %% [markdown]
# ## Learned noise around each set
#
# The families go together. `Variational` learns how wide the weights may be while it
# trains; in cycles it does so in several minima, and a draw is one of the minima with
# noise of its own.

# %%
noisy = tfhyper.Variational(network(), num_examples=len(x_train), seed=0)
cycles = training.CosineCycles(0.5, EPOCHS * STEPS, CYCLES)
training.compile_variational_recipe(noisy, EPOCHS, STEPS, schedule=cycles)
minima = training.Snapshots(CYCLES)
noisy.fit(x_train, y_train, callbacks=[minima], **options)
several = tfhyper.PosteriorPredictor(minima.posterior(), num_draws=4 * CYCLES)
several.estimate_batch_norm(x_train, verbose=0)
both = several.predict(x_test)
print("noise in cycles: error {:.3f}, NLL {:.3f}".format(*scores(both.mean)))

# %% [markdown]
# ## When to take which
#
# - Snapshots, if a training is long enough to be divided: each cycle has to come to a
#   good network. They differ more than anything within one minimum.
# - SWA, if one network is all that you can serve.
# - SWAG or `Variational`, if draws should cover one minimum well.
# - None of these, if you can pay for trainings apart: those differ most.
#
# On this page the weights of the end, SWA and SWAG, do worse than the snapshots: the
# network fits its 3,000 images whatever the rate, and only leaving a minimum helps.
# `benchmarks/one_training.py` has all of them in one table of methods.
#
# ## What this page claims
#
# The mean of the snapshots has a lower NLL than a snapshot has on average; each draw
# of a predictor is the network with the weights of its set; the predictor comes back
# from its file with the same numbers.

# %%
members = [scores(member)[1] for member in found.members]
assert scores(found.mean)[1] < np.mean(members)
last = predictor.materialize(CYCLES - 1)
kernel = last.layers[1].get_weights()[0]
np.testing.assert_array_equal(kernel, model.layers[0].get_weights()[0])
predictor.save(os.path.join(folder, "snapshots.tfhyper"))
again = tfhyper.PosteriorPredictor.load(os.path.join(folder, "snapshots.tfhyper"))
np.testing.assert_array_equal(again.predict(x_test).members, found.members)
assert len(np.unique([int(d.noise["kept"][0]) for d in several.draws])) == CYCLES
