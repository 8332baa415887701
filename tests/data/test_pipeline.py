"""Order, augmentation and resumption of the pipelines of `load`."""

import collections
import gc
import itertools

import keras
import numpy as np
import pytest

from tfhyper.data import DATASETS, Data, load, load_arrays

NAME = "fashion_mnist_small"


def collect(dataset, batches=None):
    """Images and labels of a dataset, or of its first batches, in one array each."""
    taken = dataset if batches is None else dataset.take(batches)
    images, labels = zip(*taken.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def rows(images):
    """Counts of the images by their bytes."""
    return collections.Counter(image.tobytes() for image in images)


@pytest.fixture(scope="module")
def data():
    return load(NAME, batch_size=32, train_examples=100, test_examples=50, seed=7)


@pytest.fixture(scope="module")
def plain():
    return load(NAME, batch_size=32, train_examples=100, augment=False, seed=7)


@pytest.fixture(scope="module")
def arrays():
    return load_arrays(NAME, train_examples=100, test_examples=50)


def test_fields_shapes_and_the_short_last_batch(data):
    assert isinstance(data, Data)
    assert (data.num_train, data.num_test, data.steps_per_epoch) == (100, 50, 4)
    assert data.spec.name == NAME
    for dataset in (data.train, data.train_plain, data.epoch(0)):
        sizes = [len(labels) for _, labels in dataset.as_numpy_iterator()]
        assert sizes == [32, 32, 32, 4]
        assert int(dataset.cardinality()) == 4
        images, labels = dataset.element_spec
        assert images.shape.as_list() == [None, 28, 28, 1]
        assert (images.dtype.name, labels.dtype.name) == ("float32", "int32")


def test_plain_and_test_are_the_arrays_in_order(data, arrays):
    assert_same(collect(data.train_plain), arrays[0])
    assert_same(collect(data.test), arrays[1])
    assert_same(collect(data.test), arrays[1])


def test_each_epoch_has_each_example_once_in_another_order(plain, arrays):
    orders = []
    for epoch in range(3):
        images, labels = collect(plain.epoch(epoch))
        assert rows(images) == rows(arrays[0][0])
        label_of = {
            image.tobytes(): label for image, label in zip(*arrays[0], strict=True)
        }
        assert [label_of[image.tobytes()] for image in images] == labels.tolist()
        orders.append(images)
    for first, second in itertools.combinations(orders, 2):
        assert np.any(first != second)


def test_seed_and_epoch_decide_the_batches(data):
    again = load(NAME, batch_size=32, train_examples=100, seed=7)
    assert_same(collect(data.epoch(5)), collect(again.epoch(5)))
    assert_same(collect(data.epoch(5)), collect(data.epoch(5)))
    other = load(NAME, batch_size=32, train_examples=100, seed=8)
    assert np.any(collect(data.epoch(5))[0] != collect(other.epoch(5))[0])
    # (seed, epoch) is not a sum: seed 8 in epoch 4 is not seed 7 in epoch 5.
    assert np.any(collect(data.epoch(5))[0] != collect(other.epoch(4))[0])


def test_validation_examples_are_the_last_and_are_not_trained_on(plain):
    (x_train, y_train), _ = load_arrays(NAME)
    data = load(NAME, batch_size=64, validation_examples=90, augment=False)
    assert (data.num_train, data.num_validation) == (9910, 90)
    images, labels = collect(data.validation)
    np.testing.assert_allclose(images, x_train[-90:], atol=1e-6)
    np.testing.assert_array_equal(labels, y_train[-90:])
    trained, _ = collect(data.epoch(0))
    assert rows(trained) + rows(images) == rows(collect(load(NAME).train_plain)[0])
    part = load(NAME, validation_examples=90, train_examples=100)
    np.testing.assert_array_equal(
        collect(part.train_plain)[0], collect(plain.train_plain)[0]
    )
    assert rows(collect(part.validation)[0]) == rows(images)
    assert load(NAME, train_examples=100).validation is None


BLACK = (0 - np.float32(DATASETS[NAME].mean[0])) / np.float32(DATASETS[NAME].std[0])


@pytest.mark.parametrize(
    "crop_padding, options",
    [
        ("mean", {"constant_values": 0}),
        ("black", {"constant_values": BLACK}),
        ("reflect", {"mode": "reflect"}),
    ],
)
def test_each_training_image_is_a_flipped_window_of_its_padded_source(
    plain, crop_padding, options
):
    # Without augmentation the order is the same, which gives the source of each image.
    data = load(
        NAME, batch_size=32, train_examples=100, seed=7, crop_padding=crop_padding
    )
    images, labels = collect(data.epoch(1))
    sources, source_labels = collect(plain.epoch(1))
    np.testing.assert_array_equal(labels, source_labels)
    padded = np.pad(sources, [(0, 0), (4, 4), (4, 4), (0, 0)], **options)
    found = {False: np.zeros(100, bool), True: np.zeros(100, bool)}
    for mirrored, top, left in itertools.product((False, True), range(9), range(9)):
        window = padded[:, top : top + 28, left : left + 28]
        window = window[:, :, ::-1] if mirrored else window
        # Black is rounded, in another way.
        found[mirrored] |= (abs(images - window) < 1e-6).all(axis=(1, 2, 3))
    assert np.all(found[False] | found[True])
    # 100 draws of probability 1/2: five standard deviations are 25.
    assert abs(found[True].sum() - 50) <= 25
    assert np.any(images != sources)


def test_without_crops_training_images_are_flipped_alone(plain):
    options = {"batch_size": 32, "train_examples": 100, "seed": 7}
    images, labels = collect(load(NAME, crop_padding="none", **options).epoch(1))
    sources, source_labels = collect(plain.epoch(1))
    np.testing.assert_array_equal(labels, source_labels)
    as_it_is = (images == sources).all(axis=(1, 2, 3))
    mirrored = (images == sources[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.all(as_it_is | mirrored)
    # As above, five standard deviations.
    assert abs(mirrored.sum() - 50) <= 25


def test_augmentation_differs_from_batch_to_batch():
    # Batches of one example: the crops must not repeat with the step.
    data = load(NAME, batch_size=1, train_examples=16)
    plain = load(NAME, batch_size=1, train_examples=16, augment=False)
    images, sources = collect(data.epoch(0))[0], collect(plain.epoch(0))[0]
    padded = np.pad(sources, [(0, 0), (4, 4), (4, 4), (0, 0)])
    corners = set()
    for mirrored, top, left in itertools.product((False, True), range(9), range(9)):
        window = padded[:, top : top + 28, left : left + 28]
        window = window[:, :, ::-1] if mirrored else window
        if (images == window).all(axis=(1, 2, 3)).any():
            corners.add((mirrored, top, left))
    assert len(corners) > 8


def test_train_from_continues_the_epochs(data):
    whole = collect(data.train_from(0), 4 * 4)
    assert_same(
        whole,
        [np.concatenate(p) for p in zip(*map(collect, map(data.epoch, range(4))))],
    )
    resumed = collect(data.train_from(2), 2 * 4)
    assert_same([part[200:] for part in whole], resumed)


def test_train_gives_the_next_epoch_each_time():
    data = load(NAME, batch_size=32, train_examples=100, seed=7)
    assert_same(collect(data.train), collect(data.epoch(0)))
    assert_same(collect(data.train), collect(data.epoch(1)))
    repeated = collect(data.train.repeat(2))
    expected = zip(collect(data.epoch(2)), collect(data.epoch(3)), strict=True)
    assert_same(repeated, [np.concatenate(pair) for pair in expected])
    train = data.train
    del data
    gc.collect()
    assert len(collect(train)[1]) == 100


def fit(data, model, first, last):
    model.fit(
        data.train_from(first),
        steps_per_epoch=data.steps_per_epoch,
        initial_epoch=first,
        epochs=last,
        shuffle=False,
        verbose=0,
    )


def test_a_resumed_fit_ends_with_the_same_weights(data):
    def new_model(built):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
        if built:
            layers.insert(0, keras.Input((28, 28, 1)))
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
        return model

    # One is built by `fit` from the first batch, which must not use that batch up.
    whole, resumed = new_model(False), new_model(True)
    fit(data, whole, 0, 4)
    fit(data, resumed, 0, 2)
    fit(data, resumed, 2, 4)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer.*batch_size=0"),
        ({"batch_size": 2.0}, "Received: batch_size=2.0"),
        ({"seed": -1}, "`seed` must be an integer from 0 to .*seed=-1"),
        ({"train_examples": -3}, "`train_examples` must .*train_examples=-3"),
        ({"validation_examples": 0}, "`validation_examples` must be an integer from 1"),
        ({"validation_examples": 10_000}, "from 1 to 9999.*validation_examples=10000"),
        (
            {"validation_examples": 9_000, "train_examples": 1_001},
            "from 1 to 1000. Received: train_examples=1001",
        ),
        ({"test_examples": 2501}, "from 1 to 2500. Received: test_examples=2501"),
        (
            {"crop_padding": "edge"},
            "`crop_padding` must be one of.*crop_padding='edge'",
        ),
        ({"resize_method": "area"}, "`resize_method` must be.*resize_method='area'"),
        ({"train_split": "extra"}, "`train_split` must be some of .'train'.*='extra'"),
        ({"train_split": "train+train"}, "`train_split` must be.*='train.train'"),
    ],
)
def test_errors_name_the_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        load(NAME, **kwargs)


def test_epoch_must_be_a_non_negative_integer(data):
    for method in (data.epoch, data.train_from):
        with pytest.raises(ValueError, match="`epoch` must be a non-negative integer"):
            method(-1)
