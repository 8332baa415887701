"""The tasks that a predictor knows, by the values of its argument `outputs`."""

from collections.abc import Callable
from typing import Any

import keras

from tfhyper.checks import check_choice
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.posterior.tasks.regression import Regression
from tfhyper.posterior.tasks.task import Task

# The first is that of `outputs=None`.
TASKS: list[type[Task]] = [Classification, Regression]
# An argument of a predictor that not all tasks take -> for which it is, in words.
_FOR_WHOM = {"link": "for classifiers", "noise_variance": 'for `outputs="mean"`'}


def make_task(model: keras.Model, outputs: str | None = None, **options: Any) -> Task:
    """Returns the task of a model, by a predictor's arguments.

    Args:
        model: the model.
        outputs: one of the `names` of a task; `None` for the first of `TASKS`, which
            looks at the model.
        **options: all the arguments that only some tasks take, by their names.

    Raises:
        ValueError: for another name, an option that is for other tasks, or a model or
            an option that the task refuses.
    """
    by_name = {name: task for task in TASKS for name in task.names}
    if outputs is not None:
        check_choice("outputs", outputs, tuple(by_name))
    task = TASKS[0] if outputs is None else by_name[outputs]
    for name, value in options.items():
        left_out = isinstance(value, str | float | int) and value == getattr(Task, name)
        if name not in task.takes and not left_out:
            raise ValueError(
                f"`{name}` is {_FOR_WHOM[name]}. "
                f"Received: {name}={value!r}, outputs={outputs!r}"
            )
    own = {name: value for name, value in options.items() if name in task.takes}
    make: Callable[..., Task] = task
    return make(model, outputs, **own)
