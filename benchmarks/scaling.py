r"""A training step on one device, on two devices, and on two workers.

    python benchmarks/scaling.py

The plain network and the hypernetwork, by the ordinary path and by the fast generator,
are trained by `tfhyper.training.Trainer` with one global batch: on one CPU device, on
two logical devices of one process, and in two processes that talk over loopback. Each
runs in processes of its own, the systems in turn, several times. Measured are the
median seconds of a step, the bytes of gradients that a replica hands to the all-reduce
(counted where the step is traced), and, for two workers, the bytes that the loopback
device carried for each step. Two devices share the cores of one here, so that this
shows what distribution costs, not what it gains.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from absl import app, flags

# First, for what it imports before TensorFlow.
from networks import PLAIN, SETTINGS, settings  # isort: skip
import keras
import numpy as np
from report import markdown_table, provenance, read_json, show_own_flags, write_json
from workload import batch

from tfhyper import models, training

FLAGS = flags.FLAGS
FLAGS.set_default("depth", 10)
flags.DEFINE_integer("rounds", 10, "Steps that are timed, after two that are not.")
flags.DEFINE_integer("repeats", 3, "Runs of each system; the median is taken.")
flags.DEFINE_string("output", "benchmarks/results/scaling.json", "The JSON.")
flags.DEFINE_string("system", None, "Measure this one, in this process.")
flags.DEFINE_string("layout", None, "On these devices.")

LAYOUTS = ("one device", "two devices", "two workers")
# Name -> (kit, whether by the fast generator).
SYSTEMS = {
    PLAIN: ("deterministic", False),
    "hypernetwork, ordinary path": ("hyper", False),
    "hypernetwork, fast generator": ("hyper", True),
}
CHILD_FLAGS = (*SETTINGS, "rounds")
MIB = 2**20


def loopback_bytes() -> int | None:
    """Returns what the loopback device has carried; `None` where it is not known."""
    try:
        with open("/proc/net/dev") as file:
            (line,) = (x for x in file if x.split(":")[0].strip() == "lo")
    except (OSError, ValueError):
        return None
    return int(line.split(":")[1].split()[0])


def count_gradients(tf) -> list[int]:
    """Returns a list that gets the bytes of the gradients of each step traced."""
    found = []
    replica_context = tf.distribute.ReplicaContext
    all_reduce = replica_context.all_reduce

    def counting(self, op, value, options=None):
        # Gradients come as a list; the moments of BatchNorm one by one.
        if isinstance(value, list):
            found.append(sum(int(np.prod(x.shape)) * x.dtype.size for x in value))
        return all_reduce(self, op, value, options)

    replica_context.all_reduce = counting
    return found


def measure() -> dict:
    """Returns what one system takes on one layout, in this process."""
    import tensorflow as tf

    if FLAGS.layout == LAYOUTS[1]:
        (cpu,) = tf.config.list_physical_devices("CPU")
        part = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [part] * 2)
    strategy = training.make_strategy(
        dict(zip(LAYOUTS, ("none", "mirrored", "multi_worker"), strict=True))[
            FLAGS.layout
        ]
    )
    gradients = count_gradients(tf)
    kit, fast = SYSTEMS[FLAGS.system]
    x, y = batch()
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = models.wide_resnet(
            FLAGS.depth, FLAGS.width, input_shape=x.shape[1:], kit=kit
        )
        training.compile_recipe(model, 10, 100, fast_generator=fast)
    trainer = training.Trainer(model, fast_generator=fast, steps_per_call=1)
    if fast and trainer.why_not_fast:
        raise ValueError(f"No fast generator: {'; '.join(trainer.why_not_fast)}")
    seconds, now = [], []

    def after_call(epoch, step):
        seconds.append(time.perf_counter())
        now.append(loopback_bytes())

    dataset = tf.data.Dataset.from_tensors((x, y)).repeat()
    trainer.fit(
        dataset,
        epochs=1,
        steps_per_epoch=FLAGS.rounds + 3,
        verbose=0,
        after_call=after_call,
    )
    result = {
        "seconds": statistics.median(np.diff(seconds)[2:]),
        "gradient_bytes": gradients[-1],
    }
    if FLAGS.layout == LAYOUTS[2] and None not in now:
        result["loopback_bytes"] = float(statistics.median(np.diff(now)[2:]))
    return result


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def measure_apart(name: str, layout: str) -> dict:
    """Returns the same, measured in fresh processes."""
    workers = 2 if layout == LAYOUTS[2] else 1
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(workers)]
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for i in range(workers):
            path = os.path.join(folder, f"{i}.json")
            flags_now = [f"--{k}={FLAGS[k].value}" for k in CHILD_FLAGS]
            command = [sys.executable, __file__, *flags_now, f"--output={path}"]
            command += [f"--system={name}", f"--layout={layout}"]
            task = {"type": "worker", "index": i}
            config = {"cluster": {"worker": addresses}, "task": task}
            environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
            processes.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            )
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError(f"{name}, {layout}: exit codes {codes}")
        return read_json(os.path.join(folder, "0.json"))


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if FLAGS.system:
        write_json(FLAGS.output, measure())
        return
    found = {(name, layout): [] for layout in LAYOUTS for name in SYSTEMS}
    for i in range(FLAGS.repeats):
        for (name, layout), runs in found.items():
            runs.append(measure_apart(name, layout))
            print(f"{i + 1}/{FLAGS.repeats} {name}, {layout}: {runs[-1]}", flush=True)
    results, rows = {}, []
    for (name, layout), runs in found.items():
        row = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        row["seconds_range"] = [f(run["seconds"] for run in runs) for f in (min, max)]
        # Of the same repeat, as all but the systems changes from one to the next.
        for key, other in (
            ("ratio_to_plain", found[PLAIN, layout]),
            ("ratio_to_one_device", found[name, LAYOUTS[0]]),
        ):
            pairs = zip(runs, other, strict=True)
            ratios = [run["seconds"] / base["seconds"] for run, base in pairs]
            row[key] = statistics.median(ratios)
        if layout != LAYOUTS[0]:
            plain = results[f"{PLAIN}, {layout}"] if name != PLAIN else row
            row["bytes_to_plain"] = row["gradient_bytes"] / plain["gradient_bytes"]
        results[f"{name}, {layout}"] = row
        cells = [f"{row['seconds']:.3f}", f"{row['ratio_to_plain']:.2f}"]
        cells += [f"{row['ratio_to_one_device']:.2f}"]
        if layout == LAYOUTS[0]:
            cells += ["-", "-"]
        else:
            megabytes = row["gradient_bytes"] / MIB
            cells += [f"{megabytes:.2f}", f"{row['bytes_to_plain']:.2f}"]
        carried = row.get("loopback_bytes")
        cells += ["-" if carried is None else f"{carried / MIB:.2f}"]
        rows.append([layout, name, *cells])
    header = ["layout", "system", "seconds a step", "to plain", "to one device"]
    header += ["gradients, MiB", "to plain", "over loopback, MiB"]
    print(markdown_table(header, rows))
    content = {
        "what": "a training step on several devices, and what crosses between them",
        "data": "random images",
        "settings": settings("rounds", "repeats"),
        **provenance(()),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
