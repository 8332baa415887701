"""What the trainings of the paper cost: operations, memory, hours at a measured rate.

A multiply-add is two operations, and a step of training thrice a forward pass. The
rate, operations per second, is measured for each network by training steps on the
device at hand (`measure`), kept in a JSON, and multiplied out.
"""

import dataclasses
import functools
import math
import os
import platform
import time
from collections.abc import Mapping

import keras
import numpy as np
from paper_runs import Lab, Run
from report import read_json

from tfhyper import analysis, data

# Examples of the sets: of each split that is trained on, and of the one to test on.
EXAMPLES = {
    "cifar10": {"train": 50_000, "test": 10_000},
    "cifar100": {"train": 50_000, "test": 10_000},
    "svhn_cropped": {"train": 73_257, "extra": 531_131, "test": 26_032},
    "imagenet2012": {"train": 1_281_167, "test": 50_000},
    "fashion_mnist_small": {"train": 10_000, "test": 2_500},
}
# Forward, and backward to the inputs and to the weights.
PASSES = 3
# float32 each: a weight, its momentum, its gradient.
BYTES_PER_PARAMETER = 12


@dataclasses.dataclass(frozen=True)
class NetworkCost:
    """What a network costs.

    Attributes:
        parameters: that are trained.
        per_image: multiply-adds of an image.
        per_batch: multiply-adds of drawing all kernels, once for a batch.
        outputs: numbers that all layers give for an image.
    """

    parameters: int
    per_image: int
    per_batch: int
    outputs: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run costs.

    Attributes:
        parameters: that are trained.
        training: operations of all epochs.
        draws: operations of its draws: BatchNorm's moments, and the test images.
        memory: bytes of a step, at most: weights, momentum and gradients, and what
            all layers give for a batch. Less where a compiler recomputes.
    """

    parameters: int
    training: float
    draws: float
    memory: int

    @property
    def operations(self) -> float:
        """All operations."""
        return self.training + self.draws

    def hours(self, rate: float | None) -> float | None:
        """Returns the hours at so many operations per second, if that is known."""
        return None if rate is None else self.operations / rate / 3600


def cost(lab: Lab, run: Run) -> Cost:
    """Returns what a run costs; no weight is made for it."""
    network = network_cost(lab, run)
    train, test = examples(lab, run)
    epochs, batch = lab.epochs(run), lab.batch(run)
    steps = epochs * -(-train // batch)
    drawn = steps * run.weight_sets
    images = network.per_image * train * epochs + network.per_batch * drawn
    draws = lab.draws(run)
    # A draw that is the network itself has its moments from training.
    seen = test + (train if draws > 1 else 0)
    passes = draws * (network.per_image * seen + network.per_batch)
    size = 2 if lab.precision == "bfloat16" else 4
    return Cost(
        parameters=network.parameters,
        training=2.0 * PASSES * images,
        draws=2.0 * passes,
        memory=BYTES_PER_PARAMETER * network.parameters
        + size * network.outputs * batch,
    )


def examples(lab: Lab, run: Run) -> tuple[int, int]:
    """Returns how many images a run is trained on, and tested on."""
    sizes = EXAMPLES[run.dataset]
    splits = lab.recipe(run).data.train_split or data.DATASETS[run.dataset].train_split
    train, test = sum(sizes[split] for split in splits.split("+")), sizes["test"]
    limits = lab.sizes.train_examples, lab.sizes.test_examples
    pairs = zip((train, test), limits, strict=True)
    train, test = (n if limit is None else min(n, limit) for n, limit in pairs)
    return train, test


def network_cost(lab: Lab, run: Run) -> NetworkCost:
    """Returns what the network of a run costs."""
    # No shape depends on these.
    same = {"seed": 0, "weight_decay": None, "prior": "normal", "weight_sets": 1}
    run = dataclasses.replace(run, sharing="all_in_one", **same)
    return _network_cost(dataclasses.replace(lab, workdir=""), run)


@functools.cache
def _network_cost(lab: Lab, run: Run) -> NetworkCost:
    spec = data.DATASETS[run.dataset]
    train, _ = examples(lab, run)
    # Shapes alone: generators of large networks have gigabytes of weights.
    with keras.StatelessScope(initialize_variables=False):
        model = lab.network(run, spec.num_classes, spec.image_shape, train)
        found = analysis.complexity(model, lab.batch(run))
        outputs = sum(
            math.prod(tensor.shape[1:])
            for layer in model.layers
            for tensor in keras.tree.flatten(layer.output)
        )
        parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
    return NetworkCost(parameters, found.per_image, found.per_batch, outputs)


@dataclasses.dataclass(frozen=True)
class Rates:
    """Operations per second, as measured.

    Attributes:
        by_network: the paper's name of a network -> operations per second.
        device: what they were measured on, in words.
    """

    by_network: Mapping[str, float]
    device: str

    def of(self, run: Run) -> float | None:
        """Returns the rate of a run's network.

        Of one that was not measured it is that of the slowest that was; `None` if
        there is none.
        """
        found = self.by_network
        return found.get(run.network, min(found.values(), default=None))


def read_rates(text: str | None, default_path: str) -> Rates:
    """Returns the rates of --rate.

    Args:
        text: operations per second, or the path of a JSON that `measure` or
            `gpu_hour.py` wrote, or `None` for `default_path`.
        default_path: a JSON that need not be there.

    Raises:
        FileNotFoundError: if the text is neither a number nor a file.
        ValueError: for a number that is not above 0, or a file without rates.
    """
    try:
        rate = float(text or "")
    except ValueError:
        path = text or default_path
        content = read_json(path)
        if content is None:
            if text is None:
                return Rates({}, "")
            raise FileNotFoundError(f"--rate is neither number nor file: {text}")
        rates = content.get("operations_per_second")
        if not rates:
            raise ValueError(f"{path} holds no `operations_per_second`")
        return Rates(rates, f"{content.get('device')} ({path})")
    if not 0 < rate < math.inf:
        raise ValueError(f"--rate must be above 0. Received: --rate={text}")
    return Rates({"": rate}, "given by --rate")


def measure(lab: Lab, runs: list[Run], steps: int = 10) -> dict:
    """Returns the rates of the networks of some runs, on this device.

    Of each network the first of its runs is trained on random images. Their number of
    operations over the median time of a step, after two steps for the compiler.
    """
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.network, run)
    rates, seconds = {}, {}
    for run in first.values():
        spec = data.DATASETS[run.dataset]
        train, _ = examples(lab, run)
        batch = lab.batch(run)
        network = lab.network(run, spec.num_classes, spec.image_shape, train)
        model = lab.recipe(run).compile(network, 10, 100, jit_compile=lab.jit_compile)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(batch, *spec.image_shape)).astype("float32")
        y = rng.integers(0, spec.num_classes, batch)
        times = []
        for _ in range(steps + 2):
            start = time.perf_counter()
            model.train_on_batch(x, y)
            times.append(time.perf_counter() - start)
        seconds[run.network] = float(np.median(times[2:]))
        count = network_cost(lab, run)
        step = 2.0 * PASSES * (count.per_image * batch + count.per_batch)
        rates[run.network] = step / seconds[run.network]
        print(f"{run.network}: {rates[run.network]:.3g} operations per second")
    return {
        "what": "operations per second of training steps, by network",
        "device": device(),
        "backend": keras.backend.backend(),
        "precision": lab.precision,
        "operations_per_second": rates,
        "seconds": seconds,
    }


def device() -> str:
    """Returns what this process trains on, in words."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return _cpu()
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")


def _cpu() -> str:
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"
