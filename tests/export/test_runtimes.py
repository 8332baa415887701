"""Files of other runtimes, run by these, beside the predictor."""

import os
import sys

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.export import (
    IMAGES,
    ROWS,
    assert_same,
    calibrated,
    dense_network,
    small_network,
)
from tests.helpers.processes import run_python
from tests.helpers.runtimes import FORMATS, LiteRT, Onnx, OpenVINO, require
from tfhyper import export

NAMES = ["cat", "dög", 'a "quote"', ""]
LABELS = np.array([0, 1, 2, 3, 0])


@pytest.fixture(scope="module", params=FORMATS, ids=lambda x: x.__name__)
def runtime(request):
    require(request.param)
    return request.param


@pytest.fixture(scope="module")
def onnx():
    require(Onnx)
    return Onnx


@pytest.fixture(scope="module")
def predictor():
    """Of networks that were trained apart, with codes and with Gaussian kernels."""
    networks = [dense_network("hyper"), dense_network("bayes")]
    return tfhyper.DeepEnsemble(networks, 2)


@pytest.fixture(scope="module")
def written(runtime, predictor, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("models") / "new" / runtime.name)
    report = runtime.export(
        predictor,
        path,
        class_names=NAMES,
        metadata={"trained": [1, 2.5]},
        check_data=(ROWS.astype("float64"), LABELS),
        verbose=0,
    )
    return path, report


def assert_file(found, prediction, atol=1e-5):
    found = dict(found)
    members = found.pop("members").swapaxes(0, 1)
    np.testing.assert_allclose(members, prediction.members, atol=atol)
    assert_same(found, prediction, atol)


@pytest.mark.parametrize("size", [1, 5])
def test_batches_of_any_size(runtime, written, predictor, size):
    found = runtime.run(written[0], inputs=ROWS[:size])
    names = {"probabilities", "class", "total", "aleatoric", "epistemic", "members"}
    assert set(found) == names
    prediction = predictor.predict(ROWS[:size])
    assert prediction.epistemic.max() > 1e-4
    assert_file(found, prediction)


def test_the_report_is_of_the_file(runtime, written, predictor):
    path, report = written
    folder = os.walk(path) if os.path.isdir(path) else [("", (), [path])]
    sizes = [os.path.getsize(os.path.join(a, name)) for a, _, b in folder for name in b]
    assert report.size == sum(sizes)
    assert report.examples == 5
    probs = runtime.run(path, inputs=ROWS)["probabilities"].astype("float64")
    expected = predictor.predict(ROWS).mean
    assert report.differences["probabilities"] == np.abs(probs - expected).max()
    assert report.largest == max(report.differences.values()) <= 1e-5
    nll = -np.log(probs[np.arange(5), LABELS]).mean()
    assert report.scores["file"]["nll"] == pytest.approx(nll, abs=1e-6)
    assert report.scores["file"]["error"] == np.mean(probs.argmax(-1) != LABELS)
    of_predictor = predictor.evaluate(ROWS, LABELS)
    assert report.scores["predictor"] == pytest.approx(of_predictor)
    assert "predictor: error" in str(report)
    assert f"{report.largest:.1e}" in str(report)


def test_metadata(runtime, written):
    entries, names = runtime.metadata(written[0])
    assert names == NAMES
    assert entries["class_names"] == NAMES
    assert entries["metadata"] == {"trained": [1, 2.5]}
    assert entries["predictor"] == "DeepEnsemble"
    assert entries["form"] == "materialized"


def test_images_of_bytes(runtime, tmp_path, capsys):
    layers = [keras.Input((8, 8, 3)), tfhyper.layers.HyperConv2D(4, 3)]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)]
    predictor = tfhyper.PosteriorPredictor(keras.Sequential(layers), 2)
    path = str(tmp_path / runtime.name)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    preprocessing = export.Preprocessing(mean, std)
    report = runtime.export(predictor, path, preprocessing=preprocessing)
    assert str(report) in capsys.readouterr().out
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    normalised = ((images / 255 - mean) / std).astype("float32")
    found = runtime.run(path, inputs=images)
    assert_file(found, predictor.predict(normalised))
    assert runtime_refuses(runtime, path, normalised)


def runtime_refuses(runtime, path, inputs):
    """Whether a runtime takes no float32; OpenVINO rounds it to what it wants."""
    if runtime is OpenVINO:
        return True
    with pytest.raises(Exception, match="(?i)type"):
        runtime.run(path, inputs=inputs)
    return True


@pytest.mark.parametrize("averaging", ["branching", "parallelizing", "widening"])
def test_all_averaging_forms(averaging, onnx, tmp_path):
    predictor = calibrated(small_network("hyper"), 2, averaging)
    path = str(tmp_path / onnx.name)
    onnx.export(predictor, path, verbose=0)
    assert_file(onnx.run(path, inputs=IMAGES), predictor.predict(IMAGES))


@pytest.mark.parametrize(
    "kit", ["mnf", "bayesian_hypernet", "mc_dropout", "sngp", "vbll"]
)
def test_other_posteriors(kit, onnx, tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network(kit), 2)
    path = str(tmp_path / onnx.name)
    onnx.export(predictor, path, verbose=0)
    assert_file(onnx.run(path, inputs=ROWS), predictor.predict(ROWS))


def test_a_mean_field_network_and_a_variational_regression(onnx, tmp_path):
    model = dense_network("sngp")
    model.layers[-1](ROWS[:, :1].repeat(8, axis=1), training=True)
    model.layers[-1].inference = "mean_field"
    regression = tfhyper.heads.VBLLRegression(2, kl_weight=0.1, seed=0)
    for i, network in enumerate(
        (model, keras.Sequential([keras.Input((3,)), regression]))
    ):
        predictor = tfhyper.PosteriorPredictor(network, 1 if i == 0 else 2)
        path = str(tmp_path / f"{i}{onnx.name}")
        onnx.export(predictor, path, verbose=0)
        found = onnx.run(path, inputs=ROWS)
        expected = predictor.predict(ROWS)
        for name, value in (
            {"probabilities": expected.mean}
            if i == 0
            else {"mean": expected.mean, "variance": expected.variance}
        ).items():
            np.testing.assert_allclose(found[name], value, atol=1e-4)


@pytest.mark.parametrize("runtime", FORMATS[1:], ids=lambda x: x.__name__)
def test_masks_of_dropout_are_refused(runtime, tmp_path):
    require(runtime)
    predictor = tfhyper.PosteriorPredictor(dense_network("mc_dropout"), 2)
    with pytest.raises(ValueError, match="no masks of dropout"):
        runtime.export(predictor, str(tmp_path / runtime.name))
    assert not os.listdir(tmp_path)


def test_regression_with_two_inputs(runtime, tmp_path):
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    x = keras.layers.Concatenate()([left, right])
    x = tfhyper.layers.HyperDense(8, activation="relu")(x)
    heads = [
        keras.layers.Dense(1)(x),
        keras.layers.Dense(1, activation="softplus")(x),
    ]
    model = keras.Model({"left": left, "right": right}, heads)
    predictor = tfhyper.PosteriorPredictor(model, 3, outputs="mean_and_variance")
    path = str(tmp_path / runtime.name)
    named = {"left": ROWS, "right": ROWS[:, :2]}
    targets = np.arange(5.0)
    report = runtime.export(predictor, path, check_data=(named, targets), verbose=0)
    prediction = predictor.predict(named)
    found = runtime.run(path, **named)
    for name in ("mean", "variance", "aleatoric", "epistemic"):
        np.testing.assert_allclose(found.pop(name), getattr(prediction, name), 1e-4)
    for name in ("members", "member_variance"):
        members = found.pop(name).swapaxes(0, 1)
        np.testing.assert_allclose(members, getattr(prediction, name), 1e-4, 1e-5)
    assert not found
    rmse = np.sqrt(np.mean((prediction.mean - targets) ** 2))
    assert report.scores["file"]["rmse"] == pytest.approx(rmse, rel=1e-4)


@pytest.fixture(scope="module")
def wide():
    """A network whose weights are most of a file."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dense(256, activation="relu")]
    layers += [keras.layers.Dense(256, activation="relu"), keras.layers.Dense(4)]
    return tfhyper.PosteriorPredictor(keras.Sequential(layers))


@pytest.mark.parametrize("weights, part", [("float16", 0.6), ("int8", 0.4)])
def test_weights_of_fewer_bits(weights, part, runtime, wide, tmp_path):
    if weights == "int8" and runtime is OpenVINO:
        pytest.importorskip("nncf", reason="nncf is not installed")
    path = str(tmp_path / runtime.name)
    # Exactly as many numbers as there are parameters, in float32.
    full = 4 * wide.model.count_params()
    report = runtime.export(
        wide, path, weights=weights, check_data=(ROWS, LABELS), verbose=0
    )
    assert report.size < part * full + 40_000  # and the graph
    assert 1e-6 < report.largest < {"float16": 2e-3, "int8": 0.05}[weights]
    found = runtime.run(path, inputs=ROWS)["probabilities"]
    difference = np.abs(found - wide.predict(ROWS).mean).max()
    assert difference == pytest.approx(report.differences["probabilities"], rel=1e-5)


def test_what_differs_is_not_written(onnx, wide, tmp_path):
    path = tmp_path / onnx.name
    options = {"weights": "float16", "tolerance": 1e-9, "verbose": 0}
    with pytest.raises(ValueError, match="does not give what the predictor gives"):
        onnx.export(wide, path, **options)
    assert not os.listdir(tmp_path)
    path.write_text("old")
    with pytest.raises(ValueError, match="Nothing was written"):
        onnx.export(wide, path, overwrite=True, **options)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [onnx.name]


def test_a_file_is_replaced_when_told_and_nothing_else(runtime, wide, tmp_path):
    path = tmp_path / runtime.name
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    for overwrite, message in ((False, "overwrite=True"), (True, "nothing else is")):
        with pytest.raises(FileExistsError, match=message):
            runtime.export(wide, path, overwrite=overwrite)
    assert (path / "thesis.txt").exists()


def test_a_file_is_replaced(onnx, wide, predictor, tmp_path):
    path = tmp_path / onnx.name
    onnx.export(wide, path, verbose=0)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        onnx.export(predictor, path)
    onnx.export(predictor, path, overwrite=True, verbose=0)
    assert_file(onnx.run(path, inputs=ROWS), predictor.predict(ROWS))
    assert os.listdir(tmp_path) == [onnx.name]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"path": "model"}, ValueError, '`path` must end in ".onnx"'),
        ({"weights": "int4"}, ValueError, "`weights` must be one of"),
        ({"tolerance": -1.0}, ValueError, "`tolerance` must be a finite number"),
        ({"check_data": ROWS}, TypeError, "`check_data` must be a tuple"),
        ({"check_data": (ROWS[:, :2], LABELS)}, ValueError, r"of shape \(None, 3\)"),
        ({"check_data": (ROWS[:0], LABELS)}, ValueError, r"of shape \(None, 3\)"),
        ({"check_data": (ROWS * np.nan, LABELS)}, ValueError, "must be finite"),
        ({"check_data": ({"x": ROWS}, LABELS)}, ValueError, "must hold the inputs"),
        ({"check_data": (ROWS, LABELS[:2])}, ValueError, "labels"),
        (
            {"check_data": (ROWS, LABELS + 9)},
            ValueError,
            "`check_data` must hold labels",
        ),
        ({"check_data": (ROWS + 1j, LABELS)}, TypeError, "`check_data` must hold real"),
        ({"class_names": ["a"]}, ValueError, "one name for each of 4 classes"),
        ({"preprocessing": 1}, TypeError, "`preprocessing` must be a"),
        ({"predictor": 1}, TypeError, "`predictor` must be"),
    ],
)
def test_bad_arguments_write_nothing(arguments, error, message, onnx, wide, tmp_path):
    arguments = {"predictor": wide, "path": onnx.name, **arguments}
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(error, match=message):
        onnx.export(**arguments)
    assert not os.listdir(tmp_path)


def test_images_of_bytes_are_checked_with_bytes(onnx, tmp_path):
    predictor = calibrated(small_network("deterministic"), None)
    preprocessing = export.Preprocessing(0.5, 0.25)
    with pytest.raises(ValueError, match="images of dtype uint8"):
        onnx.export(
            predictor,
            tmp_path / onnx.name,
            preprocessing=preprocessing,
            check_data=(IMAGES, np.zeros(6, int)),
        )


@pytest.mark.parametrize("runtime", FORMATS, ids=lambda x: x.__name__)
def test_a_missing_package_is_named_with_its_extra(
    runtime, wide, tmp_path, monkeypatch
):
    missing = {Onnx: "onnxruntime", LiteRT: "ai_edge_litert.interpreter"}
    monkeypatch.setitem(sys.modules, missing.get(runtime, "openvino"), None)
    with pytest.raises(ImportError, match=r"pip install \"tfhyper\[(onnx|litert|open)"):
        runtime.export(wide, tmp_path / runtime.name)
    assert not os.listdir(tmp_path)


HOSTILE = """
for path in {paths!r}:
    try:
        {open}
    except Exception as error:
        # A runtime that cannot read a byte of the file's text may have no words.
        assert str(error) or type(error) is not Exception
    else:
        raise SystemExit(path + " was loaded")
print("all refused")
"""


def test_torn_and_hostile_files_are_refused(runtime, written, tmp_path):
    """In a process of their own, which must live on."""
    path = written[0]
    file = os.path.join(path, "model.xml") if runtime is OpenVINO else path
    with open(file, "rb") as opened:
        whole = opened.read()
    noise = np.random.default_rng(0).bytes(5000)
    flipped = bytes(x ^ 255 if i % 500 == 77 else x for i, x in enumerate(whole))
    paths = []
    for i, content in enumerate(
        [b"", whole[:1000], whole[: len(whole) // 2], noise, flipped]
    ):
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / os.path.basename(file)).write_bytes(content)
        paths.append(str(folder / os.path.basename(file)))
    code = HOSTILE.format(paths=paths, open=runtime.code)
    process = run_python("-c", code, check=True)
    assert "all refused" in process.stdout


@pytest.mark.parametrize("score", ["total", "confidence"])
def test_what_a_predictor_rejects_its_file_rejects(runtime, score, tmp_path):
    predictor = tfhyper.PosteriorPredictor(dense_network("hyper"), 3)
    predictor.fit_rejection(ROWS, coverage=0.6, score=score)
    path = str(tmp_path / runtime.name)
    report = runtime.export(predictor, path, class_names=NAMES, verbose=0)
    assert report.differences["rejected"] == 0
    found = runtime.run(path, inputs=ROWS)["rejected"]
    np.testing.assert_array_equal(found, predictor.predict(ROWS).rejected)
    assert found.dtype == bool and found.sum() == 2
    entries, _ = runtime.metadata(path)
    entries, _ = runtime.metadata(path)
    assert entries["rejection"]["threshold"] == predictor.rejection.threshold
