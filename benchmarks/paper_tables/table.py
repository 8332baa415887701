"""What a table or a figure of the paper is."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from paper_runs import Lab, Run, Scale


@dataclasses.dataclass
class Found:
    """What a table holds.

    Attributes:
        text: in Markdown.
        results: for the JSON.
        figure: a figure of matplotlib, or `None`.
    """

    text: str
    results: dict[str, Any]
    figure: Any = None


@dataclasses.dataclass(frozen=True)
class Need:
    """What a table asks a `Lab` for, of one training.

    Attributes:
        run: the training.
        method: that of `Lab` which is called: its draws' predictions, the error by N of
            a form of averaging, or the network itself.
        form: of averaging, for `form_curve`.
    """

    run: Run
    method: Literal["members", "form_curve", "model"] = "members"
    form: str | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or a figure of the paper.

    Attributes:
        title: what it shows.
        make: called with a `Lab`, returns a `Found`. What is missing of its trainings
            leaves a cell empty.
        needs: called with a `Scale`, returns all that it asks a `Lab` for.
    """

    title: str
    make: Callable[[Lab], Found]
    needs: Callable[[Scale], list[Need]]

    def runs(self, sizes: Scale) -> list[Run]:
        """Returns the trainings behind it, each once."""
        return list(dict.fromkeys(need.run for need in self.needs(sizes)))
