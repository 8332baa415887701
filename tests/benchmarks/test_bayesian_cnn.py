"""The benchmark of LeNet-5 and AlexNet, at a tiny scale."""

import json
import pathlib

import numpy as np
import pytest

from tests.helpers.processes import run_python
from tests.helpers.tfds_sets import prepare

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "bayesian_cnn.py"
NAMES = ("lenet5", "lenet5_bayes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with some noise that goes by the name of MNIST."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    splits = {
        split: (
            rng.integers(0, 256, (size, 28, 28, 1), dtype=np.uint8),
            rng.integers(0, 10, size),
        )
        for split, size in (("train", 64), ("test", 40))
    }
    prepare(folder, "mnist", "3.0.1", splits, (28, 28, 1), 10)
    return folder


def flags(folder, tmp_path, *more):
    return [
        f"--data_dir={folder}",
        "--data_note=noise",
        "--lenet5_epochs=1",
        "--draws=3",
        "--singles=2",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        *more,
    ]


def rows_of(output):
    """Returns the rows of the tables in an output, by title: the first of each."""
    rows = {}
    for line in output.splitlines():
        if line.startswith("| "):
            title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            rows.setdefault(title, cells)
    return rows


def pair(values, digits, factor=1.0):
    values = factor * np.array(values)
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def test_the_tables_of_the_thesis_and_their_json(folder, tmp_path):
    command = flags(folder, tmp_path, "--dataset=mnist,cifar10", "--seeds=2")
    command.append(f"--only={','.join(NAMES)}")
    outputs = [run_python(SCRIPT, *command, check=True).stdout for _ in range(2)]
    assert "left out: cifar10" in outputs[0]
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["seeds"] == 2
    assert set(result["results"]) == {"mnist"}
    found = result["results"]["mnist"]
    assert all(len(found[name]) == 2 for name in NAMES)
    plain, bayes = (found[name][0] for name in NAMES)
    assert plain["parameters"] == 61_706
    assert set(plain["pruned"]) == {"magnitude"}
    assert "x3" not in plain and plain["epistemic_nats"] == pytest.approx(0, abs=1e-7)
    assert set(bayes["pruned"]) == {"magnitude", "signal_to_noise"}
    assert bayes["epistemic_nats"] > 0 and bayes["epistemic_trace"] > 0
    for pruned in bayes["pruned"].values():
        weights = pruned["weights"]
        assert weights["after"] == pytest.approx(0.5 * weights["before"], abs=1)

    rows = rows_of(outputs[0])
    for name, title in zip(NAMES, ("LeNet-5", "Bayesian LeNet-5")):
        scores = [s.get("x3", s["x1"]) for s in found[name]]
        accuracy = pair([1 - s["error"] for s in scores], 1, 100)
        assert rows[title] == [f"{accuracy} [98]"]
    assert rows["Bayesian LeNet-5 (mnist)"] == [
        f"{pair([s['aleatoric_trace'] for s in found['lenet5_bayes']], 4)} [0.0096]",
        f"{pair([s['epistemic_trace'] for s in found['lenet5_bayes']], 4)} [0.0026]",
    ]
    assert rows_of(outputs[1]) == rows
    assert "== LeNet-5, mnist, seed 1" in outputs[0]
    assert "== LeNet-5, mnist" not in outputs[1]


def test_the_recipe_of_the_thesis_and_other_posteriors(folder, tmp_path):
    names = ("lenet5_bayes_random", "lenet5_dropout")
    command = flags(folder, tmp_path, "--dataset=mnist", "--recipe=bayesian-cnn")
    run_python(SCRIPT, *command, "--seeds=1", f"--only={','.join(names)}", check=True)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["recipe"] == "bayesian-cnn"
    (start,), (dropout,) = (result["results"]["mnist"][name] for name in names)
    assert start["epistemic_nats"] > 0 and dropout["epistemic_nats"] > 0
    assert dropout["pruned"] == {}


def test_cells_stand_beside_the_thesis_numbers():
    code = """
import sys
sys.path.insert(0, "benchmarks")
import bayesian_cnn as script
script.FLAGS(["bayesian_cnn.py"])
scores = [
    {"x1": {"error": e}, "pruned": {"magnitude": {"x1": {"error": e + 0.1}}}}
    for e in (0.1, 0.2)
]
results = {
    "mnist": {"alexnet_bayes": scores, "alexnet_half_bayes": []},
    "cifar10": {"alexnet_bayes": scores, "alexnet_half_bayes": scores},
    "cifar100": {"alexnet_bayes": scores[:1], "alexnet_half_bayes": []},
}
print(script.accuracy_table(results))
print(script.uncertainty_table({"cifar10": {}}))
"""
    rows = rows_of(run_python("-c", code, check=True).stdout)
    assert rows["Bayesian AlexNet"] == [
        "85.0 ± 7.1 [99]",
        "85.0 ± 7.1 [73]",
        "90.0 [36]",
    ]
    assert rows["Bayesian AlexNet, 50 % pruned"] == [
        "75.0 ± 7.1 [99]",
        "75.0 ± 7.1 [71]",
        "80.0",
    ]
    half = rows["Bayesian AlexNet, half the filters"]
    assert half == ["- [99]", "85.0 ± 7.1 [79]", "- [38]"]
    assert rows["Bayesian LeNet-5 (cifar10)"] == ["- [0.1920]", "- [0.0404]"]
