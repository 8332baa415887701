"""Draws of single weights of a stochastic network."""

import bisect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.analysis._blocks import block_of
from tfhyper.checks import Verbose, check_function
from tfhyper.posterior import PosteriorPredictor
from tfhyper.posterior.networks.perturbed_network import network_of_draws
from tfhyper.posterior.running import loop


class DrawnWeights:
    """The weights of all drawn kernels of a network, numbered block by block.

    Args:
        model: a model, or a `PosteriorPredictor` of one.
        blocks: function of a layer's name that gives its block's; `None` for
            `block_of`.

    Attributes:
        sizes: int64 (blocks,), weights of each block.
        starts: int64 (blocks,), number of each block's first weight.
        model: the model.

    Raises:
        ValueError: if the network draws no kernel.
        TypeError: if the model's graph is not known.
    """

    def __init__(
        self,
        model: keras.Model | PosteriorPredictor,
        blocks: Callable[[str], str] | None = None,
    ):
        if blocks is not None:
            check_function("blocks", blocks)
        self.model = model.model if isinstance(model, PosteriorPredictor) else model
        self._point = network_of_draws(self.model)
        grouped: dict[str, list] = {}
        draw = self._point.sample(seed=0, index=0)
        for layer, values in self._point.drawn_weights(draw):
            for i, value in enumerate(values):
                # Kernels: a bias has one axis, and so has a key of dropout.
                if len(value.shape) > 1:
                    block = (blocks or block_of)(layer.name)
                    grouped.setdefault(block, []).append((layer.name, i, value.shape))
        if not grouped:
            raise ValueError(
                "`model` must have layers whose kernels are drawn, such as those of "
                f"kits.hyper or kits.bayes. Received: model={self.model.name!r} "
                "without any"
            )
        self._kernels = [kernel for group in grouped.values() for kernel in group]
        sizes = [int(np.prod(shape)) for _, _, shape in self._kernels]
        self._offsets = [0, *np.cumsum(sizes).tolist()]
        places = np.cumsum([0, *(len(group) for group in grouped.values())])
        bounds = np.array(self._offsets)[places]
        self.starts, self.sizes = bounds[:-1], np.diff(bounds)

    def pairs_within(self, num_pairs: int, rng: np.random.Generator) -> np.ndarray:
        """Returns numbers of two weights of one block, (num_pairs, 2).

        The first is any weight that has another one in its block, the second any
        other of its block.
        """
        block = self._pick_blocks(self.sizes * (self.sizes > 1), num_pairs, rng)
        first = rng.integers(self.sizes[block])
        second = rng.integers(self.sizes[block] - 1)
        second += second >= first
        return self.starts[block][:, np.newaxis] + np.stack([first, second], axis=1)

    def pairs_across(self, num_pairs: int, rng: np.random.Generator) -> np.ndarray:
        """Returns numbers of two weights of different blocks, (num_pairs, 2).

        The first is any weight, the second any of the other blocks.

        Raises:
            ValueError: if there is only one block.
        """
        if len(self.sizes) < 2:
            raise ValueError(
                "`model` must have drawn kernels in two blocks or more; give `blocks` "
                "if its layers' names do not tell them. Received: "
                f"model={self.model.name!r}, layers {[x for x, *_ in self._kernels]}"
            )
        block = self._pick_blocks(self.sizes, num_pairs, rng)
        first = self.starts[block] + rng.integers(self.sizes[block])
        second = rng.integers(self._offsets[-1] - self.sizes[block])
        second += (second >= self.starts[block]) * self.sizes[block]
        return np.stack([first, second], axis=1)

    def _pick_blocks(
        self, sizes: np.ndarray, num_pairs: int, rng: np.random.Generator
    ) -> np.ndarray:
        if not sizes.any():
            raise ValueError(
                "`model` must have a block of two weights or more. "
                f"Received: model={self.model.name!r}"
            )
        return rng.choice(len(sizes), size=num_pairs, p=sizes / sizes.sum())

    def name(self, number: int) -> str:
        """Returns the layer of a weight and its place: `"conv1[0, 2, 5, 7]"`."""
        kernel = bisect.bisect_right(self._offsets, number) - 1
        layer, _, shape = self._kernels[kernel]
        place = np.unravel_index(number - self._offsets[kernel], shape)
        return f"{layer}[{', '.join(str(i) for i in place)}]"

    def sample(
        self, numbers: np.ndarray, num_draws: int, seed: int, verbose: Verbose = 0
    ) -> np.ndarray:
        """Returns draws of some weights, float32 of shape (draws, *numbers.shape).

        Draw i is that of `PosteriorPredictor(model, seed=seed)`. Of its kernels,
        made one at a time, only these weights are kept.
        """
        wanted, inverse = np.unique(numbers, return_inverse=True)
        ends = np.searchsorted(wanted, self._offsets)
        plan: dict[str, list[tuple[int, slice, Any]]] = {}
        for k, (layer, i, _) in enumerate(self._kernels):
            columns = slice(ends[k], ends[k + 1])
            places = wanted[columns] - self._offsets[k]
            if len(places):
                plan.setdefault(layer, []).append((i, columns, places))
        samples = np.empty((num_draws, len(wanted)), np.float32)
        rows = loop.progress("weights", range(num_draws), num_draws, verbose)
        for row in rows:
            draw = self._point.sample(seed, row)
            for layer, values in self._point.drawn_weights(draw):
                for i, columns, places in plan.get(layer.name, ()):
                    kernel = ops.convert_to_numpy(values[i])
                    samples[row, columns] = kernel.reshape(-1)[places]
        return samples[:, inverse].reshape(num_draws, *numbers.shape)
