"""What is written for TensorBoard, read by TensorBoard's own reader."""

import keras
import numpy as np
import pytest
from scipy.stats import norm
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.util import tensor_util

import tfhyper
from tfhyper import heads, layers
from tfhyper.training import PosteriorTensorBoard

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 4)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype("int32") + (X[:, 2] > 1)


def classifier():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BayesDense(6, activation="tanh", kl_weight=1 / 64, seed=1),
            layers.BayesDense(3, kl_weight=1 / 64, seed=2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(0.1)
    model.compile(sgd, loss, metrics=["accuracy"], run_eagerly=True)
    return model


def read(folder):
    """Returns name -> {step: a number, or a histogram (bins, 3)}."""
    reader = plugin_event_accumulator.EventAccumulator(str(folder))
    found = {}
    for tag in reader.Reload().Tags()["tensors"]:
        found[tag] = {
            event.step: tensor_util.make_ndarray(event.tensor_proto)
            for event in reader.Tensors(tag)
        }
    return found


def test_scores_uncertainties_reliability_and_kl_are_written_apart(tmp_path):
    model = classifier()
    kls = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: kls.append(
            float(keras.ops.convert_to_numpy(tfhyper.training.kl_divergence(model)))
        )
    )
    board = PosteriorTensorBoard(tmp_path, (X[64:], Y[64:]), X[:64], every=2)
    options = {"batch_size": 32, "verbose": 0}
    history = model.fit(
        X[:64], Y[:64], epochs=4, callbacks=[board, note], **options
    ).history
    found = read(tmp_path)
    assert list(found["train/loss"]) == [0, 1, 2, 3]
    np.testing.assert_allclose(list(found["train/loss"].values()), history["loss"])
    np.testing.assert_allclose(list(found["train/kl"].values()), kls, rtol=1e-6)
    assert list(found["mean/nll"]) == [1, 3]
    for name in ("error", "nll", "brier", "ece"):
        written = list(found[f"mean/{name}"].values())
        np.testing.assert_allclose(written, history[f"val_{name}"], rtol=1e-6)

    # The weights are those of the last epoch: the same draws, anew and by NumPy.
    predictor = tfhyper.PosteriorPredictor(model, num_draws=4, seed=0)
    prediction, labels = predictor.predict(X[64:]), Y[64:]
    of_labels = prediction.members[:, np.arange(32), labels]
    alone = -np.log(of_labels).mean()
    assert found["draw/nll"][3] == pytest.approx(alone, rel=1e-5)
    assert found["draw/nll"][3] > found["mean/nll"][3]
    for part in ("epistemic", "total"):
        low, high, heights = found[f"posterior/{part}"][3].T
        values = prediction.uncertainty(part)
        expected = np.histogram(values, 30, (0, values.max()))
        np.testing.assert_allclose([*low, high[-1]], expected[1], rtol=1e-5)
        assert heights.sum() == 32 and abs(heights - expected[0]).sum() <= 2
    confidence = prediction.mean.max(axis=1)
    right = prediction.mean.argmax(axis=1) == labels
    place = np.ceil(confidence * 10).astype(int) - 1
    heights = found["posterior/reliability"][3][:, 2]
    counts = found["posterior/confidence"][3][:, 2]
    for i in range(10):
        assert counts[i] == np.sum(place == i)
        expected = right[place == i].mean() if counts[i] else 0
        assert heights[i] == pytest.approx(expected)
    over = confidence.mean() - right.mean()
    assert found["posterior/overconfidence"][3] == pytest.approx(over, abs=1e-6)

    # A training that goes on from the second epoch takes the place of the last two.
    again = PosteriorTensorBoard(tmp_path, (X[64:], Y[64:]), X[:64])
    model.fit(X, Y, initial_epoch=2, epochs=3, callbacks=[again], **options)
    assert len(list(tmp_path.iterdir())) == 2
    resumed = read(tmp_path)
    assert list(resumed["train/loss"]) == [0, 1, 2]
    assert resumed["train/loss"][2] != found["train/loss"][2]
    assert list(resumed["mean/nll"]) == [1, 2]


def test_numbers_and_several_outputs_have_histograms_of_their_own(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = layers.MCDropout(0.3, seed=3)(keras.layers.Dense(8, "tanh")(inputs))
    outputs = {
        "kind": keras.layers.Dense(3, "softmax")(hidden),
        "size": keras.layers.Dense(1)(hidden),
    }
    model = keras.Model(inputs, outputs)
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    model.compile("sgd", losses, run_eagerly=True)
    labels = {"kind": Y, "size": X[:, 0]}
    board = PosteriorTensorBoard(
        tmp_path / "several", (X, labels), X, noise_variance={"size": 0.5}
    )
    model.fit(X, labels, callbacks=[board], verbose=0)
    found = read(tmp_path / "several")
    assert "train/kl" not in found
    assert {"mean/kind_nll", "draw/size_rmse"} <= found.keys()
    assert found["kind/posterior/confidence"][0][:, 2].sum() == 96
    predictor = tfhyper.PosteriorPredictor(model, 4, noise_variance={"size": 0.5})
    size = predictor.predict(X)["size"]
    pit = norm.cdf((X[:, 0] - size.members) / np.sqrt(0.5)).mean(axis=0)
    heights = found["size/posterior/pit"][0][:, 2]
    np.testing.assert_array_equal(heights, np.histogram(pit, 10, (0, 1))[0])

    head = keras.Sequential(
        [
            keras.Input((4,)),
            layers.MCDropout(0.3, seed=3),
            keras.layers.Dense(2),
            heads.NormalHead(),
        ]
    )
    loss = heads.NegativeLogLikelihood(head.layers[-1].family)
    head.compile("sgd", loss, run_eagerly=True)
    board = PosteriorTensorBoard(str(tmp_path / "head"), (X, X[:, :1]), X, num_draws=2)
    head.fit(X, X[:, :1], callbacks=[board], verbose=0)
    found = read(tmp_path / "head")
    assert found["posterior/pit"][0][:, 2].sum() == 96
    assert found["draw/crps"][0] > 0


def test_a_network_that_draws_nothing_has_no_scores_of_draws(tmp_path):
    keras.utils.set_random_seed(0)
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    plain.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    plain.fit(X, Y, callbacks=[PosteriorTensorBoard(tmp_path, (X, Y), X)], verbose=0)
    found = read(tmp_path)
    assert "mean/nll" in found and not any(x.startswith("draw/") for x in found)
    assert found["posterior/epistemic"][0][0, 2] == 96


def test_a_folder_that_is_no_path_is_refused():
    with pytest.raises(TypeError, match="`log_dir`"):
        PosteriorTensorBoard(3, (X, Y), X)
