"""The MCBN evaluation at a tiny scale."""

import json
import pathlib

import numpy as np
import pytest
import scipy.stats

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TINY = [
    "--splits=2",
    "--methods=mcbn,mc_dropout",
    "--batch_sizes=8,1000",
    "--dropout_rates=0.1",
    "--l2=1e-4",
    "--max_epochs=20",
    "--evaluate_every=10",
    "--draws=4",
    "--runs=2",
]


def run(tmp_path, *flags):
    return run_python(
        ROOT / "benchmarks" / "mcbn_uci.py",
        f"--data_dir={tmp_path}",
        f"--workdir={tmp_path / 'runs'}",
        f"--output={tmp_path / 'result.json'}",
        f"--figure={tmp_path / 'figure.png'}",
        *flags,
    )


def write_table(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = 50 + 10 * x[:, 0] + rng.normal(size=60)
    np.savetxt(tmp_path / "line.txt", np.column_stack([x, y]))
    return x, y


def crps(y, mean, variance):
    std = np.sqrt(variance)
    z, normal = (y - mean) / std, scipy.stats.norm
    scores = z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / np.sqrt(np.pi)
    return np.mean(std * scores)


def test_runs_resumes_and_writes_its_json(tmp_path):
    _, y = write_table(tmp_path)
    first = run(tmp_path, *TINY, "--processes=2")
    assert first.returncode == 0, first.stderr
    assert "4 cells to run" in first.stdout
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["draws"] == 4 and "--draws=4" in result["command"]
    methods = result["results"]["line"]
    assert set(methods) == {"mcbn", "mc_dropout"}

    for method, found in methods.items():
        cells = [
            json.loads((tmp_path / "runs" / f"line-{split}-{method}.json").read_text())
            for split in (1, 2)
        ]
        order = np.arange(60)
        np.random.RandomState(1).shuffle(order)
        np.testing.assert_allclose(cells[0]["targets"], y[order[:12]])
        # The scores of the first run, from what its cell keeps.
        targets, mean, spread = (
            np.array(cells[0][key]) for key in ("targets", "mean", "spread")
        )
        scores, variances = cells[0]["scores"]["crps"][0], cells[0]["variances"]["crps"]
        expected = crps(targets, mean, spread + variances["noise"])
        assert scores["crps"] == pytest.approx(expected)
        constant = crps(targets, mean, variances["constant"])
        assert scores["crps_constant"] == pytest.approx(constant)
        optimal = 0.594904 * np.mean(abs(targets - mean))
        assert scores["crps_normalized"] == pytest.approx(
            100 * (expected - constant) / (optimal - constant), rel=1e-4
        )
        # Runs are averaged, then splits.
        per_split = {
            key: [np.mean([r[key] for r in c["scores"]["crps"]]) for c in cells]
            for key in scores
        }
        assert len(cells[0]["scores"]["crps"]) == 2
        assert found["pll"]["mean"] == pytest.approx(np.mean(per_split["pll"]))
        error = np.std(per_split["pll"], ddof=1) / np.sqrt(2)
        assert found["pll"]["standard_error"] == pytest.approx(error)
        test = scipy.stats.ttest_rel(per_split["pll"], per_split["pll_constant"])
        assert found["pll"]["p"] == pytest.approx(test.pvalue)
        assert f"{found['rmse']['mean']:.3f}" in first.stdout

    again = run(tmp_path, *TINY)
    assert again.returncode == 0, again.stderr
    assert "0 cells to run" in again.stdout
    table = [line for line in first.stdout.splitlines() if line.startswith("| line")]
    assert len(table) == 2 and all(line in again.stdout for line in table)

    other = run(tmp_path, *TINY[:-1])
    assert other.returncode != 0
    assert "runs was 2, now 1" in other.stderr


def test_normalizing_flows_are_in_the_table_with_the_divergence_over_the_rows():
    code = """
import sys
sys.path.insert(0, "benchmarks")
import mcbn_protocol as protocol
import mcbn_uci
import numpy as np
mcbn_uci.FLAGS(["mcbn_uci.py", "--data_dir=nowhere"])
assert mcbn_uci.FLAGS.methods == ["mcbn", "mc_dropout", "mnf"]
method, settings = protocol.METHODS["mnf"], mcbn_uci.read_settings()
assert getattr(settings, method.flag) == (1.0, 0.1, 0.01)
assert method.batch_size(1.0) == 100
for factor in (1.0, 0.1):
    layers = method.build(3, factor, 250).layers[1:]
    assert [layer.kl_weight for layer in layers] == [factor / 250] * 3
    assert [layer.units for layer in layers] == [50, 50, 1]
score = {"mean": 1.0, "standard_error": None, "p": None}
names = ("crps", "pll", "crps_constant", "pll_constant")
scores = {name: score for name in ("rmse", "crps_normalized", "pll_normalized", *names)}
print(mcbn_uci.markdown({"yacht": {"mc_dropout": scores, "mnf": scores}}))
"""
    output = run_python("-c", code, check=True).stdout
    rows = [line for line in output.splitlines() if line.startswith("| yacht")]
    dropout, flows = ([cell.strip() for cell in r.split("|")[1:-1]] for r in rows)
    assert dropout[1] == "MC dropout"
    assert dropout[-2:] == ["0.67 ± 0.05", "-1.25 ± 0.01"]
    assert flows[1] == "Normalizing flows" and flows[-2:] == ["-", "-"]


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--methods=laplace", "--methods has no ['laplace']"),
        ("--l2=none", "--l2 takes numbers"),
        ("--tables=none", "none.txt"),
    ],
)
def test_bad_flags(tmp_path, flag, message):
    write_table(tmp_path)
    process = run(tmp_path, flag)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
