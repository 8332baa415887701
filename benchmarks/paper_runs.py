"""Where the trainings of Ukai et al. (2019) are made, and what they give is kept."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import keras
import npz_data
import numpy as np
from paper_scales import SCALES, MissingRun, Run, Scale

import tfhyper
from tfhyper import analysis, kits, metrics, models, training
from tfhyper.whole_files import whole_file

__all__ = ["SCALES", "Lab", "MissingRun", "Run", "Scale", "make_kit"]


def _nothing() -> None:
    """Checks nothing."""


@dataclasses.dataclass(frozen=True)
class Lab:
    """Where runs are trained and kept.

    Attributes:
        scale: key of `SCALES`.
        data_dir: folder of prepared data sets, or of `NAME.npz`: see `npz_data`.
        workdir: folder of the trainings.
        batch_size: images in a batch; `None`: as the recipes say.
        verbose: of `model.fit`.
        precision: "float32", or "bfloat16" for mixed precision.
        jit_compile: of `model.compile`; on Torch steps are compiled if it is true.
        computes: whether what is not kept is computed; else it is a `MissingRun`.
        save_every: epochs from one checkpoint to the next.
        check: called after each epoch and before anything is kept; what it raises ends
            the work on a run.
    """

    scale: str
    data_dir: str | None
    workdir: str
    batch_size: int | None = None
    verbose: int = 2
    precision: Literal["float32", "bfloat16"] = "float32"
    jit_compile: bool | Literal["auto"] = "auto"
    computes: bool = True
    save_every: int = 1
    check: Callable[[], None] = _nothing

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
        """Returns how long a run is trained: as it or the scale says, or its recipe."""
        if run.epochs is not None:
            return run.epochs
        if self.sizes.epochs is None:
            return self.recipe(run).epochs
        return self.sizes.epochs

    def batch(self, run: Run) -> int:
        """Returns how many images a batch of a run has."""
        return self.batch_size or self.recipe(run).batch_size

    def from_npz(self, run: Run) -> bool:
        """Returns whether the data of a run are read without TensorFlow.

        A file `NAME.npz` comes first, on every backend. The set of the package is
        read by TensorFlow where that is the backend.
        """
        if os.path.exists(os.path.join(self.data_dir or "", f"{run.dataset}.npz")):
            return True
        there = npz_data.is_there(run.dataset, self.data_dir)
        return there and keras.backend.backend() != "tensorflow"

    def data(self, run: Run) -> tfhyper.data.Data | npz_data.NpzData:
        """Returns the data of a run, prepared as its recipe says."""
        return _load(
            self.from_npz(run),
            run.dataset,
            self.data_dir,
            self.batch(run),
            self.sizes.train_examples,
            self.sizes.test_examples,
            run.seed,
            self.recipe(run).data,
        )

    def network(
        self, run: Run, num_classes: int, image_shape: tuple[int, ...], num_train: int
    ) -> keras.Model:
        """Returns the network of a run, with the first weights of its layers."""
        builder, options = self.sizes.networks[run.network]
        policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[self.precision]
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return models.NETWORKS[builder](
                num_classes=num_classes,
                input_shape=image_shape,
                kit=make_kit(run, num_train),
                **{**self.recipe(run).network_options, **options},
            )
        finally:
            keras.config.set_dtype_policy(before)

    def build(self, run: Run) -> keras.Model:
        """Returns the compiled model of a run, not trained."""
        data, recipe = self.data(run), self.recipe(run)
        keras.utils.set_random_seed(run.seed)
        shape = data.spec.image_shape
        network = self.network(run, data.spec.num_classes, shape, data.num_train)
        return recipe.compile(
            recipe.initialize(network, run.seed),
            self.epochs(run),
            data.steps_per_epoch,
            batch_size=self.batch(run),
            weight_decay=run.weight_decay,
            generator_decay=run.generator_decay,
            jit_compile=self.jit_compile,
        )

    def model(self, run: Run) -> keras.Model:
        """Trains a run, takes it up where it was stopped, or reads what it gave."""
        if not self.computes and not self.is_trained(run):
            raise MissingRun(f"{run.name} is not trained")
        print(f"== {run.name}")
        # Other backends than TensorFlow have no such option.
        more = {"weight_sets": run.weight_sets} if run.weight_sets > 1 else {}
        model, _ = training.fit_in_workdir(
            self.folder(run),
            functools.partial(self.build, run),
            self.data(run),
            self.epochs(run),
            save_every=self.save_every,
            callbacks=[_CheckEachEpoch(self.check)],
            verbose=self.verbose,
            **more,
        )
        return model

    def epochs_done(self, run: Run) -> int:
        """Returns after how many epochs the newest checkpoint of a run was written."""
        if not os.path.isdir(self._file(run, "")):
            return 0
        return max((c.epoch for c in self.folder(run).checkpoints()), default=0)

    def is_trained(self, run: Run) -> bool:
        """Returns whether a run has come to its end."""
        return self.epochs_done(run) >= self.epochs(run)

    def folder(self, run: Run) -> training.Workdir:
        """Returns the folder of a run, or raises ValueError if it is another one's.

        So what was made by another recipe is not taken for what this one gives.
        """
        settings: dict[str, Any] = {
            **run.settings(),
            "scale": self.scale,
            "epochs": self.epochs(run),
            "batch_size": self.batch(run),
            "recipe": self.recipe(run).settings(),
        }
        # Named where they are others than those of TensorFlow, in float32.
        if keras.backend.backend() != "tensorflow":
            settings["backend"] = keras.backend.backend()
        if self.precision != "float32":
            settings["precision"] = self.precision
        if self.from_npz(run):
            settings["data"] = "npz"
        return training.Workdir(self._file(run, ""), settings)

    def labels(self, run: Run) -> np.ndarray:
        """Returns the labels of the test images of a run."""

        def read() -> np.ndarray:
            return np.concatenate([y for _, y in self.data(run).test])

        path = os.path.join(self.workdir, f"labels-{run.dataset}.npy")
        if not self.computes and not os.path.exists(path):
            raise MissingRun(f"no labels of {run.dataset} are kept yet")
        return self._load_or(path, read, run)

    def members(self, run: Run) -> np.ndarray:
        """Returns the probabilities (draws, examples, classes) of a run's draws."""
        draws = self.draws(run)

        def predict() -> np.ndarray:
            data = self.data(run)
            batch_norm = "moving_average" if draws == 1 else "reestimate"
            predictor = tfhyper.PosteriorPredictor(
                self.model(run), draws, batch_norm=batch_norm, seed=run.seed
            )
            if draws > 1:
                # One epoch as in training: section 3.5.
                predictor.estimate_batch_norm(data.epoch(0))
            return predictor.predict(data.test, verbose=1).members

        return self._kept(run, _members(draws), predict)

    def draws(self, run: Run) -> int:
        """Returns how many draws are made of a run."""
        return 1 if run.kit == "deterministic" else self.sizes.draws

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
                    _form(form, count, group),
                    functools.partial(predict, count, group),
                )
                scores[group, i] = metrics.error(labels, probs)
        median = np.median(scores, axis=0)
        return analysis.ErrorCurve(np.array(sizes.form_draws), median, scores, "Error")

    def has_members(self, run: Run) -> bool:
        """Returns whether the draws of a run are kept."""
        return self._has(run, [_members(self.draws(run))])

    def has_form(self, run: Run, form: str) -> bool:
        """Returns whether all of a form of averaging is kept."""
        sizes = self.sizes
        groups = range(sizes.form_groups)
        names = [_form(form, n, group) for n in sizes.form_draws for group in groups]
        return self._has(run, names)

    def _has(self, run: Run, names: Iterable[str]) -> bool:
        if not os.path.isdir(self._file(run, "")):
            return False
        folder = self.folder(run)
        return all(os.path.exists(folder.file(f"{name}.npy")) for name in names)

    def _kept(
        self, run: Run, name: str, compute: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Returns what was computed before for a run, or computes it."""
        if not self.computes and not self._has(run, [name]):
            raise MissingRun(f"{run.name} has no {name} yet")
        return self._load_or(self.folder(run).file(f"{name}.npy"), compute, run)

    def _load_or(
        self, path: str, compute: Callable[[], np.ndarray], run: Run
    ) -> np.ndarray:
        if not os.path.exists(path):
            value = compute()
            self.check()
            # In the run's own folder meanwhile, where nobody else writes.
            folder = self.folder(run).path
            with whole_file(path, folder) as temporary, open(temporary, "wb") as file:
                np.save(file, value)
        return np.load(path)

    def _file(self, run, name):
        return os.path.join(self.workdir, run.name, name)


class _CheckEachEpoch(keras.callbacks.Callback):
    """Calls a function after each epoch, before that is saved."""

    def __init__(self, check: Callable[[], None]):
        super().__init__()
        self.check = check

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.check()


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


def _members(draws: int) -> str:
    return f"members_{draws}"


def _form(form: str, count: int, group: int) -> str:
    return f"{form}_{count}_group{group}"


@functools.lru_cache(maxsize=2)
def _load(
    from_npz,
    dataset,
    data_dir,
    batch_size,
    train_examples,
    test_examples,
    seed,
    preparation,
):
    load = npz_data.load if from_npz else tfhyper.data.load
    return load(
        dataset,
        data_dir=data_dir,
        batch_size=batch_size,
        train_examples=train_examples,
        test_examples=test_examples,
        seed=seed,
        **preparation.load_options(),
    )
