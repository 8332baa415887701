"""Thresholds, sets and intervals: beside MAPIE, and beside the papers' formulas."""

import math
from fractions import Fraction

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import RAPSConformityScore, ResidualNormalisedScore
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from tfhyper import conformal, scaling
from tfhyper.conformal import ConformalIntervals, ConformalSets
from tfhyper.posterior import RegressionPrediction

RNG = np.random.default_rng(0)
PROBS = RNG.dirichlet(np.full(6, 0.4), size=500)
LABELS = np.array([RNG.choice(6, p=p) for p in 0.7 * PROBS + 0.05])
KNOWN, NEW = slice(0, 300), slice(300, 500)
SCORES = ("lac", "aps", "raps")


class Given(ClassifierMixin, BaseEstimator):
    """Says the probabilities that stand in a row's place: rows are numbers of rows."""

    def fit(self, x, y):
        self.classes_ = np.arange(6)
        return self

    def predict_proba(self, x):
        return PROBS[np.asarray(x)[:, 0]]

    def predict(self, x):
        return self.predict_proba(x).argmax(-1)


class Same(np.random.RandomState):
    """Draws the same number each time."""

    value = 1.0

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.full(size, self.value)


def of_mapie(score, random_state, **options):
    rows = np.arange(500)[:, None]
    made = SplitConformalClassifier(
        Given().fit(None, None),
        confidence_level=0.8,
        conformity_score=score,
        random_state=random_state,
    )
    made.conformalize(rows[KNOWN], LABELS[KNOWN])
    options = {"conformity_score_params": options} if options else {}
    return made.predict_set(rows[NEW], **options)[1][:, :, 0]


def by_hand(probs, score, penalty, free_classes, u=1.0):
    """Returns the scores of all classes, in loops."""
    found = np.zeros(probs.shape)
    for i, row in enumerate(probs):
        order = sorted(range(len(row)), key=lambda c: (-row[c], c))
        for place, c in enumerate(order, 1):
            if score == "lac":
                found[i, c] = 1 - row[c]
            else:
                found[i, c] = math.fsum(row[k] for k in order[:place])
                found[i, c] -= np.broadcast_to(u, len(probs))[i] * row[c]
            if score == "raps":
                found[i, c] += penalty * max(0, place - free_classes)
    return found


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_sets_are_those_of_mapie(score):
    # Without a draw the class that crosses the threshold is in the set: u is 1 then.
    expected = of_mapie(score, Same(), include_last_label="randomized")
    rule = conformal.fit_sets(LABELS[KNOWN], PROBS[KNOWN], 0.2, score)
    np.testing.assert_array_equal(rule(PROBS[NEW]), expected)
    assert 0.7 < np.take_along_axis(expected, LABELS[NEW, None], 1).mean() < 0.9


def test_randomised_sets_are_those_of_mapie():
    expected = of_mapie("aps", 7, include_last_label="randomized")
    rule = conformal.fit_sets(
        LABELS[KNOWN], PROBS[KNOWN], 0.2, "aps", randomized=True, seed=7
    )
    np.testing.assert_array_equal(rule(PROBS[NEW], seed=7), expected)
    assert (rule(PROBS[NEW], seed=8) != expected).any()


def test_the_regularised_threshold_is_that_of_mapie():
    # MAPIE chooses lambda and k by a part of the data, and the threshold by the rest.
    score = RAPSConformityScore()
    whole = of_mapie(score, Same(), include_last_label=True)
    rest = np.setdiff1d(np.arange(300), score.X_raps[:, 0])
    assert len(rest) + len(score.X_raps) == 300
    rule = conformal.fit_sets(
        LABELS[rest],
        PROBS[rest],
        0.2,
        "raps",
        penalty=float(score.lambda_star),
        free_classes=int(score.k_star[0]),
    )
    assert rule.thresholds[0][0] == pytest.approx(float(score.quantiles_[0]), abs=1e-12)
    # Of the class that crosses it, MAPIE takes the penalty of the one before.
    found = rule(PROBS[NEW])
    assert (found <= whole).all() and 0.6 < found.sum() / whole.sum() <= 1


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("randomized", [False, True])
def test_every_form_by_hand(score, by_class, grouped, randomized):
    if score == "lac" and randomized:
        return
    options = {"penalty": 0.05, "free_classes": 2} if score == "raps" else {}
    groups = np.where(np.arange(500) % 3 == 0, "b", "a") if grouped else None
    seed, later = (3, 4) if randomized else (None, None)
    rule = conformal.fit_sets(
        LABELS[KNOWN],
        PROBS[KNOWN],
        0.2,
        score,
        by_class=by_class,
        groups=groups[KNOWN] if grouped else None,
        randomized=randomized,
        seed=seed,
        **options,
    )
    draw = np.random.RandomState(3).uniform(size=300) if randomized else 1.0
    numbers = (score, 0.05, 2)
    own = by_hand(PROBS[KNOWN], *numbers, draw)[np.arange(300), LABELS[KNOWN]]
    draw = np.random.RandomState(4).uniform(size=200) if randomized else 1.0
    scores = by_hand(PROBS[NEW], *numbers, draw)
    expected = np.zeros((200, 6), bool)
    for i in range(200):
        for c in range(6):
            like = np.ones(300, bool)
            if by_class:
                like &= LABELS[KNOWN] == c
            if grouped:
                like &= groups[KNOWN] == groups[NEW][i]
            k = math.ceil(Fraction(8, 10) * (like.sum() + 1))
            expected[i, c] = scores[i, c] <= np.sort(own[like])[k - 1] + 1e-6
    found = rule(PROBS[NEW], groups[NEW] if grouped else None, seed=later)
    np.testing.assert_array_equal(found, expected)
    assert (len(rule.thresholds), len(rule.thresholds[0])) == (
        2 if grouped else 1,
        6 if by_class else 1,
    )
    assert rule.by_class == by_class
    assert rule.groups == (("a", "b") if grouped else None)
    assert type(rule)(**rule.to_json()) == rule


def test_equals_have_the_order_of_their_numbers():
    rule = ConformalSets(0.1, 0.5, score="aps")
    probs = [[0.25, 0.25, 0.25, 0.25], [0.1, 0.4, 0.1, 0.4]]
    assert rule(probs).tolist() == [
        [True, True, True, False],
        [False, True, False, True],
    ]


def test_one_column_is_two_classes():
    one = PROBS[:, :1]
    both = np.concatenate([1 - one, one], axis=1)
    labels = (RNG.uniform(size=500) < one[:, 0]).astype(int)
    rule = conformal.fit_sets(labels, one, 0.3, "aps")
    assert rule == conformal.fit_sets(labels, both, 0.3, "aps")
    np.testing.assert_array_equal(rule(one), rule(both))


def test_one_hot_rows_and_labels_that_do_not_count():
    expected = conformal.fit_sets(LABELS, PROBS, 0.2)
    assert conformal.fit_sets(np.eye(6)[LABELS], PROBS, 0.2) == expected
    assert conformal.fit_sets(LABELS[:, None], PROBS, 0.2) == expected
    labels = np.concatenate([np.full(9, 255), LABELS])
    probs = np.concatenate([PROBS[:9], PROBS])
    groups = ["none"] * 9 + ["one"] * 500
    found = conformal.fit_sets(labels, probs, 0.2, groups=groups, ignore_class=255)
    assert found.groups == ("one",) and found.thresholds == expected.thresholds


# --- intervals -------------------------------------------------------------------


def prediction(targets=None):
    shape = (500,) if targets is None else (500, targets)
    rng = np.random.default_rng(1)
    mean, std = 10 * rng.normal(size=shape), rng.uniform(0.5, 2, size=shape)
    return RegressionPrediction(mean, std**2, std**2, 0 * std)


PREDICTION = prediction()
TARGETS = PREDICTION.mean + 1.5 * PREDICTION.std * RNG.standard_t(4, size=500)


class Says(RegressorMixin, BaseEstimator):
    """Says a number for each row."""

    fitted_ = True

    def __init__(self, values=None):
        self.values = values

    def fit(self, x, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, x):
        return self.values[np.asarray(x)[:, 0]]


def intervals_of_mapie(method):
    mean, std = PREDICTION.mean, PREDICTION.std
    rows = np.arange(500)[:, None]
    options = {}
    if method == "quantile":
        z = stats.norm.ppf(0.9)
        three = [Says(mean - z * std), Says(mean + z * std), Says(mean)]
        made = ConformalizedQuantileRegressor(three, confidence_level=0.8, prefit=True)
        options = {"symmetric_correction": True}
    else:
        score = "absolute"
        if method == "normalized":
            score = ResidualNormalisedScore(Says(std), prefit=True)
        made = SplitConformalRegressor(
            Says(mean), confidence_level=0.8, conformity_score=score
        )
    made.conformalize(rows[KNOWN], TARGETS[KNOWN])
    return made.predict_interval(rows[NEW], **options)[1][:, :, 0].T


@pytest.mark.parametrize("method", ["split", "normalized", "quantile"])
def test_intervals_are_those_of_mapie(method):
    rule = conformal.fit_intervals(TARGETS[KNOWN], PREDICTION.take(KNOWN), 0.2, method)
    found = rule(PREDICTION.take(NEW))
    np.testing.assert_allclose(found, intervals_of_mapie(method), rtol=1e-6)
    inside = (found.lower <= TARGETS[NEW]) & (TARGETS[NEW] <= found.upper)
    assert 0.7 < inside.mean() < 0.9
    assert type(rule)(**rule.to_json()) == rule


@pytest.mark.parametrize("method", ["split", "normalized", "quantile"])
def test_each_target_and_each_group_has_a_threshold(method):
    several, groups = prediction(3), np.arange(500) % 2
    scale = np.array([1.0, 3.0, 0.5])
    targets = several.mean + scale * RNG.normal(size=(500, 3))
    rule = conformal.fit_intervals(targets, several, 0.1, method, groups=groups)
    assert np.shape(rule.thresholds) == (2, 3) and rule.groups == (0, 1)
    lower, upper = rule(several, groups)
    for group in (0, 1):
        of_group = groups == group
        for i in range(3):
            one = RegressionPrediction(
                *(getattr(several, x)[of_group, i] for x in PARTS)
            )
            alone = conformal.fit_intervals(targets[of_group, i], one, 0.1, method)
            assert alone.thresholds[0][0] == rule.thresholds[group][i]
            np.testing.assert_allclose(
                alone(one), (lower[of_group, i], upper[of_group, i]), rtol=1e-12
            )
            k = math.ceil(0.9 * 251)
            inside = (lower <= targets) & (targets <= upper)
            assert inside[of_group, i].sum() == k


PARTS = ("mean", "variance", "aleatoric", "epistemic")


def test_intervals_that_are_too_wide_shrink_and_do_not_cross():
    one = RegressionPrediction(*(np.ones(50) * x for x in (3.0, 4.0, 4.0, 0.0)))
    targets = 3 + 0.1 * RNG.normal(size=50)
    rule = conformal.fit_intervals(targets, one, 0.1, "quantile")
    assert rule.thresholds[0][0] < -2.5
    lower, upper = rule(one)
    assert (upper - lower < 1).all()
    assert ((lower <= targets) & (targets <= upper)).sum() == 46
    lower, upper = ConformalIntervals(0.1, -99.0, method="quantile")(one)
    np.testing.assert_array_equal(lower, upper)
    np.testing.assert_allclose(lower, 3.0)


def test_what_is_at_the_threshold_stays_inside_when_it_is_rounded():
    whole = RNG.integers(0, 5, 400) + 0.1
    same = RegressionPrediction(*(np.full(400, x) for x in (1.7, 1.0, 1.0, 0.0)))
    for method in ("split", "normalized", "quantile"):
        rule = conformal.fit_intervals(whole, same, 0.25, method)
        lower, upper = rule(same)
        k = math.ceil(0.75 * 401)
        assert ((lower <= whole) & (whole <= upper)).sum() >= k


# --- how many are enough ---------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.1, 0.05, 0.01, 1 / 3, 0.9, 0.07])
def test_the_fewest_examples(alpha):
    least = conformal.least_examples(alpha)
    exact = Fraction(alpha).limit_denominator(1000)
    assert math.ceil((least + 1) * (1 - exact)) <= least
    assert least == 1 or math.ceil(least * (1 - exact)) > least - 1
    one = PREDICTION.take(slice(0, least))
    rule = conformal.fit_intervals(TARGETS[:least], one, alpha)
    k = math.ceil((least + 1) * (1 - exact))
    residuals = np.sort(np.abs(TARGETS[:least] - one.mean))
    assert rule.thresholds[0][0] == residuals[k - 1]
    if least > 1:
        one = PREDICTION.take(slice(0, least - 1))
        with pytest.raises(ValueError, match=f"at least {least} labels.*: {least - 1}"):
            conformal.fit_intervals(TARGETS[: least - 1], one, alpha)


def test_each_threshold_needs_its_own():
    labels = np.concatenate([np.zeros(30, int), np.full(3, 1), np.full(30, 2)])
    probs = RNG.dirichlet(np.ones(4), size=63)
    with pytest.raises(
        ValueError, match="at least 9 .*each threshold.*3 of class 1, 0 of class 3"
    ):
        conformal.fit_sets(labels, probs, 0.1, by_class=True)
    with pytest.raises(ValueError, match="Received: 3 of group 'few'"):
        conformal.fit_sets(labels, probs, 0.1, groups=["few"] * 3 + ["many"] * 60)
    with pytest.raises(ValueError, match="1 of class 0 in group 5"):
        conformal.fit_sets(
            labels[labels != 1],
            probs[labels != 1, :3] / probs[labels != 1, :3].sum(1, keepdims=True),
            0.1,
            by_class=True,
            groups=[5] + [7] * 59,
        )


# --- refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"alpha": 0}, "`alpha` must be in 0 < alpha < 1.*Received: alpha=0"),
        ({"alpha": 1.0}, "`alpha` must be in 0 < alpha < 1.*alpha=1.0"),
        ({"alpha": np.nan}, "`alpha`.*alpha=nan"),
        ({"alpha": "0.1"}, "`alpha`"),
        ({"score": "margin"}, "`score` must be one of"),
        ({"by_class": 1}, "`by_class` must be True or False"),
        ({"randomized": "yes", "score": "aps"}, "`randomized` must be True or False"),
        ({"randomized": True, "seed": 1}, "`randomized` must be False"),
        ({"randomized": True, "score": "aps"}, "`seed` must be.*seed=None"),
        ({"seed": 1}, "`seed` must be None"),
        ({"penalty": 0.1}, "`penalty` and `free_classes` are of"),
        ({"free_classes": 2, "score": "aps"}, "`penalty` and `free_classes` are of"),
        ({"penalty": -1, "score": "raps"}, "`penalty` must be a finite number >= 0"),
        ({"free_classes": 1.5, "score": "raps"}, "`free_classes` must be"),
        ({"labels": LABELS[:9]}, "`labels`"),
        ({"labels": np.full(500, 6)}, "`labels`.*6"),
        ({"labels": np.full(500, -1)}, "`labels`"),
        ({"labels": np.full(500, 2)}, "labels of two classes.*500 labels, all.*2"),
        ({"labels": np.zeros(0, int), "probs": np.zeros((0, 6))}, "`probs`|`y`"),
        ({"labels": LABELS + 0.5}, "`labels`"),
        ({"probs": np.full((500, 6), np.nan)}, "`probs`"),
        ({"probs": PROBS * 2}, "`probs`"),
        ({"probs": PROBS[:, None]}, "`probs` must have the axes .*map_probabilities"),
        ({"groups": np.zeros(499, int)}, "`groups` must be a row of 500 groups"),
        ({"groups": np.zeros((500, 2), int)}, "`groups` must be a row"),
        ({"ignore_class": 2}, "`ignore_class`"),
    ],
)
def test_what_no_set_can_be_made_of_is_refused(changes, words):
    given = {"labels": LABELS, "probs": PROBS, "alpha": 0.1, **changes}
    with pytest.raises(ValueError, match=words):
        conformal.fit_sets(**given)


@pytest.mark.parametrize(
    "changes, error, words",
    [
        ({"alpha": 2}, ValueError, "`alpha`"),
        ({"method": "cqr"}, ValueError, "`method` must be one of"),
        ({"targets": TARGETS[:-1]}, ValueError, "`targets` must have the shape"),
        ({"targets": np.full(500, np.nan)}, ValueError, "`targets`"),
        ({"targets": ["a"] * 500}, TypeError, "`targets`"),
        ({"prediction": TARGETS}, TypeError, "`prediction` must be one of"),
        ({"groups": np.zeros(500)}, TypeError, "`groups` must hold integers, or"),
        ({"groups": [1, "a"] * 250}, TypeError, "`groups` must hold integers, or"),
        ({"groups": [True] * 500}, TypeError, "`groups` must hold integers, or"),
    ],
)
def test_what_no_interval_can_be_made_of_is_refused(changes, error, words):
    given = {"targets": TARGETS, "prediction": PREDICTION, "alpha": 0.1, **changes}
    with pytest.raises(error, match=words):
        conformal.fit_intervals(**given)


def test_maps_and_sure_predictions_are_refused():
    maps = RegressionPrediction(*(np.ones((5, 4, 4)) for _ in PARTS))
    with pytest.raises(ValueError, match="`prediction` must have the axes"):
        conformal.fit_intervals(np.ones((5, 4, 4)), maps, 0.5)
    sure = RegressionPrediction(*(np.zeros(50) for _ in PARTS))
    with pytest.raises(ValueError, match="a standard deviation above 0"):
        conformal.fit_intervals(np.ones(50), sure, 0.5, "normalized")


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: ConformalSets(0.1, np.nan), ValueError, "`thresholds` must be finite"),
        (lambda: ConformalSets(0.1, []), ValueError, "`thresholds` must be a number"),
        (lambda: ConformalSets(0.1, "a"), TypeError, "`thresholds`"),
        (lambda: ConformalSets(0.1, [[0.1], [0.2]]), ValueError, "2 rows, groups=None"),
        (lambda: ConformalSets(0.1, 0.2, ("a", "b")), ValueError, "1 rows"),
        (lambda: ConformalSets(0.1, 0.2, "a"), TypeError, "`groups` must be a seq"),
        (lambda: ConformalSets(1.1, 0.2), ValueError, "`alpha`"),
        (lambda: ConformalIntervals(0.1, -0.2), ValueError, "`thresholds` must be >= "),
        (lambda: ConformalIntervals(0.1, 1, method=3), ValueError, "`method`"),
    ],
)
def test_rules_out_of_range_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_rules_are_refused_what_they_are_not_of():
    of_class = ConformalSets(0.1, [0.5, 0.6, 0.7])
    with pytest.raises(ValueError, match="`probs` must be of 3 classes"):
        of_class(PROBS)
    with pytest.raises(ValueError, match="`groups` must be None"):
        ConformalSets(0.1, 0.5)(PROBS, np.zeros(500, int))
    of_groups = ConformalSets(0.1, [[0.5], [0.6]], (1, 2))
    with pytest.raises(ValueError, match="`groups` must hold.*groups=None"):
        of_groups(PROBS)
    with pytest.raises(ValueError, match="among those of the calibration.*: 3"):
        of_groups(PROBS, [1] * 499 + [3])
    with pytest.raises(ValueError, match="`seed` must be None"):
        of_class(PROBS[:, :3] / PROBS[:, :3].sum(1, keepdims=True), seed=1)
    with pytest.raises(ValueError, match="`prediction` must be of 2 targets"):
        ConformalIntervals(0.1, [1.0, 2.0])(PREDICTION)
    with pytest.raises(TypeError, match="`prediction` must be one of a regression"):
        ConformalIntervals(0.1, 1.0)(TARGETS)


def test_data_without_an_error_look_like_those_of_the_training():
    labels = PROBS.argmax(-1)
    with pytest.warns(scaling.CalibrationWarning, match="None of 500 labels is told"):
        conformal.fit_sets(labels, PROBS, 0.1)
