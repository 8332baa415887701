"""ImageNet: a small set in the form in which TensorFlow Datasets prepares it."""

import dataclasses
import io
import tarfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from tests.helpers.tfds_sets import (
    collect,
    decode_jpeg,
    encode_jpeg,
    normalised,
    photograph,
    prepare,
    prepare_imagenet,
)
from tfhyper.data import DATASETS, imagenet, load, load_arrays, sources

SPEC = DATASETS["imagenet2012"]
SIZES = [(48, 64), (80, 50), (40, 40), (30, 90), (120, 100)]


def windows(height, width, count):
    """Returns `count` windows of an image of this size, one for each seed."""
    draw = tf.function(lambda i: imagenet.random_window(height, width, [i, 7]))
    return np.stack([draw(tf.constant(i)) for i in range(count)])


@pytest.mark.parametrize("height, width", [(375, 500), (600, 300)])
def test_windows_have_the_areas_shapes_and_places_of_torchvision(height, width):
    count = 1000
    found = windows(height, width, count)
    top, left, high, wide = found.T
    assert found.dtype == np.int32
    assert found.min() >= 0 and high.min() >= 1 and wide.min() >= 1
    assert np.all(top + high <= height) and np.all(left + wide <= width)
    # Sides are rounded to whole pixels.
    assert np.all((high + 0.5) * (wide + 0.5) >= 0.08 * height * width)
    assert np.all((wide - 0.5) / (high + 0.5) <= 4 / 3)
    assert np.all((wide + 0.5) / (high - 0.5) >= 3 / 4)
    # torchvision.transforms.RandomResizedCrop.get_params, with NumPy's draws.
    rng = np.random.default_rng(0)
    expected = []
    for _ in range(4 * count):
        for _ in range(10):
            area = rng.uniform(0.08, 1) * height * width
            ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if w <= width and h <= height:
                i, j = rng.integers(height - h + 1), rng.integers(width - w + 1)
                expected.append((i, j, h, w))
                break
    expected = np.array(expected)
    quantities = [
        lambda t, j, h, w: h * w / (height * width),
        lambda t, j, h, w: np.log(w / h),
        lambda t, j, h, w: (t + h / 2) / height,
        lambda t, j, h, w: (j + w / 2) / width,
        lambda t, j, h, w: t / np.maximum(height - h, 1),
    ]
    for quantity in quantities:
        ours, theirs = quantity(*found.T), quantity(*expected.T)
        # Two-sample Kolmogorov-Smirnov: 0.07 is passed by chance once in 2000.
        values = np.sort(np.concatenate([ours, theirs]))
        steps = [np.searchsorted(np.sort(x), values, "right") for x in (ours, theirs)]
        distance = np.max(abs(steps[0] / len(ours) - steps[1] / len(theirs)))
        assert distance < 0.07


@pytest.mark.parametrize(
    "size, window",
    [((20, 400), (0, 186, 20, 27)), ((400, 20), (186, 0, 27, 20))],
)
def test_a_very_long_image_gives_its_centre(size, window):
    # 8 % of the area at 4/3 is 22 pixels high: no window fits.
    assert windows(*size, 1)[0].tolist() == list(window)


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_random_images_are_those_of_pillow(size, method):
    jpeg = encode_jpeg(photograph(*size, seed=0), subsampling=0)
    spec = dataclasses.replace(SPEC.with_image_size(32), resize_method=method)
    resampling = Image.Resampling[method.upper()]
    # Both have a = -0.5, and round what bicubic weights overshoot in another order.
    tolerance = {"bilinear": 1, "bicubic": 2}[method]
    for seed in range(4):
        top, left, high, wide = imagenet.random_window(*size, (seed, 1)).numpy()
        image = decode_jpeg(jpeg).crop((left, top, left + wide, top + high))
        expected = np.asarray(image.resize((32, 32), resampling), np.int32)
        found = imagenet.random_image(jpeg, spec, (seed, 1))
        assert found.dtype == tf.uint8
        assert abs(found.numpy() - expected).max() <= tolerance


def centre(jpeg, image_size):
    """Resizes the shorter side to `image_size / 0.875` and crops, with Pillow."""
    image = decode_jpeg(jpeg)
    scale = round(image_size / 0.875) / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.BILINEAR)
    left, top = ((side - image_size) // 2 for side in image.size)
    return np.asarray(image.crop((left, top, left + image_size, top + image_size)))


@pytest.mark.parametrize("size", [*SIZES, (500, 375)])
def test_central_images_are_those_of_pillow(size):
    jpeg = encode_jpeg(photograph(*size, seed=1))
    for image_size in (None, 32):
        spec = SPEC.with_image_size(image_size)
        found = imagenet.central_image(jpeg, spec).numpy()
        assert found.shape == spec.image_shape
        expected = centre(jpeg, spec.image_shape[0]).astype(int)
        assert abs(found - expected).max() <= 1


def test_a_grey_file_becomes_an_rgb_image():
    jpeg = encode_jpeg(photograph(48, 64, seed=0)[..., 0])
    spec = SPEC.with_image_size(32)
    for image in (
        imagenet.random_image(jpeg, spec, (0, 0)),
        imagenet.central_image(jpeg, spec),
    ):
        assert image.shape == (32, 32, 3)
        np.testing.assert_array_equal(image[..., 0], image[..., 1])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small `imagenet2012`, and its (bytes, label) pairs."""
    folder = str(tmp_path_factory.mktemp("imagenet"))
    pairs = [
        (encode_jpeg(photograph(*SIZES[i % 5], seed=i)), 37 * i % 1000)
        for i in range(50)
    ]
    prepare_imagenet(folder, pairs[:40], pairs[40:], shards=3)
    return folder, pairs[:40], pairs[40:]


def load_small(small, **options):
    options = {"batch_size": 16, "image_size": 32, **options}
    return load("imagenet2012", data_dir=small[0], **options)


def test_plain_and_test_images_are_the_centres_in_stored_order(small, monkeypatch):
    # Streamed: nothing reads a part of the set as arrays.
    monkeypatch.delattr(sources.Source, "arrays")
    data = load_small(small)
    assert data.spec.image_shape == (32, 32, 3) and data.spec.num_classes == 1000
    assert (data.num_train, data.num_test, data.steps_per_epoch) == (40, 10, 3)
    for dataset, pairs in ((data.train_plain, small[1]), (data.test, small[2])):
        images, labels = collect(dataset)
        expected = np.stack([centre(jpeg, 32) for jpeg, _ in pairs])
        expected = normalised(expected, SPEC.mean, SPEC.std)
        # One level of 255 off, in units of the deviation.
        np.testing.assert_allclose(images, expected, atol=1.01 / 255 / 0.224)
        assert images.dtype == np.float32 and labels.dtype == np.int32
        assert labels.tolist() == [label for _, label in pairs]


def test_the_size_of_the_paper_is_the_default(small):
    data = load_small(small, image_size=None, test_examples=2)
    images, _ = collect(data.test)
    assert images.shape == (2, 224, 224, 3)
    assert next(iter(data.epoch(0)))[0].shape == (16, 224, 224, 3)


def test_batches_are_a_function_of_seed_and_epoch(small):
    data = load_small(small)
    epochs = [collect(data.epoch(epoch)) for epoch in range(2)]
    again = load_small(small)
    for expected, found in zip(epochs[1], collect(again.epoch(1)), strict=True):
        np.testing.assert_array_equal(expected, found)
    resumed = collect(again.train_from(1).take(again.steps_per_epoch))
    np.testing.assert_array_equal(epochs[1][0], resumed[0])
    labels = sorted(label for _, label in small[1])
    assert all(sorted(found) == labels for _, found in epochs)
    assert np.any(epochs[0][1] != epochs[1][1])
    other = collect(load_small(small, seed=1).epoch(0))
    assert np.any(epochs[0][1] != other[1])


def test_without_augmentation_training_images_are_centres(small):
    images, labels = collect(load_small(small, augment=False).epoch(0))
    plain, plain_labels = collect(load_small(small).train_plain)
    assert np.any(labels != plain_labels)
    place = {label: i for i, label in enumerate(plain_labels)}
    order = [place[label] for label in labels]
    np.testing.assert_array_equal(images, plain[order])


@pytest.fixture(scope="module")
def ramps(tmp_path_factory):
    """A folder with a set whose images say what was done to them.

    Red grows with the column and green with the row, blue stays: windows and flips
    can be read off the slopes, the noise of the colours off the mean of blue.
    """
    folder = str(tmp_path_factory.mktemp("ramps"))
    column, row = np.meshgrid(np.arange(256), np.arange(256))
    image = np.stack([column, row, 0 * row + 128], axis=-1).astype(np.uint8)
    jpeg = encode_jpeg(image, quality=100, subsampling=0)
    prepare_imagenet(folder, [(jpeg, i) for i in range(400)], [(jpeg, 0)], shards=4)
    return folder


def test_training_images_are_flipped_windows_with_lighting(ramps):
    data = load("imagenet2012", data_dir=ramps, image_size=32, batch_size=64)
    images, _ = collect(data.epoch(0))
    images = (images * SPEC.std + SPEC.mean) * 255
    # Inside, where resizing meets no edge: pixels of the window to a pixel.
    slopes = (images[:, 4:-4, -5] - images[:, 4:-4, 4]).mean(1) / 23
    wide = abs(slopes[:, 0]) * 32
    high = (images[:, -5, 4:-4] - images[:, 4, 4:-4]).mean(1)[:, 1] / 23 * 32
    area, ratio = high * wide / 256**2, wide / high
    assert np.all(area > 0.075) and np.all(area < 1.05) and np.ptp(area) > 0.7
    assert np.all(ratio > 0.72) and np.all(ratio < 1.40) and np.ptp(ratio) > 0.4
    # 400 draws of probability 1/2: five standard deviations are 50.
    assert abs(np.sum(slopes[:, 0] < 0) - 200) <= 50
    # The same triple at all pixels; blue has no other change.
    np.testing.assert_allclose(slopes[:, 2], 0, atol=0.05)
    blue = images[:, 4:-4, 4:-4, 2].mean((1, 2)) / 255 - 128 / 255
    vectors = np.array([-0.5836, -0.6948, 0.4203])
    expected = 0.1 * np.sqrt(np.sum((vectors * [0.2175, 0.0188, 0.0045]) ** 2))
    # The deviation of a sample of 400 is off by 1/sqrt(800); five of them are 18 %.
    assert blue.std() == pytest.approx(expected, rel=0.18)
    assert abs(blue.mean()) < 5 * expected / 20 + 0.5 / 255
    # Each image draws for itself, in and across batches.
    assert len(np.unique(area.round(4))) > 350 and len(np.unique(blue)) == 400
    second = collect(data.epoch(1))[0]
    assert np.any(collect(data.epoch(0))[0] != second)


def test_color_jitter_scales_the_colours_of_training_images_only(ramps):
    options = {"data_dir": ramps, "image_size": 32, "train_examples": 64}
    plain = load("imagenet2012", **options)
    data = load("imagenet2012", color_jitter=0.4, **options)
    np.testing.assert_array_equal(collect(data.test)[0], collect(plain.test)[0])
    found, expected = (
        collect(each.epoch(0))[0] * SPEC.std + SPEC.mean for each in (data, plain)
    )
    # The same windows and noise; the slopes of red tell the factors apart.
    ratio = np.ptp(found[..., 0], axis=(1, 2)) / np.ptp(expected[..., 0], axis=(1, 2))
    assert 0.6**3 < ratio.min() < 0.75 and 1.25 < ratio.max() < 1.4**3


@pytest.mark.parametrize("image_size", [15, 1025, 32.0, True, "32"])
def test_image_size_out_of_range(small, image_size):
    message = f"`image_size` must be an integer from 16 to 1024.*{image_size!r}"
    with pytest.raises(ValueError, match=message):
        load_small(small, image_size=image_size)


def test_options_that_do_not_fit_the_set(small):
    with pytest.raises(ValueError, match=r"must be None .* \(28, 28, 1\).*=32"):
        load("fashion_mnist_small", image_size=32)
    with pytest.raises(ValueError, match="`color_jitter`.*not RGB.*color_jitter=0.4"):
        load("fashion_mnist_small", color_jitter=0.4)
    for value in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="`color_jitter` must be"):
            load_small(small, color_jitter=value)
    with pytest.raises(ValueError, match="`name` must be a set that fits in memory"):
        load_arrays("imagenet2012", data_dir=small[0])


def test_sets_of_another_form_are_refused(tmp_path):
    pictures = [photograph(40, 50, seed=0)] * 2
    splits = {"train": (pictures, [0, 1]), "validation": (pictures, [0, 1])}
    name, version = "imagenet2012", "5.1.0"
    for classes, message in (
        (1000, "in jpeg and 1000 classes. .* in png and 1000"),
        (10, "and 1000 classes. .* and 10 classes"),
    ):
        folder = str(tmp_path / str(classes))
        prepare(folder, name, version, splits, (None, None, 3), classes)
        with pytest.raises(ValueError, match=message):
            load(name, data_dir=folder)
    prepare_imagenet(str(tmp_path / "parts"), [(encode_jpeg(pictures[0]), 1)])
    with pytest.raises(ValueError, match="the split 'validation'"):
        load(name, data_dir=str(tmp_path / "parts"))


def test_a_set_that_is_not_prepared_says_what_to_fetch(tmp_path):
    with pytest.raises(FileNotFoundError) as info:
        load("imagenet2012", data_dir=str(tmp_path))
    message = str(info.value)
    assert str(tmp_path / "downloads" / "manual") in message
    for part in (
        "ILSVRC2012_img_train.tar",
        "ILSVRC2012_img_val.tar",
        "image-net.org",
        f"tensorflow_datasets.load('imagenet2012', data_dir='{tmp_path}')",
    ):
        assert part in message


def add_file(archive, name, content):
    """Writes bytes as a file into an open tar archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def test_download_prepares_the_archives_fetched_by_hand(tmp_path):
    pytest.importorskip("importlib_resources")  # of TensorFlow Datasets, to prepare
    with pytest.raises(FileNotFoundError, match="ILSVRC2012_img_train.tar"):
        load("imagenet2012", data_dir=str(tmp_path), download=True)
    names = tfds.builder("imagenet2012", data_dir=tmp_path).info.features["label"].names
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    with tarfile.open(manual / "ILSVRC2012_img_train.tar", "w") as archive:
        for label in (3, 998):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode="w") as images:
                for i, size in enumerate(SIZES):
                    jpeg = encode_jpeg(photograph(*size, seed=i))
                    add_file(images, f"{names[label]}_{i}.JPEG", jpeg)
            add_file(archive, f"{names[label]}.tar", file.getvalue())
    with tarfile.open(manual / "ILSVRC2012_img_val.tar", "w") as archive:
        for i in (1, 2):
            jpeg = encode_jpeg(photograph(*SIZES[i], seed=i))
            add_file(archive, f"ILSVRC2012_val_{i:08d}.JPEG", jpeg)
    data = load("imagenet2012", data_dir=str(tmp_path), download=True, image_size=32)
    assert sorted(collect(data.epoch(0))[1]) == [3] * 5 + [998] * 5
    images, labels = collect(data.test)
    assert images.shape == (2, 32, 32, 3)
    # The first two of the published labels of the validation images.
    assert sorted(names[label] for label in labels) == ["n01751748", "n09193705"]
