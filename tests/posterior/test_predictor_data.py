"""Data that a predictor takes, and data that it refuses."""

import keras
import numpy as np
import pytest

from tests.helpers.predictors import calibrated, images


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
    with pytest.raises(ValueError, match="same length.*of length 11, y of length 10"):
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
