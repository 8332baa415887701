"""Which trainings rows need, a process's part of them, and the work itself."""

from collections.abc import Callable, Container, Iterable
from typing import TypeVar

from one_training_lab import Lab
from one_training_rows import ROWS, Row, Training
from one_training_settings import Setting
from report import markdown_table

from tfhyper.training import WorkdirInUseError

# Each training with the ways to draw from it, in their order.
Jobs = dict[Training, list[str]]

Key = TypeVar("Key")
Value = TypeVar("Value")


def chosen(names: list[str]) -> list[Row]:
    """Returns the rows of some names, or all, in the order of the table.

    Raises:
        ValueError: for a name that no row has.
    """
    unknown = sorted(set(names) - set(ROWS))
    if unknown:
        raise ValueError(f"--rows takes {list(ROWS)}. Received: {unknown}")
    return [row for name, row in ROWS.items() if name in names or not names]


def needed(setting: Setting, rows: Iterable[Row], kept: Container = ()) -> Jobs:
    """Returns the trainings of rows, each with its ways to draw, in their order.

    Args:
        setting: of the trainings.
        rows: whose trainings.
        kept: groups, as (name of the row, *trainings), whose scores are there.
    """
    found: Jobs = {}
    for row in rows:
        for group in row.groups(setting):
            if (row.name, *group) in kept:
                continue
            for training in group:
                drawings = found.setdefault(training, [])
                if row.drawing not in drawings:
                    drawings.append(row.drawing)
    return found


def part_of(jobs: dict[Key, Value], shard: str) -> dict[Key, Value]:
    """Returns the part of one of several processes: every n-th training.

    Args:
        jobs: all of them.
        shard: "i/n" with 0 <= i < n.

    Raises:
        ValueError: for another text.
    """
    try:
        index, count = map(int, shard.split("/"))
        if not 0 <= index < count:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"--shard takes i/n with 0 <= i < n. Received: {shard}"
        ) from None
    return dict(list(jobs.items())[index::count])


def listing(lab: Lab, jobs: Jobs) -> str:
    """Returns the trainings, and what is done of them."""
    rows = [
        [
            training.name,
            "yes" if lab.trained(training) else "",
            ", ".join(d for d in drawings if lab.predicted(training, d)),
            ", ".join(d for d in drawings if not lab.predicted(training, d)),
        ]
        for training, drawings in jobs.items()
    ]
    return markdown_table(["training", "trained", "predicted", "due"], rows)


def work(lab: Lab, jobs: Jobs, after_each: Callable[[], object]) -> list[str]:
    """Trains and predicts what is due, and returns what went wrong.

    Args:
        lab: where.
        jobs: what.
        after_each: called when the predictions of a trained network are there.

    Raises:
        OutOfTime: when no more begins in the time of the lab.
    """
    faults = []
    for training, drawings in jobs.items():
        for drawing in drawings:
            if lab.predicted(training, drawing):
                continue
            lab.check_time()
            try:
                lab.predict(training, drawing)
            except WorkdirInUseError as error:
                print(f"left to another process: {error}")
            except ValueError as error:
                # Of one method, which diverged, say; the others go on.
                faults.append(f"{training.name}, {drawing}: {error}")
                print(f"failed: {faults[-1]}")
            else:
                after_each()
    return faults
