"""The example scripts, run as a newcomer runs them."""

import json
import pathlib

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--train_examples=256", "--test_examples=100", "--draws=3", "--epochs=2"]
# Held out of the training: what chooses the width of learned noise.
TRAIN = [*TINY, "--validation_examples=100", "--batch_size=32"]


def run_script(name, *flags):
    """Runs a script of examples/; returns the finished process."""
    return run_python(ROOT / "examples" / name, *flags)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "train"
    process = run_script("train.py", f"--workdir={workdir}", *TRAIN)
    assert process.returncode == 0, process.stderr
    return workdir, process.stdout


def printed_scores(output, name):
    """Returns error (a fraction) and NLL of a row of the printed table."""
    (row,) = (line for line in output.splitlines() if line.split()[:1] == [name])
    _, error, nll, *_ = row.split()
    return float(error) / 100, float(nll)


def test_training_prints_the_scores_of_one_draw_and_of_all(trained):
    workdir, output = trained
    predictor = tfhyper.PosteriorPredictor.load(workdir / "predictor.tfhyper")
    data = tfhyper.data.load("fashion_mnist_small", test_examples=100)
    labels = np.concatenate([y for _, y in data.test])
    members = predictor.predict(data.test).members
    expected_nll = -np.log(members.mean(0)[np.arange(100), labels]).mean()
    expected_error = (members.mean(0).argmax(-1) != labels).mean()
    error, nll = printed_scores(output, "x3")
    np.testing.assert_allclose(error, expected_error, atol=1e-4)
    np.testing.assert_allclose(nll, expected_nll, atol=2e-4)
    singles = [-np.log(m[np.arange(100), labels]).mean() for m in members]
    np.testing.assert_allclose(
        printed_scores(output, "x1")[1], np.median(singles), atol=2e-4
    )


def test_training_leaves_scores_and_pictures(trained):
    workdir, output = trained
    for name in ("reliability.png", "examples.png"):
        assert (workdir / name).read_bytes().startswith(b"\x89PNG")
        assert str(workdir / name) in output
    scores = json.loads((workdir / "scores.json").read_text())
    assert set(scores) == {"x1", "x3"}
    assert 0 < scores["x3"]["error"] < 1


def test_the_default_is_learned_noise_of_a_fitted_width(trained):
    workdir, output = trained
    settings = json.loads((workdir / "settings.json").read_text())
    assert (settings["recipe"], settings["learned_noise"]) == ("wrn-embedded", True)
    assert (settings["crop_padding"], settings["validation_examples"]) == ("none", 100)
    widths = [line.split() for line in output.splitlines() if line.startswith("width:")]
    found = {float(line[3].strip(",")): float(line[-1]) for line in widths}
    predictor = tfhyper.PosteriorPredictor.load(workdir / "predictor.tfhyper")
    assert len(found) > 2 and list(found)[0] == 1
    assert found[predictor.model.temperature] == min(found.values())
    views = [int(draw.noise[predictor.augment.name][0, 0]) for draw in predictor.draws]
    assert views == [0, 1, 0]
    assert predictor.model.num_examples == 256


def test_a_finished_training_is_not_trained_again(trained):
    workdir, output = trained
    before = (workdir / "checkpoint-00002.keras").read_bytes()
    process = run_script("train.py", f"--workdir={workdir}", *TRAIN)
    assert process.returncode == 0, process.stderr
    assert "resuming after 2 of 2 epochs" in process.stdout
    assert (workdir / "checkpoint-00002.keras").read_bytes() == before
    assert printed_scores(process.stdout, "x3") == printed_scores(output, "x3")


def test_other_flags_in_the_same_workdir_are_refused(trained):
    workdir, _ = trained
    files = [path for path in workdir.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    process = run_script("train.py", f"--workdir={workdir}", *TRAIN, "--prior=normal")
    assert process.returncode != 0
    assert "prior was 'uniform', now 'normal'" in process.stderr
    assert "Traceback" not in process.stderr
    assert {path for path in workdir.rglob("*") if path.is_file()} == set(files)
    assert {path: path.read_bytes() for path in files} == before


def test_learned_noise_and_views(tmp_path):
    flags = ["--kit=deterministic", "--learned_noise", "--temperature=0.5", "--crops"]
    flags += ["--views=flips", "--nofit_width"]
    process = run_script("train.py", f"--workdir={tmp_path / 'run'}", *TRAIN, *flags)
    assert process.returncode == 0, process.stderr
    path = tmp_path / "run" / "predictor.tfhyper"
    predictor = tfhyper.PosteriorPredictor.load(path)
    model = predictor.model
    assert isinstance(model, tfhyper.Variational)
    assert (model.num_examples, model.temperature) == (256, 0.5)
    assert not model.generator_noise
    views = [int(draw.noise[predictor.augment.name][0, 0]) for draw in predictor.draws]
    assert views == [0, 1, 0]
    assert np.ptp(keras.ops.convert_to_numpy(model.noise.curvature)) > 0
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["learned_noise"] is True
    assert settings["crop_padding"] == "mean"
    evaluated = run_script("evaluate.py", f"--workdir={tmp_path / 'run'}", "--draws=2")
    assert evaluated.returncode == 0, evaluated.stderr
    assert 0 < printed_scores(evaluated.stdout, "x2")[0] < 1


def test_evaluate_takes_other_numbers_of_draws(trained):
    workdir, _ = trained
    process = run_script(
        "evaluate.py",
        f"--workdir={workdir}",
        "--draws=2",
        "--calibration_examples=128",
    )
    assert process.returncode == 0, process.stderr
    assert 0 < printed_scores(process.stdout, "x2")[0] < 1


@pytest.fixture(scope="module")
def of_paper(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "paper"
    flags = ["--nolearned_noise", "--views=none", "--crops", "--coverage=0.6"]
    process = run_script("train.py", f"--workdir={workdir}", *TINY, *flags)
    assert process.returncode == 0, process.stderr
    return workdir, process.stdout


def test_hypernetworks_as_the_paper_trains_them(of_paper):
    workdir, output = of_paper
    assert "width:" not in output
    predictor = tfhyper.PosteriorPredictor.load(workdir / "predictor.tfhyper")
    assert not isinstance(predictor.model, tfhyper.Variational)
    assert predictor.augment is None
    settings = json.loads((workdir / "settings.json").read_text())
    assert "learned_noise" not in settings and "validation_examples" not in settings
    # Nothing was held out, so that half of the test images choose what is unknown.
    data = tfhyper.data.load("fashion_mnist_small", test_examples=100)
    uncertainty = predictor.predict(data.test).total
    assert (uncertainty <= predictor.rejection.threshold)[:50].sum() == 30


def test_evaluate_averages_inside_of_the_network(of_paper):
    folder, _ = of_paper
    flags = ["--draws=2", "--averaging=widening", "--calibration_examples=100"]
    result = run_script("evaluate.py", f"--workdir={folder}", *flags)
    assert result.returncode == 0, result.stderr
    assert "x2 widening" in result.stdout  # and its number of parameters
    scores = json.loads((folder / "scores.json").read_text())
    assert list(scores) == ["x2"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--coverage=0.6", "--score=confidence"],
        ["--selective_error=0.9"],
        ["--coverage=0"],
    ],
    ids=["coverage", "error", "nothing"],
)
def test_evaluate_says_what_is_unknown(trained, flags):
    folder, _ = trained
    more = ["--draws=2", "--calibration_examples=64", *flags]
    process = run_script("evaluate.py", f"--workdir={folder}", *more)
    assert process.returncode == 0, process.stderr
    predictor = tfhyper.PosteriorPredictor.load(folder / "predictor.tfhyper")
    if flags == ["--coverage=0"]:
        assert predictor.rejection is None and "unknown" not in process.stdout
        return
    data = tfhyper.data.load(
        "fashion_mnist_small", test_examples=100, validation_examples=100
    )
    kept, wrong = [], []
    for part in (data.validation, data.test):
        labels = np.concatenate([y for _, y in part])
        mean = predictor.predict(part).members.astype("float64").mean(0)
        uncertainty = -np.sum(mean * np.log(mean), -1)
        if predictor.rejection.score == "confidence":
            uncertainty = 1 - mean.max(-1)
        kept.append(uncertainty <= predictor.rejection.threshold)
        wrong.append(mean.argmax(-1) != labels)
    # Chosen by what was held out of the training.
    if "--coverage=0.6" in flags:
        assert kept[0].sum() == 60
    else:
        assert wrong[0][kept[0]].mean() <= 0.9
    lines = process.stdout.splitlines()
    (said,) = (x for x in lines if "of the other 100 images" in x)
    assert f"{100 * kept[1].mean():.2f} % have an answer" in said
    assert f"of these {100 * wrong[1][kept[1]].mean():.2f} % are wrong" in said


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--draws=0", "--draws must be positive. Received: --draws=0"),
        ("--depth=11", "`depth` must be 6 n + 4"),
        ("--code_units=-1", "`code_units` must be a positive integer"),
        ("--dataset=cifar11", "Did you mean"),
        ("--epochs=0", "`epochs` must be a positive integer"),
        ("--weight_decay=-1", "`weight_decay` must be"),
    ],
)
def test_bad_flags_end_with_a_message_and_leave_no_workdir(tmp_path, flag, message):
    process = run_script("train.py", f"--workdir={tmp_path / 'new'}", flag)
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "new").exists()


def test_evaluate_needs_a_workdir(tmp_path):
    process = run_script("evaluate.py", f"--workdir={tmp_path}")
    assert process.returncode != 0
    assert "--workdir must be a folder of examples/train.py" in process.stderr


@pytest.fixture(scope="module")
def bayesian(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "bayesian"
    process = run_script(
        "bayesian_cnn.py", f"--workdir={workdir}", *TINY, "--prune=0.5,0.9"
    )
    assert process.returncode == 0, process.stderr
    return workdir, process.stdout


def test_the_bayesian_cnn_prints_and_leaves_its_scores(bayesian):
    workdir, output = bayesian
    scores = json.loads((workdir / "scores.json").read_text())
    error, nll = printed_scores(output, "x3")
    assert error == pytest.approx(scores["x3"]["error"], abs=1e-4)
    assert nll == pytest.approx(scores["x3"]["nll"], abs=1e-4)
    history = json.loads((workdir / "history.json").read_text())
    assert set(history) == {"accuracy", "kl", "kl_factor", "loss", "nll"}
    assert history["kl_factor"] == pytest.approx([0.1, 0.1])


def test_the_pruning_table_is_that_of_the_pruned_models(bayesian):
    workdir, output = bayesian
    labels = tfhyper.data.load_arrays("fashion_mnist_small")[1][1][:100]
    data = tfhyper.data.load("fashion_mnist_small", test_examples=100)
    for criterion in ("magnitude", "signal_to_noise"):
        for fraction in (0.5, 0.9):
            path = workdir / f"pruned_{criterion}_{fraction:g}.keras"
            model = keras.saving.load_model(path)
            predictor = tfhyper.PosteriorPredictor(model, num_draws=3, seed=0)
            right = predictor.predict(data.test).mean.argmax(-1) == labels
            start = f"{criterion} {100 * fraction:g} %"
            (row,) = (x for x in output.splitlines() if x.strip().startswith(start))
            weights, _, accuracy = row.split()[-3:]
            kept = round((1 - fraction) * 61_470)
            assert int(weights.replace(",", "")) == pytest.approx(kept, abs=1)
            assert float(accuracy) == pytest.approx(100 * right.mean(), abs=0.01)


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--prune=0.5,1.5", "--prune must hold fractions between 0 and 1"),
        ("--prune=half", "--prune must hold fractions between 0 and 1"),
        ("--width_multiplier=0", "`width_multiplier` must be"),
        ("--prior_scale=0", "`prior_scale` must be"),
        ("--kl_factor=-1", "`factor` must be"),
        ("--learning_rate=0", "`learning_rate` must be"),
    ],
)
def test_bad_flags_of_the_bayesian_cnn(tmp_path, flag, message):
    process = run_script("bayesian_cnn.py", f"--workdir={tmp_path / 'new'}", flag)
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "new").exists()


def printed_value(output, name):
    """Returns the number of a line "name number"."""
    (row,) = (x.split() for x in output.splitlines() if x.split()[:1] == [name])
    return float(row[1])


def test_regression_of_a_table_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = 100 + 30 * x[:, 0] + 3 * rng.normal(size=200)
    np.savetxt(tmp_path / "table.txt", np.column_stack([x, y]))
    process = run_script(
        "uci_regression.py",
        f"--table={tmp_path / 'table.txt'}",
        f"--workdir={tmp_path / 'runs'}",
        "--epochs=20",
        "--draws=20",
    )
    assert process.returncode == 0, process.stderr
    scores = json.loads((tmp_path / "runs" / "scores.json").read_text())
    # In the table's own unit: better than the mean, not better than the noise.
    assert 2 < scores["rmse"] < 20
    assert printed_value(process.stdout, "rmse") == pytest.approx(scores["rmse"], 1e-3)
    assert (tmp_path / "runs" / "errors.png").read_bytes().startswith(b"\x89PNG")
    predictor = tfhyper.PosteriorPredictor.load(tmp_path / "runs/predictor.tfhyper")
    assert predictor.num_draws == 20 and predictor.noise_variance > 0
    # The printed RMSE, by hand from the saved predictor and the published split.
    order = np.arange(200)
    np.random.RandomState(1).shuffle(order)
    test, rest = order[:40], order[40:]
    inner = np.arange(160)
    np.random.RandomState(1).shuffle(inner)
    train = rest[inner[32:]]
    inputs = (x[test] - x[train].mean(0)) / x[train].std(0)
    found = predictor.predict(inputs.astype("float32")).mean
    found = found * y[train].std() + y[train].mean()
    expected = np.sqrt(np.mean((found - y[test]) ** 2))
    assert scores["rmse"] == pytest.approx(expected, rel=1e-4)


def test_regression_of_the_default_table(tmp_path):
    process = run_script(
        "uci_regression.py", f"--workdir={tmp_path}", "--epochs=2", "--draws=5"
    )
    assert process.returncode == 0, process.stderr
    assert "283 training and 88 test rows" in process.stdout


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--table=none.txt"], "`path` must be a file"),
        (["--batch_size=284"], "--batch_size must be from 2 to 283"),
        (["--batch_size=1"], "--batch_size must be from 2 to 283"),
        (["--epochs=0"], "--epochs must be positive"),
    ],
)
def test_bad_flags_of_the_regression(tmp_path, flags, message):
    process = run_script("uci_regression.py", f"--workdir={tmp_path / 'new'}", *flags)
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def mc_batch_norm(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "mcbn"
    process = run_script("mc_batch_norm.py", f"--workdir={workdir}", *TINY)
    assert process.returncode == 0, process.stderr
    return workdir, process.stdout


def test_mc_batch_norm_stands_beside_the_plain_network(mc_batch_norm):
    workdir, output = mc_batch_norm
    data = tfhyper.data.load("fashion_mnist_small", test_examples=100)
    labels = np.concatenate([y for _, y in data.test])
    images = np.concatenate([x for x, _ in data.test])
    model = keras.saving.load_model(workdir / "checkpoint-00002.keras")
    plain = np.mean(model.predict(images, verbose=0).argmax(-1) == labels)
    (row,) = (x.split() for x in output.splitlines() if x.split()[:1] == ["plain"])
    assert float(row[1]) == pytest.approx(100 * plain)
    assert float(row[-1]) == 0
    scores = json.loads((workdir / "scores.json").read_text())
    assert set(scores) == {"plain", "MCBN x3"}
    assert scores["MCBN x3"]["epistemic"] > 0


def test_mc_batch_norm_takes_a_saved_model(mc_batch_norm, tmp_path):
    workdir, output = mc_batch_norm
    model = workdir / "checkpoint-00002.keras"
    flags = [f"--workdir={tmp_path}", f"--model={model}", *TINY]
    process = run_script("mc_batch_norm.py", *flags)
    assert process.returncode == 0, process.stderr
    rows = [x for x in output.splitlines() if x.split()[:1] in (["plain"], ["MCBN"])]
    assert len(rows) == 2 and all(row in process.stdout for row in rows)


def test_mc_batch_norm_refuses_a_model_without_batch_norm(tmp_path):
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.save(tmp_path / "plain.keras")
    for path, message in (
        ("plain.keras", "needs a model with BatchNorm layers"),
        ("none.keras", "--model must be a file"),
    ):
        process = run_script(
            "mc_batch_norm.py", f"--workdir={tmp_path}", f"--model={tmp_path / path}"
        )
        assert process.returncode != 0
        assert message in process.stderr
        assert "Traceback" not in process.stderr


def test_deep_ensemble_prints_the_scores_of_all_its_members(tmp_path):
    flags = ["--network=lenet5", "--recipe=cifar", "--members=2", *TINY]
    flags += ["--draws=1", "--epochs=1"]
    process = run_script("deep_ensemble.py", f"--workdir={tmp_path}", *flags)
    assert process.returncode == 0, process.stderr
    data = tfhyper.data.load("fashion_mnist_small", test_examples=100)
    labels = np.concatenate([y for _, y in data.test])
    images = np.concatenate([x for x, _ in data.test])
    probs = []
    for i in range(2):
        path = tmp_path / f"member_{i}" / "checkpoint-00001.keras"
        assert f"member_{i} ({i + 1} of 2): written {path}" in process.stdout
        logits = keras.saving.load_model(path).predict(images, verbose=0)
        probs.append(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    nll = -np.log(np.mean(probs, 0)[np.arange(100), labels]).mean()
    assert printed_scores(process.stdout, "x2")[1] == pytest.approx(nll, abs=2e-4)
    ensemble = tfhyper.DeepEnsemble.load(tmp_path / "predictor.tfhyper")
    np.testing.assert_allclose(ensemble.predict(images).members, probs, atol=1e-5)


def test_deep_ensemble_needs_members(tmp_path):
    process = run_script(
        "deep_ensemble.py", f"--workdir={tmp_path / 'new'}", "--members=0"
    )
    assert process.returncode != 0
    assert "`num_members` must be an integer from 1 to 10000" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "new").exists()
