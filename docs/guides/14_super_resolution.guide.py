# %% [markdown]
# # Super-resolution: a larger picture, and where it is a guess
#
# **You will** train a small network to double the size of photographs, enlarge one that
# it has not seen, and look at which pixels it is unsure of and why.
#
# *Time:* about a minute on one core. *Data:* a photograph that scikit-learn brings
# with it: the network learns from its left part and is judged on its right part.

# %%
import os
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import sklearn.datasets

import tfhyper
from tfhyper import data, heads, kits, metrics, models

keras.utils.set_random_seed(0)
SCALE = 2
photographs = os.path.join(os.path.dirname(sklearn.datasets.__file__), "images")
photograph = data.read_picture(os.path.join(photographs, "china.jpg"))

# %% [markdown]
# ## Pairs of pictures
#
# Any folder of pictures is data: each is reduced by the bicubic filter, and the network
# learns the way back. Both are cut into patches, which are turned and mirrored alike.

# %%
with tempfile.TemporaryDirectory() as folder:
    PIL.Image.fromarray(photograph[:, :384]).save(os.path.join(folder, "left.png"))
    train = data.load_super_resolution(
        folder, SCALE, patch=16, stride=12, test_images_dir=folder, batch_size=16
    )
small, large = next(iter(train.epoch(0)))
print(train.num_train, "patches,", small.shape[1:], "to", large.shape[1:])

# %% [markdown]
# ## A network, a kit, a head
#
# `edsr` adds its output to a bicubic interpolation, so that it begins at that and gets
# better. The kit draws its kernels; the head gives each pixel a distribution. With
# `beta=0.5` all pixels count alike for the picture, as by the absolute error: the
# likelihood alone would neglect those that are hard.

# %%
head = heads.LaplaceHead(3)
model = models.edsr(
    2, 16, SCALE, kit=kits.hyper("block_wise", deviation_scale=0.1, seed=0), head=head
)
EPOCHS = 30
rate = keras.optimizers.schedules.CosineDecay(4e-3, EPOCHS * train.steps_per_epoch)
model.compile(keras.optimizers.Adam(rate), heads.BetaNLL(head, beta=0.5))
model.fit(train.train, epochs=EPOCHS, shuffle=False, verbose=0)
predictor = tfhyper.PosteriorPredictor(model, num_draws=8, seed=0)

# %% [markdown]
# ## The part that it has not seen
#
# It is reduced, so that what it should become is known. `predict_tiles` sees it in
# tiles that overlap by a pixel's reach, 2 blocks + 4: the numbers are those of the
# whole picture, and the memory is that of a tile. Scores are those of the field: of the
# brightness, without the border.

# %%
picture = photograph[100:356, 384:]
low = data.reduce_picture(picture, SCALE)
found = tfhyper.predict_tiles(predictor, low / 255, overlap=8, tile=64)
usual = np.asarray(model.get_layer("bicubic")(low[None] / np.float32(255)))
truth = metrics.luma(picture[None] / 255)
psnr, bicubic = (
    float(metrics.psnr(truth, metrics.luma(np.clip(x, 0, 1)), border=SCALE)[0])
    for x in (found.mean, usual)
)
print(f"PSNR {psnr:.2f} dB, bicubic {bicubic:.2f} dB")

# %% [markdown]
# ## Where it is unsure
#
# The error, and what the network says of it. Aleatoric uncertainty is what the small
# picture leaves open: it stands along edges and in textures. Epistemic uncertainty is
# where the draws disagree, and more training pictures would make it less.

# %%
error = np.abs(found.mean[0] - picture / 255).mean(-1)
aleatoric, epistemic = (
    np.sqrt(x[0].mean(-1)) for x in (found.aleatoric, found.epistemic)
)
panels = {
    "bicubic": np.clip(usual[0], 0, 1),
    "enlarged": np.clip(found.mean[0], 0, 1),
    "error": error,
    "aleatoric": aleatoric,
    "epistemic": epistemic,
}
figure, grid = plt.subplots(1, 5, figsize=(10, 2.3), layout="constrained")
for axes, (title, values) in zip(grid, panels.items(), strict=True):
    axes.imshow(values, cmap="magma", vmin=0)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
figure

# %%
plt.close("all")
area = metrics.ause(error, aleatoric + epistemic)
order = np.argsort((aleatoric + epistemic).ravel())
surer = float(error.ravel()[order[: error.size // 2]].mean())
print(f"error of all {error.mean():.4f}, of the surer half {surer:.4f}")
print(f"area under the sparsification error {area:.3f}")

# %% [markdown]
# ## A picture unlike any photograph
#
# Noise is nothing that the network was trained on. It says so: both uncertainties are
# larger.

# %%
rng = np.random.default_rng(0)
noise = rng.integers(0, 256, (64, 64, 3)).astype("uint8")
strange = tfhyper.predict_tiles(predictor, noise / 255, overlap=8, tile=64)
for name in ("aleatoric", "epistemic"):
    values = [np.sqrt(getattr(x, name).mean()) for x in (found, strange)]
    print(f"{name}: photograph {values[0]:.4f}, noise {values[1]:.4f}")

# %% [markdown]
# ## What this page claims
#
# The network is better than bicubic interpolation on pixels that it has not seen; tiles
# give what the whole picture gives; of noise it is less sure than of a photograph; and
# the half of the pixels that it is surer of has less than half of the error. Sky is
# easy, so some of that comes for free, and one photograph says nothing of others:
# `benchmarks/super_resolution.py` trains on hundreds and tests on published sets.
#
# **If it does not work for you:** a minute of training is little. Train on many
# pictures that are like yours, and on patches of those that were not compressed: what
# JPEG left in them would be learned. `python examples/super_resolve.py --help` lists
# what there is to choose.

# %%
whole = predictor.predict(low[None] / 255, verbose=0)
np.testing.assert_allclose(found.mean, whole.mean, atol=1e-4)
assert psnr > bicubic + 0.1
assert surer < error.mean() / 2
assert strange.epistemic.mean() > 2 * found.epistemic.mean()
assert strange.aleatoric.mean() > 2 * found.aleatoric.mean()
