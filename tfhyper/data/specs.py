"""What is known of each data set before it is read."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tfhyper.checks import check_integer

# How images are resized.
ResizeMethod = Literal["bilinear", "bicubic"]

# Side of the central window over the shorter side of the image that it is cut from:
# 224 pixels of 256.
_CENTRE = 0.875
_DIGITS = tuple("0123456789")
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


# Of CamVid in its usual split, as SegNet's authors have it.
_CAMVID = (
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


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set of images with a class, or one for each pixel, and its preparation.

    Args:
        name: Name of the set in this library and in TensorFlow Datasets.
        image_shape: `(height, width, channels)` of a prepared image.
        num_classes: Number of classes; labels are `0` to `num_classes - 1`. 0 of a set
            whose labels are images.
        mean: Mean of each channel over the training images, in units of 0 to 1. `None`:
            not known before the set is read.
        std: Standard deviation of each channel, likewise.
        flip: Whether a mirrored image is still an image of its class, so that training
            may flip images left to right (not so for digits).
        train_split: Name of the split trained on.
        test_split: Name of the split tested on.
        class_names: Name of each class by label, or `None`.
        resize: For sets of JPEGs that vary in size: the shorter side is resized to this
            many pixels before the centre is cut out for testing. `None`: the images
            have `image_shape`.
        resize_method: How these are resized, `"bilinear"` or `"bicubic"`.
        source: Where the set comes from.
        license: The terms it comes under, as far as its authors state them.
        ignore_class: Of maps, the label of pixels without a class; or `None`.

    Example:
        >>> from tfhyper.data import DATASETS
        >>> DATASETS["cifar10"].image_shape
        (32, 32, 3)
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    flip: bool
    train_split: str = "train"
    test_split: str = "test"
    class_names: tuple[str, ...] | None = None
    resize: int | None = None
    resize_method: ResizeMethod = "bilinear"
    source: str = ""
    license: str = ""
    ignore_class: int | None = None

    def with_image_size(self, image_size: int | None) -> DatasetSpec:
        """Returns the spec of a set with prepared images of another size.

        Args:
            image_size: Side of the prepared images in pixels, from 16 to 1024; `None`:
                as it is.

        Returns:
            A `DatasetSpec`, whose `resize` is `image_size / 0.875`.

        Raises:
            ValueError: If `image_size` is out of its range, or given for a set whose
                images have one size.

        Example:
            >>> from tfhyper.data import DATASETS
            >>> DATASETS["imagenet2012"].with_image_size(64).resize
            73
        """
        if image_size is None:
            return self
        if self.resize is None:
            raise ValueError(
                "`image_size` must be None for a set whose images have one size: "
                f"{self.image_shape} for '{self.name}'. Received: "
                f"image_size={image_size!r}"
            )
        size = check_integer("image_size", image_size, 16, 1024)
        return dataclasses.replace(
            self,
            image_shape=(size, size, self.image_shape[-1]),
            resize=round(size / _CENTRE),
        )


_SPECS = (
    DatasetSpec(
        name="fashion_mnist_small",
        image_shape=(28, 28, 1),
        num_classes=10,
        mean=(0.28668,),
        std=(0.35401,),
        flip=True,
        class_names=_FASHION,
        source=(
            "Within this package: the first 1,000 training and the first 250 test "
            "images of each class of Fashion-MNIST, Xiao et al. 2017, "
            "arXiv:1708.07747."
        ),
        license="MIT, (c) 2017 Zalando SE; see FASHION_MNIST_LICENSE.",
    ),
    DatasetSpec(
        name="fashion_mnist",
        image_shape=(28, 28, 1),
        num_classes=10,
        mean=(0.28604,),
        std=(0.35302,),
        flip=True,
        class_names=_FASHION,
        source="TensorFlow Datasets; Xiao et al. 2017, arXiv:1708.07747.",
        license="MIT, (c) 2017 Zalando SE.",
    ),
    DatasetSpec(
        name="mnist",
        image_shape=(28, 28, 1),
        num_classes=10,
        mean=(0.1307,),
        std=(0.3081,),
        flip=False,
        class_names=_DIGITS,
        source="TensorFlow Datasets; LeCun et al. 1998.",
        license="See the authors' page.",
    ),
    DatasetSpec(
        name="cifar10",
        image_shape=(32, 32, 3),
        num_classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        flip=True,
        class_names=_CIFAR10,
        source="TensorFlow Datasets; Krizhevsky 2009.",
        license="None stated by the authors, who ask to be cited.",
    ),
    DatasetSpec(
        name="cifar100",
        image_shape=(32, 32, 3),
        num_classes=100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        flip=True,
        source="TensorFlow Datasets; Krizhevsky 2009.",
        license="None stated by the authors, who ask to be cited.",
    ),
    DatasetSpec(
        name="svhn_cropped",
        image_shape=(32, 32, 3),
        num_classes=10,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        flip=False,
        class_names=_DIGITS,
        source="TensorFlow Datasets; Netzer et al. 2011.",
        license="Non-commercial use only, by the authors' page.",
    ),
    DatasetSpec(
        name="imagenet2012",
        image_shape=(224, 224, 3),
        num_classes=1000,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        flip=True,
        test_split="validation",
        resize=256,
        source="TensorFlow Datasets, prepared by hand; Russakovsky et al. 2015.",
        license="Non-commercial research and education, by the ImageNet terms.",
    ),
    DatasetSpec(
        name="camvid",
        # Those of SegNet's authors; the files say what it is.
        image_shape=(360, 480, 3),
        num_classes=11,
        mean=None,
        std=None,
        flip=True,
        class_names=_CAMVID,
        source="Folders of images and masks; Brostow et al. 2009, 11 classes and void.",
        license="None stated by the authors, who ask to be cited.",
        ignore_class=11,
    ),
)

#: The sets known by name, `{name: spec}`. Any other image-classification set of
#: TensorFlow Datasets loads by its name too.
DATASETS: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}
