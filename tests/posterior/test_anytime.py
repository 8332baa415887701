"""Stopping early against all orders of small populations, the formula, `predict`."""

import itertools
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import scipy.stats

from tests.helpers.layers import normal
from tfhyper import AnytimePrediction, DeepEnsemble, PosteriorPredictor, layers
from tfhyper.posterior.running.anytime import packed
from tfhyper.posterior.running.race import Race
from tfhyper.posterior.running.weight_cache import BoundNetwork

SIZE, DRAWS = 45, 16


def race(members, confidence, min_draws=1):
    """Runs a race over (draws, inputs, classes); returns draws used and labels."""
    draws, size, classes = members.shape
    found = Race(size, classes, draws, confidence)
    for i, probs in enumerate(members, 1):
        found.add(probs[found.running], i >= min_draws)
    return found.rounds, found.label


def full_label(members):
    return members.mean(0).argmax(-1)


def one_hot_orders(counts):
    """All orders of draws, each sure of its class, as inputs of one race."""
    draws = [c for c, count in enumerate(counts) for _ in range(count)]
    if len(counts) == 2:
        places = itertools.combinations(range(len(draws)), counts[1])
        orders = [[int(i in place) for i in range(len(draws))] for place in places]
    else:
        orders = sorted(set(itertools.permutations(draws)))
    return np.eye(len(counts))[np.array(orders)].swapaxes(0, 1)


def all_orders(population):
    orders = np.array(list(itertools.permutations(range(len(population)))))
    return population[orders].swapaxes(0, 1)


def near_tie(draws, classes, seed):
    """Draws that disagree, with sums of the two leaders that nearly tie."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(classes, 0.2), size=draws)
    # Swapping two classes in some draws brings their sums near each other.
    for i in range(draws):
        lead = probs[:, 0].sum() - probs[:, 1].sum()
        if lead * (probs[i, 0] - probs[i, 1]) > lead**2 / 2:
            probs[i, :2] = probs[i, 1::-1]
    return probs


# The probability of another label, exact: every order once.

POPULATIONS = {
    "4:3": one_hot_orders((4, 3)),
    "5:5": one_hot_orders((5, 5)),
    "7:6": one_hot_orders((7, 6)),
    "6:9": one_hot_orders((6, 9)),
    "3:2:3": one_hot_orders((3, 2, 3)),
    "near tie of 3": all_orders(near_tie(7, 3, seed=0)),
    "near tie of 5": all_orders(near_tie(7, 5, seed=1)),
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_errors_over_all_orders_are_as_rare_as_stated(name):
    members = POPULATIONS[name]
    for confidence in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0):
        _, label = race(members, confidence)
        assert np.mean(label != full_label(members)) <= 1 - confidence + 1e-12


def test_the_confidence_is_made_use_of():
    members = POPULATIONS["7:6"]
    draws, errors = [], []
    for confidence in (1.0, 0.99, 0.9, 0.7):
        used, label = race(members, confidence)
        draws.append(used.mean())
        errors.append(np.mean(label != 0))
    assert draws == sorted(draws, reverse=True) and draws[-1] < 0.9 * draws[0]
    assert errors[0] == 0 and errors[-1] > 0.05


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.99])
@pytest.mark.parametrize("draws, classes", [(16, 10), (64, 3)])
def test_errors_of_simulated_draws_are_as_rare_as_stated(draws, classes, confidence):
    """4000 random orders of one population; four standard errors are allowed."""
    population = near_tie(draws, classes, seed=2)
    rng = np.random.default_rng(3)
    orders = rng.permuted(np.tile(np.arange(draws), (4000, 1)), axis=1)
    _, label = race(population[orders].swapaxes(0, 1), confidence)
    errors = np.mean(label != full_label(population[:, None]))
    rate = 1 - confidence
    assert errors <= rate + 4 * math.sqrt(rate * confidence / 4000)


def test_an_interval_by_students_t_would_not_do():
    """Why the rule is another: the same population, a t interval at each draw."""
    members = POPULATIONS["7:6"]
    draws, lead = len(members), members[..., 0] - members[..., 1]
    label = np.full(lead.shape[1], -1)
    for n in range(2, draws):
        error = lead[:n].std(0, ddof=1) * math.sqrt((1 - n / draws) / n)
        mean = lead[:n].mean(0)
        stops = (label < 0) & (abs(mean) > scipy.stats.t.ppf(0.99, n - 1) * error)
        label[stops] = mean[stops] < 0
    assert np.mean(label == 1) == pytest.approx(0.19, abs=0.005)
    assert np.mean(race(members, 0.99)[1] == 1) == pytest.approx(6e-4, abs=5e-5)


# When it stops.


def certain_draws(members):
    """The first n at which no class can come to lead, input by input."""
    draws, size, _ = members.shape
    found = np.full(size, draws)
    for j in range(size):
        for n in range(draws, 0, -1):
            second, first = np.sort(members[:n, j].sum(0))[-2:]
            if first - second > draws - n + 1e-5:
                found[j] = n
    return found


def test_what_is_certain_stops_as_soon_as_it_is():
    rng = np.random.default_rng(0)
    members = rng.dirichlet(np.full(4, 0.05), size=(9, 300))
    members[:, :150] = members[:1, :150] * 0.9 + 0.1 * members[:, :150]
    used, label = race(members, 1.0)
    np.testing.assert_array_equal(used, certain_draws(members))
    np.testing.assert_array_equal(label, full_label(members))
    assert 5 <= used.min() and used.max() == 9


def stops_by_formula(probs, confidence):
    """The module's formula in exact fractions; `probs` are of one input."""
    probs = [[Fraction(float(p)) for p in draw] for draw in probs]
    draws, classes = len(probs), len(probs[0])
    out, total = set(), [Fraction(0)] * classes
    wealth = {(c, f): Fraction(1) for c in range(classes) for f in (1, Fraction(1, 2))}
    for n, draw in enumerate(probs, 1):
        for w in range(classes):
            r = max((c for c in range(classes) if c != w), key=lambda c: total[c])
            e = Fraction(1, 2) - (total[r] - total[w]) / (2 * (draws - n + 1))
            # A draw's y is at most 1, whatever is left.
            e, y = min(e, 1), (1 + draw[r] - draw[w]) / 2
            for f in (1, Fraction(1, 2)):
                wealth[w, f] *= 1 - f + f * y / e if e > 0 else 1
            if (wealth[w, 1] + wealth[w, Fraction(1, 2)]) / 2 >= 1 / (1 - confidence):
                out.add(w)
        total = [a + b for a, b in zip(total, draw, strict=True)]
        lead = max(total)
        out |= {w for w in range(classes) if lead - total[w] > draws - n + 2e-5}
        if len(out - {total.index(lead)}) == classes - 1:
            return n
    return draws


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_stops_where_the_formula_says(confidence):
    rng = np.random.default_rng(5)
    members = rng.dirichlet([0.6, 0.1, 0.1], size=(12, 40))
    used, _ = race(members, confidence)
    expected = [stops_by_formula(members[:, j], confidence) for j in range(40)]
    np.testing.assert_array_equal(used, expected)
    assert len(set(expected)) > 3


@pytest.mark.parametrize(
    "draws, confidence, fewest", [(16, 0.99, 6), (64, 0.99, 7), (1000, 0.99, 7)]
)
def test_no_rule_stops_before_the_bound(draws, confidence, fewest):
    """n draws for one class begin an even split with a hypergeometric probability."""
    half = draws // 2
    chance = [
        math.comb(draws - n, half) / math.comb(draws, half) for n in range(half + 1)
    ]
    assert chance[fewest] <= 1 - confidence < chance[fewest - 1]
    used, _ = race(np.tile([1.0, 0.0], (draws, 1, 1)), confidence)
    assert fewest <= used[0] <= fewest + 2


def test_fewest_draws_can_be_asked_for():
    members = np.tile([1.0, 0.0], (16, 3, 1))
    for fewest in (1, 9, 12, 16):
        used, _ = race(members, 0.9, fewest)
        assert (used == max(fewest, race(members, 0.9)[0][0])).all()


# The predictor.


def inputs():
    """Some inputs that all draws agree about, some that none is sure of."""
    x = normal(SIZE, 5)
    x[::3] *= 30
    return x


X = inputs()


def network(seed=0, drops=False):
    keras.utils.set_random_seed(seed)
    first = keras.layers.Dense(6, activation="relu")
    if not drops:
        first = layers.BayesDense(6, initial_scale=0.1, activation="relu", seed=seed)
    dropout = [layers.MCDropout(0.3, seed=1)] if drops else []
    tail = [keras.layers.Dense(3)]
    return keras.Sequential([keras.Input((5,)), first, *dropout, *tail])


def predictor(drops=False, **options):
    return PosteriorPredictor(network(drops=drops), num_draws=DRAWS, **options)


def ensemble(draws_per_member=1, members=8):
    return DeepEnsemble(
        [network() if i == 0 else near(i) for i in range(members)],
        draws_per_member=draws_per_member,
    )


def near(seed):
    """A network near the first: trained apart, they would agree about most."""
    model, rng = network(), np.random.default_rng(seed)
    model.set_weights([w + rng.normal(0, 0.03, w.shape) for w in model.get_weights()])
    return model


MAKERS = {
    "posterior": predictor,
    "dropout": lambda: predictor(drops=True),
    "ensemble": ensemble,
    "ensemble of draws": lambda: ensemble(3),
    "one model of draws": lambda: ensemble(16, 1),
}


@pytest.fixture(scope="module", params=MAKERS)
def case(request):
    averaged = MAKERS[request.param]()
    return averaged, averaged.predict(X)


@pytest.mark.parametrize("check", [False, True])
def test_means_are_those_of_the_draws_used(case, check):
    averaged, full = case
    found = averaged.predict_anytime(X, 0.9, batch_size=16, check=check)
    assert isinstance(found, AnytimePrediction) and found.confidence == 0.9
    assert found.total_draws == averaged.num_draws
    expected = [full.members[:n, j].mean(0) for j, n in enumerate(found.num_draws)]
    np.testing.assert_allclose(found.mean, expected, atol=1e-5)
    np.testing.assert_array_equal(found.label, found.mean.argmax(-1))
    assert 2 <= found.num_draws.min() < averaged.num_draws
    if check:
        np.testing.assert_allclose(found.full_mean, full.mean, atol=1e-6)
        same = found.label == full.mean.argmax(-1)
        assert found.agreement == pytest.approx(same.mean()) and same.mean() > 0.85


def test_draws_used_are_those_of_the_members(case):
    averaged, full = case
    together = getattr(averaged, "draws_per_member", 1)
    if getattr(averaged, "num_members", 2) == 1:
        together = 1
    members = full.members.reshape(-1, together, *full.members.shape[1:]).mean(1)
    for confidence in (0.8, 0.9, 1.0):
        used, _ = race(members, confidence)
        found = averaged.predict_anytime(X, confidence, min_draws=1)
        # Rounding may tip a bet that is on the edge.
        assert np.mean(found.num_draws == used * together) > 0.97
        assert (found.num_draws % together == 0).all()


def test_certain_labels_agree(case):
    averaged, full = case
    found = averaged.predict_anytime(X, 1.0)
    np.testing.assert_array_equal(found.label, full.mean.argmax(-1))


class Spy:
    """Keeps the sizes of the batches that networks are given."""

    def __init__(self, monkeypatch):
        self.sizes = []
        send = BoundNetwork.__call__

        def counted(run, x, first=0):
            self.sizes.append(len(keras.tree.flatten(x)[0]))
            return send(run, x, first)

        monkeypatch.setattr(BoundNetwork, "__call__", counted)


def test_what_is_decided_is_left_out(monkeypatch):
    averaged = predictor()
    spy = Spy(monkeypatch)
    found = averaged.predict_anytime(X, 0.9, batch_size=16)
    # The first draw reads the batches as they are: 16, 16 and 13 inputs.
    assert set(spy.sizes) <= {1, 4, 13, 16}
    needed = found.num_draws.sum()
    assert needed <= sum(spy.sizes) < needed + DRAWS * 12 < SIZE * DRAWS


def test_stops_drawing_when_all_is_decided(monkeypatch):
    averaged = predictor()
    clear = X[averaged.predict_anytime(X, 0.9).num_draws < 10]
    spy = Spy(monkeypatch)
    found = averaged.predict_anytime(clear, 0.9, batch_size=1000)
    assert len(spy.sizes) == found.num_draws.max() < 10


class Batched:
    def __iter__(self):
        for start in range(0, SIZE, 7):
            x = X[start : start + 7]
            yield x, np.zeros(len(x))


def test_datasets_are_read_as_arrays_are(case):
    averaged, _ = case
    expected = averaged.predict_anytime(X, 0.9)
    found = averaged.predict_anytime(Batched(), 0.9, batch_size=16)
    np.testing.assert_array_equal(found.num_draws, expected.num_draws)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)


class Changing:
    def __init__(self, *readings):
        self.readings = itertools.cycle(readings)

    def __iter__(self):
        yield next(self.readings)


@pytest.mark.parametrize("second", [X[::-1], X[:5], np.repeat(X, 2, axis=0)])
def test_datasets_that_change_are_refused(second):
    with pytest.raises(ValueError, match="same examples in the same order"):
        predictor().predict_anytime(Changing(X, second))


def test_inputs_may_have_parts():
    places = [(0, 3), (3, 67), (67, 70)]
    parts = [{"a": np.arange(i, j), "b": np.ones((j - i, 2))} for i, j in places]
    found = list(packed(iter(parts), 32))
    assert [(len(x["a"]), len(x["b"]), n) for x, n in found] == [
        (32, 32, 32),
        (32, 32, 32),
        (8, 8, 6),
    ]
    rows = np.concatenate([x["a"][:n] for x, n in found])
    np.testing.assert_array_equal(rows, np.arange(70))
    assert list(packed(iter([]), 32)) == []


# Errors.


@pytest.mark.parametrize(
    "options, match",
    [
        ({"confidence": 0}, "`confidence` must be"),
        ({"confidence": 1.5}, "`confidence` must be in 0 < confidence <= 1"),
        ({"confidence": "high"}, "`confidence` must be"),
        ({"min_draws": 0}, "`min_draws` must be an integer from 1 to 16"),
        ({"min_draws": 17}, "`min_draws` must be an integer from 1 to 16"),
        ({"batch_size": 0}, "`batch_size` must be"),
        ({"x": X[:0]}, "at least one example"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        predictor().predict_anytime(**{"x": X, **options})


@pytest.mark.parametrize(
    "options", [{"num_draws": 1}, {"averaging": "widening", "num_draws": 4}]
)
def test_one_network_is_refused(options):
    found = PosteriorPredictor(network(), **options)
    with pytest.raises(ValueError, match="two draws or more"):
        found.predict_anytime(X)


def test_regressions_are_refused():
    model = keras.Sequential([keras.Input((5,)), layers.BayesDense(1)])
    found = PosteriorPredictor(model, outputs="mean", num_draws=4)
    with pytest.raises(ValueError, match="for classifiers"):
        found.predict_anytime(X)


def test_probabilities_must_be_some():
    found = predictor(outputs="probabilities")
    with pytest.raises(ValueError, match="not negative and sum to one"):
        found.predict_anytime(X)


def test_calibration_must_not_be_due():
    model = keras.Sequential(
        [*network().layers, keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    )
    model.build((None, 5))
    found = PosteriorPredictor(model, num_draws=4)
    with pytest.raises(ValueError, match="estimate_batch_norm"):
        found.predict_anytime(X)


def test_agreement_needs_the_check():
    found = predictor().predict_anytime(X, 0.9)
    assert found.full_mean is None
    with pytest.raises(ValueError, match="`check=True`"):
        found.agreement  # noqa: B018


def test_progress_is_shown_if_asked_for(capsys):
    predictor().predict_anytime(X[:4])
    assert capsys.readouterr().out == ""
    predictor().predict_anytime(X[:4], verbose=1)
    assert "predict: 16 draws" in capsys.readouterr().out
