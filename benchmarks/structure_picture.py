"""Draws how the package is built, from the imports in its code.

    python benchmarks/structure_picture.py

A box is a part of the package: a file or a folder. It stands above whatever it
imports; an arrow leads to each part that no other import leads to already. What nearly
every part imports (checks, types, private names of Keras, ...) is named below, without
arrows. A part of which `WORDS` says nothing is taken for one of these.
"""

import os
import pathlib
import textwrap
from collections.abc import Iterable

from absl import app, flags
from report import show_own_flags, write_figure
from structure_counts import arrows_of, files_of, room_of

import tfhyper

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "docs/figures/architecture.png", "The picture.")

# `plot` of a prediction asks the part above it when it is called, and so does a
# predictor that is given a scorer, or loaded with one.
ON_CALL = {
    ("posterior", "analysis"),
    ("posterior", "detection"),
    ("comparison", "analysis"),
}
# What a part is for, in a few words.
WORDS = {
    "alike": "are two layers the same",
    "analysis": "figures of predictions",
    "channelwise": "layers that keep channels apart",
    "cli": "the command tfhyper",
    "comparison": "predictors side by side",
    "conformal": "sets and intervals that cover",
    "conversion": "what becomes of each layer",
    "convert": "a trained model made Bayesian",
    "data": "streams of images",
    "detection": "scores of foreign inputs",
    "divergence": "KL of Gaussians",
    "export": "SavedModel, ONNX, LiteRT, OpenVINO",
    "gan": "two networks against each other",
    "heads": "layers that give distributions",
    "keras_graph": "walks through Keras models",
    "kits": "which layers a network is made of",
    "laplace": "a posterior of the last layer",
    "layers": "an operation and a posterior",
    "luma": "the brightness of pictures",
    "metrics": "scores and their bounds",
    "models": "skeletons of networks",
    "posterior": "draws, and the average over them",
    "pruning": "smaller networks",
    "scaling": "calibrated probabilities",
    "shift": "test data made worse",
    "sklearn": "estimators of scikit-learn",
    "training": "recipes, loops, folders",
    "variational": "learned noise on all weights",
}


def below(room: str, arrows: set[tuple[str, str]]) -> set[str]:
    """Returns all that a part imports, by whatever way."""
    found: set[str] = set()
    due = {room}
    while due:
        here = due.pop()
        new = {b for a, b in arrows if a == here} - found
        found |= new
        due |= new
    return found


def needed(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Returns the arrows that no longer way replaces."""
    return {
        (a, b)
        for a, b in arrows
        if not any(b in below(c, arrows) for x, c in arrows if x == a and c != b)
    }


def levels_of(rooms: Iterable[str], arrows: set[tuple[str, str]]) -> dict[str, int]:
    """Returns part -> the length of the longest chain of imports below it."""
    levels: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in levels:
            levels[room] = 0  # A circle would end here, and be seen in the picture.
            under = [level(b) for a, b in arrows if a == room]
            levels[room] = 1 + max(under) if under else 0
        return levels[room]

    for room in rooms:
        level(room)
    return levels


def in_rows(
    levels: dict[str, int], arrows: set[tuple[str, str]]
) -> dict[str, tuple[float, int]]:
    """Returns part -> its place: parts of a row in the order of what they import."""
    places: dict[str, tuple[float, int]] = {}
    for row in range(max(levels.values()) + 1):
        members = sorted(room for room, level in levels.items() if level == row)

        def wish(room: str) -> float:
            under = [places[b][0] for a, b in arrows if a == room and b in places]
            return sum(under) / len(under) if under else 0.0

        members.sort(key=lambda room: (wish(room), room))
        middle = (len(members) - 1) / 2
        for i, room in enumerate(members):
            places[room] = (i - middle, row)
    return places


def draw(package: pathlib.Path):
    """Returns the figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    rooms = {room_of(package, path) for path in files_of(package)} - {
        "__init__",
        "__main__",
    }
    arrows = arrows_of(package, "tfhyper") - ON_CALL
    # What serves all others has no word of its own.
    helpers = rooms - set(WORDS)
    rooms -= helpers
    arrows = {(a, b) for a, b in arrows if a in rooms and b in rooms}
    arrows = needed(arrows)
    places = in_rows(levels_of(rooms, arrows), arrows)
    height = 1 + max(row for _, row in places.values())
    figure = Figure(figsize=(11, 1.25 * height + 0.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    wide, high, pad = 0.86, 0.46, 0.04
    for a, b in sorted(arrows):
        (x, y), (to_x, to_y) = places[a], places[b]
        # Around the boxes between, on the outer side.
        bend = 0.0 if y - to_y == 1 else (-0.35 if to_x <= 0 else 0.35)
        axes.annotate(
            "",
            xy=(to_x, to_y + high / 2),
            xytext=(x, y - high / 2),
            arrowprops={
                "arrowstyle": "-|>",
                "color": "0.6",
                "linewidth": 0.9,
                "connectionstyle": f"arc3,rad={bend}",
            },
            zorder=1,
        )
    middle = {"ha": "center", "va": "center", "zorder": 3}
    for room, (x, y) in places.items():
        is_folder = (package / room).is_dir()
        axes.add_patch(
            FancyBboxPatch(
                (x - wide / 2 + pad, y - high / 2 + pad),
                wide - 2 * pad,
                high - 2 * pad,
                boxstyle=f"round,pad={pad}",
                facecolor="#D9EAF5" if is_folder else "#F2F2F2",
                edgecolor="0.5",
                zorder=2,
            )
        )
        axes.text(x, y + 0.1, room, fontsize=11, fontweight="bold", **middle)
        words = textwrap.fill(WORDS[room], 26)
        axes.text(x, y - 0.08, words, fontsize=7, **middle)
    left = [x for x, _ in places.values()]
    axes.set_xlim(min(left) - 0.6, max(left) + 0.6)
    axes.set_ylim(-0.75, height - 0.55)
    axes.text(
        0,
        -0.6,
        "below all: " + ", ".join(sorted(helpers)),
        ha="center",
        fontsize=8,
        color="0.3",
    )
    return figure


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    figure = draw(pathlib.Path(tfhyper.__file__).parent)
    os.makedirs(os.path.dirname(FLAGS.out) or ".", exist_ok=True)
    write_figure(FLAGS.out, figure, 110)


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
