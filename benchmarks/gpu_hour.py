r"""What one GPU does with the networks of the paper, in at most eight minutes.

    python benchmarks/gpu_hour.py --output=gpu_hour.json

It needs JAX, Keras and NumPy, and no TensorFlow. As far as the time goes, it measures
the matrix products of the card, against which the rest is held; steps of training of
WRN-28-4 and WRN-28-10, plain and with hypernetworks in turns, in bfloat16 and float32,
and the memory of each; predictions of 16 draws against 16 of the plain network; and
then, until the end, epochs of WRN-28-4 with hypernetworks, on the images in the package
or on --data_dir/NAME.npz. The JSON is written after each part, and when the time is
over the process ends, whatever it is at. `paper.py --rate=gpu_hour.json` takes its
rates.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import dataclasses
import functools
import gc
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import keras
import npz_data
import numpy as np
from absl import app, flags
from jax_steps import State, memory_of, put_state, state_of, step_of
from report import markdown_table, provenance, write_json
from timing import ratio, take_turns

import tfhyper
from tfhyper import analysis, kits, metrics, models, training

START = time.monotonic()
FLAGS = flags.FLAGS
flags.DEFINE_float("minutes", 7.5, "When it ends, counted from the end of its imports.")
flags.DEFINE_float("train_minutes", 2.0, "Of these, what is kept for the epochs.")
flags.DEFINE_list("networks", ["28-4", "28-10"], "Wide residual: DEPTH-WIDTH.")
flags.DEFINE_list("units", ["32", "16"], "Of the hypernetworks of each: section 4.3.")
flags.DEFINE_list("precisions", ["bfloat16", "float32"], "Of the layers.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_integer("size", 32, "Height and width of the random images.")
flags.DEFINE_integer("rounds", 8, "Rounds that are timed.")
flags.DEFINE_integer("steps", 10, "Steps in a round.")
flags.DEFINE_integer("draws", 16, "N of the predictions.")
flags.DEFINE_integer("images", 2048, "To predict.")
flags.DEFINE_integer("matmul", 8192, "Size of the matrices whose product is timed.")
flags.DEFINE_float("peak", None, "10^12 operations per second in bfloat16, if unknown.")
flags.DEFINE_string("dataset", "fashion_mnist_small", "What the epochs train on.")
flags.DEFINE_string("data_dir", None, "Folder of its .npz: see npz_data.py.")
flags.DEFINE_integer("train_examples", None, "First so many images; all by default.")
flags.DEFINE_integer("max_epochs", None, "So many at most; by default all that fit.")
flags.DEFINE_string("output", "benchmarks/results/gpu_hour.json", "The JSON.")

# Dense products by the makers' data sheets, 10^12 operations per second: in bfloat16,
# and of float32 as JAX computes it by default, in TF32.
PEAKS = {
    "H200": (989, 494),
    "H100": (989, 494),
    "A100": (312, 156),
    "L40S": (362, 183),
    "L4": (121, 60),
    "A10": (125, 62),
    "V100": (None, 15.7),
    "T4": (None, 8.1),
}
SETTINGS = (
    "minutes train_minutes networks units precisions batch_size size rounds steps "
    "draws images matmul dataset train_examples max_epochs"
).split()
PASSES = 3  # forward, and backward to inputs and to weights
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Network:
    """A wide residual network in a precision.

    Attributes:
        depth: its depth.
        width: its width.
        units: of its hypernetworks.
        precision: of its layers.
    """

    depth: int
    width: int
    units: int
    precision: str

    @property
    def name(self) -> str:
        """As the paper calls it."""
        return f"WRN-{self.depth}-{self.width}"

    def build(self, hyper: bool, shape: tuple[int, int, int]) -> keras.Model:
        """Returns the network, plain or in the paper's form of hypernetworks."""
        kit = kits.deterministic()
        if hyper:
            kit = kits.hyper(
                prior="uniform",
                code_units=self.units,
                hidden_units=self.units,
                mean_kernel=False,
                seed=0,
            )
        policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[self.precision]
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(0)
        return models.wide_resnet(self.depth, self.width, input_shape=shape, kit=kit)


KINDS = {"plain": False, "hypernetwork": True}


class Report:
    """The JSON, which is written whole after each part, and the time that is left."""

    def __init__(self, path: str, minutes: float):
        self.path, self.end = path, START + 60 * minutes
        self.longest = 0.0  # seconds of a part
        self._lock = threading.Lock()
        self._part = "start"
        self.content: dict[str, Any] = {
            "what": "training and prediction of wide residual networks on one device",
            "device": jax.devices()[0].device_kind,
            "settings": {
                flag.name: flag.value
                for flag in FLAGS.get_key_flags_for_module(__file__)
            },
            **provenance(("jax", "jaxlib")),
            "operations_per_second": {},
            "parts": {},
            "left_out": {},
        }
        timer = threading.Timer(self.left, self._stop)
        timer.daemon = True
        timer.start()

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.end - time.monotonic()

    def do(self, name: str, part: Callable[[], dict], need: float) -> None:
        """Does a part and writes what it gives, if the time is likely to reach.

        Args:
            name: of the part.
            part: returns JSON values.
            need: seconds that are to be left as it begins.
        """
        if self.left < need:
            self.content["left_out"][name] = f"{self.left:.0f} s were left"
            return
        self._part, start = name, time.monotonic()
        try:
            found = part()
        except Exception as error:  # out of memory, say: the other parts go on
            self.content["left_out"][name] = f"{type(error).__name__}: {error}"[:500]
        else:
            self.content["parts"][name] = found
        # What one part holds on the device is nothing to the next.
        keras.utils.clear_session()
        gc.collect()
        self.longest = max(self.longest, time.monotonic() - start)
        self.write()

    def write(self) -> None:
        """Writes the JSON."""
        self.content["seconds"] = round(time.monotonic() - START, 1)
        with self._lock:
            write_json(self.path, self.content)

    def _stop(self) -> None:
        """Writes what is there and ends the process, which may wait for a compiler."""
        with self._lock:
            self.content["left_out"][self._part] = "cut off by the end of the time"
            write_json(self.path, self.content)
            os._exit(0)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    report = Report(FLAGS.output, FLAGS.minutes)
    networks = [
        Network(*map(int, re.split("[-x]", text)), int(units), precision)
        for text, units in zip(FLAGS.networks, FLAGS.units, strict=True)
        for precision in FLAGS.precisions
    ]
    keep = 60 * FLAGS.train_minutes
    for precision in FLAGS.precisions:
        product = functools.partial(matmul, precision)
        report.do(f"matrix product, {precision}", product, keep)
    for network in sorted(networks, key=lambda n: n.width):  # the small ones first
        name = f"{network.name}, {network.precision}"
        part = functools.partial(steps, network, report)
        report.do(f"steps of {name}", part, keep + report.longest)
        if network.precision == FLAGS.precisions[0]:
            part = functools.partial(predictions, network)
            report.do(f"x{FLAGS.draws} of {name}", part, keep + report.longest)
    part = functools.partial(epochs, networks[0], report)
    report.do(f"epochs of {networks[0].name}, {networks[0].precision}", part, 1.0)
    print(summary(report.content))


def matmul(precision: str) -> dict:
    """Returns the rate of a large matrix product."""
    count = FLAGS.matmul
    a, b = jax.random.normal(jax.random.key(0), (2, count, count), precision)
    # A sum of rows, so that the next product needs the one before.
    product = jax.jit(lambda a, b: (a @ b) * (1 / count) + a)

    def several():
        x = a
        for _ in range(FLAGS.steps):
            x = product(x, b)
        jax.block_until_ready(x)

    seconds = take_turns({"": several}, 2, FLAGS.rounds)[""]
    rate = 2.0 * count**3 * FLAGS.steps / np.median(seconds)
    return {"operations_per_second": float(rate), "published": published(precision)}


def published(precision: str) -> float | None:
    """Returns the operations per second that the maker states, if they are known."""
    if FLAGS.peak is not None:
        return FLAGS.peak * 1e12 / (1 if precision == "bfloat16" else 2)
    words = jax.devices()[0].device_kind.replace("-", " ").split()
    for name, (low, full) in PEAKS.items():
        if name in words:
            found = low if precision == "bfloat16" else full
            return None if found is None else found * 1e12
    return None


def compiled_step(
    network: Network, hyper: bool, shape: tuple[int, int, int], batch: int
) -> tuple[Any, State, keras.Model, keras.optimizers.Optimizer]:
    """Returns a compiled step of training, and what it begins with."""
    model = network.build(hyper, shape)
    recipe = training.recipe_for("wide_resnet", "cifar10")
    # A rate that is a variable, and not a schedule, so that epochs need not be known.
    optimizer = training.CoupledDecaySGD(
        recipe.rates[0],
        recipe.momentum,
        recipe.nesterov,
        recipe.weight_decay,
        no_decay_roles=("posterior",),
    )
    state = state_of(model, optimizer)
    x = jax.ShapeDtypeStruct((batch, *shape), "float32")
    y = jax.ShapeDtypeStruct((batch,), "int32")
    step = jax.jit(step_of(model, optimizer), donate_argnums=0)
    return step.lower(state, x, y).compile(), state, model, optimizer


def steps(network: Network, report: Report) -> dict:
    """Returns times of training steps, of the plain network and the hypernetwork."""
    batch, shape = FLAGS.batch_size, (FLAGS.size, FLAGS.size, 3)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(batch, *shape)), "float32")
    y = jnp.asarray(rng.integers(0, 10, batch), "int32")
    functions, found = {}, {}
    for kind, hyper in KINDS.items():
        start = time.perf_counter()
        step, state, model, _ = compiled_step(network, hyper, shape, batch)
        count = analysis.complexity(model, batch)
        found[kind] = {
            "parameters": sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            "operations": 2.0 * PASSES * (count.per_image * batch + count.per_batch),
            "memory": memory_of(step),
            "seconds_to_compile": round(time.perf_counter() - start, 2),
        }
        functions[kind] = _several(step, state, x, y)
    seconds = take_turns(functions, 1, FLAGS.rounds)
    for kind, row in found.items():
        row["seconds"] = float(np.median(seconds[kind])) / FLAGS.steps
        row["images_per_second"] = batch / row["seconds"]
        row["operations_per_second"] = row["operations"] / row["seconds"]
        row.update(ratio(seconds[kind], seconds["plain"]))
        row["memory_to_plain"] = row["memory"] / found["plain"]["memory"]
        of = peak(report, network.precision)
        row["of_peak"] = None if of is None else row["operations_per_second"] / of
        row["of_matrix_product"] = _of(report, network.precision, row)
    if network.precision == FLAGS.precisions[0]:
        rates = report.content["operations_per_second"]
        rates[network.name] = found["plain"]["operations_per_second"]
    return found


def _several(step: Any, state: State, x: Any, y: Any) -> Callable[[], None]:
    held = [state]

    def several() -> None:
        for _ in range(FLAGS.steps):
            held[0], scores = step(held[0], x, y)
        jax.block_until_ready((held[0], scores))

    return several


def peak(report: Report, precision: str) -> float | None:
    """Returns the published peak of the card."""
    return _product(report, precision).get("published")


def _product(report: Report, precision: str) -> dict:
    """Returns what was measured of the matrix product, if it was."""
    return report.content["parts"].get(f"matrix product, {precision}", {})


def _of(report: Report, precision: str, row: dict) -> float | None:
    rate = _product(report, precision).get("operations_per_second")
    return None if rate is None else row["operations_per_second"] / rate


def predictions(network: Network) -> dict:
    """Returns times of N draws, and of N predictions of the plain network."""
    shape = FLAGS.size, FLAGS.size, 3
    x = np.random.default_rng(1).normal(size=(FLAGS.images, *shape)).astype("float32")
    batch = FLAGS.batch_size
    plain = network.build(False, shape)
    weights = [v.value for v in plain.trainable_variables]
    others = [v.value for v in plain.non_trainable_variables]
    call = jax.jit(lambda x: plain.stateless_call(weights, others, x)[0])
    predictor = tfhyper.PosteriorPredictor(
        network.build(True, shape), FLAGS.draws, batch_norm="moving_average"
    )

    def n_plain() -> None:
        for _ in range(FLAGS.draws):
            for start in range(0, len(x), batch):
                np.asarray(call(x[start : start + batch]))

    seconds = take_turns(
        {"plain": n_plain, "draws": lambda: predictor.predict(x, batch_size=batch)},
        1,
        max(3, FLAGS.rounds // 2),
    )
    return {
        "draws": FLAGS.draws,
        "images": FLAGS.images,
        **{name: {"seconds": float(np.median(s))} for name, s in seconds.items()},
        **ratio(seconds["draws"], seconds["plain"]),
    }


def epochs(network: Network, report: Report) -> dict:
    """Trains hypernetworks until the time is over, and returns how far that went.

    The rate falls as the recipe has it, by the part of the time that has gone.
    """
    preparation = training.recipe_for("wide_resnet", FLAGS.dataset).data
    data = npz_data.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        batch_size=FLAGS.batch_size,
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.images,
        **preparation.load_options(),
    )
    recipe = training.recipe_for("wide_resnet", "cifar10")
    shape, batch = data.spec.image_shape, data.batch_size
    step, state, model, optimizer = compiled_step(network, True, shape, batch)
    names = [variable.name for variable in optimizer.variables]
    place = names.index("learning_rate")
    found: dict[str, Any] = {"dataset": FLAGS.dataset, "epochs": []}
    begin = time.monotonic()
    # What is behind the last epoch: the draws of the test images.
    budget = 0.75 * (report.end - begin)
    most = math.inf if FLAGS.max_epochs is None else FLAGS.max_epochs
    while len(found["epochs"]) < most:
        gone = (time.monotonic() - begin) / budget
        if gone > 1:
            break
        rate = recipe.rates[sum(gone >= drop for drop in recipe.drops)]
        state.optimizer[place] = jnp.asarray(rate, state.optimizer[place].dtype)
        start = time.monotonic()
        scores = []
        for x, y in whole_batches(data, len(found["epochs"])):
            state, score = step(state, x, y)
            scores.append(score)
        losses, right = (np.array(part) for part in zip(*scores, strict=True))
        seconds = time.monotonic() - start
        found["epochs"].append(
            {
                "rate": rate,
                "loss": float(losses.mean()),
                "error": 1 - float(right.sum()) / (batch * len(scores)),
                "seconds": round(seconds, 3),
                "images_per_second": batch * len(scores) / seconds,
            }
        )
        report.content["parts"]["epochs so far"] = found
        report.write()
    put_state(model, optimizer, state)
    del report.content["parts"]["epochs so far"]
    predictor = tfhyper.PosteriorPredictor(model, FLAGS.draws, seed=0)
    predictor.estimate_batch_norm(data.epoch(0).take(8), verbose=0)
    members = predictor.predict(data.test).members
    labels = data.test_arrays[1]
    found["test_error"] = {
        "x1": float(np.median([metrics.error(labels, one) for one in members])),
        f"x{len(members)}": float(metrics.error(labels, members.mean(0))),
    }
    return found


def whole_batches(data: npz_data.NpzData, epoch: int) -> Iterator[npz_data.Batch]:
    """Yields the batches of an epoch, without a short one, compiled for nothing."""
    for x, y in data.epoch(epoch):
        if len(y) == data.batch_size:
            yield x, y


def summary(content: dict) -> str:
    """Returns what was found as tables."""
    rows, lines = [], []
    for name, part in content["parts"].items():
        if name.startswith("steps"):
            for kind, row in part.items():
                cells = [f"{1e3 * row['seconds']:.2f}", f"{row['ratio']:.3f}"]
                cells += [f"{row['memory'] / MIB:.0f}"]
                cells += [f"{row['operations_per_second']:.3g}"]
                of = row["of_peak"]
                cells += ["-" if of is None else f"{of:.1%}"]
                rows.append([f"{name}, {kind}", *cells])
        elif name.startswith("epochs"):
            errors = {k: round(v, 4) for k, v in part["test_error"].items()}
            lines.append(f"{name}: {len(part['epochs'])}, test error {errors}")
        elif "ratio" in part:
            lines.append(f"{name}: {part['ratio']:.3f} of as many plain predictions")
        else:
            lines.append(f"{name}: {part['operations_per_second']:.3g} operations/s")
    lines += [f"left out: {name}: {why}" for name, why in content["left_out"].items()]
    header = ["", "ms a step", "to plain", "memory, MiB", "operations/s", "of peak"]
    return "\n".join([markdown_table(header, rows), "", *lines])


if __name__ == "__main__":
    app.run(main)
