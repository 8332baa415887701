"""Folders of images and masks: what is read, how it is augmented, what is refused."""

import numpy as np
import pytest

from tfhyper import data
from tfhyper.data import DATASETS, load, load_arrays, load_segmentation

Image = pytest.importorskip("PIL.Image")
tf = pytest.importorskip("tensorflow")

from tfhyper.data import augment  # noqa: E402

RNG = np.random.default_rng(0)
COLORS = [(255, 0, 0), (0, 128, 0), (0, 0, 64), (9, 9, 9)]


def write(folder, name, array):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(folder / name)
    return str(folder / name)


@pytest.fixture
def folders(tmp_path):
    """Six pairs of 6 x 9 pixels, of 3 classes and 255; and what was written."""
    images = RNG.integers(0, 256, (6, 6, 9, 3)).astype("uint8")
    masks = RNG.choice([0, 1, 2, 255], (6, 6, 9), p=[0.6, 0.25, 0.1, 0.05])
    masks = masks.astype("uint8")
    for i in range(6):
        write(tmp_path / "images", f"{i}.png", images[i])
        write(tmp_path / "masks", f"{i}.png", masks[i])
    return tmp_path / "images", tmp_path / "masks", images, masks


def read(images, masks, **options):
    options = {"ignore_class": 255, "mean": [0], "std": [1], **options}
    return load_segmentation(images, masks, 3, **options)


def arrays_of(dataset):
    parts = list(zip(*dataset, strict=True))
    return [np.concatenate([x.numpy() for x in part]) for part in parts]


def test_what_is_read_is_what_was_written(folders):
    images, masks, pixels, classes = folders
    found = read(images, masks, test_fraction=0.34, seed=3, batch_size=3)
    train, test = data.split_rows(6, 3, 0.34)
    for rows, part in ((train, found.train_plain), (test, found.test)):
        x, y = arrays_of(part)
        rows = sorted(rows)
        np.testing.assert_allclose(x, pixels[rows] / 255, atol=1e-6)
        np.testing.assert_array_equal(y, classes[rows])
        assert y.dtype == np.int32
    assert (found.num_train, found.num_test, found.steps_per_epoch) == (4, 2, 2)
    assert found.spec.image_shape == (6, 9, 3) and found.spec.ignore_class == 255
    # Without `mean` and `std`, those of the training images.
    other = load_segmentation(images, masks, 3, ignore_class=255, seed=3)
    x, _ = arrays_of(other.train_plain)
    np.testing.assert_allclose(x.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std((0, 1, 2)), 1, atol=1e-5)


def test_palettes_colours_grey_and_opaque_alpha_are_read_right(folders, tmp_path):
    images, masks, pixels, classes = folders
    plain = arrays_of(read(images, masks, test_fraction=0.2).train_plain)
    lookup = np.zeros(256, int)
    lookup[255] = 3
    lookup[:3] = range(3)
    for i in range(6):
        palette = Image.frombytes("P", (9, 6), classes[i].tobytes())
        palette.putpalette(RNG.integers(0, 256, 768).tolist())
        (tmp_path / "palette").mkdir(exist_ok=True)
        palette.save(tmp_path / "palette" / f"{i}.png")
        write(tmp_path / "wide", f"{i}.png", classes[i].astype("uint16"))
        colors = np.array(COLORS, "uint8")[lookup[classes[i]]]
        write(tmp_path / "colors", f"{i}.png", colors)
        alpha = np.dstack([pixels[i], np.full((6, 9), 255, "uint8")])
        write(tmp_path / "alpha", f"{i}.png", alpha)
        write(tmp_path / "grey", f"{i}.png", pixels[i][..., 0])
    (tmp_path / "images" / ".DS_Store").write_bytes(b"")
    (tmp_path / "images" / "notes.txt").write_text("left alone")
    for folder, options in (
        ("palette", {}),
        ("wide", {}),
        ("colors", {"class_colors": COLORS}),
    ):
        found = arrays_of(read(images, tmp_path / folder, **options).train_plain)
        np.testing.assert_array_equal(found[1], plain[1])
    x, _ = arrays_of(read(tmp_path / "alpha", masks).train_plain)
    np.testing.assert_array_equal(x, plain[0])
    x, _ = arrays_of(read(tmp_path / "grey", masks).train_plain)
    np.testing.assert_array_equal(x, np.repeat(plain[0][..., :1], 3, -1))


def test_images_of_many_sizes_are_resized(tmp_path):
    for i, size in enumerate([(8, 8), (16, 8), (4, 12)]):
        write(tmp_path / "images", f"{i}.png", np.full((*size, 3), 50 * i, "uint8"))
        mask = np.zeros(size, "uint8")
        mask[:, size[1] // 2 :] = 2
        write(tmp_path / "masks", f"{i}.png", mask)
    found = read(tmp_path / "images", tmp_path / "masks", image_size=(4, 6))
    for part in (found.train_plain, found.test):
        _, y = arrays_of(part)
        np.testing.assert_array_equal(y, np.broadcast_to([0, 0, 0, 2, 2, 2], y.shape))
    with pytest.raises(ValueError, match=r"one size, or give `image_size`.*\.png of"):
        read(tmp_path / "images", tmp_path / "masks")


def reference_windows(images, labels, scale, seed, void):
    """The formula, pixel by pixel."""
    batch, height, width, _ = images.shape
    draws = tf.random.stateless_uniform((3, batch), seed=seed).numpy().astype(float)
    share = np.exp(-(np.log(scale[0]) + draws[0] * np.log(scale[1] / scale[0])))
    seen, classes = np.zeros_like(images), np.full_like(labels, void)
    for b in range(batch):
        top, left = draws[1:, b] * (1 - share[b])
        rows = (top + share[b] * np.linspace(0, 1, height)) * (height - 1)
        columns = (left + share[b] * np.linspace(0, 1, width)) * (width - 1)
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                if not (0 <= r <= height - 1 and 0 <= c <= width - 1):
                    continue
                y, x = int(min(r, height - 2)), int(min(c, width - 2))
                u, v = r - y, c - x
                four = images[b, y : y + 2, x : x + 2]
                seen[b, i, j] = (
                    (np.array([[1 - u], [u]]) * [[1 - v, v]])[..., None]
                    .__mul__(four)
                    .sum((0, 1))
                )
                classes[b, i, j] = labels[b, int(r + 0.5), int(c + 0.5)]
    return seen, classes


@pytest.mark.parametrize("scale", [(1.0, 2.0), (0.5, 1.0)])
def test_windows_are_those_of_the_formula_for_image_and_map(scale):
    images = RNG.normal(size=(5, 7, 9, 2)).astype("float32")
    labels = RNG.integers(0, 4, (5, 7, 9, 1)).astype("int32")
    found = augment.random_windows(images, labels, scale, (1, 2), 11)
    expected = reference_windows(images, labels, scale, (1, 2), 11)
    np.testing.assert_allclose(found[0].numpy(), expected[0], atol=1e-4)
    # A place halfway between two pixels may round either way.
    assert (found[1].numpy() == expected[1]).mean() > 0.99
    assert (11 in found[1].numpy()) == (scale[0] < 1)


def test_image_and_map_move_together(tmp_path):
    """The class is written in the image: wherever it is whole, it must be the label."""
    for i in range(8):
        mask = np.kron(RNG.integers(0, 3, (3, 4)), np.ones((4, 4), int)).astype("uint8")
        write(tmp_path / "masks", f"{i}.png", mask)
        write(tmp_path / "images", f"{i}.png", np.repeat(100 * mask[..., None], 3, -1))
    found = read(
        tmp_path / "images", tmp_path / "masks", scale=(0.7, 2.0), batch_size=3
    )
    x, y = arrays_of(found.epoch(0))
    plain_x, plain_y = arrays_of(found.train_plain)
    assert x.shape == plain_x.shape and not np.array_equal(np.sort(x), np.sort(plain_x))
    classes = x[..., 0] * 2.55
    whole = (np.abs(classes - np.round(classes)) < 1e-4) & (y != 255)
    assert whole.mean() > 0.3
    np.testing.assert_array_equal(np.round(classes[whole]), y[whole])
    assert (y == 255).any()
    # A function of seed and epoch alone.
    again = arrays_of(found.train_from(0).take(found.steps_per_epoch))
    np.testing.assert_array_equal(again[0], x)
    np.testing.assert_array_equal(again[1], y)
    assert not np.array_equal(arrays_of(found.epoch(1))[0], x)
    same = read(tmp_path / "images", tmp_path / "masks", augment=False)
    x, y = arrays_of(same.epoch(0))
    order = np.lexsort(x.reshape(len(x), -1).T)
    expected = np.lexsort(plain_x.reshape(len(x), -1).T)
    np.testing.assert_array_equal(y[order], plain_y[expected])


def test_weights_are_by_the_median_frequency(folders):
    images, masks, _, _ = folders
    found = read(images, masks).with_class_weights()
    _, y = arrays_of(found.train_plain)
    frequency = []
    for c in range(3):
        with_it = [m[m != 255] for m in y if (m == c).any()]
        frequency.append(sum((m == c).sum() for m in with_it) / sum(map(len, with_it)))
    expected = np.median(frequency) / frequency
    np.testing.assert_allclose(found.class_weights, expected, rtol=1e-6)
    x, y, weights = arrays_of(found.epoch(0))
    np.testing.assert_allclose(weights, np.append(expected, 0)[np.minimum(y, 3)], 1e-6)
    assert len(next(iter(found.test))) == 2
    # A class that does not occur weighs nothing.
    weights = data.median_frequency_weights(np.zeros((1, 4), int), 2)
    assert weights.tolist() == [1, 0]


def test_classes_can_be_kept_from_the_training(folders):
    images, masks, _, _ = folders
    whole = read(images, masks, ignore_class=255, class_names=("a", "b", "c"))
    found = whole.without_classes(["b"])
    (x, y), (plain_x, plain_y) = arrays_of(found.epoch(1)), arrays_of(whole.epoch(1))
    np.testing.assert_array_equal(x, plain_x)
    np.testing.assert_array_equal(y, np.where(plain_y == 1, 255, plain_y))
    assert (plain_y == 1).any()
    for part in ("test", "train_plain"):
        seen, known = (arrays_of(getattr(d, part))[1] for d in (found, whole))
        np.testing.assert_array_equal(seen, known)
    _, y, weights = arrays_of(whole.with_class_weights().without_classes(["b"]).train)
    assert (weights[y == 255] == 0).all() and (weights[y == 0] > 0).all()
    with pytest.raises(ValueError, match="`names` must be some of"):
        whole.without_classes(["d"])
    with pytest.raises(ValueError, match="`names` must be some of"):
        whole.without_classes("b")
    for names in ([], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="one class or more, and leave one"):
            whole.without_classes(names)
    with pytest.raises(ValueError, match="a label for pixels without one"):
        read(images, masks).without_classes(["b"])


@pytest.mark.parametrize(
    "labels, error, message",
    [
        ([[0.5]], TypeError, "`labels` must be integers"),
        ([[0, 7]], ValueError, "`labels` must be from 0 to 2.*Received: 7"),
        ([[9, 9]], ValueError, "`labels` must have pixels with a class"),
        ([1, 2], ValueError, "`labels` must have the maps first"),
    ],
)
def test_bad_labels_for_weights(labels, error, message):
    with pytest.raises(error, match=message):
        data.median_frequency_weights(labels, 3, 9)


def test_camvid_by_its_name(tmp_path):
    sizes = {"train": 4, "val": 2, "test": 3}
    for part, count in sizes.items():
        for i in range(count):
            pixels = RNG.integers(0, 256, (6, 8, 3)).astype("uint8")
            write(tmp_path / part, f"{i}.jpg", pixels)
            classes = RNG.integers(0, 12, (6, 8)).astype("uint8")
            write(tmp_path / f"{part}annot", f"{i}.png", classes)
    found = load("camvid", data_dir=str(tmp_path), batch_size=2, train_examples=3)
    assert (found.num_train, found.num_validation, found.num_test) == (3, 2, 3)
    assert found.spec.ignore_class == 11 and found.spec.num_classes == 11
    assert found.spec.class_names == DATASETS["camvid"].class_names
    assert found.class_weights.shape == (11,)
    assert arrays_of(found.validation)[1].shape == (2, 6, 8)
    with pytest.raises(ValueError, match="`image_size` must be None"):
        load("camvid", data_dir=str(tmp_path), image_size=64)
    with pytest.raises(ValueError, match="`data_dir` must be the folder of CamVid"):
        load("camvid")
    with pytest.raises(FileNotFoundError, match="`data_dir` must be a folder"):
        load("camvid", data_dir=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="`load` has this"):
        load_arrays("camvid")
    (tmp_path / "valannot" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"val/1\.jpg without one"):
        load("camvid", data_dir=str(tmp_path))


GREY = np.zeros((6, 9), "uint8")
RGB = np.zeros((6, 9, 3), "uint8")
CLEAR = np.zeros((6, 9, 4), "uint8")


def animated(path):
    frames = [Image.fromarray(GREY + i) for i in (0, 9)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(path, exif=exif)


def sixteen(path):
    """RGB of 16 bits, which Pillow reads as if it had 8."""
    cells = tf.io.encode_png(RNG.integers(0, 2**16, (6, 9, 3)).astype("uint16"))
    tf.io.write_file(str(path), cells)


BAD_IMAGES = {
    "broken.png": (lambda p: p.write_bytes(b"\x89PNG\r\n"), "cannot be read"),
    "empty.jpg": (lambda p: p.write_bytes(b""), "cannot be read as an image"),
    "cmyk.jpg": (lambda p: Image.new("CMYK", (9, 6)).save(p), "mode CMYK"),
    "clear.png": (lambda p: Image.fromarray(CLEAR).save(p), "no transparent pixels"),
    "grey16.png": (
        lambda p: Image.fromarray(GREY.astype("uint16")).save(p),
        "8 bits a channel. Received: 16 bits",
    ),
    "rgb16.png": (sixteen, "8 bits a channel. Received: 16 bits"),
    "float.tif": (
        lambda p: Image.fromarray(GREY.astype("float32")).save(p),
        "8 bits a channel. Received: 32",
    ),
    "frames.gif": (animated, "one frame. Received: 2 frames"),
    "turned.jpg": (turned, "EXIF orientation 6"),
    "small.png": (lambda p: Image.fromarray(RGB[:5]).save(p), "the size of its image"),
}
BAD_MASKS = {
    "broken.png": (lambda p: p.write_bytes(b"GIF89a"), "cannot be read as an image"),
    "lossy.jpg": (lambda p: Image.fromarray(GREY).save(p), "without loss"),
    "class.png": (
        lambda p: Image.fromarray(GREY + 7).save(p),
        "classes from 0 to 2, or 255 for none. Received: 7 in row 0, column 0",
    ),
    "colors.png": (lambda p: Image.fromarray(RGB).save(p), "give `class_colors`"),
    "float.tif": (
        lambda p: Image.fromarray(GREY.astype("float32")).save(p),
        "mode F",
    ),
    "wide.png": (lambda p: Image.fromarray(GREY[:, :8]).save(p), "size of its image"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_named(name, folders):
    images, masks, _, _ = folders
    make, message = BAD_IMAGES[name]
    make(images / name)
    write(masks, f"{name.split('.')[0]}.png", GREY)
    with pytest.raises(ValueError, match=message) as caught:
        read(images, masks)
    assert str(images / name) in str(caught.value)


@pytest.mark.parametrize("name", BAD_MASKS)
def test_a_bad_mask_is_named(name, folders):
    images, masks, _, _ = folders
    make, message = BAD_MASKS[name]
    make(masks / name)
    write(images, f"{name.split('.')[0]}.png", RGB)
    with pytest.raises(ValueError, match=message) as caught:
        read(images, masks)
    assert str(masks / name) in str(caught.value)


def test_an_unknown_colour_is_named(folders):
    images, masks, _, _ = folders
    for path in sorted(masks.iterdir()):
        Image.fromarray(RGB + np.array(COLORS[0], "uint8")).save(path)
    odd = RGB.copy()
    odd[2, 3] = 1, 2, 3
    Image.fromarray(odd + np.uint8([255, 0, 0]) * (odd == 0).all(-1)[..., None]).save(
        masks / "4.png"
    )
    message = r"4\.png must have the colours.*\(1, 2, 3\) in row 2, column 3"
    with pytest.raises(ValueError, match=message):
        read(images, masks, class_colors=COLORS)


def test_pairs_that_are_none(folders, tmp_path):
    images, masks, _, _ = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="`images_dir` must hold images"):
        read(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="`masks_dir` must be a folder"):
        read(images, tmp_path / "nowhere")
    write(images, "0.jpg", RGB)
    with pytest.raises(ValueError, match=r"one file of a name.*0\.jpg and .*0\.png"):
        read(images, masks)
    (images / "0.jpg").unlink()
    write(masks, "more.png", GREY)
    with pytest.raises(ValueError, match=r"each mask must have its image.*more\.png"):
        read(images, masks)
    (masks / "more.png").unlink()
    (masks / "3.png").unlink()
    with pytest.raises(ValueError, match=r"each image must have its mask.*3\.png"):
        read(images, masks)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"ignore_class": 2}, ValueError, "`ignore_class` must not be one of 3"),
        ({"class_colors": COLORS[:2]}, ValueError, "`class_colors` must have a colour"),
        ({"class_colors": [(0, 0)] * 3}, ValueError, "`class_colors` must be .red"),
        ({"class_colors": [(0, 0, 0)] * 3}, ValueError, "must be different ones"),
        ({"class_colors": [(0, 0, 256)] * 3}, ValueError, "`class_colors` must be an"),
        ({"class_names": ["a"]}, ValueError, "`class_names` must have a name for"),
        ({"class_names": "abc"}, TypeError, "`class_names` must be a list of names"),
        ({"image_size": 3}, TypeError, "`image_size` must be two integers"),
        ({"image_size": (3, 0)}, ValueError, "`image_size` must be an integer from 1"),
        ({"test_fraction": 1.0}, ValueError, "`test_fraction` must be in 0 <"),
        ({"test_images_dir": "x"}, ValueError, "must be given together"),
        ({"scale": (0.5, 1), "ignore_class": None}, ValueError, "`scale` must be 1"),
        ({"scale": (2, 1)}, ValueError, "`scale` must be the lower and the upper"),
        ({"scale": 1.5}, TypeError, "`scale` must be two numbers"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
        ({"seed": -1}, ValueError, "`seed` must be an integer from 0"),
        ({"flip": 1}, ValueError, "`flip` must be True or False"),
        ({"std": None}, ValueError, "`mean` and `std` must be given together"),
    ],
)
def test_bad_arguments(options, error, message, folders):
    images, masks, _, _ = folders
    with pytest.raises(error, match=message):
        read(images, masks, **options)


def test_other_sets_have_no_weights():
    found = load("fashion_mnist_small", train_examples=10, test_examples=10)
    with pytest.raises(ValueError, match="`class_weights` must be there"):
        found.with_class_weights()


def test_weights_of_labels_that_are_none_are_refused():
    from tfhyper import data

    with pytest.raises(ValueError, match="`ignore_class` must not be one of 2 classes"):
        data.median_frequency_weights([[[0, 1]]], 2, ignore_class=1)
    with pytest.raises(TypeError, match="`labels` must be integers, in rows"):
        data.median_frequency_weights([[0, 1], [0]], 2)
