"""Exports a trained predictor: a SavedModel, or a file for another runtime.

python examples/export_model.py --workdir=runs/train --output=models/fashion/1
python examples/export_model.py --workdir=runs/train --form=materialized --overwrite
python examples/export_model.py --workdir=runs/train --format=onnx --weights=float16

A SavedModel is for TensorFlow, TensorFlow Serving and C++. The other formats say what
their file scores on the test images, beside the predictor. What the predictor calls
unknown, by --coverage of the training or of examples/evaluate.py, the file rejects.
"""

import json
import os

import common
import numpy as np
from absl import flags

import tfhyper
from tfhyper import export
from tfhyper.export.runtimes import size_of

FLAGS = flags.FLAGS
# Format -> what the file is called in WORKDIR. The functions have these names.
FORMATS = {
    "saved_model": os.path.join("saved_model", "1"),
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "openvino": "openvino",
}
flags.DEFINE_enum("format", "saved_model", list(FORMATS), "What to write.")
flags.DEFINE_string(
    "output", None, "File or folder to write; one in WORKDIR, by the format, if empty."
)
flags.DEFINE_enum(
    "weights",
    "float32",
    ["float32", "float16", "int8"],
    "How onnx, litert and openvino store weights.",
)
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
    check_format()
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
    output = FLAGS.output or os.path.join(FLAGS.workdir, FORMATS[FLAGS.format])
    options = {
        "overwrite": FLAGS.overwrite,
        "preprocessing": preprocessing,
        "class_names": spec.class_names if spec else None,
        "metadata": {"training": settings},
    }
    if FLAGS.format != "saved_model":
        if "dataset" in settings:
            options["check_data"] = test_examples(settings, preprocessing)
        write = getattr(export, FLAGS.format)
        write(predictor, output, weights=FLAGS.weights, **options)
        return
    inputs = None
    if FLAGS.sampling and predictor.batch_norm != "moving_average":
        inputs = training_images(settings, FLAGS.sampling_examples)
    export.saved_model(
        predictor,
        output,
        form=FLAGS.form,
        sampling=FLAGS.sampling,
        sampling_inputs=inputs,
        **options,
    )
    size = size_of(output) / 2**20
    print(f"written: {output}, {predictor.num_draws} draws, {size:.2f} MiB")
    if predictor.rejection is not None:
        print(
            f"unknown: {predictor.rejection.score} above "
            f"{predictor.rejection.threshold:.4f}"
        )


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


def test_examples(settings: dict, preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Returns the test images, as the file takes them, and their labels."""
    batches = zip(*common.load_data(settings).test, strict=True)
    images, labels = (np.concatenate(x) for x in batches)
    if preprocessing is not None:
        images = 255 * (images * preprocessing.std + preprocessing.mean)
        images = np.rint(images).clip(0, 255).astype("uint8")
    return images, labels


if __name__ == "__main__":
    common.run(main)
