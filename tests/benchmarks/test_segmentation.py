"""Segmentation by kits: the benchmark on maps that are made up, and its scores."""

import json
import pathlib
import sys

import numpy as np
import pytest

from tests.helpers.processes import run_python
from tfhyper import metrics

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import maps_scores  # noqa: E402


class Said:
    """A prediction of maps, out of a hat."""

    def __init__(self, rng, shape, classes):
        probs = rng.dirichlet(np.ones(classes), shape)
        self.label = probs.argmax(-1)
        self.total, self.epistemic = rng.uniform(0, 2, (2, *shape))


def test_scores_of_batches_are_those_of_all_pixels():
    rng = np.random.default_rng(0)
    # Blocks of 6 x 6 pixels, so that there are borders and places within.
    blocks = rng.integers(0, 4, (6, 4, 5))
    labels = blocks.repeat(6, axis=1).repeat(6, axis=2)
    said = Said(rng, labels.shape, 3)
    scores = maps_scores.MapScores(3, void=3, unseen=2)
    for part in (slice(0, 2), slice(2, 6)):
        piece = Said.__new__(Said)
        piece.label, piece.total = said.label[part], said.total[part]
        piece.epistemic = said.epistemic[part]
        scores.add(labels[part], piece)
    found = scores.result()
    some = (slice(None), *[slice(None, None, maps_scores.STRIDE)] * 2)
    y, total, epistemic = (x[some] for x in (labels, said.total, said.epistemic))
    known = y < 2
    expected = metrics.ood_detection(epistemic[known], epistemic[y == 2])["auroc"]
    assert found["epistemic_auroc_of_unseen"] == pytest.approx(expected)
    # A border: another class beside, above or below, void apart.
    border = np.zeros(labels.shape, bool)
    for i, row, column in np.ndindex(labels.shape):
        for a, b in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            if 0 <= row + a < labels.shape[1] and 0 <= column + b < labels.shape[2]:
                pair = {labels[i, row, column], labels[i, row + a, column + b]}
                border[i, row, column] |= len(pair) == 2 and 3 not in pair
    at = total[known & border[some]]
    assert found["total_at_borders"] == pytest.approx(at.mean())
    within = total[known & ~border[some]]
    assert found["total_within"] == pytest.approx(within.mean())
    expected = metrics.ood_detection(within, at)["auroc"]
    assert found["total_auroc_of_borders"] == pytest.approx(expected)
    assert found["total_of_void"] == pytest.approx(total[y == 3].mean())
    counted = np.where(labels == 2, 3, labels)
    area = metrics.ause(
        (said.label != counted).astype(float),
        said.total,
        mask=counted != 3,
        per_example=True,
    )
    assert found["ause"] == pytest.approx(np.nanmean(area))


def test_rows_are_made_kept_and_printed(tmp_path):
    output = tmp_path / "segmentation.json"
    flags = ["--epochs=1", "--depth=1", "--width=2", "--draws=2", "--unseen=car"]
    flags += [f"--workdir={tmp_path / 'runs'}", f"--output={output}", "--verbose=0"]
    done = run_python(
        "benchmarks/segmentation.py", *flags, "--rows=mcbn,hyper", check=True
    )
    rows = json.loads(output.read_text())["rows"]
    assert [(row["row"], row["unseen"]) for row in rows] == [
        ("mcbn", ""),
        ("hyper", ""),
        ("mcbn", "car"),
        ("hyper", "car"),
    ]
    for row in rows:
        assert 0 <= row["mean_iou"] <= 1 and 0 <= row["ece"] <= 1
        assert ("epistemic_auroc_of_unseen" in row) == bool(row["unseen"])
        assert row["epistemic_at_borders"] > 0
    assert "| hyper, car unseen |" in done.stdout
    assert (tmp_path / "segmentation_hyper_car.jpg").stat().st_size > 10_000
    # What is there is not made again, and other settings are another table.
    again = run_python(
        "benchmarks/segmentation.py", *flags, "--rows=mcbn,hyper", check=True
    )
    assert "==" not in again.stdout and "| hyper, car unseen |" in again.stdout
    other = run_python("benchmarks/segmentation.py", *flags, "--rows=mcbn", "--width=3")
    assert other.returncode and "give another file" in other.stderr
