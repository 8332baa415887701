"""The predictor of a Laplace approximation: its draws, files and exports."""

import copy
import pickle

import keras
import numpy as np
import pytest
import scipy.special

import tfhyper
from tests.helpers.laplace import (
    CLASSES,
    HELD_OUT,
    LABELS,
    TARGETS,
    X,
    features_of,
    network,
)
from tfhyper import Laplace, LaplacePredictor

PREDICTIVES = ("mc", "closed_form")
KINDS = {
    "classes": lambda: Laplace(network(), hessian="full").fit(X, CLASSES),
    "kron": lambda: Laplace(network(tail=[keras.layers.Softmax()])).fit(X, CLASSES),
    "labels": lambda: Laplace(network(2, "sigmoid"), hessian="diag").fit(X, LABELS),
    "targets": lambda: Laplace(
        network(2), "regression", "full", noise_variance=0.4
    ).fit(X, TARGETS),
    "target": lambda: Laplace(network(1), "regression", "diag").fit(X, TARGETS[:, 0]),
}


@pytest.fixture(scope="module")
def fitted():
    return {name: make() for name, make in KINDS.items()}


CASES = [(name, form) for name in KINDS for form in PREDICTIVES]
cases = pytest.mark.parametrize("name,predictive", CASES)


def parts(prediction):
    names = ("mean", "members", "aleatoric", "epistemic")
    return {name: getattr(prediction, name) for name in names}


def test_members_are_networks_with_drawn_last_layers(fitted):
    predictor = fitted["classes"].predictor(num_draws=5, seed=3)
    found = predictor.predict(HELD_OUT)
    features = features_of(predictor.source.model, HELD_OUT)[:, :-1]
    for i, draw in enumerate(predictor.source.draws):
        outputs = features @ draw.noise["last/kernel"] + draw.noise["last/bias"]
        expected = scipy.special.softmax(outputs, axis=-1)
        np.testing.assert_allclose(found.members[i], expected, atol=1e-5)
        plain = predictor.materialize(i)
        assert type(plain.layers[-1]) is keras.layers.Dense
        logits = plain.predict(HELD_OUT, verbose=0)
        np.testing.assert_allclose(logits, outputs, atol=1e-5)
    assert (found.epistemic > 1e-4).all()
    assert predictor.seed == 3 and predictor.predictive == "mc"
    same = fitted["classes"].predictor(num_draws=5, seed=3).predict(HELD_OUT)
    other = fitted["classes"].predictor(num_draws=5, seed=4).predict(HELD_OUT)
    np.testing.assert_array_equal(found.members, same.members)
    assert np.abs(found.members - other.members).max() > 0.01


def test_draws_one_by_one_and_together_are_the_same(fitted):
    predictor = fitted["kron"].predictor(num_draws=4)
    together = predictor.predict(HELD_OUT, batch_size=2)
    single = [run(HELD_OUT) for run in predictor.runs()]
    np.testing.assert_allclose(together.members, single, atol=1e-6)
    early = predictor.predict_anytime(HELD_OUT, check=True)
    assert early.num_draws.max() <= 4


def test_many_draws_come_near_the_closed_form(fitted):
    # Of several classes the probit approximation is off by itself.
    for name, tolerance in (("classes", 0.08), ("labels", 0.05), ("targets", 0.1)):
        mc = fitted[name].predictor(num_draws=200).predict(HELD_OUT)
        closed = fitted[name].predictor("closed_form").predict(HELD_OUT)
        np.testing.assert_allclose(mc.mean, closed.mean, atol=tolerance)
        if name == "targets":
            np.testing.assert_allclose(mc.epistemic, closed.epistemic, rtol=0.4)


@cases
def test_files_and_copies_predict_the_same(fitted, name, predictive, tmp_path):
    predictor = fitted[name].predictor(predictive)
    if name == "kron":
        predictor.fit_scaling(X, CLASSES)
        predictor.fit_rejection(X, coverage=0.5)
    expected = predictor.predict(HELD_OUT)
    path = str(tmp_path / "saved.tfhyper")
    predictor.save(path)
    copies = [LaplacePredictor.load(path)]
    if name in ("kron", "target"):
        copies += [copy.deepcopy(predictor), pickle.loads(pickle.dumps(predictor))]
    for again in copies:
        found = again.predict(HELD_OUT)
        for part, value in parts(expected).items():
            np.testing.assert_array_equal(getattr(found, part), value)
        np.testing.assert_array_equal(found.rejected, expected.rejected)
        assert again.settings == predictor.settings
    with pytest.raises(ValueError, match="PosteriorPredictor"):
        tfhyper.PosteriorPredictor.load(path)


@cases
def test_average_in_one_model(fitted, name, predictive, tmp_path):
    predictor = fitted[name].predictor(predictive, 3 if predictive == "mc" else None)
    expected = predictor.predict(HELD_OUT)
    path = str(tmp_path / "average.keras")
    predictor.materialize_average().save(path)
    found = keras.saving.load_model(path).predict(HELD_OUT, verbose=0)
    if name.startswith("target"):
        mean, variance = (np.reshape(x, expected.mean.shape) for x in found)
        np.testing.assert_allclose(mean, expected.mean, atol=1e-5)
        np.testing.assert_allclose(variance, expected.variance, atol=1e-5)
    else:
        np.testing.assert_allclose(found, expected.mean, atol=1e-5)


@cases
def test_scores_and_rejection(fitted, name, predictive):
    predictor = fitted[name].predictor(predictive)
    y = {"labels": LABELS, "targets": TARGETS, "target": TARGETS[:, 0]}
    labels = y.get(name, CLASSES)
    scores = predictor.evaluate(X, labels)
    assert all(np.isfinite(list(scores.values())))
    assert scores == predictor.evaluate(X, labels, batch_size=11) or all(
        abs(scores[key] - value) < 1e-5
        for key, value in predictor.evaluate(X, labels, batch_size=11).items()
    )
    score = "epistemic" if name.startswith("target") else "total"
    predictor.fit_rejection(X, coverage=0.5, score=score)
    rejected = predictor.predict(X).rejected
    assert 0.3 < rejected.mean() < 0.7
    predictor.rejection = None


def test_noise_is_chosen_with_the_posterior(fitted):
    with pytest.raises(ValueError, match="fit_prior_precision"):
        fitted["target"].predictor("closed_form").fit_noise(X, TARGETS[:, 0])


def test_parts_of_one_member(fitted):
    predictor = fitted["targets"].predictor("closed_form")
    prediction = predictor.predict(HELD_OUT)
    alone = predictor.task.new_sum(keep_members=False)
    alone.add(*predictor.task.member_of(prediction, 0))
    found = alone.result()
    np.testing.assert_allclose(found.variance, prediction.variance, rtol=1e-6)
    np.testing.assert_allclose(found.epistemic, prediction.epistemic, rtol=1e-5)


def hyper(last=None, **options):
    """Returns a predictor of a network with generated kernels and BatchNorm."""
    keras.utils.set_random_seed(0)
    hidden = {"code_units": 3, "hidden_units": 8, "seed": 1}
    model = keras.Sequential(
        [
            keras.Input((4,)),
            tfhyper.layers.HyperDense(5, **hidden),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("tanh"),
            last or keras.layers.Dense(3, name="last"),
        ]
    )
    predictor = tfhyper.PosteriorPredictor(model, 3, seed=2, **options)
    return predictor.estimate_batch_norm(X, verbose=0)


LAST = {
    "plain": lambda: None,
    "generated": lambda: tfhyper.layers.HyperDense(
        3, name="last", code_units=3, hidden_units=8, seed=4
    ),
}


@pytest.mark.parametrize("last", LAST)
def test_each_draw_of_a_random_network_has_a_posterior(last, tmp_path):
    base = hyper(LAST[last]())
    laplace = Laplace(base, hessian="full").fit(X, CLASSES)
    assert laplace.num_networks == 3
    closed, expected, evidence = laplace.predictor("closed_form"), [], []
    for i in range(3):  # the draw as a plain network, which has one by itself
        alone = Laplace(base.materialize(i), hessian="full").fit(X, CLASSES)
        expected.append(alone.predictor("closed_form").predict(HELD_OUT).mean)
        evidence.append(alone.log_marginal_likelihood())
    found = closed.predict(HELD_OUT)
    np.testing.assert_allclose(found.members, expected, atol=1e-5)
    assert (found.epistemic > 0).all()
    assert laplace.log_marginal_likelihood() == pytest.approx(np.mean(evidence))
    drawn = laplace.predictor(num_draws=6)
    assert drawn.source.draws_in_row == 2
    members = drawn.predict(HELD_OUT).members
    assert np.abs(members[0] - members[1]).max() > 1e-3
    path = str(tmp_path / "hyper.tfhyper")
    drawn.save(path)
    again = LaplacePredictor.load(path).predict(HELD_OUT)
    np.testing.assert_array_equal(again.members, members)
    for i in (0, 5):
        plain = drawn.materialize(i).predict(HELD_OUT, verbose=0)
        np.testing.assert_allclose(
            scipy.special.softmax(plain, axis=-1), members[i], atol=1e-5
        )
    assert laplace.predictor().num_draws == 3
    with pytest.raises(ValueError, match="multiple of the number of networks"):
        laplace.predictor(num_draws=4)


def test_closed_form_regression_of_several_networks():
    base = hyper(keras.layers.Dense(1, name="last"), outputs="mean")
    laplace = Laplace(base, "regression", noise_variance=0.2).fit(X, TARGETS[:, 0])
    found = laplace.predictor("closed_form").predict(HELD_OUT)
    within = found.member_variance - 0.2
    np.testing.assert_allclose(
        found.epistemic, within.mean(0) + found.members.var(0), rtol=1e-4
    )
    np.testing.assert_allclose(found.aleatoric, 0.2, rtol=1e-6)


def test_dropout_and_views_of_draws():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(3),
        ]
    )
    base = tfhyper.PosteriorPredictor(model, 2, dropout="sample")
    predictor = Laplace(base).fit(X, CLASSES, batch_size=16).predictor(num_draws=4)
    found = predictor.predict(HELD_OUT, batch_size=4)
    assert found.members.shape == (4, 9, 3)
    np.testing.assert_allclose(
        found.members, predictor.predict(HELD_OUT).members, atol=1e-5
    )


def test_a_model_estimated_anew_is_another():
    base = hyper()
    laplace = Laplace(base).fit(X, CLASSES)
    base.estimate_batch_norm(X[:20], verbose=0)
    with pytest.raises(ValueError, match="estimated anew"):
        laplace.predictor()


def test_forms_that_are_refused():
    base = hyper()
    wide = tfhyper.PosteriorPredictor(base.model, 2, averaging="widening")
    with pytest.raises(ValueError, match="branching"):
        Laplace(wide)
    soft = tfhyper.PosteriorPredictor(base.model, 2, link="normalized_softplus")
    with pytest.raises(ValueError, match="link"):
        Laplace(soft.estimate_batch_norm(X, verbose=0))
    with pytest.raises(ValueError, match="estimate_batch_norm"):
        Laplace(tfhyper.PosteriorPredictor(base.model, 2))
    with pytest.raises(ValueError, match="`outputs` must be None"):
        Laplace(base, outputs="logits")
    with pytest.raises(TypeError, match="PosteriorPredictor"):
        Laplace(tfhyper.DeepEnsemble([network()]))
