# %% [markdown]
# # From tfp.layers to Keras 3
#
# **You have** code with `tfp.layers`, which needs the Keras of before version 3. **You
# will** write one network both ways, take the trained posterior along, and see that the
# KL divergence and the predictions agree.
#
# *Time:* about a minute on one core. *Data:* generated. Which argument becomes which,
# layer by layer and head by head, is on [a page of its own](generated/from-tfp-layers).

# %%
import os

os.environ["TF_USE_LEGACY_KERAS"] = "0"

import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow_probability as tfp
import tf_keras

import tfhyper

warnings.simplefilter("ignore")  # tfp.layers uses what Keras no longer advises
keras.utils.set_random_seed(0)
tf_keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, (400, 1)).astype("float32")
y = (np.sin(2 * x) + 0.2 * rng.standard_normal(x.shape)).astype("float32")
num_train = len(x)

# %% [markdown]
# ## Before
#
# Each layer is told to divide its KL divergence by the number of examples, by a
# function of three arguments.

# %%
tfd = tfp.distributions


def loss(y, prediction):
    """The negative log-likelihood of noise with a deviation of 0.2."""
    return (y - prediction) ** 2 / (2 * 0.2**2)


def divergence(posterior, prior, _):
    """Returns the KL divergence for each example."""
    return tfd.kl_divergence(posterior, prior) / num_train


old = tf_keras.Sequential(
    [
        tf_keras.Input((1,)),
        tfp.layers.DenseFlipout(32, activation="tanh", kernel_divergence_fn=divergence),
        tfp.layers.DenseFlipout(1, kernel_divergence_fn=divergence),
    ]
)
old.compile(tf_keras.optimizers.Adam(0.02), loss)
old.fit(x, y, batch_size=40, epochs=100, verbose=0)
print("losses of the network:", len(old.losses))

# %% [markdown]
# ## After
#
# The number is an argument. Estimators have names, biases are points unless you say
# otherwise, and nothing has to be registered to load the file again.

# %%
options = {"kl_weight": 1 / num_train, "estimator": "flipout"}
new = keras.Sequential(
    [
        keras.Input((1,)),
        tfhyper.layers.BayesDense(32, activation="tanh", **options),
        tfhyper.layers.BayesDense(1, **options),
    ]
)

# %% [markdown]
# ## The trained posterior comes along
#
# Means are the same numbers. `tfp.layers` keeps softplus⁻¹ of the deviation, less a
# tiny constant, and so does tfhyper.

# %%
epsilon = np.finfo("float32").eps
for before, after in zip(old.layers, new.layers, strict=True):
    found = {w.name.split("/")[-1].split(":")[0]: w.numpy() for w in before.weights}
    scale = (
        np.logaddexp(0, found["kernel_posterior_untransformed_scale"].astype("float64"))
        + epsilon
    )
    values = {
        "kernel_mean": found["kernel_posterior_loc"],
        "kernel_rho": scale + np.log(-np.expm1(-scale)),
        "bias": found["bias_posterior_loc"],
    }
    for weight in after.trainable_weights:
        weight.assign(values[weight.name])

old(x)  # makes its losses
kl_old, kl_new = float(sum(old.losses)), float(sum(new.losses))
print(f"KL divergence by N: tfp.layers {kl_old:.6f}, tfhyper {kl_new:.6f}")

# %% [markdown]
# ## Predictions
#
# In `tfp.layers` you call the model in a loop, and each call draws anew for each batch.
# Here a predictor has the draws: the same for every batch, and saved with it.

# %%
grid = np.linspace(-3.5, 3.5, 200, dtype="float32")[:, None]
calls = np.stack([old(grid, training=False).numpy() for _ in range(200)])[..., 0]
predictor = tfhyper.PosteriorPredictor(new, num_draws=200, outputs="mean")
drawn = predictor.predict(grid).members

fig, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for axes, name, curves in zip(
    panels, ("tfp.layers", "tfhyper"), (calls, drawn), strict=True
):
    axes.scatter(x, y, s=4, color="0.7")
    axes.plot(grid, curves[:20].T, color="tab:blue", alpha=0.25, linewidth=0.8)
    axes.plot(grid, curves.mean(0), color="tab:orange")
    axes.set(title=name, xlabel="x", ylim=(-4, 4))
plt.show()

# %% [markdown]
# With flipout, `tfp.layers` gives each *example* of a batch its own signs of the noise,
# also in prediction: neighbouring inputs meet different networks, and the lines are
# ragged. A draw of tfhyper is one function. The means and the spreads at each input are
# those of the same posterior.

# %%
gap = np.abs(calls.mean(0) - drawn.mean(0))
error = np.sqrt((calls.var(0) + drawn.var(0)) / 200)
print(
    "means differ by at most", round(float((gap / error).max()), 2), "standard errors"
)

# %% [markdown]
# ## What this page claims
#
# The KL divergence is the same number, the means agree within their sampling error, and
# a draw of tfhyper is a smooth function where a call of `tfp.layers` is not.

# %%
roughness = [np.abs(np.diff(curves, n=2, axis=1)).mean() for curves in (calls, drawn)]
assert abs(kl_old - kl_new) < 1e-5 * kl_old
assert np.mean(gap / error) < 2 and np.max(gap / error) < 5
assert roughness[1] < roughness[0] / 5
