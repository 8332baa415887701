"""A table of what networks give and what draws them: every cell passes the same tests.

The members are those of plain Keras networks, the entropies and variances NumPy's, and
files of predictors say the same.
"""

import dataclasses
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from scipy.special import expit, softmax

import tfhyper
from tests.helpers.processes import run_python

N, DRAWS = 10, 3
BACKEND = keras.backend.backend()


@dataclasses.dataclass(frozen=True)
class Output:
    """What a network ends in.

    Attributes:
        shape: of its inputs.
        head: makes its last layers, of a kit.
        outputs: what a predictor finds it to be, or is told with `told`.
        loss: it is compiled with.
        told: whether the predictor has to be told.
    """

    shape: tuple[int, ...]
    head: Callable
    outputs: str
    loss: Any = None
    told: bool = False

    @property
    def kind(self):
        """How what it gives is read: "classes", "labels", "mean" or "both"."""
        if self.outputs in ("logits", "probabilities"):
            return "classes"
        if self.outputs.startswith("label"):
            return "labels"
        return "mean" if self.outputs == "mean" else "both"


def dense(units, activation=None):
    return lambda kit: L.Dense(units, activation=activation)


def both(kit):
    """Returns a layer of two means and of two variances above 0."""
    return keras.Sequential([L.Dense(4), MeansAndVariances()])


@keras.saving.register_keras_serializable("tests")
class MeansAndVariances(L.Layer):
    """The softplus of the second half."""

    def call(self, x):
        mean, raw = keras.ops.split(x, 2, axis=-1)
        return keras.ops.concatenate([mean, keras.ops.softplus(raw) + 0.1], axis=-1)


VECTOR, TEXT, IMAGE, VOLUME = (5,), (4, 3), (4, 6, 2), (2, 3, 3, 2)
OUTPUTS = {
    "classes": Output(VECTOR, dense(3), "logits"),
    "tokens": Output(TEXT, dense(4), "logits"),
    "pixels": Output(IMAGE, dense(3, "softmax"), "probabilities"),
    "voxels": Output(VOLUME, dense(3), "logits"),
    "one sigmoid": Output(VECTOR, dense(1, "sigmoid"), "label_probabilities"),
    "one logit": Output(
        VECTOR, dense(1), "label_logits", keras.losses.BinaryCrossentropy(True)
    ),
    "tags": Output(VECTOR, dense(4), "label_logits", told=True),
    "foreground": Output(IMAGE, dense(1, "sigmoid"), "label_probabilities"),
    "number": Output(VECTOR, dense(1), "mean", "mse"),
    "vector": Output(VECTOR, dense(3), "mean", "mse"),
    "image": Output(IMAGE, dense(2), "mean", told=True),
    "vector and its noise": Output(VECTOR, both, "mean_and_variance", told=True),
}
# What draws: the hidden layer by name, and arguments of the predictor.
POSTERIORS = {
    "hyper": lambda units: tfhyper.layers.HyperDense(
        units, code_units=3, hidden_units=4, activation="tanh", seed=0
    ),
    "bayes": lambda units: tfhyper.layers.BayesDense(
        units, activation="tanh", rho_initializer=keras.initializers.Constant(-1.0)
    ),
    "mnf": lambda units: tfhyper.layers.MNFDense(units, activation="tanh"),
    "mc_dropout": lambda units: keras.Sequential(
        [L.Dense(units, activation="tanh"), tfhyper.layers.MCDropout(0.4)]
    ),
}
TABLE = [(output, posterior) for output in OUTPUTS for posterior in POSTERIORS]
# NumPy's numbers are float64, the networks' are float32.
TIGHT = {"rtol": 1e-6, "atol": 2e-6}


def network(output, posterior):
    """Returns a compiled network of two layers, the first of which draws."""
    inputs = keras.Input(output.shape)
    hidden = POSTERIORS[posterior](5)(inputs)
    model = keras.Model(inputs, output.head(None)(hidden))
    if output.loss is not None:
        model.compile("sgd", output.loss)
    return model


def data(output, shape):
    """Returns inputs, and labels of what a network gives of that shape."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, *output.shape)).astype("float32")
    if output.kind == "classes":
        return x, rng.integers(0, shape[-1], (N, *shape[1:-1]))
    if output.kind == "labels":
        return x, rng.integers(0, 2, (N, *shape[1:]))
    targets = shape[-1] // (2 if output.kind == "both" else 1)
    return x, rng.normal(size=(N, *shape[1:-1], targets))


@pytest.fixture(scope="module", params=TABLE, ids=["-".join(row) for row in TABLE])
def cell(request):
    """Returns a row of `OUTPUTS`, a predictor, inputs, labels, and a prediction."""
    name, posterior = request.param
    output = OUTPUTS[name]
    keras.utils.set_random_seed(3)
    model = network(output, posterior)
    options = {"outputs": output.outputs} if output.told else {}
    if output.kind == "mean":
        options["noise_variance"] = 0.3
    predictor = tfhyper.PosteriorPredictor(model, num_draws=DRAWS, **options)
    x, y = data(output, model.output_shape)
    return output, predictor, x, y, predictor.predict(x, batch_size=4)


def plain(predictor, x):
    """Returns what the draws give as Keras networks, float64 (draws, ...)."""
    found = []
    for i in range(DRAWS):
        model = predictor.materialize(i)
        ours = [y for y in model.layers if type(y).__module__.startswith("tfhyper")]
        # All are stock layers, but for the masks of a draw.
        assert {type(y).__name__ for y in ours} <= {"FixedDropout"}
        found.append(keras.ops.convert_to_numpy(model(x)))
    return np.array(found, "float64")


def plogp(p):
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)


def without_targets(array, kind, axes):
    """Returns one number for each example without an axis of targets."""
    single = kind in ("mean", "both") and axes == 2 and array.shape[-1] == 1
    return array[..., 0] if single else array


def test_members_are_those_of_plain_networks_and_moments_are_numpy_s(cell):
    output, predictor, x, y, found = cell
    assert predictor.outputs == output.outputs
    gives = plain(predictor, x)
    if output.kind in ("classes", "labels"):
        if output.outputs == "logits":
            gives = softmax(gives, axis=-1)
        if output.outputs == "label_logits":
            gives = expit(gives)
        np.testing.assert_allclose(found.members, gives, **TIGHT)
        mean = gives.mean(0)
        if output.kind == "classes":
            entropy = lambda p: plogp(p).sum(-1)  # noqa: E731
        else:
            entropy = lambda p: plogp(p) + plogp(1 - p)  # noqa: E731
        np.testing.assert_allclose(found.mean, mean, **TIGHT)
        np.testing.assert_allclose(found.total, entropy(mean), **TIGHT)
        aleatoric = entropy(gives).mean(0)
        np.testing.assert_allclose(found.aleatoric, aleatoric, **TIGHT)
        epistemic = entropy(mean) - aleatoric
        np.testing.assert_allclose(found.epistemic, epistemic, **TIGHT)
        np.testing.assert_allclose(found.variance.epistemic, gives.var(0), **TIGHT)
        np.testing.assert_allclose(found.variance.total, mean * (1 - mean), **TIGHT)
        label = mean.argmax(-1) if output.kind == "classes" else mean > 0.5
        np.testing.assert_array_equal(found.label, label)
        return
    means, noise = gives, np.full(gives.shape, 0.3)
    if output.kind == "both":
        means, noise = np.split(gives, 2, axis=-1)
    means, noise = (without_targets(a, output.kind, x.ndim) for a in (means, noise))
    np.testing.assert_allclose(found.members, means, **TIGHT)
    np.testing.assert_allclose(found.member_variance, noise, **TIGHT)
    np.testing.assert_allclose(found.mean, means.mean(0), **TIGHT)
    np.testing.assert_allclose(found.epistemic, means.var(0), rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(found.aleatoric, noise.mean(0), **TIGHT)
    np.testing.assert_allclose(found.variance, found.aleatoric + found.epistemic)
    low, high = found.interval(0.9)
    np.testing.assert_allclose((high - low) / 2, 1.6448536 * found.std, rtol=1e-6)
    covariance = found.covariance()
    assert covariance.shape[-1] == (found.mean.shape[-1] if found.mean.ndim > 1 else 1)
    diagonal = np.diagonal(covariance, axis1=-2, axis2=-1)
    np.testing.assert_allclose(diagonal.reshape(found.mean.shape), found.variance)


def scores(output, found, y, weights):
    """Returns the scores by loops of NumPy, of labels in the shape of predictions."""
    if output.kind in ("mean", "both"):
        average = lambda s: np.sum(weights * s) / np.sum(weights)  # noqa: E731
        inside = np.abs(y - found.mean) <= 1.6448536269514722 * found.std
        density = np.exp(
            -np.square(y - found.members) / (2 * found.member_variance)
        ) / np.sqrt(2 * np.pi * found.member_variance)
        return {
            "rmse": np.sqrt(average(np.square(y - found.mean))),
            "coverage_90": average(inside),
            "nll": -average(np.log(density.mean(0))),
        }
    p = np.float64(found.mean)
    if output.kind == "labels":
        p = np.stack([1 - p, p], axis=-1)
    right = np.take_along_axis(p, y[..., None], -1)[..., 0]
    # Of labels each by itself the mean of the labels' own scores.
    axes = tuple(range(y.ndim - (output.kind == "labels")))
    total = np.sum(weights, axes)
    average = lambda s: np.mean(np.sum(weights * s, axes) / total)  # noqa: E731
    hot = np.eye(p.shape[-1])[y]
    brier = np.square(p - hot).sum(-1) / (2 if output.kind == "labels" else 1)
    return {
        "error": average(p.argmax(-1) != y),
        "nll": -average(np.log(right)),
        "brier": average(brier),
    }


def test_scores_are_means_over_all_that_counts(cell):
    output, predictor, x, y, found = cell
    y = without_targets(y, output.kind, x.ndim)
    rng = np.random.default_rng(1)
    of_labels = rng.integers(0, 3, y.shape).astype("float64")
    of_examples = rng.uniform(0.5, 2, N)
    spread = np.broadcast_to(of_examples.reshape(-1, *(1,) * (y.ndim - 1)), y.shape)
    for weights, all_weights in [
        (None, np.ones(y.shape)),
        (of_labels, of_labels),
        (of_examples, spread),
    ]:
        given = predictor.evaluate(x, y, batch_size=4, sample_weight=weights)
        expected = scores(output, found, y, all_weights)
        picked = {name: given[name] for name in expected}
        assert picked == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if output.kind not in ("classes", "labels"):
        return
    void = np.where(of_labels == 0, 255, y)
    ignoring = tfhyper.PosteriorPredictor(
        predictor.model, DRAWS, outputs=output.outputs, ignore_class=255
    )
    expected = scores(output, found, y, of_labels > 0)
    given = ignoring.evaluate(x, void, batch_size=4)
    picked = {name: given[name] for name in expected}
    assert picked == pytest.approx(expected, rel=1e-5, abs=1e-6)
    ignoring.fit_rejection(x, void, coverage=0.5)
    kept = ~ignoring.predict(x).rejected
    assert kept.shape == y.shape
    assert np.mean(kept[of_labels > 0]) == pytest.approx(0.5, abs=0.06)
    given = ignoring.evaluate(x, void)
    assert given["coverage"] == pytest.approx(np.mean(kept[of_labels > 0]))
    wrong = (found.label != y)[(of_labels > 0) & kept]
    assert given["selective_error"] == pytest.approx(np.mean(wrong))


def test_files_copies_and_decisions_say_the_same(cell, tmp_path):
    output, predictor, x, y, found = cell
    path = str(tmp_path / "predictor.tfhyper")
    predictor.save(path)
    again = tfhyper.PosteriorPredictor.load(path)
    assert again.settings == predictor.settings
    np.testing.assert_array_equal(again.predict(x, batch_size=4).members, found.members)
    average = predictor.materialize_average()(x)
    of_average = average if isinstance(average, list) else [average]
    expected = [found.mean, found.variance][: len(of_average)]
    for a, b in zip(map(np.asarray, of_average), expected, strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-5, atol=2e-6)
    ensemble = tfhyper.DeepEnsemble(
        [predictor.materialize(0), predictor.materialize(1)],
        outputs=output.outputs,
        noise_variance=predictor.noise_variance,
    )
    of_two = ensemble.predict(x)  # the masks of a file are those of a first batch
    np.testing.assert_allclose(of_two.members, found.members[:2], **TIGHT)
    if output.kind not in ("classes", "labels"):
        with pytest.raises(ValueError, match="decides nothing"):
            predictor.predict_anytime(x)
        return
    quick = predictor.predict_anytime(x, confidence=1.0, check=True)
    assert quick.agreement == 1.0
    np.testing.assert_array_equal(quick.label, found.label)
    np.testing.assert_allclose(quick.full_mean, found.mean, **TIGHT)
    assert quick.num_draws.shape == found.label.shape
    stopped = predictor.predict_anytime(x, confidence=1.0)
    np.testing.assert_array_equal(stopped.label, found.label)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_saved_model_says_the_same(name, tmp_path):
    if BACKEND != "tensorflow":
        return
    import tensorflow as tf

    output = OUTPUTS[name]
    model = network(output, "hyper")
    options = {"outputs": output.outputs} if output.told else {}
    predictor = tfhyper.PosteriorPredictor(model, num_draws=2, **options)
    x, y = data(output, model.output_shape)
    if output.kind in ("classes", "labels"):
        predictor.fit_rejection(x, coverage=0.5)
    found = predictor.predict(x)
    tfhyper.export.saved_model(predictor, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    members = loaded.signatures["members"](inputs=tf.constant(x))["members"]
    np.testing.assert_allclose(members, found.members.swapaxes(0, 1), **TIGHT)
    served = loaded.signatures["serving_default"](inputs=tf.constant(x))
    if output.kind in ("mean", "both"):
        np.testing.assert_allclose(served["mean"], found.mean, rtol=1e-5, atol=2e-6)
        variance = served["variance"]
        np.testing.assert_allclose(variance, found.variance, rtol=1e-4, atol=2e-6)
        return
    np.testing.assert_allclose(served["probabilities"], found.mean, **TIGHT)
    for part in ("total", "aleatoric", "epistemic"):
        np.testing.assert_allclose(served[part], getattr(found, part), atol=5e-6)
    label = served["class" if output.kind == "classes" else "label"]
    np.testing.assert_array_equal(np.where(found.rejected, -1, label), found.label)
    np.testing.assert_array_equal(served["rejected"], found.rejected)


OF_EACH_BACKEND = "hyper and (members_are_those or scores_are_means)"


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_this_table_on_each_backend(backend):
    if backend == BACKEND or os.environ.get("KERAS_BACKEND_OF_PARENT"):
        return
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {"KERAS_BACKEND": backend, "KERAS_BACKEND_OF_PARENT": BACKEND}
    command = ["-m", "pytest", "-q", "-x", "-k", OF_EACH_BACKEND, __file__]
    run_python(*command, env=environment, fresh=True, check=True)
