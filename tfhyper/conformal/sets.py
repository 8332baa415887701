"""Sets of classes that hold the true one with a stated probability."""

import dataclasses
import warnings
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import (
    Verbose,
    check_bool,
    check_choice,
    check_integer,
    check_number,
)
from tfhyper.conformal.base import (
    ConformalRule,
    cells_of,
    check_groups,
    thresholds_of,
)
from tfhyper.conformal.labelled import predict_labelled
from tfhyper.conformal.quantile import check_alpha
from tfhyper.metrics._checks import (
    as_float_array,
    check_rows_of_probabilities,
    read_labelled,
)
from tfhyper.scaling import CalibrationWarning
from tfhyper.tensor_types import Structure, Tensor

SetScore: TypeAlias = Literal["lac", "aps", "raps"]
SET_SCORES: tuple[SetScore, ...] = get_args(SetScore)
# What sums of probabilities in float32, in any order, may differ by.
ROOM = 1e-6
# Without an error in so many labels or more, data look like those of the training.
_MANY = 50
# Of `RAPS`, where nothing is given.
_PENALTY, _FREE = 0.01, 1


@dataclasses.dataclass(frozen=True)
class ConformalSets(ConformalRule):
    """A rule: the set of an input holds the classes whose score is not too large.

    With p the probabilities of an input, and o(c) = 1, 2, ... the place of class c
    among them, the largest first, a class is in the set where its score is at most the
    threshold,

        "lac"   1 - p_c
        "aps"   sum of p_k over the classes k with o(k) < o(c)
        "raps"  the same + penalty max(0, o(c) - free_classes)

    compared with room for 1e-6, within which float32 does not tell sums apart.
    `"lac"` has the smallest sets, and misses hard inputs more often than easy ones;
    `"aps"` spreads the misses more evenly; `"raps"` does so with fewer of the unlikely
    classes. A set of `"lac"` may be empty: nothing is likely enough.

    That is deterministic: `"aps"` takes the likeliest classes until their sum is above
    the threshold, the one that crosses it too, so that no set is empty. Where fewer
    than alpha of the answers are wrong, a set is the likeliest class, and covers more
    often than is asked. With `randomized` the score is more by (1 - u) p_c, with one u
    for each input, uniform in [0, 1), in calibration and in prediction: sets cover as
    often as is asked and not more often, may be empty, and differ from seed to seed.

    Args:
        alpha: float in (0, 1), the fraction of new examples whose class may be missed.
        thresholds: one number, or one for each class, or rows of these for groups.
        groups: the names of groups, or `None`: see `ConformalRule`.
        score: `"lac"`, `"aps"` or `"raps"`.
        penalty: float >= 0, of `"raps"`, lambda in the paper.
        free_classes: int >= 0, of `"raps"`, k_reg in the paper: so many classes are in
            a set without a penalty.
        randomized: bool, see above.

    Raises:
        ValueError: for arguments out of range, or a penalty without `"raps"`.
        TypeError: for arguments of another type.

    Example:

    >>> from tfhyper import conformal
    >>> rule = conformal.ConformalSets(0.1, 0.6)
    >>> rule([[0.5, 0.42, 0.08], [0.98, 0.01, 0.01]]).tolist()
    [[True, True, False], [True, False, False]]

    Reference:
        Sadinle, Lei, Wasserman: Least ambiguous set-valued classifiers with bounded
        error levels, JASA 2019. Romano, Sesia, Candes: Classification with valid and
        adaptive coverage, NeurIPS 2020. Angelopoulos, Bates, Malik, Jordan:
        Uncertainty sets for image classifiers using conformal prediction, ICLR 2021,
        equation 4.
    """

    score: SetScore = "lac"
    penalty: float = 0.0
    free_classes: int = 0
    randomized: bool = False

    field: ClassVar[str] = "score"
    methods: ClassVar[tuple[str, ...]] = SET_SCORES

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("score", self.score, SET_SCORES)
        penalty = check_number("penalty", self.penalty)
        object.__setattr__(self, "penalty", penalty)
        check_integer("free_classes", self.free_classes, 0)
        check_bool("randomized", self.randomized)
        if self.score != "raps" and (penalty or self.free_classes):
            raise ValueError(
                '`penalty` and `free_classes` are of `score="raps"`. Received: '
                f"penalty={self.penalty}, free_classes={self.free_classes}, "
                f"score={self.score!r}"
            )
        if self.randomized and self.score == "lac":
            raise ValueError(
                '`randomized` must be False with `score="lac"`, which has nothing to '
                "draw. Received: randomized=True"
            )

    @property
    def by_class(self) -> bool:
        """Whether each class has a threshold of its own."""
        return len(self.thresholds[0]) > 1

    @property
    def held(self) -> str | None:
        """Returns why no predictor can hold it, in words; `None` if one can."""
        if self.randomized:
            return (
                "`randomized`: of a predictor the same input gets the same set. Call "
                "the rule with what it predicts, rule(prediction, seed=seed)"
            )
        return super().held

    def in_words(self) -> str:
        """Returns what it is, in a few words."""
        found = f"{self.score} sets that miss {self.alpha:g} at most"
        if self.by_class:
            found += " of each class"
        if self.groups is not None:
            found += f" in each of {len(self.groups)} groups"
        return found

    def __call__(
        self,
        probs: Any,
        groups: ArrayLike | None = None,
        *,
        seed: int | None = None,
    ) -> np.ndarray:
        """Returns which classes are in the sets: bool (examples, classes).

        Args:
            probs: a prediction of classes or of one label, or probabilities (examples,
                classes); one column p is of two classes, 1 - p and p.
            groups: the group of each example, (examples,), of a rule with groups.
            seed: int in 0 <= seed < 2**31 with `randomized`, another one than that of
                `fit_sets`, else `None`.

        Raises:
            ValueError: for what are no probabilities or of another number of classes;
                and for groups or a seed that are missing, or too many.
            TypeError: for what holds no numbers.
        """
        array = probabilities_of(probs)
        u = _uniform(seed, len(array), self.randomized)
        return self.of_probabilities(array, np, groups, u)

    def of_probabilities(
        self,
        probs: Tensor,
        xp: Any,
        groups: ArrayLike | None = None,
        u: np.ndarray | None = None,
    ) -> Tensor:
        """Returns the sets, of arrays or of tensors.

        Args:
            probs: (examples, classes).
            xp: `numpy`, or `keras.ops`.
            groups: the group of each example, or `None`.
            u: numbers in [0, 1), (examples, 1), or `None`.
        """
        classes = probs.shape[-1]
        if self.by_class and len(self.thresholds[0]) != classes:
            raise ValueError(
                f"`probs` must be of {len(self.thresholds[0])} classes, for which "
                f"there are thresholds. Received: {classes} classes"
            )
        thresholds = self.rows_for(groups, probs.shape[0], xp)
        found = scores_of(probs, self.score, self.penalty, self.free_classes, xp, u)
        return xp.less_equal(found, xp.add(thresholds, ROOM))


def scores_of(
    probs: Tensor,
    score: str,
    penalty: float,
    free_classes: int,
    xp: Any,
    u: np.ndarray | None = None,
) -> Tensor:
    """Returns the score of each class, see `ConformalSets`.

    Args:
        probs: (examples, classes), an array or a tensor.
        score: a name of `SET_SCORES`.
        penalty: lambda.
        free_classes: k_reg.
        xp: `numpy`, or `keras.ops`.
        u: (examples, 1), or `None` for 1.
    """
    if score == "lac":
        return xp.subtract(1.0, probs)
    # Among equals, that of the lower number comes first.
    order = xp.argsort(xp.negative(probs), axis=-1, **_stable(xp))
    sums = xp.cumsum(xp.take_along_axis(probs, order, axis=-1), axis=-1)
    place = xp.argsort(order, axis=-1)
    found = xp.take_along_axis(sums, place, axis=-1)
    found = xp.subtract(found, probs if u is None else xp.multiply(u, probs))
    if penalty:
        beyond = xp.add(_as(place, probs, xp), 1.0 - free_classes)
        found = xp.add(found, xp.multiply(penalty, xp.maximum(beyond, 0.0)))
    return found


def _stable(xp: Any) -> dict[str, str]:
    # Keras sorts so that equals keep their order.
    return {"kind": "stable"} if xp is np else {}


def _as(place: Tensor, probs: Tensor, xp: Any) -> Tensor:
    return place if xp is np else xp.cast(place, probs.dtype)


def probabilities_of(probs: Any) -> np.ndarray:
    """Returns float64 probabilities (examples, classes) of a prediction or an array.

    Raises:
        ValueError: for other axes, or what are no probabilities.
        TypeError: for what holds no numbers.
    """
    array = as_float_array("probs", probs.mean if _is_prediction(probs) else probs)
    if array.ndim != 2:
        raise ValueError(
            "`probs` must have the axes (examples, classes): the pixels of a map are "
            "not independent of each other, see `conformal.map_probabilities`. "
            f"Received: probs.shape={array.shape}"
        )
    wide = array.astype(np.float64)
    if array.shape[1] == 1:
        wide = np.concatenate([1.0 - wide, wide], axis=1)
    check_rows_of_probabilities("probs", wide.astype(array.dtype))
    return wide


def _is_prediction(value: Any) -> bool:
    """Whether it holds a mean, which an array computes."""
    return isinstance(getattr(value, "mean", None), np.ndarray)


def _uniform(seed: int | None, count: int, randomized: bool) -> np.ndarray | None:
    """Returns numbers in [0, 1), (count, 1), those of scikit-learn's random states."""
    if not randomized:
        if seed is not None:
            raise ValueError(
                "`seed` must be None without `randomized`: nothing is drawn. "
                f"Received: seed={seed!r}"
            )
        return None
    checked = check_integer("seed", seed, 0, 2**31 - 1)
    return np.random.RandomState(checked).uniform(size=(count, 1))


def fit_sets(
    labels: ArrayLike,
    probs: Any,
    alpha: float,
    score: SetScore = "lac",
    *,
    by_class: bool = False,
    groups: ArrayLike | None = None,
    penalty: float | None = None,
    free_classes: int | None = None,
    randomized: bool = False,
    seed: int | None = None,
    ignore_class: int | None = None,
) -> ConformalSets:
    """Returns the rule that calibration labels choose, of predictions that are there.

    Its threshold is the ceil((n + 1) (1 - alpha))-th smallest of the n scores of the
    true classes. If examples of calibration and new ones come in an order that says
    nothing (if they are exchangeable), the set of a new one misses its class with a
    probability of at most alpha: over both, and not for each calibration. With
    `by_class` that holds for the examples of each class, and with `groups` for those of
    each group, with both for the examples of each class in each group.

    Args:
        labels: class indices (examples,) or (examples, 1), or one-hot rows, of data
            that trained nothing, no scaling either.
        probs: a prediction of classes or of one label, or probabilities (examples,
            classes); one column p is of two classes, 1 - p and p.
        alpha: float in (0, 1), the fraction that may be missed.
        score: `"lac"`, `"aps"` or `"raps"`: see `ConformalSets`.
        by_class: bool, choose a threshold for each class.
        groups: the group of each example, integers or texts (examples,), to choose a
            threshold for each; or `None`.
        penalty: float >= 0, of `"raps"`; `None` for 0.01.
        free_classes: int >= 0, of `"raps"`; `None` for 1.
        randomized: bool, whether scores and sets are randomised: see `ConformalSets`.
        seed: int in 0 <= seed < 2**31 with `randomized`, else `None`.
        ignore_class: integer outside of the classes, whose examples are left out; or
            `None`.

    Raises:
        ValueError: for labels of one class, out of range or fewer than `alpha` needs
            (`least_examples`), of all, of a class or of a group; for what are no
            probabilities; and for arguments that are out of range or do not go
            together.
        TypeError: for what holds no numbers.

    Warns:
        CalibrationWarning: if none of 50 labels or more is told wrongly, as of data
            that trained the network.

    Example:

    >>> from tfhyper import conformal
    >>> prediction = predictor.predict(x_val)
    >>> rule = conformal.fit_sets(y_val, prediction, alpha=0.1, score="aps")
    >>> sets = rule(predictor.predict(x_test))
    >>> sets.shape, sets.dtype.name
    ((2000, 10), 'bool')
    >>> held = sets[np.arange(2000), y_test]
    >>> bool(held.mean() > 0.85)
    True

    Reference:
        Vovk, Gammerman, Shafer: Algorithmic learning in a random world, 2005, sections
        2.2 and 4.5. Sadinle et al. 2019, Romano et al. 2020, Angelopoulos et al. 2021:
        see `ConformalSets`.
    """
    alpha = check_alpha(alpha)
    check_choice("score", score, SET_SCORES)
    check_bool("by_class", by_class)
    check_bool("randomized", randomized)
    if score == "raps":
        penalty = _PENALTY if penalty is None else penalty
        free_classes = _FREE if free_classes is None else free_classes
    options: dict[str, Any] = {
        "score": score,
        "penalty": 0.0 if penalty is None else penalty,
        "free_classes": 0 if free_classes is None else free_classes,
        "randomized": randomized,
    }
    ConformalSets(alpha, 0.0, **options)  # for its checks
    array = probabilities_of(probs)
    u = _uniform(seed, len(array), randomized)
    read = read_labelled(labels, array, None, ignore_class, may_be_empty=True)
    found = None if groups is None else check_groups(groups, len(array))
    if not read.counts.all():
        u = None if u is None else u[read.counts]
        if found is not None:
            found = [x for x, kept in zip(found, read.counts, strict=True) if kept]
    _check_classes(read.labels)
    numbers = options["penalty"], options["free_classes"]
    scores = scores_of(read.probs, score, *numbers, np, u)
    own = np.take_along_axis(scores, read.labels[:, None], axis=-1)
    classes = array.shape[1]
    names = [f"class {i}" for i in range(classes)] if by_class else [""]
    known, cells, words = cells_of(found, read.labels if by_class else None, names)
    rows = thresholds_of(own, alpha, cells, words)
    if len(own) >= _MANY and (read.probs.argmax(-1) == read.labels).all():
        warnings.warn(
            f"None of {len(own)} labels is told wrongly, as of data that trained the "
            "network. On such data sets come out too small for others: calibrate by "
            "data that trained nothing",
            CalibrationWarning,
            stacklevel=2,
        )
    return ConformalSets(alpha, rows, known, **options)


def _check_classes(labels: np.ndarray) -> None:
    if not len(labels):
        raise ValueError("`y` must hold labels that count. Received: none")
    if (labels == labels[0]).all():
        raise ValueError(
            "`y` must hold labels of two classes or more: new examples are not all of "
            f"one. Received: {len(labels)} labels, all of them {labels[0]}"
        )


def conformal_sets(
    predictor: Any,
    x: Structure,
    y: ArrayLike | None = None,
    alpha: float = 0.1,
    score: SetScore = "lac",
    *,
    by_class: bool = False,
    groups: ArrayLike | None = None,
    penalty: float | None = None,
    free_classes: int | None = None,
    randomized: bool = False,
    seed: int | None = None,
    batch_size: int = 128,
    verbose: Verbose = "auto",
) -> ConformalSets:
    """Returns the rule that calibration data choose for what a predictor says.

    As `fit_sets`, of inputs. A predictor's `fit_conformal` keeps the rule, so that
    predictions, files and exports have it.

    Args:
        predictor: a `PosteriorPredictor` or `DeepEnsemble` of classes or one label.
        x: inputs as an array, or a dataset of (inputs, labels), of data that trained
            nothing. A dataset's sample weights, and a mask of Keras, may leave examples
            out, by 0, and say nothing else.
        y: labels, where `x` is an array, as for `evaluate`.
        alpha: float in (0, 1), the fraction of new examples that may be missed.
        score: `"lac"`, `"aps"` or `"raps"`: see `ConformalSets`.
        by_class: bool, choose a threshold for each class.
        groups: the group of each example, in the order of the data; or `None`.
        penalty: float >= 0, of `"raps"`; `None` for 0.01.
        free_classes: int >= 0, of `"raps"`; `None` for 1.
        randomized: bool, see `ConformalSets`.
        seed: int in 0 <= seed < 2**31 with `randomized`, else `None`.
        batch_size: int > 0, for arrays.
        verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes longer
            than some seconds and a terminal or a notebook shows it.

    Raises:
        TypeError: for something that is no predictor.
        ValueError: as `fit_sets` and `evaluate`; and for a predictor of numbers, of
            several labels or outputs, or of maps, for which `map_probabilities` is.

    Example:

    >>> from tfhyper import conformal
    >>> rule = conformal.conformal_sets(predictor, x_val, y_val, alpha=0.1)
    >>> sets = rule(predictor.predict(x_test))
    >>> bool(sets[np.arange(2000), y_test].mean() > 0.85)
    True
    """
    alpha = check_alpha(alpha)
    check_choice("score", score, SET_SCORES)
    parts = predict_labelled(predictor, score, x, y, batch_size, verbose)
    labels, probs, counts = [], [], []
    ignored = None
    for of_part, prediction, kept in parts:
        labels.append(of_part.reshape(-1))
        probs.append(probabilities_of(prediction))
        counts.append(kept)
        ignored = prediction.ignore_class
    kept = np.concatenate(counts)
    if groups is not None:
        of_examples = check_groups(groups, len(kept))
        groups = [x for x, keep in zip(of_examples, kept, strict=True) if keep]
    if not kept.any():
        raise ValueError("`y` must hold labels that count. Received: none")
    return fit_sets(
        np.concatenate(labels)[kept],
        np.concatenate(probs)[kept],
        alpha,
        score,
        by_class=by_class,
        groups=groups,
        penalty=penalty,
        free_classes=free_classes,
        randomized=randomized,
        seed=seed,
        ignore_class=ignored,
    )
