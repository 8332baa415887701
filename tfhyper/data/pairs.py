"""Folders of images and of masks, which give a class for each pixel: found and read.

NumPy and Pillow only. Each file is read right or refused by its name: a mask that is
off by one pixel or one class would be learned like any other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tfhyper.checks import check_integer, check_path
from tfhyper.data.tables import split_rows

if TYPE_CHECKING:
    from PIL import Image

#: Endings of the files that are read; others in a folder are left alone.
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
# Formats that change the numbers of a mask, at least as they are mostly written.
_LOSSY = ("JPEG", "WEBP", "MPO")
_EXIF_ORIENTATION = 0x0112

Pair = tuple[str, str]
Colors = Sequence[Sequence[int]]
_Item = TypeVar("_Item")


def find_pairs(images_dir: str | os.PathLike, masks_dir: str | os.PathLike) -> list:
    """Returns the paths of images and of their masks, by the names of the files.

    An image and its mask have the same name up to the ending. Files of other kinds, by
    `ENDINGS`, and hidden ones are left alone.

    Args:
        images_dir: The folder of images.
        masks_dir: The folder of masks; another one.

    Returns:
        `[(image, mask), ...]`, sorted by name.

    Raises:
        FileNotFoundError: If a folder is not there.
        ValueError: If there is no image, an image has no mask or a mask no image, or
            two files of a folder have the same name up to the ending.

    Example:
        ```python
        find_pairs("camvid/train", "camvid/trainannot")
        ```
    """
    folders = {"images_dir": images_dir, "masks_dir": masks_dir}
    found = {name: _images_of(name, path) for name, path in folders.items()}
    images, masks = found["images_dir"], found["masks_dir"]
    for name, have, lack in (
        ("images_dir", images, masks),
        ("masks_dir", masks, images),
    ):
        alone = [path for stem, path in have.items() if stem not in lack]
        if alone:
            kind, other = (
                ("image", "mask") if name == "images_dir" else ("mask", "image")
            )
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            raise ValueError(
                f"`{name}`: each {kind} must have its {other}, a file of the same name "
                f"up to the ending. Received: {alone[0]}{more} without one"
            )
    if not images:
        raise ValueError(
            f"`images_dir` must hold images ({', '.join(ENDINGS)}). "
            f"Received: images_dir={os.fsdecode(images_dir)!r} without any"
        )
    return [(path, masks[stem]) for stem, path in images.items()]


def image_files(name: str, folder: Any) -> list[str]:
    """Returns the paths of the images in a folder, by `ENDINGS`, sorted.

    Args:
        name: The argument's name.
        folder: The folder.

    Raises:
        FileNotFoundError: If it is not there.
    """
    folder = check_path(name, folder)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"`{name}` must be a folder. Received: {name}={folder!r}"
        )
    return [
        os.path.join(folder, file)
        for file in sorted(os.listdir(folder))
        if not file.startswith(".") and os.path.splitext(file)[1].lower() in ENDINGS
    ]


def _images_of(name: str, folder: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in image_files(name, folder):
        stem = os.path.splitext(os.path.basename(path))[0]
        if stem in found:
            raise ValueError(
                f"`{name}` must have one file of a name, up to the ending. "
                f"Received: {found[stem]} and {path}"
            )
        found[stem] = path
    return found


def read_pairs(
    pairs: Sequence[Pair],
    num_classes: int,
    ignore_class: int | None = None,
    class_colors: Colors | None = None,
    image_size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images and masks into memory.

    A grey image gets three equal channels, a palette its colours, and an alpha channel
    that is opaque everywhere is left out. Masks hold class numbers, as grey values or
    numbers of a palette, or colours, by `class_colors`.

    Args:
        pairs: Of `find_pairs`, one or more.
        num_classes: Classes are 0 to `num_classes - 1`.
        ignore_class: The number of pixels without a class; `None`: there are none.
        class_colors: The colour (red, green, blue) of each class, of 0 to 255; a
            colour more is that of `ignore_class`. `None`: masks hold numbers.
        image_size: (height, width) that all are resized to, images by bilinear
            interpolation with antialiasing, masks by the nearest pixel. `None`: all
            have the size of the first.

    Returns:
        uint8 images `(pairs, height, width, 3)` and the classes `(pairs, height,
        width)`, uint8 where that holds them, else int32.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: For a file that cannot be read; an image with more than 8 bits a
            channel, CMYK or other colours than RGB, transparent pixels, several frames
            or turned by EXIF; a mask of another size than its image, stored with loss,
            or with a number or colour that is no class. The message has the file.

    Example:
        ```python
        images, masks = read_pairs(find_pairs("train", "trainannot"), 11, 11)
        ```
    """
    highest = max(num_classes - 1, ignore_class or 0)
    colors = None
    if class_colors is not None:
        colors = _codes(class_colors, num_classes, ignore_class)
    images, masks = None, None
    for i, (image_path, mask_path) in enumerate(pairs):
        image = read_image(image_path)
        mask = _read_mask(mask_path, num_classes, ignore_class, colors)
        if image.shape[:2] != mask.shape:
            raise ValueError(
                "A mask must have the size of its image. Received: "
                f"{mask_path} of {_size(mask)}, {image_path} of {_size(image)}"
            )
        if image_size is not None:
            image, mask = _resized(image, mask, image_size)
        if images is None or masks is None:
            # One array from the start: a list of them would take twice the memory.
            images = np.empty((len(pairs), *image.shape), np.uint8)
            kind = np.uint8 if highest < 256 else np.int32
            masks = np.empty((len(pairs), *mask.shape), kind)
        elif image.shape != images.shape[1:]:
            raise ValueError(
                "Images must have one size, or give `image_size`. Received: "
                f"{image_path} of {_size(image)}, {pairs[0][0]} of {_size(images[0])}"
            )
        images[i], masks[i] = image, mask
    if images is None or masks is None:
        raise ValueError(f"`pairs` must not be empty. Received: pairs={pairs!r}")
    return images, masks


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]} x {array.shape[1]} (height x width)"


class _open:
    """A context with the one frame of a file, whose errors have the path."""

    def __init__(self, path: str):
        self._path = path

    def __enter__(self) -> Image.Image:
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(
                "Images are read by Pillow, which is not installed: pip install pillow"
            ) from error
        try:
            self._image = Image.open(self._path)
            self._bits = _bits(self._image)
            self._image.load()
        # Pillow's: broken files, too large ones, and PNG chunks that are wrong.
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            raise ValueError(
                f"{self._path} cannot be read as an image: {error}"
            ) from error
        frames = getattr(self._image, "n_frames", 1)
        if frames > 1:
            self.refuse("one frame", f"{frames} frames")
        return self._image

    def refuse(self, rule: str, received: str) -> None:
        raise ValueError(f"{self._path} must have {rule}. Received: {received}")

    @property
    def bits(self) -> int:
        return self._bits

    def __exit__(self, *_: Any) -> None:
        self._image.close()


def _bits(image: Image.Image) -> int:
    """Returns the bits of a channel as they are stored: Pillow reads 16 as 8 in RGB."""
    stored = " ".join(str(part) for part in getattr(image, "tile", ()))
    if image.mode in ("I", "F"):
        return 32
    return 16 if ";16" in stored or ";16" in image.mode else 8


def read_image(path: str, turn: bool = False) -> np.ndarray:
    """Returns an image as uint8 (height, width, 3).

    Args:
        path: The file.
        turn: Whether one with an EXIF orientation is turned, as viewers show it. Else
            it is refused: a mask has none.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: For a file that is no image of 8 bits, grey or RGB, and opaque.
    """
    file = _open(path)
    with file as image:
        if file.bits > 8:
            file.refuse("8 bits a channel", f"{file.bits} bits, mode {image.mode}")
        turned = image.getexif().get(_EXIF_ORIENTATION, 1)
        if turned not in (0, 1) and not turn:
            file.refuse(
                "its pixels as they are shown",
                f"EXIF orientation {turned}, unlike a mask",
            )
        if turn:
            from PIL import ImageOps

            image = ImageOps.exif_transpose(image)
        image = _opaque(file, image)
        if image.mode not in ("1", "L", "P", "RGB"):
            file.refuse("grey or RGB pixels", f"mode {image.mode}; convert it to RGB")
        return np.asarray(image.convert("RGB"), np.uint8)


def _opaque(file: _open, image: Image.Image) -> Image.Image:
    """Returns an image without its alpha channel, which must be opaque everywhere."""
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        with_alpha = image.convert("RGBA")
    elif image.mode in ("LA", "PA", "RGBA"):
        with_alpha = image
    else:
        return image
    least = int(np.asarray(with_alpha.getchannel("A")).min())
    if least < 255:
        file.refuse("no transparent pixels", f"an alpha channel with {least} of 255")
    plain = {"LA": "L", "PA": "P", "RGBA": "RGB"}
    return image.convert(plain[image.mode]) if image.mode in plain else image


def _read_mask(
    path: str, num_classes: int, ignore_class: int | None, colors: Any
) -> np.ndarray:
    """Returns the classes of a mask, (height, width)."""
    file = _open(path)
    with file as image:
        if image.format in _LOSSY:
            file.refuse("a form without loss, such as PNG", str(image.format))
        if colors is not None:
            if file.bits > 8:
                file.refuse("colours of 8 bits", f"{file.bits} bits, mode {image.mode}")
            image = _opaque(file, image)
            if image.mode not in ("1", "L", "P", "RGB"):
                file.refuse("grey or RGB pixels", f"mode {image.mode}")
            return _classes_of(path, np.asarray(image.convert("RGB"), np.int32), colors)
        if image.mode in ("LA", "PA"):
            image = _opaque(file, image)
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            file.refuse(
                "class numbers, as grey values or numbers of a palette",
                f"mode {image.mode}; give `class_colors` for colours",
            )
        mask = np.asarray(image).astype(np.int32)
    known = (mask >= 0) & (mask < num_classes)
    if ignore_class is not None:
        known |= mask == ignore_class
    if not known.all():
        row, column = np.argwhere(~known)[0]
        void = "" if ignore_class is None else f", or {ignore_class} for none"
        raise ValueError(
            f"{path} must hold classes from 0 to {num_classes - 1}{void}. "
            f"Received: {mask[row, column]} in row {row}, column {column}"
        )
    return mask


def _codes(
    class_colors: Colors, num_classes: int, ignore_class: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the colours as sorted numbers, and the class of each."""
    most = num_classes + (ignore_class is not None)
    if len(class_colors) not in (num_classes, most):
        raise ValueError(
            f"`class_colors` must have a colour for each of {num_classes} classes, and "
            "one more for `ignore_class` where there is one. Received: "
            f"{len(class_colors)} colours"
        )
    rows = []
    for color in class_colors:
        if not isinstance(color, Sequence | np.ndarray) or len(color) != 3:
            raise ValueError(
                "`class_colors` must be (red, green, blue), of 0 to 255. "
                f"Received: {color!r}"
            )
        rows.append([check_integer("class_colors", value, 0, 255) for value in color])
    numbers = np.array(rows) @ (65536, 256, 1)
    classes = [*range(num_classes), ignore_class][: len(numbers)]
    order = np.argsort(numbers)
    if len(np.unique(numbers)) < len(numbers):
        raise ValueError(
            "`class_colors` must be different ones. "
            f"Received: class_colors={class_colors!r}"
        )
    return numbers[order], np.array(classes)[order]


def _classes_of(path: str, pixels: np.ndarray, colors: Any) -> np.ndarray:
    numbers, classes = colors
    codes = pixels @ np.array([65536, 256, 1])
    found = np.minimum(np.searchsorted(numbers, codes), len(numbers) - 1)
    unknown = numbers[found] != codes
    if unknown.any():
        row, column = np.argwhere(unknown)[0]
        color = tuple(pixels[row, column].tolist())
        raise ValueError(
            f"{path} must have the colours of `class_colors`. "
            f"Received: {color} in row {row}, column {column}"
        )
    return classes[found]


def _resized(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    to = (size[1], size[0])  # Pillow has the width first
    small = Image.fromarray(image).resize(to, Image.Resampling.BILINEAR)
    # As 32-bit integers: classes above 255 stay.
    nearest = Image.fromarray(mask.astype(np.int32)).resize(
        to, Image.Resampling.NEAREST
    )
    return np.asarray(small), np.asarray(nearest)


def check_ignored(value: Any, num_classes: int, least: int, most: int) -> None:
    """Raises ValueError unless a label without a class is `None`, or out of these."""
    if value is None:
        return
    if 0 <= check_integer("ignore_class", value, least, most) < num_classes:
        raise ValueError(
            f"`ignore_class` must not be one of {num_classes} classes. "
            f"Received: ignore_class={value}"
        )


def median_frequency_weights(
    labels: Any, num_classes: int, ignore_class: int | None = None
) -> np.ndarray:
    """Returns a weight for each class, larger for rare ones, by median frequency.

        weight[c] = median(frequency) / frequency[c]
        frequency[c] = pixels of class c / labelled pixels of the maps with class c

    The median is that over the classes that occur; a class that does not has weight 0.

    Args:
        labels: Integers `(maps, height, width)`, or any shape with the maps first,
            from 0 to `num_classes - 1`, or `ignore_class`.
        num_classes: Number of classes, a positive integer.
        ignore_class: The number of pixels that count nowhere, or `None`.

    Returns:
        float32 `(num_classes,)`, at least 0.

    Raises:
        TypeError: If `labels` are not integers.
        ValueError: If a label is no class, none is one, or `ignore_class` is one.

    Reference:
        Eigen and Fergus: Predicting depth, surface normals and semantic labels with a
        common multi-scale convolutional architecture, ICCV 2015, section 6.3.2.

    Example:
        >>> from tfhyper import data
        >>> labels = [[[0, 0, 0, 1]], [[0, 0, 0, 0]]]
        >>> weights = data.median_frequency_weights(labels, 2)
        >>> [round(float(weight), 3) for weight in weights]
        [0.643, 2.25]
    """
    check_integer("num_classes", num_classes, 1)
    check_ignored(ignore_class, num_classes, -(2**31), 2**31 - 1)
    try:
        labels = np.asarray(labels)
    except ValueError as error:
        raise TypeError(
            f"`labels` must be integers, in rows of one length. Received: {error}"
        ) from error
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"`labels` must be integers. Received: labels of the dtype {labels.dtype}"
        )
    if labels.ndim < 2 or labels.size == 0:
        raise ValueError(
            "`labels` must have the maps first, one or more. "
            f"Received: labels.shape={labels.shape}"
        )
    of_class, of_maps = np.zeros(num_classes), np.zeros(num_classes)
    for pixels in _known_pixels(labels, ignore_class):
        if pixels.size and (pixels.min() < 0 or pixels.max() >= num_classes):
            bad = pixels[(pixels < 0) | (pixels >= num_classes)][0]
            raise ValueError(
                f"`labels` must be from 0 to {num_classes - 1}, or `ignore_class`. "
                f"Received: {bad}"
            )
        counts = np.bincount(pixels.astype(np.int64), minlength=num_classes)
        of_class += counts
        of_maps += np.where(counts > 0, pixels.size, 0)
    occur = of_class > 0
    if not occur.any():
        raise ValueError(
            "`labels` must have pixels with a class. Received: "
            f"ignore_class={ignore_class} everywhere"
        )
    frequency = of_class[occur] / of_maps[occur]
    weights = np.zeros(num_classes, np.float32)
    weights[occur] = np.median(frequency) / frequency
    return weights


def split_files(
    files: Sequence[_Item], kind: str, folder: Any, seed: int, test_fraction: float
) -> tuple[list[_Item], list[_Item]]:
    """Returns those to train on and those to test on, by `split_rows`, in their order.

    Args:
        files: all of them.
        kind: what they are, in words.
        folder: where they are, `images_dir`.
        seed: as of `split_rows`.
        test_fraction: likewise.

    Raises:
        ValueError: for a single one.
    """
    if len(files) < 2:
        raise ValueError(
            f"`images_dir` must hold two {kind} or more, or give `test_images_dir`. "
            f"Received: images_dir={folder!r} with one"
        )
    rows, test_rows = split_rows(len(files), seed, test_fraction)
    train = [files[i] for i in sorted(rows)]
    return train, [files[i] for i in sorted(test_rows)]


def _known_pixels(labels: np.ndarray, ignore_class: int | None) -> Iterator[np.ndarray]:
    for one in labels:
        yield one.ravel() if ignore_class is None else one[one != ignore_class]
