# %% [markdown]
# # A Bayesian GAN
#
# **You will** train a generator and a discriminator whose weights have a posterior,
# look at one code under several draws, and score samples.
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes
# with the package. A minute is far too short for good images: the page shows how the
# parts fit, and `examples/bayesian_gan.py` trains for longer.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper
from tfhyper import metrics

keras.utils.set_random_seed(0)
spec = tfhyper.data.DATASETS["fashion_mnist_small"]
(x, y), (x_test, y_test) = tfhyper.data.load_arrays(
    "fashion_mnist_small", train_examples=2000, test_examples=400
)
# A DCGAN ends in tanh: images lie in [-1, 1].
x, x_test = ((images * spec.std + spec.mean) * 2 - 1 for images in (x, x_test))

# %% [markdown]
# ## Two networks, one kit
#
# Any kit fills both: Gaussian posteriors here. The KL divergence of each layer is in
# the loss, divided by the number of images, as `kits.bayes` has it everywhere.

# %%
kit = tfhyper.kits.bayes(num_examples=len(x), prior_scale=0.1, seed=1)
shape = x.shape[1:]
model = tfhyper.gan.BayesianGAN(
    tfhyper.models.dcgan_generator(8, image_shape=shape, latent_dim=16, kit=kit),
    tfhyper.models.dcgan_discriminator(8, input_shape=shape, kit=kit),
    seed=0,
)
model.compile(keras.optimizers.Adam(1e-3, beta_1=0.5))
cold = tfhyper.training.KLSchedule(0.1)
history = model.fit(x, batch_size=50, epochs=6, callbacks=[cold], verbose=0).history
fig, axes = plt.subplots(figsize=(5, 3), layout="constrained")
for name in ("discriminator_loss", "generator_loss"):
    axes.plot(history[name], label=name.replace("_", " "))
axes.set(xlabel="Epoch", ylabel="Loss, nats")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## The same codes under other weights
#
# A predictor of the generator gives what each draw makes of the same codes. BatchNorm's
# moments are estimated for each draw, from codes.

# %%
maker = tfhyper.PosteriorPredictor(model.generator, num_draws=4, outputs="mean")
maker.estimate_batch_norm(np.asarray(model.codes(256, seed=1)), verbose=0)
members = maker.predict(np.asarray(model.codes(200, seed=2)), verbose=0).members
fig, cells = plt.subplots(4, 8, figsize=(6, 3), layout="constrained")
for axes, image in zip(cells.flat, members[:, :8].reshape(-1, *shape), strict=True):
    axes.imshow(image[..., 0], cmap="gray", vmin=-1, vmax=1)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# Columns are codes, rows are draws.
#
# ## What the discriminator does not know
#
# Its draws agree or not on whether an image is real: the epistemic uncertainty.

# %%
judge = tfhyper.PosteriorPredictor(
    model.discriminator,
    num_draws=8,
    batch_norm="moving_average",
    outputs="label_logits",
)
made = members[np.arange(200) % 4, np.arange(200)]
noise = np.random.default_rng(0).uniform(-1, 1, (200, *shape)).astype("float32")
kinds = {"real": x_test, "generated": made, "noise": noise}
epistemic = {n: np.ravel(judge.predict(v).epistemic) for n, v in kinds.items()}
for name, values in epistemic.items():
    print(f"{name:10} {values.mean():.4f} nats")

# %% [markdown]
# ## Scores of samples
#
# Frechet distance, precision and recall are taken in the features of a network; here
# the pixels of images that are averaged over blocks of 4 x 4 do. They compare models
# that were scored alike, and nothing else.


# %%
def features(images):
    return images.reshape(len(images), 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)


sets = {"real": x[:200], "generated": made, "noise": noise}
scores = {}
for name, images in sets.items():
    distance = metrics.frechet_distance(features(x_test[:200]), features(images))
    found = metrics.sample_precision_recall(features(x_test[:200]), features(images))
    scores[name] = (distance, *found)
    print(f"{name:10} Frechet {distance:6.2f}  precision {found.precision:.2f}", end="")
    print(f"  recall {found.recall:.2f}")

# %% [markdown]
# ## What this page claims
#
# Draws make different images of one code, and the discriminator's draws differ. Samples
# are nearer to real images than noise is, and real images are nearer than samples.
#
# **If it does not work for you:** a discriminator whose loss goes to zero leaves the
# generator nothing to learn from: lower the learning rate, or make it narrower than the
# generator. Samples without any contrast come from a posterior that is too wide:
# lower `prior_scale`, or `KLSchedule`'s factor. With few labels beside many images,
# give the discriminator `num_classes` and `fit` a dict of `images`, `labelled` and
# `labels`.

# %%
assert np.isfinite(history["loss"]).all()
assert members.std(axis=0).mean() > 0.001
assert all(values.max() > 0 for values in epistemic.values())
assert scores["real"][0] < scores["generated"][0] < scores["noise"][0]
