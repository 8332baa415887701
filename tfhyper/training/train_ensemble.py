"""The same training several times, from different weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from tfhyper.checks import (
    check_function,
    check_instance,
    check_integer,
    check_path,
    check_positive_integer,
    check_verbose,
)
from tfhyper.layers.seeds import derive_seed
from tfhyper.training.fit_in_workdir import TrainingData, fit_in_workdir
from tfhyper.training.strategies import check_is_strategy, is_chief
from tfhyper.training.trainer import check_callbacks
from tfhyper.training.workdir import Workdir, path_of

if TYPE_CHECKING:
    import tensorflow as tf

_MAX_MEMBERS = 10_000  # each has a folder, made before the first is trained


def train_ensemble(
    build: Callable[[int], keras.Model],
    data: Callable[[int], TrainingData],
    epochs: int,
    num_members: int,
    workdir: str,
    *,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    keep: int = 2,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    verbose: int = 1,
    **trainer_options: Any,
) -> list[str]:
    """Trains the members of an ensemble, one after another, each in a folder.

    Member i is trained in `workdir/member_i` by `fit_in_workdir`, with initial
    weights and an order of the data of its own: the ensemble of Lakshminarayanan
    et al. (2017), and with `compile_recipe` Ensemble-MAP of Ukai et al. (2019,
    section 4.4), or Ensemble-MLE with its `weight_decay=0`.

    A call that was killed goes on when it is made again: members that are done stay
    as they are, and the one that was at work goes on from its last epoch, to the
    weights that it would have had (with `tfhyper.layers.Dropout`: that of Keras does
    not save its state). Member i does not depend on how many there are, so more can
    be trained later.

    Args:
        build: called with a member's seed, returns a compiled model. The seeds of
            Python, NumPy and Keras are set to it before, so that layers without a
            seed of their own begin with different weights.
        data: called with a member's seed, returns what `fit_in_workdir` reads, with
            that seed's order.
        epochs: int > 0, epochs of each member.
        num_members: int from 1 to 10,000.
        workdir: the folder of the members' folders, made if it is not there.
        seed: int in 0 <= seed < 2**31, from which the members' seeds are derived.
        settings: what another call must have the same to go on in this folder,
            names to JSON values, besides `epochs` and `seed`.
        keep: int > 0, checkpoints to keep of each member.
        callbacks: more Keras callbacks, for one member after another.
        strategy: from `tfhyper.training.make_strategy`; `None`: one device. `build`
            is called in its scope.
        verbose: as in `model.fit`; 0 for silence.
        **trainer_options: more arguments of `tfhyper.training.Trainer`.

    Returns:
        The paths of the trained models, `.keras` files, as
        `tfhyper.DeepEnsemble` takes them.

    Raises:
        TypeError: if `build` or `data` is no function.
        ValueError: for an argument out of range; if the folder was made with other
            settings, or a member's folder is a link; if none of a member's
            checkpoints can be used, or a training diverges.
        WorkdirInUseError: if another call is training the member that is next.

    Example:

    >>> def build(seed):
    ...     model = tfhyper.models.lenet5(input_shape=(28, 28, 1))
    ...     return tfhyper.training.compile_recipe(model, 1, steps_per_epoch=4)
    >>> def data(seed):
    ...     return tfhyper.data.load(
    ...         "fashion_mnist_small", seed=seed, train_examples=512
    ...     )
    >>> paths = tfhyper.training.train_ensemble(
    ...     build, data, 1, 2, "runs/map", verbose=0
    ... )
    >>> tfhyper.DeepEnsemble(paths).num_draws
    2

    Reference:
        Lakshminarayanan, Pritzel, Blundell: Simple and scalable predictive
        uncertainty estimation using deep ensembles, NeurIPS 2017.
    """
    epochs = check_positive_integer("epochs", epochs)
    num_members = check_integer("num_members", num_members, 1, _MAX_MEMBERS)
    check_function("build", build)
    check_function("data", data)
    seed = check_integer("seed", seed, 0, 2**31 - 1)
    workdir = check_path("workdir", workdir)
    if settings is not None:
        check_instance("settings", settings, Mapping, "a dict")
    check_is_strategy(strategy)
    check_callbacks(callbacks)
    check_verbose(verbose)
    for i in range(num_members):
        _check_inside(workdir, f"member_{i}")
    folders = [
        Workdir(
            os.path.join(workdir, f"member_{i}"),
            {**(settings or {}), "epochs": epochs, "seed": seed, "member": i},
            keep,
            chief=strategy is None or is_chief(strategy),
        )
        for i in range(num_members)
    ]
    options = {**trainer_options, "strategy": strategy, "callbacks": callbacks}
    options["verbose"] = verbose
    for i, folder in enumerate(folders):
        member = f"member_{i} ({i + 1} of {num_members})"
        if folder.newest()[0] >= epochs:
            if verbose:
                print(f"{member}: trained before, {folder.newest()[1]}", flush=True)
            continue
        if verbose:
            print(f"{member}: training in {folder.path}", flush=True)
        _train(folder, build, data, epochs, derive_seed(seed, i), options)
        if verbose:
            print(f"{member}: written {folder.newest()[1]}", flush=True)
    return [path_of(folder.newest()) for folder in folders]


def _train(
    folder: Workdir,
    build: Callable[[int], keras.Model],
    data: Callable[[int], TrainingData],
    epochs: int,
    seed: int,
    options: dict[str, Any],
) -> None:
    def build_member() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return build(seed)

    fit_in_workdir(folder, build_member, data(seed), epochs, **options)


def _check_inside(workdir: str, name: str) -> None:
    path = os.path.join(workdir, name)
    if os.path.islink(path):
        raise ValueError(
            f"`workdir` must hold the members' folders itself: {name} is a link. "
            f"Received: workdir={workdir!r}"
        )
