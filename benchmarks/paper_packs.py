"""Trainings that differ in their seeds alone, side by side on one device: JAX.

Small networks leave most of a large device idle. Here the states of several trainings
are stacked, and one compiled step, `jax.vmap` of that of one network, takes all of them
a step further. Each has its own first weights, codes and order of data, those that it
would have alone, and its own folder: a pack that was stopped goes on, and so does each
of its runs without the others.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax_steps import State, put_state, state_of, step_of
from paper_cost import cost
from paper_runs import Lab, Run

from tfhyper import keras_private, layers, saving, training
from tfhyper.layers.generated_kernel import GeneratedKernel
from tfhyper.training.workdir import Checkpoint


def train_together(lab: Lab, runs: list[Run]) -> None:
    """Trains runs that differ in their seeds, until all have come to their end.

    Side by side as many as fit on the device, by `paper_cost`, then the next. They
    begin where the one that is least far stands. Losses and accuracies go into
    the histories as from `model.fit`.

    Args:
        lab: where to.
        runs: of one `Run.kind`, not yet trained.

    Raises:
        ValueError: for runs of several kinds, or if a loss is not finite.
        WorkdirInUseError: if another training is at work on one of them.
    """
    if len({run.kind for run in runs}) != 1 or not runs[0].can_be_packed:
        names = ", ".join(run.name for run in runs)
        raise ValueError(f"A pack is of runs that differ in their seeds: {names}")
    most = fitting(cost(lab, runs[0]).memory)
    for start in range(0, len(runs), most):
        pack = runs[start : start + most]
        print(f"== {len(pack)} together: {', '.join(run.name for run in pack)}")
        folders = [lab.folder(run) for run in pack]
        with contextlib.ExitStack() as locks:
            for folder in folders:
                locks.enter_context(folder.lock())
            _train(lab, pack, folders)


def fitting(memory: int) -> int:
    """Returns how many trainings of so many bytes fit on the device, at least 1.

    Four fifths of its memory are for them; of a CPU it is not known, and all fit.
    """
    stats = jax.devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", math.inf)
    return max(1, int(min(0.8 * limit / memory, 2**16)))


def _train(lab: Lab, runs: list[Run], folders: list[training.Workdir]) -> None:
    epochs = lab.epochs(runs[0])
    begin = min(folder.newest().epoch for folder in folders)
    held, seeds = [], []
    for run, folder in zip(runs, folders, strict=True):
        model = _model_at(lab, run, folder, begin)
        held.append(jax.device_get(state_of(model, model.optimizer)))
        seeds.append([code.seed for code in _codes(model)])
    state = jax.tree.map(lambda *values: jnp.stack(values), *held)
    histories = [folder.history(begin) for folder in folders]
    # `model` is the last of them, and now stands for all.
    step = jax.jit(_step_of_pack(model), donate_argnums=0)
    seeds = jnp.array(seeds, "int32")
    for epoch in range(begin, epochs):
        streams = [lab.data(run).epoch(epoch) for run in runs]
        scores, sizes = [], []
        for batches in zip(*streams, strict=True):
            x, y = (np.stack([np.asarray(b[i]) for b in batches]) for i in (0, 1))
            state, score = step(state, seeds, x, y)
            scores.append(score)
            sizes.append(y.shape[1])
        losses, right = (np.array(part) for part in zip(*scores, strict=True))
        if not np.isfinite(losses).all():
            copy = int(np.argmin(np.isfinite(losses).all(axis=0)))
            what = f"a loss is not finite in epoch {epoch + 1}"
            raise ValueError(folders[copy].diverged(what))
        sizes = np.array(sizes)
        lab.check()
        for i, (folder, history) in enumerate(zip(folders, histories, strict=True)):
            logs = {
                "accuracy": float(right[:, i].sum() / sizes.sum()),
                "loss": float(losses[:, i] @ sizes / sizes.sum()),
            }
            for name, value in logs.items():
                history.setdefault(name, []).append(value)
            due = (epoch + 1) % lab.save_every == 0 or epoch + 1 == epochs
            if due and lab.epochs_done(runs[i]) <= epoch:
                own = _of_copy(model, i, state, seeds)
                with own:
                    folder.save(model, epoch + 1, history)
        shown = ", ".join(f"{h['loss'][-1]:.4f}" for h in histories)
        print(f"epoch {epoch + 1}/{epochs}: losses {shown}", flush=True)


def _model_at(lab: Lab, run: Run, folder: training.Workdir, epoch: int) -> keras.Model:
    """Returns the model of a run after so many epochs."""
    if not epoch:
        return lab.build(run)
    found = [c for c in folder.checkpoints() if c[:1] == (epoch,) and not c.step]
    if not found:
        raise ValueError(f"{folder.path} has no checkpoint of epoch {epoch} any more")
    checkpoint: Checkpoint = found[0]
    return saving.load_model(checkpoint.path, compile=True)


def _codes(model: keras.Model) -> list[layers.LatentCode | GeneratedKernel]:
    """Returns the layers that have the seed of a code, in one order.

    A generated kernel has one for a code of its own, which is not drawn here, but
    stands in its config.
    """
    found = keras_private.flatten_layers(model)
    kinds = layers.LatentCode | GeneratedKernel
    return [layer for layer in found if isinstance(layer, kinds)]


@contextlib.contextmanager
def _seeded(model: keras.Model, seeds: Any) -> Iterator[None]:
    """Within it, the codes of a model are drawn from other seeds.

    A seed is a number of a layer, and no variable: what is traced meanwhile has the
    seeds as arguments.
    """
    codes = _codes(model)
    before = [code.seed for code in codes]
    try:
        for code, seed in zip(codes, seeds, strict=True):
            code.seed = seed
        yield
    finally:
        for code, seed in zip(codes, before, strict=True):
            code.seed = seed


@contextlib.contextmanager
def _of_copy(model: keras.Model, i: int, state: State, seeds: Any) -> Iterator[None]:
    """Within it, a model is that of one of the runs of a pack."""
    put_state(model, model.optimizer, jax.tree.map(lambda value: value[i], state))
    with _seeded(model, [int(seed) for seed in seeds[i]]):
        yield


def _step_of_pack(model: keras.Model) -> Any:
    """Returns a step of all the runs: of stacked states, seeds, images and labels."""
    step = step_of(model, model.optimizer)

    def of_one(state: State, seeds: Any, x: Any, y: Any) -> Any:
        with _seeded(model, list(seeds)):
            return step(state, x, y)

    return jax.vmap(of_one)
