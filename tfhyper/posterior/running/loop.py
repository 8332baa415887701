"""Data sent through the networks of the draws."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from tfhyper.posterior.running.batches import Batch, Batches, checksum, count_examples
from tfhyper.posterior.running.small_batches import SmallBatchNetwork
from tfhyper.posterior.running.weight_cache import BoundNetwork
from tfhyper.posterior.tasks.task import Task


def located(data: Iterable[Batch]) -> Iterator[tuple[int, Batch]]:
    """Yields batches, each after its place in the data."""
    start = 0
    for batch in data:
        yield start, batch
        start += count_examples(batch.inputs)


def progress(
    what: str, items: Iterable, count: int, verbose: int, unit: str = "draw"
) -> Iterator:
    """Yields `count` items, and with `verbose` shows how many are done."""
    if verbose:
        print(f"{what}: {count} {unit}s", flush=True)
    bar = keras.utils.Progbar(count, verbose=verbose, unit_name=unit)
    for i, item in enumerate(items, 1):
        yield item
        bar.update(i)


def predict(
    runs: Iterable[BoundNetwork], data: Batches, task: Task, keep_members: bool
) -> tuple[Any, Any, Any]:
    """Returns the prediction of an ensemble, and the labels and weights of the data.

    Args:
        runs: the networks of the draws.
        data: what to predict, read once for each draw.
        task: the `Task` that reads what the networks give.
        keep_members: bool, whether the prediction keeps each draw's.

    Raises:
        ValueError: if the data are not the same in every reading, or an output
            is not finite.
    """
    total = task.new_sum(keep_members)
    brought = first = None
    for run in runs:
        parts, seen, found = [], [], []
        for start, batch in located(data):
            parts.append(task.read(run(batch.inputs, start)))
            seen.append(None if data.fixed else checksum(batch.inputs))
            found.append(batch[1:])
        if first is None:
            brought = _join(found)
        first = check_same(seen, first)
        total.add(*map(np.concatenate, zip(*parts, strict=True)))
    return total.result(), *brought


def _join(found):
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


def _concatenate(name, parts):
    try:
        return np.concatenate(parts)
    except ValueError as error:
        raise ValueError(
            f"`x` must bring {name} of the same shape with all of its batches. "
            f"Received: {sorted({part.shape for part in parts})}"
        ) from error


def predict_together(
    network: SmallBatchNetwork,
    data: Batches,
    task: Task,
    keep_members: bool,
    count: int,
    verbose: int,
) -> tuple[Any, Any, Any]:
    """Returns what `predict` does, from one network that holds all draws.

    Args:
        network: the network of all draws.
        data: arrays.
        task: as for `predict`.
        keep_members: bool, as for `predict`.
        count: int, how many draws there are.
        verbose: 0 for silence, 1 for a progress bar.
    """
    parts, found, size = [], [], None
    for start, batch in located(data):
        x = batch.inputs
        held = count_examples(x)
        size = size or held
        # The last batch is filled up: another size may have to be compiled.
        rows = np.minimum(np.arange(size), held - 1)
        if held < size:
            x = keras.tree.map_structure(lambda x, r=rows: x[r], x)
        read = task.read(network(x, start))
        parts.append([z.reshape(count, size, *z.shape[1:])[:, :held] for z in read])
        found.append(batch[1:])
    total = task.new_sum(keep_members)
    members = [np.concatenate(part, axis=1) for part in zip(*parts, strict=True)]
    for draw in progress("predict", zip(*members, strict=True), count, verbose):
        total.add(*draw)
    return total.result(), *_join(found)


def check_same(seen: list, first: list | None) -> list:
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
