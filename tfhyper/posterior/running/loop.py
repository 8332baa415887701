"""Data sent through the networks of the draws, one network after another."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from tfhyper.checks import Verbose
from tfhyper.posterior.running.batches import Batches, Part, checksum
from tfhyper.posterior.running.weight_cache import RunnableNetwork
from tfhyper.posterior.tasks.task import Member, MemberSum
from tfhyper.tensor_types import Structure

# The answers of all draws of more bytes are kept only if that is asked for.
MOST_MEMBERS = 2**30
# Seconds until a bar appears that nobody asked for.
PATIENCE = 5.0


class Reader(Protocol):
    """What `predict` asks of a `Task`: to read draws, and to add them up."""

    def read(self, raw: Structure) -> Member:
        """Returns the answer of one draw for a batch, as `Task.read`."""

    def new_sum(self, keep_members: bool) -> MemberSum:
        """Returns what adds up the draws, as `Task.new_sum`."""


def progress(
    what: str, items: Iterable, count: int, verbose: Verbose, unit: str = "draw"
) -> Iterator:
    """Yields `count` items, and with `verbose` shows how many are done."""
    bar = ProgressBar(what, count, verbose, unit)
    for i, item in enumerate(items, 1):
        yield item
        bar.update(i)


class ProgressBar(keras.utils.Progbar):
    """A bar of so many units, or of any number, after a line of what is done.

    Args:
        what: what is done.
        count: how many units there are; `None` if nobody knows.
        verbose: 0 for silence, 1 for the bar, 2 for a line when all is done; "auto" for
            a bar from `PATIENCE` seconds on, where somebody looks: in a terminal or a
            notebook.
        unit: what is counted.
    """

    def __init__(
        self, what: str, count: int | None, verbose: Verbose, unit: str = "draw"
    ):
        waits = verbose == "auto"
        super().__init__(count, verbose=0 if waits else verbose, unit_name=unit)
        self._heading = f"{what}: {'' if count is None else f'{count} '}{unit}s"
        self._due = time.monotonic() + PATIENCE if waits and _is_seen() else None
        if self.verbose:
            print(self._heading, flush=True)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Shows how many are done, arguments as of `keras.utils.Progbar.update`."""
        if self._due is not None and time.monotonic() > self._due:
            self._due, self.verbose = None, 1
            print(self._heading, flush=True)
        super().update(*args, **kwargs)


def _is_seen() -> bool:
    """Whether somebody looks at what is printed while it is."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def predict(
    runs: Iterable[RunnableNetwork],
    count: int,
    data: Batches | Part,
    task: Reader,
    keep_members: bool | None,
    verbose: Verbose = 0,
) -> tuple[Any, np.ndarray | None, np.ndarray | None]:
    """Returns the prediction of an ensemble, and the labels and weights of the data.

    Args:
        runs: the networks of the draws.
        count: how many draws they hold.
        data: what to predict, read once for each network.
        task: the `Task` that reads what the networks give.
        keep_members: bool, whether the prediction keeps each draw's; `None` if all of
            them are not above `MOST_MEMBERS` bytes.
        verbose: as `ProgressBar` takes it.

    Raises:
        ValueError: if the data are not the same in every reading, or an output
            is not finite.
    """
    total, bar = None, ProgressBar("predict", count, verbose)
    first: list[int | None] | None = None
    brought: list[np.ndarray | None] = [None, None]
    for run in runs:
        parts, seen, found = [], [], []
        for batch in data:
            held, x = batch.count, batch.inputs
            if run.count > 1 and held < data.batch_size:
                # A network of all draws is compiled anew for another size.
                x = _filled_up(x, held, min(data.batch_size, data.num_examples))
            read = task.read(finite_outputs(run(x, batch.start)))
            parts.append(
                [z.reshape(run.count, -1, *z.shape[1:])[:, :held] for z in read]
            )
            seen.append(None if data.fixed else checksum(x))
            found.append((batch.labels, batch.weights))
        if first is None:
            brought = _join(found)
        first = check_same(seen, first)
        arrays = [np.concatenate(part, axis=1) for part in zip(*parts, strict=True)]
        if total is None:
            if keep_members is None:
                keep_members = _may_keep(arrays, count // run.count)
            total = task.new_sum(keep_members)
        for member in zip(*arrays, strict=True):
            total.add(*member)
        bar.add(run.count)
    if total is None:
        raise ValueError("`runs` must be the networks of one draw or more.")
    labels, weights = brought
    return total.result(), labels, weights


def finite_outputs(raw: Structure) -> Structure:
    """Returns what a network gave as float32 arrays, in its structure.

    Raises:
        ValueError: if it is not finite.
    """
    outputs = keras.tree.map_structure(lambda x: np.asarray(x, np.float32), raw)
    if not all(np.isfinite(x).all() for x in keras.tree.flatten(outputs)):
        raise ValueError(
            "A draw's output is not finite: training diverged, or the inputs "
            "are far outside of what the network was trained on."
        )
    return outputs


def _may_keep(arrays: Sequence[np.ndarray], runs: int) -> bool:
    """Returns whether the answers of all draws fit, and says it if they do not."""
    needed = runs * sum(array.nbytes for array in arrays)
    if needed > MOST_MEMBERS:
        print(
            f"predict: the members, {needed / 2**30:.1f} GiB, are not kept; "
            "`keep_members=True` keeps them",
            flush=True,
        )
    return needed <= MOST_MEMBERS


def _filled_up(inputs: Structure, held: int, size: int) -> Structure:
    """Returns a batch of a size, its last example again and again."""
    rows = np.minimum(np.arange(size), held - 1)
    return keras.tree.map_structure(lambda x: x[rows], inputs)


def _join(
    found: Sequence[tuple[np.ndarray | None, np.ndarray | None]],
) -> list[np.ndarray | None]:
    """Returns labels and weights of all batches, `None` for what there is not."""
    joined = []
    for name, parts in zip(("labels", "sample weights"), zip(*found), strict=True):
        there = [part for part in parts if part is not None]
        if there and len(there) < len(parts):
            raise ValueError(
                f"`x` must bring {name} with all of its batches, or with none. "
                f"Received: {len(there)} of {len(parts)} batches with {name}"
            )
        joined.append(_concatenate(name, there) if there else None)
    return joined


def _concatenate(name: str, parts: Sequence[np.ndarray]) -> np.ndarray:
    try:
        return keras.tree.map_structure(lambda *x: np.concatenate(x), *parts)
    except ValueError as error:
        shapes = {x.shape for part in parts for x in keras.tree.flatten(part)}
        raise ValueError(
            f"`x` must bring {name} of the same shape with all of its batches. "
            f"Received: {sorted(shapes)}"
        ) from error


def check_same(
    seen: list[int | None], first: list[int | None] | None
) -> list[int | None]:
    """Returns the checksums of a reading, the same as those of the first, if any.

    Raises:
        ValueError: if they are others.
    """
    if first is not None and seen != first:
        raise ValueError(
            "`x` must give the same examples in the same order for every "
            "draw. Received: a dataset that changed between two readings; "
            "leave out its shuffling and augmentation."
        )
    return seen
