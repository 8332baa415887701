"""Positions that Keras' own masks leave out count in no score."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfhyper

RNG = np.random.default_rng(0)
LENGTHS = np.array([5, 2, 0, 3, 1, 4])
MASK = np.arange(5) < LENGTHS[:, None]
TOKENS = np.where(MASK, RNG.integers(1, 9, MASK.shape), 0)
WEIGHTS = RNG.uniform(0.5, 2.0, len(MASK))


def tagger(outputs=2, **kwargs):
    """A class, or numbers, for each token of padded texts."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.LSTM(6, return_sequences=True)(x)
    return keras.Model(inputs, tfhyper.layers.BayesDense(outputs, seed=0, **kwargs)(x))


@pytest.fixture(scope="module")
def predictor():
    return tfhyper.PosteriorPredictor(tagger(), 4, outputs="logits", seed=1)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, 2, MASK.shape)


def test_scores_are_those_of_positions_that_are_there(predictor, labels):
    mean = predictor.predict(TOKENS).mean
    found = predictor.evaluate(TOKENS, labels, batch_size=4)
    at = np.take_along_axis(mean, labels[..., None], -1)[..., 0]
    np.testing.assert_allclose(found["nll"], -np.log(at[MASK]).mean(), rtol=1e-5)
    wrong = np.argmax(mean, -1) != labels
    np.testing.assert_allclose(found["error"], wrong[MASK].mean(), rtol=1e-6)
    # Said twice it is the same; the mask of a user is a further one.
    told = predictor.evaluate(TOKENS, labels, sample_weight=MASK)
    assert told == pytest.approx(found, rel=1e-6)


def test_weights_of_examples_and_masks_go_together(predictor, labels):
    mean = predictor.predict(TOKENS).mean
    nll = -np.log(np.take_along_axis(mean, labels[..., None], -1)[..., 0])
    weights = WEIGHTS[:, None] * MASK
    expected = (weights * nll).sum() / weights.sum()
    for given in (WEIGHTS, WEIGHTS[:, None], np.repeat(WEIGHTS[:, None], 5, 1)):
        found = predictor.evaluate(TOKENS, labels, sample_weight=given)
        np.testing.assert_allclose(found["nll"], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`sample_weight` must"):
        predictor.evaluate(TOKENS, labels, sample_weight=np.ones((6, 4)))


def test_a_plain_network_scores_as_keras_does(labels):
    model = tagger(kl_weight=0.0)
    plain = tfhyper.PosteriorPredictor(model, 1, outputs="logits").materialize(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain.compile("sgd", loss, weighted_metrics=["accuracy"])
    expected = plain.evaluate(TOKENS, labels, batch_size=6, verbose=0)
    found = tfhyper.DeepEnsemble([plain]).evaluate(TOKENS, labels)
    assert [found["nll"], 1 - found["error"]] == pytest.approx(expected, rel=1e-5)


def test_coverage_and_noise_are_those_of_positions_that_are_there(predictor):
    chosen = predictor.fit_rejection(TOKENS, coverage=0.6)
    rejected = chosen.predict(TOKENS).rejected
    chosen.rejection = None
    assert np.mean(~rejected[MASK]) == pytest.approx(0.6, abs=1 / MASK.sum() + 1e-9)

    regression = tfhyper.PosteriorPredictor(tagger(2), 4, outputs="mean")
    mean = regression.predict(TOKENS).mean
    # Far off where there is nothing, which would be a noise of thousands.
    targets = np.where(MASK[..., None], mean + RNG.normal(size=mean.shape), 100.0)
    noise = regression.fit_noise(TOKENS, targets).noise_variance
    assert 0.3 < noise < 3.0
    rmse = regression.evaluate(TOKENS, targets)["rmse"]
    errors = (targets - mean)[MASK]
    np.testing.assert_allclose(rmse, np.sqrt(np.mean(errors**2)), rtol=1e-5)


def test_masks_of_vectors_reach_batches_of_a_dataset():
    keras.utils.set_random_seed(0)
    inputs = {
        "seen": keras.Input((3, 2), name="seen"),
        "also": keras.Input((3, 1), name="also"),
    }
    x = layers.Concatenate()([inputs["seen"], inputs["also"]])
    x = layers.GRU(4, return_sequences=True)(layers.Masking(mask_value=-1.0)(x))
    model = keras.Model(inputs, layers.Dense(2)(x))
    seen = RNG.normal(size=(4, 3, 2)).astype("float32")
    also = np.zeros((4, 3, 1), "float32")
    for part in (seen, also):
        part[1, 2] = part[3, 1:] = -1.0
    mask = also[..., 0] != -1.0
    labels = RNG.integers(0, 2, (4, 3))
    x = {"seen": seen, "also": also}
    predictor = tfhyper.PosteriorPredictor(model, 1, outputs="logits")
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).batch(3)
    mean = predictor.predict(x).mean
    at = np.take_along_axis(mean, labels[..., None], -1)[..., 0]
    found = predictor.evaluate(batches)["nll"]
    np.testing.assert_allclose(found, -np.log(at[mask]).mean(), rtol=1e-5)


def test_masks_of_one_of_several_outputs_are_refused():
    model = tagger()
    also = layers.Dense(1, name="also")(layers.Flatten()(model.layers[1].output))
    both = keras.Model(model.input, [model.output, also])
    outputs = ["logits", "mean"]
    predictor = tfhyper.PosteriorPredictor(both, 2, outputs=outputs)
    with pytest.raises(ValueError, match="none with a mask of Keras"):
        predictor.evaluate(TOKENS, {})
    with pytest.raises(ValueError, match="none with a mask of Keras"):
        predictor.fit_noise(TOKENS, {})
