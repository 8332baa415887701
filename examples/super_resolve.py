r"""Enlarges a picture, and shows where the network is unsure.

    python examples/super_resolve.py
    python examples/super_resolve.py --data_dir=DIR --image=FILE --scale=3 \
        --method=mc_dropout --epochs=20 --workdir=runs/photos

Trains a network of tfhyper.models.SUPER_RESOLVERS on the pictures of --data_dir, each
reduced by --scale, or goes on with the training of --workdir; averages over its draws;
and writes the enlarged picture (enlarged.png), the standard deviation of its pixels
(uncertainty.png), and both beside bicubic interpolation (side_by_side.png). Large
pictures are predicted in tiles that overlap, whose result is that of the whole.

Without --data_dir the training picture is a photograph that scikit-learn brings with
it, and without --image another one is reduced and enlarged again, so that its PSNR and
SSIM are known. --reference does that with --image.

--method says what draws: a hypernetwork, Bayes by Backprop, MC dropout of channels, or
nothing.
"""

import os
import shutil
import tempfile

import keras
import numpy as np
from absl import flags

import tfhyper
from tfhyper import data, heads, kits, metrics, models, training, whole_files
from tfhyper.cli.scripting import run, write_json
from tfhyper.models.super_resolution import SCALES

FLAGS = flags.FLAGS
METHODS = ("hyper", "bayes", "mc_dropout", "deterministic")
# Flags that another run must have the same to go on in a workdir.
SETTINGS = (
    "data_dir network method scale blocks width patch epochs batch_size "
    "learning_rate dropout deviation_scale seed"
)
flags.DEFINE_string("image", None, "The picture to enlarge.")
flags.DEFINE_bool("reference", False, "Reduce it first, and compare with it.")
flags.DEFINE_list("data_dir", None, "Folder of pictures to train on, or several.")
flags.DEFINE_enum("network", "edsr", sorted(models.SUPER_RESOLVERS), "Network.")
flags.DEFINE_enum("method", "hyper", METHODS, "What draws.")
flags.DEFINE_integer("scale", 2, f"How many times as large, of {SCALES}.")
flags.DEFINE_integer("blocks", 2, "Residual blocks of edsr.")
flags.DEFINE_integer("width", 16, "Channels of edsr.")
flags.DEFINE_integer("patch", 24, "Side of a small patch of the training, in pixels.")
flags.DEFINE_integer("epochs", 30, "Epochs.")
flags.DEFINE_integer("batch_size", 16, "Patches in a batch.")
flags.DEFINE_float("learning_rate", 2e-3, "First learning rate.")
flags.DEFINE_float("dropout", 0.05, "With --method=mc_dropout: rate of channels.")
flags.DEFINE_float("deviation_scale", 0.1, "With --method=hyper: that of the kit.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise and the order of the data.")
flags.DEFINE_integer("draws", 16, "Draws that the prediction averages over.")
flags.DEFINE_integer("tile", 192, "Side of a tile of the picture, in pixels.")
flags.DEFINE_enum(
    "uncertainty", "total", ["total", "aleatoric", "epistemic"], "What is shown."
)
flags.DEFINE_string(
    "workdir", "runs/super_resolve", "Folder of the training and of what is written."
)

# What the pictures beside each other are reduced to.
MOST_COLUMNS = 6000
# Brighter than this part of all pixels is white.
WHITE = 0.999


def photograph(name: str) -> str:
    """Returns the path of a photograph that scikit-learn brings with it."""
    import sklearn.datasets

    return os.path.join(os.path.dirname(sklearn.datasets.__file__), "images", name)


def load() -> data.Data:
    """Returns the patches to train on; none are held out."""
    options = {"patch": FLAGS.patch, "batch_size": FLAGS.batch_size, "seed": FLAGS.seed}
    if FLAGS.data_dir:
        folders = FLAGS.data_dir
        return data.load_super_resolution(
            folders, FLAGS.scale, test_images_dir=folders[0], **options
        )
    # All are read into memory: the folder is not needed after that.
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(photograph("china.jpg"), folder)
        return data.load_super_resolution(
            folder,
            FLAGS.scale,
            test_images_dir=folder,
            stride=FLAGS.patch // 2 or 1,
            **options,
        )


def make_kit(pixels: int) -> kits.LayerKit:
    """Returns the kit of --method, for so many pixels of training."""
    if FLAGS.method == "hyper":
        return kits.hyper(
            "block_wise", deviation_scale=FLAGS.deviation_scale, seed=FLAGS.seed
        )
    if FLAGS.method == "bayes":
        return kits.bayes(pixels, seed=FLAGS.seed)
    if FLAGS.method == "mc_dropout":
        # That of the network alone, of whole channels: tiles would have other masks.
        return kits.mc_dropout(0.0, seed=FLAGS.seed)
    return kits.deterministic()


def build(found: data.Data) -> keras.Model:
    """Returns the network of the flags, compiled."""
    keras.utils.set_random_seed(FLAGS.seed)
    head = heads.LaplaceHead(3)
    sizes = {"blocks": FLAGS.blocks, "width": FLAGS.width}
    model = models.SUPER_RESOLVERS[FLAGS.network](
        **(sizes if FLAGS.network == "edsr" else {}),
        scale=FLAGS.scale,
        input_shape=(None, None, 3),
        kit=make_kit(found.num_train * (FLAGS.patch * FLAGS.scale) ** 2),
        skip="bicubic",
        head=head,
        dropout=FLAGS.dropout if FLAGS.method == "mc_dropout" else 0.0,
    )
    steps = FLAGS.epochs * found.steps_per_epoch
    rate = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
    # With 1/2 all pixels count alike for the picture, as by the absolute error.
    model.compile(keras.optimizers.Adam(rate), heads.BetaNLL(head, beta=0.5))
    return model


def reach() -> int:
    """Returns how far away the input pixels are that one of the output depends on."""
    return 5 if FLAGS.network == "espcn" else 2 * FLAGS.blocks + 4


def bicubic(small: np.ndarray) -> np.ndarray:
    """Returns a picture enlarged by Pillow."""
    from PIL import Image

    height, width = (size * FLAGS.scale for size in small.shape[:2])
    return np.asarray(
        Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    )


def colored(deviation: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns a map as colours, black for 0, and what the brightest one stands for."""
    import matplotlib

    white = float(np.quantile(deviation, WHITE)) or 1.0
    levels = np.clip(deviation / white * 255, 0, 255).astype("uint8")
    table = matplotlib.colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    return table[levels], white


def write_picture(name: str, pixels: np.ndarray) -> None:
    """Writes a picture into the workdir, whole or not at all."""
    from PIL import Image

    path = os.path.join(FLAGS.workdir, name)
    with whole_files.whole_file(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
    print(f"written: {path}")


def write_side_by_side(*pictures: np.ndarray) -> None:
    """Writes pictures of one size beside each other, smaller if they are large."""
    from PIL import Image

    height, width = pictures[0].shape[:2]
    factor = min(1.0, MOST_COLUMNS / (width * len(pictures)))
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    small = [
        Image.fromarray(x).resize(size, Image.Resampling.BICUBIC) for x in pictures
    ]
    whole = np.concatenate([np.asarray(x) for x in small], axis=1)
    write_picture("side_by_side.png", whole)


def near(high: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Returns PSNR and SSIM of bytes, of Y and without the border."""
    pair = [metrics.luma(x, max_value=255)[None] for x in (high, found)]
    options = {"max_value": 255.0, "border": FLAGS.scale}
    scores = {"psnr": float(metrics.psnr(*pair, **options)[0])}
    inside = min(high.shape[:2]) - 2 * FLAGS.scale
    window = min(11, inside)
    scores["ssim"] = float(metrics.ssim(*pair, window=window, **options)[0])
    return scores


def main():
    for name in ("draws", "epochs", "blocks", "width", "patch", "tile"):
        value = FLAGS[name].value
        if value < 1:
            raise ValueError(f"--{name} must be positive. Received: --{name}={value}")
    if FLAGS.scale not in SCALES:
        raise ValueError(f"--scale must be one of {SCALES}. Received: {FLAGS.scale}")
    if FLAGS.tile <= 2 * reach():
        raise ValueError(
            f"--tile must be above {2 * reach()}, twice the reach of a pixel. "
            f"Received: --tile={FLAGS.tile}"
        )
    high, small = None, data.read_picture(FLAGS.image or photograph("flower.jpg"))
    if FLAGS.reference or FLAGS.image is None:
        high, small = small, data.reduce_picture(small, FLAGS.scale)
        high = high[: FLAGS.scale * small.shape[0], : FLAGS.scale * small.shape[1]]
    found = load()
    model, _ = training.fit_in_workdir(
        training.Workdir(
            FLAGS.workdir, {name: FLAGS[name].value for name in SETTINGS.split()}
        ),
        lambda: build(found),
        found,
        FLAGS.epochs,
        verbose=2,
    )
    draws = 1 if FLAGS.method == "deterministic" else FLAGS.draws
    predictor = tfhyper.PosteriorPredictor(model, draws, seed=FLAGS.seed)
    prediction = tfhyper.predict_tiles(
        predictor, small / np.float32(255), overlap=reach(), tile=FLAGS.tile
    )
    enlarged = np.rint(np.clip(prediction.mean[0], 0, 1) * 255).astype("uint8")
    variance = prediction.uncertainty(FLAGS.uncertainty)[0].mean(-1)
    shown, white = colored(np.sqrt(variance))
    usual = bicubic(small)
    write_picture("enlarged.png", enlarged)
    write_picture("uncertainty.png", shown)
    write_side_by_side(usual, enlarged, shown)
    scores = {
        "size": list(enlarged.shape[:2]),
        "draws": draws,
        "uncertainty": FLAGS.uncertainty,
        "brightest_deviation": white,
        "mean_deviation": float(np.sqrt(variance.mean())),
    }
    print(
        f"deviation of a pixel, of 0 to 1: {scores['mean_deviation']:.4f} in the mean"
    )
    if high is not None:
        scores |= near(high, enlarged)
        scores |= {f"bicubic_{name}": x for name, x in near(high, usual).items()}
        for name, unit in (("psnr", " dB"), ("ssim", "")):
            mine, theirs = scores[name], scores[f"bicubic_{name}"]
            print(f"{name.upper()} {mine:.4f}{unit}, bicubic {theirs:.4f}{unit}")
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
