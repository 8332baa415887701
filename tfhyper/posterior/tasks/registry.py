"""The tasks that a predictor knows, by the values of its argument `outputs`."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfhyper.checks import check_choice
from tfhyper.posterior.tasks import output_kind
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.posterior.tasks.distribution import Distribution
from tfhyper.posterior.tasks.labels import Labels
from tfhyper.posterior.tasks.padding import Padding
from tfhyper.posterior.tasks.regression import Regression
from tfhyper.posterior.tasks.several import Several, output_names
from tfhyper.posterior.tasks.task import Task, output_shapes

# Each is asked in this order whether a model is one of its own.
TASKS: list[type[Task]] = [Distribution, Labels, Regression, Classification]
# An argument of a predictor that not all tasks take -> for which it is, in words.
OPTIONS = {
    "link": "for classifiers",
    "noise_variance": 'for `outputs="mean"`',
    "ignore_class": "for classes and labels",
    "scaling": "for classes and labels",
}


def make_task(model: keras.Model, outputs: Any = None, **options: Any) -> Task:
    """Returns the task of a model, by a predictor's arguments.

    Args:
        model: the model.
        outputs: one of the `names` of a task; `None` for the first that the model's
            graph and loss speak for. Of several outputs a dict of these, by the
            model's names, or a list.
        **options: all the arguments that only some tasks take, by their names. Of
            several outputs each is a dict, too.

    Raises:
        ValueError: for another name, an option that is for other tasks, a model or an
            option that the task refuses, or a model that does not say what it gives.
    """
    if isinstance(outputs, Mapping | list | tuple) or (
        outputs is None and len(model.outputs) > 1
    ):
        return _make_several(model, outputs, options)
    by_name = {name: task for task in TASKS for name in task.names}
    certain = True
    if outputs is None:
        outputs, certain = find_outputs(model)
    check_choice("outputs", outputs, tuple(by_name))
    task = by_name[outputs]
    family = output_kind.evidence_of(model).family
    if family is not None and task is not Distribution:
        raise ValueError(
            '`outputs` must be "distribution", or left out, where the model ends in a '
            f"head. Received: outputs={outputs!r}, a head of {family}"
        )
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
    return prepared(make(model, outputs, **own), model, certain)


def prepared(task: Task, model: keras.Model, certain: bool = True) -> Task:
    """Returns a task that was told what every task knows of its model.

    Args:
        task: the task.
        model: its model, of one output.
        certain: whether it is certain what the model gives.
    """
    task.known, task.shapes = certain, tuple(output_shapes(model))
    task.padding = Padding(model)
    return task


def _make_several(model: keras.Model, outputs: Any, options: dict[str, Any]) -> Several:
    """Returns the task of a model with several outputs."""
    names = output_names(model)
    for option, value in options.items():
        given = value.keys() if isinstance(value, Mapping) else ()
        if value != getattr(Task, option) and not given or not set(given) <= set(names):
            raise ValueError(
                f"`{option}` must be a dict with names of the model's outputs, "
                f"{names}. Received: {option}={value!r}"
            )

    def make(of_output: keras.Model, name: str, told: str | None) -> Task:
        own = {
            option: value.get(name, getattr(Task, option))
            if isinstance(value, Mapping)
            else value
            for option, value in options.items()
        }
        return make_task(of_output, told, **own)

    found = Several(model, outputs, make)
    found.shapes = tuple(output_shapes(model))
    return found


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
    return {name: task.option(name) for name in OPTIONS}
