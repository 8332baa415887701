# %% [markdown]
# # A posterior of your own
#
# **You will** write a layer with a posterior that the library does not have, and get
# all the rest for nothing: draws, predictions, files, plain networks of draws.
#
# *Time:* about a minute on one core. *Data:* generated.
#
# The posterior is that of BatchEnsemble (Wen et al., 2020): K members share a kernel W,
# and member k has `W * r_k s_k^T`, entry by entry. It costs two vectors a member.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import tfhyper
from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.operations import DenseOperation
from tfhyper.layers.stochastic import StochasticKernel

MEMBERS = 4

# %% [markdown]
# ## The layer
#
# Three classes are put together: `StochasticKernel` says that the kernel is drawn,
# `DenseOperation` what is done with it, and Keras' own layer has all the arguments.
# What is left to say is: which variables there are (`build_kernel`), what a call does
# (`call`), what a draw holds (`sample_noise`; `fresh_noise` says the same in tensors,
# for exported files) and which kernel it gives (`point_weights`).


# %%
@keras.saving.register_keras_serializable("guide")
class BatchEnsembleDense(
    DrawCounter, StochasticKernel, DenseOperation, keras.layers.Dense
):
    """A dense layer of members that share a kernel; each step trains one of them."""

    point_class = keras.layers.Dense
    kernel_description = "whose kernel is one of several members"

    def build(self, input_shape):
        """Makes the counter of steps, and the variables."""
        self.build_counter()
        super().build(input_shape)
        self.built = True

    def build_kernel(self, shape, **options):
        """Makes the shared kernel and two vectors for each member."""
        self.shared = self.add_weight(shape, name="shared_kernel", **options)
        near_one = keras.initializers.RandomNormal(1.0, 0.5)
        self.rows, self.columns = (
            self.add_weight((MEMBERS, size), initializer=near_one, name=name)
            for name, size in zip(("rows", "columns"), shape, strict=True)
        )

    def generate(self, member):
        """Returns the kernel of a member, given as a row of the identity matrix."""
        row, column = ops.matmul(member, self.rows), ops.matmul(member, self.columns)
        return self.shared * ops.transpose(row) * column

    def call(self, inputs, training=None):
        """One member after another, in training and outside."""
        kernel = self.generate(self.fresh_noise(0, 0, self.next_count(training)))
        return self.operate_and_activate(inputs, kernel)

    def sample_noise(self, seed, index=0, ensemble_seed=0):
        """Draw number i is member i, in all layers together."""
        return np.eye(MEMBERS, dtype="float32")[[index % MEMBERS]]

    def fresh_noise(self, seed, count, index=0):
        """The same in tensors."""
        return ops.one_hot(ops.reshape(index % MEMBERS, (1,)), MEMBERS)

    def point_weights(self, noise):
        """Returns the weights of the plain layer of a draw."""
        return self.with_bias(self.generate(noise))


# %% [markdown]
# ## It trains as any layer does

# %%
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-2, 2, 80))
x = x[(x < -0.3) | (x > 0.7)][:, None].astype("float32")
y = (np.sin(3 * x) + 0.1 * rng.standard_normal(x.shape)).astype("float32")
model = keras.Sequential(
    [
        keras.Input((1,)),
        BatchEnsembleDense(64, activation="tanh", name="first"),
        BatchEnsembleDense(64, activation="tanh", name="second"),
        keras.layers.Dense(1),
    ]
)
model.compile(keras.optimizers.Adam(0.01), "mse")
fit = model.fit(x, y, batch_size=16, epochs=200, verbose=0)
print("loss", round(fit.history["loss"][0], 3), "to", round(fit.history["loss"][-1], 4))

# %% [markdown]
# ## And the predictor knows it
#
# `PosteriorPredictor` asks the layer for its draws. It knows nothing of BatchEnsemble.

# %%
predictor = tfhyper.PosteriorPredictor(model, num_draws=MEMBERS)
grid = np.linspace(-3, 3, 200, dtype="float32")[:, None]
found = predictor.predict(grid)
fig, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
axes.plot(grid, found.members.T, color="tab:blue", alpha=0.5, linewidth=1)
axes.plot(grid, found.mean, color="tab:orange", label="mean of the members")
axes.scatter(x, y, s=8, color="0.4", zorder=3)
axes.set(xlabel="x", ylabel="y", ylim=(-3, 3))
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Files and plain networks
#
# A draw is a network of stock layers; a file holds the layer by its registered name.

# %%
predictor.save("members.tfhyper")
again = tfhyper.PosteriorPredictor.load("members.tfhyper").predict(grid)
plain = predictor.materialize(2)
print("layers of member 2:", [type(layer).__name__ for layer in plain.layers])

# By hand, with NumPy: the same numbers?
values = grid
for layer in model.layers:
    weights = {w.name: keras.ops.convert_to_numpy(w) for w in layer.weights}
    if isinstance(layer, BatchEnsembleDense):
        kernel = weights["shared_kernel"] * np.outer(
            weights["rows"][2], weights["columns"][2]
        )
        values = np.tanh(values @ kernel + weights["bias"])
    else:
        values = values @ weights["kernel"] + weights["bias"]
difference = np.abs(values[:, 0] - found.members[2]).max()
print("largest difference to a computation by hand", difference)

# %% [markdown]
# A kit makes whole networks and `convert` of it; a posterior with a density is a
# `VariationalKernel`, and its KL divergence becomes a term of the loss. The walk with
# all files named is in [Contributing](../project/generated/contributing).
#
# ## What this page claims
#
# The network learns; the predictor's members are those that NumPy computes from the
# variables; the file gives them again; a draw holds stock layers alone; and where there
# are no points the members disagree more than among them.

# %%
among = found.epistemic[(np.abs(grid[:, 0]) > 0.8) & (np.abs(grid[:, 0]) < 1.8)].mean()
outside = found.epistemic[np.abs(grid[:, 0]) > 2.5].mean()
print(f"variance of the members: among the points {among:.4f}, outside {outside:.4f}")
assert fit.history["loss"][-1] < fit.history["loss"][0] / 5
assert difference < 1e-4
np.testing.assert_allclose(again.members, found.members, atol=1e-5)
assert {type(layer).__name__ for layer in plain.layers} <= {"Dense", "InputLayer"}
assert outside > 3 * among
