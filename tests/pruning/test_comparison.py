"""The report's numbers, counted by other means."""

import json
import os
import zipfile

import keras
import numpy as np
import pytest

from tests.helpers.pruning import (
    assert_untouched,
    bayes_network,
    images,
    plain_network,
    values,
    weight,
)
from tfhyper import PosteriorPredictor, models
from tfhyper.pruning import BeforeAfter, prune, prune_filters, report


def labels(size):
    return np.random.default_rng(1).integers(0, 3, size)


def test_weights_parameters_and_bytes(tmp_path):
    model = plain_network()
    model.compile("adam", "mse")
    model.fit(images(), np.ones((6, 3)), verbose=0)
    before = values(model)
    pruned = prune(model, fraction=0.9, keep=["logits"])
    found = report(model, pruned)
    assert_untouched(model, before)
    assert found.accuracy is None
    assert [(row.name, row.weights) for row in found.layers] == [
        ("conv", 162),
        ("hidden", 270),
        ("logits", 15),
    ]
    for row in found.layers:
        kernel = weight(pruned, row.name, "kernel")
        assert row.kept == np.count_nonzero(kernel)
    assert found.weights == BeforeAfter(447, 447 - round(0.9 * 432))
    assert found.parameters == BeforeAfter(model.count_params(), model.count_params())
    sizes = []
    for name in ("pruned.keras", "pruned.zip"):
        path = tmp_path / name
        if name.endswith("keras"):
            pruned.save(path)
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.write(tmp_path / "pruned.keras", "model.keras")
        sizes.append(os.path.getsize(path))
    # A file holds the date, whose compressed length differs by some bytes.
    assert abs(found.file_bytes.after - sizes[0]) < 64
    assert abs(found.compressed_bytes.after - sizes[1]) < 64
    # The optimizer's two numbers for each weight are in neither file.
    assert abs(found.file_bytes.before - found.file_bytes.after) < 64


def test_zeros_compress_and_fewer_filters_make_a_smaller_file():
    model = models.wide_resnet(10, 1, kit="deterministic", input_shape=(8, 8, 3))
    zeros = report(model, prune(model, fraction=0.9, scope="layer"))
    assert zeros.compressed_bytes.after < 0.5 * zeros.compressed_bytes.before
    smaller = report(model, prune_filters(model, 0.5))
    assert smaller.file_bytes.after < 0.7 * smaller.file_bytes.before
    assert smaller.compressed_bytes.after < 0.6 * smaller.compressed_bytes.before
    removed = {1: 16, 2: 32, 3: 64}
    expected = 0
    for stage, width in removed.items():
        gone, inputs = width // 2, max(16, width // 2)
        # conv1's filters, conv2's rows, four numbers of BatchNorm for each.
        expected += 9 * gone * (inputs + width) + 4 * gone
    assert smaller.parameters.before - smaller.parameters.after == expected


def test_gaussian_posteriors_count_their_mask():
    model = bayes_network()
    pruned = prune(model, fraction=0.5, criterion="signal_to_noise")
    found = report(model, pruned)
    assert found.weights == BeforeAfter(447, 15 + 432 // 2)
    assert [row.kept for row in found.layers] == [
        weight(pruned, "conv", "kernel_mask").sum(),
        weight(pruned, "hidden", "kernel_mask").sum(),
        15,
    ]
    # The mask is in the file, and is no parameter.
    assert found.parameters.after == found.parameters.before == model.count_params()
    # A mean of zero with a deviation is a weight.
    mean = model.get_layer("conv").kernel_posterior.mean
    mean.assign(np.zeros(mean.shape))
    assert report(model, model).weights.after == 447


def test_accuracy_of_plain_networks():
    model, x, y = plain_network(), images(60), labels(60)
    pruned = prune(model, fraction=0.6)
    found = report(model, pruned, x, y).accuracy
    for network, accuracy in ((model, found.before), (pruned, found.after)):
        predicted = network.predict(x, verbose=0).argmax(axis=-1)
        assert accuracy == pytest.approx(np.mean(predicted == y))
    assert found.before != found.after


@pytest.mark.parametrize("calibration", [None, images(40, seed=3)])
def test_accuracy_of_random_networks(calibration):
    model, x, y = bayes_network(), images(60), labels(60)
    pruned = prune(model, fraction=0.6, keep=["logits"])
    options = {"num_draws": 4, "seed": 7}
    found = report(model, pruned, x, y, calibration=calibration, **options)
    for network, accuracy in (
        (model, found.accuracy.before),
        (pruned, found.accuracy.after),
    ):
        norm = "moving_average" if calibration is None else "reestimate"
        predictor = PosteriorPredictor(network, batch_norm=norm, **options)
        if calibration is not None:
            predictor.calibrate(calibration, verbose=0)
        predicted = predictor.predict(x).mean.argmax(axis=-1)
        assert accuracy == pytest.approx(np.mean(predicted == y))


def test_table_and_json():
    model = plain_network()
    found = report(model, prune(model, fraction=0.5), images(20), labels(20))
    table = str(found)
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["layer", "weights", "kept"]
    assert rows[4][:2] == ["all", "447"]
    assert ["parameters", "485", "485", "100.0%"] in rows
    assert rows[-1][0] == "accuracy" and len(rows[-1]) == 3
    assert table == "\n".join(line.rstrip() for line in table.splitlines())
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["layers"][0] == {
        "name": "conv",
        "weights": 162,
        "kept": found.layers[0].kept,
    }
    assert plain["weights"] == {"before": 447, "after": found.weights.after}
    assert plain["accuracy"]["before"] == found.accuracy.before
    assert report(model, model).to_dict()["accuracy"] is None
    assert "accuracy" not in str(report(model, model))


def test_bad_arguments():
    model = plain_network()
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="`after` must be made of `before`"):
        report(model, other)
    with pytest.raises(ValueError, match="`y` needs inputs"):
        report(model, model, y=labels(6))
    with pytest.raises(ValueError, match="`y` must hold the labels"):
        report(model, model, images())
    with pytest.raises(TypeError, match="functional or Sequential"):
        report(model, keras.layers.Dense(3))
    with pytest.raises(ValueError, match="`num_draws`"):
        random = bayes_network()
        report(random, random, images(), labels(6), num_draws=0)
    generated = models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit="hyper")
    with pytest.raises(ValueError, match="materialize"):
        report(generated, generated)
