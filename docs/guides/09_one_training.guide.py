# %% [markdown]
# # One training worth an ensemble
#
# **You have** any Keras model and time for one training. **You will** put noise on all
# of its weights, learn how wide it may be while you train, and compare the result with
# one plain training and with an ensemble of three.
#
# *Time:* about a minute and a half on one core. *Data:* a part of Fashion-MNIST, which
# comes with the package. One seed, a small network: a demonstration, not a benchmark.

# %%
import time

import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper

(x_train, y_train), (x_test, y_test) = tfhyper.data.load_arrays("fashion_mnist_small")
x_train, y_train = x_train[:3000], y_train[:3000]
EPOCHS, BATCH = 20, 50
STEPS = len(x_train) // BATCH


def network(seed):
    """Returns a small convolutional network of plain Keras layers."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


# %% [markdown]
# ## Three plain trainings
#
# SGD with momentum, weight decay, a rate that falls by a cosine.


# %%
def train_plain(seed):
    """Returns a trained network, and the seconds it took."""
    model = network(seed)
    rate = keras.optimizers.schedules.CosineDecay(0.05, EPOCHS * STEPS)
    model.compile(
        tfhyper.training.CoupledDecaySGD(
            rate, momentum=0.9, nesterov=True, coupled_decay=5e-4
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    start = time.perf_counter()
    model.fit(x_train, y_train, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return model, time.perf_counter() - start


plain, seconds = zip(*[train_plain(seed) for seed in range(3)], strict=True)

# %% [markdown]
# ## One training with noise on all weights
#
# `Variational` wraps a model as it is. Every batch sees other weights, drawn from a
# Gaussian whose mean and width are both learned by the optimizer IVON (Shen et al.,
# 2024), with one forward and one backward pass, as in a plain training.

# %%
variational = tfhyper.Variational(network(0), num_examples=len(x_train), seed=0)
tfhyper.training.compile_variational_recipe(
    variational, EPOCHS, STEPS, learning_rate=0.3
)
start = time.perf_counter()
variational.fit(x_train, y_train, batch_size=BATCH, epochs=EPOCHS, verbose=0)
noisy_seconds = time.perf_counter() - start

# %% [markdown]
# ## Side by side

# %%
predictors = {
    "one training": tfhyper.DeepEnsemble(plain[:1], outputs="logits"),
    "one training, noise": tfhyper.PosteriorPredictor(variational, num_draws=32),
    "three trainings": tfhyper.DeepEnsemble(plain, outputs="logits"),
}
costs = [seconds[0], noisy_seconds, sum(seconds)]
scores = {name: x.evaluate(x_test, y_test) for name, x in predictors.items()}
print(f"{'':20} error    nll    ece  seconds of training")
for (name, x), cost in zip(scores.items(), costs, strict=True):
    print(f"{name:20} {x['error']:.3f}  {x['nll']:.3f}  {x['ece']:.3f}  {cost:.0f}")

# %%
fig, panels = plt.subplots(1, 2, figsize=(8, 2.6), layout="constrained")
for axes, score in zip(panels, ("nll", "ece"), strict=True):
    axes.barh(list(scores), [x[score] for x in scores.values()])
    axes.set(xlabel=score)
    axes.invert_yaxis()
panels[1].set_yticklabels([])
plt.show()

# %% [markdown]
# ## How wide the posterior is
#
# Where the loss is steep in a weight, its noise has become small; where it is flat,
# large.

# %%
means = np.concatenate([np.ravel(x) for x in plain[0].get_weights()])
scale = np.ravel(keras.ops.convert_to_numpy(variational.noise.scale()))
fig, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
axes.hist(np.log10(scale), 60)
axes.set(xlabel="log10 of a weight's deviation", ylabel="Weights")
plt.show()
print("deviations: median", np.median(scale).round(4), "smallest", scale.min().round(5))

# %% [markdown]
# ## What this page claims
#
# One training with noise has a better likelihood and calibration than one plain
# training of as many steps (its error is no lower: look at the table), and closes at
# least half of the gap in likelihood between one training and three.
#
# **If it does not work for you:** how wide the posterior is best is not settled.
# Compare `temperature` (below 1 is narrower) and `initial_curvature` on validation
# data. What the method does at other sizes is measured by `benchmarks/one_training.py`:
# [one training against several](../results/generated/one-training-against-several).

# %%
one, noise, three = (x["nll"] for x in scores.values())
print("share of the gap that is closed:", round((one - noise) / (one - three), 2))
assert scores["one training, noise"]["ece"] < scores["one training"]["ece"]
assert one - noise > 0.5 * (one - three) > 0
