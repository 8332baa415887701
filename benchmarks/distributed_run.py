r"""Real trainings on two devices and on two workers, stopped and resumed in the middle.

    python benchmarks/distributed_run.py --data_dir=DIR

`examples/train.py` trains a hypernetwork on CIFAR-10 (JPEG): on one device; on two
logical devices, once undisturbed and once told to end (SIGTERM) in the middle of an
epoch and started again; and on two worker processes, once undisturbed and once with
the second worker killed (SIGKILL) after the first checkpoint, and both started again.
The table says whether the resumed trainings ended with the same bits, and how far each
is from the training on one device, whose rounding differs.
"""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile

import h5py
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, read_json, write_json

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "cifar10", "A name that tfhyper.data.load knows.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_string("data_note", "CIFAR-10 (JPEG)", "How tables call the data.")
flags.DEFINE_integer("train_examples", 5000, "First so many images.")
flags.DEFINE_integer("test_examples", 2000, "First so many images.")
flags.DEFINE_integer("epochs", 5, "Epochs.")
flags.DEFINE_integer("depth", 10, "Depth of the wide residual network.")
flags.DEFINE_integer("width", 1, "Width of the wide residual network.")
flags.DEFINE_float("learning_rate", 0.1, "First learning rate.")
flags.DEFINE_integer("draws", 8, "N of xN.")
flags.DEFINE_string("workdir", "runs/distributed", "Where trainings are kept.")
flags.DEFINE_string("output", "benchmarks/results/distributed_run.json", "The JSON.")

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PASSED_ON = "dataset data_dir train_examples test_examples epochs depth width".split()
PASSED_ON += ["learning_rate", "draws"]
ONE = "one device"
# Name -> (--strategy, workers, what ends it in the middle, the same undisturbed).
RUNS = {
    ONE: ("none", 1, None, ONE),
    "two devices": ("mirrored", 1, None, "two devices"),
    "two devices, SIGTERM": ("mirrored", 1, signal.SIGTERM, "two devices"),
    "two workers": ("multi_worker", 2, None, "two workers"),
    "two workers, SIGKILL": ("multi_worker", 2, signal.SIGKILL, "two workers"),
}


def start(folder: str, strategy: str, workers: int) -> list[subprocess.Popen]:
    """Starts the processes of one training."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    command = [sys.executable, os.path.join(ROOT, "examples", "train.py")]
    command += [f"--workdir={folder}", f"--strategy={strategy}"]
    command += [f"--{name}={FLAGS[name].value}" for name in PASSED_ON]
    if strategy == "mirrored":
        command.append("--logical_devices=2")
    processes = []
    for i in range(workers):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker"}}
        task["task"]["index"] = i
        environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
        with open(os.path.join(folder, f"log_{i}.txt"), "a") as log:
            processes.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            )
    return processes


def train(name: str) -> dict:
    """Returns the scores of a training, and how it was stopped, if it was."""
    strategy, workers, ending, _ = RUNS[name]
    folder = os.path.join(FLAGS.workdir, name.replace(", ", "_").replace(" ", "_"))
    os.makedirs(folder, exist_ok=True)
    done = os.path.join(folder, "done.json")
    found = read_json(done)
    if found is None:
        print(f"== {name}: {folder}", flush=True)
        found = {}
        if ending is not None:
            found["stopped"] = stop_in_the_middle(folder, strategy, workers, ending)
        began = time.time()
        codes = [process.wait() for process in start(folder, strategy, workers)]
        if any(codes):
            raise RuntimeError(f"{name}: exit codes {codes}; see {folder}/log_0.txt")
        found["seconds"] = time.time() - began
        found["scores"] = read_json(os.path.join(folder, "scores.json"))
        write_json(done, found)
    return {**found, "folder": folder}


def stop_in_the_middle(folder, strategy, workers, ending) -> dict:
    """Starts a training, ends it in its second epoch; returns what was left."""
    processes = start(folder, strategy, workers)
    first = os.path.join(folder, "checkpoint-00001.keras")
    while not os.path.exists(first):
        if any(process.poll() is not None for process in processes):
            raise RuntimeError(f"it ended by itself; see {folder}/log_0.txt")
        time.sleep(0.05)
    time.sleep(1.0)
    processes[-1].send_signal(ending)
    sent = time.time()
    codes = [process.wait() for process in processes]
    files = sorted(x for x in os.listdir(folder) if x.startswith("checkpoint"))
    return {
        "exit_codes": codes,
        "seconds_until_all_ended": time.time() - sent,
        "checkpoints": files,
    }


def weights(folder: str) -> dict[str, np.ndarray]:
    """Returns all numbers of the last checkpoint, those of the optimizer too."""
    path = os.path.join(folder, f"checkpoint-{FLAGS.epochs:05d}.keras")
    found = {}
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: np.array(item)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    results = {name: train(name) for name in RUNS}
    one = weights(results[ONE]["folder"])
    rows = []
    for name, result in results.items():
        mine, whole = (weights(results[x]["folder"]) for x in (name, RUNS[name][-1]))
        result["bit_equal"] = all(np.array_equal(mine[k], whole[k]) for k in whole)
        result["largest_difference"] = max(
            float(np.abs(mine[k].astype("float64") - one[k]).max()) for k in one
        )
        singles, many = (result["scores"][k] for k in ("x1", f"x{FLAGS.draws}"))
        stopped = result.get("stopped")
        rows.append(
            [
                name,
                str(stopped["exit_codes"]) if stopped else "-",
                ("yes" if result["bit_equal"] else "no") if stopped else "-",
                f"{result['largest_difference']:.2g}",
                f"{100 * singles['error']:.2f} / {100 * many['error']:.2f}",
                f"{singles['nll']:.3f} / {many['nll']:.3f}",
                f"{result['seconds']:.0f}",
            ]
        )
    for result in results.values():
        del result["folder"]
    header = ["training", "exit codes", "same bits", "from one device"]
    many = f"x{FLAGS.draws}"
    header += [f"error %, x1 / {many}", f"NLL, x1 / {many}", "seconds"]
    print(markdown_table(header, rows))
    names = [*PASSED_ON[:1], *PASSED_ON[2:], "data_note"]
    content = {
        "what": "trainings on several devices, stopped in the middle and resumed",
        "data": FLAGS.data_note,
        "settings": {name: FLAGS[name].value for name in names},
        **provenance(()),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    app.run(main)
