"""How many draws `predict_anytime` takes, and how often it decides as all of them do.

Of a small hypernetwork, trained for a few epochs on the images that come with
tfhyper. A part of `predict_time.py`.
"""

import os

import keras
import numpy as np
from absl import flags
from report import markdown_table, read_json, write_json

from tfhyper import PosteriorPredictor, data, models, training

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "runs/predict_time", "Where the training is kept.")
flags.DEFINE_integer("epochs", 10, "Epochs of the training.")
flags.DEFINE_integer("train_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("test_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise, data order and draws.")
flags.DEFINE_list("anytime_draws", ["16", "64"], "Values of N.")

CONFIDENCES = (0.9, 0.99, 0.999)
SETTINGS = ("epochs", "train_examples", "test_examples", "seed")
DATA = "fashion_mnist_small"


def run() -> dict:
    """Returns settings and results, from the folder of the training if they are."""
    settings = {name: FLAGS[name].value for name in SETTINGS}
    # Folders from before the generators' weights decayed are refused.
    settings["decay_generator"] = True
    workdir = training.Workdir(os.path.join(FLAGS.workdir, "anytime"), settings)
    found = read_json(workdir.file("anytime.json")) or {}
    todo = [draws for draws in FLAGS.anytime_draws if draws not in found]
    if todo:
        model, images = trained(workdir)
        test = np.concatenate([x for x, _ in images.test])
        for draws in todo:
            found[draws] = count_draws(model, images, test, int(draws))
            write_json(workdir.file("anytime.json"), found)
    found = {draws: found[draws] for draws in FLAGS.anytime_draws}
    print_counts(found)
    content = {"network": "WRN-10-1, all-in-one, mean kernel", "data": DATA}
    return {**content, "settings": settings, "results": found}


def trained(workdir):
    """Returns the trained network and its data."""
    images = data.load(
        DATA,
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
        seed=FLAGS.seed,
    )

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        network = models.wide_resnet(
            10,
            1,
            num_classes=images.spec.num_classes,
            input_shape=images.spec.image_shape,
        )
        return training.compile_recipe(network, FLAGS.epochs, images.steps_per_epoch)

    model, _ = training.fit_in_workdir(workdir, build, images, FLAGS.epochs, verbose=2)
    return model, images


def count_draws(model, images, test, draws: int) -> dict:
    """Returns confidence -> draws used by an input, and the share that agrees."""
    predictor = PosteriorPredictor(model, draws, seed=FLAGS.seed)
    predictor.estimate_batch_norm(images.train_from(0).take(images.steps_per_epoch))
    found = {}
    for confidence in CONFIDENCES:
        prediction = predictor.predict_anytime(test, confidence, check=True)
        low, middle, high = np.quantile(prediction.num_draws, [0.25, 0.5, 0.75])
        found[str(confidence)] = {
            "mean_draws": float(prediction.num_draws.mean()),
            "draws_quartiles": [float(low), float(middle), float(high)],
            "agreement": prediction.agreement,
        }
    return found


def print_counts(found: dict) -> None:
    rows = [
        [
            draws,
            confidence,
            f"{row['mean_draws']:.1f}",
            "{:g} / {:g} / {:g}".format(*row["draws_quartiles"]),
            f"{100 * row['agreement']:.2f}",
        ]
        for draws, rows in found.items()
        for confidence, row in rows.items()
    ]
    header = ["N", "confidence", "draws", "quartiles", "decided as by all N, %"]
    print(markdown_table(header, rows))
