"""Predictions batch by batch, and scores of data of any length."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

import tfhyper

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype("float32")
Y = RNG.integers(0, 3, 50)


def classifier(num_draws=3):
    keras.utils.set_random_seed(0)
    hidden = tfhyper.layers.BayesDense(
        8, activation="tanh", rho_initializer=keras.initializers.Constant(0.0)
    )
    model = keras.Sequential([keras.Input((6,)), hidden, L.Dense(3)])
    return tfhyper.PosteriorPredictor(model, num_draws)


class Shuffled(keras.utils.PyDataset):
    """Batches in another order in every reading."""

    def __init__(self):
        super().__init__()
        self.reading = np.random.default_rng(0)

    def __len__(self):
        return 5

    def __getitem__(self, i):
        if i == 0:
            self.order = self.reading.permutation(50)
        rows = self.order[10 * i : 10 * i + 10]
        return X[rows], Y[rows]


def test_batches_are_parts_of_the_prediction():
    predictor = classifier()
    predictor.fit_rejection(X, coverage=0.7)
    whole = predictor.predict(X)
    parts = list(predictor.predict_batches(X, batch_size=20))
    assert [len(part.mean) for part in parts] == [20, 20, 10]
    for name in ("mean", "total", "epistemic", "label", "rejected"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-6)
    members = np.concatenate([part.members for part in parts], axis=1)
    np.testing.assert_allclose(members, whole.members, atol=1e-6)
    (first, *_) = predictor.predict_batches(X, 20, keep_members=False)
    assert first.members is None
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        predictor.predict_batches(X, batch_size=0)


def test_data_that_are_read_once_may_be_shuffled():
    predictor = classifier()
    with pytest.raises(ValueError, match="the same examples in the same order"):
        predictor.predict(Shuffled())
    expected = predictor.evaluate(X, Y)
    found = predictor.evaluate(Shuffled())
    assert found == pytest.approx(expected, rel=1e-5)
    sizes = [len(part.mean) for part in predictor.predict_batches(Shuffled())]
    assert sizes == [10] * 5


def maps(num_draws):
    """Returns a predictor of 60 classes a pixel, of dropout on channels."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, L.Dense(60)(tfhyper.layers.MCDropout(0.3)(inputs)))
    return tfhyper.PosteriorPredictor(model, num_draws)


def test_scores_of_several_parts_are_those_of_one_prediction():
    predictor = maps(2)
    rng = np.random.default_rng(1)
    # Above what is held at once, 2**23 numbers of a draw: 10 of 12 maps.
    x = rng.normal(size=(12, 120, 110, 2)).astype("float32")
    y = rng.integers(0, 60, x.shape[:-1])
    y[:, :4] = 255
    ignoring = tfhyper.PosteriorPredictor(predictor.model, 2, ignore_class=255)
    ignoring.fit_rejection(x, y, coverage=0.5, batch_size=2)
    found = ignoring.evaluate(x, y, batch_size=2)
    prediction = ignoring.predict(x, batch_size=2)
    counts = y != 255
    label = prediction.mean.argmax(-1)
    right = np.take_along_axis(prediction.mean, np.where(counts, y, 0)[..., None], -1)
    assert found["error"] == pytest.approx(np.mean((label != y)[counts]))
    nll = -np.log(right[counts].astype("float64")).mean()
    assert found["nll"] == pytest.approx(nll, rel=1e-6)
    kept = ~prediction.rejected & counts
    assert found["coverage"] == pytest.approx(kept.sum() / counts.sum())
    assert found["coverage"] == pytest.approx(0.5, abs=1e-3)
    assert found["selective_error"] == pytest.approx(np.mean((label != y)[kept]))
    both = [
        np.sum(counts & (y == c) & (label == c))
        / np.sum(counts & ((y == c) | (label == c)))
        for c in range(60)
    ]
    assert found["mean_iou"] == pytest.approx(np.mean(both))


def test_members_that_are_too_many_are_left_out_and_it_is_said(capsys):
    predictor = maps(40)
    x = np.zeros((3, 220, 180, 2), "float32")  # 1.06 GiB of members
    prediction = predictor.predict(x, batch_size=1)
    assert prediction.members is None
    assert "members, 1.1 GiB, are not kept" in capsys.readouterr().out
    assert predictor.predict(x[:1]).members.shape == (40, 1, 220, 180, 60)
    with pytest.raises(ValueError, match="`keep_members` must be"):
        predictor.predict(x, keep_members="no")


def test_labels_that_are_all_ignored_are_refused():
    predictor = tfhyper.PosteriorPredictor(classifier().model, 2, ignore_class=-1)
    with pytest.raises(ValueError, match="`y` must hold labels that count"):
        predictor.evaluate(X, np.full(50, -1))
    for weights in (np.zeros(50), -np.ones(50)):
        with pytest.raises(ValueError, match="`sample_weight` must not be below zero"):
            predictor.evaluate(X, Y, sample_weight=weights)
