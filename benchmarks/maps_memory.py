r"""The memory of evaluating maps: with many draws beside one.

    python benchmarks/maps_memory.py

200 maps of 240 x 180 pixels and 11 classes, by a network of one convolution and dropout
that draws. Each number of draws is evaluated in a process of its own, in turns; told is
how much memory that took at most, above what the process held when its data were there.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import multiprocessing
import resource
import statistics

from absl import app, flags
from report import provenance, write_json

FLAGS = flags.FLAGS
flags.DEFINE_integer("maps", 200, "How many maps.")
flags.DEFINE_integer("height", 180, "Of a map, in pixels.")
flags.DEFINE_integer("width", 240, "Of a map, in pixels.")
flags.DEFINE_integer("classes", 11, "How many classes.")
flags.DEFINE_integer("batch_size", 8, "Maps in a batch.")
flags.DEFINE_integer("draws", 16, "Beside one draw.")
flags.DEFINE_integer("rounds", 3, "How often each is measured.")
flags.DEFINE_string("output", "benchmarks/results/maps_memory.json", "The results.")


def evaluate(draws: int, sizes: tuple[int, ...], batch_size: int, found) -> None:
    """Puts the largest memory of an evaluation, and that before it, MiB, in a queue."""
    import keras
    import numpy as np

    import tfhyper

    count, height, width, classes = sizes
    keras.utils.set_random_seed(0)
    inputs = keras.Input((height, width, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    hidden = tfhyper.layers.MCDropout(0.5)(hidden)
    outputs = keras.layers.Conv2D(classes, 1)(hidden)
    predictor = tfhyper.PosteriorPredictor(keras.Model(inputs, outputs), draws)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, height, width, 3)).astype("float32")
    y = rng.integers(0, classes, (count, height, width)).astype("int8")
    predictor.evaluate(x[:batch_size], y[:batch_size], batch_size=batch_size)
    before = _peak()
    scores = predictor.evaluate(x, y, batch_size=batch_size)
    found.put((_peak(), before, scores["nll"]))


def _peak() -> float:
    """Returns the most memory that the process held so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(draws: int, sizes: tuple[int, ...], batch_size: int) -> dict[str, float]:
    """Returns what one evaluation took, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    arguments = (draws, sizes, batch_size, found)
    process = context.Process(target=evaluate, args=arguments)
    process.start()
    peak, before, nll = found.get(timeout=3600)
    process.join()
    return {"draws": draws, "peak": peak, "before": before, "nll": nll}


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    sizes = (FLAGS.maps, FLAGS.height, FLAGS.width, FLAGS.classes)
    rows = []
    for _ in range(FLAGS.rounds):
        for draws in (1, FLAGS.draws):
            rows.append(measured(draws, sizes, FLAGS.batch_size))
            print(rows[-1], flush=True)
    peaks = {
        draws: statistics.median(x["peak"] for x in rows if x["draws"] == draws)
        for draws in (1, FLAGS.draws)
    }
    ratio = peaks[FLAGS.draws] / peaks[1]
    content = {
        "what": "the largest memory of evaluate over maps, MiB: many draws and one",
        **provenance(),
        "maps": dict(zip(("count", "height", "width", "classes"), sizes)),
        "batch_size": FLAGS.batch_size,
        "rows": rows,
        "median_peaks": peaks,
        "ratio": ratio,
    }
    write_json(FLAGS.output, content)
    print(f"{FLAGS.draws} draws: {ratio:.3f} times the memory of one")


if __name__ == "__main__":
    app.run(main)
