"""Sets of TensorFlow Datasets, prepared by the tests themselves."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tfhyper.data import DATASETS, load, load_arrays


def make_examples(count, shape, classes, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    return images, rng.integers(0, classes, count)


def prepare(
    data_dir, name, version, splits, image_shape, classes, extra=None, shards=1, **kw
):
    """Writes `{split: (images, labels)}` as a set of TFDS, in the order given."""
    extra = extra or {}
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=image_shape, encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=classes),
            **{key: feature for key, (feature, _) in extra.items()},
        }
    )
    values = {key: value for key, (_, value) in extra.items()}
    folder = pathlib.Path(data_dir) / name / version
    folder.mkdir(parents=True)
    template = tfds.core.ShardedFileTemplate(
        dataset_name=name, data_dir=folder, filetype_suffix="tfrecord"
    )
    infos = []
    for split, examples in splits.items():
        records = [
            features.serialize_example({"image": image, "label": label, **values})
            for image, label in zip(*examples, strict=True)
        ]
        pieces = np.array_split(np.arange(len(records)), shards)
        for shard, piece in enumerate(pieces):
            file = f"{name}-{split}.tfrecord-{shard:05d}-of-{shards:05d}"
            with tf.io.TFRecordWriter(str(folder / file)) as writer:
                for i in piece:
                    writer.write(records[i])
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(piece) for piece in pieces],
                num_bytes=sum(map(len, records)),
                filename_template=template.replace(split=split),
            )
        )
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder), features=features, split_infos=infos, **kw
    )


def collect(dataset):
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def normalised(images, mean, std):
    return (images / 255 - np.array(mean)) / np.array(std)


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


def test_imagenet_is_resized_and_cropped(tmp_path):
    # Red is the column and green the row, so that a window's place can be read off.
    column, row = np.meshgrid(np.arange(512) // 2, np.arange(256))
    wide = np.stack([column, row, 0 * row], axis=-1).astype(np.uint8)
    # At half the size this has the number of the column as its value.
    large = np.tile((np.arange(512) // 2)[None, :, None], (600, 1, 3)).astype(np.uint8)
    splits = {
        "train": ([wide] * 6, [0, 1, 2, 3, 4, 999]),
        "validation": ([wide, large], [5, 6]),
    }
    extra = {"file_name": (tfds.features.Text(), "x.jpg")}
    prepare(
        str(tmp_path), "imagenet2012", "5.1.0", splits, (None, None, 3), 1000, extra
    )
    data = load("imagenet2012", data_dir=str(tmp_path), batch_size=4)

    def pixels(images):
        return (images * np.array(data.spec.std) + np.array(data.spec.mean)) * 255

    images, labels = collect(data.test)
    np.testing.assert_array_equal(labels, [5, 6])
    assert images.shape == (2, 224, 224, 3)
    np.testing.assert_allclose(pixels(images[0]), wide[16:240, 144:368], atol=1e-3)
    halved = np.broadcast_to(np.arange(16, 240)[None, :, None], (224, 224, 3))
    np.testing.assert_allclose(pixels(images[1]), halved, atol=1 + 1e-3)
    images, labels = collect(data.epoch(0))
    assert sorted(labels) == [0, 1, 2, 3, 4, 999]
    np.testing.assert_array_equal(images, collect(data.epoch(0))[0])
    places = set()
    for image in pixels(images).round().astype(int):
        mirrored = image[0, 0, 0] > image[0, -1, 0]
        image = image[:, ::-1] if mirrored else image
        top = image[0, 0, 1]
        # Two columns share each value: the second pixel tells which is first.
        left = 2 * image[0, 0, 0] + int(image[0, 1, 0] != image[0, 0, 0])
        np.testing.assert_array_equal(image, wide[top : top + 224, left : left + 224])
        places.add((top, left))
    assert len(places) > 3
    with pytest.raises(ValueError, match="`name` must be a set that fits in memory"):
        load_arrays("imagenet2012", data_dir=str(tmp_path))


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
    with pytest.raises(TypeError, match="`name` must be a string"):
        load(3)
