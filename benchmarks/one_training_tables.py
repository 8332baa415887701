"""Tables and the figure of `one_training.py`."""

from typing import Any

import foreign_inputs
import numpy as np
from matplotlib.figure import Figure
from report import markdown_table

from tfhyper.analysis import _figures

# Kinds of foreign images, as tables call them.
KINDS = {
    "noise": "noise",
    "shuffled": "shuffled pixels",
    "other": "another data set",
    "turned": "turned",
    "left_out": "classes left out",
}


def main_table(found: dict[str, Any]) -> str:
    """Returns the scores of the rows; cells that are due are empty."""
    seconds = _of(found, "map", "train_seconds")
    header = [
        "method",
        "gradients / time",
        "draws",
        "x1: error % / NLL / ECE / T",
        "average: error % / NLL / ECE / T",
        "recovered: error / NLL / T",
        "trainings",
        "disagree",
        "with flips",
        "file, MB",
        "s / 1,000 images",
        "groups",
    ]
    rows = []
    for scores in found.values():
        median = scores["median"]
        time = median["train_seconds"] / seconds if seconds else float("nan")
        draws = round(median["main_draws"])
        recovered = scores["recovered"]
        rows.append(
            [
                scores["title"],
                f"{median['gradient_evaluations']:g} / {number(time, 2)}",
                draws,
                four(median["draws"]["1"]),
                four(median) if draws > 1 else "",
                " / ".join(f"{100 * x:.0f}" for x in recovered.values())
                + " %" * bool(recovered),
                number(scores["equivalent"], 1),
                number(median["disagreement"], 3) if draws > 1 else "",
                four(median["flips"]["both"]),
                f"{median['bytes'] / 1e6:.2f}",
                number(median["predict_seconds_per_1000"], 2),
                f"{len(scores['groups'])} of {scores['of_groups']}",
            ]
        )
    return markdown_table(header, rows)


def spread_table(found: dict[str, Any]) -> str:
    """Returns the range of the averages over the groups of each row."""
    rows = []
    for scores in found.values():
        low_high = scores["range"]
        cells = [
            " to ".join(f"{scale * x:.{places}f}" for x in low_high[key])
            for key, scale, places in (
                ("error", 100, 1),
                ("nll", 1, 3),
                ("nll_temperature", 1, 3),
                ("ece", 1, 3),
            )
        ]
        rows.append([scores["title"], *cells])
    return markdown_table(
        ["method, range of the average", "error %", "NLL", "T", "ECE"], rows
    )


def held_out_table(found: dict[str, Any]) -> str:
    """Returns the scores of the validation images, by which choices are made."""
    rows = []
    for scores in found.values():
        median = scores["median"]
        turns = median["flips"].get("turns", median["flips"]["both"])
        if "validation" in median and "validation" in turns:
            cells = (three(x["validation"]) for x in (median, turns))
            rows.append([scores["title"], *cells])
    header = ["held-out images: error % / NLL / ECE", "as they are", "flipped by turns"]
    return markdown_table(header, rows)


def draws_table(found: dict[str, Any]) -> str:
    """Returns error and NLL by the number of draws."""
    counts = sorted({int(n) for x in found.values() for n in x["median"]["draws"]})
    rows = []
    for scores in found.values():
        draws = scores["median"]["draws"]
        cells = [
            f"{100 * draws[str(n)]['error']:.1f} / {draws[str(n)]['nll']:.3f}"
            if str(n) in draws
            else ""
            for n in counts
        ]
        rows.append([scores["title"], *cells])
    return markdown_table(["error % / NLL", *(f"x{n}" for n in counts)], rows)


def foreign_table(found: dict[str, Any]) -> str:
    """Returns the AUROC of each score on each kind, and the epistemic's medians."""
    kinds = [k for k in KINDS if any(k in x["median"]["auroc"] for x in found.values())]
    header = ["AUROC: " + " / ".join(foreign_inputs.SCORES), *(KINDS[k] for k in kinds)]
    header += ["epistemic, nats: test", *(KINDS[k] for k in kinds)]
    rows = []
    for scores in found.values():
        auroc = scores["median"]["auroc"]
        medians = scores["median"]["epistemic_median"]
        cells = [
            " / ".join(
                number(auroc.get(kind, {}).get(score), 3)
                for score in foreign_inputs.SCORES
            )
            for kind in kinds
        ]
        cells += [number(medians.get(kind), 4) for kind in ("test", *kinds)]
        rows.append([scores["title"], *cells])
    return markdown_table(header, rows)


def three(scores: dict[str, float]) -> str:
    """Returns "error % / NLL / ECE"."""
    return f"{100 * scores['error']:.1f} / {scores['nll']:.3f} / {scores['ece']:.3f}"


def four(scores: dict[str, float]) -> str:
    """Returns "error % / NLL / ECE / NLL after temperature"."""
    return f"{three(scores)} / {scores['nll_temperature']:.3f}"


def number(value: float | None, places: int) -> str:
    """Returns a number, or "-" if there is none."""
    return "-" if value is None or np.isnan(value) else f"{value:.{places}f}"


def _of(found: dict[str, Any], row: str, key: str) -> float | None:
    return found[row]["median"][key] if row in found else None


def figure(found: dict[str, Any], title: str) -> Figure:
    """Returns NLL by the number of draws, and the AUROC of foreign images."""
    drawn = _figures.new_figure((10.5, 4.2), title)
    left, right = drawn.subplots(1, 2)
    curves = {k: x for k, x in found.items() if len(x["median"]["draws"]) > 2}
    for i, (name, scores) in enumerate(curves.items()):
        draws = scores["median"]["draws"]
        left.plot(
            [int(n) for n in draws],
            [x["nll"] for x in draws.values()],
            "o-" if i < len(_figures.COLORS) else "s--",
            color=_figures.COLORS[i % len(_figures.COLORS)],
            markersize=3,
            label=scores["title"],
        )
    for name in ("map", "two", "three", "four", "half"):
        if name in found:
            nll = found[name]["median"]["nll"]
            style = ":" if name == "half" else "-"
            left.axhline(nll, color="0.6", linewidth=0.8, linestyle=style)
            text = found[name]["title"].strip("*")
            left.annotate(text, (1, nll), fontsize=6, color="0.4", va="bottom")
    counts = sorted({int(n) for x in curves.values() for n in x["median"]["draws"]})
    left.set_xscale("log", base=2)
    left.set_xticks(counts, [str(n) for n in counts])
    left.set(xlabel="draws", ylabel="NLL, nats", title="Test images")
    if curves:
        left.legend(frameon=False, fontsize=6)
    kinds = [k for k in KINDS if any(k in x["median"]["auroc"] for x in found.values())]
    for i, kind in enumerate(kinds):
        right.plot(
            [_auroc(x, kind) for x in found.values()],
            range(len(found)),
            "o",
            color=_figures.COLORS[i],
            markersize=4,
            label=KINDS[kind],
        )
    right.set_yticks(range(len(found)), [x["title"].strip("*") for x in found.values()])
    right.tick_params(axis="y", labelsize=6)
    right.invert_yaxis()
    right.set(
        xlabel="AUROC by mutual information\n(of one network: entropy)",
        title="Foreign images",
    )
    right.legend(frameon=False, fontsize=6)
    for axes in (left, right):
        _figures.tidy(axes)
    return drawn


def _auroc(scores: dict[str, Any], kind: str) -> float:
    found = scores["median"]["auroc"].get(kind, {})
    return found.get("epistemic", found.get("total", float("nan")))
