r"""Segmentation of CamVid by one U-Net with different kits, each map with uncertainty.

    python benchmarks/segmentation.py --data_dir=DIR

`tfhyper.models.unet` of one size, trained for the same number of epochs: plain, with MC
dropout, with hypernetworks and with Bayes by Backprop; the plain one is averaged over
the statistics of mini-batches too (Monte Carlo Batch Normalization). Scores are those
of the set's test images, void left out: mean IoU, pixel error, NLL, ECE, PAvPU and
AUSE, and how well uncertainty tells the borders of classes. With --unseen each is
trained once more without the labels of a class, and asked how well its uncertainty
tells the pixels of that class from the others.

What is there is kept in --output row by row: a second call does what is missing.
Trainings resume from --workdir. Without --data_dir the images are made up, and what is
printed means nothing.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tempfile
import time
from typing import Any

import keras
import numpy as np
from absl import app, flags
from maps_data import NAMES, VOID, made_up, written
from maps_scores import PATCH, UNCERTAIN, MapScores
from report import markdown_table, provenance, read_json, write_figure, write_json

import tfhyper
from tfhyper import analysis, data, kits, models, training

FLAGS = flags.FLAGS
# Name of a row -> kit of its training; a row of its own for each way to predict.
ROWS = {
    "deterministic": "deterministic",
    "mcbn": "deterministic",
    "mc_dropout": "mc_dropout",
    "hyper": "hyper",
    "bayes": "bayes",
}
flags.DEFINE_string("data_dir", None, "Folder of CamVid; none for made-up maps.")
flags.DEFINE_list("rows", list(ROWS), "Which of: " + ", ".join(ROWS))
flags.DEFINE_list("seeds", ["0"], "Of the trainings.")
flags.DEFINE_list("unseen", [], "Classes, each of them left out of a training.")
flags.DEFINE_integer("epochs", 12, "Of each training.")
flags.DEFINE_integer("batch_size", 8, "Images in a batch.")
flags.DEFINE_integer("draws", 16, "That predictions are averaged over.")
flags.DEFINE_integer("depth", 3, "Stages of the network.")
flags.DEFINE_integer("width", 16, "Channels of its first stage.")
flags.DEFINE_float("learning_rate", 3e-3, "First rate of Adam.")
flags.DEFINE_string("workdir", "runs/segmentation", "Where trainings are kept.")
flags.DEFINE_string(
    "output", "benchmarks/results/segmentation.json", "Where the results go."
)
flags.DEFINE_integer("verbose", 2, "As of model.fit.")

SHOWN = {
    "mean_iou": "mean IoU, %",
    "error": "pixel error, %",
    "nll": "NLL",
    "ece": "ECE",
    "pavpu": "PAvPU",
    "ause": "AUSE",
    "epistemic_auroc_of_borders": "borders",
    "epistemic_auroc_of_unseen": "unseen",
}
# In per cent, on the same split at 480 x 360, by networks of 9 to 30 million weights:
# listed by Jegou et al., "The one hundred layers tiramisu", CVPR workshops 2017.
PUBLISHED = {
    "SegNet": {"mean_iou": 46.4, "error": 37.5},
    "Bayesian SegNet (MC dropout)": {"mean_iou": 63.1, "error": 13.1},
    "FC-DenseNet103": {"mean_iou": 66.9, "error": 8.5},
}


def make_kit(name: str, pixels: int, seed: int) -> kits.LayerKit:
    """Returns the kit of a training, for so many labelled pixels."""
    if name == "hyper":
        return kits.hyper("block_wise", deviation_scale=0.3, seed=seed)
    if name == "bayes":
        return kits.bayes(pixels, seed=seed)
    if name == "mc_dropout":
        # That of the network alone, at its deepest stages.
        return kits.mc_dropout(0.0, seed=seed)
    return kits.deterministic()


def trained(kit: str, seed: int, found: data.Data, unseen: str) -> keras.Model:
    """Returns a trained network, or the one that was trained before.

    Args:
        kit: a value of `ROWS`.
        seed: of weights, noise and data order.
        found: the data.
        unseen: the class that is left out, or "".
    """

    def build() -> keras.Model:
        keras.utils.set_random_seed(seed)
        pixels = sum(int(np.sum(y != VOID)) for _, y in found.train_plain)
        model = models.unet(
            num_classes=found.spec.num_classes,
            input_shape=found.spec.image_shape,
            kit=make_kit(kit, pixels, seed),
            depth=FLAGS.depth,
            width=FLAGS.width,
            dropout=0.5 if kit == "mc_dropout" else 0.0,
        )
        steps = FLAGS.epochs * found.steps_per_epoch
        rate = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
        loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=VOID)
        model.compile(keras.optimizers.Adam(rate), loss)
        return model

    settings = {**settings_of_all(), "kit": kit, "seed": seed, "unseen": unseen}
    name = "-".join(filter(None, [kit, f"seed{seed}", unseen]))
    model, _ = training.fit_in_workdir(
        training.Workdir(os.path.join(FLAGS.workdir, name), settings),
        build,
        found.without_classes([unseen]) if unseen else found,
        FLAGS.epochs,
        verbose=FLAGS.verbose,
    )
    return model


def settings_of_all() -> dict[str, Any]:
    """Returns what all rows of a table have the same."""
    names = ("epochs", "batch_size", "depth", "width", "learning_rate")
    found = {name: FLAGS[name].value for name in names}
    return {**found, "made_up": FLAGS.data_dir is None}


def predictor_of(row: str, model: keras.Model, found: data.Data, seed: int):
    """Returns what averages over the draws of a row."""
    batch_norm = {"mcbn": "minibatch", "hyper": "reestimate", "bayes": "reestimate"}
    predictor = tfhyper.PosteriorPredictor(
        model,
        1 if row == "deterministic" else FLAGS.draws,
        batch_norm=batch_norm.get(row, "moving_average"),
        # Examples that a draw's moments are of: those of one batch of the training.
        batch_size=FLAGS.batch_size if row == "mcbn" else None,
        ignore_class=VOID,
        seed=seed,
    )
    if row in batch_norm:
        predictor.estimate_batch_norm(found.epoch(0).map(lambda x, y: (x, y)))
    return predictor


def scores_of(predictor, found: data.Data, unseen: int | None) -> dict[str, float]:
    """Returns the scores of the test images: those of `evaluate`, and of maps.

    Both of one prediction, a few batches at a time.
    """
    start, scores = time.monotonic(), predictor.task.new_scores()
    more = MapScores(found.spec.num_classes, VOID, unseen)
    for labels, part, weights in predictor.predict_labelled(found.test):
        more.add(labels, part)
        known = labels if unseen is None else np.where(labels == unseen, VOID, labels)
        scores.update(known, part, weights)
    seconds = time.monotonic() - start
    return {**scores.result(), "seconds": seconds, **more.result()}


def picture(predictor, found: data.Data, title: str, path: str) -> None:
    """Writes some test images beside what is said of them, and how sure."""
    x, y = (np.concatenate(part) for part in zip(*found.test, strict=True))
    chosen = sorted({len(x) * part // 6 for part in (1, 2, 4)})
    mean, std = (np.asarray(n, "float32") for n in (found.spec.mean, found.spec.std))
    figure = analysis.segmentation_map(
        np.clip(x[chosen] * std + mean, 0, 1),
        y[chosen].astype("int64"),
        predictor.predict(x[chosen], keep_members=False, verbose=0),
        NAMES,
        examples=range(len(chosen)),
        title=title,
    )
    write_figure(path, figure, dpi=100)


def load(folder: str) -> data.Data:
    """Returns the data, which are written into a folder where they are made up."""
    options = {"batch_size": FLAGS.batch_size}
    if FLAGS.data_dir is not None:
        return data.load("camvid", data_dir=FLAGS.data_dir, **options)
    for part, count in (("train", 16), ("val", 8), ("test", 8)):
        written(made_up(count, len(part)), folder, part)
    return data.load("camvid", data_dir=folder, **options)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    for name, given, known in (
        ("rows", FLAGS.rows, list(ROWS)),
        ("unseen", FLAGS.unseen, list(NAMES)),
    ):
        if not set(given) <= set(known):
            raise app.UsageError(f"--{name} must be some of {known}. Received: {given}")
    rows = known_rows()
    with tempfile.TemporaryDirectory() as folder:
        found = load(folder)
        for unseen in ("", *FLAGS.unseen):
            for seed in map(int, FLAGS.seeds):
                for row in FLAGS.rows:
                    key = {"row": row, "seed": seed, "unseen": unseen}
                    if not any(key.items() <= kept.items() for kept in rows):
                        rows.append({**key, **row_of(row, seed, found, unseen)})
                        write(rows, found)
    print(write(rows, found))


def known_rows() -> list[dict]:
    """Returns the rows that are there, or raises ValueError if they are others'."""
    known = read_json(FLAGS.output)
    if known is None:
        return []
    settings = {**settings_of_all(), "draws": FLAGS.draws}
    if known["settings"] != settings:
        raise ValueError(
            f"--output has rows of {known['settings']}, and these are {settings}: give "
            "another file"
        )
    return known["rows"]


def row_of(row: str, seed: int, found: data.Data, unseen: str) -> dict[str, float]:
    """Returns the scores of a row."""
    print(f"== {row}, seed {seed}{f', without {unseen}' if unseen else ''}", flush=True)
    model = trained(ROWS[row], seed, found, unseen)
    predictor = predictor_of(row, model, found, seed)
    scores = scores_of(predictor, found, NAMES.index(unseen) if unseen else None)
    if seed == int(FLAGS.seeds[0]):
        stem = os.path.splitext(FLAGS.output)[0]
        title = f"{row}, ×{predictor.num_draws}"
        name = "_".join(filter(None, [stem, row, unseen]))
        # Photographs: as a PNG it would be several times as large.
        picture(predictor, found, title, f"{name}.jpg")
    return scores


def write(rows: list[dict], found: data.Data) -> str:
    """Writes what is there, and returns it as a table: medians over the seeds."""
    lines = []
    for name, unseen in dict.fromkeys((row["row"], row["unseen"]) for row in rows):
        of_row = [x for x in rows if (x["row"], x["unseen"]) == (name, unseen)]
        title = f"{name}, {unseen} unseen" if unseen else name
        lines.append([title, *(_cell(of_row, shown) for shown in SHOWN)])
    for name, scores in PUBLISHED.items():
        cells = [f"{scores[shown]}" if shown in scores else "-" for shown in SHOWN]
        lines.append([f"{name}, 480 x 360, published", *cells])
    table = markdown_table(["", *SHOWN.values()], lines)
    content = {
        "what": "unet on CamVid, void left out",
        **provenance(),
        "settings": {**settings_of_all(), "draws": FLAGS.draws},
        "image_shape": found.spec.image_shape,
        "images": {"train": found.num_train, "test": found.num_test},
        "patch": PATCH,
        "uncertain_above": UNCERTAIN,
        "rows": rows,
        "markdown": table,
    }
    write_json(FLAGS.output, content)
    return table


def _cell(rows: list[dict], name: str) -> str:
    """Returns the median over rows, and the spread where there are several."""
    scale, digits = (100, 1) if "%" in SHOWN[name] else (1, 3)
    values = [scale * row[name] for row in rows if name in row]
    if not values:
        return "-"
    cell = f"{np.median(values):.{digits}f}"
    if len(values) > 1:
        cell += f" ± {np.std(values, ddof=1):.{digits}f}"
    return cell


if __name__ == "__main__":
    app.run(main)
