"""Labels of an ensemble from as few draws as each input needs."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tfhyper.checks import (
    check_bool,
    check_integer,
    check_number,
    check_positive_integer,
    check_verbose,
)
from tfhyper.posterior.running.batches import Batches, checksum, count_examples
from tfhyper.posterior.running.loop import check_same, located, progress
from tfhyper.posterior.running.race import ROUNDING, Race
from tfhyper.posterior.tasks.outputs import REGRESSION


@dataclasses.dataclass(frozen=True)
class AnytimePrediction:
    """Decisions of an ensemble that stopped when they were made.

    An input that stopped early has a mean of few draws, chosen for how clear they
    were: good for the decision, but a little surer than `Prediction.mean`. For
    probabilities and uncertainties use `predict`.

    Attributes:
        mean: float32 of shape (examples, classes), over the draws used.
        label: int64 of shape (examples,), the class of the highest mean.
        num_draws: int64 of shape (examples,), the draws used.
        total_draws: int, N, those of the full average.
        confidence: float in (0, 1], that a label is the one of the full average.
        full_mean: float32 of shape (examples, classes), the full average; `None`
            without `check`.

    Example:

    >>> prediction = predictor.predict_anytime(x_test, confidence=0.99)
    >>> bool(prediction.num_draws.mean() <= prediction.total_draws)
    True
    """

    mean: np.ndarray
    label: np.ndarray
    num_draws: np.ndarray
    total_draws: int
    confidence: float
    full_mean: np.ndarray | None = None

    @property
    def agreement(self) -> float:
        """The fraction of labels that are those of the full average.

        Raises:
            ValueError: if the full average was not taken.
        """
        if self.full_mean is None:
            raise ValueError(
                "`agreement` needs the full average: call `predict_anytime` with "
                "`check=True`. Received: a prediction without it"
            )
        return float(np.mean(self.label == self.full_mean.argmax(-1)))


class Anytime:
    """The part of `tfhyper.posterior.base_predictor.Averaged` that stops early."""

    # Draws in a row that are more alike than any draws are: see `predict`.
    _draws_together = 1

    def predict_anytime(
        self,
        x: Any,
        confidence: float = 0.99,
        min_draws: int = 2,
        batch_size: int = 128,
        check: bool = False,
        verbose: int = 0,
    ) -> AnytimePrediction:
        """Returns a classifier's labels, each from as few draws as it needs.

        The draws are taken in their order. An input is left out of the draws that
        follow, and has its label, when this is the label of all N draws for certain,
        because those to come cannot turn it, or at `confidence`:

            P(label is another than that of the mean of all N draws)
                <= 1 - confidence,   for each input, over the order of the draws.

        The formula and its reasons are in `tfhyper.posterior.running.race`. It holds
        for every N and all distributions of the draws, and assumes only that their
        order is random, as that of `draws` is, and as the order of a `DeepEnsemble`'s
        models is unless they were sorted; there the draws of one model count as one.
        Inputs share the draws, so that in one ensemble they err together: it is in
        the mean over ensembles that a fraction of 1 - `confidence` may err.

        No label is unknown, whatever `rejection` says: what is rejected is decided by
        the uncertainty of the full average, which few draws do not give.

        What it can save is bounded: no such rule can stop before 6 of 16 draws, or
        7 of many, at a confidence of 0.99, even if all are sure and agree.

        Args:
            x: as for `predict`. A dataset is read anew for each draw that any input
                needs, its batches put together from the inputs that are left.
                With dropout that draws, whose masks go by the place of an input, a
                batch is left out only as a whole.
            confidence: float in 0 < confidence <= 1; 1 for what is certain alone.
            min_draws: int from 1 to `num_draws`, the fewest draws of an input. Of a
                `DeepEnsemble`, each model gives all its draws or none.
            batch_size: int > 0, for arrays and for what is left of a dataset.
            check: bool, go on to all N draws of all inputs, to compare with the full
                average; saves nothing.
            verbose: 0 for silence, 1 for a progress bar.

        Raises:
            ValueError: as `predict`; for arguments out of range, for a regression,
                for one draw, for draws that are averaged inside of one network, and
                for a model with `outputs="probabilities"` that are not in [0, 1].

        Example:

        >>> prediction = predictor.predict_anytime(x_test, check=True)
        >>> bool(prediction.num_draws.max() <= predictor.num_draws)
        True
        >>> bool(prediction.agreement > 0.9)
        True

        Reference:
            Waudby-Smith, Ramdas: Confidence sequences for sampling without
            replacement, NeurIPS 2020.
        """
        confidence = check_number("confidence", confidence, positive=True)
        if confidence > 1:
            raise ValueError(
                "`confidence` must be in 0 < confidence <= 1. "
                f"Received: confidence={confidence}"
            )
        if self.outputs in REGRESSION:
            raise ValueError(
                "`predict_anytime` is for classifiers: a regression decides nothing. "
                f"Received: outputs={self.outputs!r}"
            )
        if self.num_networks == 1:
            raise ValueError(
                "`predict_anytime` needs two draws or more, each a network of its own "
                '(`averaging="branching"`). '
                f"Received: num_draws={self.num_draws}, in one network"
            )
        check_integer("min_draws", min_draws, 1, self.num_draws)
        check_positive_integer("batch_size", batch_size)
        check_bool("check", check)
        check_verbose(verbose)
        return predict(
            progress("predict", self._runs(), self.num_networks, verbose),
            Batches("x", x, batch_size, self._inputs),
            self._outputs,
            num_draws=self.num_draws,
            confidence=confidence,
            min_draws=min_draws,
            together=self._draws_together,
            check=check,
        )


def predict(
    runs, data, outputs, num_draws, confidence, min_draws, together, check
) -> AnytimePrediction:
    """Returns the decisions of an ensemble, each by as many draws as it needs.

    Args:
        runs: as `passes.predict`; read no further than needed.
        data: `Batches`; what is left of them is put together anew, by their
            `batch_size`.
        outputs: what reads the network's outputs, a classifier's.
        num_draws: int, how many draws `runs` gives.
        confidence: float in (0, 1].
        min_draws: int, the fewest draws of a decision.
        together: int, draws in a row that are not exchangeable with the others,
            and count as one, by their mean.
        check: bool, whether to go on to the full average.

    Raises:
        ValueError: as `passes.predict`, and for probabilities out of range.
    """
    race = first = None
    waiting = full = 0.0
    for i, run in enumerate(runs, 1):
        wanted = None if check or race is None else race.running
        probs, first = _read(run, data, outputs, wanted, first)
        if race is None:
            race = Race(*probs.shape, num_draws // together, confidence)
        if check:
            full = full + probs.astype(np.float64)
            probs = probs[race.running]
        waiting = waiting + probs
        if i % together == 0:
            race.add(waiting / together, i >= min_draws)
            waiting = 0.0
        if not (check or race.running.any()):
            break
    return AnytimePrediction(
        mean=race.mean,
        label=race.label,
        num_draws=race.rounds * together,
        total_draws=num_draws,
        confidence=confidence,
        full_mean=(full / num_draws).astype(np.float32) if check else None,
    )


def _read(run, data, outputs, wanted, first):
    """Returns the probabilities of the inputs wanted, and checksums of all data.

    `wanted` is bool (inputs,), or `None` for all of them; `first` the checksums of
    the first reading, or `None` if this is it.
    """
    found, seen = [], []

    def send(batch, start=0):
        (probs,) = outputs.read(run(batch, start))
        return _check_probabilities(probs)

    def parts():
        for start, batch in located(data):
            x = batch.inputs
            stop = start + count_examples(x)
            seen.append(None if data.fixed else checksum(x))
            if wanted is None:
                found.append(send(x, start))
            elif wanted[start:stop].any():
                rows = np.flatnonzero(wanted[start:stop])
                # Dropout's masks go by the place of an input: it has to stay there.
                if run.by_place:
                    found.append(send(x, start)[rows])
                else:
                    yield keras.tree.map_structure(lambda x, r=rows: x[r], x)

    for batch, count in packed(parts(), data.batch_size):
        found.append(send(batch)[:count])
    first = check_same(seen, first)
    return np.concatenate(found), first


def packed(parts, batch_size: int):
    """Yields inputs in batches of few sizes, each with the number that count.

    Full batches and, of the rest, the smallest of `batch_size`, a quarter and a
    sixteenth of it that holds them: a network is compiled anew for each size. The
    last input fills up.
    """
    held = None
    for part in parts:
        if held is not None:
            part = keras.tree.map_structure(lambda *x: np.concatenate(x), held, part)
        held, count = part, count_examples(part)
        start = 0
        while count - start >= batch_size:
            yield _take(held, slice(start, start + batch_size)), batch_size
            start += batch_size
        held = _take(held, slice(start, None))
    if held is not None and (count := count_examples(held)):
        sizes = (batch_size // 16, batch_size // 4, batch_size)
        size = next(size for size in sizes if size >= count)
        yield _take(held, np.minimum(np.arange(size), count - 1)), count


def _take(inputs, rows):
    return keras.tree.map_structure(lambda x: x[rows], inputs)


def _check_probabilities(probs):
    if not (probs.min() >= -ROUNDING and probs.max() <= 1 + ROUNDING):
        raise ValueError(
            "The model must give probabilities in [0, 1], or be read by "
            f'`outputs="logits"`. Received: from {probs.min()} to {probs.max()}'
        )
    return probs
