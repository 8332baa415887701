r"""What large networks cost with each posterior: numbers, memory, a step's time.

    python benchmarks/sizes.py
    python benchmarks/sizes.py --steps --only=wrn-28-10

Trained numbers and the bytes of weights and of the optimizer are counted of networks
whose variables are never made, so that those that fit in no memory are counted too.
With --steps a step of training is timed besides, in turns with that of the plain
network, on batches of a few images: of what needs more than --most_gib for its weights,
gradients and optimizer, there is none.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, show_own_flags, write_json
from timing import time_systems

import tfhyper
from tfhyper import kits, models, training

FLAGS = flags.FLAGS
flags.DEFINE_list("only", [], "Networks of the table; all by default.")
flags.DEFINE_list("forms", [], "Posteriors of the table; all by default.")
flags.DEFINE_bool("steps", False, "Time a step, too.")
flags.DEFINE_float("most_gib", 8.0, "Of weights, gradients and optimizer of a step.")
flags.DEFINE_integer("rounds", 5, "Steps of each that are timed.", lower_bound=1)
flags.DEFINE_integer("warm_up", 2, "Steps of each before.", lower_bound=0)
flags.DEFINE_string("output", "benchmarks/results/sizes.json", "The JSON.")

# By which the KL divergence is divided.
EXAMPLES = 50_000
CLASSES = 10
PLAIN = "plain"


@keras.saving.register_keras_serializable(package="benchmarks")
class Positions(keras.Layer):
    """Adds a trained vector to each position."""

    def build(self, shape: tuple) -> None:
        """Makes the vectors."""
        self.positions = self.add_weight(name="positions", shape=shape[1:])

    def call(self, x: Any) -> Any:
        """Returns x with the vectors of its positions."""
        return x + self.positions


def vision_transformer(
    size: int, patch: int, layers: int, heads: int, width: int
) -> keras.Model:
    """Returns a ViT (Dosovitskiy et al., 2021) with the mean of the patches' features.

    Args:
        size: height and width of an image.
        patch: height and width of a patch.
        layers: how many blocks.
        heads: of attention.
        width: features of a patch; four times as many within a block.
    """
    inputs = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(width, patch, strides=patch)(inputs)
    x = Positions()(keras.layers.Reshape((-1, width))(x))
    for _ in range(layers):
        y = keras.layers.LayerNormalization()(x)
        attention = keras.layers.MultiHeadAttention(heads, width // heads)
        x = keras.layers.add([x, attention(y, y)])
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(4 * width, activation="gelu")(y)
        x = keras.layers.add([x, keras.layers.Dense(width)(y)])
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, and the batch that its step is timed on.

    Args:
        title: as the table calls it.
        make: function of a kit that returns the network.
        size: height and width of its images.
        batch: how many of them.
    """

    title: str
    make: Callable[[kits.LayerKit], keras.Model]
    size: int
    batch: int


def _converted(plain: Callable[[], keras.Model]) -> Callable:
    def make(kit: kits.LayerKit) -> keras.Model:
        # With layers of Keras' own there is nothing to convert.
        made = plain()
        return made if kit.name == "deterministic" else tfhyper.convert(made, kit)

    return make


NETWORKS = {
    "wrn-28-10": Network(
        "WRN-28-10, 32 x 32",
        lambda kit: models.wide_resnet(
            28, 10, num_classes=CLASSES, input_shape=(32, 32, 3), kit=kit
        ),
        32,
        8,
    ),
    "resnet50": Network(
        "ResNet-50, 224 x 224",
        _converted(
            lambda: keras.applications.ResNet50(
                weights=None,
                input_shape=(224, 224, 3),
                classes=CLASSES,
                classifier_activation=None,
            )
        ),
        224,
        4,
    ),
    "vit-b": Network(
        "ViT-B/16, 224 x 224",
        _converted(lambda: vision_transformer(224, 16, 12, 12, 768)),
        224,
        2,
    ),
}


@dataclasses.dataclass(frozen=True)
class Form:
    """A posterior.

    Args:
        title: as the table calls it.
        kit: makes the kit.
        noise: whether noise is learned on all weights, by `tfhyper.Variational`.
        networks: those that it is for; none for all.
    """

    title: str
    kit: Callable[[], kits.LayerKit]
    noise: bool = False
    networks: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """Numbers that the optimizer holds for each trained one.

        Momentum; with learned noise also the curvature, which gives its scale.
        """
        return 2 if self.noise else 1


FORMS = {
    PLAIN: Form("plain", kits.deterministic),
    "mc_dropout": Form("MC dropout", lambda: kits.mc_dropout(0.1)),
    "ivon": Form("noise of a learned scale, IVON", kits.deterministic, True),
    "bayes": Form("Gaussian, Bayes by Backprop", lambda: kits.bayes(EXAMPLES)),
    "subspace": Form("line of networks", lambda: kits.subspace("line")),
    "rank_one": Form(
        "rank-one factors of four members", lambda: kits.rank_one("point", 4, EXAMPLES)
    ),
    "mnf": Form(
        "normalizing flows", lambda: kits.mnf(EXAMPLES), networks=("wrn-28-10",)
    ),
    "hyper": Form("hypernetworks", kits.hyper),
    "hyper_rank_8": Form("hypernetworks of rank 8", lambda: kits.hyper(rank=8)),
    "hyper_rank_1": Form("hypernetworks of rank 1", lambda: kits.hyper(rank=1)),
    "static_hypernet": Form(
        "one shared generator (Ha et al.), no draws",
        kits.static_hypernet,
        networks=("wrn-28-10",),
    ),
}


def optimizer_of(form: Form) -> keras.Optimizer:
    """Returns the optimizer that a posterior is trained with."""
    return training.IVON(0.5) if form.noise else keras.optimizers.SGD(0.1, momentum=0.9)


def _numbers(variables: list[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _bytes(variables: list[keras.Variable]) -> int:
    return sum(
        math.prod(variable.shape) * np.dtype(variable.dtype).itemsize
        for variable in variables
    )


def count(network: Network, form: Form) -> dict[str, int]:
    """Returns trained numbers, and bytes, of a network that is never made."""
    # Weights that are made in such a scope have a shape, and no value.
    with keras.StatelessScope():
        model = network.make(form.kit())
    numbers = _numbers(model.trainable_variables)
    return {
        "trained": numbers,
        "weight_bytes": _bytes(model.variables),
        "optimizer_bytes": 4 * numbers * form.slots,
    }


def step(network: Network, form: Form) -> Callable[[], Any]:
    """Returns a function without arguments that trains a network for a step."""
    keras.utils.set_random_seed(0)
    model = network.make(form.kit())
    if form.noise:
        model = tfhyper.Variational(model, EXAMPLES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer_of(form), loss)
    rng = np.random.default_rng(0)
    shape = (network.batch, network.size, network.size, 3)
    images = rng.normal(size=shape).astype("float32")
    labels = rng.integers(0, CLASSES, network.batch)
    return lambda: model.train_on_batch(images, labels)


def timed(network: Network, forms: dict[str, Form], counts: dict) -> dict[str, dict]:
    """Returns the times of those steps that fit in memory, and their ratios."""
    found: dict[str, dict] = {}
    for name, form in forms.items():
        of = counts[name]
        needed = of["weight_bytes"] + 4 * of["trained"] + of["optimizer_bytes"]
        if name == PLAIN or needed > FLAGS.most_gib * 2**30:
            continue
        # Two at a time: each pair is freed before the next is made.
        pair = {
            PLAIN: (step(network, FORMS[PLAIN]), PLAIN),
            name: (step(network, form), PLAIN),
        }
        found[name] = time_systems(pair, FLAGS.warm_up, FLAGS.rounds)[name]
        keras.backend.clear_session()
    return found


def _chosen(table: dict, names: list[str], flag: str) -> dict:
    if unknown := sorted(set(names) - set(table)):
        raise app.UsageError(f"--{flag} takes {list(table)}. Received: {unknown}")
    return {name: table[name] for name in names or table}


def rows_of(results: dict) -> list[list[str]]:
    """Returns the rows of the table, of the networks one after another."""
    rows = []
    for key, forms in results.items():
        plain = forms[PLAIN]["trained"]
        for name, found in forms.items():
            time = "-"
            if "ratio" in found:
                time = "{:.2f} ({:.2f} to {:.2f})".format(
                    found["ratio"], *found["ratio_quartiles"]
                )
            rows.append(
                [
                    NETWORKS[key].title,
                    FORMS[name].title,
                    f"{found['trained'] / 1e6:,.1f}",
                    f"{found['trained'] / plain:.2f}",
                    f"{found['weight_bytes'] / 2**20:,.0f}",
                    f"{found['optimizer_bytes'] / 2**20:,.0f}",
                    "1" if name == PLAIN else time,
                ]
            )
    return rows


HEADER = [
    "network",
    "posterior",
    "trained numbers, million",
    "x plain",
    "weights, MiB",
    "optimizer, MiB",
    "step / plain (quartiles)",
]


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    networks = _chosen(NETWORKS, FLAGS.only, "only")
    forms = _chosen(FORMS, FLAGS.forms, "forms")
    forms = {PLAIN: FORMS[PLAIN], **forms}
    results: dict[str, dict] = {}
    for key, network in networks.items():
        own = {n: f for n, f in forms.items() if not f.networks or key in f.networks}
        results[key] = {name: count(network, form) for name, form in own.items()}
        if FLAGS.steps:
            for name, times in timed(network, own, results[key]).items():
                results[key][name].update(times)
        print(markdown_table(HEADER, rows_of({key: results[key]})), flush=True)
    content = {
        "what": "trained numbers, bytes of weights and optimizer, time of a step",
        "data": "random images",
        "settings": {
            "most_gib": FLAGS.most_gib,
            "rounds": FLAGS.rounds,
            "batches": {key: network.batch for key, network in networks.items()},
        },
        **provenance(),
        "markdown": markdown_table(HEADER, rows_of(results)).splitlines(),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
