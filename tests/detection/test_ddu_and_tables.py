"""DDU's prediction, tables of scorers, and figures of both."""

import json

import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import tfhyper
from tfhyper import analysis, detection, layers

RNG = np.random.default_rng(0)
Y = np.arange(150) % 3
X = (RNG.normal(size=(150, 4)) + 2 * np.eye(4)[Y]).astype("float32")
NEAR = (X[:40] + 1).astype("float32")
FAR = (6 * RNG.normal(size=(50, 4))).astype("float32")


@pytest.fixture(scope="module")
def predictor():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BayesDense(6, activation="tanh", seed=1),
            keras.layers.Dense(3),
        ]
    )
    return tfhyper.PosteriorPredictor(model, 3)


@pytest.fixture(scope="module")
def table(predictor):
    return detection.table(
        predictor,
        X[:100],
        near={"moved": NEAR},
        far={"wide": FAR},
        train=(X, Y),
        scorers=["entropy", "mahalanobis", detection.Energy(2.0)],
        num_samples=30,
    )


def test_ddu_has_the_density_and_the_entropy(predictor):
    ddu = detection.DDU().fit(predictor, X, Y)
    found, plain = ddu.predict(FAR), predictor.predict(FAR)
    density = detection.FeatureDensity().fit(predictor, X, Y)
    np.testing.assert_array_equal(found.epistemic, density.score(FAR))
    np.testing.assert_array_equal(found.foreign, found.epistemic)
    np.testing.assert_array_equal(found.aleatoric, plain.aleatoric)
    np.testing.assert_array_equal(found.mean, plain.mean)
    np.testing.assert_array_equal(found.label, plain.label)
    assert np.median(found.epistemic) > np.median(ddu.predict(X).epistemic)
    assert isinstance(found, tfhyper.Prediction)
    assert "foreign" in repr(found)
    threshold = ddu.threshold(X, 0.1)
    rejected = ddu.predict(X).reject(threshold)
    assert rejected.rejected.mean() == pytest.approx(0.1, abs=0.01)
    assert (rejected.label[rejected.rejected] == -1).all()
    part = rejected.take([1, 4])
    np.testing.assert_array_equal(part.foreign, rejected.foreign[[1, 4]])
    assert isinstance(part, detection.DDUPrediction)
    assert found.reject(0.5, "total").rejection.score == "total"
    with pytest.raises(ValueError, match="`plot` draws parts of an entropy"):
        found.plot()
    with pytest.raises(ValueError, match="must be fitted: call `fit`"):
        detection.DDU().predict(X)


def test_tables_have_the_scores_of_scikit_learn(predictor, table):
    assert list(table.found) == ["entropy", "mahalanobis", "energy"]
    assert table.kinds == {"moved": "near", "wide": "far"}
    assert table.counts == {"test": 100, "moved": 40, "wide": 50}
    known = predictor.predict(X[:100]).total
    foreign = predictor.predict(FAR).total
    scores, labels = np.concatenate([known, foreign]), np.repeat([0, 1], [100, 50])
    found = table.found["entropy"]["wide"]
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels, scores))
    aupr = average_precision_score(labels, scores)
    assert found["aupr_out"].value == pytest.approx(aupr)
    cut = np.sort(known)[94]  # 95 of 100 are not above
    assert found["fpr95_in"].value == pytest.approx(np.mean(foreign <= cut))
    for kind in table.kinds:
        for interval in table.found["mahalanobis"][kind].values():
            assert interval.lower <= interval.value + 0.05
            assert interval.upper >= interval.value - 0.05
    wide = table.found["mahalanobis"]["wide"]["auroc"]
    assert wide.value > 0.9 and wide.lower < wide.upper <= 1


def test_tables_say_what_they_hold(table):
    lines = table.markdown().splitlines()
    assert lines[0] == "| scorer | moved (near) | wide (far) |"
    assert lines[1] == "| --- | ---: | ---: |"
    assert lines[3].startswith("| mahalanobis | ")
    value = table.found["mahalanobis"]["wide"]["auroc"].value
    assert f"{value:.3f} [" in lines[3]
    assert "AUROC / AUPR / FPR95" in lines[-1] and "100 test" in lines[-1]
    assert "mahalanobis" in repr(table) and "<table" in table._repr_html_()
    again = json.loads(json.dumps(table.to_dict()))
    assert again["found"]["mahalanobis"]["wide"]["auroc"]["value"] == value


def test_all_scorers_are_compared_where_none_is_named(predictor):
    few = detection.table(predictor, X[:30], far={"wide": FAR}, num_samples=2)
    untrained = [k for k, v in detection.SCORERS.items() if not v.needs_training_data]
    assert list(few.found) == untrained
    one = detection.table(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        X[:30],
        far={"wide": FAR},
        num_samples=2,
    )
    assert not {"disagreement", "mutual_information"} & set(one.found)


def test_bad_arguments_of_tables_are_named(predictor):
    far = {"wide": FAR}
    for message, options in (
        ("`near` or `far` must hold", {}),
        ("`far` must have names of its own", {"near": far, "far": far}),
        ("`far` must have names of its own", {"far": {"test": FAR}}),
        ("`train` must hold", {"far": far, "scorers": ["mahalanobis"]}),
        ("`scorers` must hold one", {"far": far, "scorers": []}),
        ("`num_samples` must be", {"far": far, "num_samples": 0}),
    ):
        with pytest.raises(ValueError, match=message):
            detection.table(predictor, X, **options)
    for message, options in (
        ("`far` must be a dict", {"far": FAR}),
        ("`scorers` must hold scorers", {"far": far, "scorers": ["none"]}),
        ("`scorers` must be a sequence", {"far": far, "scorers": "entropy"}),
    ):
        with pytest.raises(TypeError, match=message):
            detection.table(predictor, X, **options)
    other = detection.Entropy().fit(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    )
    with pytest.raises(ValueError, match="`scorers` must be fitted to the predictor"):
        detection.table(predictor, X, far=far, scorers=[other])


def test_figures_have_what_the_table_has(table):
    figure = analysis.detection_plot(table)
    (axes, bar) = figure.axes
    shown = [text.get_text() for text in axes.texts]
    values = [
        f"{of_kinds[kind]['auroc'].value:.2f}"
        for of_kinds in table.found.values()
        for kind in table.kinds
    ]
    assert shown == values
    assert [x.get_text() for x in axes.get_yticklabels()] == list(table.found)

    scores = table.scores["mahalanobis"]
    foreign = {kind: scores[kind] for kind in table.kinds}
    figure = analysis.foreign_score_plot(
        scores["test"], foreign, threshold=3.0, xlabel="Distance"
    )
    (axes,) = figure.axes
    _, labels = axes.get_legend_handles_labels()
    assert labels[:3] == ["Known", "moved", "wide"]
    assert axes.get_xlabel() == "Distance"
    assert axes.lines[0].get_xdata()[0] == 3.0
    # Each histogram is of all its inputs, in shares.
    for patch in axes.patches:
        heights = np.asarray(patch.get_data().values)
        assert heights.sum() == pytest.approx(1.0)
    with pytest.raises(TypeError, match="`table` must be"):
        analysis.detection_plot({})
    with pytest.raises(ValueError, match="`known` must"):
        analysis.foreign_score_plot([[1.0]], foreign)
    with pytest.raises(ValueError, match="`foreign` must be a dict"):
        analysis.foreign_score_plot([1.0], {})


def test_the_docstring_examples_run():
    import doctest

    from tfhyper.analysis import foreign

    assert doctest.testmod(foreign).failed == 0
