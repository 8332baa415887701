"""Corruptions of images: beside their formulas, SciPy, Pillow, and each other."""

import io
import pathlib

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, signal

import tfhyper.data
from tfhyper import shift

# By the published numbers the next severity may move pixels less far: these trade one
# number for another.
NOT_FARTHER = {"glass_blur", "frost", "elastic_transform"}
FILE = pathlib.Path(tfhyper.data.__file__).with_name("fashion_mnist_small.npz")
IMAGES = np.load(FILE)["x_test"][:12] / 255.0
COLORED = np.clip(
    ndimage.zoom(np.random.default_rng(0).random((2, 6, 6, 3)), (1, 6, 5, 1), order=1),
    0,
    1,
)


def pillow(image):
    return Image.fromarray(np.rint(image[..., 0] * 255).astype("uint8"))


def distances(kind):
    # Of the size that the numbers are for.
    images = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return [
        float(np.mean((shift.corrupt(images, kind, n) - images) ** 2))
        for n in (1, 2, 3, 4, 5)
    ]


def test_there_are_the_15_kinds_of_the_study():
    groups = [kind.group for kind in shift.CORRUPTIONS.values()]
    counts = {x: groups.count(x) for x in ("noise", "blur", "weather", "digital")}
    assert counts == {"noise": 3, "blur": 4, "weather": 3, "digital": 5}
    for kind in shift.CORRUPTIONS.values():
        assert len(kind.small) == len(kind.large) == 5


@pytest.mark.parametrize("kind", sorted(shift.CORRUPTIONS.keys() - NOT_FARTHER))
def test_images_are_farther_at_each_next_severity(kind):
    found = distances(kind)
    assert found[0] > 0 and np.all(np.diff(found) > 0)


@pytest.mark.parametrize("kind", sorted(NOT_FARTHER))
def test_the_others_move_pixels_at_every_severity(kind):
    assert min(distances(kind)) > 0.003


@pytest.mark.parametrize("kind", shift.CORRUPTIONS)
def test_shape_type_and_range_stay(kind):
    for images in (
        IMAGES[:2].astype("float32"),
        IMAGES[:2, ..., 0],
        COLORED,
        np.rint(COLORED * 255).astype("uint8"),
        # Black, white, and as small as they may be.
        np.stack([np.zeros((8, 9, 3)), np.ones((8, 9, 3))]),
        np.random.default_rng(1).random((1, 70, 66, 3)).astype("float16"),
    ):
        before = images.copy()
        found = shift.corrupt(images, kind, 5)
        assert found.shape == images.shape and found.dtype == images.dtype
        assert found.min() >= 0 and found.max() <= (
            255 if found.dtype == "uint8" else 1
        )
        assert (images == before).all()


@pytest.mark.parametrize("kind", shift.CORRUPTIONS)
def test_a_seed_says_all_and_bytes_and_floats_are_the_same(kind):
    pixels = np.rint(IMAGES[:3] * 255).astype("uint8")
    found = shift.corrupt(pixels, kind, 2, seed=4)
    assert (found == shift.corrupt(pixels, kind, 2, seed=4)).all()
    # What is drawn depends on the place of an image, not on those behind it.
    assert (found[:2] == shift.corrupt(pixels[:2], kind, 2, seed=4)).all()
    floats = shift.corrupt(pixels / 255, kind, 2, seed=4)
    assert np.abs(floats * 255 - found).max() <= 0.5 + 1e-6
    draws = "noise glass motion snow frost fog elastic".split()
    other = shift.corrupt(pixels, kind, 2, seed=5)
    assert (found != other).any() == any(word in kind for word in draws)


def test_noise_has_its_variance():
    grey = np.full((40, 28, 28), 0.5)
    for severity, scale in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), 1):
        found = shift.corrupt(grey, "gaussian_noise", severity)
        # 31,360 values: 2 % are five standard errors of a deviation.
        assert found.std() == pytest.approx(scale, rel=0.02)
        assert found.mean() == pytest.approx(0.5, abs=5 * scale / 177)
    # Of Poisson(photons x) / photons the variance is x / photons.
    found = shift.corrupt(grey, "shot_noise", 3)
    assert found.var() == pytest.approx(0.5 / 100, rel=0.04)
    assert np.allclose(found * 100, np.rint(found * 100))
    found = shift.corrupt(grey, "impulse_noise", 5)
    for value in (0, 1):
        assert np.mean(found == value) == pytest.approx(0.035, abs=0.005)
    assert np.isin(found, (0, 0.5, 1)).all()
    # Large images have other numbers.
    large = shift.corrupt(np.full((1, 80, 90, 3), 0.5), "gaussian_noise", 1)
    assert large.std() == pytest.approx(0.08, rel=0.03)


def test_contrast_and_brightness_have_their_formulas():
    for severity, factor in enumerate((0.75, 0.5, 0.4, 0.3, 0.15), 1):
        mean = COLORED.mean((1, 2), keepdims=True)
        found = shift.corrupt(COLORED, "contrast", severity)
        assert np.allclose(found, mean + factor * (COLORED - mean))
    matplotlib = pytest.importorskip("matplotlib.colors")
    for severity, amount in enumerate((0.05, 0.1, 0.15, 0.2, 0.3), 1):
        hsv = matplotlib.rgb_to_hsv(COLORED)
        hsv[..., 2] = np.minimum(hsv[..., 2] + amount, 1)
        found = shift.corrupt(COLORED, "brightness", severity)
        assert np.allclose(found, matplotlib.hsv_to_rgb(hsv), atol=1e-12)
        grey = shift.corrupt(IMAGES, "brightness", severity)
        assert np.allclose(grey, np.minimum(IMAGES + amount, 1))


def test_pixels_and_files_are_those_of_pillow():
    for severity in (1, 5):
        size = int(28 * (0.95, 0.9, 0.85, 0.75, 0.65)[severity - 1])
        found = shift.corrupt(IMAGES, "pixelate", severity)
        for image, given in zip(found, IMAGES, strict=True):
            small = pillow(given).resize((size, size), Image.BOX)
            expected = np.asarray(small.resize((28, 28), Image.BOX)) / 255
            assert np.allclose(image[..., 0], expected)
        found = shift.corrupt(IMAGES, "jpeg_compression", severity)
        for image, given in zip(found, IMAGES, strict=True):
            file = io.BytesIO()
            quality = (80, 65, 58, 50, 40)[severity - 1]
            pillow(given).save(file, "JPEG", quality=quality)
            assert np.allclose(image[..., 0], np.asarray(Image.open(file)) / 255)


def test_defocus_is_a_convolution_with_a_disc():
    x, y = np.mgrid[-8:9, -8:9]
    disc = (x**2 + y**2 <= 1.5**2) / np.sum(x**2 + y**2 <= 1.5**2)
    line = np.exp(-np.array([1, 0, 1]) / (2 * 0.1**2))
    disc = signal.convolve2d(disc, np.outer(line, line) / line.sum() ** 2, "same")
    found = shift.corrupt(IMAGES[:1], "defocus_blur", 5)[0, 8:-8, 8:-8, 0]
    expected = signal.convolve2d(IMAGES[0, ..., 0], disc, "valid")
    assert np.allclose(found, expected, atol=1e-9)


def test_glass_loses_no_pixel():
    # The blur of the first severity is none, of a deviation of 0.05 pixels.
    found = shift.corrupt(IMAGES, "glass_blur", 1)
    for image, given in zip(found, IMAGES, strict=True):
        assert np.allclose(np.sort(image, axis=None), np.sort(given, axis=None))
        assert (image != given).any()


def test_motion_and_zoom_keep_what_is_uniform_and_move_what_is_not():
    grey = np.full((2, 28, 28, 1), 0.3)
    for kind in ("motion_blur", "zoom_blur", "defocus_blur", "glass_blur"):
        assert np.allclose(shift.corrupt(grey, kind, 5), 0.3)
    point = np.zeros((6, 29, 29, 1))
    point[:, 14, 14] = 1
    found = shift.corrupt(point, "motion_blur", 5)
    # Rows of a line between -45 and 45 degrees are no more than its columns.
    for image in found:
        rows, columns, _ = np.nonzero(image > 1e-3)
        assert image.sum() == pytest.approx(1, abs=1e-6)
        assert np.ptp(rows) <= np.ptp(columns)
    # The middle stays where it is, and the rest moves away from it.
    far = np.zeros((1, 29, 29, 1))
    far[0, 14, 20] = 1
    zoomed = shift.corrupt(far, "zoom_blur", 5)[0]
    assert zoomed[14, 21:].sum() > zoomed[14, :20].sum()


def test_fog_scales_back_to_the_largest_value():
    found = shift.corrupt(IMAGES, "fog", 5)
    for image, given in zip(found, IMAGES, strict=True):
        largest = given.max()
        clouds = (image * (largest + 1.5) / largest - given) / 1.5
        assert clouds.min() > -1e-9 and clouds.max() < 1 + 1e-9
        assert clouds.std() > 0.05


def test_frost_of_colours_is_bluish_and_snow_is_white():
    black = np.zeros((2, 40, 40, 3))
    red, green, blue = np.moveaxis(shift.corrupt(black, "frost", 5), -1, 0)
    assert red.mean() < green.mean() < blue.mean() < 0.45
    flakes = shift.corrupt(black, "snow", 5)
    assert (flakes == flakes[..., :1]).all() and flakes.max() > 0.5


def test_many_corruptions_are_made_when_they_are_asked_for():
    calls = []

    def prepare(images):
        calls.append(images.shape)
        return images - 0.5

    found = shift.corruptions(IMAGES, ["snow", "fog"], [2, 4], seed=3, prepare=prepare)
    assert {kind: list(by) for kind, by in found.items()} == {
        "snow": [2, 4],
        "fog": [2, 4],
    }
    assert not calls
    expected = shift.corrupt(IMAGES, "fog", 4, seed=3) - 0.5
    assert (found["fog"][4]() == expected).all() and len(calls) == 1
    assert len(shift.corruptions(IMAGES)) == 15


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": IMAGES * 255}, "`images` must lie in"),
        ({"images": IMAGES - 0.5}, "`images` must lie in"),
        ({"images": IMAGES * np.nan}, "`images` must be finite"),
        ({"images": IMAGES[0, ..., 0]}, "`images` must have the axes"),
        ({"images": IMAGES[:, :5]}, "`images` must be one or more, of 8 pixels"),
        ({"images": IMAGES[:0]}, "`images` must be one or more"),
        ({"images": (IMAGES * 255).astype(int)}, "`images` must hold floats"),
        ({"kind": "rain"}, "`kind` must be one of"),
        ({"severity": 6}, "`severity` must be an integer from 1 to 5"),
        ({"seed": -1}, "`seed` must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_is_named(changed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        shift.corrupt(**{"images": IMAGES, "kind": "fog", **changed})


@pytest.mark.parametrize(
    "changed",
    [{"kinds": []}, {"kinds": "fog"}, {"severities": [0]}, {"prepare": 3}],
    ids=["none", "text", "severity", "prepare"],
)
def test_bad_sets_of_corruptions_are_named(changed):
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(changed))}`"):
        shift.corruptions(IMAGES, **changed)


@pytest.mark.parametrize(
    "changed",
    [{"group": "sound"}, {"apply": 3}, {"small": (1, 2)}, {"large": [1] * 5}],
    ids=["group", "apply", "length", "list"],
)
def test_a_bad_kind_is_named(changed):
    good = {"group": "noise", "apply": max, "small": (1,) * 5, "large": (1,) * 5}
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(changed))}`"):
        shift.Corruption(**{**good, **changed})
