"""Sets of TensorFlow Datasets, prepared by the tests themselves."""

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.helpers.tfds_sets import collect, normalised, prepare
from tfhyper.data import DATASETS, load, load_arrays


def make_examples(count, shape, classes, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    return images, rng.integers(0, classes, count)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a set that TFDS does not know, and its examples."""
    folder = str(tmp_path_factory.mktemp("tiny"))
    splits = {
        "train": make_examples(60, (6, 5, 3), 4, 0),
        "test": make_examples(20, (6, 5, 3), 4, 1),
    }
    # A wider range in one channel tells the channels' statistics apart.
    splits["train"][0][..., 1] //= 2
    prepare(folder, "tiny_pictures", "1.0.0", splits, (6, 5, 3), 4, shards=3)
    return folder, splits


def test_a_set_that_is_not_in_the_table(tiny):
    folder, splits = tiny
    data = load("tiny_pictures", data_dir=folder, batch_size=16)
    assert data.spec.image_shape == (6, 5, 3)
    assert data.spec.num_classes == 4
    assert not data.spec.flip
    scaled = splits["train"][0] / 255
    np.testing.assert_allclose(data.spec.mean, scaled.mean((0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(data.spec.std, scaled.std((0, 1, 2)), atol=1e-9)
    images, labels = collect(data.train_plain)
    np.testing.assert_allclose(images.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(images.std((0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_array_equal(labels, splits["train"][1])
    (x_train, _), (x_test, y_test) = load_arrays("tiny_pictures", data_dir=folder)
    np.testing.assert_allclose(x_train, images, atol=1e-6)
    expected = normalised(splits["test"][0], data.spec.mean, data.spec.std)
    np.testing.assert_allclose(x_test, expected, atol=1e-5)
    np.testing.assert_array_equal(y_test, splits["test"][1])


def test_a_subset_is_the_first_examples(tiny):
    folder, splits = tiny
    for cache in (True, False):
        data = load(
            "tiny_pictures",
            data_dir=folder,
            train_examples=11,
            test_examples=3,
            mean=[0.5] * 3,
            std=[0.25] * 3,
            cache=cache,
        )
        images, labels = collect(data.train_plain)
        expected = normalised(splits["train"][0][:11], 0.5, 0.25)
        np.testing.assert_allclose(images, expected, atol=1e-5)
        np.testing.assert_array_equal(labels, splits["train"][1][:11])
        assert len(collect(data.test)[1]) == data.num_test == 3


@pytest.mark.parametrize("cache", [True, False])
def test_several_splits_to_train_on(tmp_path, cache):
    splits = {
        name: make_examples(size, (6, 5, 3), 4, size)
        for name, size in {"train": 12, "extra": 9, "test": 3}.items()
    }
    prepare(str(tmp_path), "digits", "1.0.0", splits, (6, 5, 3), 4, shards=2)
    options = {"data_dir": str(tmp_path), "cache": cache, "train_split": "train+extra"}
    scale = {"mean": [0.5] * 3, "std": [0.25] * 3}
    both = [np.concatenate([splits[x][i] for x in ("train", "extra")]) for i in (0, 1)]
    for count in (None, 15, 7):
        data = load("digits", train_examples=count, **options, **scale)
        images, labels = collect(data.train_plain)
        assert len(labels) == data.num_train == (count or 21)
        np.testing.assert_array_equal(labels, both[1][:count])
        expected = normalised(both[0][:count], 0.5, 0.25)
        np.testing.assert_allclose(images, expected, atol=1e-5)
    _, labels = collect(data.epoch(0))
    assert sorted(labels) == sorted(both[1][:7])
    # Held out are the last ones: all of the second split, and three of the first.
    data = load("digits", validation_examples=12, **options, **scale)
    images, labels = collect(data.validation)
    assert (data.num_train, data.num_validation) == (9, 12)
    np.testing.assert_array_equal(labels, both[1][9:])
    expected = normalised(both[0][9:], 0.5, 0.25)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    np.testing.assert_array_equal(collect(data.train_plain)[1], both[1][:9])
    with pytest.raises(
        ValueError, match="`train_split` must be some of .'extra', 'tra"
    ):
        load("digits", **{**options, "train_split": "train+test"})


def test_a_set_read_from_disk_is_a_function_of_seed_and_epoch(tiny):
    folder, splits = tiny

    def make(**kwargs):
        return load(
            "tiny_pictures", data_dir=folder, batch_size=16, cache=False, **kwargs
        )

    data = make()
    for dataset, split in ((data.train_plain, "train"), (data.test, "test")):
        images, labels = collect(dataset)
        expected = normalised(splits[split][0], data.spec.mean, data.spec.std)
        np.testing.assert_allclose(images, expected, atol=1e-5)
        np.testing.assert_array_equal(labels, splits[split][1])
    epochs = [collect(data.epoch(epoch)) for epoch in range(3)]
    whole = [np.concatenate(parts) for parts in zip(*epochs, strict=True)]
    keras.utils.set_random_seed(99)  # The global seed is not part of it.
    again = make()
    resumed = collect(again.train_from(1).take(2 * again.steps_per_epoch))
    for expected, received in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(expected[60:], received)
    assert np.any(epochs[0][0] != epochs[1][0])
    assert np.any(epochs[0][0] != collect(make(seed=1).epoch(0))[0])
    unaugmented, _ = collect(make(augment=False).epoch(0))
    order = [image.tobytes() for image in unaugmented]
    stored = [image.tobytes() for image in collect(data.train_plain)[0]]
    assert order != stored and sorted(order) == sorted(stored)


def test_a_set_of_the_table(tmp_path):
    splits = {
        "train": make_examples(8, (32, 32, 3), 10, 0),
        "test": make_examples(4, (32, 32, 3), 10, 1),
    }
    extra = {"id": (tfds.features.Text(), "x")}
    prepare(str(tmp_path), "cifar10", "3.0.2", splits, (32, 32, 3), 10, extra)
    data = load("cifar10", data_dir=str(tmp_path), test_examples=4)
    assert data.spec == DATASETS["cifar10"]
    images, labels = collect(data.test)
    expected = normalised(splits["test"][0], data.spec.mean, data.spec.std)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, splits["test"][1])


def test_sets_that_cannot_be_served(tmp_path):
    folder = str(tmp_path)
    examples = make_examples(2, (4, 4, 3), 2, 0)
    splits = {"train": examples, "test": examples}
    prepare(folder, "varying", "1.0.0", splits, (None, None, 3), 2)
    with pytest.raises(ValueError, match="uint8 images of one size.*varying"):
        load("varying", data_dir=folder)
    prepare(folder, "no_test", "1.0.0", {"train": examples}, (4, 4, 3), 2)
    with pytest.raises(ValueError, match="with the split 'validation'"):
        load("no_test", data_dir=folder)
    extra = {"other": (tfds.features.ClassLabel(num_classes=2), 0)}
    prepare(folder, "two_labels", "1.0.0", splits, (4, 4, 3), 2, extra)
    with pytest.raises(ValueError, match="must be an image-classification set"):
        load("two_labels", data_dir=folder)
    prepare(folder, "cifar100", "3.0.2", splits, (4, 4, 3), 2)
    with pytest.raises(ValueError) as info:
        load("cifar100", data_dir=folder)
    assert "must have uint8 images of shape (32, 32, 3) and 100" in str(info.value)
    assert "with uint8 images of shape (4, 4, 3) and 2 classes" in str(info.value)


def test_a_missing_set_says_where_it_was_looked_for_and_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError) as info:
        load("mnist", data_dir=str(tmp_path))
    message = str(info.value)
    assert str(tmp_path / "mnist") in message
    assert f"tensorflow_datasets.load('mnist', data_dir='{tmp_path}')" in message
    assert "`download=True`" in message


def test_an_unknown_name_gets_the_known_ones_and_a_close_match(tmp_path):
    with pytest.raises(ValueError) as info:
        load("cifar_10", data_dir=str(tmp_path))
    message = str(info.value)
    assert all(name in message for name in DATASETS)
    assert "Did you mean 'cifar10'" in message
    assert "name='cifar_10'" in message
    with pytest.raises(TypeError, match="`name` must be text"):
        load(3)
