"""Table V: how many test images are misclassified by four, three, two, one of four."""

import numpy as np
from paper_runs import Lab, Run, Scale
from report import markdown_table

from paper_tables.cells import CORNER, cell_text, there
from paper_tables.kinds import MAP, PRIOR_TITLES
from paper_tables.table import Found, Need, Table
from tfhyper import analysis

MEMBERS = 4
# Of four, three, two, one.
PUBLISHED = {
    "N(0,1)": (269, 109, 130, 225),
    "U(-1,1)": (259, 126, 133, 210),
    "U(0,1)": (389, 19, 20, 24),
    "|N(0,1)|": (405, 24, 19, 25),
    "MAP": (196, 123, 173, 314),
}


def trainings(sizes: Scale) -> dict[str, list[Run]]:
    """Returns the trainings of each row."""
    found = {
        title: [Run(prior=prior, seed=seed) for seed in sizes.seeds]
        for prior, title in PRIOR_TITLES.items()
    }
    # One ensemble, as in the paper: its networks are four trainings.
    found["MAP"] = [Run(**MAP, seed=seed) for seed in range(MEMBERS)]
    return found


def members_of(lab: Lab, title: str, runs: list[Run]) -> list[np.ndarray]:
    """Returns the probabilities of four networks, once for each seed."""
    if title != "MAP":
        return there(runs, lambda run: lab.members(run)[:MEMBERS])
    apart = there(runs, lambda run: lab.members(run)[:1])
    return [np.concatenate(apart)] if len(apart) == MEMBERS else []


def make(lab: Lab) -> Found:
    """Returns the counts of 10,000 images, and a figure of the first seeds."""
    rows, results, first = [], {}, {}
    for title, runs in trainings(lab.sizes).items():
        members = members_of(lab, title, runs)
        labels = lab.labels(runs[0]) if members else np.empty(0)
        counts = [
            analysis.fault_table(labels, {title: one}).per_10000[0] for one in members
        ]
        if members:
            first[title] = members[0]
        published = PUBLISHED[title]
        by_times = np.array(counts).reshape(-1, MEMBERS).T
        texts = [
            cell_text(values, number, 0)
            for values, number in zip(by_times, published, strict=True)
        ]
        rows.append([title, *texts])
        results[title] = {
            "seeds": [row.tolist() for row in counts],
            "published": list(published),
        }
    figure = None
    if first:
        table = analysis.fault_table(lab.labels(Run()), first)
        figure = analysis.fault_plot(table, "Misclassified by 4, 3, 2, 1 of four")
    header = [
        CORNER.format("of 10,000"),
        *(f"{times} times" for times in range(MEMBERS, 0, -1)),
    ]
    return Found(markdown_table(header, rows), results, figure)


def needs(sizes: Scale) -> list[Need]:
    """Returns what it asks a `Lab` for."""
    return [Need(run) for runs in trainings(sizes).values() for run in runs]


TABLE = Table("Table V: quadruple faults", make, needs)
