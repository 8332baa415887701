r"""Maps with their uncertainty: a small encoder-decoder on CamVid.

    python benchmarks/maps.py --data_dir=DIR

A class for each pixel of street scenes (367 maps to train on, 233 to test, 240 x 180
pixels, 11 classes, void left out), by stock layers with MC dropout, and by the same
network with a Bayesian head: the layers before the head are the same in both. The
scores are those of one draw and of the mean over --draws, by `predict_labelled`, which
holds a few batches at a time. Both networks resume from --workdir.
Without --data_dir the maps are made up, and what is printed means nothing.
"""

import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import time

import keras
import numpy as np
from absl import app, flags
from keras import layers
from maps_data import CLASSES, NAMES, VOID, Maps, camvid, made_up
from maps_scores import PATCH, UNCERTAIN, MapScores
from report import markdown_table, provenance, write_figure, write_json

import tfhyper
from tfhyper import analysis

FLAGS = flags.FLAGS
flags.DEFINE_string("data_dir", None, "Folder of CamVid; none for made-up maps.")
flags.DEFINE_integer("epochs", 30, "Of each training.")
flags.DEFINE_integer("batch_size", 8, "Maps in a batch.")
flags.DEFINE_integer("draws", 16, "That predictions are averaged over.")
flags.DEFINE_integer("units", 16, "Channels of the first layer.")
flags.DEFINE_integer("most", None, "First so many maps of each part; none for all.")
flags.DEFINE_list("seeds", ["0"], "Of the trainings.")
flags.DEFINE_string("workdir", "runs/maps", "Where trainings are kept.")
flags.DEFINE_string("output", "benchmarks/results/maps.json", "Where the results go.")
flags.DEFINE_integer("verbose", 2, "As of model.fit.")


def network(head: str, shape: tuple, units: int, pixels: int, seed: int) -> keras.Model:
    """Returns an encoder-decoder with skips, whose dropout or whose head draws.

    Args:
        head: "mc_dropout" or "bayes".
        shape: of an image.
        units: channels of the first layer.
        pixels: how many labels there are in training.
        seed: of weights and draws.
    """
    keras.utils.set_random_seed(seed)

    def block(x, channels):
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        return x

    def dropout(x):
        return layers.Dropout(0.5, seed=seed)(x) if head == "mc_dropout" else x

    inputs = keras.Input(shape)
    # At half the size, where a convolution costs a quarter.
    skips, x = [], layers.Conv2D(units, 5, strides=2, padding="same")(inputs)
    for level in range(3):
        x = block(x, units * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D(padding="same")(x)
    x = dropout(block(x, units * 8))
    for level in (2, 1, 0):
        x = layers.UpSampling2D()(x)
        size = [a - b for a, b in zip(x.shape[1:3], skips[level].shape[1:3])]
        x = layers.Cropping2D([(0, size[0]), (0, size[1])])(x)
        x = layers.Concatenate()([x, skips[level]])
        x = block(x, units * 2**level)
        x = dropout(x) if level else x
    if head == "bayes":
        x = tfhyper.layers.BayesConv2D(
            CLASSES, 1, kl_weight=1 / pixels, seed=seed, name="head"
        )(x)
    else:
        x = layers.Conv2D(CLASSES, 1, name="head")(x)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    return keras.Model(inputs, x)


class Flipped:
    """Maps in another order in each epoch, some to the other side; with weights."""

    def __init__(self, data: Maps, weights: np.ndarray, batch_size: int, seed: int):
        self._data, self._weights, self._seed = data, weights, seed
        self._batch_size = batch_size
        self.steps_per_epoch = -(-len(data.images) // batch_size)

    def _batches(self, epoch: int):
        images, labels = self._data.images, self._data.labels
        rng = np.random.default_rng((self._seed, epoch))
        order, flips = rng.permutation(len(images)), rng.uniform(size=len(images)) < 0.5
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            turned = np.where(flips[rows], -1, 1)
            x = np.stack([images[i][:, ::t] for i, t in zip(rows, turned, strict=True)])
            y = np.stack([labels[i][:, ::t] for i, t in zip(rows, turned, strict=True)])
            yield x, y.astype("int32"), self._weights[y]

    def train_from(self, epoch: int):
        """Returns the batches from an epoch on, without end."""
        import tensorflow as tf

        def all_batches():
            for later in itertools.count(epoch):
                yield from self._batches(later)

        height, width = self._data.labels.shape[1:]
        specs = [((height, width, 3), "float32"), ((height, width), "int32")]
        specs.append(((height, width), "float32"))
        return tf.data.Dataset.from_generator(
            all_batches,
            output_signature=tuple(
                tf.TensorSpec((None, *shape), dtype) for shape, dtype in specs
            ),
        )


def trained(head: str, seed: int, data: Maps) -> keras.Model:
    """Returns a trained network, or the one that was trained before."""
    # Classes that are rare count more: the median of the frequencies by their own.
    counts = np.bincount(data.labels[data.labels != VOID], minlength=CLASSES)
    rarity = np.median(counts[counts > 0]) / np.maximum(counts, 1)
    weights = np.append(np.minimum(rarity, 10.0), 0.0).astype("float32")
    batches = Flipped(data, weights, FLAGS.batch_size, seed)

    def build() -> keras.Model:
        shape, pixels = data.images.shape[1:], int(counts.sum())
        model = network(head, shape, FLAGS.units, pixels, seed)
        steps = FLAGS.epochs * batches.steps_per_epoch
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
            keras.losses.SparseCategoricalCrossentropy(True, ignore_class=VOID),
        )
        return model

    names = ("epochs", "batch_size", "units", "most")
    settings = {name: FLAGS[name].value for name in names}
    settings |= {"head": head, "seed": seed, "made_up": FLAGS.data_dir is None}
    folder = os.path.join(FLAGS.workdir, f"{head}-seed{seed}")
    model, _ = tfhyper.training.fit_in_workdir(
        tfhyper.training.Workdir(folder, settings),
        build,
        batches,
        FLAGS.epochs,
        verbose=FLAGS.verbose,
    )
    return model


def scores_of(predictor: tfhyper.PosteriorPredictor, data: Maps) -> dict[str, float]:
    """Returns the scores of a predictor, its maps predicted batch by batch."""
    more, scores = MapScores(CLASSES, VOID), predictor.task.new_scores()
    start = time.monotonic()
    for labels, part, weights in predictor.predict_labelled(
        data.images, data.labels.astype("int64"), FLAGS.batch_size
    ):
        more.add(labels, part)
        scores.update(labels, part, weights)
    seconds = time.monotonic() - start
    return {**scores.result(), "seconds": seconds, **more.result()}


def picture(predictor: tfhyper.PosteriorPredictor, data: Maps, path: str) -> None:
    """Writes some test images beside what is said of them, and how sure."""
    chosen = sorted({len(data.images) * part // 6 for part in (1, 2, 4)})
    images = data.images[chosen]
    figure = analysis.segmentation_map(
        images,
        data.labels[chosen],
        predictor.predict(images, keep_members=False),
        NAMES,
        examples=range(len(chosen)),
    )
    write_figure(path, figure)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    folder, most = FLAGS.data_dir, FLAGS.most
    if folder is None:
        train, test = made_up(most or 32, 1), made_up(most or 16, 2)
    else:
        train, test = (camvid(folder, part, most) for part in ("train", "test"))
    rows = []
    for head in ("mc_dropout", "bayes"):
        for seed in map(int, FLAGS.seeds):
            model = trained(head, seed, train)
            dropout = "sample" if head == "mc_dropout" else None
            for draws in (1, FLAGS.draws):
                predictor = tfhyper.PosteriorPredictor(
                    model, draws, dropout=dropout, batch_norm="moving_average"
                )
                found = scores_of(predictor, test)
                rows.append({"head": head, "seed": seed, "draws": draws, **found})
                write(rows, train, test)
            if seed == int(FLAGS.seeds[0]):
                stem = os.path.splitext(FLAGS.output)[0]
                picture(predictor, test, f"{stem}_{head}.png")
    print(write(rows, train, test))


SHOWN = {
    "error": "pixel error, %",
    "mean_iou": "mean IoU, %",
    "nll": "NLL",
    "ece": "ECE",
    "pavpu": "PAvPU",
    "accurate_if_certain": "right if certain",
    "uncertain_if_inaccurate": "uncertain if wrong",
    "ause": "AUSE",
}


def write(rows: list[dict], train: Maps, test: Maps) -> str:
    """Writes what is there, and returns it as a table: medians over the seeds."""
    lines = []
    for head, draws in dict.fromkeys((row["head"], row["draws"]) for row in rows):
        of_row = [x for x in rows if (x["head"], x["draws"]) == (head, draws)]
        cells = []
        for name in SHOWN:
            scale = 100 if "%" in SHOWN[name] else 1
            values = [scale * row[name] for row in of_row]
            cell = f"{np.median(values):.{1 if scale == 100 else 3}f}"
            if len(values) > 1:
                cell += f" ± {np.std(values, ddof=1):.{1 if scale == 100 else 3}f}"
            cells.append(cell)
        lines.append([f"{head}, ×{draws}", *cells])
    table = markdown_table(["", *SHOWN.values()], lines)
    content = {
        "what": "an encoder-decoder on CamVid, 240 x 180, void left out",
        **provenance(),
        "settings": {
            name: FLAGS[name].value
            for name in ("epochs", "batch_size", "draws", "units", "seeds", "most")
        },
        "maps": {"train": len(train.images), "test": len(test.images)},
        "patch": PATCH,
        "uncertain_above": UNCERTAIN,
        "rows": rows,
        "markdown": table.splitlines(),
    }
    write_json(FLAGS.output, content)
    return table


if __name__ == "__main__":
    app.run(main)
