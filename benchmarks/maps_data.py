"""CamVid from folders of images and maps, in memory; or maps that are made up."""

import dataclasses
import os

import numpy as np

from tfhyper.data import DATASETS
from tfhyper.data.pairs import find_pairs, read_pairs

SPEC = DATASETS["camvid"]
NAMES, CLASSES, VOID = SPEC.class_names, SPEC.num_classes, SPEC.ignore_class
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
        ValueError: for a file that is not as it should be, by its name.
    """
    folders = (os.path.join(folder, part + end) for end in ("", "annot"))
    images, labels = read_pairs(find_pairs(*folders)[:most], CLASSES, VOID)
    return Maps(images.astype("float32") / 255, labels)


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


def written(maps: Maps, folder: str, part: str) -> None:
    """Writes maps as the files of a part of CamVid."""
    from PIL import Image

    for end, arrays in (("", maps.images * 255), ("annot", maps.labels)):
        path = os.path.join(folder, part + end)
        os.makedirs(path, exist_ok=True)
        for i, array in enumerate(arrays):
            image = Image.fromarray(array.astype("uint8"))
            image.save(os.path.join(path, f"{i:03}.png"))
