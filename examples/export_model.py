"""Exports a trained predictor as a SavedModel for TensorFlow, Serving and C++.

python examples/export_model.py --workdir=runs/train --output=models/fashion/1
python examples/export_model.py --workdir=runs/train --form=materialized --overwrite
"""

import json
import os

import common
import numpy as np
from absl import flags

import tfhyper
from tfhyper import export

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "Folder to write; WORKDIR/saved_model/1 if empty.")
flags.DEFINE_enum(
    "form",
    None,
    ["generator", "materialized"],
    "What the file holds: what kernels are made of, or the kernels of all draws. "
    "The former by default, where the posterior has it.",
)
flags.DEFINE_bool("overwrite", False, "Replace a SavedModel that is there.")
flags.DEFINE_bool(
    "bytes", True, "Take uint8 images and normalise them as the training did."
)
flags.DEFINE_bool("sampling", False, "Add the signature `sample`: fresh draws by seed.")
flags.DEFINE_integer(
    "sampling_examples",
    256,
    "Training images in the file, for the BatchNorm moments of fresh draws.",
)


def main():
    common.check_flags(("sampling_examples",))
    predictor, settings = load(FLAGS.workdir)
    spec = tfhyper.data.DATASETS.get(settings.get("dataset"))
    preprocessing = None
    if FLAGS.bytes:
        if spec is None or spec.mean is None:
            raise ValueError(
                "--bytes needs a data set whose mean and deviation are known: give "
                f"--nobytes. Received: a training on {settings.get('dataset')}"
            )
        preprocessing = export.Preprocessing(spec.mean, spec.std)
    inputs = None
    if FLAGS.sampling and predictor.batch_norm != "moving_average":
        inputs = training_images(settings, FLAGS.sampling_examples)
    output = FLAGS.output or os.path.join(FLAGS.workdir, "saved_model", "1")
    export.saved_model(
        predictor,
        output,
        form=FLAGS.form,
        overwrite=FLAGS.overwrite,
        preprocessing=preprocessing,
        class_names=spec.class_names if spec else None,
        metadata={"training": settings},
        sampling=FLAGS.sampling,
        sampling_inputs=inputs,
    )
    size = sum(
        os.path.getsize(os.path.join(folder, file))
        for folder, _, files in os.walk(output)
        for file in files
    )
    print(f"written: {output}, {predictor.num_draws} draws, {size / 2**20:.2f} MiB")


def load(workdir: str) -> tuple:
    """Returns the predictor of a folder of a training, and the training's settings."""
    path = os.path.join(workdir, "predictor.tfhyper")
    if not os.path.exists(path):
        raise FileNotFoundError(
            "--workdir must be a folder in which a training left predictor.tfhyper. "
            f"Received: {workdir}"
        )
    try:
        predictor = tfhyper.PosteriorPredictor.load(path)
    except ValueError as error:
        try:
            predictor = tfhyper.DeepEnsemble.load(path)
        except ValueError:
            raise error from None
    settings = {}
    path = os.path.join(workdir, "settings.json")
    if os.path.exists(path):
        with open(path) as file:
            settings = json.load(file)
    return predictor, settings


def training_images(settings: dict, count: int) -> np.ndarray:
    """Returns the first training images of an epoch, as the training saw them."""
    found, seen = [], 0
    for images, _ in common.load_data(settings).epoch(0):
        found.append(images.numpy())
        seen += len(found[-1])
        if seen >= count:
            break
    return np.concatenate(found)[:count]


if __name__ == "__main__":
    common.run(main)
