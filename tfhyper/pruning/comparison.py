"""What pruning saves, and what it costs."""

import dataclasses
import math
import os
import tempfile
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import ArrayLike

from tfhyper import keras_graph
from tfhyper.checks import check_integer, check_positive_integer, naming
from tfhyper.layers import StochasticLayer
from tfhyper.posterior import PosteriorPredictor
from tfhyper.pruning import kernels
from tfhyper.tensor_types import Structure
from tfhyper.text import align


@dataclasses.dataclass(frozen=True)
class BeforeAfter:
    """One number of two models.

    Attributes:
        before: of the model before pruning.
        after: of the pruned one.

    Example:

    >>> tfhyper.pruning.BeforeAfter(before=0.912, after=0.907)
    BeforeAfter(before=0.912, after=0.907)
    """

    before: float
    after: float


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """How many weights a layer keeps.

    Attributes:
        name: of the layer.
        weights: int, of its kernel before.
        kept: int, of its kernel after that are not zero; of a Gaussian posterior
            those that its mask keeps.

    Example:

    >>> tfhyper.pruning.LayerRow("logits", weights=640, kept=320)
    LayerRow(name='logits', weights=640, kept=320)
    """

    name: str
    weights: int
    kept: int


@dataclasses.dataclass(frozen=True)
class PruningReport:
    """Two models beside each other: what `report` returns. `str` gives a table.

    Attributes:
        layers: tuple of `LayerRow`, in the order of the graph.
        weights: weights of all kernels before; those kept after.
        parameters: numbers that the model holds, zeros too, but for masks.
        file_bytes: size of the `.keras` file, without optimizer.
        compressed_bytes: size of that file in a zip archive (deflate).
        accuracy: fraction of right predictions, or `None` without data.

    Example:

    >>> small = tfhyper.pruning.prune(model, fraction=0.5)
    >>> report = tfhyper.pruning.report(model, small, x_test, y_test)
    >>> report.weights.after / report.weights.before
    0.5
    >>> bool(0 <= report.accuracy.after <= 1)
    True
    """

    layers: tuple[LayerRow, ...]
    weights: BeforeAfter
    parameters: BeforeAfter
    file_bytes: BeforeAfter
    compressed_bytes: BeforeAfter
    accuracy: BeforeAfter | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as dicts, lists and numbers, for JSON."""
        fields = dataclasses.asdict(self)
        return {**fields, "layers": list(fields["layers"])}

    def __str__(self) -> str:
        rows = [("layer", "weights", "kept", "")]
        total = LayerRow("all", int(self.weights.before), int(self.weights.after))
        for row in (*self.layers, total):
            share = f"{row.kept / row.weights:.1%}"
            rows.append((row.name, f"{row.weights:,}", f"{row.kept:,}", share))
        rows += [("",) * 4, ("", "before", "after", "")]
        for name in ("parameters", "file_bytes", "compressed_bytes"):
            pair = getattr(self, name)
            share = f"{pair.after / pair.before:.1%}"
            label = name.replace("_", " ")
            rows.append((label, f"{pair.before:,}", f"{pair.after:,}", share))
        if self.accuracy is not None:
            before, after = self.accuracy.before, self.accuracy.after
            rows.append(("accuracy", f"{before:.4f}", f"{after:.4f}", ""))
        return align(rows)


def report(
    before: keras.Model,
    after: keras.Model,
    x: Structure | None = None,
    y: ArrayLike | None = None,
    *,
    num_draws: int = 16,
    seed: int = 0,
    calibration: Structure | None = None,
    batch_size: int = 128,
) -> PruningReport:
    """Compares a model with what `prune` or `prune_filters` made of it.

    Both models are saved into a temporary folder for their sizes. Zeros take
    the place of any other number in a `.keras` file; compressed, they take
    almost none. The accuracy is that of `PosteriorPredictor`, with draws where
    there are random layers.

    Args:
        before: the model before.
        after: the pruned model.
        x: inputs, or a dataset of (inputs, labels), as for
            `PosteriorPredictor.evaluate`; `None` for no accuracy.
        y: integer labels (examples,), where `x` is an array.
        num_draws: int > 0, for models with random layers.
        seed: int in 0 <= seed < 2**31, of the draws.
        calibration: training inputs from which each draw takes its BatchNorm
            moments; `None` to use the model's moving averages.
        batch_size: int > 0, for arrays.

    Returns:
        A `PruningReport`.

    Raises:
        TypeError: if the graph of a model is not known.
        ValueError: if the layers with a kernel of the two models do not match,
            one has Hyper* layers, `y` comes without `x`, or as
            `PosteriorPredictor` and its `evaluate`.

    Example:

    >>> small = tfhyper.pruning.prune(model, fraction=0.5)
    >>> print(tfhyper.pruning.report(model, small, x_test, y_test))
    layer             weights    kept
    conv                   72      36   50.0%
    logits                 80      40   50.0%
    all                   152      76   50.0%
    ...
    """
    if x is None and y is not None:
        raise ValueError("`y` needs inputs `x`. Received: x=None")
    check_positive_integer("num_draws", num_draws)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_positive_integer("batch_size", batch_size)
    copies = [_copy(before, "before"), _copy(after, "after")]
    layers = _rows(*([x for x in c.layers if kernels.has_kernel(x)] for c in copies))
    accuracy = None
    if x is not None:
        options = (num_draws, seed, calibration, batch_size)
        accuracy = BeforeAfter(*(_accuracy(c, x, y, *options) for c in copies))
    file_bytes, compressed_bytes = zip(*map(_sizes, copies))
    return PruningReport(
        layers=layers,
        weights=BeforeAfter(
            sum(row.weights for row in layers), sum(row.kept for row in layers)
        ),
        parameters=BeforeAfter(*map(_parameters, copies)),
        file_bytes=BeforeAfter(*file_bytes),
        compressed_bytes=BeforeAfter(*compressed_bytes),
        accuracy=accuracy,
    )


def _copy(model: keras.Model, argument: str) -> keras.Model:
    # Without the optimizer, whose state would be most of the file, and flat.
    kernels.check_model(model, argument)
    return keras_graph.duplicate(model)


def _rows(
    before: Sequence[keras.Layer], after: Sequence[keras.Layer]
) -> tuple[LayerRow, ...]:
    if [type(layer) for layer in before] != [type(layer) for layer in after]:
        raise ValueError(
            "`after` must be made of `before` by pruning, with the same layers. "
            f"Received: {[x.name for x in before]} and {[x.name for x in after]}"
        )
    return tuple(
        LayerRow(
            old.name,
            weights=kernels.kept_weights(old).size,
            kept=int(kernels.kept_weights(new).sum()),
        )
        for old, new in zip(before, after)
    )


def _parameters(model: keras.Model) -> int:
    return sum(math.prod(x.shape) for x in model.weights if x.name != "kernel_mask")


def _sizes(model: keras.Model) -> tuple[int, int]:
    """Returns the bytes of a model's file, as it is and compressed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        compressed = os.path.join(folder, "model.zip")
        with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "model.keras")
        return os.path.getsize(path), os.path.getsize(compressed)


def _accuracy(
    model: keras.Model,
    x: Structure,
    y: ArrayLike | None,
    num_draws: int,
    seed: int,
    calibration: Structure,
    batch_size: int,
) -> float:
    random = any(
        isinstance(layer, StochasticLayer) and layer.is_random for layer in model.layers
    )
    predictor = PosteriorPredictor(
        model,
        num_draws if random else 1,
        batch_norm="moving_average" if calibration is None else "reestimate",
        seed=seed,
    )
    if calibration is not None:
        with naming("calibration", "inputs that the network takes"):
            predictor.estimate_batch_norm(calibration, batch_size, verbose=0)
    return 1.0 - predictor.evaluate(x, y, batch_size)["error"]
