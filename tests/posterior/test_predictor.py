"""The ensemble against the model itself, scikit-learn, and its own contracts."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import scipy.special
from keras import ops

import tfhyper
from tfhyper import kits, layers, metrics, models
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.posterior import Draw, PosteriorPredictor
from tfhyper.posterior.running import weight_cache

IMAGE = (8, 8, 1)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(tfhyper.__file__)))
BN = keras.layers.BatchNormalization
numpy = keras.ops.convert_to_numpy


def images(size=10, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, *IMAGE)).astype("float32")


def randomise(model):
    """Gives BatchNorm and biases values that no layer starts with."""
    rng = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, BN):
            layer.set_weights(
                [rng.uniform(0.5, 2.0, w.shape) for w in layer.get_weights()]
            )
    return model


def hyper_resnet(strategy="all_in_one"):
    keras.utils.set_random_seed(0)
    # Wide enough that no code makes a kernel of zeros.
    kit = kits.hyper(strategy, "normal", code_units=4, hidden_units=16, seed=3)
    return randomise(
        models.wide_resnet(10, 1, num_classes=3, input_shape=IMAGE, kit=kit)
    )


def small_network(head=None):
    """Conv, BatchNorm, logits; quick to build."""
    keras.utils.set_random_seed(0)
    tail = [keras.layers.Dense(3)] if head is None else head
    return randomise(
        keras.Sequential(
            [
                keras.Input(IMAGE),
                layers.HyperConv2D(4, 3, code_units=4, hidden_units=16, seed=5),
                BN(name="norm"),
                keras.layers.ReLU(),
                keras.layers.GlobalAveragePooling2D(),
                *tail,
            ]
        )
    )


def calibrated(model=None, x=None, **options):
    options = {"num_draws": 3, **options}
    predictor = PosteriorPredictor(model or small_network(), **options)
    return predictor.calibrate(images(20) if x is None else x, verbose=0)


def next_code(layer):
    """The code a layer draws next at inference, by a twin in the same state."""
    twin = layers.LatentCode.from_config(layer.get_config())
    twin.build((None, 1))
    twin.draws.assign(layer.draws)
    return keras.ops.convert_to_numpy(twin(np.zeros((2, 1)), training=False))


def assert_draw_is_model(model, data):
    """One draw with the code that layer `hyper` draws next predicts as the model."""
    predictor = PosteriorPredictor(model, num_draws=1)
    code = next_code(model.get_layer("hyper").latent_code)
    predictor.draws[0].noise = {"hyper": code}
    members = predictor.predict(data).members
    expected = softmax(model(data, training=False))
    np.testing.assert_allclose(members[0], expected, atol=1e-5)
    return predictor


def softmax(logits):
    return scipy.special.softmax(numpy(logits).astype(np.float64), axis=-1)


def run_python(code, *args):
    path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# One draw is the network itself.


@pytest.mark.parametrize("strategy", sorted(kits.STRATEGIES))
def test_one_draw_is_the_model_with_that_code(strategy):
    model, x = hyper_resnet(strategy), images()
    codes = {x.name: x for x in model.layers if isinstance(x, layers.LatentCode)}
    assert len(codes) == {"all_in_one": 1, "block_wise": 3, "layer_wise": 8}[strategy]
    predictor = PosteriorPredictor(model, num_draws=1, batch_norm="moving_average")
    assert set(predictor.draws[0].noise) == set(codes)
    for _ in range(2):  # two codes after one another
        predictor.draws[0].noise = {n: next_code(c) for n, c in codes.items()}
        members = predictor.predict(x).members
        expected = softmax(model(x, training=False))
        np.testing.assert_allclose(members[0], expected, atol=1e-5)
    # Far more than the tolerance lies between the images.
    assert np.ptp(expected, axis=0).max() > 1e-4


def test_one_draw_is_the_sequential_model_with_its_own_code():
    model, x = small_network(), images()
    predictor = PosteriorPredictor(model, num_draws=1, batch_norm="moving_average")
    hyper = model.layers[0]
    predictor.draws[0].noise = {hyper.name: next_code(hyper.latent_code)}
    members = predictor.predict(x).members
    expected = softmax(model(x, training=False))
    np.testing.assert_allclose(members[0], expected, atol=1e-5)
    other = softmax(model(x, training=False))  # the next code
    assert np.abs(other - expected).max() > 1e-3


def test_a_deterministic_network_gives_the_model_itself():
    keras.utils.set_random_seed(0)
    model = randomise(
        models.wide_resnet(10, 1, num_classes=3, input_shape=IMAGE, kit="deterministic")
    )
    x = images()
    with pytest.raises(ValueError, match="draw nothing.*num_draws=4"):
        PosteriorPredictor(model, num_draws=4)
    predictor = PosteriorPredictor(model, batch_norm="moving_average")
    assert predictor.num_draws == len(predictor.draws) == 1
    prediction = predictor.predict(x)
    expected = softmax(model(x, training=False))
    np.testing.assert_allclose(prediction.mean, expected, atol=1e-5)
    np.testing.assert_allclose(prediction.epistemic, 0, atol=1e-12)
    np.testing.assert_allclose(prediction.variance.epistemic, 0, atol=1e-12)
    assert prediction.aleatoric.max() > 1e-2


# What an ensemble is.


def test_members_differ_and_the_mean_is_theirs():
    prediction = calibrated(hyper_resnet(), num_draws=4).predict(images())
    members = prediction.members
    assert members.shape == (4, 10, 3) and members.dtype == np.float32
    for i in range(4):
        for j in range(i):
            assert np.abs(members[i] - members[j]).max() > 1e-3
    assert prediction.mean.dtype == np.float32
    np.testing.assert_allclose(prediction.mean, members.mean(0, "float64"), rtol=1e-6)
    np.testing.assert_allclose(members.sum(-1), 1, rtol=1e-5)


def test_a_draw_is_one_network_whatever_the_batches():
    predictor, x = calibrated(hyper_resnet()), images(70)
    whole = predictor.predict(x, batch_size=64).members
    np.testing.assert_array_equal(predictor.predict(x, batch_size=64).members, whole)
    for batch_size in (3, 1, 500):
        other = predictor.predict(x[:10], batch_size=batch_size).members
        np.testing.assert_allclose(other, whole[:, :10], atol=1e-6)
    backwards = predictor.predict(x[::-1]).members[:, ::-1]
    np.testing.assert_allclose(backwards, whole, atol=1e-6)


def test_the_seed_fixes_the_predictions():
    model, x = hyper_resnet("block_wise"), images()
    first = calibrated(model, seed=11).predict(x).members
    model(x, training=False)  # the model's own stream goes on; draws do not care
    np.testing.assert_array_equal(calibrated(model, seed=11).predict(x).members, first)
    other = calibrated(model, seed=12).predict(x).members
    for one in first:
        for two in other:
            assert np.abs(one - two).max() > 1e-3


def test_more_draws_begin_with_the_same():
    model, x = small_network(), images()
    few = calibrated(model, num_draws=2).predict(x).members
    many = calibrated(model, num_draws=4).predict(x).members
    # Kernels of more draws come out of one product, in which sums may round otherwise.
    np.testing.assert_allclose(many[:2], few, atol=1e-6)


def test_uncertainty_is_that_of_the_metrics():
    predictor, x = calibrated(hyper_resnet(), num_draws=4), images()
    kept = predictor.predict(x)
    members = kept.members
    options = {"rtol": 1e-7, "atol": 1e-9}
    np.testing.assert_allclose(
        kept.total, metrics.predictive_entropy(members), **options
    )
    np.testing.assert_allclose(
        kept.aleatoric, metrics.expected_entropy(members), **options
    )
    np.testing.assert_allclose(
        kept.epistemic, metrics.mutual_information(members), **options
    )
    for found, expected in zip(
        kept.variance, metrics.variance_decomposition(members), strict=True
    ):
        np.testing.assert_allclose(found, expected, **options)
        assert found.shape == (10, 3) and found.min() >= 0
    np.testing.assert_allclose(kept.total, kept.aleatoric + kept.epistemic, atol=1e-12)
    assert kept.epistemic.min() > 1e-5 and kept.aleatoric.min() > 0

    thrown = predictor.predict(x, keep_members=False)
    assert thrown.members is None
    for field in ("mean", "total", "aleatoric", "epistemic"):
        np.testing.assert_array_equal(getattr(thrown, field), getattr(kept, field))
    np.testing.assert_array_equal(thrown.variance, kept.variance)


def test_covariances_are_those_of_the_metrics():
    predictor, x = calibrated(), images()
    prediction = predictor.predict(x)
    parts = prediction.covariance()
    expected = metrics.covariance_decomposition(prediction.members)
    np.testing.assert_array_equal(parts, expected)
    for found, variance in zip(parts, prediction.variance, strict=True):
        diagonals = np.diagonal(found, axis1=1, axis2=2)
        np.testing.assert_allclose(diagonals, variance, atol=1e-12)
    thrown = predictor.predict(x, keep_members=False)
    with pytest.raises(ValueError, match="`covariance` needs .*keep_members=True"):
        thrown.covariance()


def test_evaluate_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    predictor, x = calibrated(), images(40)
    labels = np.random.default_rng(1).integers(0, 3, 40)
    mean = predictor.predict(x).mean
    scores = predictor.evaluate(x, labels, batch_size=7)
    assert list(scores) == ["error", "nll", "brier", "ece"]
    accuracy = sklearn.accuracy_score(labels, mean.argmax(-1))
    assert scores["error"] == pytest.approx(1 - accuracy) and 0 < accuracy < 1
    wide = mean.astype(np.float64)
    wide /= wide.sum(-1, keepdims=True)
    loss = sklearn.log_loss(labels, wide, labels=[0, 1, 2])
    assert scores["nll"] == pytest.approx(loss, rel=1e-5)
    squares = np.square(np.eye(3)[labels] - mean).sum(-1).mean()
    assert scores["brier"] == pytest.approx(squares, rel=1e-6)
    assert scores["ece"] == pytest.approx(
        metrics.expected_calibration_error(labels, mean)
    )


def test_kernels_are_generated_in_one_product_and_kept(monkeypatch):
    products = []  # the number of codes of each

    def counted(features, weights):
        products.append(features.shape[0])
        return ops.matmul(features, weights)

    model, x = hyper_resnet(), images(60)
    monkeypatch.setattr(GeneratedKernel, "output_product", staticmethod(counted))
    predictor = PosteriorPredictor(model, num_draws=3)
    assert products == []
    predictor.calibrate(x, batch_size=4, verbose=0)  # 15 batches
    generated = sum(isinstance(layer, GeneratedKernel) for layer in model.layers)
    assert generated == 8 and products == [1] * 3 * generated
    products.clear()
    first = predictor.predict(x, batch_size=16).members
    assert products == [3] * generated
    np.testing.assert_array_equal(predictor.predict(x, batch_size=16).members, first)
    assert products == [3] * generated
    # Other moments, or another draw, and all is made anew.
    predictor.calibrate(x[:30], verbose=0)
    products.clear()
    assert np.abs(predictor.predict(x).members - first).max() > 1e-4
    assert products == [3] * generated
    other = PosteriorPredictor(model, num_draws=1, seed=9)
    other.calibrate(x, verbose=0)
    predictor.draws[1] = other.draws[0]
    found = predictor.predict(x).members[1]
    np.testing.assert_allclose(found, other.predict(x).members[0], atol=1e-6)


def test_kernels_above_the_limit_are_made_anew(monkeypatch):
    model, x = hyper_resnet(), images(20)
    predictor = PosteriorPredictor(model, num_draws=5)
    expected = predictor.calibrate(x, verbose=0).predict(x).members
    size = predictor.source.point.drawn_bytes
    monkeypatch.setattr(weight_cache, "KEPT_BYTES", 4 * size)
    monkeypatch.setattr(weight_cache, "_MADE_BYTES", 2 * size)
    predictor.source.weights.forget()
    made, values_of_draws = [], weight_cache.values_of_draws

    def counted(point, draws):
        made.append(len(draws))
        return values_of_draws(point, draws)

    monkeypatch.setattr(weight_cache, "values_of_draws", counted)
    for _ in range(2):
        found = predictor.predict(x).members
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert made == [2, 2, 1] * 2


# How logits become probabilities.


def test_normalized_softplus_as_the_link():
    model, x = small_network(), images()
    predictor = calibrated(model, link="normalized_softplus")
    prediction = predictor.predict(x)
    assert prediction.members.dtype == np.float32
    for i, member in enumerate(prediction.members):
        softplus = np.log1p(np.exp(predictor.materialize(i).predict(x, verbose=0)))
        expected = softplus / softplus.sum(-1, keepdims=True)
        np.testing.assert_allclose(member, expected, atol=1e-6)
    soft = calibrated(model).predict(x).members
    assert np.abs(soft - prediction.members).max() > 1e-2


def test_unknown_links_and_links_of_probabilities_are_refused():
    with pytest.raises(ValueError, match="`link` must be one of.*link='probit'"):
        PosteriorPredictor(small_network(), link="probit")
    for options in ({"outputs": "probabilities"}, {}):
        head = [keras.layers.Dense(3, activation=None if options else "softmax")]
        with pytest.raises(ValueError, match='`link` must be "softmax" where'):
            PosteriorPredictor(
                small_network(head), link="normalized_softplus", **options
            )


# The posterior's mean.


def gaussian_network():
    keras.utils.set_random_seed(0)
    options = {"initial_scale": 1.0, "bias_posterior": "gaussian", "seed": 1}
    inputs = keras.Input((6,))
    x = layers.BayesDense(5, name="one", bias_initializer="ones", **options)(inputs)
    x = keras.layers.ReLU()(BN(name="norm", epsilon=1e-3)(x))
    x = layers.BayesDense(3, name="two", **options)(layers.Dropout(0.5)(x))
    return randomise(keras.Model(inputs, x))


def test_the_deterministic_prediction_is_that_of_the_mean_kernels():
    model = gaussian_network()
    x = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    predictor = PosteriorPredictor(model, deterministic=True)
    assert predictor.num_draws == len(predictor.draws) == 1
    predictor.calibrate(x, batch_size=30, verbose=0)

    def dense(layer, x):
        return x @ numpy(layer.kernel_posterior.mean) + numpy(layer.bias)

    hidden = dense(model.get_layer("one"), x)
    gamma, beta = (numpy(w) for w in model.get_layer("norm").trainable_weights)
    scale = gamma / np.sqrt(hidden.var(0) + 1e-3)
    hidden = np.maximum((hidden - hidden.mean(0)) * scale + beta, 0)
    expected = softmax(dense(model.get_layer("two"), hidden))
    prediction = predictor.predict(x)
    np.testing.assert_allclose(prediction.members, expected[None], atol=1e-5)
    np.testing.assert_allclose(prediction.epistemic, 0, atol=1e-12)
    drawn = calibrated(model, x, num_draws=1).predict(x).members
    assert np.abs(drawn - expected).max() > 0.05


def test_the_deterministic_prediction_of_a_plain_network_is_its_own():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    found = PosteriorPredictor(model, deterministic=True, num_draws=1).predict(x).mean
    np.testing.assert_allclose(found, softmax(model(x)), atol=1e-6)


@pytest.mark.parametrize("num_draws", [2, 16])
def test_there_is_one_mean(num_draws):
    with pytest.raises(ValueError, match="`num_draws` must be 1, or left out"):
        PosteriorPredictor(gaussian_network(), deterministic=True, num_draws=num_draws)


def test_generated_kernels_have_no_known_mean():
    message = "layer '{}' .*{}.*, whose mean kernel has no closed form"
    for model in (small_network(), hyper_resnet()):
        name = next(iter(PosteriorPredictor(model, num_draws=1).draws[0].noise))
        kind = type(model.get_layer(name)).__name__
        with pytest.raises(ValueError, match=message.format(name, kind)):
            PosteriorPredictor(model, deterministic=True)


# Data.


def test_datasets_with_and_without_labels():
    tf = pytest.importorskip("tensorflow")
    predictor, x = calibrated(), images(11)
    labels = np.arange(11) % 3
    plain = tf.data.Dataset.from_tensor_slices(x).batch(4)
    labelled = tf.data.Dataset.from_tensor_slices((x, labels)).batch(4)
    weights = np.arange(11) % 2
    weighted = tf.data.Dataset.from_tensor_slices((x, labels, weights)).batch(4)
    expected = predictor.predict(x, batch_size=4).members
    for dataset in (plain, labelled, weighted):
        np.testing.assert_array_equal(predictor.predict(dataset).members, expected)
    scores = predictor.evaluate(x, labels, batch_size=4)
    assert predictor.evaluate(labelled) == scores
    chosen = weights == 1
    of_chosen = predictor.evaluate(x[chosen], labels[chosen])
    assert predictor.evaluate(weighted) == pytest.approx(of_chosen, rel=1e-6)
    with_weights = predictor.evaluate(x, labels, sample_weight=weights)
    assert with_weights == pytest.approx(of_chosen, rel=1e-6)
    with pytest.raises(ValueError, match="`y` must hold the labels"):
        predictor.evaluate(plain)
    with pytest.raises(ValueError, match="`x` is a dataset.*leave `y` out"):
        predictor.evaluate(labelled, labels)
    with pytest.raises(ValueError, match="`y` must hold the labels"):
        predictor.evaluate(x)
    with pytest.raises(ValueError, match="same length.*11 and 10"):
        predictor.evaluate(x, labels[:10])


def test_lists_of_batches_and_lists_of_examples():
    predictor, x = calibrated(), images(6)
    expected = predictor.predict(x).members
    found = predictor.predict(x.tolist()).members
    np.testing.assert_allclose(found, expected, atol=1e-6)
    tensor = keras.ops.convert_to_tensor(x)
    np.testing.assert_array_equal(predictor.predict(tensor).members, expected)


@pytest.mark.parametrize("batch_size", [4, 12])
def test_a_dataset_that_reshuffles_is_refused(batch_size):
    tf = pytest.importorskip("tensorflow")
    predictor = calibrated()
    # Whole numbers: their sum is the same in any order.
    x = np.round(images(12) * 4)
    dataset = tf.data.Dataset.from_tensor_slices(x).shuffle(12, seed=1)
    with pytest.raises(ValueError, match="`x` must give the same examples"):
        predictor.predict(dataset.batch(batch_size))
    predictor.predict(dataset.batch(batch_size).cache())


def test_a_dataset_without_end_is_refused():
    tf = pytest.importorskip("tensorflow")
    predictor = calibrated()
    dataset = tf.data.Dataset.from_tensor_slices(images()).batch(4).repeat()
    with pytest.raises(ValueError, match="`x` must end"):
        predictor.predict(dataset)
    with pytest.raises(ValueError, match="`inputs` must end"):
        predictor.calibrate(dataset, verbose=0)


@pytest.mark.parametrize(
    "inputs", [iter([images()]), (x for x in [images()]), 3, object()]
)
def test_what_cannot_be_read_twice_is_refused(inputs):
    predictor = calibrated()
    with pytest.raises(TypeError, match="`x` must be an array or a dataset"):
        predictor.predict(inputs)
    with pytest.raises(TypeError, match="`inputs` must be an array or a dataset"):
        predictor.calibrate(inputs, verbose=0)


def test_empty_inputs_are_refused():
    tf = pytest.importorskip("tensorflow")
    predictor = calibrated()
    before = predictor.predict(images()).members
    for empty in (images(0), [], tf.data.Dataset.from_tensor_slices(images(0))):
        with pytest.raises(ValueError, match="`inputs` must hold at least one"):
            predictor.calibrate(empty, verbose=0)
        with pytest.raises(ValueError, match="`x` must hold at least one"):
            predictor.predict(empty)
    np.testing.assert_array_equal(predictor.predict(images()).members, before)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_inputs_that_are_not_finite_are_refused(value):
    predictor, bad = calibrated(), images()
    before = predictor.predict(images()).members
    bad[7, 2, 3, 0] = value
    with pytest.raises(ValueError, match="`inputs` must be finite.*1 NaN or inf"):
        predictor.calibrate(bad, batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="`x` must be finite.*1 NaN or inf"):
        predictor.predict(bad)
    np.testing.assert_array_equal(predictor.predict(images()).members, before)


# Files.


def test_a_saved_predictor_predicts_the_same_in_another_process(tmp_path):
    predictor, x = calibrated(hyper_resnet("layer_wise"), seed=4), images()
    path = tmp_path / "net.tfhyper"
    predictor.save(path)
    np.save(tmp_path / "x.npy", x)
    run_python(
        "import sys, numpy as np, tfhyper\n"
        "predictor = tfhyper.PosteriorPredictor.load(sys.argv[1])\n"
        "assert (predictor.num_draws, predictor.seed) == (3, 4)\n"
        "members = predictor.predict(np.load(sys.argv[2])).members\n"
        "np.save(sys.argv[3], members)",
        path,
        tmp_path / "x.npy",
        tmp_path / "members.npy",
    )
    expected = predictor.predict(x).members
    np.testing.assert_array_equal(np.load(tmp_path / "members.npy"), expected)
    assert os.listdir(tmp_path).count("net.tfhyper") == 1


def test_settings_survive_the_file(tmp_path):
    head = [keras.layers.Dense(3, activation="softmax")]
    predictor = PosteriorPredictor(
        small_network(head), num_draws=2, batch_norm="moving_average", seed=9
    )
    predictor.save(tmp_path / "net.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
    for name in ("num_draws", "averaging", "batch_norm", "seed", "outputs", "link"):
        assert getattr(loaded, name) == getattr(predictor, name)
    assert loaded.outputs == "probabilities" and loaded.batch_norm == "moving_average"
    assert loaded.deterministic is False
    x = images()
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)


def test_link_and_mean_survive_the_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(30, 6)).astype("float32")
    predictor = PosteriorPredictor(
        gaussian_network(), link="normalized_softplus", deterministic=True
    ).calibrate(x, verbose=0)
    predictor.save(tmp_path / "net.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "net.tfhyper")
    assert loaded.link == "normalized_softplus" and loaded.deterministic is True
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)


def test_files_without_the_newer_settings_still_load(tmp_path, saved):
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        settings = json.loads(archive.read("settings.json"))
    del settings["link"], settings["deterministic"]
    path = tmp_path / "net.tfhyper"
    replaced(saved, path, "settings.json", json.dumps(settings))
    loaded = PosteriorPredictor.load(path)
    assert loaded.link == "softmax" and loaded.deterministic is False
    (tmp_path / "new.tfhyper").write_bytes(saved)
    expected = PosteriorPredictor.load(tmp_path / "new.tfhyper").predict(images())
    np.testing.assert_array_equal(loaded.predict(images()).mean, expected.mean)


def test_a_file_is_not_overwritten_unasked(tmp_path):
    path = tmp_path / "net.tfhyper"
    path.write_bytes(b"precious")
    predictor = calibrated()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        predictor.save(path)
    assert path.read_bytes() == b"precious"
    predictor.save(path, overwrite=True)
    x = images()
    loaded = PosteriorPredictor.load(path)
    np.testing.assert_array_equal(loaded.predict(x).mean, predictor.predict(x).mean)
    assert os.listdir(tmp_path) == ["net.tfhyper"]


@pytest.mark.parametrize("failing", ["model", "arrays", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, failing
):
    path = tmp_path / "net.tfhyper"
    predictor = calibrated(num_draws=1)
    predictor.save(path)
    before = path.read_bytes()

    def fail(target, *args, **kwargs):
        if isinstance(target, str):
            with open(target, "wb") as file:
                file.write(b"half")
        raise OSError("disk full")

    if failing == "model":
        monkeypatch.setattr(predictor.model, "save", fail)
    elif failing == "arrays":
        monkeypatch.setattr(np, "savez", fail)
    else:
        monkeypatch.setattr(os, "replace", lambda *args: fail(None))
    with pytest.raises(OSError, match="disk full"):
        predictor.save(path, overwrite=True)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.tfhyper"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net.tfhyper"
    calibrated(num_draws=1).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_file_is_refused(tmp_path, saved, fraction):
    path = tmp_path / "net.tfhyper"
    path.write_bytes(saved[: int(len(saved) * fraction)])
    with pytest.raises(ValueError, match="`path` must be a whole file written by"):
        PosteriorPredictor.load(path)


def test_flipped_bytes_are_refused_or_harmless(tmp_path, saved):
    x = images()
    path = tmp_path / "net.tfhyper"
    path.write_bytes(saved)
    expected = PosteriorPredictor.load(path).predict(x).mean
    refused = 0
    for at in np.random.default_rng(0).integers(0, len(saved), 25):
        data = bytearray(saved)
        data[at] ^= 0xFF
        path.write_bytes(data)
        try:
            loaded = PosteriorPredictor.load(path)
        except ValueError as error:
            assert "`path` must be a whole file" in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(loaded.predict(x).mean, expected)
    assert refused > 15


def write_zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            archive.writestr(name.replace("_", "."), value)


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "net.tfhyper"
    for data in (b"", b"\x00" * 100, np.random.default_rng(0).bytes(5000)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="`path` must be a whole file written"):
            PosteriorPredictor.load(path)
    small_network().save(tmp_path / "net.keras")
    with pytest.raises(ValueError, match="`path` must be a whole file written"):
        PosteriorPredictor.load(tmp_path / "net.keras")
    for settings in ("", "[]", "{}", '{"format": "tfhyper predictor 0"}', "\xff"):
        write_zip(path, settings_json=settings, draws_npz=b"", model_keras=b"")
        with pytest.raises(ValueError, match="`path` must be a whole file written"):
            PosteriorPredictor.load(path)


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def replaced(saved, path, name, value):
    """Writes a saved predictor with one member replaced."""
    with zipfile.ZipFile(io.BytesIO(saved)) as old:
        members = {n: old.read(n) for n in old.namelist()}
    assert name in members
    members[name] = value
    with zipfile.ZipFile(path, "w") as archive:
        for n, data in members.items():
            archive.writestr(n, data)


def test_nothing_is_unpickled(tmp_path, saved):
    trace = tmp_path / "exploded"
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()  # the bomb works
    trace.unlink()
    arrays = io.BytesIO()
    np.savez(arrays, **{"0/noise/x": np.array([Bomb(trace)], dtype=object)})
    raw = pickle.dumps(Bomb(trace))
    for value in (arrays.getvalue(), raw):
        path = tmp_path / "net.tfhyper"
        replaced(saved, path, "draws.npz", value)
        with pytest.raises(ValueError, match="`path` must be a whole file written"):
            PosteriorPredictor.load(path)
        assert not trace.exists()


@pytest.mark.parametrize(
    "change",
    [{"num_draws": "many"}, {"num_draws": 0}, {"averaging": "x"}, {"surprise": 1}],
)
def test_settings_of_another_kind_are_refused(tmp_path, saved, change):
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        settings = json.loads(archive.read("settings.json"))
    path = tmp_path / "net.tfhyper"
    replaced(saved, path, "settings.json", json.dumps({**settings, **change}))
    with pytest.raises(ValueError, match="`path` must be a whole file written"):
        PosteriorPredictor.load(path)


def test_code_in_a_file_is_not_run(tmp_path, saved):
    inputs = keras.Input(IMAGE)
    x = keras.layers.Lambda(lambda x: x * 2.0, output_shape=IMAGE)(inputs)
    unsafe = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    unsafe.save(tmp_path / "unsafe.keras")
    path = tmp_path / "net.tfhyper"
    replaced(saved, path, "model.keras", (tmp_path / "unsafe.keras").read_bytes())
    with pytest.raises(ValueError, match="(?i)lambda"):
        PosteriorPredictor.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no predictor at .*none.tfhyper"):
        PosteriorPredictor.load(tmp_path / "none.tfhyper")


# Plain networks.


@pytest.mark.parametrize("strategy", sorted(kits.STRATEGIES))
def test_a_materialized_draw_is_that_member(strategy):
    predictor, x = calibrated(hyper_resnet(strategy)), images()
    members = predictor.predict(x).members
    for i in (2, 0):
        plain = predictor.materialize(i)
        for layer in plain._flatten_layers():
            assert type(layer).__module__.split(".")[0] == "keras", layer
        probs = softmax(plain.predict(x, verbose=0))
        np.testing.assert_allclose(probs, members[i], atol=1e-6)
    # It is a copy: the predictor goes on as before.
    plain.set_weights([0 * w for w in plain.get_weights()])
    np.testing.assert_array_equal(predictor.predict(x).members, members)


def test_a_materialized_network_needs_keras_only(tmp_path):
    predictor, x = calibrated(hyper_resnet()), images()
    predictor.materialize(1).save(tmp_path / "plain.keras")
    np.save(tmp_path / "x.npy", x)
    run_python(
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
        "assert not any(name.split('.')[0] == 'tfhyper' for name in sys.modules)",
        tmp_path / "plain.keras",
        tmp_path / "x.npy",
        tmp_path / "logits.npy",
    )
    probs = softmax(np.load(tmp_path / "logits.npy"))
    np.testing.assert_allclose(probs, predictor.predict(x).members[1], atol=1e-6)


@pytest.mark.parametrize("index", [-1, 3, 99])
def test_draws_out_of_range_are_refused(index):
    with pytest.raises(ValueError, match="`draw` must be an integer from 0 to 2"):
        calibrated().materialize(index)


@pytest.mark.parametrize("index", [1.5, "1", None, True])
def test_draws_that_are_no_index_are_refused(index):
    with pytest.raises(ValueError, match="`draw` must be an integer from 0 to 2"):
        calibrated().materialize(index)


# Arguments.


def test_sixteen_draws_by_default():
    predictor = PosteriorPredictor(small_network())
    assert predictor.num_draws == len(predictor.draws) == 16


@pytest.mark.parametrize("num_draws", [0, -1, 2.5, True, "3"])
def test_the_number_of_draws_is_a_positive_integer(num_draws):
    with pytest.raises(ValueError, match="`num_draws` must be a positive integer"):
        PosteriorPredictor(small_network(), num_draws=num_draws)


@pytest.mark.parametrize("name", ["averaging", "batch_norm", "outputs"])
def test_unknown_choices_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be one of .*'nonsense'"):
        PosteriorPredictor(small_network(), **{name: "nonsense"})


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        PosteriorPredictor(small_network(), seed=seed)


@pytest.mark.parametrize("batch_size", [0, -3, 2.0, True])
def test_bad_batch_sizes_are_refused(batch_size):
    predictor = calibrated()
    for method in (predictor.calibrate, predictor.predict, predictor.evaluate):
        with pytest.raises(ValueError, match="`batch_size` must be a positive"):
            method(images(), batch_size=batch_size)


def test_calibration_must_come_first():
    predictor = PosteriorPredictor(small_network(), num_draws=2)
    for use in (
        lambda: predictor.predict(images()),
        lambda: predictor.evaluate(images(), np.zeros(10, int)),
        lambda: predictor.materialize(0),
    ):
        with pytest.raises(ValueError, match=r"Call `calibrate\(training inputs\)`"):
            use()
    predictor.calibrate(images(), verbose=0)
    assert np.isfinite(predictor.predict(images()).mean).all()


def test_moving_averages_need_no_calibration():
    predictor = PosteriorPredictor(small_network(), batch_norm="moving_average")
    with pytest.raises(ValueError, match="nothing to calibrate"):
        predictor.calibrate(images(), verbose=0)


def test_progress_is_shown_when_asked(capfd):
    predictor = PosteriorPredictor(small_network(), num_draws=2)
    predictor.calibrate(images(), verbose=0).predict(images())
    assert capfd.readouterr().out == ""
    predictor.calibrate(images())
    assert "calibrate: 2 draws" in capfd.readouterr().out


# Models that change, or went wrong.


def test_training_on_asks_for_calibration():
    keras.utils.set_random_seed(0)
    model, x, y = small_network(), images(20), np.arange(20) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    model.fit(x, y, epochs=1, verbose=0)
    predictor = calibrated(model)
    before = predictor.predict(x).members
    model.evaluate(x, y, verbose=0)  # no training
    np.testing.assert_array_equal(predictor.predict(x).members, before)
    model.fit(x, y, epochs=3, verbose=0)
    for use in (
        lambda: predictor.predict(x),
        lambda: predictor.evaluate(x, y),
        lambda: predictor.materialize(0),
    ):
        with pytest.raises(ValueError, match="trained since.*`calibrate` again"):
            use()
    predictor.calibrate(images(20), verbose=0)
    after = predictor.predict(x).members
    np.testing.assert_array_equal(after, calibrated(model).predict(x).members)
    assert np.abs(after - before).max() > 1e-4


def test_a_stale_predictor_is_not_saved(tmp_path):
    model, x, y = small_network(), images(20), np.arange(20) % 3
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    predictor = calibrated(model)
    model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="trained since"):
        predictor.save(tmp_path / "net.tfhyper")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("index", [0, -1])  # a generator's weights, a plain layer's
def test_weights_that_were_set_ask_for_calibration(index):
    model, x = small_network(), images()
    predictor = calibrated(model)
    weight = model.layers[index].trainable_weights[0]
    weight.assign(weight * 1.5)
    with pytest.raises(ValueError, match="trained since"):
        predictor.predict(x)
    predictor.calibrate(images(20), verbose=0)
    assert np.isfinite(predictor.predict(x).mean).all()


def network_with_stem():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(IMAGE)
    x = keras.layers.Conv2D(2, 3, name="stem")(inputs)
    x = layers.HyperConv2D(4, 3, hidden_units=16, seed=5, name="hyper")(x)
    x = keras.layers.Flatten()(BN(name="norm")(x))
    return keras.Model(inputs, keras.layers.Dense(3, name="logits")(x))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["stem", "hyper", "logits"])
def test_a_diverged_model_is_an_error_that_changes_nothing(value, name):
    model, x = network_with_stem(), images()
    predictor = calibrated(model)
    before = predictor.predict(x).members
    moments = [dict(draw.moments) for draw in predictor.draws]
    weight = model.get_layer(name).trainable_weights[-1]
    good = keras.ops.convert_to_numpy(weight).copy()
    weight.assign(np.full(good.shape, value, "float32"))
    if name == "logits":  # behind BatchNorm, whose moments are fine
        predictor.calibrate(images(20), verbose=0)
        with pytest.raises(ValueError, match="output is not finite.*diverged"):
            predictor.predict(x)
        weight.assign(good)
        predictor.calibrate(images(20), verbose=0)
    else:
        with pytest.raises(ValueError, match="'norm' are not finite.*diverged"):
            predictor.calibrate(images(20), verbose=0)
        with pytest.raises(ValueError, match="trained since"):
            predictor.predict(x)
        weight.assign(good)
    for draw, old in zip(predictor.draws, moments, strict=True):
        assert set(draw.moments) == set(old) == {"norm"}
        np.testing.assert_array_equal(draw.moments["norm"], old["norm"])
    np.testing.assert_array_equal(predictor.predict(x).members, before)


# Models of every kind.


def test_subclassed_models_are_refused():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Subclassed()
    model(np.zeros((1, 4)))
    with pytest.raises(TypeError, match="functional or Sequential.*keras.Model"):
        PosteriorPredictor(model)
    for other in (None, "model", keras.layers.Dense(3)):
        with pytest.raises(TypeError, match="functional or Sequential"):
            PosteriorPredictor(other)


def test_unbuilt_models_are_refused():
    with pytest.raises(TypeError, match="must be built: give it a keras.Input"):
        PosteriorPredictor(keras.Sequential([keras.layers.Dense(3)]))


def test_sequential_models_that_were_built_by_a_call():
    model = keras.Sequential([layers.HyperDense(3, seed=1)])
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    model(x)
    predictor = PosteriorPredictor(model, num_draws=2)
    assert predictor.predict(x).members.shape == (2, 6, 3)


def test_a_code_that_is_computed_is_refused():
    x = keras.Input((4,))
    code = keras.layers.Dense(4)(layers.LatentCode(4)(x))
    model = keras.Model(x, layers.HyperDense(3, name="end")(x, code))
    with pytest.raises(ValueError, match="layer 'end' must come straight from"):
        PosteriorPredictor(model)


def test_a_layer_with_two_codes_is_refused():
    x = keras.Input((3,))
    layer = layers.HyperDense(3, name="twice")
    one, two = layers.LatentCode(4)(x), layers.LatentCode(4)(x)
    model = keras.Model(x, layer(layer(x, one), two))
    with pytest.raises(ValueError, match="'twice' is called with two codes"):
        PosteriorPredictor(model)


def test_a_draw_inside_of_another_layer_is_refused():
    x = keras.Input((5, 4))
    inner = layers.HyperDense(3, name="inner")
    y = keras.layers.TimeDistributed(inner, name="outer")(x)
    model = keras.Model(x, keras.layers.GlobalAveragePooling1D()(y))
    with pytest.raises(ValueError, match="'inner' draws inside of layer 'outer'"):
        PosteriorPredictor(model)


def test_batch_norm_inside_of_another_layer_is_not_passed_over():
    x = keras.Input((5, 4))
    y = keras.layers.TimeDistributed(BN(), name="outer")(x)
    y = keras.layers.GlobalAveragePooling1D()(y)
    model = keras.Model(x, layers.HyperDense(3, seed=0)(y))
    with pytest.raises(ValueError, match="'outer' has a BatchNorm layer inside"):
        PosteriorPredictor(model)
    predictor = PosteriorPredictor(model, num_draws=2, batch_norm="moving_average")
    assert predictor.predict(np.ones((3, 5, 4), "float32")).mean.shape == (3, 3)


def softmax_operation():
    x = keras.Input((4,))
    return keras.Model(x, keras.ops.softmax(keras.layers.Dense(3)(x)))


@pytest.mark.parametrize(
    "head",
    [
        lambda: [keras.layers.Dense(3, activation="softmax")],
        lambda: [keras.layers.Dense(3), keras.layers.Softmax()],
        lambda: [keras.layers.Dense(3), keras.layers.Activation("softmax")],
        lambda: [keras.Sequential([keras.layers.Dense(3, activation="softmax")])],
        lambda: [softmax_operation()],
    ],
)
def test_models_that_end_in_a_softmax_are_seen(head):
    model, x = small_network(head()), images()
    predictor = calibrated(model, num_draws=2)
    assert predictor.outputs == "probabilities"
    members = predictor.predict(x).members
    np.testing.assert_allclose(
        members[1], numpy(predictor.materialize(1)(x)), atol=1e-6
    )
    # Asked for logits, it would take a second softmax.
    assert calibrated(model, num_draws=2, outputs="logits").outputs == "logits"


def test_logits_called_probabilities_are_refused():
    predictor = calibrated(outputs="probabilities")
    with pytest.raises(ValueError, match="softmax first|sum to one"):
        predictor.predict(images())


@pytest.mark.parametrize("shape", ["one unit", "map", "two outputs"])
def test_models_that_do_not_classify_are_refused(shape):
    x = keras.Input((4, 2))
    outputs = {
        "one unit": keras.layers.Dense(1, "sigmoid")(keras.layers.Flatten()(x)),
        "map": keras.layers.Dense(3)(x),
        "two outputs": [keras.layers.Dense(3)(keras.layers.Flatten()(x))] * 2,
    }[shape]
    with pytest.raises(ValueError, match=r"`model` must have one output.*shapes"):
        PosteriorPredictor(keras.Model(x, outputs))


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_models_of_several_inputs(structure):
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    y = keras.layers.Concatenate()([layers.HyperDense(5, seed=0)(a), b])
    y = keras.layers.Dense(3)(BN(name="norm")(y))
    rng = np.random.default_rng(0)
    one = rng.normal(size=(9, 4)).astype("float32")
    two = rng.normal(size=(9, 2)).astype("float32")
    if structure == "dict":
        model, x = keras.Model({"a": a, "b": b}, y), {"a": one, "b": two}
        short = {"a": one, "b": two[:5]}
    else:
        model, x, short = keras.Model([a, b], y), [one, two], [one, two[:5]]
    predictor = calibrated(model, x)
    np.testing.assert_allclose(
        predictor.draws[0].moments["norm"][0][5:], two.mean(0), atol=1e-6
    )
    members = predictor.predict(x, batch_size=4).members
    for member, i in zip(members, range(3), strict=True):
        logits = predictor.materialize(i).predict(x, verbose=0)
        np.testing.assert_allclose(softmax(logits), member, atol=1e-6)
    with pytest.raises(ValueError, match="same length.*9 and 5"):
        predictor.predict(short)


def inner_network(name, seed):
    x = keras.Input((6,), name="inputs")
    y = layers.HyperDense(6, seed=seed, name="hyper")(x)
    y = keras.layers.ReLU(name="relu")(BN(name="norm")(y))
    return keras.Model(x, y, name=name)


@pytest.mark.parametrize("deep", [False, True])
def test_nested_models_with_layers_of_the_same_names(deep):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    one, two = inner_network("one", 1), inner_network("two", 2)
    three = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6, name="relu"), BN(name="norm")]
    )
    x = two(one(inputs))
    x = keras.Sequential([keras.Input((6,)), three])(x) if deep else three(x)
    model = randomise(keras.Model(inputs, keras.layers.Dense(3, name="hyper")(x)))
    data = np.random.default_rng(0).normal(size=(12, 6)).astype("float32")

    predictor = PosteriorPredictor(model, num_draws=1, batch_norm="moving_average")
    names = [one.get_layer("hyper"), two.get_layer("hyper")]
    predictor.draws[0].noise = dict(
        zip(
            predictor.draws[0].noise,
            (next_code(layer.latent_code) for layer in names),
            strict=True,
        )
    )
    members = predictor.predict(data).members
    expected = softmax(model(data, training=False))
    np.testing.assert_allclose(members[0], expected, atol=1e-5)

    predictor = calibrated(model, data)
    assert len(predictor.draws[0].noise) == 2
    assert len(predictor.draws[0].moments) == 3
    means = [mean for mean, _ in predictor.draws[0].moments.values()]
    assert np.abs(means[0] - means[1]).max() > 1e-3
    prediction = predictor.predict(data).members
    plain = predictor.materialize(0)
    np.testing.assert_allclose(softmax(plain(data)), prediction[0], atol=1e-6)


def test_layers_and_nested_models_that_are_called_twice():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    shared = keras.layers.Dense(6, activation="tanh")
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6), shared])
    x = inner(shared(inner(inputs)))
    x = layers.HyperDense(6, seed=0, name="hyper")(x)
    model = keras.Model(inputs, keras.layers.Dense(3)(shared(x) + x * 0.5))
    data = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    plain = assert_draw_is_model(model, data).materialize(0)
    assert sum(isinstance(x, keras.layers.Dense) for x in plain.layers) == 4


def test_operations_and_constants_in_the_graph():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 6))
    x = layers.HyperDense(6, seed=0, name="hyper")(inputs[:, 1:] * 2.0 - 1.0)
    x = keras.ops.concatenate([keras.ops.mean(x, axis=1), x[:, 0]], axis=-1)
    x = keras.ops.clip(keras.ops.reshape(x, (-1, 12)), -1.0, 1.0)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    data = np.random.default_rng(0).normal(size=(5, 4, 6)).astype("float32")
    assert_draw_is_model(model, data)


def test_preprocessing_layers_are_kept_and_augmentation_is_off():
    keras.utils.set_random_seed(0)
    x = 100 + 30 * images(12)
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    inputs = keras.Input(IMAGE)
    y = keras.layers.RandomFlip("horizontal", seed=1)(inputs)
    y = keras.layers.RandomTranslation(0.3, 0.3, seed=1)(y)
    y = keras.layers.GaussianNoise(1.0, seed=1)(y)
    y = keras.layers.Rescaling(0.5, offset=3.0)(normalization(y))
    y = layers.HyperConv2D(3, 3, seed=1, name="hyper")(y)
    y = keras.layers.Flatten()(keras.layers.ReLU()(y))
    model = keras.Model(inputs, keras.layers.Dense(3)(y))
    predictor = PosteriorPredictor(model, num_draws=1)
    code = next_code(model.get_layer("hyper").latent_code)
    predictor.draws[0].noise = {"hyper": code}
    first = predictor.predict(x).members
    np.testing.assert_array_equal(predictor.predict(x).members, first)
    expected = softmax(model(x, training=False))
    np.testing.assert_allclose(first[0], expected, atol=1e-5)


def test_integer_images():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(IMAGE, dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Flatten()(BN()(layers.HyperConv2D(3, 3, seed=1)(x)))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    data = np.random.default_rng(0).integers(0, 256, (8, *IMAGE)).astype("uint8")
    predictor = calibrated(model, data)
    prediction = predictor.predict(data)
    logits = predictor.materialize(0).predict(data, verbose=0)
    np.testing.assert_allclose(softmax(logits), prediction.members[0], atol=1e-6)
    assert prediction.epistemic.max() > 1e-4


def test_reduced_precision():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = layers.HyperDense(8, seed=1, dtype="mixed_bfloat16")(inputs)
    x = BN(dtype="mixed_bfloat16", name="norm")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="mixed_bfloat16")(x))
    data = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    predictor = calibrated(model, data)
    members = predictor.predict(data).members
    assert members.dtype == np.float32 and np.isfinite(members).all()
    assert predictor.draws[0].moments["norm"][0].dtype == np.float32
    assert predictor.materialize(0).get_layer("norm").compute_dtype == "bfloat16"


def test_a_network_of_keras_applications():
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), classes=4, alpha=0.35
    )
    x = np.random.default_rng(0).normal(size=(24, 32, 32, 3)).astype("float32")
    predictor = calibrated(model, x, num_draws=1)
    assert predictor.outputs == "probabilities"
    assert len(predictor.draws[0].moments) == 52
    members = predictor.predict(x).members
    plain = predictor.materialize(0).predict(x, verbose=0)
    np.testing.assert_allclose(plain, members[0], atol=1e-4)
    expected = model.predict(x, verbose=0)
    assert np.abs(expected - members[0]).max() > 1e-4
    predictor.draws[0].moments = {
        name: tuple(model.get_layer(name).get_weights()[2:])
        for name in predictor.draws[0].moments
    }
    np.testing.assert_allclose(predictor.predict(x).mean, expected, atol=1e-5)


def test_a_draw_without_moments_is_materialized_with_moving_averages():
    model, x = small_network(), images()
    predictor = calibrated(model)
    plain = predictor.materialize(Draw(predictor.draws[0].noise))
    np.testing.assert_array_equal(
        numpy(plain.get_layer("norm").moving_mean),
        numpy(model.get_layer("norm").moving_mean),
    )
    assert np.isfinite(numpy(plain(x))).all()
