"""`load_segmentation`: folders of images and masks; and CamVid, by its name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfhyper.checks import (
    check_bool,
    check_instance,
    check_integer,
    check_number,
    check_path,
    check_text,
)
from tfhyper.data.arrays import Arrays, read_sizes, with_statistics
from tfhyper.data.pairs import (
    Colors,
    Pair,
    check_ignored,
    find_pairs,
    median_frequency_weights,
    read_pairs,
    split_files,
)
from tfhyper.data.specs import DATASETS, DatasetSpec

if TYPE_CHECKING:
    from tfhyper.data.pipeline import Data

CAMVID = "camvid"
# How much larger a window of a training image is shown at most.
SCALE = (1.0, 1.5)


@dataclasses.dataclass(frozen=True, eq=False)
class PairSource:
    """Pairs of images and masks that are there to be read, as `sources.Source`.

    Args:
        spec: What is known of the set.
        pairs: Part -> its pairs; `"train"`, `"test"` and, where there is one,
            `"validation"`.
        class_colors: As `read_pairs` takes it.
        image_size: Likewise.
    """

    spec: DatasetSpec
    pairs: dict[str, list[Pair]]
    class_colors: Colors | None = None
    image_size: tuple[int, int] | None = None

    @property
    def num_train(self) -> int:
        """Number of pairs to train on."""
        return len(self.pairs["train"])

    @property
    def num_test(self) -> int:
        """Number of pairs to test on."""
        return len(self.pairs["test"])

    def arrays(self, part: str, count: int, start: int = 0) -> Arrays:
        """Returns uint8 images and the classes of `count` pairs of a part."""
        spec = self.spec
        return read_pairs(
            self.pairs[part][start : start + count],
            spec.num_classes,
            spec.ignore_class,
            self.class_colors,
            self.image_size,
        )


def camvid(data_dir: str | os.PathLike | None) -> PairSource:
    """Returns CamVid in a folder of six: `train`, `trainannot`, `val` and so on.

    Raises:
        ValueError: If `data_dir` is `None`, and as `find_pairs`.
        FileNotFoundError: If a folder is not there.
    """
    if data_dir is None:
        raise ValueError(
            "`data_dir` must be the folder of CamVid, with train, trainannot, val, "
            "valannot, test and testannot in it. Received: data_dir=None"
        )
    folder = check_path("data_dir", data_dir)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"`data_dir` must be a folder. Received: data_dir={folder!r}"
        )
    parts = {"train": "train", "validation": "val", "test": "test"}
    pairs = {
        part: find_pairs(
            os.path.join(folder, name), os.path.join(folder, f"{name}annot")
        )
        for part, name in parts.items()
    }
    return PairSource(DATASETS[CAMVID], pairs)


def load_segmentation(
    images_dir: str | os.PathLike,
    masks_dir: str | os.PathLike,
    num_classes: int,
    *,
    ignore_class: int | None = None,
    class_colors: Sequence[Sequence[int]] | None = None,
    class_names: Sequence[str] | None = None,
    test_images_dir: str | os.PathLike | None = None,
    test_masks_dir: str | os.PathLike | None = None,
    test_fraction: float = 0.2,
    image_size: tuple[int, int] | None = None,
    batch_size: int = 8,
    augment: bool = True,
    flip: bool = True,
    scale: tuple[float, float] = SCALE,
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Data:
    """Loads folders of images and masks as `tf.data` pipelines, for segmentation.

    An image and its mask have the same name up to the ending: `a.jpg` and `a.png`. All
    are read into memory, 4 bytes a pixel, and checked before the first step: each file
    is read right or refused by its name.

    Training images and their masks are augmented alike: half of them are mirrored, and
    of each a window at a random place is enlarged to the size of the image, images by
    bilinear interpolation and masks by the nearest pixel. With a scale below 1 the
    window is larger than the image: beyond its edge there is the mean colour, and
    `ignore_class` in the mask.

    Args:
        images_dir: Folder of the images: PNG, JPEG, BMP, GIF, TIFF or WebP, grey or
            RGB, 8 bits a channel. Grey ones get three equal channels.
        masks_dir: Folder of the masks, stored without loss: class numbers as grey
            values or numbers of a palette, or colours, by `class_colors`.
        num_classes: Number of classes, 0 to `num_classes - 1`; 2 or more.
        ignore_class: Number of pixels without a class (void): outside of the classes,
            below 2 ** 24. `None`: each pixel has one.
        class_colors: The colour `(red, green, blue)` of each class; one more is that of
            `ignore_class`.
        class_names: Name of each class, for figures.
        test_images_dir: Folder of the images to test on; given with the next. `None`:
            they are drawn from the others.
        test_masks_dir: Folder of their masks.
        test_fraction: Fraction of the pairs to test on where those are `None`, drawn by
            `seed` (`split_rows`), in 0 < test_fraction < 1. Frames of one film that
            are neighbours are nearly the same: give them a folder.
        image_size: `(height, width)` that all are resized to. `None`: all images have
            the size of the first.
        batch_size: Images in a batch; a positive integer.
        augment: Whether training images are augmented. They are shuffled either way.
        flip: Whether that mirrors them left to right.
        scale: How much larger they are shown: the logarithm of the factor is uniform
            between those of these two numbers above 0. `(1, 1)`: as they are. Below 1
            needs `ignore_class`.
        seed: Seed of order, augmentation and the test images; an integer from 0 to
            2 ** 31 - 1.
        mean: Mean of each channel, or one number for all, in units of 0 to 1, by which
            images are normalised. `None`: that of the training images.
        std: Standard deviation of each channel, positive; given if `mean` is given.

    Returns:
        A `Data` whose labels are int32 `(batch, height, width)`, with `class_weights`.

    Raises:
        ImportError: If Pillow is not installed.
        FileNotFoundError: If a folder is not there.
        TypeError: If an argument is of another type.
        ValueError: If an argument is out of its range; for an image without a mask, or
            a mask without an image; and for a file that is none of these, by its name:
            broken, of another size, with more than 8 bits a channel, CMYK, transparent,
            turned by EXIF, a mask in JPEG, with a number or colour that is no class.

    Example:
        ```python
        data = load_segmentation(
            "voc/images", "voc/masks", 21, ignore_class=255, image_size=(256, 256)
        )
        model.fit(data.train, epochs=10)
        ```
    """
    num_classes = check_integer("num_classes", num_classes, 2)
    check_ignored(ignore_class, num_classes, 0, 2**24 - 1)
    if class_colors is not None:
        check_instance("class_colors", class_colors, list | tuple, "a list of colours")
    if class_names is not None:
        rule = "a list of names"
        check_instance("class_names", class_names, list | tuple, rule)
        class_names = tuple(check_text("class_names", name) for name in class_names)
        if len(class_names) != num_classes:
            raise ValueError(
                f"`class_names` must have a name for each of {num_classes} classes. "
                f"Received: class_names={class_names}"
            )
    if image_size is not None:
        rule = "two integers, (height, width)"
        check_instance("image_size", image_size, list | tuple, rule)
        if len(image_size) != 2:
            raise ValueError(
                f"`image_size` must be {rule}. Received: image_size={image_size!r}"
            )
        height, width = (check_integer("image_size", n, 1, 16384) for n in image_size)
        image_size = (height, width)
    check_number("test_fraction", test_fraction, positive=True, below=1)
    check_bool("flip", flip)
    check_integer("seed", seed, 0, 2**31 - 1)
    if (test_images_dir is None) != (test_masks_dir is None):
        raise ValueError(
            "`test_images_dir` and `test_masks_dir` must be given together. Received: "
            f"test_images_dir={test_images_dir!r}, test_masks_dir={test_masks_dir!r}"
        )
    train = find_pairs(images_dir, masks_dir)
    if test_images_dir is not None and test_masks_dir is not None:
        test = find_pairs(test_images_dir, test_masks_dir)
    else:
        folder = os.fsdecode(images_dir)
        train, test = split_files(train, "images", folder, seed, test_fraction)
    spec = DatasetSpec(
        name=os.path.basename(os.path.normpath(os.fsdecode(images_dir))),
        image_shape=(1, 1, 3),
        num_classes=num_classes,
        mean=None,
        std=None,
        flip=flip,
        class_names=class_names,
        ignore_class=ignore_class,
    )
    source = PairSource(spec, {"train": train, "test": test}, class_colors, image_size)
    return pipelines(source, batch_size, augment, scale, seed, mean, std)


def pipelines(
    source: PairSource,
    batch_size: int,
    augment: bool,
    scale: tuple[float, float],
    seed: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    train_examples: int | None = None,
    test_examples: int | None = None,
) -> Data:
    """Returns the pipelines of a source; the arguments are those of the loaders."""
    batch_size = check_integer("batch_size", batch_size, 1)
    check_bool("augment", augment)
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    _check_scale(scale, source.spec.ignore_class)
    num_train, num_test = read_sizes(source, train_examples, test_examples)
    arrays = source.arrays("train", num_train)
    parts = {"train": arrays, "test": source.arrays("test", num_test)}
    if "validation" in source.pairs:
        parts["validation"] = source.arrays(
            "validation", len(source.pairs["validation"])
        )
    shape = _one_shape({name: images for name, (images, _) in parts.items()})
    spec = dataclasses.replace(source.spec, image_shape=shape)
    spec = with_statistics(
        dataclasses.replace(source, spec=spec), mean, std, num_train, arrays
    )
    # Not at the top: these need TensorFlow, and files are read without it.
    from tfhyper.data import streams
    from tfhyper.data.pipeline import of_streams

    def stream(part: str) -> Any:
        images, labels = parts[part]
        return streams.Stream(
            spec,
            streams.from_memory(images, labels, batch_size),
            len(images),
            batch_size,
            augment and part == "train",
            seed,
            prepare=streams.of_maps(spec, scale),
        )

    return of_streams(
        stream("train"),
        stream("test"),
        stream("validation") if "validation" in parts else None,
        median_frequency_weights(arrays[1], spec.num_classes, spec.ignore_class),
    )


def _check_scale(scale: Any, ignore_class: int | None) -> None:
    check_instance("scale", scale, list | tuple, "two numbers")
    if len(scale) != 2:
        raise ValueError(f"`scale` must be two numbers. Received: scale={scale!r}")
    least, most = (check_number("scale", x, positive=True) for x in scale)
    if least > most:
        raise ValueError(
            f"`scale` must be the lower and the upper factor. Received: scale={scale!r}"
        )
    if least < 1 and ignore_class is None:
        raise ValueError(
            "`scale` must be 1 or more without `ignore_class`, as nothing is known "
            f"beyond the edge of a mask. Received: scale={scale!r}, ignore_class=None"
        )


def _one_shape(parts: dict[str, np.ndarray]) -> tuple[int, int, int]:
    shapes = {name: images.shape[1:] for name, images in parts.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            "All images must have one size, or give `image_size`. "
            f"Received: (height, width, channels) {shapes}"
        )
    height, width, channels = next(iter(shapes.values()))
    return height, width, channels
