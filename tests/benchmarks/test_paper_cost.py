"""What the paper's trainings cost, and the list that says so."""

import json
import math
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import paper_cost  # noqa: E402
import paper_runs  # noqa: E402
import paper_shards  # noqa: E402
from paper_claims import Claims  # noqa: E402
from paper_listing import listing  # noqa: E402

from tests.helpers.processes import run_python  # noqa: E402

PAPER = paper_runs.Lab("paper", None, "nowhere")
MAP = paper_runs.Run(kit="deterministic")


def test_a_plain_network_costs_what_is_published():
    found = paper_cost.cost(PAPER, MAP)
    # WRN-28-4: 5.8 million parameters; section 5.3: 0.85 x 10^9 multiply-adds.
    assert found.parameters == pytest.approx(5.84e6, rel=0.01)
    images = 50_000 * 800
    assert found.training == pytest.approx(6 * 0.846e9 * images, rel=0.01)
    # One pass over the test images: a plain network has its moments.
    assert found.draws == pytest.approx(2 * 0.846e9 * 10_000, rel=0.01)
    assert found.hours(1e14) == (found.training + found.draws) / 1e14 / 3600


def test_a_hypernetwork_adds_its_generators_and_draws():
    plain = paper_cost.cost(PAPER, MAP)
    hyper = paper_cost.cost(PAPER, paper_runs.Run(prior="uniform"))
    # 32 numbers for each weight of a residual block; no weight is made for this.
    assert hyper.parameters == pytest.approx(32 * plain.parameters, rel=0.02)
    assert hyper.memory - plain.memory == pytest.approx(
        12 * (hyper.parameters - plain.parameters), rel=0.01
    )
    added = hyper.training - plain.training
    assert added == pytest.approx(6 * 0.187e9 * 391 * 800, rel=0.02)
    # Of each of 80 draws an epoch for the moments, and the test images.
    assert hyper.draws == pytest.approx(2 * 0.846e9 * 80 * 60_000, rel=0.01)
    three = paper_runs.Run(prior="normal", sharing="block_wise", seed=3)
    assert paper_cost.cost(PAPER, three) == hyper


def test_costs_are_those_of_the_network_that_is_trained():
    lab = paper_runs.Lab("smoke", None, "nowhere")
    run = paper_runs.Run(units=4)
    network = lab.network(run, 10, (32, 32, 3), 256)
    counted = sum(math.prod(v.shape) for v in network.trainable_variables)
    assert paper_cost.cost(lab, run).parameters == counted
    assert paper_cost.examples(lab, run) == (256, 200)
    low = paper_runs.Lab("smoke", None, "nowhere", precision="bfloat16")
    memory = [paper_cost.cost(x, run).memory - 12 * counted for x in (lab, low)]
    assert memory[0] == 2 * memory[1]


def test_splits_count_as_the_recipe_joins_them():
    run = paper_runs.Run("WRN-16-4", dataset="svhn_cropped")
    assert paper_cost.examples(PAPER, run) == (73_257 + 531_131, 26_032)


def test_rates_are_a_number_or_a_file(tmp_path):
    path = str(tmp_path / "rates.json")
    assert paper_cost.read_rates(None, path).of(MAP) is None
    assert paper_cost.read_rates("2e12", path).of(MAP) == 2e12
    for bad, error in (("-1", ValueError), ("nan", ValueError), ("no", OSError)):
        with pytest.raises(error, match="--rate"):
            paper_cost.read_rates(bad, path)
    (tmp_path / "rates.json").write_text(json.dumps({"device": "a card"}))
    with pytest.raises(ValueError, match="operations_per_second"):
        paper_cost.read_rates(path, "")
    rates = {"WRN-28-10": 3e14, "WRN-28-1": 1e14}
    content = {"device": "a card", "operations_per_second": rates}
    (tmp_path / "rates.json").write_text(json.dumps(content))
    found = paper_cost.read_rates(None, path)
    assert found.of(paper_runs.Run("WRN-28-10")) == 3e14
    assert found.of(MAP) == 1e14  # not measured: as the slowest
    assert found.device.startswith("a card")


def test_the_list_has_each_training_with_its_cost_recipe_and_state(tmp_path):
    lab = paper_runs.Lab("paper", None, str(tmp_path))
    work = paper_shards.work_of(lab, ["table2", "figure7"])
    claims = Claims(str(tmp_path / "claims"), 60.0)
    with claims.take(work[0].name).held():
        rates = paper_cost.read_rates("1e14", "")
        text = listing(lab, work, claims, rates)
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ") and "seed" in line
    ]
    assert [row[0] for row in rows] == [one.name for one in work]
    total = 0.0
    for row, one in zip(rows, work, strict=True):
        cost = paper_cost.cost(lab, one.run)
        recipe = lab.recipe(one.run)
        assert row[1:3] == [str(recipe.epochs), str(recipe.batch_size)]
        assert row[4] == recipe.name
        assert float(row[6]) == pytest.approx(cost.operations, rel=0.01)
        assert float(row[8]) == pytest.approx(cost.operations / 3.6e17, abs=0.006)
        total += cost.operations / 3.6e17
    assert rows[0][9].startswith("at work: ") and not rows[1][9]
    assert float(re.search(r"([\d.]+) hours on", text)[1]) == pytest.approx(
        total, abs=0.06
    )
    assert "\nwrn-svhn: " in text and "\n  rates: 0.01 x 0.1: WRN paper 3" in text
    # Nothing is made by looking.
    assert [path.name for path in tmp_path.iterdir()] == ["claims"]


def test_rates_are_measured():
    tiny = paper_runs.Scale(
        {"WRN-28-4": ("lenet5", {})}, 1, 64, 32, seeds=(0,), draws=2
    )
    paper_runs.SCALES["measured"] = tiny
    lab = paper_runs.Lab("measured", None, "nowhere", batch_size=8)
    try:
        found = paper_cost.measure(lab, [MAP], steps=3)
        step = 6 * paper_cost.network_cost(lab, MAP).per_image * 8
    finally:
        del paper_runs.SCALES["measured"]
    rate = found["operations_per_second"]["WRN-28-4"]
    assert rate == step / found["seconds"]["WRN-28-4"]
    assert "CPU" in found["device"] or "GPU" in found["device"]


def test_a_scale_lists_the_tables_whose_networks_it_has(tmp_path):
    command = [str(ROOT / "benchmarks" / "paper.py"), "--scale=cpu", "--list"]
    command.append(f"--workdir={tmp_path}")
    found = run_python(*command, check=True).stdout
    assert "'table3': ['ResNet-50']" in found
    assert "WRN-28-4-deterministic-cifar10-seed0" in found
    refused = run_python(*command, "--only=table3")
    assert refused.returncode != 0 and "['ResNet-50']" in refused.stderr
