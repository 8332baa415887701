"""Predictors side by side, beside `evaluate` of each and scikit-learn."""

import json

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import tfhyper
from tfhyper import metrics, scaling

SHAPE = (6, 6, 1)
RNG = np.random.default_rng(0)
Y = np.arange(120) % 3
X = (RNG.normal(size=(120, *SHAPE)) + Y[:, None, None, None]).astype("float32")
FOREIGN = RNG.normal(size=(50, *SHAPE)).astype("float32") * 4
OPTIONS = {"num_samples": 10, "timed_batches": 1, "verbose": 0}


def network(drawn):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu"),
            *([tfhyper.layers.MCDropout(0.3, seed=0)] if drawn else []),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss)
    model.fit(X, Y, epochs=2, verbose=0)
    return model


@pytest.fixture(scope="module")
def predictors():
    drawn = tfhyper.PosteriorPredictor(network(True), 4, seed=0)
    return {"dropout": drawn, "plain": network(False)}


@pytest.fixture(scope="module")
def table(predictors):
    shifts = {
        "louder": {1: 2 * X[:80], 2: lambda: 3 * X[:80]},
        "fewer": {2: (X[:20], Y[:20])},
    }
    return tfhyper.evaluate(
        predictors,
        (X[:80], Y[:80]),
        foreign={"wide": FOREIGN},
        shifted=shifts,
        calibration=(X[80:], Y[80:]),
        costs={"plain": 2},
        **OPTIONS,
    )


def test_scores_are_those_of_evaluate_and_of_formulas(predictors, table):
    dropout = predictors["dropout"]
    expected = dropout.evaluate(X[:80], Y[:80], verbose=0)
    found = {key: x.value for key, x in table.scores["dropout"].items()}
    said = dropout.predict(X[:80], verbose=0)
    wrong = said.mean.argmax(-1) != Y[:80]
    fitted = scaling.fit(Y[80:], dropout.predict(X[80:], verbose=0).mean)
    scaled = metrics.classification_report(Y[:80], fitted(said.mean))
    assert found == pytest.approx(
        {
            **expected,
            "aurc": metrics.aurc(wrong.astype(float), said.total),
            "nll_scaled": scaled["nll"],
        },
        rel=1e-6,
    )
    by_numpy = -np.log(said.mean[np.arange(80), Y[:80]]).mean()
    assert found["nll"] == pytest.approx(by_numpy, rel=1e-5)
    for interval in table.scores["dropout"].values():
        assert interval.lower <= interval.upper and interval.standard_error > 0
    nll = metrics.bootstrap(
        lambda y, p: metrics.classification_report(y, p)["nll"],
        Y[:80],
        said.mean,
        num_samples=10,
    )
    assert table.scores["dropout"]["nll"] == pytest.approx(nll, rel=1e-6)


def test_foreign_inputs_are_told_by_what_there_is(predictors, table):
    known, foreign = (
        predictors["dropout"].predict(x, verbose=0) for x in (X[:80], FOREIGN)
    )
    assert list(table.foreign["plain"]["wide"]) == ["total"]
    is_foreign = np.repeat([0, 1], [80, 50])
    for score in ("total", "epistemic"):
        values = np.r_[known.uncertainty(score), foreign.uncertainty(score)]
        assert table.foreign["dropout"]["wide"][score].value == pytest.approx(
            roc_auc_score(is_foreign, values)
        )
    assert table.counts == {"test": 80, "wide": 50}


def test_shifted_inputs_have_the_labels_of_the_test_or_their_own(predictors, table):
    dropout = predictors["dropout"]
    found = table.shifted["dropout"]
    cases = [("louder", 1, 2 * X[:80]), ("louder", 2, 3 * X[:80]), ("fewer", 2, X[:20])]
    for kind, severity, x in cases:
        expected = dropout.evaluate(x, Y[: len(x)], verbose=0)
        assert found[kind][severity] == pytest.approx(expected)
    nll = {kind: [x["nll"] for x in by.values()] for kind, by in found.items()}
    means = table.severity_means()["dropout"]
    assert means[1]["nll"] == pytest.approx(nll["louder"][0])
    assert means[2]["nll"] == pytest.approx((nll["louder"][1] + nll["fewer"][0]) / 2)
    # Kinds count alike, however many severities they have.
    expected = (np.mean(nll["louder"]) + nll["fewer"][0]) / 2
    assert table.mean_corruption()["dropout"]["nll"] == pytest.approx(expected)


def test_costs(predictors, table, tmp_path):
    path = tmp_path / "predictor.tfhyper"
    predictors["dropout"].save(str(path))
    dropout, plain = table.costs["dropout"], table.costs["plain"]
    # Files hold the time when they were written.
    assert dropout["file_bytes"] == pytest.approx(path.stat().st_size, rel=0.01)
    assert dropout["parameters"] == 36 * 8 + 8 + 8 * 3 + 3
    assert (dropout["draws"], plain["draws"]) == (4, 1)
    assert (dropout["train_seconds"], plain["train_seconds"]) == (None, 2.0)
    assert 0 < dropout["predict_seconds"] < 1


def test_forms_of_a_table(table):
    text = table.markdown()
    head, line, *rows = text.splitlines()
    assert head.startswith("| predictor | error | NLL, nats |")
    assert line.startswith("| --- | ---: |")
    assert rows[0].startswith("| dropout |") and rows[1].startswith("| plain |")
    assert "by severity" in text and "2 kinds (louder, fewer)" in text
    assert len({row.count("|") for row in (head, line, *rows[:2])}) == 1
    assert "<table" in table.html() and table.html() == table._repr_html_()
    assert "dropout" in repr(table)
    numbers = json.loads(table.to_json())
    assert numbers == table.to_dict()
    value = table.scores["plain"]["brier"].value
    assert numbers["scores"]["plain"]["brier"]["value"] == value
    assert numbers["shifted"]["plain"]["louder"]["2"]["error"] >= 0
    assert numbers["shifted_means"]["mean"] == table.mean_corruption()


def test_a_frame_of_pandas(table):
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.index) == ["dropout", "plain"]
    assert frame.loc["plain", "nll_upper"] == table.scores["plain"]["nll"].upper
    wide = table.foreign["dropout"]["wide"]["epistemic"].value
    assert frame.loc["dropout", "foreign_wide_epistemic"] == wide
    assert np.isnan(frame.loc["plain", "foreign_wide_epistemic"])
    shifted = table.mean_corruption()["plain"]["error"]
    assert frame.loc["plain", "shifted_error"] == shifted


def test_a_frame_without_pandas_is_an_error_that_says_so(table, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="`to_pandas` needs pandas"):
        table.to_pandas()


def test_a_figure(table):
    pytest.importorskip("matplotlib")
    figure = table.plot("Compared")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["error", "NLL, nats", "ECE", "Severity of the shift"]
    line = figure.axes[-1].lines[0]
    means = [x["nll"] for x in table.severity_means()["dropout"].values()]
    assert list(line.get_ydata()) == means
    names = [x.get_text() for x in figure.axes[0].get_yticklabels()]
    assert names == ["dropout", "plain"]


def test_datasets_weights_and_rules_change_nothing_else(predictors):
    tf = pytest.importorskip("tensorflow")
    dropout = predictors["dropout"]
    weights = np.linspace(0.5, 1.5, 80)
    data = tf.data.Dataset.from_tensor_slices((X[:80], Y[:80], weights)).batch(32)
    expected = dropout.evaluate(data, verbose=0)
    dropout.rejection = tfhyper.Rejection(0.5, "total")
    try:
        found = tfhyper.evaluate({"one": dropout}, data, **OPTIONS)
    finally:
        dropout.rejection = None
    scores = {key: x.value for key, x in found.scores["one"].items()}
    del scores["aurc"]
    assert scores == pytest.approx(expected)


def test_regressions():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            tfhyper.layers.MCDropout(0.2, seed=1),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    x = RNG.normal(size=(40, 3))
    y = x.sum(axis=1)
    predictor = tfhyper.PosteriorPredictor(model, 4, outputs="mean", noise_variance=0.5)
    table = tfhyper.evaluate(
        {"one": predictor},
        (x, y),
        shifted=tfhyper.shift.table_shifts(x, y, ["resampled", "noise"], [1, 5]),
        **OPTIONS,
    )
    scores = {key: x.value for key, x in table.scores["one"].items()}
    found = predictor.predict(x, verbose=0)
    squares = (y - found.mean) ** 2
    assert scores.pop("aurc") == pytest.approx(metrics.aurc(squares, found.variance))
    assert scores == pytest.approx(predictor.evaluate(x, y, verbose=0))
    assert scores["rmse"] == pytest.approx(np.sqrt(squares.mean()))
    assert set(table.mean_corruption()["one"]) == set(scores)
    assert "RMSE" in table.markdown()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predictors": {}}, "`predictors` must hold one or more"),
        ({"predictors": [1]}, "`predictors` must be a dict"),
        ({"predictors": {"a": 3}}, "`predictors` must be a `tfhyper.Posterior"),
        ({"test": (X, Y[:3])}, "`test`|`y`"),
        ({"foreign": {"test": X}}, "`foreign` must have other names"),
        ({"foreign": {"a": X[:, :2]}}, "`foreign` must hold inputs"),
        ({"shifted": {"a": X}}, "`shifted` must be a dict from severities"),
        ({"shifted": {"a": {}}}, "`shifted` must hold one severity"),
        ({"shifted": {"a": {1: X[:, :2]}}}, "`shifted` must hold inputs"),
        ({"costs": {"b": 1}}, "`costs` must have names of `predictors`"),
        ({"costs": {"a": -1}}, "`costs` must be"),
        ({"level": 1.0}, "`level` must be"),
        ({"timed_batches": 0}, "`timed_batches` must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_is_named(predictors, changed, message):
    good = {"predictors": {"a": predictors["plain"]}, "test": (X, Y), **OPTIONS}
    with pytest.raises((ValueError, TypeError), match=message):
        tfhyper.evaluate(**{**good, **changed})


def test_tasks_are_not_mixed(predictors):
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    one = tfhyper.PosteriorPredictor(model, 1, outputs="mean", noise_variance=1.0)
    with pytest.raises(ValueError, match="`predictors` must all be of one task"):
        tfhyper.evaluate({"a": predictors["plain"], "b": one}, (X, Y), **OPTIONS)
