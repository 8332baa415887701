"""The trainings of the paper, divided between workers that share a folder."""

import collections
import contextlib
import dataclasses
import functools
import gc
import os
import time
import traceback
from collections.abc import Callable, Iterable

import keras
from paper_claims import Claim, ClaimLostError, Claims
from paper_runs import Lab, Run
from paper_tables import TABLES
from paper_tables.table import Need

from tfhyper import training


@dataclasses.dataclass(frozen=True)
class Work:
    """A run, and what tables need of it besides the training.

    Attributes:
        run: what is trained.
        tables: the names of those.
        needs: what they ask a `Lab` for.
    """

    run: Run
    tables: tuple[str, ...]
    needs: tuple[Need, ...]

    @property
    def name(self) -> str:
        """That of the run."""
        return self.run.name

    @property
    def forms(self) -> list[str]:
        """The forms of averaging that are asked for."""
        return [need.form for need in self.needs if need.form is not None]

    @property
    def draws(self) -> bool:
        """Whether the predictions of draws are asked for."""
        return any(need.method == "members" for need in self.needs)

    def is_done(self, lab: Lab) -> bool:
        """Returns whether all of it is kept."""
        return (
            lab.is_trained(self.run)
            and (not self.draws or lab.has_members(self.run))
            and all(lab.has_form(self.run, form) for form in self.forms)
        )

    def do(self, lab: Lab) -> None:
        """Trains the run, and computes what is not kept of the rest."""
        lab.model(self.run)
        if self.draws:
            lab.members(self.run)
            lab.labels(self.run)
        for form in self.forms:
            lab.form_curve(self.run, form)


def work_of(lab: Lab, names: Iterable[str]) -> list[Work]:
    """Returns the runs behind some tables, each once, in the order of the tables."""
    users: dict[Run, list[str]] = {}
    needs: dict[Run, list[Need]] = {}
    for name in names:
        for need in TABLES[name].needs(lab.sizes):
            users.setdefault(need.run, []).append(name)
            needs.setdefault(need.run, []).append(need)
    return [
        Work(run, tuple(dict.fromkeys(users[run])), tuple(dict.fromkeys(needs[run])))
        for run in users
    ]


def units_of(work: list[Work], most: int = 1) -> list[list[Work]]:
    """Returns work in units that one process does at a time.

    Args:
        work: all of it.
        most: how many runs that differ in their seeds alone are one unit.
    """
    kinds: dict[Run, list[Work]] = {}
    for one in work:
        # One that is trained alone is a kind of its own.
        key = one.run.kind if one.run.can_be_packed else one.run
        kinds.setdefault(key, []).append(one)
    return [
        same[start : start + most]
        for same in kinds.values()
        for start in range(0, len(same), most)
    ]


def divide(
    units: list[list[Work]], costs: dict[str, float], shards: int
) -> list[list[list[Work]]]:
    """Returns the units of each shard: about the same cost, the dearest first.

    A function of its arguments alone. Each in turn goes to the shard that has least.

    Args:
        units: all of them.
        costs: name of a run -> operations.
        shards: how many there are.
    """

    def cost(unit: list[Work]) -> float:
        return sum(costs[one.name] for one in unit)

    parts: list[list[list[Work]]] = [[] for _ in range(shards)]
    total = [0.0] * shards
    for unit in sorted(units, key=lambda unit: (-cost(unit), unit[0].name)):
        least = total.index(min(total))
        parts[least].append(unit)
        total[least] += cost(unit)
    return parts


def do_all(
    lab: Lab,
    own: list[list[Work]],
    others: list[list[Work]],
    claims: Claims,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, str]:
    """Does what is not done: a worker's own part, then what others leave.

    What another worker is at stays with it. When nothing else is left the worker waits
    for one timeout, so that it sees whether those are alive, and takes over what the
    dead ones had.

    Args:
        lab: where to.
        own: the worker's units, in this order.
        others: those of the others, the last of them first.
        claims: of the folder.
        wait: called with seconds.

    Returns:
        Names of what failed -> why. Each is tried once.
    """
    failed: dict[str, str] = {}
    # From their ends, which those that have them come to last.
    order = [*own, *reversed(others)]
    waited = False
    while True:
        left = [_left(lab, unit, failed) for unit in order]
        left = [unit for unit in left if unit]
        if not left:
            return failed
        if any([_try(lab, unit, claims, failed) for unit in left]):
            waited = False
        elif waited:
            names = ", ".join(one.name for unit in left for one in unit)
            print(f"others are at work on {names}")
            return failed
        else:
            print(f"waiting {claims.timeout:g} s for others", flush=True)
            wait(claims.timeout)
            waited = True


def _left(lab: Lab, unit: list[Work], failed: dict[str, str]) -> list[Work]:
    return [one for one in unit if one.name not in failed and not one.is_done(lab)]


def _try(lab: Lab, unit: list[Work], claims: Claims, failed: dict[str, str]) -> bool:
    """Does what of a unit nobody has, and returns whether there was any."""
    with contextlib.ExitStack() as stack:
        held: list[Work] = []
        mine: list[Claim] = []
        # What was done while this worker was at something else is done.
        for one in _left(lab, unit, failed):
            claim = claims.take(one.name)
            if claim is not None:
                held.append(one)
                mine.append(stack.enter_context(claim.held()))

        def check() -> None:
            for claim in mine:
                claim.check()

        lab = dataclasses.replace(lab, check=check)
        alone = [one for one in held if not lab.is_trained(one.run)]
        if len(alone) > 1:
            _attempt(alone, failed, lambda: _train_together(lab, alone))
        for one in held:
            if one.name not in failed:
                _attempt([one], failed, functools.partial(one.do, lab))
    # What one training leaves in the process is nothing to the next.
    keras.utils.clear_session()
    gc.collect()
    return bool(held)


def _train_together(lab: Lab, unit: list[Work]) -> None:
    from paper_packs import train_together  # JAX alone has it

    train_together(lab, [one.run for one in unit])


def _attempt(unit: list[Work], failed: dict[str, str], do: Callable[[], None]) -> None:
    """Does something, and notes for a unit why that failed."""
    names = ", ".join(one.name for one in unit)
    try:
        do()
    except ClaimLostError as error:  # another worker does it
        print(error)
        return
    except (training.WorkdirInUseError, FileNotFoundError) as error:
        # Another command is at it, or a data set is not here.
        why = str(error)
        print(f"left: {names}: {why}")
    except Exception as error:
        why = repr(error)
        print(f"failed: {names}")
        traceback.print_exc()
    else:
        return
    failed.update({one.name: why for one in unit})


def state(lab: Lab, work: Work, claims: Claims) -> str:
    """Returns how far a piece of work is, in words."""
    if work.is_done(lab):
        return "done"
    epochs = lab.epochs_done(work.run)
    words = [f"{epochs} epochs"] if epochs else []
    holder = claims.holder(work.name)
    if holder is not None:
        host, pid = (holder.get(name, "?") for name in ("host", "pid"))
        words.append(f"at work: {host} {pid}, {holder['seconds_ago']:g} s ago")
    return ", ".join(words)


def missing(work: Iterable[Work], lab: Lab) -> collections.Counter:
    """Returns how many runs of each table are not done."""
    counts: collections.Counter = collections.Counter()
    for one in work:
        if not one.is_done(lab):
            counts.update(one.tables)
    return counts


def claims_folder(workdir: str) -> str:
    """Returns where the claims on the runs of a folder are."""
    return os.path.join(workdir, "claims")
