"""Folders of pictures: what is read, reduced, cut, turned and refused."""

import numpy as np
import pytest

from tfhyper import data, metrics
from tfhyper.data import load_super_resolution, picture_pairs, reduce_picture

Image = pytest.importorskip("PIL.Image")
tf = pytest.importorskip("tensorflow")

RNG = np.random.default_rng(0)


def write(folder, name, array, **options):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(folder / name, **options)
    return str(folder / name)


def smooth(*shape):
    """Returns a picture whose reduction stays within 0 to 255."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    waves = 128 + 60 * np.sin(row / 3)[..., None] * np.cos(column / 4)[..., None]
    return (waves + RNG.uniform(-9, 9, shape)).astype("uint8")


@pytest.fixture
def folder(tmp_path):
    for i, size in enumerate([(26, 33), (20, 20), (41, 18)]):
        write(tmp_path / "photos", f"{i}.png", smooth(*size, 3))
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


def bicubic_weights(size, scale):
    """Keys' kernel of -1/2, widened against aliasing, as a matrix."""
    centres = (np.arange(size // scale) + 0.5) * scale - 0.5
    t = np.abs(centres[:, None] - np.arange(size)) / scale
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    weights = np.where(t <= 1, near, np.where(t < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_reduced_by_the_bicubic_filter(scale, channels):
    picture = smooth(25, 19, channels)
    height, width = 25 - 25 % scale, 19 - 19 % scale
    rows, columns = bicubic_weights(height, scale), bicubic_weights(width, scale)
    expected = np.einsum("ia,jb,abk->ijk", rows, columns, picture[:height, :width])
    found = reduce_picture(picture, scale)
    assert found.shape == (25 // scale, 19 // scale, channels) and found.dtype == "u1"
    # Pillow rounds twice: after the columns and after the rows.
    np.testing.assert_allclose(found, expected, atol=1.01)


def test_pairs_are_cut_to_the_scale(folder):
    pairs = picture_pairs(folder, 3)
    assert [pair.path for pair in pairs] == [str(folder / f"{i}.png") for i in range(3)]
    for pair in pairs:
        whole = np.asarray(Image.open(pair.path))
        height, width = (size // 3 for size in whole.shape[:2])
        assert pair.low.shape == (height, width, 3)
        np.testing.assert_array_equal(pair.high, whole[: 3 * height, : 3 * width])
        np.testing.assert_array_equal(pair.low, reduce_picture(whole, 3))
    twice = picture_pairs([folder, str(folder)], 3)
    assert [pair.path for pair in twice] == [pair.path for pair in pairs] * 2


def test_luma_is_that_of_scikit_image(folder):
    color = pytest.importorskip("skimage.color")
    rgb, luma = (picture_pairs(folder, 2, colors)[0] for colors in ("rgb", "luma"))
    for one, other in ((rgb.low, luma.low), (rgb.high, luma.high)):
        expected = color.rgb2ycbcr(one)[..., :1]
        assert other.shape == expected.shape and other.dtype == np.uint8
        np.testing.assert_allclose(other, expected, atol=0.5 + 1e-9)
    low, high = next(iter(load_super_resolution(folder, patch=4, colors="luma").test))
    assert (low.shape[1:], high.shape[1:]) == ((4, 4, 1), (8, 8, 1))


def test_patches_are_parts_of_both_pictures(folder):
    found = load_super_resolution(
        folder, 2, patch=4, stride=3, test_images_dir=folder, batch_size=5
    )
    lows, highs = [], []
    for pair in picture_pairs(folder, 2):
        rows, columns = (range(0, size - 3, 3) for size in pair.low.shape[:2])
        for i in rows:
            for j in columns:
                lows.append(pair.low[i : i + 4, j : j + 4] / 255)
                highs.append(pair.high[2 * i : 2 * i + 8, 2 * j : 2 * j + 8] / 255)
    for part in (found.train_plain, found.test):
        low, high = (np.concatenate(x) for x in zip(*part, strict=True))
        np.testing.assert_allclose(low, lows, atol=1e-6)
        np.testing.assert_allclose(high, highs, atol=1e-6)
    assert found.num_train == found.num_test == len(lows)
    assert found.steps_per_epoch == -(-len(lows) // 5)
    assert found.spec.image_shape == (4, 4, 3) and found.spec.num_classes == 0


def test_both_are_turned_alike_and_each_epoch_is_its_own(folder):
    options = {"patch": 4, "test_images_dir": folder, "batch_size": 64, "seed": 3}
    found = load_super_resolution(folder, 2, **options)
    low, high = (x.numpy() for x in next(iter(found.epoch(2))))
    # The mean of four pixels is near the small one's.
    means = high.reshape(-1, 4, 2, 4, 2, 3).mean((2, 4))
    assert np.abs(means - low).mean() < 0.03 < np.abs(means[:, ::-1] - low).mean()
    again = next(iter(load_super_resolution(folder, 2, **options).train_from(2)))
    np.testing.assert_array_equal(again[0], low)
    assert not np.array_equal(next(iter(found.epoch(3)))[0], low)
    # All eight symmetries occur, and nothing else.
    plain = np.concatenate([x for x, _ in found.train_plain])
    seen = set()
    for one in low:
        turns = [np.rot90(x, k) for k in range(4) for x in (one, one[:, ::-1])]
        first = [i for i, x in enumerate(turns) if (x == plain).all((1, 2, 3)).any()]
        assert first
        seen |= set(first)
    assert seen == set(range(8))
    still = load_super_resolution(folder, 2, augment=False, **options)
    for one in next(iter(still.epoch(0)))[0].numpy():
        assert (one == plain).all((1, 2, 3)).any()


def test_pictures_of_all_kinds(tmp_path):
    grey = smooth(8, 6, 1)[..., 0]
    three = np.repeat(grey[..., None], 3, -1)
    opaque = np.concatenate([three, np.full((8, 6, 1), 255, "uint8")], -1)
    for name, array in (("grey", grey), ("rgb", three), ("alpha", opaque)):
        path = write(tmp_path, f"{name}.png", array)
        np.testing.assert_array_equal(data.read_picture(path), three)
    palette = Image.fromarray(three).quantize(256)
    palette.save(tmp_path / "palette.png")
    found = data.read_picture(tmp_path / "palette.png")
    np.testing.assert_array_equal(found, np.asarray(palette.convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    path = write(tmp_path, "turned.png", three, exif=exif)
    np.testing.assert_array_equal(data.read_picture(path), np.rot90(three, -1))


def test_what_is_no_such_picture_is_refused_by_its_name(tmp_path):
    grey = smooth(8, 6, 1)[..., 0]
    wide = tmp_path / "wide.png"
    Image.fromarray(grey.astype("uint16") * 256).save(wide)
    inks = tmp_path / "inks.tif"
    Image.fromarray(np.repeat(grey[..., None], 4, -1), "CMYK").save(inks)
    clear = write(tmp_path, "clear.png", np.repeat(grey[..., None], 4, -1))
    broken = tmp_path / "broken.png"
    broken.write_bytes(wide.read_bytes()[:60])
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    for path, message in (
        (wide, "8 bits a channel"),
        (inks, "grey or RGB pixels"),
        (clear, "no transparent pixels"),
        (broken, "cannot be read as an image"),
        (text, "cannot be read as an image"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            data.read_picture(path)
        assert str(path) in str(caught.value)
        alone = tmp_path / "alone" / path.name if path is wide else None
        if alone is not None:
            alone.parent.mkdir()
            alone.write_bytes(path.read_bytes())
            with pytest.raises(ValueError, match="8 bits a channel"):
                picture_pairs(alone.parent)


def test_bad_folders_and_arguments(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("no picture")
    small = tmp_path / "small"
    write(small, "tiny.png", smooth(2, 9, 3))
    for call, kind, message in (
        (lambda: picture_pairs(empty), ValueError, "`images_dir` must hold pictures"),
        (lambda: picture_pairs([]), ValueError, "`images_dir` must be a folder"),
        (lambda: picture_pairs(3), TypeError, "`images_dir` must be a folder"),
        (lambda: picture_pairs(folder / "no"), FileNotFoundError, "must be a folder"),
        (lambda: picture_pairs(folder, 1), ValueError, "`scale` must be an integer"),
        (lambda: picture_pairs(folder, 2, "grey"), ValueError, "`colors` must be one"),
        (lambda: picture_pairs(small, 3), ValueError, "tiny.png must have 3 rows"),
        (lambda: load_super_resolution(small), ValueError, "two pictures or more"),
        (
            lambda: load_super_resolution(folder, 2, patch=30),
            ValueError,
            "`patch` must fit into a small picture",
        ),
        (
            lambda: load_super_resolution(folder, test_images_dir=empty),
            ValueError,
            "`test_images_dir` must hold pictures",
        ),
        (lambda: load_super_resolution(folder, stride=0), ValueError, "`stride` must"),
        (lambda: reduce_picture(np.zeros((4, 4, 3))), TypeError, "array of uint8"),
        (
            lambda: reduce_picture(np.zeros((4, 4), "uint8")),
            ValueError,
            "`picture` must have the axes",
        ),
        (
            lambda: reduce_picture(np.zeros((4, 4, 3), "uint8"), 5),
            ValueError,
            "`picture` must have 5 rows",
        ),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_bicubic_interpolation_is_better_than_chance(folder):
    """The pairs lie over each other: half a pixel off, the score would be lower."""
    from tfhyper.layers import BicubicUpsampling2D

    for pair in picture_pairs(folder, 2):
        found = np.asarray(BicubicUpsampling2D(2)(pair.low[None] / np.float32(255)))
        score = metrics.psnr(pair.high[None] / 255, found)[0]
        moved = metrics.psnr(pair.high[None] / 255, np.roll(found, 1, axis=2))[0]
        assert score > 28 and score > moved + 1
