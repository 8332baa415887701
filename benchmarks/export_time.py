r"""Exported ensembles: sizes, load times, parity and latency in each runtime.

    python benchmarks/export_time.py

Trains a wide residual network with hypernetworks, draws its members and writes them
in all formats. Each file is run in a fresh process, without Keras and tfhyper, beside
the predictor. Latency is the time of one batch over that of as many plain Keras
networks, one after the other; the systems take turns. --only takes onnx, litert and
openvino. The training resumes by itself
from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import json
import shutil
import subprocess
import sys
import time

import common
import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging
from load_exported import OPEN
from report import markdown_table, provenance, show_own_flags, write_json
from timing import time_systems

import tfhyper
from tfhyper import export, models, training
from tfhyper.export.runtimes import size_of

FLAGS = flags.FLAGS
flags.DEFINE_integer("depth", 16, "Depth of the network.", lower_bound=10)
flags.DEFINE_integer("width", 2, "Width of the network.", lower_bound=1)
flags.DEFINE_integer("epochs", 5, "Epochs.", lower_bound=1)
flags.DEFINE_integer("batch_size", 64, "Images in a batch of the training.")
flags.DEFINE_list("batches", ["1", "32", "256"], "Batch sizes that are timed.")
flags.DEFINE_integer("rounds", 7, "Rounds that are timed.", lower_bound=1)
flags.DEFINE_integer("warm_up", 2, "Rounds before.", lower_bound=0)
flags.DEFINE_integer("images", 256, "Test images of the parity.", lower_bound=1)
flags.DEFINE_list(
    "weights", ["float32", "float16", "int8"], "How the other formats store weights."
)
flags.DEFINE_bool("cpp", True, "Compile and run the C++ program.")
FLAGS.set_default("dataset", "fashion_mnist_small")
FLAGS.set_default("data_note", "fashion_mnist_small")
FLAGS.set_default("workdir", "runs/export_time")
FLAGS.set_default("output", "benchmarks/results/export_time.json")

PLAIN = "plain Keras"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Format -> the function that writes it, and the ending of its path.
OTHERS = {
    "onnx": (export.onnx, ".onnx"),
    "litert": (export.litert, ".tflite"),
    "openvino": (export.openvino, ""),
}
# Outputs of a classifier -> their names in a prediction.
OUTPUTS = {
    "probabilities": "mean",
    "total": "total",
    "aleatoric": "aleatoric",
    "epistemic": "epistemic",
}
LOOSE = 1.0  # what other weights cost is measured here, and nothing refused


def train(settings: dict) -> tuple[tfhyper.PosteriorPredictor, tfhyper.data.Data]:
    """Returns the predictor of the trained network, and the data."""
    data = common.load_data(FLAGS.batch_size)

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        model = models.wide_resnet(
            FLAGS.depth,
            FLAGS.width,
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
        )
        return training.compile_recipe(model, FLAGS.epochs, data.steps_per_epoch)

    workdir = training.Workdir(os.path.join(FLAGS.workdir, "network"), settings)
    model, _ = training.fit_in_workdir(workdir, build, data, FLAGS.epochs, verbose=2)
    predictor = tfhyper.PosteriorPredictor(model, FLAGS.draws, seed=FLAGS.seed)
    return predictor.estimate_batch_norm(data.epoch(0), verbose=0), data


def write_files(predictor, folder: str, test: tuple) -> dict[str, dict]:
    """Returns name -> "format", "path", "bytes" and, of some, "report" of files."""
    files = {}
    for form in ("generator", "materialized"):
        path = os.path.join(folder, form)
        start = time.perf_counter()
        export.saved_model(predictor, path, form=form, overwrite=True)
        files[f"SavedModel, {form}"] = {
            "format": "saved_model",
            "path": path,
            "bytes": size_of(path),
            "export_seconds": time.perf_counter() - start,
        }
    for kind in common.chosen(OTHERS):
        write, ending = OTHERS[kind]
        for weights in FLAGS.weights:
            path = os.path.join(folder, f"{kind}_{weights}{ending}")
            start = time.perf_counter()
            report = write(
                predictor,
                path,
                overwrite=True,
                weights=weights,
                tolerance=None if weights == "float32" else LOOSE,
                check_data=test,
            )
            files[f"{kind}, {weights}"] = {
                "format": kind,
                "path": path,
                "bytes": report.size,
                "export_seconds": time.perf_counter() - start,
                "scores": report.scores,
            }
    return files


def run_alone(file: dict, images: np.ndarray, folder: str) -> tuple[dict, dict]:
    """Returns the seconds and the outputs of a file in a process of its own."""
    inputs, outputs = (os.path.join(folder, x) for x in ("inputs.npy", "outputs.npz"))
    np.save(inputs, images)
    script = os.path.join(ROOT, "benchmarks", "load_exported.py")
    command = [sys.executable, script, file["format"], file["path"], inputs, outputs]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    printed = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
    with np.load(outputs) as found:
        return json.loads(printed.splitlines()[-1]), dict(found)


def run_cpp(program: str, path: str, images: np.ndarray, folder: str) -> dict:
    """Returns the outputs of a SavedModel in the C++ program."""
    raw = os.path.join(folder, "inputs.raw")
    images.tofile(raw)
    shape = ",".join(map(str, images.shape))
    found = {}
    for signature in ("serving_default", "members"):
        command = [program, path, signature, "inputs", shape, raw]
        printed = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        for entry in map(json.loads, printed.splitlines()):
            found[entry["name"]] = np.reshape(entry["values"], entry["shape"])
    return found


def compile_cpp(folder: str) -> str | None:
    """Returns the path of the C++ program, or None where there is to be none."""
    if not FLAGS.cpp:
        return None
    if shutil.which("g++") is None:
        print("there is no g++: the C++ program is left out")
        return None
    program = os.path.join(folder, "predict")
    script = os.path.join(ROOT, "examples", "serve", "cpp", "build.sh")
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["bash", script, program], check=True, env=environment)
    return program


def parity(found: dict, prediction) -> float:
    """Returns the largest absolute difference over all outputs."""
    expected = {key: getattr(prediction, name) for key, name in OUTPUTS.items()}
    expected["members"] = prediction.members.swapaxes(0, 1)
    return max(
        float(np.abs(found[key] - value).max()) for key, value in expected.items()
    )


def plain_networks(predictor):
    """Returns a function of images that runs as many plain networks."""
    networks = [predictor.materialize(i) for i in range(predictor.num_draws)]
    functions = [
        tf.function(lambda x, network=network: network(x, training=False))
        for network in networks
    ]

    def predict(images):
        images = tf.constant(images)
        return [function(images).numpy() for function in functions]

    return predict


def time_files(predictor, files: dict, images: np.ndarray) -> dict:
    """Returns batch size -> name -> times."""
    systems = {PLAIN: plain_networks(predictor)}
    for name, file in files.items():
        systems[name] = OPEN[file["format"]](file["path"])[0]
    found = {}
    for size in map(int, FLAGS.batches):
        batch = np.resize(images, (size, *images.shape[1:]))
        steps = {
            name: (lambda predict=predict, batch=batch: predict(batch), PLAIN)
            for name, predict in systems.items()
        }
        print(f"== batches of {size}")
        found[str(size)] = time_systems(steps, FLAGS.warm_up, FLAGS.rounds)
    return found


def table(results: dict, latency: dict) -> str:
    """Returns the results as a Markdown table."""
    rows = []
    for name, row in [(PLAIN, {}), *results.items()]:
        scores = row.get("scores", {}).get("file")
        times = []
        for found in latency.values():
            time_of = found[name]
            low, high = time_of["ratio_quartiles"]
            times.append(f"{time_of['ratio']:.2f} ({low:.2f} to {high:.2f})")
        parities = [row[key] for key in ("parity", "parity_cpp") if key in row]
        rows.append(
            [
                name,
                f"{row['bytes'] / 2**20:.2f}" if row else "-",
                f"{row['load_seconds']:.2f}" if row else "-",
                " / ".join(f"{value:.1e}" for value in parities) or "-",
                f"{100 * scores['error']:.2f} / {scores['nll']:.4f}" if scores else "-",
                *times,
            ]
        )
    header = ["file", "MiB", "load s", "parity (/ C++)", "error % / NLL"]
    header += [f"latency, batch {size}" for size in latency]
    return markdown_table(header, rows)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    logging.set_verbosity(logging.WARNING)  # each export says where it writes
    settings = common.flag_values("depth", "width", "epochs", "batch_size")
    # Folders from before the generators' weights decayed are refused.
    settings["decay_generator"] = True
    predictor, data = train(settings)
    images, labels = (np.concatenate(x) for x in zip(*data.test, strict=True))
    folder = os.path.abspath(os.path.join(FLAGS.workdir, "files"))
    os.makedirs(folder, exist_ok=True)
    results = write_files(predictor, folder, (images, labels))
    some = np.ascontiguousarray(images[: FLAGS.images], dtype="float32")
    prediction = predictor.predict(some)
    program = compile_cpp(folder)
    for name, file in results.items():
        print(f"== {name}")
        seconds, found = run_alone(file, some, folder)
        file.update(seconds, parity=parity(found, prediction))
        if program and file["format"] == "saved_model":
            found = run_cpp(program, file["path"], some, folder)
            file["parity_cpp"] = parity(found, prediction)
    latency = time_files(predictor, results, some)
    for file in results.values():
        del file["path"]
    print(table(results, latency))
    content = {
        "what": f"{FLAGS.draws} members of WRN-{FLAGS.depth}-{FLAGS.width}, exported: "
        "bytes, seconds to load, largest difference to the predictor, and the time of "
        f"a batch over that of {FLAGS.draws} plain Keras networks",
        "data": FLAGS.data_note,
        "settings": {**settings, "rounds": FLAGS.rounds, "images": len(some)},
        **provenance(("onnxruntime", "tf2onnx", "ai-edge-litert", "openvino")),
        "scores": common.score(labels, predictor.predict(images).members),
        "plain_parameters": FLAGS.draws * predictor.materialize(0).count_params(),
        "results": results,
        "latency": latency,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
