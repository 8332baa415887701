"""The table of one training: its rows, its scores, and the commands at smoke size."""

import json
import os
import pathlib
import shutil
import sys

import keras
import numpy as np
import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import foreign_inputs  # noqa: E402
import one_training_data  # noqa: E402
import one_training_scores as scores  # noqa: E402
import one_training_tables as tables  # noqa: E402
import one_training_work  # noqa: E402
from one_training_rows import DRAWINGS, METHODS, ROWS  # noqa: E402
from one_training_settings import SETTINGS  # noqa: E402

import tfhyper  # noqa: E402
from tfhyper import detection, metrics  # noqa: E402

CIFAR = SETTINGS["cifar5000"]


def probabilities(seed, *shape):
    logits = 2 * np.random.default_rng(seed).normal(size=shape)
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_each_row_has_a_method_and_a_way_to_draw():
    for name, row in ROWS.items():
        assert row.name == name
        assert row.method in METHODS and row.drawing in DRAWINGS
        assert row.main_draws(CIFAR) in row.num_draws(CIFAR)


def test_rows_share_the_trainings_of_map():
    rows = [ROWS[name] for name in ("map", "two", "three", "four", "mcbn")]
    jobs = one_training_work.needed(CIFAR, rows)
    assert [(x.method, x.epochs, x.seed) for x in jobs] == [
        ("map", 40, seed) for seed in range(4)
    ]
    assert [len(drawings) for drawings in jobs.values()] == [2, 2, 2, 1]
    two = [[x.seed for x in group] for group in ROWS["two"].groups(CIFAR)]
    assert two == [[0, 1], [1, 2], [2, 3]]
    assert len(ROWS["four"].groups(CIFAR)) == 1


def test_two_trainings_of_half_the_length_cost_one_and_share_nothing():
    row = ROWS["half"]
    groups = row.groups(CIFAR)
    assert row.cost() == 1
    assert [[(x.epochs, x.seed) for x in group] for group in groups] == [
        [(20, 0), (20, 1)],
        [(20, 2), (20, 3)],
        [(20, 4), (20, 5)],
    ]


def test_shards_are_apart_and_together_all():
    jobs = one_training_work.needed(CIFAR, ROWS.values())
    parts = [one_training_work.part_of(jobs, f"{i}/3") for i in range(3)]
    assert sorted(x.name for part in parts for x in part) == sorted(
        x.name for x in jobs
    )
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["2/2", "-1/2", "1", "a/b"])
def test_a_shard_that_is_none_is_refused(shard):
    with pytest.raises(ValueError, match=f"--shard.*Received: {shard}"):
        one_training_work.part_of({}, shard)


def test_an_epoch_has_each_image_once_and_half_of_them_flipped():
    x = np.random.default_rng(0).normal(size=(40, 4, 4, 1)).astype("float32")
    data = one_training_data.FlippedBatches(x, np.arange(40, dtype="int32"), 20, 3)
    assert data.steps_per_epoch == 2
    batches = list(data.train_from(1).take(4).as_numpy_iterator())
    labels = [np.concatenate([y for _, y in batches[i : i + 2]]) for i in (0, 2)]
    assert sorted(labels[0]) == sorted(labels[1]) == list(range(40))
    assert (labels[0] != labels[1]).any()
    flips = 0
    for images, numbers in batches[:2]:
        for image, number in zip(images, numbers, strict=True):
            flip = (image == x[number][:, ::-1]).all()
            assert flip or (image == x[number]).all()
            flips += flip
    assert 8 < flips < 32
    # A training that is taken up sees what it would have seen.
    later = next(data.train_from(2).as_numpy_iterator())
    np.testing.assert_array_equal(later[0], batches[2][0])


def test_images_without_some_classes_have_the_others_numbered_anew():
    setting = SETTINGS["fashion_left_out"]
    images = one_training_data.load_images(setting, None)
    assert images.num_classes == 8
    assert set(images.train[1]) == set(images.test[1]) == set(range(8))
    assert len(images.left_out) == 500
    whole = one_training_data.load_images(SETTINGS["fashion"], None)
    kept = whole.test[0][~np.isin(whole.test[1], setting.left_out)]
    np.testing.assert_array_equal(images.test[0], kept)


def test_a_temperature_is_found_and_taken_out():
    right = probabilities(0, 4000, 5)
    rng = np.random.default_rng(1)
    labels = (right.cumsum(-1) < rng.random((4000, 1))).sum(-1)
    sharp = scores.at_temperature(right, 0.4)
    assert scores.fit_temperature(labels, sharp) == pytest.approx(2.5, rel=0.06)
    found = scores.report(labels, sharp[None], labels, sharp[None])
    wanted = metrics.negative_log_likelihood(labels, right)
    assert found["nll_temperature"] == pytest.approx(wanted, abs=2e-3)
    assert found["nll"] > wanted + 0.1


def test_held_out_images_have_scores_of_their_own():
    members = np.stack([probabilities(i, 300, 4) for i in range(3)])
    labels = np.arange(300) % 4
    found = scores.report(
        labels[:200], members[:, :200], labels[200:], members[:, 200:]
    )
    mean = members.mean(0)
    nll = -np.log(mean[np.arange(300), labels])
    wrong = mean.argmax(-1) != labels
    assert found["nll"] == pytest.approx(nll[:200].mean())
    assert found["validation"]["nll"] == pytest.approx(nll[200:].mean())
    assert found["validation"]["error"] == pytest.approx(wrong[200:].mean())


def of_trainings(**values):
    return {name: {"median": {"nll": nll}} for name, nll in values.items()}


def test_the_equivalent_is_a_line_between_numbers_of_trainings():
    found = of_trainings(map=1.2, two=1.0, three=0.9, four=0.85)
    for nll, wanted in ((1.2, 1), (1.1, 1.5), (0.95, 2.5), (0.85, 4), (0.5, 4), (2, 1)):
        assert scores.equivalent(found, nll) == pytest.approx(wanted)
    del found["three"]
    assert scores.equivalent(found, 1.0) is None


def test_what_is_recovered_is_a_share_of_what_four_trainings_gain():
    one = {"error": 0.4, "nll": 1.2, "nll_temperature": 1.1}
    many = {"error": 0.3, "nll": 1.0, "nll_temperature": 1.0}
    found = {"map": {"median": one}, "four": {"median": many}}
    row = {"error": 0.35, "nll": 0.9, "nll_temperature": 1.1}
    assert scores.recovered(found, row) == pytest.approx(
        {"error": 0.5, "nll": 1.5, "nll_temperature": 0.0}
    )
    assert scores.recovered({"map": found["map"]}, row) == {}


def test_a_summary_is_the_median_and_the_range_of_each_number():
    groups = [{"trainings": ["a"], "x": {"y": value}} for value in (1.0, 5.0, 2.0)]
    assert scores.summary(groups) == {
        "median": {"x": {"y": 2.0}},
        "range": {"x": {"y": [1.0, 5.0]}},
    }


def test_disagreement_of_each_image_has_the_mean_that_the_metric_has():
    members = probabilities(2, 6, 50, 4)
    found = foreign_inputs.uncertainties(members)
    assert found["disagreement"].mean() == pytest.approx(metrics.disagreement(members))
    assert found["epistemic"] == pytest.approx(metrics.mutual_information(members))
    assert set(foreign_inputs.uncertainties(members[:1])) == {"total"}


@pytest.fixture(scope="module")
def images():
    return one_training_data.load_images(SETTINGS["smoke"], None)


def test_foreign_images_are_made_of_known_ones(images):
    found, missing = foreign_inputs.make_foreign(images, 30, "cifar10", "nowhere")
    known = images.test[0][:30]
    assert set(found) == {"noise", "shuffled", "turned"}
    assert "nowhere" in missing["other"]
    mixed, before = (x.reshape(30, -1) for x in (found["shuffled"], known))
    np.testing.assert_array_equal(np.sort(mixed), np.sort(before))
    assert (mixed != before).mean() > 0.2
    np.testing.assert_array_equal(found["turned"][0], known[0][::-1, ::-1])
    np.testing.assert_array_equal(found["turned"][1], np.rot90(known[1]))
    pixels = found["noise"] * images.spec.std[0] + images.spec.mean[0]
    assert 0 <= pixels.min() < 0.01 and 0.99 < pixels.max() <= 1
    assert np.std(pixels) == pytest.approx(12**-0.5, abs=0.01)


def uncertainties_of_before(members):
    """As `foreign_inputs.uncertainties` was, before it had scorers."""
    found = {"total": metrics.predictive_entropy(members)}
    draws, _, classes = members.shape
    votes = np.eye(classes, dtype=int)[members.argmax(-1)].sum(0)
    agree = (votes * (votes - 1)).sum(-1) / (draws * (draws - 1))
    found["epistemic"] = metrics.mutual_information(members)
    found["disagreement"] = 1 - agree
    return found


def distances_of_before(predictor, draw, train, images):
    """As `foreign_inputs.Mahalanobis` was, before the library had one."""
    network = predictor.materialize(draw)
    last = [x for x in network.layers if isinstance(x, keras.layers.Dense)][-1]
    network = keras.Model(network.input, last.input)

    def features_of(x):
        found = network.predict(x, batch_size=128, verbose=0)
        return found.reshape(len(found), -1).astype("float64")

    features, labels = features_of(train[0]), train[1]
    means = np.stack([features[labels == c].mean(0) for c in np.unique(labels)])
    centred = features - means[np.searchsorted(np.unique(labels), labels)]
    covariance = centred.T @ centred / len(features)
    size = len(covariance)
    covariance += 1e-6 * (np.trace(covariance) / size + 1e-12) * np.eye(size)
    root = np.linalg.cholesky(np.linalg.inv(covariance))
    apart = features_of(images)[:, None] - means
    return np.square(apart @ root).sum(-1).min(-1)


def test_scores_are_those_of_before_there_were_scorers(images):
    members = probabilities(3, 5, 40, 4)
    found = foreign_inputs.uncertainties(members)
    for name, expected in uncertainties_of_before(members).items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-12)

    x, y = images.train
    keras.utils.set_random_seed(0)
    inputs = keras.Input(x.shape[1:])
    pooled = keras.layers.Flatten()(keras.layers.AveragePooling2D(7)(inputs))
    hidden = tfhyper.layers.BayesDense(8, activation="relu", seed=1)(pooled)
    model = keras.Model(inputs, keras.layers.Dense(10)(hidden))
    predictor = tfhyper.PosteriorPredictor(model, num_draws=5)
    scorer = detection.Mahalanobis(num_draws=4).fit(predictor, x, y)
    found = scorer.score(images.test[0][:30])
    expected = np.mean(
        [
            distances_of_before(predictor, i, (x, y), images.test[0][:30])
            for i in range(4)
        ],
        axis=0,
    )
    # Features are of float32, and a layer that is always 0 has next to no variance.
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_tables_have_empty_cells_for_what_is_due():
    draws = {
        "error": 0.1,
        "nll": 0.3,
        "ece": 0.02,
        "nll_temperature": 0.29,
    }
    median = {
        **draws,
        "draws": {"1": draws},
        "flips": {"both": {**draws, "validation": {**draws, "nll": 0.25}}},
        "validation": {**draws, "nll": 0.27},
        "main_draws": 1.0,
        "disagreement": 0.0,
        "gradient_evaluations": 1.0,
        "train_seconds": 10.0,
        "bytes": 1e6,
        "predict_seconds_per_1000": 0.1,
        "auroc": {"noise": {"total": 0.6}},
        "epistemic_median": {},
    }
    found = {
        "ivon": {
            "title": "IVON",
            "groups": [None],
            "of_groups": 3,
            "median": median,
            "range": {key: [value, value] for key, value in draws.items()},
            "recovered": {},
            "equivalent": None,
        }
    }
    main = tables.main_table(found)
    assert "| IVON | 1 / - | 1 | 10.0 / 0.300 / 0.020 / 0.290 |  |  | - |" in main
    assert "1 of 3" in main
    assert "0.600 / - / - / -" in tables.foreign_table(found)
    held_out = tables.held_out_table(found)
    assert "| IVON | 10.0 / 0.270 / 0.020 | 10.0 / 0.250 / 0.020 |" in held_out


def command(script, folder, *more):
    return [
        str(ROOT / "benchmarks" / script),
        f"--workdir={folder / 'runs'}",
        f"--output_dir={folder}",
        f"--data_dir={folder}",
        "--verbose=0",
        *more,
    ]


def test_the_table_is_made_kept_and_printed_again(tmp_path):
    rows = "--rows=map,ivon"
    run = command("one_training.py", tmp_path, "--setting=smoke", rows)
    late = run_python(*run, "--minutes=1e-9")
    assert late.returncode == 75, late.stderr
    assert "Nothing is there yet." in late.stdout

    first = run_python(*run, check=True)
    assert first.stdout.count("== map-2-seed0") == 1
    result = json.loads((tmp_path / "one_training_smoke.json").read_text())
    assert list(result["results"]) == ["map", "ivon"]
    assert "other" in result["foreign_images_missing"]
    median = result["results"]["ivon"]["median"]
    assert list(median["draws"]) == ["1", "2", "4"]
    assert median["disagreement"] > 0
    assert median["epistemic_median"]["test"] > 0
    assert set(median["auroc"]["noise"]) == set(foreign_inputs.SCORES)
    assert result["results"]["map"]["median"]["disagreement"] == 0
    assert os.path.getsize(tmp_path / "one_training_smoke.png") > 10_000
    printed = "\n".join(result["markdown"])
    assert printed in first.stdout and f"{median['nll']:.3f}" in printed

    # Nothing is trained or predicted again.
    again = run_python(*run, check=True)
    assert "==" not in again.stdout and "\n-- " not in again.stdout
    assert printed in again.stdout

    # Another row joins the table when the networks of the others are gone.
    shutil.move(tmp_path / "runs", tmp_path / "before")
    joined = run_python(*run[:-1], "--rows=hyper", check=True)
    assert "== map" not in joined.stdout and "== hyper-2-seed0" in joined.stdout
    after = json.loads((tmp_path / "one_training_smoke.json").read_text())
    assert list(after["results"]) == ["map", "hyper", "ivon"]
    assert after["results"]["ivon"]["groups"] == result["results"]["ivon"]["groups"]
    assert len(after["commands"]) == 2

    # foreign.py scores the same predictions.
    shutil.rmtree(tmp_path / "runs")
    shutil.move(tmp_path / "before", tmp_path / "runs")
    foreign = run_python(
        *command("foreign.py", tmp_path, "--settings=smoke", "--rows=map,ivon"),
        check=True,
    )
    assert "==" not in foreign.stdout
    judged = json.loads((tmp_path / "foreign_smoke.json").read_text())["results"]
    assert judged["ivon"]["median"]["epistemic"]["noise"]["auroc"] == pytest.approx(
        median["auroc"]["noise"]["epistemic"]
    )
    assert 0 <= judged["map"]["median"]["total"]["rejected"]["noise"] <= 1
