r"""Adapts a text classifier of KerasHub, and averages over draws of what was adapted.

    pip install "tfhyper[hub]"
    python examples/fine_tune.py --preset=bert_tiny_en_uncased --train=TRAIN.csv \
        --test=TEST.csv
    python examples/fine_tune.py --preset=FOLDER --train=TRAIN.csv --test=TEST.csv \
        --method=last --foreign=OTHERS.csv

--preset is a name of KerasHub, whose weights it fetches, a Hugging Face or Kaggle
address, or a folder that `save_to_preset` wrote. The CSV files have the columns text
and label; that of --foreign needs no labels.

--method says what draws: with lora all weights are frozen, and each attention kernel
has factors of low rank beside it with a Gaussian posterior (`kits.bayes_lora`), some
hundredths of the weights; with last the last layer has one, and the rest is trained as
it is. A run that was stopped goes on when it is started again with the same flags.
"""

import csv
import os
from typing import Any

import keras
import numpy as np
from absl import flags

import tfhyper
from tfhyper import data, kits, metrics, training
from tfhyper.cli.report import check_flags
from tfhyper.cli.scripting import run, write_json

FLAGS = flags.FLAGS
METHODS = ("lora", "last")
# Flags that another run must have the same to go on in a workdir.
SETTINGS = "preset train method rank length epochs batch_size learning_rate seed"
flags.DEFINE_string("preset", None, "Name, address or folder of a preset.")
flags.DEFINE_string("train", None, "CSV of text and label to train with.")
flags.DEFINE_string("test", None, "CSV of text and label to test with.")
flags.DEFINE_string("foreign", None, "CSV of texts of another kind.")
flags.DEFINE_enum("method", "lora", METHODS, "What draws.")
flags.DEFINE_integer("rank", 4, "Rank of the factors with --method=lora.")
flags.DEFINE_integer("length", 64, "Tokens of a text; what is longer is cut off.")
flags.DEFINE_integer("epochs", 3, "Epochs.")
flags.DEFINE_integer("batch_size", 16, "Texts in a batch.")
flags.DEFINE_float("learning_rate", 5e-4, "First rate of Adam, which falls to 0.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise and the order of the texts.")
flags.DEFINE_integer("draws", 16, "Draws that the prediction averages over.")
flags.DEFINE_string("workdir", "runs/fine_tune", "Folder of the training and results.")
flags.mark_flags_as_required(["preset", "train", "test"])


def read(path: str, labelled: bool = True) -> tuple[list[str], list[str]]:
    """Returns the texts and the labels of a CSV file.

    Raises:
        ValueError: for a file that is not there, or has not the columns.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} must be a CSV file in UTF-8: {error}") from error
    needed = ("text", "label") if labelled else ("text",)
    if not rows or any(not row.get(name) for row in rows for name in needed):
        raise ValueError(
            f"{path} must have the columns {' and '.join(needed)}, and in each of its "
            f"rows something in them. It has {len(rows)} rows"
        )
    return [row["text"] for row in rows], [row.get("label") or "" for row in rows]


def read_preset(name: str, classes: int) -> Any:
    """Returns a text classifier of KerasHub with the weights of a preset.

    Raises:
        ValueError: for a preset that is not there, or is none of a classifier.
        ImportError: without KerasHub.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ImportError('Install KerasHub: pip install "tfhyper[hub]"') from error
    try:
        return keras_hub.models.TextClassifier.from_preset(name, num_classes=classes)
    # Of the places that presets come from each has errors of its own.
    except Exception as error:
        raise ValueError(
            "--preset must be that of a text classifier: a name of KerasHub, an "
            "address that can be reached, or a folder of `save_to_preset`. "
            f"Received: --preset={name} ({type(error).__name__}: {error})"
        ) from error


def encode(classifier: Any, texts: list[str]) -> dict[str, np.ndarray]:
    """Returns what the network takes of texts, as arrays by name."""
    preprocessor = classifier.preprocessor
    preprocessor.sequence_length = min(
        FLAGS.length, getattr(classifier.backbone, "max_sequence_length", FLAGS.length)
    )
    found = preprocessor(texts)
    return {name: keras.ops.convert_to_numpy(x) for name, x in found.items()}


def adapt(classifier: Any, steps: int, num_examples: int) -> keras.Model:
    """Returns the network of --method, compiled."""
    network = keras.Model(classifier.input, classifier.output)
    if FLAGS.method == "lora":
        classifier.backbone.enable_lora(FLAGS.rank)
        kit = kits.bayes_lora(num_examples, seed=FLAGS.seed)
        network = tfhyper.convert(network, kit)
    else:
        kit = kits.bayes(num_examples, seed=FLAGS.seed)
        network = tfhyper.convert(network, kit, where="last")
    rate = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
    network.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return network


def main() -> None:
    check_flags(("rank", "length", "draws"))
    texts, train_labels = read(FLAGS.train)
    test_texts, test_labels = read(FLAGS.test)
    names = sorted(set(train_labels))
    if unknown := sorted(set(test_labels) - set(names)):
        raise ValueError(f"{FLAGS.test} has labels that {FLAGS.train} lacks: {unknown}")
    if len(names) < 2:
        raise ValueError(f"{FLAGS.train} must have two labels or more. It has {names}")
    place = {name: i for i, name in enumerate(names)}
    keras.utils.set_random_seed(FLAGS.seed)
    classifier = read_preset(FLAGS.preset, len(names))
    parameters = classifier.count_params()
    batches = data.ArrayBatches(
        encode(classifier, texts),
        np.array([place[label] for label in train_labels]),
        FLAGS.batch_size,
        seed=FLAGS.seed,
    )
    steps = FLAGS.epochs * batches.steps_per_epoch
    settings = {name: FLAGS[name].value for name in SETTINGS.split()}
    model, _ = training.fit_in_workdir(
        training.Workdir(FLAGS.workdir, settings),
        lambda: adapt(classifier, steps, batches.num_examples),
        batches,
        FLAGS.epochs,
        verbose=2,
    )
    predictor = tfhyper.PosteriorPredictor(model, FLAGS.draws, seed=FLAGS.seed)
    x = encode(classifier, test_texts)
    y = np.array([place[label] for label in test_labels])
    evaluated = predictor.evaluate(x, y, verbose=0)
    scores = {name: evaluated[name] for name in ("error", "nll", "ece")}
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    scores["trained_numbers"] = trained
    scores["parameters"] = parameters
    if FLAGS.foreign is not None:
        others = encode(classifier, read(FLAGS.foreign, labelled=False)[0])
        known, foreign = (
            predictor.predict(inputs, keep_members=False, verbose=0)
            for inputs in (x, others)
        )
        for name in ("total", "epistemic"):
            pair = getattr(known, name), getattr(foreign, name)
            scores[f"foreign_auroc_{name}"] = metrics.ood_detection(*pair)["auroc"]
    print(f"\n{len(y)} test texts, {FLAGS.method}, x{predictor.num_draws}")
    for name, value in scores.items():
        print(f"{name:>24} {value:12,.4f}")
    print()
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    write_json(os.path.join(FLAGS.workdir, "labels.json"), {"labels": names})
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
