# %% [markdown]
# # Two classes, and several labels
#
# **You will** train a network with one output, yes or no, and one that gives several
# labels each by itself, and read their uncertainties.
#
# *Time:* about a minute on one core. *Data:* generated for the first part, images
# that come with the package for the second.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## Yes or no
#
# Two half circles that reach into each other. One unit, no activation, and
# `BinaryCrossentropy(from_logits=True)`: the predictor reads from the loss what the
# output means.


# %%
def moons(size):
    """Returns points on two noisy half circles, and which of the two."""
    labels = np.arange(size) % 2
    angle = rng.uniform(0, np.pi, size)
    upper = np.stack([np.cos(angle), np.sin(angle)], -1)
    points = np.where(labels[:, None] == 0, upper, [1.0, 0.5] - upper)
    return (points + 0.2 * rng.standard_normal((size, 2))).astype("float32"), labels


x, y = moons(300)
x_new, y_new = moons(2000)
options = {
    "kl_weight": 1 / len(x),
    "initial_scale": 0.1,
    "estimator": "local_reparameterization",
    "bias_posterior": "gaussian",
}
model = keras.Sequential(
    [
        keras.Input((2,)),
        tfhyper.layers.BayesDense(16, activation="relu", **options),
        tfhyper.layers.BayesDense(16, activation="relu", **options),
        tfhyper.layers.BayesDense(1, **options),
    ]
)
binary = keras.losses.BinaryCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.01), binary)
model.fit(x, y[:, None], batch_size=50, epochs=200, verbose=0)
predictor = tfhyper.PosteriorPredictor(model, num_draws=32)
print("the network gives", predictor.outputs)
scores = predictor.evaluate(x_new, y_new[:, None])
print({name: round(value, 3) for name, value in scores.items()})

# %% [markdown]
# Both uncertainties over the plane. Where the two classes meet, the label itself is
# uncertain (**aleatoric**). Where there are no points, the draws disagree
# (**epistemic**), but not everywhere: far behind a class all draws go on saying that
# class, and are sure of it.

# %%
x1, x2 = np.linspace(-3, 4, 60), np.linspace(-2.5, 3, 50)
grid = np.stack([a.ravel() for a in np.meshgrid(x1, x2)], -1).astype("float32")
found = predictor.predict(grid)
fig, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for axes, name in zip(panels, ("aleatoric", "epistemic"), strict=True):
    values = getattr(found, name)[:, 0].reshape(len(x2), len(x1))
    drawn = axes.pcolormesh(x1, x2, values, vmin=0, vmax=np.log(2), cmap="viridis")
    axes.scatter(*x.T, c=y, s=5, cmap="coolwarm")
    axes.set(title=name, xlabel="x1")
fig.colorbar(drawn, ax=panels, label="nats")
plt.show()

# %% [markdown]
# ## Several labels
#
# Of an image of clothes: has it sleeves, is it for the feet, is it worn above the
# waist? One sigmoid for each label, and labels may go together in any way.

# %%
(x_train, y_train), (x_test, y_test) = tfhyper.data.load_arrays("fashion_mnist_small")
names = tfhyper.data.DATASETS["fashion_mnist_small"].class_names
print(names)
tags = ("sleeves", "footwear", "upper body")
table = np.zeros((10, 3), "float32")
table[[0, 2, 3, 4, 6], 0] = 1  # T-shirt, pullover, dress, coat, shirt
table[[5, 7, 9], 1] = 1  # sandal, sneaker, ankle boot
table[[0, 2, 4, 6], 2] = 1
x_train, labels = x_train[:3000], table[y_train[:3000]]

tagger = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        tfhyper.layers.HyperConv2D(16, 3, strides=2, activation="relu"),
        tfhyper.layers.HyperConv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="sigmoid"),
    ]
)
tagger.compile("adam", "binary_crossentropy")
tagger.fit(x_train, labels, batch_size=64, epochs=5, verbose=0)
tag_predictor = tfhyper.PosteriorPredictor(tagger, num_draws=16)
tag_scores = tag_predictor.evaluate(x_test, table[y_test])
print("the network gives", tag_predictor.outputs)
print({name: round(value, 3) for name, value in tag_scores.items()})
report = tfhyper.metrics.multilabel_report(
    table[y_test], tag_predictor.predict(x_test).mean
)
fig, axes = plt.subplots(figsize=(4.6, 2.6), layout="constrained")
tagged = tag_predictor.predict(x_test)
for i, tag in enumerate(tags):
    wrong = tagged.label[:, i] != table[y_test][:, i]
    means = [tagged.total[~wrong, i].mean(), tagged.total[wrong, i].mean()]
    axes.barh([i + 0.2, i - 0.2], means, 0.35, color=["tab:blue", "tab:orange"])
axes.set(yticks=range(3), yticklabels=tags, xlabel="Mean total uncertainty, nats")
axes.set_title("right (blue) and wrong (orange)")
plt.show()

# %% [markdown]
# ## What this page claims
#
# The binary network errs at most once in ten; far from all points its mean epistemic
# uncertainty is higher than among them; each label's uncertainty tells wrong
# predictions from right ones.
#
# **If it does not work for you:** where neither the last layer nor the loss says what
# the network gives, say it: `outputs="label_logits"` or `"label_probabilities"`.

# %%
far = found.epistemic[np.linalg.norm(grid - [0.5, 0.25], axis=1) > 2.3, 0].mean()
near = predictor.predict(x_new).epistemic.mean()
print(f"epistemic far {far:.3f}, among the points {near:.3f} nats")
assert predictor.outputs == "label_logits"
assert tag_predictor.outputs == "label_probabilities"
assert scores["error"] < 0.1
assert far > 1.5 * near
for i in range(3):
    wrong = tagged.label[:, i] != table[y_test][:, i]
    assert tagged.total[wrong, i].mean() > 3 * tagged.total[~wrong, i].mean()
