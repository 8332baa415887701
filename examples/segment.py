r"""Segments images, and shows where the network is unsure.

    python examples/segment.py
    python examples/segment.py --method=mcbn
    python examples/segment.py --data=camvid --data_dir=DIR --epochs=60 --depth=4 \
        --workdir=runs/camvid
    python examples/segment.py --data=folder --images=DIR --masks=DIR --classes=21 \
        --void=255 --image_size=256,256 --workdir=runs/folder

Trains a network of tfhyper.models.SEGMENTERS, averages over its draws, prints mean IoU,
pixel NLL, ECE, PAvPU and AUSE, and writes maps of some test images beside the truth:
classes, errors, aleatoric and epistemic uncertainty. Without flags the images are drawn
here: discs, squares and crosses on noisy ground.

--method says what draws: a hypernetwork, Bayes by Backprop, MC dropout, Monte Carlo
Batch Normalization of a plain network, or nothing. A run that was stopped goes on when
it is started again with the same flags.
"""

import os
import tempfile

import keras
import numpy as np
from absl import flags

import tfhyper
from tfhyper import analysis, data, kits, metrics, models, training
from tfhyper.cli.report import check_flags
from tfhyper.cli.scripting import run, write_figure, write_json

FLAGS = flags.FLAGS
METHODS = ("hyper", "bayes", "mc_dropout", "mcbn", "deterministic")
# Flags that another run must have the same to go on in a workdir.
SETTINGS = (
    "method data data_dir images masks classes void image_size train_examples "
    "test_examples network depth width epochs batch_size learning_rate balanced seed"
)
flags.DEFINE_enum("method", "hyper", METHODS, "What draws.")
flags.DEFINE_enum("data", "shapes", ["shapes", "camvid", "folder"], "The images.")
flags.DEFINE_string("data_dir", None, "Folder of CamVid.")
flags.DEFINE_string("images", None, "With --data=folder: the folder of images.")
flags.DEFINE_string("masks", None, "With --data=folder: the folder of their masks.")
flags.DEFINE_integer("classes", 2, "With --data=folder: how many classes.")
flags.DEFINE_integer("void", None, "With --data=folder: number of unlabelled pixels.")
flags.DEFINE_list("image_size", None, "With --data=folder: height,width to resize to.")
flags.DEFINE_integer("train_examples", 400, "Images that --data=shapes draws.")
flags.DEFINE_integer("test_examples", 100, "Images that --data=shapes draws to test.")
flags.DEFINE_enum("network", "unet", sorted(models.SEGMENTERS), "Network.")
flags.DEFINE_integer("depth", 3, "Stages of unet and segnet.")
flags.DEFINE_integer("width", 16, "Channels of the first stage, or of the pyramid.")
flags.DEFINE_integer("epochs", 12, "Epochs.")
flags.DEFINE_integer("batch_size", 8, "Images in a batch.")
flags.DEFINE_float("learning_rate", 3e-3, "First learning rate.")
flags.DEFINE_bool("balanced", False, "Rare classes weigh more, by median frequency.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise and data order.")
flags.DEFINE_integer("draws", 16, "Draws that the prediction averages over.")
flags.DEFINE_integer("shown", 4, "Test images whose maps are written.", lower_bound=1)
flags.DEFINE_integer("patch", 4, "Side of the patches of PAvPU, in pixels.")
flags.DEFINE_float("uncertain", 0.4, "Uncertainty of an uncertain patch, in nats.")
flags.DEFINE_string(
    "workdir", "runs/segment", "Folder of the training and its results."
)

SHAPES = ("ground", "disc", "square", "cross")
SIZE, BORDER = 48, 255


def draw_shapes(folder: str, count: int, seed: int) -> tuple[str, str]:
    """Draws images and masks into two folders; the shapes' edges have no label."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE, :SIZE]
    folders = [os.path.join(folder, name) for name in ("images", "masks")]
    for path in folders:
        os.makedirs(path, exist_ok=True)
    colors = np.array([[90, 90, 80], [200, 90, 70], [80, 150, 200], [190, 180, 60]])
    for i in range(count):
        mask = np.zeros((SIZE, SIZE), "uint8")
        for kind in rng.permutation([1, 2, 3]):
            centre, radius = rng.integers(7, SIZE - 7, 2), rng.integers(5, 10)
            away = np.abs(np.stack([row - centre[0], column - centre[1]]))
            length = (np.hypot(*away), away.max(0), away.max(0))[kind - 1]
            here = length <= radius
            if kind == 3:
                here &= away.min(0) <= radius // 3
            mask[here] = kind
        pixels = colors[mask] + rng.normal(0, 35, (SIZE, SIZE, 3))
        padded = np.pad(mask, 1, mode="edge")
        near = [
            padded[1 + a : SIZE + 1 + a, 1 + b : SIZE + 1 + b]
            for a, b in ((1, 0), (0, 1))
        ]
        mask = np.where((near[0] != mask) | (near[1] != mask), BORDER, mask)
        pair = (np.clip(pixels, 0, 255).astype("uint8"), mask.astype("uint8"))
        for path, array in zip(folders, pair, strict=True):
            Image.fromarray(array).save(os.path.join(path, f"{i:05}.png"))
    return folders[0], folders[1]


def load() -> data.Data:
    """Returns the data that the flags name."""
    options = {"batch_size": FLAGS.batch_size, "seed": FLAGS.seed}
    if FLAGS.data == "camvid":
        return data.load("camvid", data_dir=FLAGS.data_dir, **options)
    if FLAGS.data == "folder":
        if FLAGS.images is None or FLAGS.masks is None:
            raise ValueError("--data=folder must have --images and --masks")
        size = None
        if FLAGS.image_size is not None:
            if not all(n.strip().isdigit() for n in FLAGS.image_size):
                text = ",".join(FLAGS.image_size)
                raise ValueError(
                    "--image_size must be height,width in pixels. "
                    f"Received: --image_size={text}"
                )
            size = tuple(int(n) for n in FLAGS.image_size)
        return data.load_segmentation(
            FLAGS.images,
            FLAGS.masks,
            FLAGS.classes,
            ignore_class=FLAGS.void,
            image_size=size,
            **options,
        )
    parts = {"train": FLAGS.train_examples, "test": FLAGS.test_examples}
    # All are read into memory: the files are not needed after that.
    with tempfile.TemporaryDirectory() as folder:
        train, test = (
            draw_shapes(os.path.join(folder, part), count, FLAGS.seed + 2 * i)
            for i, (part, count) in enumerate(parts.items())
        )
        return data.load_segmentation(
            *train,
            len(SHAPES),
            ignore_class=BORDER,
            class_names=SHAPES,
            test_images_dir=test[0],
            test_masks_dir=test[1],
            **options,
        )


def make_kit(pixels: int) -> kits.LayerKit:
    """Returns the kit of --method, for so many labelled pixels."""
    if FLAGS.method == "hyper":
        return kits.hyper("block_wise", deviation_scale=0.3, seed=FLAGS.seed)
    if FLAGS.method == "bayes":
        return kits.bayes(pixels, seed=FLAGS.seed)
    if FLAGS.method == "mc_dropout":
        # That of the network alone, at its deepest stages.
        return kits.mc_dropout(0.0, seed=FLAGS.seed)
    return kits.deterministic()


def build(found: data.Data) -> keras.Model:
    """Returns the network of the flags, compiled."""
    keras.utils.set_random_seed(FLAGS.seed)
    void = found.spec.ignore_class
    pixels = sum(int(np.sum(y != void)) for _, y in found.train_plain)
    options: dict = {"dropout": 0.5 if FLAGS.method == "mc_dropout" else 0.0}
    if FLAGS.network == "segnet":
        options["stage_convs"] = (2,) * FLAGS.depth
        options["width_multiplier"] = FLAGS.width / 64
    elif FLAGS.network == "unet":
        options |= {"depth": FLAGS.depth, "width": FLAGS.width}
    else:
        options |= {"width": FLAGS.width}
    model = models.SEGMENTERS[FLAGS.network](
        num_classes=found.spec.num_classes,
        input_shape=found.spec.image_shape,
        kit=make_kit(pixels),
        **options,
    )
    steps = FLAGS.epochs * found.steps_per_epoch
    rate = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(True, ignore_class=void),
    )
    return model


def make_predictor(model: keras.Model, found: data.Data) -> tfhyper.PosteriorPredictor:
    """Returns what averages over the draws of --method."""
    draws = 1 if FLAGS.method == "deterministic" else FLAGS.draws
    batch_norm = {"mcbn": "minibatch", "hyper": "reestimate", "bayes": "reestimate"}
    predictor = tfhyper.PosteriorPredictor(
        model,
        draws,
        batch_norm=batch_norm.get(FLAGS.method, "moving_average"),
        # Examples that a draw's moments are of: those of one batch of the training.
        batch_size=FLAGS.batch_size if FLAGS.method == "mcbn" else None,
        ignore_class=found.spec.ignore_class,
        seed=FLAGS.seed,
    )
    if FLAGS.method in batch_norm:
        predictor.estimate_batch_norm(found.epoch(0).map(lambda x, y, *_: (x, y)))
    return predictor


def score(predictor: tfhyper.PosteriorPredictor, found: data.Data) -> dict:
    """Returns the scores of the test images, whose maps are predicted in batches."""
    spec = found.spec
    running = metrics.ClassificationScores(ignore_class=spec.ignore_class)
    matrix, patches, areas = 0, None, []
    for x, y in found.test:
        labels = y.numpy().astype("int64")
        part = predictor.predict(x.numpy(), keep_members=False, verbose=0)
        running.update(labels, part.mean)
        matrix = matrix + metrics.confusion_matrix(
            labels, part.label, spec.num_classes, ignore_class=spec.ignore_class
        )
        counted = metrics.patch_counts(
            labels,
            part.label,
            spec.num_classes,
            part.total,
            FLAGS.uncertain,
            FLAGS.patch,
            ignore_class=spec.ignore_class,
        )
        patches = counted if patches is None else patches + counted
        known = np.ones(labels.shape, bool)
        if spec.ignore_class is not None:
            known = labels != spec.ignore_class
        wrong = (part.label != labels).astype(float)
        areas.append(metrics.ause(wrong, part.total, mask=known, per_example=True))
    scores = {name: running.result()[name] for name in ("error", "nll", "ece")}
    scores["mean_iou"] = metrics.segmentation_report(matrix)["mean_iou"]
    scores["pavpu"] = float(patches.pavpu[0])
    scores["ause"] = float(np.nanmean(np.concatenate(areas)))
    return scores


def picture(predictor: tfhyper.PosteriorPredictor, found: data.Data):
    """Returns the figure of the first test images and what is said of them."""
    x, y = next(iter(found.test.unbatch().batch(FLAGS.shown)))
    mean, std = (np.asarray(n, "float32") for n in (found.spec.mean, found.spec.std))
    return analysis.segmentation_map(
        np.clip(x.numpy() * std + mean, 0, 1),
        y.numpy().astype("int64"),
        predictor.predict(x.numpy(), keep_members=False, verbose=0),
        found.spec.class_names,
        examples=range(len(x)),
        title=f"{FLAGS.network}, {FLAGS.method}, x{predictor.num_draws}",
    )


def main():
    check_flags(("draws", "train_examples", "test_examples", "depth", "patch"))
    found = load()
    train = found.with_class_weights() if FLAGS.balanced else found
    settings = {name: FLAGS[name].value for name in SETTINGS.split()}
    model, _ = training.fit_in_workdir(
        training.Workdir(FLAGS.workdir, settings),
        lambda: build(found),
        train,
        FLAGS.epochs,
        verbose=2,
    )
    predictor = make_predictor(model, found)
    scores = score(predictor, found)
    names = {
        "mean_iou": "mean IoU",
        "error": "pixel error",
        "nll": "pixel NLL, nats",
        "ece": "ECE",
        "pavpu": "PAvPU",
        "ause": "AUSE",
    }
    print(f"\n{found.num_test} test images, {FLAGS.method}, x{predictor.num_draws}")
    for name, title in names.items():
        print(f"{title:>16} {scores[name]:8.4f}")
    print()
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    write_figure(os.path.join(FLAGS.workdir, "maps.png"), picture(predictor, found))
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
