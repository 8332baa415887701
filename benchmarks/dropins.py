r"""Drop-ins with their defaults beside the plain layers that they replace.

    python benchmarks/dropins.py --validation   # the grid that the defaults come from
    python benchmarks/dropins.py                # the defaults, on the test images

Small networks on the images in the package: one kind of layer is replaced, and all
else (optimizer, batches, epochs, `model.fit`) stays. Plain layers and drop-ins take
turns, seed by seed. Resumes by itself, training by training, from --workdir.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import common
import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json

import tfhyper
from tfhyper import layers, metrics, training

FLAGS = flags.FLAGS
flags.DEFINE_integer("epochs", 5, "Epochs of each training.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_bool(
    "validation",
    False,
    "The grid of the defaults: train on four fifths of the training images, score on "
    "the rest.",
)
common.define_seeds()
FLAGS.set_default("dataset", "fashion_mnist_small")
FLAGS.set_default("data_note", "images in the package (Fashion-MNIST)")
FLAGS.set_default("workdir", "runs/dropins")

Arrays = tuple[np.ndarray, np.ndarray]  # images and labels
POOLS = {
    1: keras.layers.GlobalAveragePooling1D,
    2: keras.layers.GlobalAveragePooling2D,
    3: keras.layers.GlobalAveragePooling3D,
}


def convolutional(make, shape, rank, size=3, norm=False):
    """Returns the stack of two strided convolutions, pooling and a dense layer."""
    stack = [keras.layers.Reshape(shape)]
    for filters in (32, 64):
        if norm:
            stack.append(make(filters, 3, strides=2, use_bias=False))
            stack += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
        else:
            stack.append(make(filters, size, strides=2, activation="relu"))
    return [*stack, POOLS[rank](), keras.layers.Dense(10)]


def transposed(make):
    """Returns a stack with two transposed convolutions."""
    return [
        keras.layers.Conv2D(16, 5, strides=4, activation="relu"),
        make(16, 3, strides=2, activation="relu"),
        make(32, 3, activation="relu"),
        POOLS[2](),
        keras.layers.Dense(10),
    ]


def depthwise(make):
    """Returns a stack with two depthwise convolutions."""
    return [
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        make(3, activation="relu"),
        keras.layers.Conv2D(32, 1, activation="relu"),
        make(3, strides=2, activation="relu"),
        POOLS[2](),
        keras.layers.Dense(10),
    ]


def dense(make):
    """Returns a network of two dense layers."""
    return [keras.layers.Flatten(), make(128, activation="relu"), make(10)]


# What is replaced -> the stack of a network, from the maker of what takes its place.
NETWORKS: dict[str, Callable] = {
    "Conv2D": lambda make: convolutional(make, (28, 28, 1), 2),
    "Conv2D, BatchNorm": lambda make: convolutional(make, (28, 28, 1), 2, norm=True),
    "Conv1D": lambda make: convolutional(make, (28, 28), 1),
    # Strips of the image, one behind another.
    "Conv3D": lambda make: [
        keras.layers.AveragePooling2D((1, 4)),
        *convolutional(make, (4, 7, 7, 1), 3, 2),
    ],
    "Conv2DTranspose": transposed,
    "DepthwiseConv2D": depthwise,
    "Dense": dense,
}
POSTERIORS = ("", "Hyper", "Bayes", "MNF", "BayesHyper", "StaticHyper")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row of a table: a network, what takes the place of its layers, and how."""

    network: str
    posterior: str  # start of the drop-ins' names; "" for the plain layer
    options: dict = dataclasses.field(default_factory=dict)
    warmup_epochs: int = 0  # of the KL divergence, where its weight is given

    @property
    def kind(self) -> str:
        """The stock layer that is replaced."""
        return self.network.partition(",")[0]

    @property
    def layer(self) -> str:
        """The name of the class that takes its place."""
        return self.posterior + self.kind

    @property
    def key(self) -> str:
        """A name for the cell, of its folder and in the JSON."""
        parts = [self.network.replace(", ", "_"), self.posterior or "plain"]
        parts += [f"{name}={value}" for name, value in self.options.items()]
        if self.warmup_epochs:
            parts.append(f"warmup={self.warmup_epochs}")
        return "-".join(parts)


def default_cells() -> list[Cell]:
    """Returns the plain layers and every drop-in, with its defaults."""
    cells = [
        Cell(network, posterior) for network in NETWORKS for posterior in POSTERIORS
    ]
    return [x for x in cells if not x.posterior or hasattr(layers, x.layer)]


def mean_kernel(prior: str, scale: float) -> dict:
    """Returns the options of a trained mean and a generated deviation."""
    return {"mean_kernel": True, "prior": prior, "deviation_scale": scale}


# What the layers find by themselves with `kl_weight=None`, after an epoch without KL.
KL = {"kl_weight": "1/N"}
# Network and posterior -> options, epochs without KL.
GRID: dict[tuple[str, str], list[tuple[dict, int]]] = {
    ("Conv2D", ""): [({}, 0)],
    ("Conv2D", "Hyper"): [
        (mean_kernel("uniform", 0.3), 0),
        ({"mean_kernel": False, "prior": "normal"}, 0),
        ({"mean_kernel": False, "prior": "uniform"}, 0),
        (mean_kernel("uniform", 0.1), 0),
        (mean_kernel("uniform", 1.0), 0),
        (mean_kernel("normal", 0.1), 0),
        (mean_kernel("normal", 0.3), 0),
    ],
    ("Conv2D", "Bayes"): [
        ({"initial_scale": 0.03, **KL}, 1),
        ({"initial_scale": 0.1, "kl_weight": 1.0}, 0),
        ({"initial_scale": 0.1, **KL}, 0),
        ({"initial_scale": 0.1, **KL}, 1),
        ({"initial_scale": 0.03, **KL}, 0),
    ],
    ("Dense", ""): [({}, 0)],
    ("Dense", "Hyper"): [(mean_kernel("uniform", 0.3), 0)],
    ("Dense", "Bayes"): [
        ({"initial_scale": 0.03, **KL}, 1),
        ({"initial_scale": 0.1, **KL}, 1),
    ],
}
for _network in ("Conv2D", "Dense"):
    GRID[_network, "MNF"] = [
        ({"multiplier_scale": scale, **KL}, 1) for scale in (0.316, 0.1)
    ]
    GRID[_network, "BayesHyper"] = [
        ({"initial_scale": scale, **KL}, 1) for scale in (0.1, 0.03)
    ]


def grid_cells() -> list[Cell]:
    """Returns the cells that the defaults were chosen by."""
    cells = [
        Cell(*place, *entry) for place, entries in GRID.items() for entry in entries
    ]
    order = list(NETWORKS)
    return sorted(cells, key=lambda cell: (order.index(cell.network), cell.posterior))


def make_model(cell: Cell, num_train: int) -> keras.Model:
    """Returns the network of a cell, compiled as a first user would."""
    if cell.posterior == "StaticHyper":
        return compile_model(static_network(cell))
    options = {**cell.options}
    if options.get("kl_weight") == "1/N":
        options["kl_weight"] = 1 / num_train
    scope = layers if cell.posterior else keras.layers
    cls = getattr(scope, cell.layer)

    def make(*args, **kwargs):
        return cls(*args, **kwargs, **options)

    stack = NETWORKS[cell.network](make)
    return compile_model(keras.Sequential([keras.Input((28, 28, 1)), *stack]))


def static_network(cell: Cell) -> keras.Model:
    """Returns the network whose convolutions share a generator of kernels."""
    inputs = keras.Input((28, 28, 1))
    code = layers.KernelGenerator(3)(inputs)
    x = inputs
    for layer in NETWORKS[cell.network](layers.StaticHyperConv2D):
        drawn = isinstance(layer, layers.StaticHyperConv2D)
        x = layer(x, code) if drawn else layer(x)
    return keras.Model(inputs, x)


def compile_model(model: keras.Model) -> keras.Model:
    """Compiles a network and returns it."""
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train_and_score(cell: Cell, seed: int, train: Arrays, held_out: Arrays) -> dict:
    """Returns the scores of one training: those of one call, and those of x N."""
    (x_train, y_train), (x, y) = train, held_out
    keras.utils.set_random_seed(seed)
    model = make_model(cell, len(x_train))
    callbacks = []
    if cell.warmup_epochs:
        callbacks.append(training.SonderbyKLWarmup(cell.warmup_epochs))
    started = time.time()
    history = model.fit(
        x_train,
        y_train,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        callbacks=callbacks,
        verbose=0,
    ).history
    seconds = time.time() - started
    probs = keras.ops.softmax(model.predict(x, batch_size=500, verbose=0))
    probs = keras.ops.convert_to_numpy(probs)
    scores = {
        "seconds": round(seconds, 1),
        "parameters": model.count_params(),
        "train_accuracy": history["accuracy"][-1],
        "call": metrics.classification_report(y, probs[None]),
    }
    # A static hypernetwork's kernels are the same in every pass.
    draws = 1 if cell.posterior in ("", "StaticHyper") else FLAGS.draws
    predictor = tfhyper.PosteriorPredictor(model, num_draws=draws, seed=seed)
    predictor.estimate_batch_norm(x_train, verbose=0)
    scores[f"x{FLAGS.draws}"] = metrics.classification_report(
        y, predictor.predict(x, batch_size=500).members
    )
    return scores


def load_split() -> tuple[Arrays, Arrays]:
    """Returns what to train on and what to score on."""
    train, test = tfhyper.data.load_arrays(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
    )
    if not FLAGS.validation:
        return train, test
    size = len(train[0])
    held_out = size // 5
    data = common.load_data(
        1000,
        augment=False,
        train_examples=size - held_out,
        validation_examples=held_out,
    )
    return arrays_of(data.train_plain), arrays_of(data.validation)


def arrays_of(batches: Any) -> Arrays:
    """Returns the images and labels of a dataset, in its order."""
    parts = zip(*((x.numpy(), y.numpy()) for x, y in batches), strict=True)
    images, labels = (np.concatenate(part) for part in parts)
    return images, labels


def summary(scores: list[dict], key: str, name: str) -> tuple[float, float]:
    """Returns mean and standard error over the seeds of one score."""
    values = np.array([s[key][name] for s in scores])
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def table(cells: list[Cell], results: dict) -> str:
    """Returns the results as a Markdown table."""
    many = f"x{FLAGS.draws}"
    columns = [(key, name) for key in ("call", many) for name in ("error", "nll")]
    rows = []
    for cell in cells:
        scores = results[cell.key]
        row = [cell.network, cell.layer, options_text(cell), len(scores)]
        for key, name in columns:
            mean, error = summary(scores, key, name)
            row.append(f"{mean:.3f}" + f" ± {error:.3f}" * (len(scores) > 1))
        rows.append(row)
    header = ["network", "layer", "options", "seeds"]
    header += [f"{key}, {name}" for key, name in columns]
    return markdown_table(header, rows)


def options_text(cell: Cell) -> str:
    """Returns the options of a cell as arguments."""
    parts = [f"{name}={value}" for name, value in cell.options.items()]
    if cell.warmup_epochs:
        parts.append(f"warm-up {cell.warmup_epochs}")
    return ", ".join(parts) or "-"


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    cells = {x.key: x for x in (grid_cells() if FLAGS.validation else default_cells())}
    cells = {key: cells[key] for key in common.chosen(cells)}
    train, held_out = load_split()
    names = ("epochs", "batch_size", "validation")
    settings = common.flag_values(*names)
    del settings["seed"], settings["singles"]
    results = {}
    output = FLAGS.output or "benchmarks/results/dropins{}.json".format(
        "_validation" if FLAGS.validation else ""
    )
    part = "validation" if FLAGS.validation else "test"
    for seed in common.seeds():
        for key, cell in cells.items():
            scores = common.run_cell(
                os.path.join(part, key.replace("/", "_"), str(seed)),
                f"{key}, seed {seed}",
                {**settings, "seed": seed, **dataclasses.asdict(cell)},
                lambda _, cell=cell, seed=seed: train_and_score(
                    cell, seed, train, held_out
                ),
            )
            results.setdefault(key, []).append(scores)
        write_json(
            output,
            {
                "what": "drop-ins beside plain layers: error and NLL (nats)",
                "data": FLAGS.data_note,
                "settings": {**settings, "seeds": FLAGS.seeds},
                **provenance(),
                "results": results,
            },
        )
    print(table(list(cells.values()), results))


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
