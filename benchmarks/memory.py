r"""Peak memory of a training step against that of the same plain network.

    python benchmarks/memory.py

Each system is measured in a process of its own, several times. Its memory is the
highest resident memory of the process less what was resident before the network was
made, with the framework and its compiler loaded and used: "steps" is that of the
steps after the first, "all" includes making the network, compiling and the first step.
On a GPU both are the highest number of bytes that the framework has taken there.

For our hypernetworks it also says whether the memory of the steps is within that of
the plain network and `BOUND` times the bytes of the generators: their weights, one
slot of momentum, and a tenth of both for what is temporary.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from absl import app, flags

# First, for what it imports before TensorFlow.
from networks import PLAIN, chosen, hypernetworks, members, rivals, settings  # isort: skip
import keras
from report import markdown_table, provenance, read_json, show_own_flags, write_json
from workload import batch

FLAGS = flags.FLAGS
FLAGS.set_default("depth", 28)
FLAGS.set_default("width", 4)
flags.DEFINE_integer("steps", 3, "Steps after the first, whose peak is taken.")
flags.DEFINE_integer("repeats", 3, "Processes of each system; the median is taken.")
flags.DEFINE_string("output", "benchmarks/results/memory.json", "The JSON.")
flags.DEFINE_string("system", None, "Measure this one, in this process.")

BOUND = 2.2
MIB = 2**20


class ResidentMemory:
    """The memory of this process, as Linux counts it."""

    def _read(self, name):
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith(name))
        return 1024 * int(line.split()[1])

    def start(self):
        """Sets what is resident now as zero."""
        self._before = self._read("VmRSS")
        self.forget()

    def forget(self):
        """Sets the peak to what is resident now."""
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")

    def peak(self):
        return self._read("VmHWM") - self._before


class TensorFlowDevice:
    """The memory that TensorFlow has taken on the first GPU."""

    def start(self):
        self._before = self._info()["current"]
        self.forget()

    def _info(self):
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")

    def forget(self):
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")

    def peak(self):
        return self._info()["peak"] - self._before


class JaxDevice:
    """The memory that JAX has taken on the first GPU; its peak is never reset."""

    def _info(self):
        import jax

        return jax.local_devices()[0].memory_stats()

    def start(self):
        self._before = self._info()["bytes_in_use"]

    def forget(self):
        pass

    def peak(self):
        return self._info()["peak_bytes_in_use"] - self._before


def memory():
    """Returns what measures the memory that the backend trains in."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return (
            TensorFlowDevice()
            if tf.config.list_physical_devices("GPU")
            else (ResidentMemory())
        )
    if backend == "jax":
        import jax

        if jax.default_backend() == "gpu":
            return JaxDevice()
    return ResidentMemory()


def use_framework() -> None:
    """Has the code of the backend, and of XLA, in memory: it is not the network's."""
    ones = keras.ops.ones((9, 9))
    keras.ops.convert_to_numpy(keras.ops.matmul(ones, ones))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.function(tf.matmul, jit_compile=True)(ones, ones)


def measure(make) -> dict:
    """Returns the bytes of one system, measured in this process."""
    use_framework()
    batch()
    used = memory()
    used.start()
    step, generator = make()
    step()
    first = used.peak()
    used.forget()
    for _ in range(FLAGS.steps):
        step()
    steps = used.peak()
    return {"steps": steps, "all": max(first, steps), "generator": generator}


def measure_apart(name: str, repeats: int) -> dict:
    """Returns the median bytes of one system, each time in a fresh process."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "memory.json")
            flags_now = [f"--{k}={FLAGS[k].value}" for k in CHILD_FLAGS]
            command = [sys.executable, __file__, *flags_now]
            command += [f"--system={name}", f"--output={path}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found.append(read_json(path))
    return {
        **{key: statistics.median(f[key] for f in found) for key in found[0]},
        "steps_range": [f(x["steps"] for x in found) for f in (min, max)],
    }


CHILD_FLAGS = ("depth", "width", "batch_size", "size", "precision", "steps")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    systems = {**hypernetworks(), **members(), **rivals()}
    if FLAGS.system:
        make, _ = systems[FLAGS.system]
        write_json(FLAGS.output, measure(make))
        return
    results = {}
    for name, (_, plain) in chosen(systems).items():
        row = {**measure_apart(name, FLAGS.repeats), "against": plain}
        print(name, json.dumps(row), flush=True)
        results[name] = row
    rows = []
    for name, row in results.items():
        more = row["steps"] - results[row["against"]]["steps"]
        row["more_than_plain"] = more
        verdict = "-"
        if row["generator"]:
            row["in_generators"] = more / row["generator"]
            verdict = f"{row['in_generators']:.2f}"
        if row["generator"] and row["against"] == PLAIN:
            row["within_bound"] = row["in_generators"] <= BOUND
        sizes = [f"{row[key] / MIB:.0f}" for key in ("steps", "all", "generator")]
        rows.append([name, *sizes, f"{more / MIB:.0f}", verdict])
    header = ["system", "steps, MiB", "all, MiB", "generators, MiB"]
    header += ["more than plain, MiB", "that over generators"]
    print(markdown_table(header, rows))
    content = {
        "what": "bytes, highest of a training step",
        "data": "random images",
        "settings": {**settings("steps", "repeats"), "bound": BOUND},
        **provenance(("tf_keras", "jax", "torch", "bayesian-torch", "hypnettorch")),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
