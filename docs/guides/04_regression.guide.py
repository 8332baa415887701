# %% [markdown]
# # Regression: intervals and distributions
#
# **You will** predict a number together with its spread: the noise of the data, which
# changes with the input, and what the network itself does not know.
#
# *Time:* about a minute on one core. *Data:* generated, with a gap in which there is
# none.

# %%
import logging

import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper
from tfhyper import analysis, heads, metrics

logging.getLogger("tensorflow").setLevel("ERROR")
rng = np.random.default_rng(0)
GAP = (-0.5, 1.0)


def noise_of(x):
    """Returns the true deviation of the targets."""
    return 0.1 + 0.1 * (x + 3)


def sample(size):
    """Returns inputs outside of the gap, and targets."""
    x = rng.uniform(-3, 3, 4 * size)
    x = x[(x < GAP[0]) | (x > GAP[1])][:size]
    y = np.sin(1.5 * x) + noise_of(x) * rng.standard_normal(size)
    return x[:, None].astype("float32"), y[:, None].astype("float32")


x_train, y_train = sample(400)
x_test, y_test = sample(2000)

# %% [markdown]
# ## A network that gives a distribution
#
# A **head** is a layer at the end. `NormalHead` takes two numbers for each target and
# makes them the mean and the deviation of a normal distribution. The layer before has
# `head.units` units.

# %%
EPOCHS, BATCH = 80, 50


def train(seed):
    """Returns a network that is trained from first weights of its own."""
    keras.utils.set_random_seed(seed)
    head = heads.NormalHead()
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(head.units),
            head,
        ]
    )
    steps = EPOCHS * len(x_train) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(rate), heads.NegativeLogLikelihood(head))
    model.fit(x_train, y_train, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return model


networks = [train(seed) for seed in range(3)]

# %% [markdown]
# ## The two parts of the variance
#
# One such network knows the noise of the data, and nothing of itself. Three that were
# trained apart do: by the law of total variance `variance = aleatoric + epistemic`, the
# mean of the networks' own variances, and the variance of their means.
# `PosteriorPredictor` gives the same of draws of one network whose layers draw.

# %%
predictor = tfhyper.DeepEnsemble(networks)
grid = np.linspace(-3, 3, 241, dtype="float32")[:, None]
found = predictor.predict(grid)
low, high = found.interval(0.9)

fig, panels = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
axes = panels[0]
axes.scatter(x_train, y_train, s=4, color="0.7")
axes.fill_between(grid[:, 0], low[:, 0], high[:, 0], alpha=0.3, label="90 % interval")
axes.plot(grid, found.mean, label="mean")
axes.axvspan(*GAP, color="0.9", zorder=0, label="no data")
axes.set(xlabel="x", ylabel="y")
axes.legend(frameon=False, fontsize=8)
axes = panels[1]
axes.plot(grid, np.sqrt(found.aleatoric), label="aleatoric")
axes.plot(grid, np.sqrt(found.epistemic), label="epistemic")
axes.plot(grid, noise_of(grid), "k--", linewidth=1, label="true noise")
axes.axvspan(*GAP, color="0.9", zorder=0)
axes.set(xlabel="x", ylabel="Deviation")
axes.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# The aleatoric part follows the true noise where there are data. The epistemic part is
# what more data would lower: look at it in the gap.
#
# ## Do the intervals hold?
#
# An interval at 90 % should hold 90 % of new targets, and so should every other level.

# %%
scores = predictor.evaluate(x_test, y_test)
print({name: round(value, 3) for name, value in scores.items()})
pit = predictor.predict(x_test).mixture.pit(y_test)
figure = analysis.coverage_plot({"normal head": metrics.pit_coverage_curve(pit)})
figure

# %% [markdown]
# ## Counts, heavy tails, several peaks
#
# `LaplaceHead`, `StudentTHead`, `MixtureHead`, `PoissonHead` and `NegativeBinomialHead`
# are used in the same way: the head, and `NegativeLogLikelihood(head)`. A mixture for
# targets that have two values at each input:

# %%
x_two = rng.uniform(-1, 1, (600, 1)).astype("float32")
sign = rng.choice([-1.0, 1.0], (600, 1))
y_two = sign * (1 + 0.5 * x_two) + 0.15 * rng.standard_normal((600, 1))
results = {}
for name, other in (("normal", heads.NormalHead()), ("mixture", heads.MixtureHead(2))):
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(32, activation="tanh"),
            keras.layers.Dense(other.units, kernel_initializer="he_normal"),
            other,
        ]
    )
    network.compile(keras.optimizers.Adam(0.02), heads.NegativeLogLikelihood(other))
    network.fit(x_two[:400], y_two[:400], batch_size=50, epochs=60, verbose=0)
    one = tfhyper.PosteriorPredictor(network, num_draws=1)
    results[name] = one.evaluate(x_two[400:], y_two[400:])
    if name == "mixture":
        drawn = one.predict(x_two[400:]).mixture.sample(1, seed=0)
print({name: round(x["nll"], 3) for name, x in results.items()})
fig, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
axes.scatter(x_two[400:], y_two[400:], s=8, color="0.6", label="targets")
axes.scatter(x_two[400:], np.ravel(drawn), s=8, label="samples of the mixture")
axes.set(xlabel="x", ylabel="y")
axes.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## What this page claims
#
# The 90 % interval holds between 85 and 95 % of new targets; the aleatoric deviation is
# within a third of the true noise on average; the epistemic deviation in the gap is
# more than twice that beside it; and for targets with two values the mixture has the
# better likelihood.
#
# **If it does not work for you:** standardise inputs and targets, as
# `tfhyper.data.load_table` does. A network of squared errors needs one noise for all:
# `PosteriorPredictor(model, outputs="mean")` and its `fit_noise` on held-out data.

# %%
inside = (grid[:, 0] > GAP[0] + 0.3) & (grid[:, 0] < GAP[1] - 0.3)
beside = (grid[:, 0] > -2.5) & (grid[:, 0] < GAP[0] - 0.3)
ratio = np.sqrt(found.aleatoric)[beside] / noise_of(grid)[beside]
epistemic = np.sqrt([found.epistemic[x].mean() for x in (inside, beside)])
print(f"noise, found / true: {ratio.mean():.2f}")
print("epistemic deviation in the gap and beside it:", epistemic.round(3))
assert 0.85 < scores["coverage_90"] < 0.95
assert np.abs(ratio - 1).mean() < 1 / 3
assert epistemic[0] > 2 * epistemic[1]
assert results["mixture"]["nll"] < results["normal"]["nll"] - 0.3
