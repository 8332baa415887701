"""Exports a trained predictor: a SavedModel, or a file for another runtime.

tfhyper export --workdir=runs/train --output=models/fashion/1
tfhyper export --workdir=runs/train --format=onnx --weights=float16
tfhyper export --predictor=laplace.tfhyper --nobytes --output=models/laplace/1
"""

import dataclasses
import json
import os
from typing import Any

import numpy as np
from absl import flags

from tfhyper import export
from tfhyper.cli import report
from tfhyper.cli.flag_sets import FORMATS
from tfhyper.cli.predictor_files import load_predictor
from tfhyper.data import DATASETS
from tfhyper.export.runtimes import size_of
from tfhyper.posterior import PosteriorPredictor
from tfhyper.posterior.base_predictor import BasePredictor

FLAGS = flags.FLAGS


def main() -> dict[str, Any]:
    """Exports, and returns what was written, as JSON values."""
    report.check_flags(("sampling_examples",))
    check_format()
    if FLAGS.predictor is None:
        predictor, settings = load(FLAGS.workdir)
    else:
        if FLAGS.output is None:
            raise ValueError(
                "--output must be given with --predictor. Received: "
                f"--predictor={FLAGS.predictor}"
            )
        predictor, settings = load_predictor(FLAGS.predictor), {}
    spec = DATASETS.get(settings.get("dataset", ""))
    preprocessing = None
    if FLAGS.bytes:
        if spec is None or spec.mean is None or spec.std is None:
            raise ValueError(
                "--bytes needs a data set whose mean and deviation are known: give "
                f"--nobytes. Received: a training on {settings.get('dataset')}"
            )
        preprocessing = export.Preprocessing(spec.mean, spec.std)
    output = FLAGS.output or os.path.join(FLAGS.workdir, FORMATS[FLAGS.format])
    options: dict[str, Any] = {
        "overwrite": FLAGS.overwrite,
        "preprocessing": preprocessing,
        "class_names": spec.class_names if spec else None,
        "metadata": {"training": settings},
    }
    if FLAGS.format != "saved_model":
        if "dataset" in settings:
            options["check_data"] = test_examples(settings, preprocessing)
        write = getattr(export, FLAGS.format)
        found = write(predictor, output, weights=FLAGS.weights, **options)
        return {"format": FLAGS.format, **dataclasses.asdict(found)}
    inputs = None
    is_drawn = isinstance(predictor, PosteriorPredictor)
    if FLAGS.sampling and is_drawn and predictor.batch_norm != "moving_average":
        if not settings:
            raise ValueError(
                "--sampling must be of a training, by --workdir, where BatchNorm is "
                "estimated for each draw. Received: --predictor"
            )
        inputs = training_images(settings, FLAGS.sampling_examples)
    export.saved_model(
        predictor,
        output,
        form=FLAGS.form,
        sampling=FLAGS.sampling,
        sampling_inputs=inputs,
        **options,
    )
    size = size_of(output)
    print(f"written: {output}, {predictor.num_draws} draws, {size / 2**20:.2f} MiB")
    if predictor.rejection is not None:
        print(
            f"unknown: {predictor.rejection.score} above "
            f"{predictor.rejection.threshold:.4f}"
        )
    return {
        "format": FLAGS.format,
        "path": output,
        "size": size,
        "draws": predictor.num_draws,
        "rejection": predictor.settings["rejection"],
    }


def check_format() -> None:
    """Raises ValueError for flags that the format does not have."""
    saved_model = FLAGS.format == "saved_model"
    if saved_model and FLAGS.weights != "float32":
        raise ValueError(
            "--weights is for onnx, litert and openvino. "
            f"Received: --weights={FLAGS.weights}, --format=saved_model"
        )
    if not saved_model and (FLAGS.form == "generator" or FLAGS.sampling):
        raise ValueError(
            "--form=generator and --sampling are for --format=saved_model. "
            f"Received: --format={FLAGS.format}"
        )


def load(workdir: str) -> tuple[BasePredictor, dict[str, Any]]:
    """Returns the predictor of a folder of a training, and the training's settings."""
    path = os.path.join(workdir, "predictor.tfhyper")
    if not os.path.exists(path):
        raise FileNotFoundError(
            "--workdir must be a folder in which a training left predictor.tfhyper. "
            f"Received: {workdir}"
        )
    predictor, settings = load_predictor(path), {}
    path = os.path.join(workdir, "settings.json")
    if os.path.exists(path):
        with open(path) as file:
            settings = json.load(file)
    return predictor, settings


def training_images(settings: dict[str, Any], count: int) -> np.ndarray:
    """Returns the first training images of an epoch, as the training saw them."""
    found, seen = [], 0
    for images, _ in report.load_data(settings).epoch(0):
        found.append(images.numpy())
        seen += len(found[-1])
        if seen >= count:
            break
    return np.concatenate(found)[:count]


def test_examples(
    settings: dict[str, Any], preprocessing: export.Preprocessing | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the test images, as the file takes them, and their labels."""
    batches = zip(*report.load_data(settings).test, strict=True)
    images, labels = (np.concatenate(x) for x in batches)
    if preprocessing is not None:
        images = 255 * (images * preprocessing.std + preprocessing.mean)
        images = np.rint(images).clip(0, 255).astype("uint8")
    return images, labels
