"""The commands of the paper's tables: what they print, and what they keep."""

import dataclasses
import json
import pathlib
import re
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import paper_runs  # noqa: E402
import paper_tables  # noqa: E402

from tfhyper import analysis, kits, models, training  # noqa: E402

LABELS = np.arange(50) % 10


class Invented(paper_runs.Lab):
    """Networks that are not trained, and members out of a hat; notes the runs."""

    seen = set()

    def labels(self, run):
        return LABELS

    def members(self, run):
        self.seen.add(run)
        draws = 1 if run.kit == "deterministic" else self.sizes.draws
        rng = np.random.default_rng(sum(map(ord, run.name)))
        logits = rng.normal(size=(draws, 50, 10)) + 2 * np.eye(10)[LABELS]
        return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

    def form_curve(self, run, form):
        members = self.members(run)
        errors = [[np.mean(members[:n].mean(0).argmax(-1) != LABELS) for n in (1, 2)]]
        return analysis.ErrorCurve(
            np.array([1, 2]), np.array(errors[0]), np.array(errors), "Error"
        )

    def model(self, run):
        self.seen.add(run)
        keras.utils.set_random_seed(run.seed)
        kit = kits.hyper(run.sharing, run.prior, mean_kernel=False)
        return models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit=kit)


@pytest.fixture(scope="module")
def invented():
    scale = paper_runs.SCALES["smoke"]
    networks = {"ResNet-50": (), "WRN-28-1": (), **scale.networks}
    scale = dataclasses.replace(scale, networks=networks, weight_draws=20)
    paper_runs.SCALES["invented"] = scale
    yield Invented("invented", None, "nowhere")
    del paper_runs.SCALES["invented"]


@pytest.mark.parametrize("name", paper_tables.TABLES)
def test_table(invented, name, tmp_path):
    invented.seen.clear()
    found = paper_tables.TABLES[name].make(invented)
    assert invented.seen == set(paper_tables.TABLES[name].runs(invented.sizes))
    head, line, *rows = found.text.splitlines()
    bars = [len(re.findall(r"(?<!\\)\|", row)) for row in (head, line, *rows)]
    assert rows and len(set(bars)) == 1
    assert json.loads(json.dumps(found.results)) == found.results
    if found.figure is not None:
        found.figure.savefig(tmp_path / "figure.png")


def test_errors_are_medians_of_seeds_and_groups(invented):
    run = paper_runs.Run()
    curve = paper_tables.cells.Cell("").curve(invented, run)
    errors = [(m.argmax(-1) != LABELS).mean() for m in invented.members(run)]
    assert set(curve.scores[:, 0].round(6)) <= set(np.round(errors, 6))
    assert curve.median[0] == np.median(curve.scores[:, 0])
    together = invented.members(run).mean(0).argmax(-1) != LABELS
    assert curve.median[-1] == pytest.approx(together.mean())


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return paper_runs.Lab("smoke", None, str(tmp_path_factory.mktemp("runs")), 64, 0)


def test_trainings_and_draws_are_kept(lab, monkeypatch):
    run = paper_runs.Run(dataset="fashion_mnist_small", prior="uniform", units=4)
    members = lab.members(run)
    assert members.shape == (4, 200, 10)
    np.testing.assert_allclose(members.sum(-1), 1, rtol=1e-5)
    assert np.ptp(members, axis=0).max() > 1e-3  # draws differ
    curve = lab.form_curve(run, "widening")
    assert curve.sizes.tolist() == [1, 2]
    assert lab.labels(run).shape == (200,)
    # What is kept is not computed again.
    monkeypatch.setattr(paper_runs.Lab, "model", None)
    np.testing.assert_array_equal(lab.members(run), members)
    np.testing.assert_array_equal(lab.form_curve(run, "widening").scores, curve.scores)


def test_kept_draws_of_another_recipe_are_refused(lab, monkeypatch):
    run = paper_runs.Run(dataset="fashion_mnist_small", prior="uniform", units=2)
    computed = lab._kept(run, "it", lambda: np.arange(3))
    np.testing.assert_array_equal(lab._kept(run, "it", None), computed)
    other = training.NAMED_RECIPES["wrn-original"]
    monkeypatch.setattr(paper_runs.Lab, "recipe", lambda self, run: other)
    with pytest.raises(ValueError, match="other settings.*recipe was"):
        lab._kept(run, "it", None)


def test_each_training_has_the_recipe_of_its_networks_study():
    lab = paper_runs.Lab("paper", None, "nowhere")
    runs = {r for t in paper_tables.TABLES.values() for r in t.runs(lab.sizes)}
    expected = {
        "WRN-28-10": (800, 128, 0.0005, "wrn-cifar10"),
        "WRN-28-4": (800, 128, 0.0005, "wrn-cifar10"),
        "WRN-28-1": (800, 128, 0.0005, "wrn-cifar10"),
        "WRN-16-4": (160, 128, 0.0005, "wrn-svhn"),
        "ResNeXt-29-8x64d": (900, 128, 0.0005, "resnext-cifar10"),
        "PyramidNet-110-48": (600, 128, 0.0001, "pyramidnet-cifar10"),
        "ResNet-50": (90, 256, 0.0001, "resnet-imagenet"),
    }
    assert {run.network for run in runs} == set(expected)
    for run in runs:
        recipe = lab.recipe(run)
        found = (lab.epochs(run), lab.batch(run), recipe.weight_decay, recipe.name)
        assert found == expected[run.network], run.name


def test_names_tell_runs_apart():
    runs = [
        paper_runs.Run(),
        paper_runs.Run(seed=1),
        paper_runs.Run(prior="uniform"),
        paper_runs.Run(sharing="block_wise"),
        paper_runs.Run(units=8),
        paper_runs.Run("WRN-28-10"),
        paper_runs.Run(kit="deterministic"),
        paper_runs.Run(kit="deterministic", weight_decay=0.0),
        paper_runs.Run(kit="bayesian_hypernet"),
        paper_runs.Run(dataset="svhn_cropped"),
        paper_runs.Run(weight_sets=2),
    ]
    assert len({run.name for run in runs}) == len(runs)
