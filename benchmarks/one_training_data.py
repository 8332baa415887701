"""The images of a setting: arrays, and batches that are flipped to the other side."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from one_training_settings import Setting

from tfhyper import data

if TYPE_CHECKING:
    import tensorflow as tf

Labelled = tuple[np.ndarray, np.ndarray]


class FlippedBatches:
    """Batches shuffled anew in each epoch, half of the images flipped left to right.

    An epoch depends on the seed and its number alone. It has whole batches only.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, batch_size: int, seed: int):
        self.x, self.y, self.seed = x, y, seed
        self.batch_size = min(batch_size, len(x))
        self.steps_per_epoch = len(x) // self.batch_size
        self.num_train = self.steps_per_epoch * self.batch_size

    def train_from(self, epoch: int) -> "tf.data.Dataset":
        """Returns the batches from an epoch on, without end."""
        import tensorflow as tf

        def batches() -> Any:
            number = epoch
            while True:
                rng = np.random.default_rng([self.seed, number])
                order = rng.permutation(len(self.x))[: self.num_train]
                for rows in np.split(order, self.steps_per_epoch):
                    yield flip_half(self.x[rows], rng), self.y[rows]
                number += 1

        size = self.batch_size
        signature = (
            tf.TensorSpec((size, *self.x.shape[1:]), tf.float32),
            tf.TensorSpec((size,), tf.int32),
        )
        dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return dataset.apply(endless).prefetch(2)


def flip_half(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns images of which half, at random, are flipped left to right."""
    flips = rng.random(len(images)) < 0.5
    return np.where(flips[:, None, None, None], flipped(images), images)


def flipped(images: np.ndarray) -> np.ndarray:
    """Returns images flipped left to right."""
    return np.ascontiguousarray(images[:, :, ::-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """The images of a setting, normalised.

    Attributes:
        spec: what is known of the data set.
        num_classes: of those that are trained on.
        train: images and labels.
        validation: those that are held out.
        test: those that are scored.
        left_out: test images of classes that are not trained on, or `None`.
    """

    spec: data.DatasetSpec
    num_classes: int
    train: Labelled
    validation: Labelled
    test: Labelled
    left_out: np.ndarray | None


def load_images(setting: Setting, data_dir: str | None) -> Images:
    """Returns the images of a setting.

    Raises:
        FileNotFoundError: if the data set is not there.
    """
    loaded = data.load(
        setting.dataset,
        data_dir=data_dir,
        train_examples=setting.train_examples,
        test_examples=setting.test_examples,
        validation_examples=setting.validation_examples,
        augment=False,
        batch_size=1000,
    )
    parts = [_arrays(x) for x in (loaded.train_plain, loaded.validation, loaded.test)]
    classes = loaded.spec.num_classes
    kept = [c for c in range(classes) if c not in setting.left_out]
    left_out = None
    if setting.left_out:
        x_test, y_test = parts[2]
        left_out = x_test[np.isin(y_test, setting.left_out)]
        parts = [_only(x, y, kept) for x, y in parts]
    train, validation, test = parts
    return Images(loaded.spec, len(kept), train, validation, test, left_out)


def batches(
    setting: Setting, images: Images, seed: int, data_dir: str | None
) -> FlippedBatches | data.Data:
    """Returns what a network is trained on."""
    if setting.augment == "flips":
        return FlippedBatches(*images.train, setting.batch_size, seed)
    if setting.left_out:
        raise ValueError(
            '`augment` must be "flips" where classes are left out. '
            f"Received: augment={setting.augment!r}, left_out={setting.left_out}"
        )
    return data.load(
        setting.dataset,
        data_dir=data_dir,
        batch_size=setting.batch_size,
        train_examples=setting.train_examples,
        validation_examples=setting.validation_examples,
        seed=seed,
    )


def _arrays(batches: Any) -> Labelled:
    pairs = [(x.numpy(), y.numpy()) for x, y in batches]
    images, labels = zip(*pairs, strict=True)
    return np.concatenate(images), np.concatenate(labels).astype("int32")


def _only(x: np.ndarray, y: np.ndarray, classes: list[int]) -> Labelled:
    """Returns the examples of some classes, which are then numbered from 0 on."""
    rows = np.isin(y, classes)
    return x[rows], np.searchsorted(classes, y[rows]).astype("int32")
