"""Where the examples come from: the file in this package, or TensorFlow Datasets."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfhyper.checks import check_bool, check_path, check_text
from tfhyper.data import builders
from tfhyper.data.specs import DATASETS, DatasetSpec

EMBEDDED = "fashion_mnist_small"
_EMBEDDED_FILE = pathlib.Path(__file__).with_name("fashion_mnist_small.npz")


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A data set that is there to be read; made by `open_source`.

    Args:
        spec: What is known of the set.
        num_train: Number of examples in the split trained on.
        num_test: Number of examples in the split tested on.
        builder: The TensorFlow Datasets builder; `None` for the embedded set.
        image_key: The builder's name for the image.
        label_key: The builder's name for the label.

    Example:
        >>> open_source("fashion_mnist_small").num_train
        10000
    """

    spec: DatasetSpec
    num_train: int
    num_test: int
    builder: Any = None
    image_key: str = "image"
    label_key: str = "label"

    def split(self, part: str, count: int, start: int = 0) -> str:
        """Returns `count` examples of a part as TensorFlow Datasets says it.

        Args:
            part: `"train"` or `"test"`.
            count: Number of examples, a positive integer.
            start: Number of examples before them; with them no more than the part has.

        Returns:
            `"train[0:100]"`, or several joined by `"+"` of a part of several splits.

        Example:
            ```python
            open_source("cifar10", "tensorflow_datasets").split("train", 100)
            ```
        """
        names = self.spec.train_split if part == "train" else self.spec.test_split
        pieces, stop = [], start + count
        for name in names.split("+"):
            size = self.builder.info.splits[name].num_examples
            first, last = max(start, 0), min(stop, size)
            pieces += [f"{name}[{first}:{last}]"] if first < last else []
            start, stop = start - size, stop - size
        return "+".join(pieces)

    def with_train_split(self, train_split: str | None) -> Source:
        """Returns the source with other examples to train on.

        Args:
            train_split: Names of splits, joined by `"+"`; `None`: as it is.

        Returns:
            A `Source`.

        Raises:
            TypeError: If it is not a string.
            ValueError: If the set does not have one of these splits, or a split is
                named twice or tested on.

        Example:
            >>> open_source("fashion_mnist_small").with_train_split("train").num_train
            10000
        """
        if train_split is None:
            return self
        names = check_text("train_split", train_split).split("+")
        splits = {} if self.builder is None else self.builder.info.splits
        known = sorted(set(splits) - {self.spec.test_split}) or ["train"]
        if not set(names) <= set(known) or len(set(names)) < len(names):
            raise ValueError(
                f"`train_split` must be some of {known} joined by '+', for the set "
                f"'{self.spec.name}'. Received: train_split={train_split!r}"
            )
        if self.builder is None:
            return self
        return dataclasses.replace(
            self,
            spec=dataclasses.replace(self.spec, train_split=train_split),
            num_train=sum(splits[name].num_examples for name in names),
        )

    def arrays(
        self, part: str, count: int, start: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads `count` examples of a part, in the order they are stored.

        Args:
            part: `"train"` or `"test"`.
            count: Number of examples, a positive integer.
            start: Number of examples before them; with them no more than the part has.

        Returns:
            uint8 images `(count, height, width, channels)` and int32 labels `(count,)`.

        Raises:
            ValueError: If an image does not have the shape that `spec` states.

        Example:
            >>> open_source("fashion_mnist_small").arrays("test", 5)[0].shape
            (5, 28, 28, 1)
        """
        if self.builder is None:
            with np.load(_EMBEDDED_FILE, allow_pickle=False) as file:
                images, labels = file[f"x_{part}"], file[f"y_{part}"]
            stop = start + count
            return images[start:stop], labels[start:stop].astype(np.int32)
        import tensorflow_datasets as tfds

        dataset = self.builder.as_dataset(
            split=self.split(part, count, start),
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                {self.image_key: True, self.label_key: True}
            ),
            # One file after the other, so that "the first" are those on disk.
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        images = np.empty((count, *self.spec.image_shape), np.uint8)
        labels = np.empty((count,), np.int32)
        start = 0  # in the arrays
        for batch in dataset.batch(1024).as_numpy_iterator():
            received = batch[self.image_key]
            if received.shape[1:] != images.shape[1:]:
                raise ValueError(
                    f"The images of '{self.spec.name}' must have shape "
                    f"{self.spec.image_shape}. Received: images of shape "
                    f"{received.shape[1:]}"
                )
            stop = start + len(received)
            images[start:stop], labels[start:stop] = received, batch[self.label_key]
            start = stop
        return images, labels


def open_source(
    name: str, data_dir: str | None = None, download: bool = False
) -> Source:
    """Finds a data set by name, and prepares it if asked to.

    Args:
        name: A key of `DATASETS`, or the name of an image-classification set of
            TensorFlow Datasets, or of one prepared in `data_dir`.
        data_dir: The folder of prepared TensorFlow Datasets; `None`: its default.
        download: Whether to download and prepare a set that is not there.

    Returns:
        A `Source`.

    Raises:
        TypeError: If `name` is not a string.
        ValueError: If the name is unknown or the set is not one of images of one size
            with one label each, or one of `DATASETS` with other images or classes.
        FileNotFoundError: If the set is known but not prepared and `download` is false,
            or the archives that it is to be prepared from are not there.

    Example:
        >>> open_source("fashion_mnist_small").spec.num_classes
        10
    """
    if not check_text("name", name):
        raise ValueError("`name` must not be empty. Received: name=''")
    check_bool("download", download)
    if data_dir is not None:
        data_dir = check_path("data_dir", data_dir)
    if name == EMBEDDED:
        with np.load(_EMBEDDED_FILE, allow_pickle=False) as file:
            sizes = len(file["y_train"]), len(file["y_test"])
        return Source(DATASETS[name], *sizes)
    builder = builders.open_builder(name, data_dir, download)
    known = DATASETS.get(builder.name)
    image_key, label_key = _keys(builder)
    if known:
        builders.check_stored(builder, known, image_key, label_key)
    spec = known or _spec_of(builder, image_key, label_key)
    for split in (spec.train_split, spec.test_split):
        if split not in builder.info.splits:
            raise ValueError(
                f"`name` must be a set with the split '{split}'. Received: "
                f"name='{name}' with splits {sorted(builder.info.splits)}"
            )
    train, test = (
        builder.info.splits[split].num_examples
        for split in (spec.train_split, spec.test_split)
    )
    return Source(spec, train, test, builder, image_key, label_key)


def _keys(builder: Any) -> tuple[str, str]:
    """Returns the names of the one image and the one label of an example."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    keys: Sequence[str] = builder.info.supervised_keys or ()
    if not keys and isinstance(features, tfds.features.FeaturesDict):
        # Not stated, as in sets made from arrays: the only image and the only label.
        keys = [k for kind in kinds for k in features if type(features[k]) is kind]
    if len(keys) != 2 or not all(
        isinstance(features[key], kind) for key, kind in zip(keys, kinds, strict=True)
    ):
        raise ValueError(
            "`name` must be an image-classification set: with one image and one class "
            f"label. Received: name='{builder.name}' with features {features}"
        )
    return keys[0], keys[1]


def _spec_of(builder: Any, image_key: str, label_key: str) -> DatasetSpec:
    """Reads the spec of a set that is not in `DATASETS` from its builder."""
    image, label = (builder.info.features[key] for key in (image_key, label_key))
    if None in image.shape or image.dtype != np.uint8:
        raise ValueError(
            "`name` must be a set of uint8 images of one size, or one of "
            f"{sorted(DATASETS)}. Received: name='{builder.name}' with images of shape "
            f"{image.shape} and type {image.dtype}"
        )
    splits = builder.info.splits
    return DatasetSpec(
        name=builder.name,
        image_shape=tuple(image.shape),
        num_classes=label.num_classes,
        mean=None,
        std=None,
        # Mirroring changes the class of some images, and nothing here says which.
        flip=False,
        test_split="test" if "test" in splits else "validation",
        class_names=tuple(label.names) if label.names else None,
        source="TensorFlow Datasets.",
        license=str(builder.info.redistribution_info.license or ""),
    )
