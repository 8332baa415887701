r"""Super-resolution by four kits: a small EDSR, and what it is sure of.

    python benchmarks/super_resolution.py --train_dirs=DIR --test_dirs=Set5,Set14

Pictures are reduced by the bicubic filter of Pillow, and a network learns to enlarge
them: an EDSR of a few blocks whose output is added to bicubic interpolation, with a
Laplace distribution of each pixel and channel, trained by `heads.BetaNLL`. The same
network and budget for deterministic weights, a hypernetwork, Bayes by Backprop and MC
dropout of channels.

PSNR and SSIM are those of the field: of Y, without `scale` pixels at each edge, the
mean over a set's pictures. With them stand the coverage and width of the 90 %
intervals of the pixels' channels (at every fourth row and column), the area under the
sparsification error of the mean, and both uncertainties, also of pictures that are
like those of the training (--like_dir) and of made-up ones that are not.

Trainings resume from --workdir, and sets that --output has are not scored again.
Without --train_dirs the pictures are two that scikit-learn brings with it.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import time

import keras
import numpy as np
from absl import app, flags
from report import (
    markdown_table,
    provenance,
    read_json,
    show_own_flags,
    write_figure,
    write_json,
)

import tfhyper
from tfhyper import data, heads, kits, metrics, models, training
from tfhyper.data.super_resolution import PicturePair

FLAGS = flags.FLAGS
METHODS = ("deterministic", "hyper", "bayes", "mc_dropout")
flags.DEFINE_list("train_dirs", [], "Folders of pictures to train on.")
flags.DEFINE_list("test_dirs", [], "Folders of pictures to score, a set each.")
flags.DEFINE_string("like_dir", None, "Folder of pictures like those of the training.")
flags.DEFINE_integer("like", 10, "The first so many of these.", lower_bound=1)
flags.DEFINE_list("methods", list(METHODS), "What draws.")
flags.DEFINE_integer("scale", 2, "How many times as many rows and columns.")
flags.DEFINE_integer("blocks", 4, "Residual blocks.")
flags.DEFINE_integer("width", 24, "Channels.")
flags.DEFINE_integer("patch", 24, "Side of a small patch, in pixels.")
flags.DEFINE_integer("batch_size", 16, "Patches in a batch.")
flags.DEFINE_integer("epochs", 2, "Of each training.")
flags.DEFINE_float("learning_rate", 4e-3, "Largest learning rate of Adam.")
flags.DEFINE_float("dropout", 0.05, "Of mc_dropout.")
flags.DEFINE_float("deviation_scale", 0.1, "Of hyper.")
flags.DEFINE_integer("seed", 0, "Of weights, draws and the order of the patches.")
flags.DEFINE_integer("draws", 8, "That predictions are averaged over.")
flags.DEFINE_string("workdir", "runs/super_resolution", "Where trainings are kept.")
flags.DEFINE_string(
    "output", "benchmarks/results/super_resolution.json", "Where the results go."
)
flags.DEFINE_integer("verbose", 2, "As of model.fit.")

# Settings of a training; another one is kept in another folder, or refused.
TRAINING = (
    "scale blocks width patch batch_size epochs learning_rate dropout deviation_scale "
    "seed"
).split()
LEVEL, EVERY = 0.9, 4
# Of a Laplace distribution the gradient by the location is then that of the absolute
# error, at each pixel alike: the likelihood alone neglects what is hard, the edges.
BETA = 0.5
# Steps until the learning rate is the largest.
WARM_UP = 60


def bundled() -> str:
    """Returns the folder of the two photographs that scikit-learn brings with it."""
    import sklearn.datasets

    return os.path.join(os.path.dirname(sklearn.datasets.__file__), "images")


def made_up(scale: int) -> list[PicturePair]:
    """Returns pictures unlike any photograph: noise, stripes, and a chess board."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[: 64 * scale, : 64 * scale]
    stripes = np.sin(0.02 * np.hypot(row, 1.5 * column) ** 1.5) > 0
    board = (row // (2 * scale) + column // (2 * scale)) % 2
    pictures = {"noise": rng.integers(0, 256, (*row.shape, 3))}
    pictures["stripes"] = np.repeat(255 * stripes[..., None], 3, axis=-1)
    pictures["board"] = np.repeat(255 * board[..., None], 3, axis=-1)
    pairs = []
    for name, pixels in pictures.items():
        pixels = pixels.astype("uint8")
        pairs.append(PicturePair(name, data.reduce_picture(pixels, scale), pixels))
    return pairs


def make_kit(method: str, pixels: int) -> kits.LayerKit:
    """Returns the kit of a method, for so many pixels of training."""
    if method == "hyper":
        return kits.hyper(
            "block_wise", deviation_scale=FLAGS.deviation_scale, seed=FLAGS.seed
        )
    if method == "bayes":
        return kits.bayes(pixels, seed=FLAGS.seed)
    if method == "mc_dropout":
        return kits.mc_dropout(0.0, seed=FLAGS.seed)  # the network's own
    return kits.deterministic()


def build(method: str, found: data.Data) -> keras.Model:
    """Returns a network, compiled."""
    keras.utils.set_random_seed(FLAGS.seed)
    head = heads.LaplaceHead(3)
    model = models.edsr(
        FLAGS.blocks,
        FLAGS.width,
        FLAGS.scale,
        kit=make_kit(method, found.num_train * (FLAGS.patch * FLAGS.scale) ** 2),
        head=head,
        dropout=FLAGS.dropout if method == "mc_dropout" else 0.0,
    )
    steps = FLAGS.epochs * found.steps_per_epoch
    # Short trainings need large steps, which need a beginning.
    first = min(WARM_UP, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        FLAGS.learning_rate / 10,
        steps - first,
        warmup_target=FLAGS.learning_rate,
        warmup_steps=first,
    )
    model.compile(keras.optimizers.Adam(rate), heads.BetaNLL(head, beta=BETA))
    return model


def trained(method: str, found: data.Data, folders: list[str]) -> tuple:
    """Returns a trained network, and the seconds of a processor that it took here."""
    settings = {name: FLAGS[name].value for name in TRAINING}
    settings |= {"method": method, "train_dirs": folders}
    start = time.process_time()
    model, _ = training.fit_in_workdir(
        training.Workdir(os.path.join(FLAGS.workdir, method), settings),
        lambda: build(method, found),
        found,
        FLAGS.epochs,
        verbose=FLAGS.verbose,
    )
    return model, time.process_time() - start


def bicubic(low: np.ndarray) -> np.ndarray:
    """Returns a small picture enlarged by Pillow, uint8."""
    from PIL import Image

    height, width = (size * FLAGS.scale for size in low.shape[:2])
    return np.asarray(
        Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC)
    )


def near(high: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Returns PSNR and SSIM of Y, without the border, of numbers in 0 to 1."""
    pair = [metrics.luma(np.clip(x, 0, 1))[None] for x in (high, found)]
    options = {"border": FLAGS.scale}
    return {
        "psnr": float(metrics.psnr(*pair, **options)[0]),
        "ssim": float(metrics.ssim(*pair, **options)[0]),
    }


def scores_of(predictor: tfhyper.PosteriorPredictor, pair: PicturePair) -> dict:
    """Returns the scores of one picture."""
    high, low = pair.high / 255, pair.low[None] / np.float32(255)
    start = time.monotonic()
    found = predictor.predict(low, keep_members=True, verbose=0)
    seconds = time.monotonic() - start
    few = found.members[:, 0, ::EVERY, ::EVERY]
    mixture = heads.DrawMixture(found.family, few)
    (low_end, high_end), target = mixture.interval(LEVEL), high[::EVERY, ::EVERY]
    inside = (low_end <= target) & (target <= high_end)
    errors = np.abs(high - found.mean[0]).mean(-1)
    return {
        "name": os.path.splitext(os.path.basename(pair.path))[0],
        **near(high, found.mean[0]),
        **{f"bicubic_{k}": v for k, v in near(high, bicubic(pair.low) / 255).items()},
        "nll": float(-mixture.log_prob(target).mean() / 3),
        "coverage": float(inside.mean()),
        "width": float((high_end - low_end).mean()),
        "ause": float(metrics.ause(errors, found.variance[0].mean(-1))),
        "aleatoric_std": float(np.sqrt(found.aleatoric.mean())),
        "epistemic_std": float(np.sqrt(found.epistemic.mean())),
        "rmse": float(np.sqrt(np.square(high - found.mean[0]).mean())),
        "seconds": seconds,
    }


def mean_of(rows: list[dict]) -> dict[str, float]:
    """Returns the mean over pictures of each score."""
    names = [name for name in rows[0] if name != "name"]
    return {name: float(np.mean([row[name] for row in rows])) for name in names}


def test_sets() -> dict[str, list[PicturePair]]:
    """Returns name -> pictures of each set."""
    sets = {
        os.path.basename(os.path.normpath(folder)): data.picture_pairs(
            folder, FLAGS.scale
        )
        for folder in FLAGS.test_dirs or [bundled()]
    }
    if FLAGS.like_dir is not None:
        sets["like"] = data.picture_pairs(FLAGS.like_dir, FLAGS.scale)[: FLAGS.like]
    sets["made-up"] = made_up(FLAGS.scale)
    return sets


def picture(predictors: dict[str, tfhyper.PosteriorPredictor], pair: PicturePair):
    """Returns the figure of one picture: what it becomes, and how sure that is."""
    import matplotlib.pyplot as plt

    high = pair.high / 255
    # A part in the middle, where pixels can be seen.
    side = min(96 * FLAGS.scale, *high.shape[:2])
    top, left = ((size - side) // 2 for size in high.shape[:2])
    part = (slice(top, top + side), slice(left, left + side))
    found = {
        name: predictor.predict(
            pair.low[None] / np.float32(255), keep_members=False, verbose=0
        )
        for name, predictor in predictors.items()
    }
    maps = {
        name: [
            np.abs(high - one.mean[0]).mean(-1)[part],
            *(np.sqrt(x[0].mean(-1))[part] for x in (one.aleatoric, one.epistemic)),
        ]
        for name, one in found.items()
    }
    tops = [max(maps[name][i].max() for name in maps) for i in range(3)]
    lines = len(found) + 1
    figure, grid = plt.subplots(
        lines, 4, figsize=(8.4, 2.15 * lines), layout="constrained"
    )
    small = np.kron(pair.low / 255, np.ones((FLAGS.scale, FLAGS.scale, 1)))
    usual = bicubic(pair.low) / 255
    first = {
        "truth": high,
        "small": small,
        f"bicubic, {near(high, usual)['psnr']:.2f} dB": usual,
    }
    for axes, (title, pixels) in zip(grid[0], first.items(), strict=False):
        axes.imshow(pixels[part])
        axes.set_title(title, fontsize=8)
    for row, (name, one) in zip(grid[1:], found.items(), strict=True):
        row[0].imshow(np.clip(one.mean[0], 0, 1)[part])
        psnr = near(high, one.mean[0])["psnr"]
        row[0].set_title(f"{name}, {psnr:.2f} dB", fontsize=8)
        titles = ("error", "aleatoric deviation", "epistemic deviation")
        for axes, title, values, most in zip(
            row[1:], titles, maps[name], tops, strict=True
        ):
            shown = axes.imshow(values, cmap="magma", vmin=0, vmax=most or 1)
            axes.set_title(title, fontsize=8)
            figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02).ax.tick_params(
                labelsize=6
            )
    for axes in grid.flat:
        axes.set_axis_off()
    return figure


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    unknown = set(FLAGS.methods) - set(METHODS)
    if unknown:
        raise app.UsageError(f"--methods must be of {METHODS}, not {sorted(unknown)}")
    folders = FLAGS.train_dirs or [bundled()]
    found = data.load_super_resolution(
        folders,
        FLAGS.scale,
        patch=FLAGS.patch,
        batch_size=FLAGS.batch_size,
        test_images_dir=(FLAGS.test_dirs or folders)[0],
        seed=FLAGS.seed,
    )
    names = [os.path.basename(os.path.normpath(folder)) for folder in folders]
    sets = test_sets()
    content = {
        "what": "an EDSR with a Laplace head, by four kits, one seed",
        **provenance(("pillow",)),
        "settings": {name: FLAGS[name].value for name in (*TRAINING, "draws")},
        "training": {"folders": names, "patches": found.num_train},
        "pictures": {name: len(pairs) for name, pairs in sets.items()},
        "methods": {},
    }
    before = read_json(FLAGS.output) or {}
    if all(before.get(k) == content[k] for k in ("settings", "training")):
        content["methods"] = before["methods"]
    predictors = {}
    for method in FLAGS.methods:
        model, seconds = trained(method, found, names)
        one = content["methods"].setdefault(method, {"sets": {}})
        one.setdefault("train_cpu_seconds", seconds)
        one["parameters"] = model.count_params()
        draws = 1 if method == "deterministic" else FLAGS.draws
        predictors[method] = tfhyper.PosteriorPredictor(model, draws, seed=FLAGS.seed)
        for name, pairs in sets.items():
            if name not in one["sets"]:
                rows = [scores_of(predictors[method], pair) for pair in pairs]
                one["sets"][name] = {**mean_of(rows), "pictures": rows}
                write(content)
    print(write(content))
    shown = sets[next(iter(sets))]
    figure = picture(predictors, shown[min(2, len(shown) - 1)])
    # Photographs: as a PNG it would be several times as large.
    write_figure(f"{os.path.splitext(FLAGS.output)[0]}.jpg", figure, dpi=100)


SHOWN = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 4),
    "nll": ("NLL", 3),
    "coverage": ("in the 90 % interval", 3),
    "width": ("its width", 4),
    "ause": ("AUSE", 3),
    "rmse": ("RMSE", 4),
    "aleatoric_std": ("aleatoric", 4),
    "epistemic_std": ("epistemic", 4),
}


def write(content: dict) -> str:
    """Writes what is there, and returns it as a table."""
    lines = []
    sets = dict.fromkeys(x for one in content["methods"].values() for x in one["sets"])
    for name in sets:
        rows = {
            method: one["sets"][name]
            for method, one in content["methods"].items()
            if name in one["sets"]
        }
        first = next(iter(rows.values()))
        usual = [f"{first['bicubic_psnr']:.2f}", f"{first['bicubic_ssim']:.4f}"]
        lines.append([f"{name}, bicubic", *usual, *[""] * (len(SHOWN) - 2)])
        for method, row in rows.items():
            cells = [f"{row[key]:.{places}f}" for key, (_, places) in SHOWN.items()]
            lines.append([f"{name}, {method}", *cells])
    table = markdown_table(["", *(title for title, _ in SHOWN.values())], lines)
    write_json(FLAGS.output, {**content, "markdown": table.splitlines()})
    return table


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
