"""The colours of the page can be told from what is behind them.

By the contrast ratio of WCAG 2.2: 4.5 for text (criterion 1.4.3), 3 for what a drawing
says by colour (1.4.11).
"""

import pathlib
import re

import pytest

STYLE = pathlib.Path(__file__).parents[2] / "examples/serve/page/style.css"
SCHEMES = dict(
    zip(
        ("light", "dark"),
        [
            dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
            for block in re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
        ],
        strict=True,
    )
)
# Text and its ground; parts of drawings and theirs.
TEXT = [
    *((ink, ground) for ink in ("ink", "quiet") for ground in ("ground", "card")),
    ("ink", "wrong"),
    ("wrong-edge", "card"),
]
DRAWN = [
    *((line, "card") for line in ("total", "aleatoric", "epistemic", "focus")),
    ("bar", "card"),
    ("bar", "rail"),
    ("dot", "bar"),
    ("dot", "rail"),
    ("wrong-edge", "wrong"),
]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lower, upper = sorted([luminance(one), luminance(other)])
    return (upper + 0.05) / (lower + 0.05)


def test_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("pairs", "least"), [(TEXT, 4.5), (DRAWN, 3)], ids=["text", "drawn"]
)
def test_colours_differ_enough(scheme, pairs, least):
    colours = SCHEMES[scheme]
    found = {(a, b): contrast(colours[a], colours[b]) for a, b in pairs}
    assert {pair: value for pair, value in found.items() if value < least} == {}
