"""The trainings behind the tables of Ukai et al. (2019), at three scales."""

import dataclasses
import functools
import os
from typing import Any

import keras
import numpy as np

import tfhyper
from tfhyper import analysis, kits, metrics, models, training
from tfhyper.whole_files import whole_file


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
        dataset: of TensorFlow Datasets.
        weight_sets: draws in a step of training, each for its part of the batch.
        seed: of weights, codes and data order.
    """

    network: str = "WRN-28-4"
    kit: str = "hyper"
    prior: str = "normal"
    sharing: str = "all_in_one"
    units: int = 32
    weight_decay: float | None = None
    dataset: str = "cifar10"
    weight_sets: int = 1
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
        if self.weight_sets > 1:
            parts.append(f"draws{self.weight_sets}")
        return "-".join([*parts, self.dataset, f"seed{self.seed}"])

    def settings(self) -> dict[str, Any]:
        """Returns what it depends on, for its folder."""
        settings = dataclasses.asdict(self)
        if self.weight_sets == 1:
            del settings["weight_sets"]  # as folders of before have it
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
        seeds=(0, 1),
        draws=16,
        members=4,
        units=(8, 32, 128),
        unit_seeds=(0,),
        sharing_seeds=(0,),
        form_draws=(1, 2, 4, 8),
        form_groups=1,
        form_examples=2048,
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


@dataclasses.dataclass(frozen=True)
class Lab:
    """Where runs are trained and kept.

    Attributes:
        scale: key of `SCALES`.
        data_dir: folder of prepared data sets.
        workdir: folder of the trainings.
        batch_size: images in a batch; `None`: as the recipes say.
        verbose: of `model.fit`.
    """

    scale: str
    data_dir: str | None
    workdir: str
    batch_size: int | None = None
    verbose: int = 2

    @property
    def sizes(self) -> Scale:
        """What the scale's name stands for."""
        return SCALES[self.scale]

    def recipe(self, run: Run) -> training.Recipe:
        """Returns the recipe of a run: that of its network's study."""
        # Of the network that the paper means, however small the scale's is.
        builder, _ = SCALES["paper"].networks[run.network]
        return training.recipe_for(builder, run.dataset)

    def epochs(self, run: Run) -> int:
        """Returns how long a run is trained: as its recipe says, or the scale."""
        if self.sizes.epochs is None:
            return self.recipe(run).epochs
        return self.sizes.epochs

    def batch(self, run: Run) -> int:
        """Returns how many images a batch of a run has."""
        return self.batch_size or self.recipe(run).batch_size

    def data(self, run: Run) -> tfhyper.data.Data:
        """Returns the data of a run, prepared as its recipe says."""
        return _load(
            run.dataset,
            self.data_dir,
            self.batch(run),
            self.sizes.train_examples,
            self.sizes.test_examples,
            run.seed,
            self.recipe(run).data,
        )

    def model(self, run: Run) -> keras.Model:
        """Trains a run, takes it up where it was stopped, or reads what it gave."""
        data, recipe, epochs = self.data(run), self.recipe(run), self.epochs(run)

        def build():
            keras.utils.set_random_seed(run.seed)
            builder, options = self.sizes.networks[run.network]
            network = models.NETWORKS[builder](
                num_classes=data.spec.num_classes,
                input_shape=data.spec.image_shape,
                kit=make_kit(run, data.num_train),
                **{**recipe.network_options, **options},
            )
            return recipe.compile(
                recipe.initialize(network, run.seed),
                epochs,
                data.steps_per_epoch,
                batch_size=self.batch(run),
                weight_decay=run.weight_decay,
            )

        workdir = self.folder(run)
        print(f"== {run.name}")
        # Other backends than TensorFlow have no such option.
        more = {"weight_sets": run.weight_sets} if run.weight_sets > 1 else {}
        model, _ = training.fit_in_workdir(
            workdir, build, data, epochs, verbose=self.verbose, **more
        )
        return model

    def folder(self, run: Run) -> training.Workdir:
        """Returns the folder of a run, or raises ValueError if it is another one's.

        So what was made by another recipe is not taken for what this one gives.
        """
        settings = {
            **run.settings(),
            "scale": self.scale,
            "epochs": self.epochs(run),
            "batch_size": self.batch(run),
            "recipe": self.recipe(run).settings(),
        }
        return training.Workdir(self._file(run, ""), settings)

    def labels(self, run: Run) -> np.ndarray:
        """Returns the labels of the test images of a run."""
        return np.concatenate([y for _, y in self.data(run).test])

    def members(self, run: Run) -> np.ndarray:
        """Returns the probabilities (draws, examples, classes) of a run's draws."""
        draws = 1 if run.kit == "deterministic" else self.sizes.draws

        def predict():
            data = self.data(run)
            batch_norm = "moving_average" if draws == 1 else "reestimate"
            predictor = tfhyper.PosteriorPredictor(
                self.model(run), draws, batch_norm=batch_norm, seed=run.seed
            )
            if draws > 1:
                # One epoch as in training: section 3.5.
                predictor.estimate_batch_norm(data.epoch(0))
            return predictor.predict(data.test, verbose=1).members

        return self._kept(run, f"members_{draws}", predict)

    def form_curve(self, run: Run, form: str) -> analysis.ErrorCurve:
        """Returns the error by N of a form of averaging."""
        sizes = self.sizes

        def predict(count, group):
            data = self.data(run)
            predictor = tfhyper.PosteriorPredictor(
                self.model(run), count, form, seed=1000 * group + run.seed
            )
            images = data.epoch(0)
            if sizes.form_examples is not None:
                images = images.take(-(-sizes.form_examples // self.batch(run)))
            predictor.estimate_batch_norm(images)
            return predictor.predict(data.test, verbose=1).mean

        labels = self.labels(run)
        scores = np.empty((sizes.form_groups, len(sizes.form_draws)))
        for group in range(sizes.form_groups):
            for i, count in enumerate(sizes.form_draws):
                probs = self._kept(
                    run,
                    f"{form}_{count}_group{group}",
                    functools.partial(predict, count, group),
                )
                scores[group, i] = metrics.error(labels, probs)
        median = np.median(scores, axis=0)
        return analysis.ErrorCurve(np.array(sizes.form_draws), median, scores, "Error")

    def _kept(self, run, name, compute) -> np.ndarray:
        """Returns what was computed before for a run, or computes it."""
        path = self.folder(run).file(f"{name}.npy")
        if not os.path.exists(path):
            value = compute()
            with whole_file(path) as temporary, open(temporary, "wb") as file:
                np.save(file, value)
        return np.load(path)

    def _file(self, run, name):
        return os.path.join(self.workdir, run.name, name)


def make_kit(run: Run, num_train: int) -> kits.LayerKit:
    """Returns the layers of a run: hypernetworks in the paper's own form."""
    if run.kit == "hyper":
        return kits.hyper(
            run.sharing,
            run.prior,
            code_units=run.units,
            hidden_units=run.units,
            mean_kernel=False,
            seed=run.seed,
        )
    if run.kit == "deterministic":
        return kits.deterministic()
    return kits.KITS[run.kit](num_train, seed=run.seed)


@functools.lru_cache(maxsize=2)
def _load(
    dataset, data_dir, batch_size, train_examples, test_examples, seed, preparation
):
    return tfhyper.data.load(
        dataset,
        data_dir=data_dir,
        batch_size=batch_size,
        train_examples=train_examples,
        test_examples=test_examples,
        seed=seed,
        **preparation.load_options(),
    )
