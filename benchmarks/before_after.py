r"""Two versions of the package against each other: time of steps and of predictions.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py --before=../before

Each version has a process of its own, which waits while the other works: they take
turns, part by part, within each round. A ratio is the median over the rounds of the
time of this version over that of the one before. Memory is the highest resident memory
of a process that does nothing but one part.
"""

import functools
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json
from timing import ratio

FLAGS = flags.FLAGS
flags.DEFINE_string("before", None, "A checkout of the version before.")
flags.DEFINE_string("after", None, "One of the other version; this one by default.")
flags.DEFINE_integer("depth", 16, "Of the wide residual network.")
flags.DEFINE_integer("width", 2, "Of the wide residual network.")
flags.DEFINE_integer("steps", 5, "Steps of training in a part.")
flags.DEFINE_integer("warm_up", 2, "Rounds that are not timed.")
flags.DEFINE_integer("rounds", 15, "Rounds that are.")
flags.DEFINE_bool("memory", True, "Measure memory, too, in processes of its own.")
flags.DEFINE_string("output", "benchmarks/results/before_after.json", "The JSON.")
flags.DEFINE_bool("work", False, "Be the process of one version.")

BATCH = 32


class Workload:
    """Networks of a process, which are made when they are first needed."""

    def __init__(self) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(8 * BATCH, 32, 32, 3)).astype("float32")
        y = np.arange(len(self.x)) % 10
        data = tf.data.Dataset.from_tensor_slices((self.x, y))
        self.data = data.batch(BATCH).repeat()

    def network(self):
        """Returns a compiled network of generated kernels."""
        import tfhyper

        shape, kit = (32, 32, 3), tfhyper.kits.hyper()
        model = tfhyper.models.wide_resnet(
            FLAGS.depth, FLAGS.width, input_shape=shape, kit=kit
        )
        return tfhyper.training.compile_recipe(model, 10, 100)

    @functools.cached_property
    def model(self):
        """A network for `fit`."""
        return self.network()

    @functools.cached_property
    def trainer(self):
        """A network in a `Trainer`."""
        import tfhyper

        return tfhyper.training.Trainer(self.network())

    @functools.cached_property
    def predictor(self):
        """Draws of a network, with their moments, by a name that all versions know."""
        import tfhyper

        found = tfhyper.PosteriorPredictor(self.network(), num_draws=8)
        return found.calibrate(self.x, verbose=0)

    def train(self, by) -> None:
        """Trains some steps, by a model or a trainer."""
        by.fit(self.data, epochs=1, steps_per_epoch=FLAGS.steps, verbose=0)


# Name -> what is timed.
PARTS = {
    "fit": lambda work: work.train(work.model),
    "Trainer.fit": lambda work: work.train(work.trainer),
    "predict, 256 images": lambda work: work.predictor.predict(work.x),
    "predict, 8 images": lambda work: work.predictor.predict(work.x[:8]),
    "estimate_batch_norm": lambda work: work.predictor.calibrate(work.x, verbose=0),
}


def work() -> None:
    """Does the parts that are named on standard input, and answers with numbers."""
    workload = Workload()
    for line in sys.stdin:
        start = time.perf_counter()
        PARTS[line.strip()](workload)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"did {seconds} {peak}", flush=True)


class Version:
    """A process of one version.

    Args:
        folder: the checkout that it imports the package from.
    """

    def __init__(self, folder: str):
        options = [f"--{name}={FLAGS[name].value}" for name in ("depth", "width")]
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", f"--steps={FLAGS.steps}", *options],
            env={**os.environ, "PYTHONPATH": os.path.abspath(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> "Version":
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()

    def do(self, part: str) -> tuple[float, int]:
        """Returns the seconds of a part, and the highest memory so far, in KiB."""
        self._process.stdin.write(part + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("did "):
                _, seconds, peak = line.split()
                return float(seconds), int(peak)
        self._log.seek(0)
        raise RuntimeError(f"{part} ended badly:\n{self._log.read()[-2000:]}")


def measure(folders: dict[str, str]) -> dict[str, dict]:
    """Returns seconds, ratios and memory of each part."""
    seconds = {part: {name: [] for name in folders} for part in PARTS}
    with Version(folders["before"]) as before, Version(folders["after"]) as after:
        versions = {"before": before, "after": after}
        for i in range(FLAGS.warm_up + FLAGS.rounds):
            # Who comes first changes: what follows on it may cost the other.
            order = list(versions.items())[:: 1 if i % 2 else -1]
            for part in PARTS:
                for name, version in order:
                    seconds[part][name].append(version.do(part)[0])
            print(f"round {i + 1} of {FLAGS.warm_up + FLAGS.rounds}", file=sys.stderr)
    found = {}
    for part, both in seconds.items():
        timed = {name: np.array(s[FLAGS.warm_up :]) for name, s in both.items()}
        found[part] = {
            **{f"seconds_{name}": float(np.median(s)) for name, s in timed.items()},
            **ratio(timed["after"], timed["before"]),
        }
        if FLAGS.memory:
            mib = {f"mib_{name}": _memory(folders[name], part) for name in folders}
            found[part] |= {**mib, "memory": mib["mib_after"] / mib["mib_before"]}
    return found


def _memory(folder, part):
    with Version(folder) as version:
        peaks = [version.do(part)[1] for _ in range(3)]
    return max(peaks) / 2**10


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if FLAGS.work:
        work()
        return
    if FLAGS.before is None:
        raise app.UsageError("--before must be a checkout of the version before")
    here = str(pathlib.Path(__file__).parents[1])
    found = measure({"before": FLAGS.before, "after": FLAGS.after or here})
    rows = [
        [
            part,
            f"{row['ratio']:.3f}",
            "{:.3f} to {:.3f}".format(*row["ratio_quartiles"]),
            f"{1e3 * row['seconds_before']:.0f}",
            f"{row['memory']:.3f}" if "memory" in row else "-",
        ]
        for part, row in found.items()
    ]
    header = ["part", "time, ratio", "quartiles", "before, ms", "memory, ratio"]
    print(markdown_table(header, rows))
    settings = {k: FLAGS[k].value for k in ("depth", "width", "steps", "rounds")}
    what = "time and memory of this version over those of the one before"
    write_json(
        FLAGS.output,
        {"what": what, "settings": settings, **provenance(), "parts": found},
    )


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
