"""What a row is: trainings, and how draws are made of the trained networks."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import keras
import numpy as np
from one_training_settings import ENSEMBLE, Setting

import tfhyper
from tfhyper import kits, models, training


@dataclasses.dataclass(frozen=True)
class Training:
    """One training of one network.

    Attributes:
        method: key of `METHODS`.
        epochs: its length.
        seed: of weights, noise and the order of the data.
    """

    method: str
    epochs: int
    seed: int

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.method}-{self.epochs}-seed{self.seed}"


@dataclasses.dataclass(frozen=True)
class Job:
    """What a method is told of a training.

    Attributes:
        setting: what all rows have in common.
        training: its length and seed.
        image_shape: (height, width, channels).
        num_classes: that are trained on.
        num_examples: training images.
        steps_per_epoch: batches in an epoch.
    """

    setting: Setting
    training: Training
    image_shape: tuple[int, int, int]
    num_classes: int
    num_examples: int
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Length of the training."""
        return self.training.epochs

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.training.seed

    def network(self, kit: kits.LayerKit) -> keras.Model:
        """Returns the setting's network, its first weights made from the seed."""
        keras.utils.set_random_seed(self.seed)
        return models.NETWORKS[self.setting.network](
            num_classes=self.num_classes,
            input_shape=self.image_shape,
            kit=kit,
            **self.setting.options,
        )

    def by_recipe(
        self,
        kit: kits.LayerKit,
        schedule: keras.optimizers.schedules.LearningRateSchedule | None = None,
    ) -> keras.Model:
        """Returns the network of a kit, compiled as MAP is: SGD and weight decay.

        Args:
            kit: of the network.
            schedule: of the rate; `None` for that of the recipe.
        """
        return training.compile_recipe(
            self.network(kit),
            self.epochs,
            self.steps_per_epoch,
            weight_decay=self.setting.weight_decay,
            schedule=schedule,
        )


Method: TypeAlias = Callable[[Job], keras.Model]
# The learning rate of a job, where it is not that of the recipe.
Rate: TypeAlias = Callable[[Job], keras.optimizers.schedules.LearningRateSchedule]
# What keeps weights while a method trains, made of a job and a folder.
Keeper: TypeAlias = Callable[[Job, str], training.KeepWeights]
# (trained model, number of draws, seed, images in a batch) -> predictor.
Drawing: TypeAlias = Callable[[keras.Model, int, int, int], tfhyper.PosteriorPredictor]
# (predictor, held-out images and labels, training images for moments) -> the model to
# draw from.
Fitter: TypeAlias = Callable[
    [tfhyper.PosteriorPredictor, tuple[np.ndarray, np.ndarray], np.ndarray], keras.Model
]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: as `--rows` takes it.
        title: as the table prints it.
        method: key of `METHODS`: how each network is trained.
        drawing: key of `DRAWINGS`: how draws are made of it.
        networks: how many networks, trained apart, are averaged over.
        share: of the setting's epochs, the length of each training.
        random: whether a trained network has as many draws as are asked for.
        evaluations: gradients of a batch in a step.
    """

    name: str
    title: str
    method: str
    drawing: str
    networks: int = 1
    share: float = 1.0
    random: bool = True
    evaluations: int = 1

    def groups(self, setting: Setting) -> list[list[Training]]:
        """Returns the trainings of each of the groups whose median is told.

        Networks of one training have the setting's seeds. Ensembles share trainings:
        of four, three groups of two are (0, 1), (1, 2) and (2, 3). There is one group
        of all four.
        """
        epochs = max(1, round(self.share * setting.epochs))
        if self.networks == 1:
            seeds = [(seed,) for seed in setting.seeds]
        elif self.share < 1:
            m = self.networks
            seeds = [tuple(range(m * s, m * s + m)) for s in setting.seeds]
        else:
            m = self.networks
            seeds = [
                tuple(sorted((seed + i) % ENSEMBLE for i in range(m)))
                for seed in setting.seeds
            ]
        return [
            [Training(self.method, epochs, seed) for seed in group]
            for group in dict.fromkeys(seeds)
        ]

    def num_draws(self, setting: Setting, members: int = 1) -> list[int]:
        """Returns the numbers of draws that the row has, ascending.

        Args:
            setting: of the trainings.
            members: draws of each network, where there are no more.
        """
        return list(setting.draws) if self.random else [self.networks * members]

    def main_draws(self, setting: Setting, members: int = 1) -> int:
        """Returns the number of draws that the table tells; arguments as above."""
        if self.random:
            return setting.main_draws
        return self.networks * min(members, setting.main_draws)

    def cost(self) -> float:
        """Returns the gradient evaluations, those of one plain training as 1."""
        return self.networks * self.share * self.evaluations
