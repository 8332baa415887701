"""Arrays by batches, whose order is a function of seed and epoch."""

import itertools

import numpy as np
import pytest

from tfhyper.data import ArrayBatches

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


def taken(batches, epoch, count):
    return list(itertools.islice(batches.train_from(epoch), count))


def test_an_epoch_has_each_example_once_and_its_label():
    batches = ArrayBatches(X, Y, 5, seed=1)
    assert (batches.num_examples, batches.steps_per_epoch) == (10, 2)
    found = taken(batches, 0, 4)
    for x, y in found:
        np.testing.assert_array_equal(x.numpy(), X[y.numpy()])
    first, second = (
        np.concatenate([y.numpy() for _, y in found[i : i + 2]]) for i in (0, 2)
    )
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


def test_a_later_epoch_is_what_it_would_have_been():
    whole = taken(ArrayBatches(X, Y, 4, seed=2), 0, 6)
    rest = taken(ArrayBatches(X, Y, 4, seed=2), 2, 2)
    for (_, y), (_, again) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(again.numpy(), y.numpy())
    other = taken(ArrayBatches(X, Y, 4, seed=3), 2, 2)
    assert any((a.numpy() != b.numpy()).any() for (_, a), (_, b) in zip(rest, other))


def test_structures_of_arrays_stay_together():
    batches = ArrayBatches({"a": X, "b": X[:, :1]}, (Y, -Y), 3)
    (x, (y, minus)) = taken(batches, 0, 1)[0]
    np.testing.assert_array_equal(x["a"].numpy(), X[y.numpy()])
    np.testing.assert_array_equal(x["b"].numpy(), X[y.numpy(), :1])
    np.testing.assert_array_equal(minus.numpy(), -y.numpy())


def test_bad_arguments_are_named():
    for arrays in ((X, Y[:9]), (X[:0], Y[:0]), (X, 3)):
        with pytest.raises(ValueError, match="`x` and `y` must be arrays of the same"):
            ArrayBatches(*arrays)
    with pytest.raises(TypeError, match="`y` must hold real numbers"):
        ArrayBatches(X, ["a"] * 10)
    with pytest.raises(ValueError, match="`x` must be finite"):
        ArrayBatches(X * np.inf, Y)
    with pytest.raises(ValueError, match="`batch_size` must be"):
        ArrayBatches(X, Y, 11)
    with pytest.raises(ValueError, match="`seed` must be"):
        ArrayBatches(X, Y, 2, seed=-1)
    with pytest.raises(ValueError, match="`epoch` must be"):
        ArrayBatches(X, Y, 2).train_from(-1)
