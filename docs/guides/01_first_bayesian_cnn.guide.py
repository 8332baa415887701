# %% [markdown]
# # Your first Bayesian CNN
#
# **You will** train a small convolutional network whose weights have a posterior,
# predict with sixteen draws of it, and check whether its confidence can be trusted.
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes
# with the package.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper
from tfhyper import analysis

keras.utils.set_random_seed(0)
(x_train, y_train), (x_test, y_test) = tfhyper.data.load_arrays("fashion_mnist_small")
x_train, y_train = x_train[:4000], y_train[:4000]
spec = tfhyper.data.DATASETS["fashion_mnist_small"]
print("images", x_train.shape, x_test.shape, "tfhyper", tfhyper.__version__)

# %% [markdown]
# ## The network
#
# `BayesConv2D` and `BayesDense` stand where `Conv2D` and `Dense` of Keras would. Each
# weight is no longer a number but a Gaussian, with a mean and a width that are both
# trained.
#
# The loss gains one term: the **KL divergence**, which says how far the posterior has
# moved from the prior. The cross-entropy is a *mean* over examples and the KL
# divergence a *sum* over weights, so the latter is divided by the number of training
# examples. That number is all you have to say.

# %%
options = {
    "kl_weight": 1 / len(x_train),
    "prior_scale": 0.3,
    "initial_scale": 0.3,
    "estimator": "local_reparameterization",
}
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        tfhyper.layers.BayesConv2D(6, 5, activation="relu", **options),
        keras.layers.MaxPooling2D(),
        tfhyper.layers.BayesConv2D(12, 5, activation="relu", **options),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        tfhyper.layers.BayesDense(10, **options),
    ]
)
model.compile(
    keras.optimizers.Adam(0.005),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
history = model.fit(x_train, y_train, batch_size=64, epochs=6, verbose=0)
print("training accuracy", round(history.history["accuracy"][-1], 3))

# %% [markdown]
# ## Sixteen draws
#
# A **draw** fixes every weight once. `PosteriorPredictor` makes sixteen of them, turns
# each into a plain network, and averages what they say.

# %%
predictor = tfhyper.PosteriorPredictor(model, num_draws=16)
prediction = predictor.predict(x_test)
print("members", prediction.members.shape, "mean", prediction.mean.shape)

scores = predictor.evaluate(x_test, y_test)
one_draw = np.mean(
    [tfhyper.metrics.negative_log_likelihood(y_test, x) for x in prediction.members]
)
print({name: round(value, 4) for name, value in scores.items()})
print(f"nll of one draw, mean of the sixteen: {one_draw:.4f}")

# %% [markdown]
# The negative log-likelihood (`nll`, in nats, lower is better) of the average is below
# the mean of the draws' own. That is so for every network, by Jensen's inequality; how
# *much* lower it is depends on how different the draws are.
#
# ## Can the confidence be trusted?
#
# Among the images of which the network is 80 % sure, about 80 % should be right. The
# diagram shows that for each level of confidence; the bars of a network that can be
# trusted end on the diagonal.

# %%
figure = analysis.reliability_diagram(y_test, prediction.mean, title="16 draws")
figure

# %% [markdown]
# This one is right more often than it says: after so short a training it is not sure
# enough.
#
# ## Sure and unsure
#
# The images the network is most sure of, and those it is least sure of. Under each
# stands its uncertainty in nats: 0 is certain, log 10 = 2.3 is "any class".

# %%
images = np.clip(x_test * np.reshape(spec.std, -1) + np.reshape(spec.mean, -1), 0, 1)
figure = analysis.extreme_examples(
    images, y_test, prediction.mean, prediction.total, spec.class_names, num=6
)
figure

# %% [markdown]
# ## What the uncertainty is good for
#
# If you may leave out the least certain images, the error of the rest should fall.

# %%
order = np.argsort(prediction.total)
wrong = (prediction.label != y_test)[order]
kept = np.arange(1, len(order) + 1)
fig, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
axes.plot(kept / len(order), np.cumsum(wrong) / kept)
axes.set(xlabel="Images that are answered", ylabel="Error among these", ylim=(0, None))
plt.show()
half = wrong[: len(wrong) // 2].mean()
print(f"error of all {wrong.mean():.3f}, of the more certain half {half:.3f}")

# %% [markdown]
# ## Keep it
#
# One file holds the model, its draws and its settings. It runs no code when it is
# loaded.

# %%
predictor.save("first.tfhyper")
loaded = tfhyper.PosteriorPredictor.load("first.tfhyper")
again = loaded.predict(x_test[:256])

# %% [markdown]
# ## What this page claims
#
# The average is better than one draw, the more certain half has less than a third of
# the error of all, and the file gives the same prediction again.
#
# **If it does not work for you:** a loss in the thousands means that the KL divergence
# was not divided by the number of examples; an epistemic uncertainty of zero everywhere
# means a posterior that is too narrow (try a larger `initial_scale`).
# Next: [your own trained network](02_your_trained_network), or
# [which method to choose](../choose).

# %%
assert scores["nll"] < one_draw
assert scores["error"] < 0.25
assert half < wrong.mean() / 3
np.testing.assert_allclose(again.mean, prediction.mean[:256], atol=1e-6)
