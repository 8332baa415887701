"""CamVid from folders of images and maps, in memory; or maps that are made up."""

import dataclasses
import os

import numpy as np

NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
CLASSES = len(NAMES)
VOID = 11
PARTS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Maps:
    """Images and a class for each pixel.

    Attributes:
        images: float32 (maps, height, width, 3), in [0, 1].
        labels: uint8 (maps, height, width), `VOID` where there is none.
    """

    images: np.ndarray
    labels: np.ndarray


def camvid(folder: str, part: str, most: int | None = None) -> Maps:
    """Returns a part of CamVid.

    Args:
        folder: has `train`, `trainannot` and so on, as the usual split does.
        part: one of `PARTS`.
        most: the first so many maps, or `None` for all.

    Raises:
        ValueError: for an image without a map of its size.
    """
    from PIL import Image

    names = sorted(os.listdir(os.path.join(folder, part)))[:most]
    images, labels = [], []
    for name in names:
        stem = os.path.splitext(name)[0]
        path = os.path.join(folder, f"{part}annot", f"{stem}.png")
        with Image.open(os.path.join(folder, part, name)) as image:
            images.append(np.asarray(image.convert("RGB"), np.float32) / 255)
        with Image.open(path) as image:
            labels.append(np.asarray(image, np.uint8))
        if images[-1].shape[:2] != labels[-1].shape:
            raise ValueError(f"{path} is not of the size of its image")
    return Maps(np.stack(images), np.stack(labels))


def made_up(count: int, seed: int) -> Maps:
    """Returns maps of 24 x 32 pixels: stripes of as many colours as classes."""
    rng = np.random.default_rng(seed)
    colours = np.random.default_rng(0).uniform(size=(CLASSES, 3))
    rows = np.arange(24)[:, None] + rng.integers(0, 24, (count, 1, 1))
    labels = ((rows // 3) % CLASSES) * np.ones((1, 1, 32), int)
    noise = rng.normal(size=(count, 24, 32, 3)) * 0.2
    images = np.clip(colours[labels] + noise, 0, 1)
    labels[rng.uniform(size=labels.shape) < 0.05] = VOID
    return Maps(images.astype("float32"), labels.astype("uint8"))
