"""The tasks that a predictor knows, by the values of its argument `outputs`."""

from collections.abc import Callable
from typing import Any

import keras

from tfhyper.checks import check_choice
from tfhyper.posterior.tasks import output_kind
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.posterior.tasks.labels import Labels
from tfhyper.posterior.tasks.regression import Regression
from tfhyper.posterior.tasks.task import Task, output_shapes

# Each is asked in this order whether a model is one of its own.
TASKS: list[type[Task]] = [Labels, Regression, Classification]
# An argument of a predictor that not all tasks take -> for which it is, in words.
OPTIONS = {
    "link": "for classifiers",
    "noise_variance": 'for `outputs="mean"`',
    "ignore_class": "for classes and labels",
}


def make_task(model: keras.Model, outputs: str | None = None, **options: Any) -> Task:
    """Returns the task of a model, by a predictor's arguments.

    Args:
        model: the model.
        outputs: one of the `names` of a task; `None` for the first that the model's
            graph and loss speak for.
        **options: all the arguments that only some tasks take, by their names.

    Raises:
        ValueError: for another name, an option that is for other tasks, a model or an
            option that the task refuses, or a model that does not say what it gives.
    """
    by_name = {name: task for task in TASKS for name in task.names}
    certain = True
    if outputs is None:
        outputs, certain = find_outputs(model)
    check_choice("outputs", outputs, tuple(by_name))
    task = by_name[outputs]
    for name, value in options.items():
        single = isinstance(value, str | float | int | None)
        left_out = single and value == getattr(Task, name)
        if name not in task.takes and not left_out:
            raise ValueError(
                f"`{name}` is {OPTIONS[name]}. "
                f"Received: {name}={value!r}, outputs={outputs!r}"
            )
    own = {name: value for name, value in options.items() if name in task.takes}
    make: Callable[..., Task] = task
    made = make(model, outputs, **own)
    made.known, made.shapes = certain, tuple(output_shapes(model))
    return made


def find_outputs(model: keras.Model) -> tuple[str, bool]:
    """Returns what a model's graph and loss speak for, and whether it is certain.

    Raises:
        ValueError: if they speak for no task.
    """
    evidence = output_kind.evidence_of(model)
    for task in TASKS:
        if (found := task.found_in(evidence)) is not None:
            return found
    shapes = [tuple(shape) for shape in evidence.shapes]
    raise ValueError(
        "`outputs` must say what the model gives, where neither its last layer nor its "
        f"loss does: one of {[name for task in TASKS for name in task.names]}. "
        f"Received: outputs=None, a model with outputs of the shapes {shapes}"
    )


def option_values(task: Task) -> dict[str, Any]:
    """Returns what a task was made with, of `OPTIONS`, as JSON values."""
    return {name: getattr(task, name) for name in OPTIONS}
