# %% [markdown]
# # Your own trained network
#
# **You have** a network that is trained already. **You will** make it Bayesian by one
# call, with its weights as the mean of a posterior, and see that nothing you had is
# lost.
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes
# with the package.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper

keras.utils.set_random_seed(0)
(x_train, y_train), (x_test, y_test) = tfhyper.data.load_arrays("fashion_mnist_small")
x_train, y_train = x_train[:5000], y_train[:5000]

# %% [markdown]
# ## The network that you have
#
# Here it is a small one of plain Keras layers. It could as well be one of
# `keras.applications`, or a file of yours.

# %%
plain = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
plain.compile(keras.optimizers.Adam(0.002), loss, metrics=["accuracy"])
plain.fit(x_train, y_train, batch_size=64, epochs=10, verbose=0)
before = tfhyper.PosteriorPredictor(plain, num_draws=1)
print({name: round(x, 3) for name, x in before.evaluate(x_test, y_test).items()})

# %% [markdown]
# ## One call
#
# `convert` returns a copy in which each convolution and dense layer has a Gaussian
# posterior. The trained weights are its means. With `moped=True` the width of each
# weight is a tenth of the weight itself, and the prior lies around it, too.

# %%
kit = tfhyper.kits.bayes(num_examples=len(x_train))
bayesian = tfhyper.convert(plain, kit, moped=True)
at_the_mean = tfhyper.PosteriorPredictor(bayesian, deterministic=True, outputs="logits")
difference = np.abs(
    at_the_mean.predict(x_test).mean - before.predict(x_test).mean
).max()
print("largest difference at the posterior's mean:", difference)
[f"{layer.name}: {type(layer).__name__}" for layer in bayesian.layers]

# %% [markdown]
# ## A few more epochs
#
# Widths are learned from the data. Two epochs are short; they are what the guide has
# time for.

# %%
bayesian.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
bayesian.fit(x_train, y_train, batch_size=64, epochs=2, verbose=0)
predictor = tfhyper.PosteriorPredictor(bayesian, num_draws=16)
prediction = predictor.predict(x_test)

rows = {"plain": before, "Bayesian, 16 draws": predictor}
scores = {name: x.evaluate(x_test, y_test) for name, x in rows.items()}
for name, values in scores.items():
    print(f"{name:20}", {key: round(value, 3) for key, value in values.items()})

# %% [markdown]
# The plain network has no epistemic uncertainty at all: it is one network. The Bayesian
# one has, and it is larger where it errs.

# %%
wrong = prediction.label != y_test
fig, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
bins = np.linspace(0, np.quantile(prediction.epistemic, 0.99), 25)
for name, chosen in (("right", ~wrong), ("wrong", wrong)):
    axes.hist(prediction.epistemic[chosen], bins, density=True, alpha=0.6, label=name)
axes.set(xlabel="Epistemic uncertainty, nats", ylabel="Density", title="Test images")
axes.legend(frameon=False)
plt.show()
medians = [np.median(prediction.epistemic[x]) for x in (~wrong, wrong)]
print("median of right and wrong predictions:", np.round(medians, 4))

# %% [markdown]
# ## Without any training
#
# A network with dropout or BatchNorm is a posterior as it is:
# [MCBN and MC dropout](07_mcbn_and_mc_dropout). Dropout can also be put in, by
# `tfhyper.convert(plain, tfhyper.kits.mc_dropout(rate=0.1))`. That changes what the
# network has learned to live with, so look at the scores before you use it.

# %%
dropped = tfhyper.convert(plain, tfhyper.kits.mc_dropout(rate=0.1))
dropout = tfhyper.PosteriorPredictor(dropped, num_draws=16, outputs="logits")
scores["dropout put in"] = dropout.evaluate(x_test, y_test)
print({key: round(value, 3) for key, value in scores["dropout put in"].items()})

# %% [markdown]
# ## What this page claims
#
# At the posterior's mean the copy predicts what the network did; after two epochs its
# error is within two points of the plain network's, and its likelihood and calibration
# are no worse; errors have more epistemic uncertainty than right predictions.
#
# **If it does not work for you:** a layer that has weights and no counterpart (an LSTM,
# say, with a kit that draws convolutions alone) is kept as it is, and a warning names
# it: say with `keep=["its name"]` that this is meant, or put noise on all weights of
# the network, whatever its layers: [one training worth an ensemble](09_one_training).

# %%
assert difference < 1e-5
assert abs(scores["Bayesian, 16 draws"]["error"] - scores["plain"]["error"]) < 0.02
assert scores["Bayesian, 16 draws"]["nll"] < scores["plain"]["nll"] + 0.02
assert scores["Bayesian, 16 draws"]["ece"] < scores["plain"]["ece"] + 0.01
assert medians[1] > 2 * medians[0]
