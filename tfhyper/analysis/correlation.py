"""How the weights of a posterior go together: pairs of them, and correlations."""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import keras
import numpy as np

from tfhyper.analysis._drawn_weights import DrawnWeights
from tfhyper.checks import (
    Verbose,
    check_choice,
    check_integer,
    check_positive_integer,
    check_verbose,
)
from tfhyper.posterior import PosteriorPredictor
from tfhyper.summary import Summarized, Summary

Where: TypeAlias = Literal["within", "across"]
WHERE: tuple[Where, ...] = get_args(Where)


class WeightPairs(NamedTuple):
    """Draws of pairs of weights.

    Attributes:
        samples: float32 `(draws, pairs, 2)`.
        names: tuple of `pairs` pairs of strings, each a layer's name and the place
            in its kernel: `"stage1_block1_conv1[0, 2, 5, 7]"`.

    Example:
        >>> from tfhyper import analysis, kits, models
        >>> model = models.lenet5(kit=kits.hyper(code_units=4, hidden_units=4))
        >>> pairs = analysis.weight_pairs(model, num_pairs=3, num_draws=10)
        >>> pairs.samples.shape, len(pairs.names)
        ((10, 3, 2), 3)
    """

    samples: np.ndarray
    names: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, repr=False)
class WeightCorrelation(Summarized):
    """Pearson correlations of random pairs of weights over the draws.

    Attributes:
        within: float in `[0, 1]`, mean absolute correlation of pairs of one block.
        across: float in `[0, 1]`, that of pairs of different blocks.
        within_pairs: float64, the correlation in `[-1, 1]` of each pair.
        across_pairs: float64, likewise.
        num_constant: pairs left out, for one of their weights never varied.
        num_draws: draws that were taken.

    Example:
        >>> from tfhyper import analysis, kits, models
        >>> model = models.lenet5(kit=kits.hyper(code_units=4, hidden_units=4))
        >>> found = analysis.weight_correlation(model, num_pairs=9, num_draws=10)
        >>> len(found.within_pairs), len(found.across_pairs), found.num_constant
        (9, 9, 0)
    """

    within: float
    across: float
    within_pairs: np.ndarray
    across_pairs: np.ndarray
    num_constant: int
    num_draws: int

    @property
    def noise_floor(self) -> float:
        """Mean absolute correlation to expect of independent normal weights.

        sqrt(2 / (pi num_draws)): what chance alone gives.
        """
        return math.sqrt(2 / (math.pi * self.num_draws))

    def to_summary(self) -> Summary:
        """Returns what is shown: the means within blocks and across them."""
        rows = [
            ("within", f"{self.within:.3f}", f"{len(self.within_pairs):,}"),
            ("across", f"{self.across:.3f}", f"{len(self.across_pairs):,}"),
        ]
        by_chance = f"{self.noise_floor:.3f} by chance, of {self.num_draws:,} draws"
        notes = [by_chance]
        if self.num_constant:
            notes.append(f"{self.num_constant:,} pairs left out, which never varied")
        return Summary("", ("blocks", "mean |correlation|", "pairs"), rows, notes)


def weight_pairs(
    model: keras.Model | PosteriorPredictor,
    num_pairs: int = 1,
    num_draws: int = 1000,
    where: Where = "within",
    seed: int = 0,
    blocks: Callable[[str], str] | None = None,
    verbose: Verbose = 0,
) -> WeightPairs:
    """Draws random pairs of weights from a network's posterior.

    As `weight_correlation` picks them; `weight_pair_plot` draws one.

    Args:
        model: as the next, see `weight_correlation`.
        num_pairs: positive integer.
        num_draws: positive integer.
        where: `"within"` for pairs of one block, `"across"` for pairs of two.
        seed: int in 0 <= seed < 2**31, of the pairs and the draws.
        blocks: function of a layer's name that gives its block's, or `None`.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        A `WeightPairs`.

    Raises:
        ValueError: if an argument breaks a rule above, no kernel is drawn, or there
            is only one block to take pairs across from.
        TypeError: if the model's graph is not known.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        section 5.6 and figure 9.

    Example:
        >>> from tfhyper import analysis, kits, models
        >>> model = models.wide_resnet(10, 1, kit=kits.hyper(mean_kernel=False))
        >>> pairs = analysis.weight_pairs(model, num_draws=20)
        >>> figure = analysis.weight_pair_plot(*pairs.samples[:, 0].T, pairs.names[0])
        >>> len(figure.axes)  # the dots, and two histograms
        3
    """
    num_pairs = check_positive_integer("num_pairs", num_pairs)
    num_draws = check_positive_integer("num_draws", num_draws)
    check_choice("where", where, WHERE)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_verbose(verbose)
    weights = DrawnWeights(model, blocks)
    pick = weights.pairs_within if where == "within" else weights.pairs_across
    pairs = pick(num_pairs, np.random.default_rng(seed))
    samples = weights.sample(pairs, num_draws, seed, verbose)
    names = tuple((weights.name(a), weights.name(b)) for a, b in pairs)
    return WeightPairs(samples, names)


def weight_correlation(
    model: keras.Model | PosteriorPredictor,
    num_pairs: int = 1000,
    num_draws: int = 1000,
    seed: int = 0,
    blocks: Callable[[str], str] | None = None,
    verbose: Verbose = 0,
) -> WeightCorrelation:
    """Pearson correlations of random pairs of weights, in a block and across blocks.

    Each pair is that of a weight, any of all drawn kernels with the same chance, and
    of another one, any of its block or any of the other blocks. A correlation is over
    the draws. Pairs with a weight that never varies, such as a pruned one, have none:
    they are left out and counted.

    Independent weights do not come out at 0: by chance, `num_draws` draws of them have
    a mean absolute correlation of about `sqrt(2 / (pi num_draws))`, 0.025 for 1000.
    The paper's 0.007 across blocks takes some 10,000. A draw costs what making the
    network's kernels costs; memory is that of the pairs.

    Args:
        model: a functional or Sequential model, or a `PosteriorPredictor` of one,
            trained or not. Its predictor's draws are not used: there are too few.
        num_pairs: positive integer, of each kind.
        num_draws: integer of at least 2.
        seed: int in 0 <= seed < 2**31, of the pairs and the draws.
        blocks: function of a layer's name that gives its block's. `None` for the
            name up to `block` and a number, `stage1_block2` of
            `stage1_block2_conv1`; a layer whose name has no such part is a block of
            its own.
        verbose: 0 for silence, 1 for a progress bar.

    Returns:
        A `WeightCorrelation`.

    Raises:
        ValueError: if an argument breaks a rule above, no kernel is drawn, there is
            only one block, or all pairs of a kind have a weight that never varies.
        TypeError: if the model's graph is not known.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        section 5.6. How it picks pairs in a block is not said there.

    Example:
        >>> from tfhyper import analysis, kits, models
        >>> kit = kits.hyper("block_wise", code_units=4, hidden_units=4)
        >>> model = models.wide_resnet(10, 1, kit=kit)
        >>> found = analysis.weight_correlation(model, num_pairs=200, num_draws=50)
        >>> found.within > found.across
        True
    """
    num_pairs = check_positive_integer("num_pairs", num_pairs)
    num_draws = check_integer("num_draws", num_draws, 2)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_verbose(verbose)
    weights = DrawnWeights(model, blocks)
    rng = np.random.default_rng(seed)
    pairs = [
        pick(num_pairs, rng) for pick in (weights.pairs_within, weights.pairs_across)
    ]
    samples = weights.sample(np.stack(pairs), num_draws, seed, verbose)
    varies = np.ptp(samples, axis=0).min(axis=-1) > 0
    for where, some in zip(WHERE, varies):
        if not some.any():
            raise ValueError(
                "`model` must have weights that vary from draw to draw. Received: "
                f"model={weights.model.name!r}, where each of the {num_pairs} pairs "
                f"{where} blocks has a weight that never does"
            )
    within, across = (
        pearson(*np.moveaxis(samples[:, kind, some], -1, 0))
        for kind, some in enumerate(varies)
    )
    return WeightCorrelation(
        within=float(np.mean(np.abs(within))),
        across=float(np.mean(np.abs(across))),
        within_pairs=within,
        across_pairs=across,
        num_constant=int(np.sum(~varies)),
        num_draws=num_draws,
    )


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the correlation over the first axis of two arrays of one shape."""
    first, second = (
        (x - x.mean(axis=0)) / x.std(axis=0)
        for x in (np.asarray(first, np.float64), np.asarray(second, np.float64))
    )
    # Rounding may go beyond what a correlation can be.
    return np.clip(np.mean(first * second, axis=0), -1.0, 1.0)
