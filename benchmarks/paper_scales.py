"""The trainings behind the tables of Ukai et al. (2019), at three scales."""

import dataclasses
from typing import Any


class MissingRun(LookupError):
    """A training that a table needs is not there, and none is to be started."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: what it depends on, besides the scale.

    Attributes:
        network: as the paper calls it, a key of `Scale.networks`.
        kit: a key of `tfhyper.kits.KITS`.
        prior: of the codes.
        sharing: which layers share them.
        units: hidden units and size of the codes.
        weight_decay: 0 for maximum likelihood; `None`: the recipe's.
        generator_decay: of the generators' weights alone; `None`: as of the others.
        dataset: of TensorFlow Datasets.
        weight_sets: draws in a step of training, each for its part of the batch.
        epochs: of this training; `None`: the scale's.
        seed: of weights, codes and data order.
    """

    network: str = "WRN-28-4"
    kit: str = "hyper"
    prior: str = "normal"
    sharing: str = "all_in_one"
    units: int = 32
    weight_decay: float | None = None
    generator_decay: float | None = None
    dataset: str = "cifar10"
    weight_sets: int = 1
    epochs: int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """What its folder is called."""
        parts = [self.network]
        if self.kit == "hyper":
            parts += [self.prior, self.sharing, str(self.units)]
        else:
            parts.append(self.kit)
        if self.weight_decay is not None:
            parts.append(f"decay{self.weight_decay:g}")
        if self.generator_decay is not None:
            parts.append(f"theta{self.generator_decay:g}")
        if self.weight_sets > 1:
            parts.append(f"draws{self.weight_sets}")
        if self.epochs is not None:
            parts.append(f"epochs{self.epochs}")
        return "-".join([*parts, self.dataset, f"seed{self.seed}"])

    @property
    def kind(self) -> "Run":
        """What it has in common with the runs that differ in their seeds."""
        return dataclasses.replace(self, seed=0)

    @property
    def can_be_packed(self) -> bool:
        """Whether it can be trained beside others of its kind: see `paper_packs`."""
        # What draws in these is a `LatentCode` or nothing.
        return self.kit in ("hyper", "deterministic") and self.weight_sets == 1

    def settings(self) -> dict[str, Any]:
        """Returns what it depends on, for its folder."""
        settings = dataclasses.asdict(self)
        # As folders of before have it.
        if self.weight_sets == 1:
            del settings["weight_sets"]
        if self.generator_decay is None:
            del settings["generator_decay"]
        del settings["epochs"]  # the folder's settings have them anyhow
        return settings


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large the networks, the data and the number of runs are.

    Attributes:
        networks: the paper's name -> (builder in `tfhyper.models`, its options).
        epochs: of every training; `None`: as the recipes say.
        train_examples: first so many training images; `None` for all.
        test_examples: likewise.
        seeds: trainings whose median is printed.
        sharing_seeds: of those with each sharing, as the forms of averaging cost
            more than the training.
        draws: drawn from each training: groups of N are made of them. The largest N
            is 16, or `draws` if that is less.
        groups: groups of N whose median is printed, the paper's five runs.
        members: of the ensembles of trained networks.
        units: of the figure over hidden units.
        unit_seeds: the trainings with other numbers of units.
        weight_draws: of correlations. Those of 10,000 draws of independent weights
            are 0.008 in the mean by chance.
        generator_decays: decays of the generators' weights alone, for the
            correlations, and the epochs of each. A weight shrinks as
            exp(-steps * rate * decay / (1 - momentum)), in a small budget by much
            less than in the paper's; these make it more, and leave the rest to learn.
        form_draws: the N of averaging inside of the network.
        form_groups: networks of each of them.
        form_examples: training images for BatchNorm's moments of those; `None` for
            all.
    """

    networks: dict[str, tuple[str, dict]]
    epochs: int | None
    train_examples: int | None
    test_examples: int | None
    seeds: tuple[int, ...]
    draws: int
    groups: int = 5
    members: int = 16
    units: tuple[int, ...] = (4, 8, 16, 32, 64, 128)
    unit_seeds: tuple[int, ...] = (0, 1, 2)
    sharing_seeds: tuple[int, ...] = (0, 1, 2)
    weight_draws: int = 10_000
    generator_decays: tuple[tuple[float, int], ...] = ()
    form_draws: tuple[int, ...] = (1, 2, 4, 8, 16)
    form_groups: int = 5
    form_examples: int | None = None


SCALES = {
    # Every line of code, in a few minutes.
    "smoke": Scale(
        networks={
            "WRN-28-10": ("wide_resnet", {"depth": 10, "width": 1}),
            "WRN-28-4": ("wide_resnet", {"depth": 10, "width": 1}),
            "WRN-16-4": ("wide_resnet", {"depth": 10, "width": 1}),
            "ResNeXt-29-8x64d": (
                "resnext",
                {"depth": 11, "cardinality": 2, "base_width": 4},
            ),
            "PyramidNet-110-48": ("pyramidnet", {"depth": 8, "alpha": 6}),
        },
        epochs=1,
        train_examples=256,
        test_examples=200,
        seeds=(0,),
        draws=4,
        groups=2,
        members=2,
        units=(8, 32),
        unit_seeds=(0,),
        sharing_seeds=(0,),
        weight_draws=100,
        form_draws=(1, 2),
        form_groups=1,
    ),
    # An hour or two on two cores.
    "cpu": Scale(
        networks={
            "WRN-28-10": ("wide_resnet", {"depth": 10, "width": 2}),
            "WRN-28-4": ("wide_resnet", {"depth": 10, "width": 1}),
            "WRN-16-4": ("wide_resnet", {"depth": 10, "width": 1}),
            "ResNeXt-29-8x64d": (
                "resnext",
                {"depth": 11, "cardinality": 4, "base_width": 4},
            ),
            "PyramidNet-110-48": ("pyramidnet", {"depth": 14, "alpha": 32}),
        },
        epochs=30,
        train_examples=5000,
        test_examples=5000,
        seeds=(0, 1, 2),
        draws=16,
        members=4,
        units=(8, 32, 128),
        unit_seeds=(0, 1, 2),
        sharing_seeds=(0, 1, 2),
        form_draws=(1, 2, 4, 8),
        form_groups=1,
        form_examples=2048,
        generator_decays=((0.03, 60),),
    ),
    "paper": Scale(
        networks={
            "WRN-28-10": ("wide_resnet", {"depth": 28, "width": 10}),
            "WRN-28-4": ("wide_resnet", {"depth": 28, "width": 4}),
            "WRN-28-1": ("wide_resnet", {"depth": 28, "width": 1}),
            "WRN-16-4": ("wide_resnet", {"depth": 16, "width": 4}),
            "ResNeXt-29-8x64d": (
                "resnext",
                {"depth": 29, "cardinality": 8, "base_width": 64},
            ),
            "PyramidNet-110-48": ("pyramidnet", {"depth": 110, "alpha": 48}),
            "ResNet-50": ("resnet", {"depth": 50}),
        },
        epochs=None,
        train_examples=None,
        test_examples=None,
        seeds=(0, 1, 2),
        draws=80,
    ),
}
