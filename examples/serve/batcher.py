"""Requests that wait together go through the network together.

MLServer has batching of its own, but it puts together whatever comes: requests for
other signatures and other seeds. And a client that leaves before the answer lets those
of its batch wait for ever.
"""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Hashable

import numpy as np
from validation import Refused


@dataclasses.dataclass
class _Waiting:
    key: Hashable
    arrays: dict
    future: asyncio.Future
    since: float = dataclasses.field(default_factory=time.monotonic)

    def __len__(self):
        return len(next(iter(self.arrays.values())))


class Batcher:
    """Puts requests together, and runs one batch at a time, in a thread.

    Args:
        run: function of a key and arrays by name, whose first axis is the batch, that
            returns arrays by name, likewise.
        max_images: the largest batch; a request that is larger is one alone.
        max_seconds: how long a batch that is not full waits for more.
        max_waiting: inputs that may wait; a request beyond is refused.
    """

    def __init__(
        self, run: Callable, max_images: int, max_seconds: float, max_waiting: int
    ):
        self._run, self._max_images = run, max_images
        self._max_seconds, self._max_waiting = max_seconds, max_waiting
        self._queue, self._more = [], asyncio.Event()
        self._worker = None

    async def __call__(self, key: Hashable, arrays: dict) -> dict:
        """Returns what `run` gives for the arrays; only equal keys go together."""
        item = _Waiting(key, arrays, asyncio.get_running_loop().create_future())
        if self._images() + len(item) > self._max_waiting:
            raise Refused(
                "busy",
                f"{self._max_waiting} inputs are waiting already: try again later.",
                429,
            )
        self._queue.append(item)
        self._more.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await item.future

    def _images(self, key=None):
        return sum(len(item) for item in self._queue if key in (None, item.key))

    async def _work(self):
        while self._queue:
            await self._wait_for_more()
            batch = self._take()
            if batch:
                await self._answer(batch)

    async def _wait_for_more(self):
        first = self._queue[0]
        until = first.since + self._max_seconds
        while self._images(first.key) < self._max_images:
            self._more.clear()
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._more.wait(), left)
            except asyncio.TimeoutError:
                return

    def _take(self):
        """Returns those that go with the first one, and takes them off the queue."""
        # Of clients that left nothing is computed.
        self._queue = [item for item in self._queue if not item.future.done()]
        batch, rest, size = [], [], 0
        for item in self._queue:
            fits = not batch or size + len(item) <= self._max_images
            if fits and item.key == self._queue[0].key:
                batch.append(item)
                size += len(item)
            else:
                rest.append(item)
        self._queue = rest
        return batch

    async def _answer(self, batch):
        try:
            arrays = {
                name: np.concatenate([item.arrays[name] for item in batch])
                for name in batch[0].arrays
            }
            found = await asyncio.to_thread(self._run, batch[0].key, arrays)
        except Exception as error:
            for item in batch:
                if not item.future.done():
                    item.future.set_exception(error)
            return
        start = 0
        for item in batch:
            stop = start + len(item)
            if not item.future.done():
                item.future.set_result({k: v[start:stop] for k, v in found.items()})
            start = stop
