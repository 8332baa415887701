"""Data sets in `.npz` files: what they give, on TensorFlow and without it."""

import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import npz_data  # noqa: E402

from tfhyper import data  # noqa: E402
from tfhyper.training import RECIPES  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (70, 32, 32, 3)).astype("uint8")
Y = RNG.integers(0, 10, 70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("npz")
    arrays = {"x_train": X, "y_train": Y[:, None], "x_test": X[:20], "y_test": Y[:20]}
    np.savez(folder / "cifar10.npz", **arrays)
    extra = {"x_extra": X[:30], "y_extra": Y[:30]}
    np.savez(folder / "svhn_cropped.npz", **arrays, **extra)
    return str(folder)


def load(folder, name="cifar10", **options):
    options = {"data_dir": folder, "batch_size": 32, **options}
    return npz_data.load(name, **options)


def restored(found, images):
    """Returns normalised images as numbers of 0 to 255."""
    return 255 * (images * np.array(found.spec.std) + np.array(found.spec.mean))


def test_test_images_are_normalised_and_in_their_order(folder):
    found = load(folder)
    batches = list(found.test)
    assert [len(y) for _, y in batches] == [20] and found.num_train == 70
    np.testing.assert_allclose(restored(found, batches[0][0]), X[:20], atol=1e-3)
    np.testing.assert_array_equal(batches[0][1], Y[:20])
    assert batches[0][0].dtype == np.float32


def test_an_epoch_has_each_example_once_and_can_be_made_again(folder):
    found = load(folder, augment=False)
    assert found.steps_per_epoch == len(found.epoch(0)) == 3
    images, labels = map(np.concatenate, zip(*found.epoch(1), strict=True))
    flat = restored(found, images).round().reshape(70, -1)
    order = [np.abs(X.reshape(70, -1) - row).sum(1).argmin() for row in flat]
    assert sorted(order) == list(range(70)) and order != list(range(70))
    np.testing.assert_array_equal(labels, Y[order])
    again = np.concatenate([x for x, _ in load(folder, augment=False).epoch(1)])
    np.testing.assert_array_equal(again, images)
    other = np.concatenate([x for x, _ in found.epoch(2)])
    assert not np.array_equal(other, images)
    assert len(list(found.epoch(0).take(2))) == 2


@pytest.mark.parametrize("padding", ["mean", "reflect", "black"])
def test_crops_are_windows_of_the_padded_image(folder, padding):
    found = load(folder, crop_padding=padding)
    plain = load(folder, augment=False)
    sides = [(4, 4), (4, 4), (0, 0)]
    black = (0 - np.array(found.spec.mean)) / np.array(found.spec.std)
    moved = 0
    for (crops, labels), (images, same) in zip(
        found.epoch(0), plain.epoch(0), strict=True
    ):
        np.testing.assert_array_equal(labels, same)
        for crop, image in zip(crops, images, strict=True):
            if padding == "reflect":
                padded = np.pad(image, sides, "reflect")
            else:
                edge = black if padding == "black" else np.zeros(3)
                padded = np.pad(image - edge, sides) + edge
            windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 32, 3))
            windows = windows.reshape(81, 32, 32, 3)
            errors = [
                np.abs(windows - side).max((1, 2, 3)) for side in (crop, crop[:, ::-1])
            ]
            assert np.min(errors) < 1e-5
            moved += np.argmin(errors) != 40  # neither moved nor flipped
    assert moved > 60


def test_without_crops_images_are_flipped_alone(folder):
    pairs = zip(
        load(folder, crop_padding="none").epoch(0),
        load(folder, augment=False).epoch(0),
        strict=True,
    )
    flips = []
    for (found, labels), (images, same) in pairs:
        np.testing.assert_array_equal(labels, same)
        flipped = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
        assert np.all(flipped | (found == images).all(axis=(1, 2, 3)))
        flips += flipped.tolist()
    # 70 draws of probability 1/2: five standard deviations are 21.
    assert abs(sum(flips) - 35) <= 21


def test_splits_are_joined_as_a_recipe_says(folder):
    recipe = RECIPES["wide_resnet", "svhn_cropped"]
    found = load(folder, "svhn_cropped", **recipe.data.load_options())
    assert found.num_train == 100 and not found.augment
    batch, _ = next(iter(found.test))
    np.testing.assert_allclose(255 * batch, X[:20], atol=1e-3)


def test_tensorflow_gets_the_same_batches_as_a_dataset(folder):
    found = load(folder)
    expected = [*found.epoch(1), *found.epoch(2)]
    for (x, y), (images, labels) in zip(expected, found.train_from(1), strict=False):
        np.testing.assert_array_equal(images, x)
        np.testing.assert_array_equal(labels, y)


def test_the_set_of_the_package_needs_no_file():
    found = load(None, "fashion_mnist_small", train_examples=40, test_examples=10)
    expected = data.load("fashion_mnist_small", train_examples=40, test_examples=10)
    ((images, labels),) = expected.test
    ((mine, same),) = found.test
    np.testing.assert_allclose(mine, images, atol=1e-5)
    np.testing.assert_array_equal(same, labels)


@pytest.mark.parametrize(
    "name, options, error, message",
    [
        ("imagenet2012", {}, ValueError, "`name` must be one of"),
        ("cifar10", {"color_jitter": 0.4}, ValueError, "not jittered"),
        ("cifar100", {}, FileNotFoundError, "cifar100.npz"),
        ("cifar10", {"train_split": "extra"}, ValueError, "must hold 'x_extra'"),
    ],
)
def test_what_is_not_there_is_named(folder, name, options, error, message):
    with pytest.raises(error, match=message):
        load(folder, name, **options)


def test_arrays_of_another_shape_are_refused(tmp_path):
    arrays = {"x_train": X[..., :1], "y_train": Y, "x_test": X, "y_test": Y}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    with pytest.raises(ValueError, match=r"uint8 images of shape \(32, 32, 3\)"):
        load(str(tmp_path))
