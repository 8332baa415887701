"""Labels of an ensemble from as few draws as each input needs."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np

from tfhyper.posterior.running.batches import Batches, checksum, count_examples
from tfhyper.posterior.running.loop import check_same, finite_outputs
from tfhyper.posterior.running.race import ROUNDING, Race
from tfhyper.posterior.running.weight_cache import RunnableNetwork
from tfhyper.posterior.tasks.shown import Shown, means, positions_in_words, shares
from tfhyper.posterior.tasks.task import Task
from tfhyper.tensor_types import Structure


@dataclasses.dataclass(frozen=True, repr=False)
class AnytimePrediction(Shown):
    """Decisions of an ensemble that stopped when they were made.

    An input that stopped early has a mean of few draws, chosen for how clear they
    were: good for the decision, but a little surer than `Prediction.mean`. For
    probabilities and uncertainties use `predict`.

    Where an example has several labels, for its tokens, pixels or tags, the arrays
    have these axes too, as `Prediction.mean` and `label` have. Each stops by itself; an
    example is sent through a draw as long as one of its labels is not decided.

    Attributes:
        mean: float32 of shape (examples, classes), over the draws used.
        label: int64 of shape (examples,), the class of the highest mean.
        num_draws: int64 of shape (examples,), the draws used.
        total_draws: int, N, those of the full average.
        confidence: float in (0, 1], that a label is the one of the full average.
        full_mean: float32 of shape (examples, classes), the full average; `None`
            without `check`.
        full_label: int64 of shape (examples,), its labels; `None` without `check`.

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
    full_label: np.ndarray | None = None

    example_axes: ClassVar[Mapping[str, int]] = dict.fromkeys(
        ("mean", "label", "num_draws", "full_mean", "full_label"), 0
    )

    def _contents(self) -> str:
        *lead, choices = self.mean.shape[1:]
        what = f"{positions_in_words(lead)}{choices:,} classes or labels"
        return f"{what}, decided by at most {self.total_draws} draws each"

    def _columns(self) -> dict[str, Sequence[str]]:
        alone = self.label.ndim == 1
        label = list(map(str, self.label)) if alone else [shares(x) for x in self.label]
        of = "" if alone else "mean "
        return {"label": label, f"{of}draws used": means(self.num_draws)}

    @property
    def agreement(self) -> float:
        """The fraction of labels that are those of the full average.

        Raises:
            ValueError: if the full average was not taken.
        """
        if self.full_label is None:
            raise ValueError(
                "`agreement` needs the full average: call `predict_anytime` with "
                "`check=True`. Received: a prediction without it"
            )
        return float(np.mean(self.label == self.full_label))


def predict(
    runs: Iterable[RunnableNetwork],
    data: Batches,
    task: Task,
    num_draws: int,
    confidence: float,
    min_draws: int,
    draws_in_row: int,
    check: bool,
) -> AnytimePrediction:
    """Returns the decisions of an ensemble, each by as many draws as it needs.

    Args:
        runs: as `loop.predict`; read no further than needed.
        data: `Batches`; what is left of them is put together anew, by their
            `batch_size`.
        task: a `Task` that decides.
        num_draws: int, how many draws `runs` gives.
        confidence: float in (0, 1].
        min_draws: int, the fewest draws of a decision.
        draws_in_row: int, draws in a row that are not exchangeable with the others,
            and count as one, by their mean.
        check: bool, whether to go on to the full average.

    Raises:
        ValueError: as `loop.predict`, and for probabilities out of range.
    """
    race: Race | None = None
    first: list[int | None] | None = None
    waiting: np.ndarray | float = 0.0
    full: np.ndarray | float = 0.0
    shape: tuple[int, ...] = ()  # of the labels
    for i, run in enumerate(runs, 1):
        wanted: np.ndarray | None = None
        if race is not None and not check:
            # An example goes on as long as one of its labels does.
            wanted = np.asarray(race.running.reshape(shape[0], -1).any(-1))
        probs, first = _read(run, data, task, wanted, first)
        if race is None:
            *lead, choices = probs.shape
            shape = tuple(lead)
            rounds = num_draws // draws_in_row
            race = Race(probs[..., 0].size, choices, rounds, confidence)
        rows = probs.reshape(-1, probs.shape[-1])
        if check:
            full = full + rows.astype(np.float64)
        sent = race.running.reshape(shape[0], -1)
        probs = rows[(sent if wanted is None else sent[wanted]).reshape(-1)]
        waiting = waiting + probs
        if i % draws_in_row == 0:
            race.add(np.asarray(waiting) / draws_in_row, i >= min_draws)
            waiting = 0.0
        if not (check or race.running.any()):
            break
    if race is None:
        raise ValueError("`runs` must be the networks of one draw or more.")

    def mean_of(rows: np.ndarray) -> np.ndarray:
        return task.of_choices(rows.reshape(*shape, -1))

    full_mean = full_label = None
    if check:
        full_mean = np.asarray(full / num_draws, np.float32)
        full_label = full_mean.argmax(-1).reshape(shape)
        full_mean = mean_of(full_mean)
    return AnytimePrediction(
        mean=mean_of(race.mean),
        label=race.label.reshape(shape),
        num_draws=(race.rounds * draws_in_row).reshape(shape),
        total_draws=num_draws,
        confidence=confidence,
        full_mean=full_mean,
        full_label=full_label,
    )


def _read(
    run: RunnableNetwork,
    data: Batches,
    task: Task,
    wanted: np.ndarray | None,
    first: list[int | None] | None,
) -> tuple[np.ndarray, list[int | None]]:
    """Returns the choices of the inputs wanted, and checksums of all data.

    `wanted` is bool (inputs,), or `None` for all of them; `first` the checksums of
    the first reading, or `None` if this is it.
    """
    found: list[np.ndarray] = []
    seen: list[int | None] = []

    def send(batch: Structure, start: int = 0) -> np.ndarray:
        return _check_probabilities(
            task.choices(task.read(finite_outputs(run(batch, start))))
        )

    def parts() -> Iterator[Structure]:
        for batch in data:
            x, start = batch.inputs, batch.start
            stop = start + batch.count
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


def packed(
    parts: Iterable[Structure], batch_size: int
) -> Iterator[tuple[Structure, int]]:
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


def _take(inputs: Structure, rows: slice | np.ndarray) -> Structure:
    return keras.tree.map_structure(lambda x: x[rows], inputs)


def _check_probabilities(probs: np.ndarray) -> np.ndarray:
    if not (probs.min() >= -ROUNDING and probs.max() <= 1 + ROUNDING):
        raise ValueError(
            "The model must give probabilities in [0, 1], or be read by "
            f'`outputs="logits"`. Received: from {probs.min()} to {probs.max()}'
        )
    return probs
