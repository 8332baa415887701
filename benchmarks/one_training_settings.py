"""The settings of `one_training.py`: data, network and length of one training."""

import dataclasses
from typing import Any, Literal

# Deep ensembles of up to so many networks: what one training is held against.
ENSEMBLE = 4


@dataclasses.dataclass(frozen=True)
class Setting:
    """What every row of a table is trained and tested on.

    Attributes:
        note: how tables call it.
        dataset: as `tfhyper.data.load` calls it.
        train_examples: first so many training images; `None` for all that are not
            held out.
        validation_examples: last so many training images, held out: the temperature
            is fitted on them, and choices are made by them.
        test_examples: first so many test images; `None` for all.
        other: the data set whose test images are foreign.
        network: key of `tfhyper.models.NETWORKS`.
        options: of the network.
        epochs: of one training. A row may share them out.
        batch_size: images in a batch.
        augment: `"flips"`: to the other side alone; `"crops"`: shifted, too.
        weight_decay: of all rows.
        seeds: of the trainings whose median and range are told.
        draws: numbers of draws, ascending.
        main_draws: the number that the table tells, and the foreign images see.
        singles: draws whose median is one draw's score.
        batch_norm_examples: first so many training images, for a draw's moments.
        foreign_examples: images of each foreign kind.
        left_out: classes that are not trained on: their test images are foreign.
    """

    note: str
    dataset: str
    train_examples: int | None
    validation_examples: int
    test_examples: int | None
    other: str
    network: str
    options: dict[str, Any]
    epochs: int
    batch_size: int = 128
    augment: Literal["flips", "crops"] = "flips"
    weight_decay: float = 5e-4
    seeds: tuple[int, ...] = (0, 1, 2)
    draws: tuple[int, ...] = (1, 4, 16, 64)
    main_draws: int = 16
    singles: int = 5
    batch_norm_examples: int | None = 5000
    foreign_examples: int = 1000
    left_out: tuple[int, ...] = ()

    def of_training(self) -> dict[str, Any]:
        """Returns what a trained network depends on, as JSON values."""
        names = (
            "dataset",
            "train_examples",
            "validation_examples",
            "network",
            "options",
            "batch_size",
            "augment",
            "weight_decay",
            "left_out",
        )
        return {name: getattr(self, name) for name in names}

    def of_prediction(self) -> dict[str, Any]:
        """Returns what kept predictions depend on, as JSON values."""
        names = (
            "test_examples",
            "other",
            "draws",
            "main_draws",
            "batch_norm_examples",
            "foreign_examples",
        )
        return {name: getattr(self, name) for name in names}


_SMALL = {"depth": 10, "width": 1}
_FASHION = Setting(
    note="embedded Fashion images, 9,000, WRN-10-1, 20 epochs",
    dataset="fashion_mnist_small",
    train_examples=None,
    validation_examples=1000,
    test_examples=None,
    other="cifar10",
    network="wide_resnet",
    options=_SMALL,
    epochs=20,
)
_CIFAR5000 = Setting(
    note="CIFAR-10 (JPEG), 5,000 images, WRN-10-1, 40 epochs",
    dataset="cifar10",
    train_examples=5000,
    validation_examples=2000,
    test_examples=5000,
    other="fashion_mnist_small",
    network="wide_resnet",
    options=_SMALL,
    epochs=40,
)
# For a GPU: the whole of the data, with the crops that all do on it.
_WHOLE = dataclasses.replace(
    _CIFAR5000,
    note="CIFAR-10, WRN-28-4, 200 epochs",
    train_examples=None,
    test_examples=None,
    options={"depth": 28, "width": 4},
    epochs=200,
    augment="crops",
    draws=(1, 4, 16),
)

SETTINGS: dict[str, Setting] = {
    # Every line of code, in a few minutes; what it prints means nothing.
    "smoke": dataclasses.replace(
        _FASHION,
        note="smoke: 256 embedded images, 2 epochs",
        train_examples=256,
        validation_examples=100,
        test_examples=100,
        epochs=2,
        batch_size=64,
        seeds=(0,),
        draws=(1, 2, 4),
        main_draws=2,
        singles=2,
        batch_norm_examples=128,
        foreign_examples=40,
    ),
    "fashion": _FASHION,
    "fashion_crops": dataclasses.replace(
        _FASHION, note=f"{_FASHION.note}, shifted too", augment="crops"
    ),
    "fashion_left_out": dataclasses.replace(
        _FASHION, note=f"{_FASHION.note}, without trousers and bags", left_out=(1, 8)
    ),
    "cifar5000": _CIFAR5000,
    "cifar5000_left_out": dataclasses.replace(
        _CIFAR5000, note=f"{_CIFAR5000.note}, without cars and dogs", left_out=(1, 5)
    ),
    "cifar10000": dataclasses.replace(
        _CIFAR5000,
        note="CIFAR-10 (JPEG), 10,000 images, WRN-16-2, 30 epochs, one seed",
        train_examples=10_000,
        options={"depth": 16, "width": 2},
        epochs=30,
        seeds=(0,),
        draws=(1, 4, 16),
    ),
    "cifar10_wrn28_4": _WHOLE,
    "cifar10_wrn28_10": dataclasses.replace(
        _WHOLE,
        note="CIFAR-10, WRN-28-10, 200 epochs",
        options={"depth": 28, "width": 10},
    ),
    "cifar100_wrn28_4": dataclasses.replace(
        _WHOLE,
        note="CIFAR-100, WRN-28-4, 200 epochs",
        dataset="cifar100",
        other="cifar10",
    ),
    "cifar100_wrn28_10": dataclasses.replace(
        _WHOLE,
        note="CIFAR-100, WRN-28-10, 200 epochs",
        dataset="cifar100",
        other="cifar10",
        options={"depth": 28, "width": 10},
    ),
}
