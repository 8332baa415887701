"""Scorers compared: how well each tells kinds of foreign inputs from known ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from tfhyper import metrics
from tfhyper.checks import Verbose, check_instance, check_integer, check_reading, naming
from tfhyper.detection.networks import as_predictor
from tfhyper.detection.registry import SCORERS
from tfhyper.detection.scorer import ProbabilityScorer, Scorer
from tfhyper.metrics import BootstrapInterval
from tfhyper.metrics.resampling import numbers_of
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.summary import Summarized, Summary
from tfhyper.tensor_types import Structure

# Of `metrics.ood_detection`, and how tables call them.
_SCORES = {"auroc": "AUROC", "aupr_out": "AUPR", "fpr95_in": "FPR95"}


@dataclasses.dataclass(frozen=True, repr=False)
class DetectionTable(Summarized):
    """How well scorers find kinds of foreign inputs: what `table` returns.

    Attributes:
        found: scorer -> kind -> score -> `tfhyper.metrics.BootstrapInterval`, with the
            scores "auroc", "aupr_out" and "fpr95_in" of
            `tfhyper.metrics.ood_detection`: the last is the fraction of foreign inputs
            that are accepted at the threshold that accepts 95 % of the known ones.
        kinds: name of a kind -> "near" or "far".
        counts: how many inputs there are, of each kind and of "test".
        scores: scorer -> "test" or kind -> float64 (inputs,), for figures.
        level: of the intervals, a probability.

    Example:

    >>> table = tfhyper.detection.table(
    ...     predictor, x_test[:200], far={"loud": 9 * x_test[:200]}, num_samples=20
    ... )
    >>> isinstance(table, tfhyper.detection.DetectionTable)
    True
    >>> sorted(table.found["entropy"]["loud"])
    ['aupr_out', 'auroc', 'fpr95_in']
    """

    found: dict[str, dict[str, dict[str, BootstrapInterval]]]
    kinds: dict[str, str]
    counts: dict[str, int]
    scores: dict[str, dict[str, np.ndarray]]
    level: float

    def to_summary(self) -> Summary:
        """Returns what is shown: a row for each scorer, a column for each kind."""
        head = ["scorer", *(f"{kind} ({near})" for kind, near in self.kinds.items())]
        rows = [
            [name, *(_cell(of_kinds[kind]) for kind in self.kinds)]
            for name, of_kinds in self.found.items()
        ]
        sizes = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        notes = [
            f"{' / '.join(_SCORES.values())}; AUROC with its {self.level:.0%} interval",
            f"inputs: {sizes}",
        ]
        return Summary("Foreign inputs found", head, rows, notes)

    def markdown(self) -> str:
        """Returns the table in Markdown."""
        return self.to_summary().markdown()

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers for JSON, as dicts and lists, without `scores`."""
        found = {
            name: {
                kind: {key: numbers_of(value) for key, value in of_scores.items()}
                for kind, of_scores in of_kinds.items()
            }
            for name, of_kinds in self.found.items()
        }
        return {
            "found": found,
            "kinds": self.kinds,
            "counts": self.counts,
            "level": self.level,
        }


def table(
    predictor: BasePredictor | keras.Model,
    test: Structure,
    *,
    near: Mapping[str, Structure] | None = None,
    far: Mapping[str, Structure] | None = None,
    scorers: Sequence[str | Scorer] | None = None,
    train: tuple[Structure, ArrayLike | None] | Structure | None = None,
    num_samples: int = 200,
    level: float = 0.95,
    seed: int = 0,
    batch_size: int = 128,
    verbose: Verbose = "auto",
) -> DetectionTable:
    """Returns how well scorers tell kinds of foreign inputs from known ones.

    AUROC, AUPR and FPR95 of each scorer and kind, with intervals by
    `tfhyper.metrics.bootstrap` over the inputs, known and foreign ones together. No
    foreign input fits or chooses anything: whoever chooses the best scorer by this
    table has, and needs other kinds to say how good it is.

    Args:
        predictor: a predictor, or a Keras model whose layers do not draw.
        test: known inputs that trained nothing, an array or a dataset.
        near: kinds of foreign inputs that are like the known ones (other classes of
            the same kind of image, say), name -> inputs.
        far: kinds that are unlike them (noise, another world), name -> inputs.
        scorers: names of `SCORERS`, or scorers, fitted or not; `None` for all that
            there are, without training data those that need none.
        train: what scorers are fitted to that are not: (inputs, labels), or a dataset
            of these; `None` for nothing.
        num_samples: int > 0, of resamples.
        level: number in (0, 1), of the intervals.
        seed: int in 0 <= seed < 2**31, of the resamples.
        batch_size: int > 0, for arrays.
        verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
            longer than some seconds and a terminal or a notebook shows it.

    Returns:
        A `DetectionTable`.

    Raises:
        ValueError: if there is no kind, or two of one name; for scorers that need
            training data without any; as `Scorer.fit` and `Scorer.score`.
        TypeError: for what are no scorers or no inputs by name.

    Example:

    >>> kinds = {"loud": 9 * x_test[:200]}
    >>> names = ["entropy", "mahalanobis"]
    >>> table = tfhyper.detection.table(
    ...     predictor,
    ...     x_test[:200],
    ...     far=kinds,
    ...     scorers=names,
    ...     train=(x_train, y_train),
    ...     num_samples=20,
    ... )
    >>> print(table.markdown().splitlines()[0])
    | scorer | loud (far) |
    >>> table.found["mahalanobis"]["loud"]["auroc"].value > 0.9
    True

    Reference:
        Yang et al.: OpenOOD: benchmarking generalized out-of-distribution detection,
        NeurIPS 2022 (near and far); `tfhyper.metrics.ood_detection` for the scores.
    """
    check_reading(batch_size, verbose)
    check_integer("num_samples", num_samples, 1, 1_000_000)
    made = as_predictor(predictor)
    inputs, kinds = _kinds(near, far)
    fitted = _fitted(made, predictor, scorers, train, batch_size, verbose)
    scores: dict[str, dict[str, np.ndarray]] = {}
    for name, scorer in fitted.items():
        with naming("test", "inputs that the networks take"):
            scores[name] = {"test": scorer.score(test, batch_size, verbose)}
        for kind, x in inputs.items():
            with naming(kinds[kind], f"inputs that the networks take, of {kind!r} too"):
                scores[name][kind] = scorer.score(x, batch_size, verbose)
    first = next(iter(scores.values()))
    found: dict[str, dict[str, dict[str, BootstrapInterval]]] = {n: {} for n in scores}
    for kind in kinds:
        sizes = len(first["test"]), len(first[kind])
        is_foreign = np.repeat([False, True], sizes)
        for name, own in scores.items():
            found[name][kind] = metrics.bootstrap(
                _detection,
                is_foreign,
                np.concatenate([own["test"], own[kind]]),
                num_samples=num_samples,
                level=level,
                seed=seed,
            )
    counts = {name: len(values) for name, values in first.items()}
    return DetectionTable(found, kinds, counts, scores, level)


def _detection(is_foreign: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    found = metrics.ood_detection(scores[~is_foreign], scores[is_foreign])
    return {name: found[name] for name in _SCORES}


def _kinds(
    near: Mapping[str, Structure] | None, far: Mapping[str, Structure] | None
) -> tuple[dict[str, Structure], dict[str, str]]:
    """Returns the inputs of each kind, and whether it is near or far."""
    inputs: dict[str, Structure] = {}
    kinds: dict[str, str] = {}
    for where, given in (("near", near), ("far", far)):
        rule = "a dict from names to inputs, or None"
        check_instance(where, given, Mapping | None, rule)
        for name, x in (given or {}).items():
            if str(name) in kinds or name == "test":
                raise ValueError(
                    f"`{where}` must have names of its own for its kinds, other than "
                    f'"test". Received: {where} with {name!r}'
                )
            inputs[str(name)], kinds[str(name)] = x, where
    if not kinds:
        raise ValueError(
            "`near` or `far` must hold a kind of foreign inputs. "
            f"Received: near={near!r}, far={far!r}"
        )
    return inputs, kinds


def _fitted(
    predictor: BasePredictor,
    given: BasePredictor | keras.Model,
    scorers: Sequence[str | Scorer] | None,
    train: Any,
    batch_size: int,
    verbose: Verbose,
) -> dict[str, Scorer]:
    """Returns fitted scorers by names of their own; `given` is what the user gave."""
    if scorers is None:
        scorers = [
            name
            for name, kind in SCORERS.items()
            if (train is not None or not kind.needs_training_data)
            and not _says_nothing(kind, predictor)
        ]
    check_instance("scorers", scorers, list | tuple, "a sequence of scorers, or None")
    if not scorers:
        raise ValueError("`scorers` must hold one or more. Received: scorers=[]")
    x_train, y_train = train if isinstance(train, tuple) else (train, None)
    found: dict[str, Scorer] = {}
    for scorer in scorers:
        if isinstance(scorer, str) and scorer in SCORERS:
            scorer = SCORERS[scorer]()
        if not isinstance(scorer, Scorer):
            raise TypeError(
                f"`scorers` must hold scorers, or names of {sorted(SCORERS)}. "
                f"Received: {scorer!r}"
            )
        if scorer.predictor is None:
            if scorer.needs_training_data and x_train is None:
                raise ValueError(
                    "`train` must hold training inputs and labels for scorers that "
                    f"are to be fitted. Received: train=None, {scorer!r}"
                )
            x, y = (x_train, y_train) if scorer.needs_training_data else (None, None)
            with naming("train", f"what {scorer!r} can be fitted to"):
                scorer.fit(predictor, x, y, batch_size, verbose)
        elif scorer.predictor is not predictor and not (
            # A model has a new predictor each time.
            given is not predictor
            and list(scorer.predictor.source.held_models()) == [given]
        ):
            raise ValueError(
                "`scorers` must be fitted to the predictor, or not fitted. "
                f"Received: {scorer!r}, fitted to another"
            )
        name = scorer.name
        while name in found:
            name += "'"
        found[name] = scorer
    return found


def _says_nothing(kind: type[Scorer], predictor: BasePredictor) -> bool:
    """Whether a scorer needs more draws than there are."""
    return (
        issubclass(kind, ProbabilityScorer)
        and predictor.num_networks < kind.least_draws
    )


def _cell(scores: Mapping[str, BootstrapInterval]) -> str:
    auroc = scores["auroc"]
    others = " / ".join(f"{scores[x].value:.3f}" for x in list(_SCORES)[1:])
    return f"{auroc.value:.3f} [{auroc.lower:.3f}, {auroc.upper:.3f}] / {others}"
