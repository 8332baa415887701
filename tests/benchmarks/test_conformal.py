"""The benchmark of coverage: its exact bands, and all of it at a tiny scale."""

import json
import pathlib
import sys

import numpy as np
import pytest
from scipy import stats

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import conformal

    if not conformal.FLAGS.is_parsed():
        conformal.FLAGS(["conformal"])
    yield conformal
    sys.path.remove(str(ROOT / "benchmarks"))


def test_the_band_of_a_split_is_that_of_ranks(benchmark):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 70))
    bound = np.sort(scores[:, :30], axis=1)[:, int(np.ceil(31 * 0.9)) - 1]
    hits = (scores[:, 30:] <= bound[:, None]).sum(axis=1)
    law = benchmark.hits_law(30, 40)
    counts = np.bincount(hits, minlength=41)
    expected = 20_000 * law
    many = expected > 20
    assert (
        stats.chisquare(
            np.append(counts[many], counts[~many].sum()),
            np.append(expected[many], expected[~many].sum()),
        ).pvalue
        > 0.001
    )


def test_the_band_of_a_mean_is_that_of_a_sum(benchmark):
    law = benchmark.hits_law(12, 9)
    total = benchmark.sum_law(law, 7)
    by_hand = law
    for _ in range(6):
        by_hand = np.convolve(by_hand, law)
    np.testing.assert_allclose(total, by_hand, atol=1e-12)
    low, high = benchmark.middle(total, 0.99)
    inside = by_hand[round(low * 63) : round(high * 63) + 1].sum()
    assert 0.99 <= inside < 0.9999


def test_writes_its_json(tmp_path):
    command = [
        str(ROOT / "benchmarks" / "conformal.py"),
        "--train_examples=300",
        "--test_examples=400",
        "--epochs=1",
        "--table_epochs=1",
        "--draws=2",
        "--splits=3",
        "--alpha=0.2",
        f"--output={tmp_path / 'result.json'}",
    ]
    ran = run_python(*command, check=True)
    found = json.loads((tmp_path / "result.json").read_text())
    sets, intervals = (found["results"][x]["methods"] for x in ("images", "table"))
    kinds = ("lac", "aps", "aps, randomized", "raps")
    expected = {f"{x}{y}" for x in kinds for y in ("", ", by class")}
    assert set(sets) == expected | {f"MAPIE, {x}" for x in ("lac", "aps", "raps")}
    three = ("split", "normalized", "quantile")
    assert set(intervals) == {f"{x}{y}" for x in ("", "MAPIE, ") for y in three}
    for name in three:  # of the same splits, by the same formula
        for key in ("coverage", "size"):
            both = intervals[name][key], intervals[f"MAPIE, {name}"][key]
            assert both[0] == pytest.approx(both[1], rel=1e-6)
    assert sets["lac"]["coverage"] == pytest.approx(sets["MAPIE, lac"]["coverage"])
    assert 0.7 < sets["aps, randomized"]["coverage"] < 0.9
    assert found["settings"]["splits"] == 3 and "mapie" in found["packages"]
    assert "| lac, by class |" in ran.stdout
