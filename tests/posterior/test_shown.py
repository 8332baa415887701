"""What predictions and tables show of themselves, as text and in notebooks."""

import dataclasses
import html.parser
import time

import numpy as np
import pytest

import tfhyper
from tests.helpers import predictions
from tfhyper import analysis

KINDS = predictions.every_kind()
VOID = {"br", "hr", "img", "input", "link", "meta"}


class Table(html.parser.HTMLParser):
    """Reads the cells of tables, and fails where elements are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.rows, self._open, self.text, self.tags = [], [], "", set()
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        assert tag not in VOID | {"script", "style", "iframe"}
        assert {name for name, _ in attrs} <= {"style"}
        assert not any("url(" in (value or "") for _, value in attrs)
        self.tags.add(tag)
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self._open and self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_its_first_examples_and_its_uncertainties(kind):
    found = KINDS[kind]
    table = Table(found._repr_html_())
    assert len(table.rows) == 4 * (2 if kind == "several" else 1)
    head, *rows = table.rows
    assert head[0] == "example" and [row[0] for row in rows[:3]] == ["0", "1", "2"]
    assert all(len(row) == len(head) for row in rows[:3])
    assert max(map(len, repr(found).splitlines())) < 160
    # Text and HTML say the same.
    for cell in sum(table.rows, []):
        assert cell in repr(found)
    if kind not in ("several", "anytime"):
        places = [i for i, name in enumerate(head) if name.endswith(("nats)", "^2)"))]
        assert len(places) == 3
        for place, part in zip(places, ("total", "aleatoric", "epistemic")):
            assert part in head[place]
            numbers = [float(row[place]) for row in rows]
            expected = found.uncertainty(part).reshape(3, -1).mean(axis=1)
            np.testing.assert_allclose(numbers, expected, rtol=1e-3)


def test_more_examples_than_rows_and_a_rule_are_told():
    found = predictions.classes(1234, 3, keep_members=False).reject(0.9)
    text = repr(found)
    first, *lines = text.splitlines()
    assert first == "Prediction of 1,234 examples: 3 classes"
    assert lines[-2:] == ["... and 1,229 more", "unknown where total > 0.9"]
    likeliest = found.mean[:5].argmax(axis=1)
    for line, label, total in zip(lines[1:6], likeliest, found.total, strict=False):
        assert (f"unknown ({label})" in line) == (total > 0.9)
    of_map = predictions.classes(2, 4, 5, 3)
    everything = of_map.reject(1e-3)
    assert repr(everything).count("unknown: 100%") == 2
    assert "unknown" not in repr(of_map)
    of_numbers = predictions.targets(3).reject(0.6)
    cells = [row[-1] for row in Table(of_numbers._repr_html_()).rows[1:]]
    assert cells == ["yes" if x > 0.6 else "no" for x in of_numbers.variance]


def test_some_examples_of_a_prediction_are_one_too():
    found = predictions.targets(5, 2, draws=3)
    some = found.take([4, 0])
    np.testing.assert_array_equal(some.mean, found.mean[[4, 0]])
    np.testing.assert_array_equal(some.members, found.members[:, [4, 0]])
    of_classes = predictions.classes(5, 3).take(slice(1, 3))
    assert of_classes.variance.total.shape == (2, 3)
    assert of_classes.covariance().total.shape == (2, 3, 3)
    with pytest.raises(TypeError, match="`examples` must be a slice or a sequence"):
        found.take(2)


def test_words_are_escaped_and_odd_arrays_are_shown_by_their_shapes():
    outputs = {"<b>&": predictions.targets(2), "other": "<script>"}
    text = tfhyper.Predictions(outputs)._repr_html_()
    assert "&lt;b&gt;&amp;" in text and "<script>" not in text
    assert "<script>" in Table(text).text

    good = KINDS["classes"]
    odd = (
        dataclasses.replace(good, mean=np.zeros(3)),
        dataclasses.replace(good, mean=None, total="<i>"),
        dataclasses.replace(good, total=np.zeros((1, 1)), members=[]),
        dataclasses.replace(good, mean=np.full((3, 4), "x")),
    )
    for found in odd:
        table = Table(found._repr_html_())
        assert "Prediction" in table.text and "Prediction" in repr(found)
        assert "i" not in table.tags
    empty = good.take(slice(0, 0))
    assert repr(empty).startswith("Prediction of 0 examples: 4 classes")


def test_a_million_rows_are_shown_at_once():
    numbers = np.zeros(10**6)
    mean = np.full((10**6, 3), 1 / 3, "float32")
    found = tfhyper.Prediction(mean, numbers, numbers, numbers, None)
    start = time.process_time()
    repr(found.reject(0.5, "confidence"))
    found._repr_html_()
    assert time.process_time() - start < 0.1


def test_tables_of_analysis_and_a_rule_show_themselves():
    members = predictions.classes(6, 3, draws=4).members
    faults = analysis.fault_table([0, 1, 2, 0, 1, 2], {"a<b": members})
    table = Table(faults._repr_html_())
    assert [float(x) for x in table.rows[1][1:]] == [
        pytest.approx(x, abs=0.5) for x in faults.per_10000[0]
    ]
    assert table.rows[1][0] == "a<b" and str(faults) == repr(faults)

    curve = analysis.error_curve([0] * 6, members, "nll")
    rows = Table(curve._repr_html_()).rows
    assert rows[0] == ["draws", "NLL (nats), median", "smallest", "largest"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "4"]
    assert float(rows[-1][1]) == pytest.approx(curve.median[-1], rel=1e-3)
    assert str(rows[1][3]) in repr(curve)

    layers = (analysis.LayerComplexity("conv<1>", 1000, 20),)
    cost = analysis.Complexity(layers, 10, ("memory",))
    table = Table(cost._repr_html_())
    assert table.rows[1] == ["conv<1>", "1,000", "20"]
    assert "draws add 0.20% to batches of 10" in table.text
    assert "not counted: memory" in table.text
    assert "draws add" not in repr(analysis.Complexity((), 10))  # 0 of 0

    pairs = np.zeros(7)
    found = analysis.WeightCorrelation(0.25, 0.125, pairs, pairs[:5], 3, 200)
    rows = Table(found._repr_html_()).rows
    assert rows[1:] == [["within", "0.250", "7"], ["across", "0.125", "5"]]
    assert "3 pairs left out" in repr(found) and "0.056 by chance" in repr(found)

    rule = tfhyper.Rejection(0.25, "confidence")
    assert "unknown where 1 - confidence > 0.25" in Table(rule._repr_html_()).text
    assert eval(repr(rule), {"Rejection": tfhyper.Rejection}) == rule
