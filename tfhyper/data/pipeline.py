"""`load`: a data set by name, as pipelines ready for training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfhyper.checks import check_bool, check_choice, check_integer
from tfhyper.data import segmentation, sources
from tfhyper.data.arrays import read_sizes, with_statistics
from tfhyper.data.specs import DatasetSpec, ResizeMethod

if TYPE_CHECKING:
    import tensorflow as tf

    from tfhyper.data.streams import CropPadding, Stream


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """A data set as pipelines of `(images, labels)` batches; made by `load`.

    Images are float32 `(batch, height, width, channels)`, normalised; labels are int32
    `(batch,)`, or `(batch, height, width)` of a set with a class for each pixel
    (`load_segmentation`), or float32 images (`load_super_resolution`). The last batch
    of an epoch is short if `batch_size` does not divide it.

    Args:
        spec: What is known of the set, with the `mean` and `std` in use.
        train: The training examples, shuffled and augmented, as `tf.data.Dataset`. Each
            time it is iterated (also by `repeat`) it gives the next epoch: 0, 1, 2, ...
            It counts within the process, and Keras may begin an iteration only to
            build a model: to resume a training exactly, use `train_from`.
        train_plain: The training examples in stored order, not augmented: for the
            statistics of batch normalisation, or the training error.
        test: The test examples in stored order, not augmented.
        num_train: Number of training examples.
        num_test: Number of test examples.
        batch_size: Examples in a batch.
        seed: Seed of order and augmentation.
        validation: The examples held out by `validation_examples`, in stored order, not
            augmented; `None` without them.
        num_validation: Number of these.
        class_weights: Of a set with a class for each pixel, the weight of each class
            by `median_frequency_weights` of the training maps, `(num_classes,)`.

    Example:
        >>> data = load("fashion_mnist_small", train_examples=200, test_examples=50)
        >>> images, labels = next(iter(data.epoch(0)))
        >>> images.shape, labels.shape
        (TensorShape([128, 28, 28, 1]), TensorShape([128]))
    """

    spec: DatasetSpec
    train: tf.data.Dataset
    train_plain: tf.data.Dataset
    test: tf.data.Dataset
    num_train: int
    num_test: int
    batch_size: int
    seed: int
    _stream: Stream = dataclasses.field(repr=False)
    validation: tf.data.Dataset | None = None
    num_validation: int = 0
    class_weights: np.ndarray | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Number of training batches in an epoch, the short one counted."""
        return self._stream.steps

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Returns the training batches of one epoch.

        Order and augmentation depend on the seed and `epoch` only: the dataset gives
        the same batches, bit for bit, whenever it is iterated.

        Args:
            epoch: Number of the epoch; a non-negative integer.

        Returns:
            A `tf.data.Dataset` of `steps_per_epoch` batches.

        Raises:
            ValueError: If `epoch` is not a non-negative integer.

        Example:
            >>> data = load("fashion_mnist_small", train_examples=200)
            >>> int(data.epoch(3).cardinality()) == data.steps_per_epoch
            True
        """
        check_integer("epoch", epoch, 0)
        return self._stream.epochs(int(epoch), int(epoch) + 1)

    def train_from(self, epoch: int) -> tf.data.Dataset:
        """Returns the training batches of this and all later epochs, one after another.

        A training that is cut off after epoch `epoch - 1` and resumed with this dataset
        sees the batches that it would have seen, bit for bit.

        Args:
            epoch: Number of the first epoch; a non-negative integer.

        Returns:
            A `tf.data.Dataset` without end; `Model.fit` must be told
            `steps_per_epoch=data.steps_per_epoch`.

        Raises:
            ValueError: If `epoch` is not a non-negative integer.

        Example:
            ```python
            model.fit(
                data.train_from(5),
                steps_per_epoch=data.steps_per_epoch,
                initial_epoch=5,
                epochs=20,
                shuffle=False,
            )
            ```
        """
        check_integer("epoch", epoch, 0)
        return self._stream.epochs(int(epoch))

    def with_class_weights(self) -> Data:
        """Returns the data whose training batches have a weight for each pixel.

        `train`, `epoch` and `train_from` then give `(images, labels, weights)`, as
        `Model.fit` and `tfhyper.training.Trainer` take them: the `class_weights` of the
        labels, and 0 where a pixel has no class. `train_plain`, `test` and
        `validation` stay as they are, as nothing is weighted in a score.

        Raises:
            ValueError: If there are no `class_weights`.

        Example:
            ```python
            data = load("camvid", data_dir="camvid").with_class_weights()
            ```
        """
        if self.class_weights is None:
            raise ValueError(
                "`class_weights` must be there: they are of sets with a class for "
                f"each pixel. Received: the set {self.spec.name!r}"
            )
        import tensorflow as tf

        classes = len(self.class_weights)
        table = tf.constant(np.append(self.class_weights, 0), tf.float32)

        def weigh(images: tf.Tensor, labels: tf.Tensor) -> tuple:
            weights = tf.gather(table, tf.minimum(labels, classes))
            return images, labels, weights

        return self._with_stream(self._stream.then(weigh))

    def without_classes(self, names: Sequence[str]) -> Data:
        """Returns the data whose training batches do not tell of some classes.

        Pixels of these classes have the label `spec.ignore_class` in `train`, `epoch`
        and `train_from`, so that no loss counts them: for a network that is to meet
        them in the test, and should be unsure there. `train_plain`, `test` and
        `validation` stay as they are.

        Args:
            names: Of `spec.class_names`, some and not all.

        Raises:
            ValueError: For other names, none or all; or if the set has no label for
                pixels without a class.

        Example:
            ```python
            data = load("camvid", data_dir="camvid").without_classes(["car"])
            ```
        """
        import tensorflow as tf

        known, ignored = self.spec.class_names, self.spec.ignore_class
        if known is None or ignored is None:
            raise ValueError(
                "`without_classes` is for sets with names of classes and a label for "
                f"pixels without one. Received: the set {self.spec.name!r}"
            )
        if not isinstance(names, list | tuple) or not set(names) <= set(known):
            raise ValueError(
                f"`names` must be some of {list(known)}. Received: names={names!r}"
            )
        if len(set(names)) not in range(1, len(known)):
            raise ValueError(
                "`names` must be one class or more, and leave one or more. "
                f"Received: names={names!r}"
            )
        left_out = tf.constant([known.index(name) for name in names], tf.int32)

        def forget(images: tf.Tensor, labels: tf.Tensor, *more: tf.Tensor) -> tuple:
            gone = tf.reduce_any(labels[..., None] == left_out, axis=-1)
            labels = tf.where(gone, tf.cast(ignored, labels.dtype), labels)
            more = tuple(tf.where(gone, 0.0, weights) for weights in more)
            return images, labels, *more

        return self._with_stream(self._stream.then(forget))

    def _with_stream(self, stream: Stream) -> Data:
        return dataclasses.replace(self, train=stream.epoch_by_epoch(), _stream=stream)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    batch_size: int = 128,
    train_examples: int | None = None,
    test_examples: int | None = None,
    augment: bool = True,
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    download: bool = False,
    cache: bool = True,
    image_size: int | None = None,
    color_jitter: float = 0.0,
    crop_padding: CropPadding = "mean",
    resize_method: ResizeMethod = "bilinear",
    train_split: str | None = None,
    validation_examples: int | None = None,
) -> Data:
    """Loads a data set as `tf.data` pipelines.

    Images are normalised by the mean and standard deviation of each channel. Training
    images are augmented by a random crop from the image padded by four pixels and,
    where `spec.flip` holds, a random horizontal flip. The pixels have the mean colour,
    as in fb.resnet.torch; with `crop_padding="reflect"` it is the augmentation of
    Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv:1605.07146).
    `tfhyper.training.RECIPES` has what each study did.

    Those of ImageNet (`imagenet2012`) are augmented as in fb.resnet.torch, after
    Szegedy et al. 2015 and Krizhevsky et al. 2012: a random window of 8 % to all of the
    area and of 3/4 to 4/3 width by height is resized to 224 x 224 pixels, the colours
    get noise along their principal components (standard deviation 0.1), and half of
    the images are flipped. For testing, the shorter side is resized to 256 pixels and
    the central 224 x 224 are cut out. He et al., "Deep residual learning for image
    recognition", CVPR 2016 (arXiv:1512.03385) cut 224 x 224 from images resized to 256
    to 480 instead. TensorFlow Datasets prepares the set from two archives that one
    must fetch by hand; an error says where it looks for them.

    CamVid (`camvid`) has a class for each pixel, and is augmented, read and checked as
    `load_segmentation` does it, in the size that its files have; `Data.validation` is
    the set's own. Of the arguments below, those from `download` on are not for it.

    Args:
        name: A key of `DATASETS`, or the name of another image-classification set of
            TensorFlow Datasets whose images have one size, or of one prepared in
            `data_dir`. Sets that are not in `DATASETS` are not flipped.
        data_dir: The folder of prepared TensorFlow Datasets; `None`: its default. Of
            CamVid the folder with `train`, `trainannot`, `val`, `valannot`, `test` and
            `testannot`: images, and masks of 0 to 10, and 11 without a class.
        batch_size: Examples in a batch; a positive integer.
        train_examples: Use only the first so many training examples, in the order they
            are stored; a positive integer. `None`: all.
        test_examples: Likewise for the test examples.
        augment: Whether training images are augmented. They are shuffled either way.
        seed: Seed of order and augmentation; an integer from 0 to 2 ** 31 - 1.
        mean: Mean of each channel, or one number for all, in units of 0 to 1, instead
            of that of `DATASETS`. 0 with a deviation of 1 leaves images in 0 to 1.
            For a set without known statistics and without `mean` and `std`, they are
            those of the first 10,000 of the training examples used.
        std: Standard deviation of each channel, positive; given if `mean` is given.
        download: Whether to download and prepare a set that is not there.
        cache: Whether to hold the images in memory (as uint8), which is fastest and
            shuffles all examples evenly. `False`: read them from disk in each epoch,
            with files shuffled, and examples in blocks of 2048. ImageNet is always read
            from disk and `fashion_mnist_small` always held in memory.
        image_size: Side of ImageNet's prepared images in pixels, from 16 to 1024,
            instead of 224; for testing the shorter side is then `image_size / 0.875`.
            `None` for sets whose images have one size.
        color_jitter: Scale brightness, contrast and saturation of the training images
            by factors uniform in `1 - color_jitter` to `1 + color_jitter`: a number in
            0 <= color_jitter < 1, and 0 unless the images are RGB. fb.resnet.torch has
            0.4.
        crop_padding: What is beyond the edge of an image that is cropped: `"mean"`,
            the mean colour; `"reflect"`, the image mirrored at its outermost pixels;
            or `"black"`. `"none"`: images are not cropped, and flipped alone. Images
            that are resized, ImageNet's, are not padded.
        resize_method: How ImageNet's images are resized: `"bilinear"`, or
            `"bicubic"` as in fb.resnet.torch; both without aliasing.
        train_split: Names of the splits to train on, joined by `"+"`:
            `"train+extra"` is all of SVHN. `None`: `spec.train_split`.
        validation_examples: Hold the last so many training examples out, in the order
            they are stored: they are `Data.validation`, and what is chosen by them is
            not chosen by the test set. A positive integer; `train_examples` are then
            the first of the others. `None`: none.

    Returns:
        A `Data`.

    Raises:
        TypeError: If `name` is not a string.
        ValueError: If an argument is out of its range, the name is unknown, or the set
            is not one of images of one size with one label each.
        FileNotFoundError: If the set is known but not prepared and `download` is false,
            or the archives that it is to be prepared from are not there.

    Example:
        >>> data = load("fashion_mnist_small", batch_size=100, train_examples=1000)
        >>> data.steps_per_epoch, data.num_test
        (10, 2500)
    """
    check_integer("batch_size", batch_size, 1)
    check_integer("seed", seed, 0, 2**31 - 1)
    check_bool("augment", augment)
    check_bool("cache", cache)
    if name == segmentation.CAMVID:
        _check_of_maps(
            download=(download, False),
            cache=(cache, True),
            image_size=(image_size, None),
            color_jitter=(color_jitter, 0.0),
            crop_padding=(crop_padding, "mean"),
            resize_method=(resize_method, "bilinear"),
            train_split=(train_split, None),
            validation_examples=(validation_examples, None),
        )
        return segmentation.pipelines(
            segmentation.camvid(data_dir),
            batch_size,
            augment,
            segmentation.SCALE,
            seed,
            mean,
            std,
            train_examples,
            test_examples,
        )
    source = sources.open_source(name, data_dir, download)
    source = source.with_train_split(train_split)
    check_choice("resize_method", resize_method, ("bilinear", "bicubic"))
    spec = dataclasses.replace(
        source.spec.with_image_size(image_size), resize_method=resize_method
    )
    source = dataclasses.replace(source, spec=spec)

    from tfhyper.data import colors, streams

    check_choice("crop_padding", crop_padding, streams.CROP_PADDINGS)

    color_jitter = colors.check_strength("color_jitter", color_jitter)
    if color_jitter and spec.image_shape[-1] != 3:
        raise ValueError(
            "`color_jitter` must be 0 for images that are not RGB. Received: "
            f"color_jitter={color_jitter} for images of shape {spec.image_shape}"
        )
    whole = source
    held_out = 0
    if validation_examples is not None:
        most = source.num_train - 1
        held_out = check_integer("validation_examples", validation_examples, 1, most)
        source = dataclasses.replace(source, num_train=source.num_train - held_out)
    num_train, num_test = read_sizes(source, train_examples, test_examples)
    in_memory = source.builder is None or (cache and source.spec.resize is None)
    arrays = source.arrays("train", num_train) if in_memory else None
    spec = with_statistics(source, mean, std, num_train, arrays)
    batch_size = int(batch_size)
    if arrays is not None:
        train = streams.from_memory(*arrays, batch_size)
        test = streams.from_memory(*source.arrays("test", num_test), batch_size)
    else:
        train = streams.from_disk(source, "train", num_train, batch_size, augment)
        test = streams.from_disk(source, "test", num_test, batch_size, False)
    validation = None
    if held_out:
        first = whole.num_train - held_out
        if arrays is not None:
            batches = streams.from_memory(
                *source.arrays("train", held_out, first), batch_size
            )
        else:
            batches = streams.from_disk(
                source, "train", held_out, batch_size, False, first
            )
        validation = streams.Stream(
            spec, batches, held_out, batch_size, False, int(seed)
        )
    train_stream = streams.Stream(
        spec,
        train,
        num_train,
        batch_size,
        augment,
        int(seed),
        color_jitter,
        crop_padding,
    )
    test_stream = streams.Stream(spec, test, num_test, batch_size, False, int(seed))
    return of_streams(train_stream, test_stream, validation)


def of_streams(
    train: Stream,
    test: Stream,
    validation: Stream | None = None,
    class_weights: np.ndarray | None = None,
) -> Data:
    """Returns the data whose parts are streams."""
    return Data(
        spec=train.spec,
        train=train.epoch_by_epoch(),
        train_plain=train.plain(),
        test=test.plain(),
        num_train=train.size,
        num_test=test.size,
        batch_size=train.batch_size,
        seed=train.seed,
        _stream=train,
        validation=None if validation is None else validation.plain(),
        num_validation=0 if validation is None else validation.size,
        class_weights=class_weights,
    )


def _check_of_maps(**given: tuple[Any, Any]) -> None:
    """Raises ValueError for arguments that sets with a class for each pixel lack."""
    for name, (value, default) in given.items():
        if value != default:
            raise ValueError(
                f"`{name}` must be {default!r} for a set with a class for each pixel. "
                f"Received: {name}={value!r}"
            )
